//! A client of the admin API, for the command line: one request a connection, nothing kept.

mod settings_file;

pub use settings_file::{SettingsFileError, read_settings};

use crate::{KEY_FILE, announcement, key};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpStream;
use waggle_secret::Secret;

/// How long the server may take to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long it may take to answer. An erasure takes its time.
const ANSWER_MAX: Duration = Duration::from_secs(660);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the API is and what opens it.
#[derive(Debug)]
pub struct AdminClient {
    application_url: Option<String>,
    authority: String,
    host: String,
    port: u16,
    authorization: HeaderValue,
}

/// Where to look for the API and its key; what is given goes before what is found.
#[derive(Debug, Default)]
pub struct Finder {
    /// Such as `http://127.0.0.1:4000`.
    pub url: Option<String>,
    /// The admin key.
    pub key: Option<Secret>,
    /// The state folder of a server on this machine.
    pub state_dir: PathBuf,
}

/// Why something asked of the API was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no server runs with the state folder {}; start one with `waggle up`, name the folder with \
             --state-dir, or the server with --admin-url and --admin-key", state_dir.display())]
    NotRunning { state_dir: PathBuf },
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error(
        "there is no admin key; give it with WAGGLE_ADMIN_KEY, or name the server's state folder with --state-dir"
    )]
    NoKey,
    #[error(
        "`{url}` is no admin URL; expected http://HOST:PORT (put a TLS tunnel before one that is far away)"
    )]
    Url { url: String },
    #[error("the admin key has characters that no header field can hold")]
    KeyShape,
    #[error("nobody answers at http://{authority} ({reason}); does the server run? `waggle up` starts it")]
    Unreachable { authority: String, reason: String },
    #[error("the server at http://{authority} {reason}")]
    Answer { authority: String, reason: String },
    /// The server refused: RFC 9457 problem details.
    #[error("{}", told(.0))]
    Refused(Value),
}

impl ClientError {
    /// The status and the code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem["code"].as_str(),
            _ => None,
        }
    }
}

/// A refusal for people: the sentence, and each mistake on a line of its own.
fn told(problem: &Value) -> String {
    let detail = problem["detail"].as_str().or_else(|| problem["title"].as_str()).unwrap_or("refused");
    let mut text = detail.to_owned();
    for mistake in problem["errors"].as_array().into_iter().flatten() {
        let place = mistake["pointer"].as_str().or_else(|| mistake["parameter"].as_str()).unwrap_or("");
        let detail = mistake["detail"].as_str().unwrap_or("");
        text.push_str(&format!("\n  {place}: {detail}"));
    }
    text
}

impl Finder {
    /// Finds the API: as given, else as the server of the state folder says.
    ///
    /// # Errors
    /// When nothing is given and no server runs, or there is no key; says what to do.
    pub fn find(self) -> Result<AdminClient, ClientError> {
        let Self { url, key, state_dir } = self;
        let (url, application_url) = match url {
            Some(url) => (url, None),
            None => found_url(&state_dir)?,
        };
        let key = match key {
            Some(key) => key,
            None => found_key(&state_dir)?,
        };
        Ok(AdminClient { application_url, ..AdminClient::new(&url, &key)? })
    }
}

fn found_url(state_dir: &Path) -> Result<(String, Option<String>), ClientError> {
    let found = announcement::read(state_dir)
        .map_err(|error| ClientError::File {
            path: state_dir.join(announcement::ANNOUNCEMENT_FILE),
            reason: error.to_string(),
        })?
        .ok_or_else(|| ClientError::NotRunning { state_dir: state_dir.to_owned() })?;
    Ok((found.url, found.application_url))
}

fn found_key(state_dir: &Path) -> Result<Secret, ClientError> {
    let path = state_dir.join(KEY_FILE);
    match key::read(&path) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(ClientError::NoKey),
        Err(error) => Err(ClientError::File { path, reason: error.to_string() }),
    }
}

impl AdminClient {
    /// A client of the API at `url`.
    ///
    /// # Errors
    /// When `url` is not `http://HOST:PORT`, or the key cannot be sent.
    pub fn new(url: &str, key: &Secret) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_invalid| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let plain = uri.scheme() == Some(&Scheme::HTTP) && uri.path() == "/" && uri.query().is_none();
        if !plain || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
            .map_err(|_invalid| ClientError::KeyShape)?;
        authorization.set_sensitive(true);
        Ok(Self {
            application_url: None,
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authorization,
        })
    }

    /// Where the application is served, when the server has written it down.
    #[must_use]
    pub fn application_url(&self) -> Option<&str> {
        self.application_url.as_deref()
    }

    /// Shows what is at `path`, which begins with `/` and stands below `/admin/v1`.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or does not answer in its own shapes.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::GET, path, None).await
    }

    /// Posts `body` to `path`, as [`AdminClient::get`].
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Puts `body` in the place of what is at `path`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    /// Removes what is at `path`; null when there is nothing to tell.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::DELETE, path, None).await
    }

    /// Posts `bytes`, which are of the type `media_type`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn upload(&self, path: &str, media_type: &str, bytes: Bytes) -> Result<Value, ClientError> {
        let request = self.request(Method::POST, path, Some((media_type, bytes)))?;
        self.answered(request).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let body = body.map(|body| (crate::route::JSON, Bytes::from(body.to_string())));
        self.answered(self.request(method, path, body)?).await
    }

    async fn answered(&self, request: Request<Full<Bytes>>) -> Result<Value, ClientError> {
        let (status, bytes) = match tokio::time::timeout(ANSWER_MAX, self.send(request)).await {
            Ok(answer) => answer?,
            Err(_elapsed) => return Err(self.answer("took too long to answer")),
        };
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|_no_json| self.answer("does not answer as the admin API does; is the URL right?"))?;
        if status.is_success() { Ok(value) } else { Err(ClientError::Refused(value)) }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", crate::route::BASE))
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONNECTION, "close");
        let (media_type, bytes) = body.unzip();
        if let Some(media_type) = media_type {
            builder = builder.header(header::CONTENT_TYPE, media_type);
        }
        builder
            .body(Full::from(bytes.unwrap_or_default()))
            .map_err(|_invalid| self.answer("has no such path"))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
        let unreachable =
            |reason: String| ClientError::Unreachable { authority: self.authority.clone(), reason };
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string()))?,
            Err(_elapsed) => return Err(unreachable("it took too long to connect".into())),
        };
        let failed = |error: hyper::Error| self.answer(&format!("broke off: {error}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        driver.abort();
        let body = body.map_err(|error| self.answer(&format!("broke off: {error}")))?;
        Ok((status, body.to_bytes()))
    }

    fn answer(&self, reason: &str) -> ClientError {
        ClientError::Answer { authority: self.authority.clone(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "wadm_0123456789abcdef0123456789abcdef";

    #[test]
    fn a_url_is_a_plain_origin() {
        let check = |url: &str, expected: Option<(&str, u16)>| {
            let client = AdminClient::new(url, &Secret::new(KEY));
            assert_eq!(
                client.ok().map(|one| (one.host, one.port)),
                expected.map(|(h, p)| (h.into(), p)),
                "{url}"
            );
        };
        check("http://127.0.0.1:4000", Some(("127.0.0.1", 4000)));
        check("http://127.0.0.1:4000/", Some(("127.0.0.1", 4000)));
        check("http://[::1]:4000", Some(("::1", 4000)));
        check("http://admin.internal", Some(("admin.internal", 80)));
        for url in
            ["https://a.test", "a.test:80", "http://a.test/admin", "http://u:p@a.test", "http://a.test?x", ""]
        {
            check(url, None);
        }
    }

    #[test]
    fn without_a_server_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let finder = Finder { state_dir: dir.path().to_owned(), ..Finder::default() };
        let error = finder.find().unwrap_err().to_string();
        assert!(error.contains("waggle up") && error.contains("--admin-url"), "{error}");
        let url = Some("http://127.0.0.1:1".to_owned());
        let finder = Finder { url, state_dir: dir.path().to_owned(), ..Finder::default() };
        assert!(matches!(finder.find(), Err(ClientError::NoKey)));
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_told_as_such() {
        let client = AdminClient::new("http://127.0.0.1:1", &Secret::new(KEY)).unwrap();
        let error = client.get("/tenants").await.unwrap_err().to_string();
        assert!(error.contains("nobody answers at http://127.0.0.1:1"), "{error}");
        assert!(!format!("{client:?}{error}").contains("wadm_"));
    }

    #[test]
    fn a_refusal_is_told_with_each_mistake_on_its_line() {
        let problem = json!({ "detail": "No.", "errors": [{ "pointer": "/a", "detail": "b" },
                                                          { "parameter": "c", "detail": "d" }] });
        assert_eq!(ClientError::Refused(problem).to_string(), "No.\n  /a: b\n  c: d");
    }
}
