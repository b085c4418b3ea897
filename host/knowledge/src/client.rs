//! One server as one caller sees it: requests of the public API, one on a connection, nothing kept.

use crate::KnowledgeError;
use crate::form::{Body, Form};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme, Uri};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use waggle_secret::Secret;

/// How long the server may take to be reached, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a request may take, an upload included.
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a request that is told to come again later is repeated.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest wait between two attempts, in seconds, whatever the server asks for.
const RETRY_AFTER_S_MAX: u64 = 30;

/// The files and vector stores of a server.
pub struct Knowledge {
    /// Scheme and authority, for messages.
    origin: String,
    authority: Authority,
    port: u16,
    /// Where the origin is `https`.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knowledge").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Either kind of connection.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn without_body() -> Body {
    whole(Bytes::new())
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// What a refusal says: OpenAI's error object, or problem details.
fn refusal(status: StatusCode, retry_after_s: Option<u64>, bytes: &[u8]) -> KnowledgeError {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let error = &value["error"];
    let message = error["message"].as_str().or_else(|| value["detail"].as_str());
    let code = error["code"].as_str().or_else(|| value["code"].as_str());
    KnowledgeError::Refused {
        status: status.as_u16(),
        code: code.map(str::to_owned),
        message: message.map_or_else(|| format!("the server answers {status}"), str::to_owned),
        retry_after_s,
    }
}

/// Repeats what the server asks to be repeated later.
///
/// # Errors
/// That of the last attempt.
pub(crate) async fn patiently<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, KnowledgeError>,
) -> Result<T, KnowledgeError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match attempt().await {
            Err(error) => error,
            done => return done,
        };
        let wait_s = match &error {
            error if error.is_over_budget() => None,
            KnowledgeError::Refused { status: 429 | 503, retry_after_s, .. } => *retry_after_s,
            _ => None,
        };
        let Some(wait_s) = wait_s.filter(|_| Instant::now() < until) else { return Err(error) };
        tokio::time::sleep(Duration::from_secs(wait_s.clamp(1, RETRY_AFTER_S_MAX))).await;
    }
}

impl Knowledge {
    /// The server at `url`, for the holder of `key`; without a key as nobody in particular.
    ///
    /// # Errors
    /// When `url` is not `http://HOST:PORT` or `https://HOST:PORT`, or the key cannot be sent.
    pub fn new(url: &str, key: Option<&Secret>) -> Result<Self, KnowledgeError> {
        let wrong = || KnowledgeError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_invalid| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?.clone();
        let plain = uri.path() == "/" && uri.query().is_none() && !authority.as_str().contains('@');
        let is_tls = match uri.scheme() {
            Some(scheme) if plain && *scheme == Scheme::HTTP => false,
            Some(scheme) if plain && *scheme == Scheme::HTTPS => true,
            _ => return Err(wrong()),
        };
        let tls = if is_tls {
            let name = authority.host().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_invalid| wrong())?;
            Some((connector().map_err(|_unsupported| wrong())?, name))
        } else {
            None
        };
        let scheme = if is_tls { "https" } else { "http" };
        Ok(Self {
            origin: format!("{scheme}://{authority}"),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority,
            tls,
            authorization: key.map(authorization).transpose()?,
        })
    }

    /// The server's address as a URL, without a slash at its end.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads what is at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, KnowledgeError> {
        patiently(async || self.read(self.send(self.request(Method::GET, path, without_body())?).await?))
            .await
    }

    /// Posts JSON to `path`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, KnowledgeError> {
        patiently(async || {
            let mut request = self.request(Method::POST, path, whole(body.to_string().into()))?;
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
            self.read(self.send(request).await?)
        })
        .await
    }

    /// Deletes what is at `path`. Nothing being there is as good.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), KnowledgeError> {
        let deleted: Result<Value, KnowledgeError> = patiently(async || {
            self.read(self.send(self.request(Method::DELETE, path, without_body())?).await?)
        })
        .await;
        match deleted {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_told| ()),
        }
    }

    /// Posts a form to `path`, once.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form,
    ) -> Result<T, KnowledgeError> {
        let mut request = self.request(Method::POST, path, form.body)?;
        let kind = HeaderValue::from_str(&form.content_type)
            .map_err(|_invalid| self.answer("has no such kind of form"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(form.length));
        self.read(self.send(request).await?)
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, KnowledgeError> {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.authority.as_str())
            .header(header::CONNECTION, "close");
        if let Some(authorization) = &self.authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        builder.body(body).map_err(|_invalid| self.answer("has no such path"))
    }

    fn read<T: DeserializeOwned>(
        &self,
        (response, bytes): (Response<()>, Bytes),
    ) -> Result<T, KnowledgeError> {
        let status = response.status();
        if !status.is_success() {
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let retry_after_s = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Err(refusal(status, retry_after_s, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|_other| {
            self.answer("does not answer as Waggle does; is the URL right, and does its application have `retrieval`?")
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<(Response<()>, Bytes), KnowledgeError> {
        match tokio::time::timeout(ANSWER_MAX, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_elapsed) => Err(self.answer("took too long to answer")),
        }
    }

    async fn exchange(&self, request: Request<Body>) -> Result<(Response<()>, Bytes), KnowledgeError> {
        let unreachable =
            |reason: String| KnowledgeError::Unreachable { origin: self.origin.clone(), reason };
        let wire = match tokio::time::timeout(CONNECT_MAX, self.connect()).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string()))?,
            Err(_elapsed) => return Err(unreachable("it took too long to connect".into())),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
            .await
            .map_err(|error| self.broken(&error))?;
        let driver = tokio::spawn(connection);
        let answered = match sender.send_request(request).await {
            Ok(response) => self.collect(response).await,
            Err(error) => Err(self.broken(&error)),
        };
        driver.abort();
        answered
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<(Response<()>, Bytes), KnowledgeError> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| self.answer(&format!("broke off: {error}")))?;
        Ok((Response::from_parts(parts, ()), body.to_bytes()))
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Wire>> {
        let host = self.authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }

    fn broken(&self, error: &hyper::Error) -> KnowledgeError {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.answer(&format!("broke off: {error}{cause}"))
    }

    fn answer(&self, reason: &str) -> KnowledgeError {
        KnowledgeError::Answer { origin: self.origin.clone(), reason: reason.to_owned() }
    }
}

fn authorization(key: &Secret) -> Result<HeaderValue, KnowledgeError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
    let mut value = value.map_err(|_invalid| KnowledgeError::KeyShape)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_origin() {
        let check = |url: &str, expected: Option<(&str, u16, bool)>| {
            let found = Knowledge::new(url, None).ok();
            let found = found.map(|one| (one.origin.clone(), one.port, one.tls.is_some()));
            assert_eq!(found, expected.map(|(origin, port, tls)| (origin.to_owned(), port, tls)), "{url}");
        };
        check("http://127.0.0.1:3000", Some(("http://127.0.0.1:3000", 3000, false)));
        check("http://[::1]:3000/", Some(("http://[::1]:3000", 3000, false)));
        check("https://waggle.test", Some(("https://waggle.test", 443, true)));
        check("http://waggle.test", Some(("http://waggle.test", 80, false)));
        for url in
            ["waggle.test:1", "ftp://a.test", "http://a.test/v1", "http://u:p@a.test", "http://a?x", ""]
        {
            check(url, None);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_as_such_and_never_its_key() {
        let key = Secret::new("wk_secret");
        let server = Knowledge::new("http://127.0.0.1:1", Some(&key)).unwrap();
        let error = server.get::<Value>("/v1/files").await.unwrap_err();
        assert!(error.is_of_all());
        assert!(error.to_string().contains("nobody answers at http://127.0.0.1:1"), "{error}");
        assert!(!format!("{server:?}{error:?}").contains("secret"));
        assert!(matches!(
            Knowledge::new("http://a", Some(&Secret::new("\n"))),
            Err(KnowledgeError::KeyShape)
        ));
    }

    #[test]
    fn refusals_are_told_in_either_shape() {
        let check = |body: &str, expected: (&str, Option<&str>)| {
            let error = refusal(StatusCode::NOT_FOUND, None, body.as_bytes());
            let KnowledgeError::Refused { message, code, .. } = error else { panic!("{body}") };
            assert_eq!((message.as_str(), code.as_deref()), expected, "{body}");
        };
        check(r#"{"error":{"message":"No.","code":"c"}}"#, ("No.", Some("c")));
        check(r#"{"title":"T","detail":"D","code":"c"}"#, ("D", Some("c")));
        check("<html>", ("the server answers 404 Not Found", None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_come_again_is_repeated_and_nothing_else_is() {
        let later = |status, retry_after_s| KnowledgeError::Refused {
            status,
            code: None,
            message: String::new(),
            retry_after_s,
        };
        for (status, retry_after_s, expected) in
            [(429, Some(2), 3), (503, Some(2), 3), (429, None, 1), (500, Some(2), 1)]
        {
            let mut attempts = 0;
            let done = patiently(async || {
                attempts += 1;
                if attempts < 3 { Err(later(status, retry_after_s)) } else { Ok(()) }
            })
            .await;
            assert_eq!((attempts, done.is_ok()), (expected, expected == 3), "{status}");
        }
    }
}
