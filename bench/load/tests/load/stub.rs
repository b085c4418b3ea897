//! A server with the calls the scenarios use. What a client says decides nothing; the stub's mood does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

type Answer = BoxBody<Bytes, Infallible>;

fn whole(text: impl Into<Bytes>) -> Answer {
    Full::new(text.into()).boxed()
}

/// A body with a first piece and no end.
struct Begins {
    has_begun: bool,
}

impl Body for Begins {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"event: response.created\n\n")))))
    }
}

/// How turns are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Right,
    Busy,
    Failed,
    Confused,
    Silent,
    /// Closes each connection a moment after its answer.
    Leaves,
    /// Begins streams and does not go on.
    Stalls,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) conversations: AtomicU64,
    pub(crate) items: AtomicU64,
    pub(crate) turns: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Requests by their credential.
    pub(crate) credentials: Mutex<BTreeMap<String, u64>>,
    /// The longest input of a turn.
    pub(crate) input_bytes: AtomicU64,
}

pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

impl Stub {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

pub(crate) async fn start(mood: Mood) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            shared.connections.fetch_add(1, Relaxed);
            let seen = Arc::clone(&shared);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, mood, Arc::clone(&seen)));
                // A client that leaves is no matter here.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Stub { address, seen }
}

async fn answer(
    request: Request<Incoming>,
    mood: Mood,
    seen: Arc<Seen>,
) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path().to_owned();
    if let Some(credential) = request.headers().get("authorization") {
        let credential = credential.to_str().unwrap().to_owned();
        *seen.credentials.lock().unwrap().entry(credential).or_default() += 1;
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = match path.as_str() {
        "/hello" => "hello".to_owned(),
        "/v1/conversations" => {
            format!(r#"{{"object":"conversation","id":"conv_{}"}}"#, seen.conversations.fetch_add(1, Relaxed))
        }
        "/v1/chat/completions" => {
            let said = body["messages"][0]["content"].as_str().unwrap();
            format!(r#"{{"object":"chat.completion","x":"You said: {said}"}}"#)
        }
        "/v1/responses" => return Ok(turn(&body, mood, &seen).await),
        _ => {
            seen.items.fetch_add(body["items"].as_array().unwrap().len() as u64, Relaxed);
            "{}".to_owned()
        }
    };
    let mut response = Response::new(whole(text));
    if mood == Mood::Leaves {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn turn(body: &Value, mood: Mood, seen: &Seen) -> Response<Answer> {
    seen.turns.fetch_add(1, Relaxed);
    let said = body["input"].as_str().unwrap();
    seen.input_bytes.fetch_max(said.len() as u64, Relaxed);
    let (status, said) = match mood {
        Mood::Right | Mood::Leaves => ("completed", said),
        Mood::Confused => ("completed", "something else"),
        Mood::Failed => ("failed", said),
        Mood::Silent => std::future::pending().await,
        Mood::Stalls => {
            return Response::new(Begins { has_begun: false }.boxed());
        }
        Mood::Busy => {
            let mut response = Response::new(whole("{}"));
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            return response;
        }
    };
    let response = format!(r#"{{"status":"{status}","output":"You said: {said}"}}"#);
    if body["stream"] != true {
        return Response::new(whole(response));
    }
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\"}\n\n";
    let stream = format!(
        "{delta}event: response.{status}\ndata: {{\"type\":\"response.{status}\",\"response\":{response}}}\n\n"
    );
    Response::new(whole(stream))
}
