//! A streamed turn of a session: the response's events in, the session's out.

use crate::handover::HANDED_OVER;
use crate::knowledge::HANDOVER;
use crate::platform::{Gone, Platform, Sink};
use crate::session::{SessionPlace, trim};
use crate::stream::StreamedTurn;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::rc::Rc;
use waggle_conversation::Store;
use waggle_model::transport::ChunkSource;
use waggle_openai::event::DONE;
use waggle_openai::item::{Annotation, Citation, StoredText};
use waggle_openai::session::SessionAnswer;
use waggle_openai::{ConversationId, ResponseId, json};

/// A turn of a session whose answer is being streamed.
#[derive(Debug)]
pub struct SessionStream<S, P, B> {
    pub(crate) store: S,
    pub(crate) platform: P,
    pub(crate) streamed: StreamedTurn<S, P, B>,
    pub(crate) place: SessionPlace,
}

/// What is read of a response.
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseText {
    id: String,
    status: String,
    output: Vec<StoredText>,
    error: Option<ErrorText>,
    conversation: Option<Place>,
    #[serde(default)]
    metadata: Marks,
}

/// What is read of its metadata.
#[derive(Debug, Default, Deserialize)]
struct Marks {
    waggle_answer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Place {
    id: String,
}

#[derive(Debug, Deserialize)]
struct ErrorText {
    code: String,
    message: String,
}

/// What is read of an event.
#[derive(Debug, Deserialize)]
struct EventText {
    delta: Option<String>,
    response: Option<ResponseText>,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Serialize)]
struct SessionJson {
    session: ConversationId,
}

#[derive(Serialize)]
struct DeltaJson<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    code: &'a str,
    message: &'a str,
}

/// Reads the object of a response.
pub(crate) fn read_response(response: &[u8]) -> Option<ResponseText> {
    serde_json::from_slice(response).ok()
}

impl ResponseText {
    pub(crate) fn id(&self) -> Option<ResponseId> {
        ResponseId::parse(&self.id)
    }

    /// The session it is a turn of, if it was answered.
    pub(crate) fn session(&self) -> Option<ConversationId> {
        let answered = matches!(&*self.status, "completed" | "incomplete");
        let place = self.conversation.as_ref().filter(|_| answered)?;
        ConversationId::parse(&place.id)
    }

    /// All that was answered.
    pub(crate) fn text(&self) -> String {
        self.output.iter().map(StoredText::text).collect()
    }

    /// What the answer cites.
    pub(crate) fn citations(&self) -> Vec<Citation> {
        let parts = self.output.iter().flat_map(|item| &item.content);
        parts.flat_map(|part| &part.annotations).filter_map(Annotation::cites).collect()
    }

    /// Whether somebody else is to take over, or has.
    pub(crate) fn is_handed_over(&self) -> bool {
        matches!(self.metadata.waggle_answer.as_deref(), Some(HANDOVER | HANDED_OVER))
    }

    /// Why it failed, if it did.
    pub(crate) fn failure(&self) -> Option<&str> {
        let error = self.error.as_ref().filter(|_| self.status == "failed");
        error.map(|error| error.message.as_str())
    }

    pub(crate) fn is_fallback(&self) -> bool {
        self.output.iter().any(|item| item.fallback)
    }
}

/// From the events of a response to those of a session.
#[derive(Debug)]
pub(crate) struct Translator {
    session: ConversationId,
    /// The number of the turn, once it is committed.
    pub(crate) seq: Option<u64>,
}

impl Translator {
    pub(crate) fn new(session: ConversationId) -> Self {
        Self { session, seq: None }
    }

    /// The first event.
    pub(crate) fn begin(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        event(&mut out, "session", &SessionJson { session: self.session });
        out
    }

    /// Translates whole events; comments stay.
    pub(crate) fn translate(&self, events: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(events);
        let mut out = Vec::with_capacity(events.len() / 2);
        for block in text.split("\n\n").filter(|block| !block.is_empty()) {
            if block.starts_with(':') {
                out.extend_from_slice(block.as_bytes());
                out.extend_from_slice(b"\n\n");
            } else if let Some((kind, data)) =
                block.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: "))
            {
                self.one(&mut out, kind, data);
            }
        }
        out
    }

    fn one(&self, out: &mut Vec<u8>, kind: &str, data: &str) {
        let wanted = matches!(
            kind,
            "response.output_text.delta"
                | "response.refusal.delta"
                | "response.completed"
                | "response.incomplete"
                | "response.failed"
                | "error"
        );
        let Some(read) = wanted.then(|| serde_json::from_str::<EventText>(data).ok()).flatten() else {
            return;
        };
        match (kind, read) {
            ("error", EventText { code, message, .. }) => {
                error(out, code.as_deref(), message.as_deref());
            }
            (_, EventText { delta: Some(text), .. }) => event(out, "delta", &DeltaJson { text: &text }),
            (_, EventText { response: Some(response), .. }) => self.end(out, &response),
            _ => {}
        }
    }

    fn end(&self, out: &mut Vec<u8>, response: &ResponseText) {
        if response.status == "failed" {
            let failure = response.error.as_ref();
            error(out, failure.map(|error| error.code.as_str()), failure.map(|error| error.message.as_str()));
            return;
        }
        let Some(response_id) = response.id() else { return };
        let answer = SessionAnswer {
            answer: &response.text(),
            seq: self.seq,
            session: self.session,
            fallback: response.is_fallback(),
            citations: response.citations(),
            handover: response.is_handed_over(),
            response_id,
        };
        event(out, "done", &answer);
        out.extend_from_slice(DONE);
    }
}

fn error(out: &mut Vec<u8>, code: Option<&str>, message: Option<&str>) {
    let code = code.unwrap_or("server_error");
    event(out, "error", &ErrorJson { code, message: message.unwrap_or_default() });
    out.extend_from_slice(DONE);
}

fn event<T: Serialize>(out: &mut Vec<u8>, kind: &str, data: &T) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    json::push(out, data);
    out.extend_from_slice(b"\n\n");
}

/// The sink of the response's events, in front of the client.
struct SessionSink<K> {
    inner: K,
    translator: Translator,
    began: bool,
    /// The turn's number, for what comes after the stream.
    committed: Rc<Cell<Option<u64>>>,
}

impl<K: Sink> Sink for SessionSink<K> {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        let mut events = if self.began { Vec::new() } else { self.translator.begin() };
        self.began = true;
        events.extend(self.translator.translate(&bytes));
        if events.is_empty() { Ok(()) } else { self.inner.write(events).await }
    }

    fn committed(&mut self, turn: Option<u64>) {
        self.translator.seq = turn;
        self.committed.set(turn);
    }

    async fn gone(&mut self) {
        self.inner.gone().await;
    }
}

impl<S: Store + Clone, P: Platform + Clone, B: ChunkSource + 'static> SessionStream<S, P, B> {
    /// Produces the whole stream. What the session keeps no more is erased after its end.
    pub(crate) async fn run<K: Sink>(self, sink: K) {
        let Self { store, platform, streamed, place } = self;
        let committed = Rc::new(Cell::new(None));
        let translator = Translator::new(place.id);
        let sink = SessionSink { inner: sink, translator, began: false, committed: Rc::clone(&committed) };
        streamed.run(sink).await;
        trim(&store, &platform, place, committed.get()).await;
    }
}
