//! Model endpoints that misbehave, over real sockets, and the upstreams that stand before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waggle_egress::EgressError;
use waggle_egress::upstream::{
    CallOptions, MODELS_HOST, UpstreamCredentials, UpstreamSnapshot, Upstreams, UpstreamsConfig,
};

use crate::support::{Upstream, egress, read_head, until, until_closed, within};

pub(crate) const STREAMED: &str = r#"{"model":"m","stream":true,"messages":[]}"#;
pub(crate) const WHOLE: &str = r#"{"model":"m","messages":[]}"#;

pub(crate) const EVENTS_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const ROLE: &str =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
pub(crate) const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// What a server does with a request that it has read.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Sends this, and waits for the next request on the same connection.
    Send(String),
    /// Sends this, then nothing, until the client goes.
    SendAndHang(String),
    /// Sends this and closes.
    SendAndClose(String),
    /// Sends this and resets the connection.
    SendAndReset(String),
    /// Sends this byte by byte, with a pause after each.
    Drip(String, Duration),
    /// Sends the first, then the second over and over.
    Endless(String, String),
}

/// A chunk of a chunked body.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The beginning of a stream of events: its head, and these pieces.
pub(crate) fn events(pieces: &[&str]) -> String {
    let chunks: String = pieces.iter().map(|piece| chunk(piece)).collect();
    format!("{EVENTS_HEAD}{chunks}")
}

/// A whole stream of events.
pub(crate) fn stream() -> String {
    format!("{EVENTS_HEAD}{}{}{}0\r\n\r\n", chunk(ROLE), chunk(TOKEN), chunk(DONE))
}

/// A response whose length is declared.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// The answer of a call that is not streamed.
pub(crate) fn json() -> String {
    whole("200 OK", "content-type: application/json\r\n", "{\"choices\":[]}")
}

/// A server that counts the requests it has read.
pub(crate) struct Server {
    pub(crate) url: String,
    upstream: Upstream,
    requests: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// Does with each request what `decide` says of its number, counted from zero.
    pub(crate) async fn start(decide: impl Fn(usize) -> Does + Send + Sync + 'static) -> Self {
        let (requests, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, decide, connections) = (Arc::clone(&requests), Arc::new(decide), Arc::clone(&open));
        let upstream = Upstream::start(move |mut stream| {
            let (count, decide, connections) =
                (Arc::clone(&count), Arc::clone(&decide), Arc::clone(&connections));
            async move {
                connections.fetch_add(1, SeqCst);
                while read_request(&mut stream).await.is_some() {
                    let number = count.fetch_add(1, SeqCst);
                    if !act(&mut stream, decide(number)).await {
                        break;
                    }
                }
                connections.fetch_sub(1, SeqCst);
            }
        })
        .await;
        Self { url: upstream.url(""), upstream, requests, open }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// How many connections it has taken so far.
    pub(crate) fn connections(&self) -> usize {
        self.upstream.connections()
    }

    /// Waits until it has no connection that is at work on a request.
    pub(crate) async fn until_closed(&self) {
        until("all connections are closed", || self.open.load(SeqCst) == 0).await;
    }
}

/// Reads one request, with its body.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let head = read_head(stream).await?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

/// Whether the connection goes on.
async fn act(stream: &mut TcpStream, does: Does) -> bool {
    match does {
        Does::Send(text) => return stream.write_all(text.as_bytes()).await.is_ok(),
        Does::SendAndHang(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            until_closed(stream).await;
        }
        Does::SendAndClose(text) => drop(stream.write_all(text.as_bytes()).await),
        Does::SendAndReset(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            stream.set_zero_linger().unwrap();
        }
        Does::Drip(text, pause) => {
            for byte in text.bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
        Does::Endless(head, piece) => {
            let piece = piece.into_bytes();
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(&piece).await;
            }
        }
    }
    false
}

/// Time-outs that suit a test: long enough for a busy machine, short enough to wait for.
pub(crate) const POLICY: &str = "first_byte_timeout_ms = 300\nanswer_timeout_ms = 300\n\
                                 between_bytes_timeout_ms = 300\nconnect_timeout_ms = 300\nbackoff_ms = 5\n";

/// The upstream `one` at `urls` for the model `m`; `policy` are its further keys.
pub(crate) fn upstreams(urls: &[&str], policy: &str) -> Upstreams {
    let endpoints: Vec<_> = urls.iter().map(|url| format!("{{ url = '{url}/v1' }}")).collect();
    configured(&format!(
        "[upstream.one]\nendpoints = [{}]\n{policy}\n[model.m]\nupstream = 'one'\n",
        endpoints.join(", ")
    ))
}

pub(crate) fn configured(text: &str) -> Upstreams {
    let config: UpstreamsConfig = toml::from_str(text).unwrap();
    Upstreams::new(&config, &UpstreamCredentials::default(), egress()).unwrap()
}

/// What a function got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Result<String, EgressError>,
}

impl Got {
    /// The code of the error object, or that of the error which ended the body.
    pub(crate) fn code(&self) -> String {
        match &self.body {
            Ok(body) => serde_json::from_str::<serde_json::Value>(body)
                .ok()
                .and_then(|body| Some(body["error"]["code"].as_str()?.to_owned()))
                .unwrap_or_default(),
            Err(error) => error.code().to_owned(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn request(body: &str) -> Request<Full<Bytes>> {
    let url = format!("http://{MODELS_HOST}/v1/chat/completions");
    let request = Request::post(url).header("content-type", "application/json");
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

pub(crate) async fn call(upstreams: &Upstreams, body: &str) -> Got {
    let response = within(upstreams.call(request(body), CallOptions::default())).await.unwrap();
    let (head, body) = response.into_parts();
    let body = within(body.collect()).await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Got { status: head.status.as_u16(), headers: head.headers, body }
}

/// The only upstream.
pub(crate) fn snapshot(upstreams: &Upstreams) -> UpstreamSnapshot {
    upstreams.snapshot().remove(0)
}

pub(crate) fn assert_idle(upstreams: &Upstreams) {
    let snapshot = snapshot(upstreams);
    assert_eq!((snapshot.in_flight, snapshot.waiting, snapshot.probes), (0, 0, 0));
}
