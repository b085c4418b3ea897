//! A streamed turn: the model's chunks in, OpenAI's response events out, token by token. The turn is stored
//! before `response.completed` is sent.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use crate::api::{OutputItem, OutputPart, Peer, Turn, TurnResponse};
use crate::error::PeerError;
use crate::model::Usage;
use crate::store::StoredItem;

/// A line of the model's stream is kept up to this length.
const LINE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) async fn stream_turn(
    peer: Peer,
    turn: Turn,
    window: Vec<StoredItem>,
) -> Result<Response, PeerError> {
    let model = peer.model.stream(&turn.request.model, &window).await?;
    let relay = Relay {
        peer,
        turn,
        model,
        partial: Vec::new(),
        text: String::new(),
        usage: Usage::default(),
        sequence: 0,
        state: State::Opening,
    };
    let events = stream::unfold(relay, async |mut relay| match relay.next().await {
        Ok(Some(bytes)) => Some((Ok(bytes), relay)),
        Ok(None) => None,
        Err(error) => {
            relay.state = State::Done;
            Some((Err(error), relay))
        }
    });
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((head, Body::from_stream(Box::pin(events))).into_response())
}

#[derive(PartialEq, Eq)]
enum State {
    Opening,
    Relaying,
    Done,
}

struct Relay {
    peer: Peer,
    turn: Turn,
    model: Incoming,
    partial: Vec<u8>,
    text: String,
    usage: Usage,
    sequence: u64,
    state: State,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<ChunkChoice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

/// One event; only the fields of its kind are there.
#[derive(Serialize, Default)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<TurnResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<OutputItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<OutputPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl Relay {
    /// The next bytes for the client; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        let mut out = Vec::new();
        match self.state {
            State::Done => return Ok(None),
            State::Opening => {
                self.open(&mut out)?;
                self.state = State::Relaying;
            }
            State::Relaying => {}
        }
        while out.is_empty() {
            let Some(frame) = self.model.frame().await else {
                return Err(PeerError::Model("its stream ended early".to_owned()));
            };
            let frame = frame.map_err(|error| PeerError::Model(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if self.take(&data, &mut out)? {
                self.close(&mut out).await?;
                self.state = State::Done;
            }
        }
        Ok(Some(out.into()))
    }

    /// Takes bytes of the model's stream; `true` when they hold its end.
    fn take(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<bool, PeerError> {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&data[..end]);
            data = &data[end + 1..];
            let Some(json) = line.strip_prefix(b"data: ") else { continue };
            if json == b"[DONE]" {
                return Ok(true);
            }
            let chunk: Chunk = serde_json::from_slice(json)?;
            self.usage = chunk.usage.unwrap_or(self.usage);
            for delta in chunk.choices.into_iter().filter_map(|choice| choice.delta.content) {
                self.put_delta(&delta, out)?;
            }
        }
        if self.partial.len() + data.len() > LINE_BYTES_MAX {
            return Err(PeerError::Model("a line of its stream has no end".to_owned()));
        }
        self.partial.extend_from_slice(data);
        Ok(false)
    }

    fn put_delta(&mut self, delta: &str, out: &mut Vec<u8>) -> Result<(), PeerError> {
        if delta.is_empty() {
            return Ok(());
        }
        self.text.push_str(delta);
        let event = Event {
            kind: "response.output_text.delta",
            item_id: Some(&self.turn.message_id),
            output_index: Some(0),
            content_index: Some(0),
            delta: Some(delta),
            ..Event::default()
        };
        put(out, &mut self.sequence, event)
    }

    fn open(&mut self, out: &mut Vec<u8>) -> Result<(), PeerError> {
        let sequence = &mut self.sequence;
        for kind in ["response.created", "response.in_progress"] {
            put(out, sequence, Event { kind, response: Some(self.turn.response(None)), ..Event::default() })?;
        }
        let item = OutputItem { content: Vec::new(), ..self.turn.output_item("", "in_progress") };
        let kind = "response.output_item.added";
        put(out, sequence, Event { kind, output_index: Some(0), item: Some(item), ..Event::default() })?;
        put(out, sequence, self.turn.part_event("response.content_part.added", ""))
    }

    async fn close(&mut self, out: &mut Vec<u8>) -> Result<(), PeerError> {
        self.turn.finish(&self.peer.store, &self.text, self.usage).await?;
        let sequence = &mut self.sequence;
        let done = Event {
            kind: "response.output_text.done",
            item_id: Some(&self.turn.message_id),
            output_index: Some(0),
            content_index: Some(0),
            text: Some(&self.text),
            ..Event::default()
        };
        put(out, sequence, done)?;
        put(out, sequence, self.turn.part_event("response.content_part.done", &self.text))?;
        let item = self.turn.output_item(&self.text, "completed");
        let kind = "response.output_item.done";
        put(out, sequence, Event { kind, output_index: Some(0), item: Some(item), ..Event::default() })?;
        let response = Some(self.turn.response(Some((&self.text, self.usage))));
        put(out, sequence, Event { kind: "response.completed", response, ..Event::default() })
    }
}

impl Turn {
    fn part_event<'a>(&'a self, kind: &'static str, text: &'a str) -> Event<'a> {
        Event {
            kind,
            item_id: Some(&self.message_id),
            output_index: Some(0),
            content_index: Some(0),
            part: Some(OutputPart { kind: "output_text", text, annotations: [] }),
            ..Event::default()
        }
    }
}

fn put(out: &mut Vec<u8>, sequence: &mut u64, mut event: Event<'_>) -> Result<(), PeerError> {
    event.sequence_number = *sequence;
    *sequence += 1;
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    serde_json::to_writer(&mut *out, &event)?;
    out.extend_from_slice(b"\n\n");
    Ok(())
}
