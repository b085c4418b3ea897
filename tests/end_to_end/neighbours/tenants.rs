//! Tenants with keys, a server that knows them, what one of them gets for a request, and a well-behaved one that asks
//! without a pause while others do their worst.

use crate::support::{Server, Setup, client_builder, eventually};
use futures::StreamExt as _;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The tenant that behaves.
pub(crate) const GOOD: &str = "good";
/// Answers the well-behaved tenant gets at least while another misbehaves.
pub(crate) const GOOD_ANSWERS_MIN: u64 = 200;
/// How many of its requests are under way at once.
const GOOD_AT_ONCE: usize = 4;
/// Bytes of an answer that are told of it.
const SHOWN_BYTES: usize = 4_000;

/// The key of a tenant: the same at every run, and different from every other tenant's.
pub(crate) fn key_of(tenant: &str) -> String {
    let id: String = sha256(tenant).iter().take(12).map(|byte| char::from(b'a' + byte % 26)).collect();
    let secret: String = hex(&sha256(&format!("secret of {tenant}"))).chars().take(43).collect();
    format!("wk_{id}_{secret}")
}

fn sha256(text: &str) -> Vec<u8> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("it is a suite of TLS 1.3");
    suite.common.hash_provider.hash(text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// tenants.toml with these tenants, each with one key and further lines of its own (such as `limits.instances_max = 8`).
pub(crate) fn tenants_toml<'a>(tenants: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    tenants.into_iter().fold(String::new(), |mut text, (tenant, lines)| {
        let key = key_of(tenant);
        let (id, hash) = (&key[3..15], hex(&sha256(&key)));
        writeln!(
            text,
            "[tenant.{tenant}]\n{lines}\n[[tenant.{tenant}.api_keys]]\nid = \"{id}\"\nhash = \"{hash}\""
        )
        .unwrap();
        text
    })
}

/// The set-up with these tenants.
pub(crate) fn with_tenants<'a>(setup: Setup, tenants: impl IntoIterator<Item = (&'a str, &'a str)>) -> Setup {
    let path = setup.folder().join("tenants.toml");
    std::fs::write(&path, tenants_toml(tenants)).unwrap();
    setup.args(&["--tenants", path.to_str().unwrap()])
}

/// One tenant's way to the server.
#[derive(Clone)]
pub(crate) struct Caller {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Caller {
    pub(crate) fn new(server: &Server, tenant: &str) -> Self {
        let client = client_builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { client, url: server.url(""), key: key_of(tenant) }
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Asks and tells the status and the text.
    pub(crate) async fn text(&self, path: &str) -> (u16, String) {
        let response = self.get(path).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// What comes of a request, in a few words: the status with the text of a function or the code of a refusal, and
    /// whether the body was cut.
    pub(crate) async fn outcome(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let request =
            fields.iter().fold(self.get(path), |request, (name, value)| request.header(*name, *value));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return "no answer in time".to_owned(),
            Err(_closed) => return "connection closed".to_owned(),
        };
        let status = response.status().as_u16();
        let (mut body, mut pieces) = (Vec::new(), response.bytes_stream());
        let mut cut = "";
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) if body.len() < SHOWN_BYTES => body.extend_from_slice(&piece),
                Ok(_further) => {}
                Err(_cut) => cut = " cut",
            }
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).into_owned();
        let problem: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let code = problem.and_then(|problem| problem["code"].as_str().map(str::to_owned));
        format!("{status}{cut} {}", code.unwrap_or(text))
    }
}

/// The well-behaved tenant, asking without a pause until told to stop. Whatever goes wrong is kept until then.
pub(crate) struct Good {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Good {
    /// Begins; the functions `hello` and `kv-probe` must be there.
    pub(crate) async fn watch(server: &Server) -> Self {
        let caller = Caller::new(server, GOOD);
        let wrote = caller.text("/kv-probe/spin3/set?key=mark&value=good").await;
        assert_eq!(wrote, (200, "done".to_owned()), "{}", server.output());
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..GOOD_AT_ONCE).map(|number| {
            let asked = if number % 2 == 0 {
                ("/hello", "200 hello\n")
            } else {
                ("/kv-probe/spin3/get?key=mark", "200 good")
            };
            tokio::spawn(ask(caller.clone(), asked, Arc::clone(&stop), Arc::clone(&answered)))
        });
        let tasks = tasks.collect();
        Self { stop, answered, tasks }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    fn is_over(&self) -> bool {
        self.tasks.iter().any(tokio::task::JoinHandle::is_finished)
    }

    /// Waits for `more` good answers from now on.
    pub(crate) async fn answers(&self, more: u64) {
        let until = self.answered() + more;
        eventually("answers of the well-behaved tenant", || self.answered() >= until || self.is_over()).await;
    }

    /// Every answer was a good one, there were enough of them, and there are some after this moment, too.
    pub(crate) async fn check_unharmed(self, case: &str) {
        let missing = GOOD_ANSWERS_MIN.saturating_sub(self.answered());
        self.answers(missing.max(50)).await;
        self.stop.store(true, Relaxed);
        for task in self.tasks {
            task.await
                .unwrap()
                .unwrap_or_else(|wrong| panic!("beside {case}, the well-behaved tenant got {wrong}"));
        }
    }
}

async fn ask(
    caller: Caller,
    (path, expected): (&str, &str),
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Result<(), String> {
    while !stop.load(Relaxed) {
        let outcome = caller.outcome(path, &[]).await;
        if outcome != expected {
            return Err(format!("{outcome:?} from {path}"));
        }
        answered.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// Memory of the server's process, MiB: `VmRSS` (now) or `VmHWM` (at most, ever).
pub(crate) fn memory_mib(server: &Server, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024
}

/// The process lives, serves, and no thread of it panicked. (A guest's panic is a line of the log, which begins
/// otherwise.)
pub(crate) async fn check_sound(server: &Server, case: &str) {
    let output = server.output();
    let panicked: Vec<&str> = output
        .lines()
        .filter(|line| line.starts_with("thread '") || line.contains("fatal runtime"))
        .collect();
    assert!(panicked.is_empty(), "{case}: the host panicked: {panicked:?}");
    let hello = Caller::new(server, GOOD).text("/hello").await;
    assert_eq!(hello, (200, "hello\n".to_owned()), "{case}");
}
