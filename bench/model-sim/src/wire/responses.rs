//! The Responses API: <https://platform.openai.com/docs/api-reference/responses>.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Identity, put_id, put_number, put_string};
use crate::answer::{Answer, Reply};
use crate::script::Call;

/// Writes one answer of the Responses API.
pub(crate) struct ResponsesWire {
    identity: Identity,
    instructions: Option<String>,
    tokens_max: Option<u32>,
    sequence: u64,
}

impl ResponsesWire {
    pub(crate) fn new(identity: Identity, instructions: Option<String>, tokens_max: Option<u32>) -> Self {
        Self { identity, instructions, tokens_max, sequence: 0 }
    }

    pub(super) fn plain(&self, answer: &Answer) -> Bytes {
        const FIXED_BYTES: usize = 1_200;
        let mut out = BytesMut::with_capacity(FIXED_BYTES);
        self.put_response(&mut out, Some(answer));
        out.freeze()
    }

    /// The response object: finished with its answer, or in progress without.
    fn put_response(&self, out: &mut BytesMut, answer: Option<&Answer>) {
        out.put_slice(b"{\"id\":\"");
        put_id(out, "resp_", self.identity.number);
        out.put_slice(br#"","object":"response","created_at":"#);
        put_number(out, self.identity.created);
        out.put_slice(br#","status":""#);
        out.put_slice(answer.map_or(b"in_progress", status));
        out.put_slice(br#"","background":false,"error":null,"incomplete_details":"#);
        let cut = answer.is_some_and(|answer| answer.truncated);
        out.put_slice(if cut { br#"{"reason":"max_output_tokens"}"# } else { b"null" });
        out.put_slice(br#","instructions":"#);
        match &self.instructions {
            Some(text) => put_string(out, text),
            None => out.put_slice(b"null"),
        }
        out.put_slice(br#","max_output_tokens":"#);
        match self.tokens_max {
            Some(limit) => put_number(out, u64::from(limit)),
            None => out.put_slice(b"null"),
        }
        out.put_slice(br#","model":"#);
        put_string(out, &self.identity.model);
        out.put_slice(br#","output":["#);
        if let Some(answer) = answer {
            self.put_item(out, status(answer), Some(&answer.reply), matches!(answer.reply, Reply::Text(_)));
            for (at, call) in (1..).zip(&answer.more) {
                out.put_u8(b',');
                self.put_more(out, at, call, true);
            }
        }
        out.put_slice(br#"],"parallel_tool_calls":true,"previous_response_id":null,"#);
        out.put_slice(br#""reasoning":{"effort":null,"summary":null},"store":true,"temperature":1.0,"#);
        out.put_slice(br#""text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"#);
        out.put_slice(br#""truncation":"disabled","usage":"#);
        match answer {
            Some(answer) => put_usage(out, answer),
            None => out.put_slice(b"null"),
        }
        out.put_slice(br#","user":null,"metadata":{}}"#);
    }

    /// The one output item; without a reply, the empty one a stream begins with.
    fn put_item(&self, out: &mut BytesMut, status: &[u8], reply: Option<&Reply>, is_text: bool) {
        let (kind, prefix) = if is_text { ("message", "msg_") } else { ("function_call", "fc_") };
        out.put_slice(b"{\"id\":\"");
        put_id(out, prefix, self.identity.number);
        out.put_slice(b"\",\"type\":\"");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\",\"status\":\"");
        out.put_slice(status);
        match reply {
            Some(Reply::Text(text)) => {
                out.put_slice(b"\",\"role\":\"assistant\",\"content\":[");
                put_part(out, text);
                out.put_slice(b"]}");
            }
            Some(Reply::Tool { name, arguments }) => self.put_call(out, name, arguments),
            None => out.put_slice(b"\",\"role\":\"assistant\",\"content\":[]}"),
        }
    }

    fn put_call(&self, out: &mut BytesMut, name: &str, arguments: &str) {
        out.put_slice(b"\",\"call_id\":\"");
        put_id(out, "call_", self.identity.number);
        out.put_slice(b"\",\"name\":");
        put_string(out, name);
        out.put_slice(b",\"arguments\":");
        put_string(out, arguments);
        out.put_u8(b'}');
    }

    /// The id of a call that is made at once with the first, or of its item.
    fn put_more_id(&self, out: &mut BytesMut, prefix: &str, at: usize) {
        put_id(out, prefix, self.identity.number);
        out.put_u8(b'_');
        put_number(out, at as u64);
    }

    /// The item of such a call: whole, or as a stream begins it.
    fn put_more(&self, out: &mut BytesMut, at: usize, call: &Call, whole: bool) {
        out.put_slice(b"{\"id\":\"");
        self.put_more_id(out, "fc_", at);
        out.put_slice(b"\",\"type\":\"function_call\",\"status\":\"");
        out.put_slice(if whole { b"completed" } else { b"in_progress" });
        out.put_slice(b"\",\"call_id\":\"");
        self.put_more_id(out, "call_", at);
        out.put_slice(b"\",\"name\":");
        put_string(out, &call.name);
        out.put_slice(b",\"arguments\":");
        put_string(out, if whole { &call.arguments } else { "" });
        out.put_u8(b'}');
    }

    /// The events of such a call.
    fn more(&mut self, at: usize, call: &Call, out: &mut BytesMut) {
        let place = |this: &Self, out: &mut BytesMut| {
            out.put_slice(b",\"item_id\":\"");
            this.put_more_id(out, "fc_", at);
            out.put_slice(b"\",\"output_index\":");
            put_number(out, at as u64);
        };
        let item = |this: &Self, out: &mut BytesMut, whole: bool| {
            out.put_slice(b",\"output_index\":");
            put_number(out, at as u64);
            out.put_slice(b",\"item\":");
            this.put_more(out, at, call, whole);
        };
        self.put_event(out, "response.output_item.added", |this, out| item(this, out, false));
        for (kind, member) in [
            ("response.function_call_arguments.delta", "delta"),
            ("response.function_call_arguments.done", "arguments"),
        ] {
            self.put_event(out, kind, |this, out| {
                place(this, out);
                out.put_slice(b",\"");
                out.put_slice(member.as_bytes());
                out.put_slice(b"\":");
                put_string(out, &call.arguments);
            });
        }
        self.put_event(out, "response.output_item.done", |this, out| item(this, out, true));
    }

    /// One event; `put_rest` writes the fields after `sequence_number`, each with its leading comma.
    fn put_event(&mut self, out: &mut BytesMut, kind: &str, put_rest: impl FnOnce(&Self, &mut BytesMut)) {
        const FIXED_BYTES: usize = 256;
        out.reserve(FIXED_BYTES);
        out.put_slice(b"event: ");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\ndata: {\"type\":\"");
        out.put_slice(kind.as_bytes());
        out.put_slice(b"\",\"sequence_number\":");
        put_number(out, self.sequence);
        put_rest(self, out);
        out.put_slice(b"}\n\n");
        self.sequence += 1;
    }

    /// The fields that say which item an event belongs to.
    fn put_place(&self, out: &mut BytesMut, is_text: bool) {
        out.put_slice(b",\"item_id\":\"");
        put_id(out, if is_text { "msg_" } else { "fc_" }, self.identity.number);
        out.put_slice(b"\",\"output_index\":0");
        if is_text {
            out.put_slice(b",\"content_index\":0");
        }
    }

    pub(super) fn opening(&mut self, out: &mut BytesMut) {
        for kind in ["response.created", "response.in_progress"] {
            self.put_event(out, kind, |this, out| {
                out.put_slice(b",\"response\":");
                this.put_response(out, None);
            });
        }
    }

    pub(super) fn first(&mut self, reply: &Reply, out: &mut BytesMut) {
        let is_text = matches!(reply, Reply::Text(_));
        self.put_event(out, "response.output_item.added", |this, out| {
            out.put_slice(b",\"output_index\":0,\"item\":");
            match reply {
                Reply::Text(_) => this.put_item(out, b"in_progress", None, true),
                Reply::Tool { name, .. } => {
                    let empty = Reply::Tool { name: name.clone(), arguments: String::new() };
                    this.put_item(out, b"in_progress", Some(&empty), false);
                }
            }
        });
        if is_text {
            self.put_event(out, "response.content_part.added", |this, out| {
                this.put_place(out, true);
                out.put_slice(b",\"part\":");
                put_part(out, "");
            });
        }
    }

    pub(super) fn delta(&mut self, token: &str, reply: &Reply, out: &mut BytesMut) {
        let is_text = matches!(reply, Reply::Text(_));
        let kind =
            if is_text { "response.output_text.delta" } else { "response.function_call_arguments.delta" };
        self.put_event(out, kind, |this, out| {
            this.put_place(out, is_text);
            out.put_slice(b",\"delta\":");
            put_string(out, token);
            if is_text {
                out.put_slice(b",\"logprobs\":[]");
            }
        });
    }

    pub(super) fn closing(&mut self, answer: &Answer, out: &mut BytesMut) {
        match &answer.reply {
            Reply::Text(text) => self.close_text(text, out),
            Reply::Tool { arguments, .. } => {
                self.put_event(out, "response.function_call_arguments.done", |this, out| {
                    this.put_place(out, false);
                    out.put_slice(b",\"arguments\":");
                    put_string(out, arguments);
                });
            }
        }
        let is_text = matches!(answer.reply, Reply::Text(_));
        self.put_event(out, "response.output_item.done", |this, out| {
            out.put_slice(b",\"output_index\":0,\"item\":");
            this.put_item(out, status(answer), Some(&answer.reply), is_text);
        });
        for (at, call) in (1..).zip(&answer.more) {
            self.more(at, call, out);
        }
        let kind = if answer.truncated { "response.incomplete" } else { "response.completed" };
        self.put_event(out, kind, |this, out| {
            out.put_slice(b",\"response\":");
            this.put_response(out, Some(answer));
        });
    }

    fn close_text(&mut self, text: &str, out: &mut BytesMut) {
        self.put_event(out, "response.output_text.done", |this, out| {
            this.put_place(out, true);
            out.put_slice(b",\"text\":");
            put_string(out, text);
            out.put_slice(b",\"logprobs\":[]");
        });
        self.put_event(out, "response.content_part.done", |this, out| {
            this.put_place(out, true);
            out.put_slice(b",\"part\":");
            put_part(out, text);
        });
    }
}

fn status(answer: &Answer) -> &'static [u8] {
    if answer.truncated { b"incomplete" } else { b"completed" }
}

fn put_part(out: &mut BytesMut, text: &str) {
    out.put_slice(br#"{"type":"output_text","annotations":[],"logprobs":[],"text":"#);
    put_string(out, text);
    out.put_u8(b'}');
}

fn put_usage(out: &mut BytesMut, answer: &Answer) {
    out.put_slice(br#"{"input_tokens":"#);
    put_number(out, answer.prompt_tokens);
    out.put_slice(br#","input_tokens_details":{"cached_tokens":0},"output_tokens":"#);
    put_number(out, answer.completion_tokens);
    out.put_slice(br#","output_tokens_details":{"reasoning_tokens":0},"total_tokens":"#);
    put_number(out, answer.prompt_tokens + answer.completion_tokens);
    out.put_u8(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Wire;
    use super::super::testing::{events, identity, text_answer, tool_answer};
    use super::*;

    fn wire() -> ResponsesWire {
        ResponsesWire::new(identity(), Some("be kind".to_owned()), Some(9))
    }

    #[test]
    fn a_plain_answer_has_the_shape_of_a_response() {
        let body: Value = serde_json::from_slice(&wire().plain(&text_answer("a b"))).unwrap();
        assert_eq!(body["id"], "resp_000000000000002a");
        assert_eq!(body["object"], "response");
        assert_eq!(body["status"], "completed");
        assert_eq!(body["instructions"], "be kind");
        assert_eq!(body["max_output_tokens"], 9);
        assert_eq!(
            body["output"],
            json!([{"id": "msg_000000000000002a", "type": "message", "status": "completed",
                "role": "assistant", "content": [{"type": "output_text", "text": "a b",
                    "annotations": [], "logprobs": []}]}])
        );
        assert_eq!(
            body["usage"],
            json!({"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 5})
        );
    }

    #[test]
    fn a_tool_call_is_a_function_call_item() {
        let body: Value = serde_json::from_slice(&wire().plain(&tool_answer())).unwrap();
        assert_eq!(
            body["output"],
            json!([{"id": "fc_000000000000002a", "type": "function_call", "status": "completed",
                "call_id": "call_000000000000002a", "name": "look", "arguments": "{\"id\": \"a\\\"b\"}"}])
        );
    }

    fn check_stream(answer: &Answer, expected: &[&str]) -> Vec<(String, Value)> {
        let events = events(Wire::Responses(wire()), answer);
        let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected);
        for (at, (name, data)) in events.iter().enumerate() {
            assert_eq!(data["type"], name.as_str());
            assert_eq!(data["sequence_number"], at);
        }
        events
    }

    #[test]
    fn a_streamed_text_has_openais_sequence_of_events() {
        let events = check_stream(
            &text_answer("a b"),
            &[
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ],
        );
        assert_eq!(events[0].1["response"]["status"], "in_progress");
        assert_eq!(events[5].1["delta"], " b");
        assert_eq!(events[6].1["text"], "a b");
        assert_eq!(events[9].1["response"]["output"][0], events[8].1["item"]);
    }

    #[test]
    fn a_streamed_tool_call_has_openais_sequence_of_events() {
        let events = events(Wire::Responses(wire()), &tool_answer());
        let joined: String = events
            .iter()
            .filter(|(name, _)| name == "response.function_call_arguments.delta")
            .filter_map(|(_, data)| data["delta"].as_str())
            .collect();
        assert_eq!(joined, r#"{"id": "a\"b"}"#);
        assert_eq!(events[2].1["item"]["arguments"], "");
        let done = &events[events.len() - 3];
        assert_eq!(
            (done.0.as_str(), done.1["arguments"].as_str()),
            ("response.function_call_arguments.done", Some(joined.as_str()))
        );
    }

    #[test]
    fn calls_that_are_made_at_once_are_items_of_their_own() {
        let more = vec![Call { name: "find".to_owned(), arguments: "{}".to_owned() }];
        let answer = Answer { more, ..tool_answer() };
        let events = events(Wire::Responses(wire()), &answer);
        let (name, data) = &events[events.len() - 1];
        assert_eq!(name, "response.completed");
        let second = json!({"id": "fc_000000000000002a_1", "type": "function_call", "status": "completed",
            "call_id": "call_000000000000002a_1", "name": "find", "arguments": "{}"});
        assert_eq!(data["response"]["output"][1], second);
        assert_eq!(events[events.len() - 2].1["item"], second);
        for (at, (name, data)) in events.iter().enumerate() {
            assert_eq!(
                (data["type"].as_str(), data["sequence_number"].as_u64()),
                (Some(name.as_str()), Some(at as u64))
            );
        }
    }

    #[test]
    fn a_cut_stream_ends_with_incomplete() {
        let answer = Answer { truncated: true, ..text_answer("a") };
        let events = events(Wire::Responses(wire()), &answer);
        let (name, data) = &events[events.len() - 1];
        assert_eq!(name, "response.incomplete");
        assert_eq!(data["response"]["incomplete_details"]["reason"], "max_output_tokens");
    }
}
