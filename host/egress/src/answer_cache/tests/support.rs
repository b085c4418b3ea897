//! Models that answer by a script, and askers that tell what they got and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::answer_cache::{
    AnswerBody, AnswerCacheConfig, AnswerCaches, AnswerSettings, AnswerSource, AskOptions, Question,
    TenantAnswers,
};
use crate::error::EgressError;

pub(super) type ModelBody = UnsyncBoxBody<Bytes, EgressError>;

pub(super) const JSON: &str = "application/json";
pub(super) const EVENTS: &str = "text/event-stream";

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn caches() -> AnswerCaches {
    AnswerCaches::new(&AnswerCacheConfig::default())
}

/// A tenant's answers that live for a minute.
pub(super) fn a_minute(caches: &AnswerCaches, tenant: &str) -> TenantAnswers {
    caches.tenant(tenant, AnswerSettings { time_to_live_s: 60 })
}

/// The body of a request that asks `text`.
pub(super) fn asking(text: &str) -> String {
    serde_json::json!({"messages": [{"role": "user", "content": text}]}).to_string()
}

/// A whole completion that says `text`.
pub(super) fn completion(text: &str) -> String {
    let choice = serde_json::json!({"index": 0, "message": {"content": text}, "finish_reason": "stop"});
    serde_json::json!({"choices": [choice]}).to_string()
}

/// The pieces of a whole stream that says `words`, one after the other.
pub(super) fn events(words: &[&str]) -> Vec<String> {
    let chunk = |choice: serde_json::Value| format!("data: {}\n\n", serde_json::json!({"choices": [choice]}));
    let mut pieces: Vec<String> =
        words.iter().map(|word| chunk(serde_json::json!({"index": 0, "delta": {"content": word}}))).collect();
    pieces.push(chunk(serde_json::json!({"index": 0, "delta": {}, "finish_reason": "stop"})));
    pieces.push("data: [DONE]\n\n".to_owned());
    pieces
}

/// How a scripted body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Whole,
    CutOff,
    /// It stays open.
    Never,
}

/// What one call brings, and when.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// `None`: the call fails.
    pub(super) status: Option<u16>,
    pub(super) content_type: &'static str,
    /// How long the head takes, and each piece after it.
    pub(super) pause: Duration,
    pub(super) pieces: Vec<String>,
    pub(super) end: End,
}

impl Script {
    pub(super) fn saying(text: &str) -> Self {
        Self {
            status: Some(200),
            content_type: JSON,
            pause: ms(10),
            pieces: vec![completion(text)],
            end: End::Whole,
        }
    }

    pub(super) fn streaming(words: &[&str]) -> Self {
        Self { content_type: EVENTS, pieces: events(words), ..Self::saying("") }
    }

    pub(super) fn failing() -> Self {
        Self { status: None, ..Self::saying("") }
    }

    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// A model that counts the calls it gets.
#[derive(Clone, Default)]
pub(super) struct Model(Arc<Counts>);

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    active: AtomicUsize,
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
}

/// A call that goes on for as long as this is there.
struct Active(Arc<Counts>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, SeqCst);
    }
}

impl Model {
    /// How many calls there have been.
    pub(super) fn calls(&self) -> usize {
        self.0.calls.load(SeqCst)
    }

    /// How many calls are under way.
    pub(super) fn active(&self) -> usize {
        self.0.active.load(SeqCst)
    }

    /// How many calls have waited for their head at once.
    pub(super) fn most_waiting(&self) -> usize {
        self.0.most_waiting.load(SeqCst)
    }

    /// One call.
    pub(super) fn call(
        &self,
        script: Script,
    ) -> impl FnOnce(
        CancellationToken,
    ) -> futures::future::BoxFuture<'static, Result<Response<ModelBody>, EgressError>>
    + use<> {
        let counts = Arc::clone(&self.0);
        move |token| {
            Box::pin(async move {
                counts.calls.fetch_add(1, SeqCst);
                counts.active.fetch_add(1, SeqCst);
                let active = Active(Arc::clone(&counts));
                counts.most_waiting.fetch_max(counts.waiting.fetch_add(1, SeqCst) + 1, SeqCst);
                sleep(script.pause).await;
                counts.waiting.fetch_sub(1, SeqCst);
                let Some(status) = script.status else {
                    return Err(EgressError::ConnectionRefused { host: "model.test".to_owned() });
                };
                let mut response = Response::new(body(script.clone(), active, token));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                let headers = response.headers_mut();
                headers.insert("content-type", script.content_type.parse().unwrap());
                headers.insert("x-request-id", "the leader's".parse().unwrap());
                Ok(response)
            })
        }
    }
}

fn body(script: Script, active: Active, token: CancellationToken) -> ModelBody {
    let pieces = stream::unfold((script, active, token, 0), |(script, active, token, index)| async move {
        let piece = script.pieces.get(index).cloned();
        let next = async {
            match (piece, script.end) {
                (Some(piece), _) => {
                    sleep(script.pause).await;
                    Some(Ok(Frame::data(Bytes::from(piece))))
                }
                (None, End::Whole) => None,
                (None, End::CutOff) if index == script.pieces.len() => {
                    Some(Err(EgressError::HttpResponseIncomplete { reason: "cut off".to_owned() }))
                }
                (None, End::CutOff) => None,
                (None, End::Never) => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            next = next => next,
            () = token.cancelled() => Some(Err(EgressError::Cancelled)),
        };
        Some((next?, (script, active, token, index + 1)))
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

/// What an asker got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) source: AnswerSource,
    pub(super) status: u16,
    pub(super) pieces: Vec<String>,
    /// When each piece came, in milliseconds since the question.
    pub(super) at_ms: Vec<u128>,
    /// How the body ended; `None` when it ended well.
    pub(super) error: Option<&'static str>,
}

impl Got {
    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// Asks `text`, and does not read yet.
pub(super) async fn begin(
    answers: &TenantAnswers,
    text: &str,
    options: AskOptions,
    model: &Model,
    script: Script,
) -> Result<Response<AnswerBody<ModelBody>>, EgressError> {
    let body = asking(text);
    let question = Question { path: "/v1/chat/completions", model: "small", body: body.as_bytes() };
    answers.get_or_call(question, options, model.call(script)).await
}

/// Asks `text` and reads the answer to its end.
pub(super) async fn ask_with(
    answers: &TenantAnswers,
    text: &str,
    options: AskOptions,
    model: &Model,
    script: Script,
) -> Result<Got, &'static str> {
    let start = Instant::now();
    let response = begin(answers, text, options, model, script).await.map_err(|error| error.code())?;
    Ok(read(response, start).await)
}

pub(super) async fn read(response: Response<AnswerBody<ModelBody>>, start: Instant) -> Got {
    let source = *response.extensions().get::<AnswerSource>().unwrap();
    assert_eq!(response.headers()["waggle-answer-cache"], source.as_str());
    let status = response.status().as_u16();
    let mut got = Got { source, status, pieces: Vec::new(), at_ms: Vec::new(), error: None };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                got.pieces.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
                got.at_ms.push(start.elapsed().as_millis());
            }
            Err(error) => got.error = Some(error.code()),
        }
    }
    got
}

/// Asks `text` as one who has all the time.
pub(super) async fn ask(answers: &TenantAnswers, text: &str, model: &Model, script: Script) -> Got {
    ask_with(answers, text, AskOptions::default(), model, script).await.unwrap()
}

/// Lets all that is ready run, and a moment pass, but no time that a script or a bound knows.
pub(super) async fn settle() {
    sleep(Duration::from_nanos(1)).await;
    sleep(ms(1)).await;
}
