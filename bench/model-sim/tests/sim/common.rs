//! A client that shows what is on the wire: one request on a connection of its own, the answer as raw text.

use std::io::ErrorKind;
use std::time::Duration;

use model_sim::{Running, SimConfig, Stats};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const ANSWER_MS_MAX: u64 = 10_000;

/// What came back on the connection.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) text: String,
    /// The connection was reset instead of closed.
    pub(crate) reset: bool,
}

impl Raw {
    pub(crate) fn status(&self) -> u16 {
        self.text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The body without chunk framing.
    pub(crate) fn body(&self) -> String {
        let (head, body) = self.text.split_once("\r\n\r\n").unwrap_or((&self.text, ""));
        if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            return body.to_owned();
        }
        let mut joined = String::new();
        let mut rest = body;
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            let chunk = &after[..size.min(after.len())];
            joined.push_str(chunk);
            rest = after.get(size + 2..).unwrap_or("");
        }
        joined
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The stream ended as HTTP says it should.
    pub(crate) fn is_finished(&self) -> bool {
        self.text.ends_with("\r\n0\r\n\r\n")
    }
}

pub(crate) async fn start() -> Running {
    model_sim::start(SimConfig::default()).await.unwrap()
}

pub(crate) async fn connect(model: &Running) -> TcpStream {
    TcpStream::connect(model.address()).await.unwrap()
}

pub(crate) fn head(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) async fn request(model: &Running, method: &str, path: &str, headers: &str, body: &str) -> Raw {
    let mut stream = connect(model).await;
    stream.write_all(head(method, path, headers, body).as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_millis(ANSWER_MS_MAX), stream.read_to_end(&mut bytes)).await;
    let reset = match read.expect("the answer takes too long") {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{error}"),
    };
    Raw { text: String::from_utf8(bytes).unwrap(), reset }
}

pub(crate) fn chat_body(text: &str, stream: bool) -> String {
    serde_json::json!({"model": "sim", "stream": stream, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

pub(crate) async fn chat(model: &Running, text: &str) -> Raw {
    request(model, "POST", "/v1/chat/completions", "", &chat_body(text, false)).await
}

pub(crate) async fn chat_stream(model: &Running, text: &str) -> Raw {
    request(model, "POST", "/v1/chat/completions", "", &chat_body(text, true)).await
}

pub(crate) async fn wait_for(model: &Running, what: &str, condition: impl Fn(Stats) -> bool) {
    let deadline = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
    while !condition(model.handle().stats()) {
        assert!(Instant::now() < deadline, "never happened: {what}; {:?}", model.handle().stats());
        sleep(Duration::from_millis(2)).await;
    }
}
