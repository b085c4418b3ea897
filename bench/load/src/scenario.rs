//! The scenarios: what one measured request is, and what has to be there before it.

use bytes::Bytes;
use hyper::{HeaderMap, Method};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// `GET /hello`: the server's own cost of a request.
    Hello,
    /// `POST /v1/chat/completions`, which keeps nothing; also against a model itself.
    Chat,
    /// `POST /v1/conversations`: a durable write and nothing else.
    Conversation,
    /// `POST /v1/responses` in a conversation of the client's own.
    Turn,
    /// The same with `"stream": true`; the time to the first delta is measured, too.
    TurnStream,
    /// A turn in a conversation that already holds `--history` turns.
    TurnHistory,
}

impl Scenario {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Chat => "chat",
            Self::Conversation => "conversation",
            Self::Turn => "turn",
            Self::TurnStream => "turn-stream",
            Self::TurnHistory => "turn-history",
        }
    }

    pub(crate) fn needs_conversation(self) -> bool {
        matches!(self, Self::Turn | Self::TurnStream | Self::TurnHistory)
    }

    pub(crate) fn streams(self) -> bool {
        self == Self::TurnStream
    }
}

/// A request without its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Added to those of the client; a field given here goes before the client's own.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path: path.into(), headers: HeaderMap::new(), body: body.into() }
    }
}

/// Items are added at most this many at a time, as the Conversations API bounds it.
const ITEMS_PER_CALL_MAX: u32 = 20;

pub(crate) fn hello() -> Call {
    Call::get("/hello")
}

pub(crate) fn create_conversation() -> Call {
    Call::post("/v1/conversations", Bytes::from_static(b"{}"))
}

/// The calls that put `turns` past turns into a conversation.
pub(crate) fn fill_conversation(conversation: &str, turns: u32) -> Vec<Call> {
    let items: Vec<String> = (0..turns * 2).map(item).collect();
    items
        .chunks(ITEMS_PER_CALL_MAX as usize)
        .map(|batch| {
            Call::post(
                format!("/v1/conversations/{conversation}/items"),
                format!(r#"{{"items":[{}]}}"#, batch.join(",")),
            )
        })
        .collect()
}

fn item(index: u32) -> String {
    let turn = index / 2;
    if index.is_multiple_of(2) {
        format!(
            r#"{{"type":"message","role":"user","content":"Question {turn}: where is my order, and when will it arrive?"}}"#
        )
    } else {
        format!(
            r#"{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"Answer {turn}: it was shipped and will arrive within two days."}}]}}"#
        )
    }
}

/// What a client says in one turn: unlike every other, so that a mixed-up answer is noticed.
pub(crate) fn input(client: u32, turn: u64) -> String {
    format!("client {client} turn {turn}: where is my order?")
}

/// The same, made longer until it has `bytes`.
pub(crate) fn padded(mut said: String, bytes: usize) -> String {
    const PADDING: &str = " and please look into it once more";
    said.reserve(bytes.saturating_sub(said.len()));
    while said.len() < bytes {
        let left = bytes - said.len();
        said.push_str(&PADDING[..left.min(PADDING.len())]);
    }
    said
}

pub(crate) fn chat(model: &str, input: &str) -> Call {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{input}"}}]}}"#);
    Call::post("/v1/chat/completions", body)
}

pub(crate) fn turn(model: &str, conversation: &str, input: &str, stream: bool) -> Call {
    let stream = if stream { r#","stream":true"# } else { "" };
    let body = format!(r#"{{"model":"{model}","input":"{input}","conversation":"{conversation}"{stream}}}"#);
    Call::post("/v1/responses", body)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_history_is_filled_in_batches_of_twenty_items() {
        fn check(turns: u32, batches: &[usize]) {
            let calls = fill_conversation("conv_1", turns);
            let sizes: Vec<_> = calls
                .iter()
                .map(|call| {
                    assert_eq!(call.path, "/v1/conversations/conv_1/items");
                    let body: Value = serde_json::from_slice(&call.body).unwrap();
                    body["items"].as_array().unwrap().len()
                })
                .collect();
            assert_eq!(sizes, batches, "{turns} turns");
        }
        check(0, &[]);
        check(10, &[20]);
        check(15, &[20, 10]);
    }

    #[test]
    fn an_input_is_padded_to_its_length_and_begins_as_before() {
        for bytes in [0, 40, 100, 10_000] {
            let said = padded(input(1, 2), bytes);
            assert_eq!(said.len(), bytes.max(input(1, 2).len()));
            assert!(said.starts_with(&input(1, 2)));
        }
    }

    #[test]
    fn a_turn_is_a_responses_request() {
        let call = turn("sim", "conv_1", &input(3, 4), true);
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"model": "sim", "conversation": "conv_1", "stream": true,
                "input": "client 3 turn 4: where is my order?"})
        );
    }
}
