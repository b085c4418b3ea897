//! That no secret comes out: not in an answer, not in the log.

use super::*;
use std::io;
use std::sync::LazyLock;
use tracing_subscriber::fmt::MakeWriter;

/// All that this process has logged since the first look.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Settings that hold the canaries of `number`, each at another place.
fn settings(number: usize) -> Value {
    let canary = |kind: &str| format!("canary-{kind}-{number:03}-0123456789abcdef0123456789abcdef");
    let origin = "https://api.example.com";
    json!({
        "issuers": [
            { "issuer": format!("https://issuer.test/{number}"), "audience": "a", "secret": { "value": canary("hs256") } }
        ],
        "variables": { "secret_token": canary("variable"), "model": "m" },
        "secrets": {
            "one": { "origin": origin, "secret": { "value": canary("one") } },
            "two": { "origin": origin, "path_prefix": "/two", "secret": { "value": canary("two") } }
        }
    })
}

#[tokio::test]
async fn none_of_a_hundred_canaries_is_in_an_answer_or_in_the_log() {
    let log = &*LOG;
    let served = served().await;
    let mut answers = Vec::new();
    let mut keys = Vec::new();
    for number in 0..25 {
        let path = format!("/tenants/t{number}");
        let new = json!({ "id": format!("t{number}"), "settings": settings(number) });
        let created = served.post("/tenants", new.clone()).await;
        assert_eq!(created.status, 201, "{}", created.text);
        answers.push(created);
        answers.push(served.post("/tenants", new).await);
        let shown = served.get(&path).await;
        // Taken back as it was shown, and with a secret at a place where none is expected.
        answers.push(served.ask(Method::PUT, &path, Some(shown.json["settings"].clone())).await);
        assert_eq!(answers.last().unwrap().status, 200);
        let mut wrong = settings(number);
        wrong["log_file"] = wrong["variables"]["secret_token"].clone();
        wrong["issuers"][0]["clock_skew_s"] = wrong["issuers"][0]["secret"]["value"].clone();
        wrong["isolation"] = wrong["secrets"]["one"]["secret"]["value"].clone();
        wrong["secrets"]["two"]["secret"] = wrong["secrets"]["two"]["secret"]["value"].clone();
        answers.push(served.ask(Method::PUT, &path, Some(wrong.clone())).await);
        assert_eq!(answers.last().unwrap().status, 422);
        let broken = wrong.to_string().replacen("\"canary", "canary", 1);
        let request = served.request(Method::PUT, &path).header(header::CONTENT_TYPE, "application/json");
        answers.push(served.send(request.body(Full::from(broken)).unwrap()).await);
        assert_eq!(answers.last().unwrap().status, 400);
        let made = served.post(&format!("{path}/keys"), json!({})).await;
        let id = made.json["key"]["id"].as_str().unwrap();
        answers.push(served.post(&format!("{path}/suspend"), json!({})).await);
        let rotated = served.post(&format!("{path}/keys/{id}/rotate"), json!({})).await;
        keys.extend([made, rotated].map(|one| one.json["secret"].as_str().unwrap()[16..].to_owned()));
        answers.extend([shown, served.get(&format!("{path}/keys")).await, served.get("/tenants").await]);
    }
    let log = log.text();
    assert!(log.contains("create tenant") && log.contains("rotate key"), "the log is looked at: {log}");
    for answer in &answers {
        assert!(!answer.text.contains("canary-") && !answer.text.contains("v1."), "{}", answer.text);
        assert!(!answer.text.contains("\"hash\""), "{}", answer.text);
    }
    for secret in ["canary-", KEY].into_iter().chain(keys.iter().map(String::as_str)) {
        assert!(!log.contains(secret), "the log holds {secret}");
        assert!(!answers.iter().any(|answer| answer.text.contains(secret)), "an answer holds {secret}");
    }
}

#[tokio::test]
async fn a_secret_variable_is_neither_shown_nor_stored_and_kept_when_it_is_sent_back() {
    let served = served().await;
    let new = json!({ "id": "acme", "settings": settings(1) });
    assert_eq!(served.post("/tenants", new).await.status, 201);
    let in_force = || -> Vec<(String, String)> {
        let entry = served.directory.entry(&TenantId::new("acme").unwrap()).unwrap();
        entry.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let before = in_force();
    assert!(before.iter().any(|(name, value)| name == "secret_token" && value.contains("canary-variable")));
    let shown = served.get("/tenants/acme").await.json["settings"].clone();
    assert_eq!(shown["variables"], json!({ "model": "m", "secret_token": null }));
    let (_, records) = served.store.load().await.unwrap();
    assert!(!String::from_utf8(records[0].settings.clone()).unwrap().contains("canary"));
    let mut changed = shown;
    changed["name"] = json!("Acme");
    assert_eq!(served.ask(Method::PUT, "/tenants/acme", Some(changed.clone())).await.status, 200);
    assert_eq!(in_force(), before);
    changed["variables"]["secret_token"] = json!("canary-other");
    let answered = served.ask(Method::PUT, "/tenants/acme", Some(changed)).await;
    assert_eq!(answered.json["settings"]["variables"]["secret_token"], Value::Null, "{}", answered.text);
    assert_eq!(in_force()[1].1, "canary-other");
}

#[tokio::test]
async fn secrets_of_the_files_tenants_stay_hidden_too() {
    let served = served().await;
    let mut filed = settings(999);
    let hash = "ab".repeat(32);
    filed["api_keys"] = json!([{ "id": "abcdefgh2345", "hash": hash }]);
    served.configure_by_file("filed", filed);
    for path in ["/tenants/filed", "/tenants/filed/keys", "/tenants"] {
        let answered = served.get(path).await;
        assert_eq!(answered.status, 200);
        assert!(!answered.text.contains("canary-") && !answered.text.contains(&hash), "{}", answered.text);
    }
}

#[tokio::test]
async fn each_change_is_one_line_that_says_who_did_what_to_whom() {
    let log = &*LOG;
    let served = served().await;
    served.post("/tenants", json!({ "id": "audited-1" })).await;
    let made = served.post("/tenants/audited-1/keys", json!({})).await;
    let id = made.json["key"]["id"].as_str().unwrap().to_owned();
    served.post("/tenants/audited-1/suspend", json!({})).await;
    served.ask(Method::DELETE, "/tenants/audited-1?erase=true", None).await;
    served.get("/tenants/audited-1").await;
    let text = log.text();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains(" admin: ") && line.contains("audited-1")).collect();
    let actions = ["create tenant", "add key", "suspend tenant", "empty tenant", "remove and erase tenant"];
    assert_eq!(lines.len(), actions.len(), "{lines:#?}");
    for (line, action) in lines.iter().zip(actions) {
        assert!(line.contains(action) && line.contains("remote=127.0.0.1:"), "{line}");
    }
    assert!(lines[1].contains(&id), "{}", lines[1]);
}
