//! A turn: the request that a message was made into, until all of its answer was said.

use super::events::{Event, Events, Kind};
use super::fault::{self, Fault};
use super::memory::{Draft, Remembered};
use super::room::{Arriving, Memory, Reservation};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use waggle_engine::WasiBody;

/// Bytes of an answer that is no stream; errors are small.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An answer that is on its way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<WasiBody>> + Send>>;

/// Who answers the requests of a connection.
pub(crate) trait Asks: Send + Sync {
    /// Asks with this body.
    fn ask(self: Arc<Self>, body: Bytes) -> Answering;
}

/// Shows in an answer's extensions that the host itself refused the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedByHost;

/// What a turn does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// It says something.
    Say(Utf8Bytes),
    /// It has ended.
    End(End),
}

/// How a turn ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With a response; this is to be remembered of it.
    Done(Option<Remembered>),
    /// Without one.
    Failed,
    /// Without one, and so would every other: whoever opened the connection may not call any more.
    Unwelcome,
}

/// A turn that is under way. Dropping it cancels it.
pub(crate) struct Turn {
    stage: Stage,
    draft: Option<Draft>,
    /// Whether it goes on from what the connection remembers.
    continues: bool,
    done: Option<Option<Remembered>>,
    /// Whether the client was told how it ended.
    has_told: bool,
    is_unwelcome: bool,
    /// Of the answer, what has come and was not said, or said last.
    arriving: Arriving,
    _body: Reservation,
}

enum Stage {
    Asked(Answering),
    Streams(WasiBody, Events),
    Explains { status: StatusCode, headers: HeaderMap, body: WasiBody, read: Vec<u8> },
    Over,
}

impl Turn {
    /// A turn that was asked for; `body` is the memory that its request takes, and in `memory` is counted what its answer
    /// takes.
    pub(crate) fn new(
        asked: Answering,
        draft: Option<Draft>,
        continues: bool,
        body: Reservation,
        memory: &Arc<Memory>,
    ) -> Self {
        Self {
            stage: Stage::Asked(asked),
            draft,
            continues,
            done: None,
            has_told: false,
            is_unwelcome: false,
            arriving: Arriving::new(memory),
            _body: body,
        }
    }

    /// See [`super::message::Create::continues`].
    pub(crate) fn continues(&self) -> bool {
        self.continues
    }

    /// What it does next. Nothing is lost when this is dropped before.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            match &mut self.stage {
                Stage::Asked(asked) => {
                    let answer = asked.as_mut().await;
                    self.begin(answer);
                }
                Stage::Streams(body, events) => {
                    if let Some(event) = events.next() {
                        if let Some(said) = self.pass_on(event) {
                            return Step::Say(said);
                        }
                        continue;
                    }
                    match body.frame().await {
                        Some(Ok(frame)) => {
                            let data = frame.data_ref().map_or(&[][..], |data| data);
                            // What was said before has been sent by now.
                            if !self.arriving.keeps(events.bytes() + data.len()) {
                                return self.break_off("there is no memory for an event of the response");
                            }
                            if events.push(data).is_err() {
                                return self.break_off("an event of the response is too large");
                            }
                        }
                        Some(Err(_broken)) => return self.break_off("the response broke off"),
                        None if !self.has_told => return self.break_off("the response ended too early"),
                        None => return Step::End(self.end()),
                    }
                }
                Stage::Explains { status, headers, body, read } => {
                    match body.frame().await {
                        Some(Ok(frame))
                            if read.len() < ANSWER_BYTES_MAX && self.arriving.keeps(read.len()) =>
                        {
                            read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                            continue;
                        }
                        _ => {}
                    }
                    let said = fault::from_answer(status.as_u16(), headers, read);
                    self.stage = Stage::Over;
                    return Step::Say(said.into());
                }
                Stage::Over => return Step::End(self.end()),
            }
        }
    }

    fn begin(&mut self, answer: Response<WasiBody>) {
        let (parts, body) = answer.into_parts();
        let refused = parts.extensions.get::<RefusedByHost>();
        self.is_unwelcome =
            refused.is_some() && matches!(parts.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
        if parts.status.is_success() && content_type.starts_with(b"text/event-stream") {
            self.stage = Stage::Streams(body, Events::default());
            return;
        }
        // An answer that is neither a stream nor an error is a failure of the function.
        let status = if parts.status.as_u16() < 400 { StatusCode::BAD_GATEWAY } else { parts.status };
        self.stage = Stage::Explains { status, headers: parts.headers, body, read: Vec::new() };
    }

    /// An event as the client reads it; none if it is no text.
    fn pass_on(&mut self, event: Event) -> Option<Utf8Bytes> {
        self.has_told |= event.kind != Kind::Progress;
        match event.kind {
            Kind::Progress | Kind::Failed => {}
            Kind::Error => return Some(fault::from_stream(&event.data).into()),
            Kind::Done => self.done = Some(self.draft.take().and_then(|draft| draft.finish(&event.data))),
        }
        Utf8Bytes::try_from(event.data).ok()
    }

    fn break_off(&mut self, what: &str) -> Step {
        self.stage = Stage::Over;
        self.done = None;
        let message = format!("The turn failed: {what}.");
        Step::Say(Fault::failed(502, "response_incomplete", message).event().into())
    }

    fn end(&mut self) -> End {
        match self.done.take() {
            Some(remembered) => End::Done(remembered),
            None if self.is_unwelcome => End::Unwelcome,
            None => End::Failed,
        }
    }
}
