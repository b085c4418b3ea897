//! Upstreams that do exactly what a test says, and calls to them.

use crate::client::SendOptions;
use crate::error::EgressError;
use crate::upstream::call::{CallOptions, Carrier, MODELS_HOST, UpstreamBody, Upstreams};
use crate::upstream::config::{UpstreamCredentials, UpstreamsConfig};
use crate::upstream::report::{AttemptReport, CallObserver, CallReport};
use crate::upstream::snapshot::UpstreamSnapshot;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

pub(super) const TOKEN: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
pub(super) const ROLE: &str =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";
pub(super) const JSON: &str = "{\"choices\":[]}";

/// A piece of a body, or its error, and the wait before it in milliseconds.
type Piece = (u64, Result<Bytes, fn() -> EgressError>);

/// What an upstream does with one request.
#[derive(Debug, Clone)]
pub(super) struct Act {
    connect_ms: u64,
    head_ms: u64,
    head: Result<(u16, &'static str), fn() -> EgressError>,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Piece>,
}

/// The error of a connection that is refused.
pub(super) fn refused() -> EgressError {
    EgressError::ConnectionRefused { host: "hidden.example".to_owned() }
}

/// The error of an answer that breaks off.
pub(super) fn cut() -> EgressError {
    EgressError::HttpResponseIncomplete { reason: "cut".to_owned() }
}

impl Act {
    pub(super) fn status(status: u16) -> Self {
        let head = Ok((status, "application/json"));
        Self { connect_ms: 0, head_ms: 0, head, headers: vec![], pieces: vec![] }
    }

    pub(super) fn json() -> Self {
        Self::status(200).piece(0, JSON)
    }

    pub(super) fn events() -> Self {
        Self { head: Ok((200, "text/event-stream")), ..Self::status(200) }
    }

    /// A whole stream of events whose first token comes after `ms`.
    pub(super) fn stream(ms: u64) -> Self {
        Self::events().piece(ms, TOKEN).piece(0, TOKEN).piece(0, DONE)
    }

    pub(super) fn html() -> Self {
        Self { head: Ok((200, "text/html")), ..Self::status(200) }.piece(0, "<html>")
    }

    pub(super) fn error(error: fn() -> EgressError) -> Self {
        Self { head: Err(error), ..Self::status(200) }
    }

    /// Never answers.
    pub(super) fn hang() -> Self {
        Self::status(200).after(u64::MAX / 2)
    }

    /// Takes so long to connect to.
    pub(super) fn connecting(self, connect_ms: u64) -> Self {
        Self { connect_ms, ..self }
    }

    pub(super) fn after(self, head_ms: u64) -> Self {
        Self { head_ms, ..self }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn piece(mut self, ms: u64, text: impl Into<Bytes>) -> Self {
        self.pieces.push((ms, Ok(text.into())));
        self
    }

    pub(super) fn break_off(mut self, ms: u64) -> Self {
        self.pieces.push((ms, Err(cut)));
        self
    }

    /// Sends nothing more, and does not end.
    pub(super) fn stall(self) -> Self {
        self.piece(u64::MAX / 2, "never")
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) url: String,
    pub(super) body: String,
    pub(super) at: Instant,
    pub(super) request: http::HeaderMap,
}

type Decide = dyn Fn(&str, usize) -> Act + Send + Sync;

/// Carries requests to a script.
#[derive(Clone)]
pub(super) struct Script {
    decide: Arc<Decide>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    /// Requests and bodies that are under way.
    alive: Arc<AtomicI64>,
}

/// Counts something that is under way.
struct Alive(Arc<AtomicI64>);

impl Alive {
    fn new(count: &Arc<AtomicI64>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// The body of a scripted response.
pub(super) struct ScriptBody {
    pieces: VecDeque<Piece>,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    _alive: Alive,
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let Some((ms, _)) = self.pieces.front() else { return Poll::Ready(None) };
        let (wait, pause) = (Duration::from_millis(*ms), self.pause);
        if !wait.is_zero() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait.min(pause))));
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        if wait > pause {
            self.pieces.clear();
            return Poll::Ready(Some(Err(EgressError::HttpResponseTimeout { after: pause })));
        }
        let (_, piece) = self.pieces.pop_front().unwrap();
        Poll::Ready(Some(piece.map(Frame::data).map_err(|error| error())))
    }
}

impl Carrier for Script {
    type Body = ScriptBody;

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        options: SendOptions,
        is_sent: &AtomicBool,
    ) -> Result<Response<ScriptBody>, EgressError> {
        let alive = Alive::new(&self.alive);
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let act = {
            let mut arrived = self.arrived.lock().unwrap();
            let host = head.uri.host().unwrap();
            let before = arrived.iter().filter(|one: &&Arrived| one.url.contains(host)).count();
            arrived.push(Arrived {
                url: head.uri.to_string(),
                body: String::from_utf8(body.to_vec()).unwrap(),
                at: Instant::now(),
                request: head.headers,
            });
            (self.decide)(host, before)
        };
        let timeout = options.connect_timeout.unwrap();
        let wait = Duration::from_millis(act.connect_ms);
        tokio::time::sleep(wait.min(timeout)).await;
        if wait > timeout {
            return Err(EgressError::ConnectionTimeout { host: "hidden.example".into(), after: timeout });
        }
        let is_refused =
            act.head.is_err_and(|error| matches!(error(), EgressError::ConnectionRefused { .. }));
        is_sent.store(!is_refused, SeqCst);
        let timeout = options.first_byte_timeout.unwrap();
        let wait = Duration::from_millis(act.head_ms);
        tokio::time::sleep(wait.min(timeout)).await;
        if wait > timeout {
            return Err(EgressError::ConnectionReadTimeout { host: "hidden.example".into(), after: timeout });
        }
        let (status, content_type) = act.head.map_err(|error| error())?;
        let mut response = Response::builder().status(status).header("content-type", content_type);
        for (name, value) in act.headers {
            response = response.header(name, value);
        }
        let pause = options.between_bytes_timeout.unwrap();
        let body = ScriptBody { pieces: act.pieces.into(), pause, sleep: None, _alive: alive };
        Ok(response.body(body).unwrap())
    }
}

/// Upstreams over a script, and what the script saw.
pub(super) struct Scene {
    pub(super) upstreams: Upstreams<Script>,
    script: Script,
    pub(super) told: Arc<ToldTo>,
}

/// Keeps what is told of calls.
#[derive(Default)]
pub(super) struct ToldTo {
    pub(super) attempts: Mutex<Vec<String>>,
    pub(super) calls: Mutex<Vec<CallReport>>,
}

impl CallObserver for ToldTo {
    fn attempt(&self, report: &AttemptReport<'_>) {
        let hedge = if report.is_hedge { " hedge" } else { "" };
        let line = format!("{}/{} {:?}{hedge}", report.upstream, report.endpoint, report.outcome);
        self.attempts.lock().unwrap().push(line);
    }

    fn ended(&self, report: &CallReport) {
        self.calls.lock().unwrap().push(report.clone());
    }
}

/// What a function got.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Result<String, EgressError>,
    pub(super) took: Duration,
}

impl Got {
    /// The code of the error object.
    pub(super) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(self.body.as_ref().unwrap()).unwrap();
        body["error"]["code"].as_str().unwrap().to_owned()
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A configuration of one upstream `one` with one endpoint, for the model `m`. `policy` are further lines.
pub(super) fn one(policy: &str) -> String {
    format!(
        "[upstream.one]\nurl = 'http://a.test/base'\n{policy}\n[model.m]\nupstream = 'one'\nmodel = 'm-there'\n"
    )
}

impl Scene {
    pub(super) fn new(config: &str, decide: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Self {
        let config: UpstreamsConfig = toml::from_str(config).unwrap();
        let script = Script { decide: Arc::new(decide), arrived: Arc::default(), alive: Arc::default() };
        let transports = config.upstreams().iter().map(|_| None).collect();
        let credentials = UpstreamCredentials::default();
        let upstreams = Upstreams::with_carrier(&config, &credentials, transports, script.clone());
        Self { upstreams, script, told: Arc::default() }
    }

    /// What arrived at all upstreams.
    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.script.arrived.lock().unwrap().clone()
    }

    /// The hosts that were asked, one letter each.
    pub(super) fn asked(&self) -> String {
        let first = |url: &str| url.strip_prefix("http://").unwrap().chars().next().unwrap();
        self.arrived().iter().map(|arrived| first(&arrived.url)).collect()
    }

    /// How many attempts arrived.
    pub(super) fn count(&self) -> usize {
        self.script.arrived.lock().unwrap().len()
    }

    pub(super) fn options(&self) -> CallOptions<'static> {
        CallOptions {
            observer: Some(Arc::clone(&self.told) as _),
            tenant: "bank-a",
            ..CallOptions::default()
        }
    }

    pub(super) async fn begin(
        &self,
        body: &str,
        options: CallOptions<'_>,
    ) -> Result<Response<UpstreamBody<ScriptBody>>, EgressError> {
        self.upstreams.call(request(body), options).await
    }

    pub(super) async fn call_with(&self, body: &str, options: CallOptions<'_>) -> Got {
        let start = Instant::now();
        let response = self.begin(body, options).await.unwrap();
        let took = start.elapsed();
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
        Got { status: head.status.as_u16(), headers: head.headers, body, took }
    }

    pub(super) async fn call(&self, body: &str) -> Got {
        self.call_with(body, self.options()).await
    }

    /// A call whose answer is streamed.
    pub(super) async fn stream(&self) -> Got {
        self.call(STREAMED).await
    }

    /// The outcomes of the attempts so far, in the order they ended.
    pub(super) fn outcomes(&self) -> Vec<String> {
        self.told.attempts.lock().unwrap().clone()
    }

    pub(super) fn snapshot(&self) -> UpstreamSnapshot {
        self.upstreams.snapshot().remove(0)
    }

    /// Nothing is under way any more: no request, no place, no probe.
    pub(super) fn assert_idle(&self) {
        assert_eq!(self.script.alive.load(SeqCst), 0, "requests are under way");
        for snapshot in self.upstreams.snapshot() {
            let left = (snapshot.in_flight, snapshot.waiting, snapshot.probes);
            assert_eq!(left, (0, 0, 0), "{}: in flight, waiting, probes", snapshot.name);
        }
    }
}

pub(super) const STREAMED: &str = r#"{"model":"m","stream":true}"#;
pub(super) const WHOLE: &str = r#"{"model":"m"}"#;

pub(super) fn request(body: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://{MODELS_HOST}/v1/chat/completions?x=1"))
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}
