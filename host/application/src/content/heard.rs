//! What a model answers, read along as it passes to the function: whole or as a stream of server-sent events, of Chat
//! Completions or of Responses.

use super::messages::{call, text};
use super::redact::{LOOKED_AT_FACTOR, json_text_bytes, redacted, without_last};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use waggle_measure::trace::CONTENT_BYTES_MAX;

/// The most bytes of an answer in one piece; a larger one is not told.
const WHOLE_BYTES_MAX: usize = 256 << 10;
/// The most bytes of one line of a stream; a longer one is passed over.
const LINE_BYTES_MAX: usize = 256 << 10;
/// The most bytes that are kept of what a stream says.
const SAID_BYTES_MAX: usize = LOOKED_AT_FACTOR * CONTENT_BYTES_MAX;
/// The most answers to one question.
const CHOICES_MAX: usize = 4;
/// The most calls of tools in one answer.
const CALLS_MAX: usize = 16;
/// The most bytes of a word for why an answer has ended.
const REASON_BYTES_MAX: usize = 64;
/// What is around the parts of an answer: brackets, names, its role, a comma.
const ANSWER_FRAME_BYTES: usize = r#"{"finish_reason":"","parts":[],"role":"assistant"},"#.len();

/// Hears an answer, for whom it is told later.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Heard>>);

impl Listener {
    /// What was answered, up to now: messages as a text of JSON.
    pub(crate) fn messages(&self) -> Option<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_messages()
    }

    fn hear(&self, data: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hear(data);
    }
}

/// The body of an answer that somebody listens to.
pub(crate) struct Listened<B> {
    inner: B,
    listener: Listener,
}

impl<B> Listened<B> {
    pub(crate) fn new(inner: B, listener: Listener) -> Self {
        Self { inner, listener }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Listened<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.listener.hear(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What has come of an answer.
#[derive(Default)]
enum Heard {
    #[default]
    Nothing,
    /// In one piece.
    Whole(Vec<u8>),
    /// Events.
    Stream(Stream),
    /// More than is told.
    TooMuch,
}

impl Heard {
    fn hear(&mut self, data: &[u8]) {
        if matches!(self, Self::Nothing) {
            let Some(first) = data.iter().find(|byte| !byte.is_ascii_whitespace()) else { return };
            *self = if *first == b'{' { Self::Whole(Vec::new()) } else { Self::Stream(Stream::default()) };
        }
        match self {
            Self::Whole(bytes) if bytes.len() + data.len() > WHOLE_BYTES_MAX => *self = Self::TooMuch,
            Self::Whole(bytes) => bytes.extend_from_slice(data),
            Self::Stream(stream) => stream.hear(data),
            Self::Nothing | Self::TooMuch => {}
        }
    }

    fn into_messages(self) -> Option<String> {
        let choices = match self {
            Self::Whole(bytes) => whole(&serde_json::from_slice(&bytes).ok()?),
            Self::Stream(stream) => stream.choices,
            Self::Nothing | Self::TooMuch => return None,
        };
        let mut room = CONTENT_BYTES_MAX - "[]".len();
        let told: Vec<Value> = choices.into_iter().map_while(|choice| choice.told(&mut room)).collect();
        (!told.is_empty()).then(|| Value::Array(told).to_string())
    }
}

/// One answer.
#[derive(Debug, Default)]
struct Choice {
    index: u64,
    text: String,
    calls: Vec<Call>,
    finish_reason: Option<String>,
    /// There was more than is kept.
    is_cut: bool,
}

#[derive(Debug, Default)]
struct Call {
    index: u64,
    id: String,
    name: String,
    arguments: String,
}

impl Choice {
    fn told(self, room: &mut usize) -> Option<Value> {
        let reason = match self.finish_reason.as_deref() {
            Some("tool_calls" | "function_call") => "tool_call".to_owned(),
            Some(reason) => redacted(reason, REASON_BYTES_MAX),
            None => "incomplete".to_owned(),
        };
        *room = room.checked_sub(ANSWER_FRAME_BYTES + json_text_bytes(&reason))?;
        let broke_off =
            self.is_cut || matches!(self.finish_reason.as_deref(), None | Some("length" | "incomplete"));
        let whole = |text: &'_ str| if broke_off { without_last(text).len() } else { text.len() };
        let said = &self.text[..whole(&self.text)];
        let said = (!said.is_empty()).then(|| text(said, room)).flatten();
        let mut parts: Vec<Value> = said.into_iter().collect();
        let of = |one: &Call| {
            // Arguments that are JSON are whole, whatever became of the answer.
            let are_whole = serde_json::from_str::<Value>(&one.arguments).is_ok();
            let bytes = if are_whole { one.arguments.len() } else { whole(&one.arguments) };
            call(&one.id, &one.name, &one.arguments[..bytes], room)
        };
        parts.extend(self.calls.iter().map_while(of));
        Some(json!({ "role": "assistant", "parts": parts, "finish_reason": reason }))
    }
}

/// The answers of a body in one piece.
fn whole(body: &Value) -> Vec<Choice> {
    let owned = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let call = |id: &Value, function: &Value| Call {
        id: owned(id),
        name: owned(&function["name"]),
        arguments: owned(&function["arguments"]),
        ..Call::default()
    };
    if let Some(items) = body["output"].as_array() {
        let mut choice =
            Choice { finish_reason: body["status"].as_str().map(ToOwned::to_owned), ..Choice::default() };
        let of = |item: &Value| item["content"].as_array().cloned().unwrap_or_default();
        choice.text = items.iter().flat_map(of).map(|part| owned(&part["text"])).collect();
        let calls = items.iter().filter(|item| item["type"] == "function_call").take(CALLS_MAX);
        choice.calls = calls.map(|item| call(&item["call_id"], item)).collect();
        return vec![choice];
    }
    let choices = body["choices"].as_array().into_iter().flatten().take(CHOICES_MAX);
    let of = |choice: &Value| {
        let message = &choice["message"];
        let said = if message["content"].is_string() { &message["content"] } else { &message["refusal"] };
        let calls = message["tool_calls"].as_array().into_iter().flatten().take(CALLS_MAX);
        Choice {
            text: owned(said),
            calls: calls.map(|one| call(&one["id"], &one["function"])).collect(),
            finish_reason: choice["finish_reason"].as_str().map(ToOwned::to_owned),
            ..Choice::default()
        }
    };
    choices.map(of).collect()
}

/// A stream, line by line.
#[derive(Default)]
struct Stream {
    line: Vec<u8>,
    /// The line is too long.
    is_passed_over: bool,
    choices: Vec<Choice>,
    /// Bytes that are kept of what was said.
    said_bytes: usize,
}

impl Stream {
    fn hear(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.is_passed_over |= self.line.len() + piece.len() > LINE_BYTES_MAX;
            if !self.is_passed_over {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.is_passed_over) {
                    self.event(&line);
                }
            }
        }
    }

    fn event(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
        match event["type"].as_str() {
            Some("response.output_text.delta") => self.say(0, &event["delta"]),
            Some("response.completed" | "response.incomplete") => self.choices = whole(&event["response"]),
            _ => event["choices"].as_array().into_iter().flatten().for_each(|choice| self.choice(choice)),
        }
    }

    fn choice(&mut self, from: &Value) {
        let (index, delta) = (from["index"].as_u64().unwrap_or(0), &from["delta"]);
        self.say(index, &delta["content"]);
        self.say(index, &delta["refusal"]);
        for one in delta["tool_calls"].as_array().into_iter().flatten() {
            self.call(index, one);
        }
        if let (Some(reason), Some(choice)) = (from["finish_reason"].as_str(), self.at(index)) {
            choice.finish_reason = Some(reason.chars().take(REASON_BYTES_MAX).collect());
        }
    }

    fn at(&mut self, index: u64) -> Option<&mut Choice> {
        let place = self.choices.iter().position(|choice| choice.index == index);
        let place = place.or_else(|| {
            (self.choices.len() < CHOICES_MAX).then(|| {
                self.choices.push(Choice { index, ..Choice::default() });
                self.choices.len() - 1
            })
        })?;
        self.choices.get_mut(place)
    }

    /// Whether there is room for so many bytes more, which are counted then.
    fn keeps(&mut self, bytes: usize) -> bool {
        let fits = self.said_bytes + bytes <= SAID_BYTES_MAX;
        self.said_bytes += if fits { bytes } else { 0 };
        fits
    }

    fn say(&mut self, index: u64, text: &Value) {
        let Some(text) = text.as_str().filter(|text| !text.is_empty()) else { return };
        let fits = self.keeps(text.len());
        let Some(choice) = self.at(index) else { return };
        choice.is_cut |= !fits;
        if !choice.is_cut {
            choice.text.push_str(text);
        }
    }

    fn call(&mut self, index: u64, from: &Value) {
        let number = from["index"].as_u64().unwrap_or(0);
        let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, function) = (part(&from["id"]), &from["function"]);
        let (name, arguments) = (part(&function["name"]), part(&function["arguments"]));
        let fits = self.keeps(id.len() + name.len() + arguments.len());
        let Some(choice) = self.at(index) else { return };
        choice.is_cut |= !fits;
        if choice.is_cut {
            return;
        }
        if let Some(call) = choice.calls.iter_mut().find(|call| call.index == number) {
            call.name.push_str(&name);
            call.arguments.push_str(&arguments);
        } else if choice.calls.len() < CALLS_MAX {
            choice.calls.push(Call { index: number, id, name, arguments });
        }
    }
}

#[cfg(test)]
#[path = "heard_tests.rs"]
mod tests;
