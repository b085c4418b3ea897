//! Chat Completions: <https://platform.openai.com/docs/api-reference/chat>.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Identity, put_id, put_number, put_string};
use crate::answer::{Answer, Reply};
use crate::script::Call;

/// Writes one answer of the Chat Completions API.
pub(crate) struct ChatWire {
    identity: Identity,
    include_usage: bool,
    /// What every chunk of the stream begins with, up to the list of choices.
    chunk_head: Vec<u8>,
}

const SERVICE: &[u8] = br#","service_tier":"default","system_fingerprint":"fp_model_sim""#;
const DONE: &[u8] = b"data: [DONE]\n\n";

impl ChatWire {
    pub(crate) fn new(identity: Identity, include_usage: bool) -> Self {
        Self { identity, include_usage, chunk_head: Vec::new() }
    }

    pub(super) fn plain(&self, answer: &Answer) -> Bytes {
        const FIXED_BYTES: usize = 700;
        let mut out = BytesMut::with_capacity(FIXED_BYTES + reply_bytes(&answer.reply));
        self.put_head(&mut out, b"chat.completion");
        out.put_slice(br#","choices":[{"index":0,"message":{"role":"assistant","content":"#);
        match &answer.reply {
            Reply::Text(text) => put_string(&mut out, text),
            Reply::Tool { name, arguments } => {
                out.put_slice(b"null,\"tool_calls\":[{\"id\":\"");
                put_id(&mut out, "call_", self.identity.number);
                out.put_slice(br#"","type":"function","function":{"name":"#);
                put_string(&mut out, name);
                out.put_slice(br#","arguments":"#);
                put_string(&mut out, arguments);
                out.put_slice(b"}}");
                for (at, call) in (1..).zip(&answer.more) {
                    out.put_slice(b",{");
                    self.put_more(&mut out, at, call);
                    out.put_slice(b"}");
                }
                out.put_slice(b"]");
            }
        }
        out.put_slice(br#","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":""#);
        out.put_slice(finish_reason(answer));
        out.put_slice(br#""}],"usage":"#);
        put_usage(&mut out, answer);
        out.put_u8(b'}');
        out.freeze()
    }

    /// The members of a call that is made at once with the first.
    fn put_more(&self, out: &mut BytesMut, at: usize, call: &Call) {
        out.put_slice(b"\"id\":\"");
        put_id(out, "call_", self.identity.number);
        out.put_slice(b"_");
        put_number(out, at as u64);
        out.put_slice(br#"","type":"function","function":{"name":"#);
        put_string(out, &call.name);
        out.put_slice(br#","arguments":"#);
        put_string(out, &call.arguments);
        out.put_slice(b"}");
    }

    fn put_head(&self, out: &mut BytesMut, object: &[u8]) {
        out.put_slice(b"{\"id\":\"");
        put_id(out, "chatcmpl-", self.identity.number);
        out.put_slice(b"\",\"object\":\"");
        out.put_slice(object);
        out.put_slice(b"\",\"created\":");
        put_number(out, self.identity.created);
        out.put_slice(b",\"model\":");
        put_string(out, &self.identity.model);
        out.put_slice(SERVICE);
    }

    /// One choice, whose delta `put_delta` writes; `finish` is JSON.
    fn put_chunk(&self, out: &mut BytesMut, finish: &[u8], put_delta: impl FnOnce(&mut BytesMut)) {
        const FIXED_BYTES: usize = 160;
        out.reserve(self.chunk_head.len() + FIXED_BYTES);
        out.put_slice(&self.chunk_head);
        out.put_slice(br#"{"index":0,"delta":"#);
        put_delta(out);
        out.put_slice(br#","logprobs":null,"finish_reason":"#);
        out.put_slice(finish);
        out.put_slice(if self.include_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" });
    }

    pub(super) fn first(&mut self, reply: &Reply, out: &mut BytesMut) {
        let mut head = BytesMut::from(&b"data: "[..]);
        self.put_head(&mut head, b"chat.completion.chunk");
        head.put_slice(br#","choices":["#);
        self.chunk_head = head.to_vec();
        self.put_chunk(out, b"null", |out| match reply {
            Reply::Text(_) => out.put_slice(br#"{"role":"assistant","content":"","refusal":null}"#),
            Reply::Tool { name, .. } => {
                out.put_slice(br#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":""#);
                put_id(out, "call_", self.identity.number);
                out.put_slice(br#"","type":"function","function":{"name":"#);
                put_string(out, name);
                out.put_slice(br#","arguments":""}}],"refusal":null}"#);
            }
        });
    }

    pub(super) fn delta(&mut self, token: &str, reply: &Reply, out: &mut BytesMut) {
        self.put_chunk(out, b"null", |out| match reply {
            Reply::Text(_) => {
                out.put_slice(br#"{"content":"#);
                put_string(out, token);
                out.put_u8(b'}');
            }
            Reply::Tool { .. } => {
                out.put_slice(br#"{"tool_calls":[{"index":0,"function":{"arguments":"#);
                put_string(out, token);
                out.put_slice(b"}}]}");
            }
        });
    }

    pub(super) fn closing(&mut self, answer: &Answer, out: &mut BytesMut) {
        for (at, call) in (1..).zip(&answer.more) {
            self.put_chunk(out, b"null", |out| {
                out.put_slice(br#"{"tool_calls":[{"index":"#);
                put_number(out, at as u64);
                out.put_slice(b",");
                self.put_more(out, at, call);
                out.put_slice(b"}]}");
            });
        }
        let mut finish = Vec::with_capacity(16);
        finish.push(b'"');
        finish.extend_from_slice(finish_reason(answer));
        finish.push(b'"');
        self.put_chunk(out, &finish, |out| out.put_slice(b"{}"));
        if self.include_usage {
            out.put_slice(&self.chunk_head);
            out.put_slice(br#"],"usage":"#);
            put_usage(out, answer);
            out.put_slice(b"}\n\n");
        }
        out.put_slice(DONE);
    }
}

fn reply_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Text(text) => text.len(),
        Reply::Tool { name, arguments } => name.len() + arguments.len(),
    }
}

fn finish_reason(answer: &Answer) -> &'static [u8] {
    match (&answer.reply, answer.truncated) {
        (Reply::Tool { .. }, _) => b"tool_calls",
        (Reply::Text(_), true) => b"length",
        (Reply::Text(_), false) => b"stop",
    }
}

fn put_usage(out: &mut BytesMut, answer: &Answer) {
    out.put_slice(br#"{"prompt_tokens":"#);
    put_number(out, answer.prompt_tokens);
    out.put_slice(br#","completion_tokens":"#);
    put_number(out, answer.completion_tokens);
    out.put_slice(br#","total_tokens":"#);
    put_number(out, answer.prompt_tokens + answer.completion_tokens);
    out.put_slice(br#","prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"#);
    out.put_slice(br#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"#);
    out.put_slice(br#""accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Wire;
    use super::super::testing::{events, identity, text_answer, tool_answer};
    use super::*;

    fn wire(include_usage: bool) -> ChatWire {
        ChatWire::new(identity(), include_usage)
    }

    fn usage(completion: u64) -> Value {
        json!({"prompt_tokens": 3, "completion_tokens": completion, "total_tokens": 3 + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}})
    }

    #[test]
    fn a_plain_answer_has_the_shape_of_a_chat_completion() {
        let body: Value = serde_json::from_slice(&wire(false).plain(&text_answer("a \"b\""))).unwrap();
        assert_eq!(
            body,
            json!({"id": "chatcmpl-000000000000002a", "object": "chat.completion", "created": 1_700_000_000,
                "model": "sim\"x", "service_tier": "default", "system_fingerprint": "fp_model_sim",
                "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop", "message":
                    {"role": "assistant", "content": "a \"b\"", "refusal": null, "annotations": []}}],
                "usage": usage(2)})
        );
    }

    #[test]
    fn a_plain_tool_call_has_no_content_and_finishes_with_tool_calls() {
        let body: Value = serde_json::from_slice(&wire(false).plain(&tool_answer())).unwrap();
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        assert_eq!(choice["message"]["content"], Value::Null);
        assert_eq!(
            choice["message"]["tool_calls"],
            json!([{"id": "call_000000000000002a", "type": "function",
                "function": {"name": "look", "arguments": "{\"id\": \"a\\\"b\"}"}}])
        );
    }

    #[test]
    fn calls_that_are_made_at_once_are_told_apart() {
        let more = vec![Call { name: "find".to_owned(), arguments: "{}".to_owned() }];
        let answer = || Answer { more: more.clone(), ..tool_answer() };
        let body: Value = serde_json::from_slice(&wire(false).plain(&answer())).unwrap();
        let calls = &body["choices"][0]["message"]["tool_calls"];
        assert_eq!(calls[0]["function"]["name"], "look");
        let second = json!({"id": "call_000000000000002a_1", "type": "function",
            "function": {"name": "find", "arguments": "{}"}});
        assert_eq!(calls[1], second);
        let events = events(Wire::Chat(wire(false)), &answer());
        let mut deltas = events.iter().filter_map(|(_, data)| data["choices"][0]["delta"].get("tool_calls"));
        let last = deltas.next_back().unwrap()[0].clone();
        assert_eq!(
            (&last["index"], &last["id"], &last["function"]),
            (&json!(1), &second["id"], &second["function"])
        );
    }

    #[test]
    fn a_cut_answer_finishes_with_length() {
        let answer = Answer { truncated: true, ..text_answer("a") };
        let body: Value = serde_json::from_slice(&wire(false).plain(&answer)).unwrap();
        assert_eq!(body["choices"][0]["finish_reason"], "length");
    }

    #[test]
    fn a_stream_gives_the_role_the_tokens_the_reason_the_usage_and_done() {
        let events = events(Wire::Chat(wire(true)), &text_answer("a b"));
        let data: Vec<_> = events.into_iter().map(|(_, data)| data).collect();
        let deltas: Vec<_> = data[..4].iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
        assert_eq!(
            deltas,
            [
                json!({"role": "assistant", "content": "", "refusal": null}),
                json!({"content": "a"}),
                json!({"content": " b"}),
                json!({})
            ]
        );
        assert_eq!(data[3]["choices"][0]["finish_reason"], "stop");
        assert_eq!(data[0]["object"], "chat.completion.chunk");
        assert!(data[..4].iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
        assert_eq!(data[4]["choices"], json!([]));
        assert_eq!(data[4]["usage"], usage(2));
        assert_eq!(data[5], "[DONE]");
        assert_eq!(data.len(), 6);
    }

    #[test]
    fn a_stream_without_include_usage_never_mentions_usage() {
        let events = events(Wire::Chat(wire(false)), &text_answer("a"));
        assert_eq!(events.len(), 4);
        assert!(events.iter().all(|(_, data)| data.get("usage").is_none()));
    }

    #[test]
    fn a_streamed_tool_call_joins_to_its_arguments() {
        let events = events(Wire::Chat(wire(false)), &tool_answer());
        let calls: Vec<_> = events
            .iter()
            .filter_map(|(_, data)| data["choices"][0]["delta"].get("tool_calls").map(|c| c[0].clone()))
            .collect();
        assert_eq!(calls[0]["function"]["name"], "look");
        let arguments: String = calls.iter().filter_map(|c| c["function"]["arguments"].as_str()).collect();
        assert_eq!(arguments, r#"{"id": "a\"b"}"#);
        assert_eq!(events[events.len() - 2].1["choices"][0]["finish_reason"], "tool_calls");
    }
}
