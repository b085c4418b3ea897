//! What the tests of tenants share: the command line, the admin API over its own socket, callers with a credential, and
//! a model that remembers what it was sent.

use crate::support::{PATIENCE, Server, Setup, client, waggle};
use model_sim::{RecordedRequest, Running, SimConfig};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The state folder that [`Setup`] passes.
pub(crate) fn state_of(setup: &Setup) -> PathBuf {
    setup.folder().join("state")
}

/// `waggle ARGS`, with what it wrote to standard output and error.
pub(crate) fn run(args: &[&str], environment: &[(&str, &str)]) -> (bool, String, String) {
    let mut command = waggle();
    for name in ["WAGGLE_ADMIN_URL", "WAGGLE_ADMIN_KEY"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } =
        command.args(args).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// `waggle tenant ARGS` for the server with that state folder; it must succeed. What it printed.
pub(crate) fn tenant(server: &Server, args: &[&str]) -> String {
    let (done, out, err) = try_tenant(&state_of(&server.setup), args);
    assert!(done, "waggle tenant {args:?}: {out}{err}");
    out
}

/// `waggle tenant ARGS`, whatever comes of it.
pub(crate) fn try_tenant(state: &Path, args: &[&str]) -> (bool, String, String) {
    let folder = ["--state-dir", state.to_str().unwrap()];
    run(&[&["tenant"], args, &folder].concat(), &[])
}

/// The API key in a text that shows one.
pub(crate) fn key_in(text: &str) -> String {
    let whole = |part: &&str| part.starts_with("wk_") && part.len() == 59;
    let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    parts.into_iter().find(whole).unwrap_or_else(|| panic!("no key in {text}")).to_owned()
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The value of a header field; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a refusal in either shape.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let code = json["error"]["code"].as_str().or_else(|| json["code"].as_str());
        code.unwrap_or_default().to_owned()
    }
}

/// Somebody who calls the application.
#[derive(Clone)]
pub(crate) struct Caller {
    client: reqwest::Client,
    url: String,
    credential: Option<String>,
}

impl Caller {
    /// Without a credential.
    pub(crate) fn nobody(server: &Server) -> Self {
        Self { client: client(), url: server.url(""), credential: None }
    }

    /// With an API key or a token.
    pub(crate) fn with(server: &Server, credential: &str) -> Self {
        Self { credential: Some(credential.to_owned()), ..Self::nobody(server) }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("POST", path).json(body)).await
    }

    /// A turn; the answer of `POST /v1/responses`.
    pub(crate) async fn turn(&self, input: &str) -> Answer {
        self.post("/v1/responses", &json!({ "input": input })).await
    }

    /// A new conversation's id.
    pub(crate) async fn conversation(&self) -> String {
        let answer = self.post("/v1/conversations", &json!({})).await;
        let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        assert!(!id.is_empty(), "{answer:?}");
        id
    }
}

/// The admin API, spoken to as other programs do.
#[derive(Clone)]
pub(crate) struct Admin {
    client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Admin {
    /// By what the server wrote into its state folder.
    pub(crate) fn of(server: &Server) -> Self {
        let key = fs::read_to_string(state_of(&server.setup).join("admin-key")).unwrap();
        Self::with(server, key.trim_end())
    }

    /// With a key that was configured.
    pub(crate) fn with(server: &Server, key: &str) -> Self {
        let announced = fs::read_to_string(state_of(&server.setup).join("admin.json")).unwrap();
        let announced: Value = serde_json::from_str(&announced).unwrap();
        let url = announced["url"].as_str().unwrap().to_owned();
        Self { client: client(), url, key: key.to_owned() }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let method: Method = method.parse().unwrap();
        let request = self.client.request(method, format!("{}/admin/v1{path}", self.url));
        let request = request.bearer_auth(&self.key);
        Answer::of(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// A call with a body of any kind.
    pub(crate) fn raw(&self, method: &str, path: &str, body: String) -> RequestBuilder {
        let request = self.client.request(method.parse().unwrap(), format!("{}/admin/v1{path}", self.url));
        request.bearer_auth(&self.key).header("content-type", "application/json").body(body)
    }

    /// As [`Admin::call`]; it must succeed.
    pub(crate) async fn done(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.call(method, path, body).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// The same API, with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Makes a tenant with these settings and a key; the key.
    pub(crate) async fn create(&self, id: &str, settings: Value) -> String {
        self.done("POST", "/tenants", Some(&json!({ "id": id, "settings": settings }))).await;
        self.add_key(id, json!({})).await
    }

    pub(crate) async fn add_key(&self, id: &str, wishes: Value) -> String {
        let made = self.done("POST", &format!("/tenants/{id}/keys"), Some(&wishes)).await;
        made["secret"].as_str().unwrap().to_owned()
    }

    /// Changes settings: what is in `change` takes the place of what was there.
    pub(crate) async fn change(&self, id: &str, change: Value) {
        let path = format!("/tenants/{id}");
        let mut settings = self.done("GET", &path, None).await["settings"].take();
        for (name, value) in change.as_object().unwrap() {
            settings[name] = value.clone();
        }
        self.done("PUT", &path, Some(&settings)).await;
    }
}

/// A model that remembers what it was sent.
pub(crate) struct Model(pub(crate) Running);

impl Model {
    pub(crate) async fn start() -> Self {
        let config = SimConfig { recorded_requests_max: 1_000, ..SimConfig::default() };
        Self(model_sim::start(config).await.unwrap())
    }

    /// The set-up with this as the model.
    pub(crate) fn serve(&self, setup: Setup) -> Setup {
        setup.env("OPENAI_BASE_URL", &format!("{}/v1", self.0.url()))
    }

    /// The body of the last request.
    pub(crate) fn last(&self) -> Value {
        serde_json::from_slice(&self.last_request().body).unwrap()
    }

    /// A header field of the last request.
    pub(crate) fn last_header(&self, name: &str) -> Option<String> {
        let headers = self.last_request().headers;
        headers.into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    fn last_request(&self) -> RecordedRequest {
        self.0.handle().requests().pop().expect("the model was asked")
    }
}

/// Waits until a change is in force and says how long it took.
pub(crate) async fn in_force(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "{what} is never in force");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eprintln!("{what}: in force after {} ms", began.elapsed().as_millis());
}

/// Every file below a folder, links not followed.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files_below(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _link => {}
        }
    }
    found
}

/// The files below a folder that hold `text`.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files_below(folder).into_iter().filter(holds).collect()
}

/// A server that remembers what it was asked and answers all of it alike; without an answer it closes the connection.
pub(crate) struct Origin {
    pub(crate) url: String,
    reply: Arc<Mutex<Option<(u16, String)>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (reply, heads) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let (replies, seen) = (Arc::clone(&reply), Arc::clone(&heads));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _gone = converse(&stream, &replies, &seen);
            }
        });
        Self { url, reply, heads }
    }

    pub(crate) fn answer(&self, status: u16, text: &str) {
        *self.reply.lock().unwrap() = Some((status, text.to_owned()));
    }

    pub(crate) fn hang_up(&self) {
        *self.reply.lock().unwrap() = None;
    }

    /// The heads of all requests, in order.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The head of a request, and how long its body is.
pub(crate) fn read_head(reader: &mut impl BufRead) -> std::io::Result<(String, u64)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        head.push_str(&line);
    }
    Ok((head, length))
}

fn converse(
    mut stream: &TcpStream,
    reply: &Mutex<Option<(u16, String)>>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (head, length) = read_head(&mut reader)?;
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    heads.lock().unwrap().push(head);
    let Some((status, text)) = reply.lock().unwrap().clone() else { return Ok(()) };
    let bytes = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\
         connection: close\r\n\r\n{text}"
    )
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(text: &str) -> String {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let hash = suite.common.hash_provider.hash(text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
