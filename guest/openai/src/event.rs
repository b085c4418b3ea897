//! The events of a streamed response, as server-sent events.
//!
//! Each is `event: TYPE` and one `data:` line of JSON with `type` and a `sequence_number` that counts from 0.

use crate::id::ItemId;
use crate::item::{Citation, LogProb, Part, TextPart};
use crate::json;

/// What stands after the last event of a stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// Writes events one after another into a buffer that is taken away piece by piece.
#[derive(Debug, Default)]
pub struct EventWriter {
    sequence_number: u64,
    buffer: Vec<u8>,
}

/// Where in the response a piece of output belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The item's id.
    pub item: ItemId,
    /// The item's place in `output`.
    pub output_index: usize,
    /// The part's place in the item's content.
    pub content_index: usize,
}

impl EventWriter {
    /// A writer whose first event has the number `sequence_number`.
    pub fn starting_at(sequence_number: u64) -> Self {
        Self { sequence_number, ..Self::default() }
    }

    /// The number of the next event.
    pub fn next_number(&self) -> u64 {
        self.sequence_number
    }

    /// Takes what was written since the last call; empty when there was nothing.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn event(&mut self, kind: &str, fields: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut self.buffer;
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"sequence_number\":");
        json::push(out, &self.sequence_number);
        let start = out.len();
        fields(out);
        // A raw value may hold the line breaks its sender laid it out with. In JSON they can only be white space, and
        // in an event they would end the line.
        for byte in out.iter_mut().skip(start) {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        out.extend_from_slice(b"}\n\n");
        self.sequence_number += 1;
    }

    /// `response.created`, `response.in_progress`, `response.completed` and so on, with the response object.
    pub fn response(&mut self, kind: &str, response: &[u8]) {
        self.event(kind, |out| raw(out, "response", response));
    }

    /// `response.output_item.added` or `.done`, with the item.
    pub fn output_item(&mut self, kind: &str, output_index: usize, item: &str) {
        self.event(kind, |out| {
            field(out, "output_index", &output_index);
            raw(out, "item", item.as_bytes());
        });
    }

    /// `response.content_part.added` or `.done`, with the part.
    pub fn part(&mut self, kind: &str, place: Place, part: &Part<'_>) {
        self.event(kind, |out| {
            at_part(out, place);
            name(out, "part");
            part.push_output(out);
        });
    }

    /// `response.output_text.delta`, with how probable its tokens were, when that is known.
    pub fn text_delta(&mut self, place: Place, delta: &str, logprobs: &[LogProb]) {
        self.event("response.output_text.delta", |out| {
            at_part(out, place);
            field(out, "delta", delta);
            field(out, "logprobs", logprobs);
        });
    }

    /// `response.output_text.done`, with the whole text.
    pub fn text_done(&mut self, place: Place, text: &TextPart<'_>) {
        self.event("response.output_text.done", |out| {
            at_part(out, place);
            field(out, "text", &text.text);
            field(out, "logprobs", &text.logprobs);
        });
    }

    /// `response.output_text.annotation.added`; `index` is its place in the part's annotations.
    pub fn annotation(&mut self, place: Place, index: usize, citation: &Citation) {
        self.event("response.output_text.annotation.added", |out| {
            at_part(out, place);
            field(out, "annotation_index", &index);
            field(out, "annotation", citation);
        });
    }

    /// `response.refusal.delta`.
    pub fn refusal_delta(&mut self, place: Place, delta: &str) {
        self.event("response.refusal.delta", |out| {
            at_part(out, place);
            field(out, "delta", delta);
        });
    }

    /// `response.refusal.done`, with the whole refusal.
    pub fn refusal_done(&mut self, place: Place, refusal: &str) {
        self.event("response.refusal.done", |out| {
            at_part(out, place);
            field(out, "refusal", refusal);
        });
    }

    /// `response.reasoning.delta`, by Open Responses' name.
    pub fn reasoning_delta(&mut self, place: Place, delta: &str) {
        self.event("response.reasoning.delta", |out| {
            at_part(out, place);
            field(out, "delta", delta);
        });
    }

    /// `response.reasoning.done`, with the whole text.
    pub fn reasoning_done(&mut self, place: Place, text: &str) {
        self.event("response.reasoning.done", |out| {
            at_part(out, place);
            field(out, "text", text);
        });
    }

    /// `response.reasoning_summary_part.added` or `.done`, with the part; `index` is its place in the summary.
    pub fn summary_part(&mut self, kind: &str, place: Place, index: usize, part: &Part<'_>) {
        self.event(kind, |out| {
            at_item(out, place);
            field(out, "summary_index", &index);
            name(out, "part");
            part.push_output(out);
        });
    }

    /// `response.reasoning_summary_text.delta`.
    pub fn summary_delta(&mut self, place: Place, index: usize, delta: &str) {
        self.event("response.reasoning_summary_text.delta", |out| {
            at_item(out, place);
            field(out, "summary_index", &index);
            field(out, "delta", delta);
        });
    }

    /// `response.reasoning_summary_text.done`, with the whole text.
    pub fn summary_done(&mut self, place: Place, index: usize, text: &str) {
        self.event("response.reasoning_summary_text.done", |out| {
            at_item(out, place);
            field(out, "summary_index", &index);
            field(out, "text", text);
        });
    }

    /// `response.file_search_call.in_progress`, `.searching` or `.completed`.
    pub fn file_search(&mut self, kind: &str, place: Place) {
        self.event(kind, |out| at_item(out, place));
    }

    /// `response.mcp_list_tools.in_progress`, `.completed` or `.failed`, or `response.mcp_call.in_progress`, `.completed` or
    /// `.failed`.
    pub fn mcp(&mut self, kind: &str, place: Place) {
        self.event(kind, |out| at_item(out, place));
    }

    /// `response.mcp_call_arguments.delta`.
    pub fn mcp_arguments_delta(&mut self, place: Place, delta: &str) {
        self.event("response.mcp_call_arguments.delta", |out| {
            at_item(out, place);
            field(out, "delta", delta);
        });
    }

    /// `response.mcp_call_arguments.done`, with the whole arguments.
    pub fn mcp_arguments_done(&mut self, place: Place, arguments: &str) {
        self.event("response.mcp_call_arguments.done", |out| {
            at_item(out, place);
            field(out, "arguments", arguments);
        });
    }

    /// `response.function_call_arguments.delta`.
    pub fn arguments_delta(&mut self, place: Place, delta: &str) {
        self.event("response.function_call_arguments.delta", |out| {
            at_item(out, place);
            field(out, "delta", delta);
        });
    }

    /// `response.function_call_arguments.done`, with the whole arguments.
    pub fn arguments_done(&mut self, place: Place, name: &str, arguments: &str) {
        self.event("response.function_call_arguments.done", |out| {
            at_item(out, place);
            field(out, "name", name);
            field(out, "arguments", arguments);
        });
    }

    /// `error`: the stream ends here, for a reason that lies outside the response.
    ///
    /// The reason is there twice. OpenAI has it as members of the event, and its SDKs hand that on as one event more,
    /// which programs that wait for the text overlook; Open Responses has it as the member `error`, at which the same
    /// SDKs raise an exception. Whoever knows either finds it.
    pub fn error(&mut self, code: &str, message: &str) {
        self.event("error", |out| {
            field(out, "code", code);
            field(out, "message", message);
            out.extend_from_slice(b",\"param\":null,\"error\":{\"type\":\"server_error\"");
            field(out, "code", code);
            field(out, "message", message);
            out.extend_from_slice(b",\"param\":null}");
        });
    }

    /// `[DONE]`, which is no event: it says that none comes any more, as Open Responses wants it.
    pub fn done(&mut self) {
        self.buffer.extend_from_slice(DONE);
    }
}

fn at_item(out: &mut Vec<u8>, place: Place) {
    field(out, "item_id", &place.item);
    field(out, "output_index", &place.output_index);
}

fn at_part(out: &mut Vec<u8>, place: Place) {
    at_item(out, place);
    field(out, "content_index", &place.content_index);
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn field<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, key: &str, value: &T) {
    name(out, key);
    json::push(out, value);
}

fn raw(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    name(out, key);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ItemKind, Nonce};

    #[test]
    fn events_are_numbered_and_each_is_one_line_of_data() {
        let mut events = EventWriter::default();
        let item = ItemId { kind: ItemKind::Message, nonce: Nonce::mint(0, 0), index: 1 };
        events.response("response.created", b"{\n  \"tools\": [\r\n]\n}");
        events.text_delta(Place { item, output_index: 0, content_index: 0 }, "a\n\"b\"", &[]);
        let text = String::from_utf8(events.take()).unwrap();
        let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(blocks.len(), 2, "{text}");
        for (number, block) in blocks.into_iter().enumerate() {
            let (head, data) = block.split_once('\n').unwrap();
            let data: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(head, format!("event: {}", data["type"].as_str().unwrap()));
            assert_eq!(data["sequence_number"], number);
        }
        assert!(events.take().is_empty());
    }
}
