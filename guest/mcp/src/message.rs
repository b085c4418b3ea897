//! JSON-RPC 2.0, as far as the protocol uses it: one request, notification or answer at a time.

use crate::json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The longest id of a request, in bytes of JSON.
const ID_BYTES_MAX: usize = 256;

/// What went wrong, as a number.
pub(crate) mod code {
    /// It is no JSON.
    pub(crate) const PARSE_ERROR: i64 = -32700;
    /// It is no request.
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    /// There is no such method.
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters are not as they have to be; from 2026-07-28 on also: there is no such resource.
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    /// It failed here.
    pub(crate) const INTERNAL_ERROR: i64 = -32603;
    /// There is no such resource, before 2026-07-28.
    pub(crate) const RESOURCE_NOT_FOUND: i64 = -32002;
    /// The header fields say something else than the body.
    pub(crate) const HEADER_MISMATCH: i64 = -32020;
    /// The client would have to be able to do something that it does not say it can.
    pub(crate) const MISSING_CAPABILITY: i64 = -32021;
    /// The revision is not spoken here.
    pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;
}

/// An error of JSON-RPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl RpcError {
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// The id of a request: a string or an integer, written as it came.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Box<RawValue>);

impl RequestId {
    fn read(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        let is_string = text.starts_with('"');
        let is_integer = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
        ((is_string || is_integer) && text.len() <= ID_BYTES_MAX).then(|| Self(raw.to_owned()))
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }
}

/// A message that has come.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// Wants an answer.
    Request {
        id: RequestId,
        method: Cow<'a, str>,
        /// An object, where there are any.
        params: Option<&'a RawValue>,
    },
    /// Wants none.
    Notification { method: Cow<'a, str>, params: Option<&'a RawValue> },
    /// The answer to a request.
    Answer {
        /// The request's; absent of one that could not be read.
        id: Option<&'a RawValue>,
        answer: Result<&'a RawValue, RpcError>,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// Tells `null` from what is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Reads one message.
///
/// # Errors
/// It is no JSON, too deep, several at once, or none of the three kinds.
pub(crate) fn read(bytes: &[u8]) -> Result<Message<'_>, RpcError> {
    let refused = |code, message: &str| Err(RpcError::new(code, message));
    if !json::is_shallow(bytes) {
        return refused(code::INVALID_REQUEST, &format!("nested deeper than {} levels", json::DEPTH_MAX));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return refused(code::PARSE_ERROR, "not UTF-8");
    };
    let raw: &RawValue = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(error) => return refused(code::PARSE_ERROR, &format!("not JSON: {error}")),
    };
    if raw.get().starts_with('[') {
        return refused(code::INVALID_REQUEST, "several messages at once are not taken; send each by itself");
    }
    if !raw.get().starts_with('{') {
        return refused(code::INVALID_REQUEST, "a message is a JSON object");
    }
    let wire: Wire<'_> = match serde_json::from_str(raw.get()) {
        Ok(wire) => wire,
        Err(error) => return refused(code::INVALID_REQUEST, &format!("no JSON-RPC message: {error}")),
    };
    if wire.jsonrpc.as_deref() != Some("2.0") {
        return refused(code::INVALID_REQUEST, "'jsonrpc' has to be \"2.0\"");
    }
    sort(wire)
}

fn sort(wire: Wire<'_>) -> Result<Message<'_>, RpcError> {
    let refused = |message: &str| Err(RpcError::new(code::INVALID_REQUEST, message));
    let Some(method) = wire.method else {
        return match (wire.result, wire.error) {
            (Some(result), None) => Ok(Message::Answer { id: wire.id, answer: Ok(result) }),
            (None, Some(error)) => Ok(Message::Answer { id: wire.id, answer: Err(error) }),
            _ => refused("a message has either 'method', 'result' or 'error'"),
        };
    };
    if wire.params.is_some_and(|params| !params.get().starts_with('{')) {
        return refused("'params' has to be an object");
    }
    match wire.id {
        None => Ok(Message::Notification { method, params: wire.params }),
        Some(id) => match RequestId::read(id) {
            Some(id) => Ok(Message::Request { id, method, params: wire.params }),
            None => refused("'id' has to be a string or an integer of at most 256 bytes"),
        },
    }
}

/// Writes an answer to `id`; an error to a request that could not be read has none.
pub(crate) fn answer(id: Option<&RequestId>, answer: Result<&RawValue, &RpcError>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a RpcError>,
    }
    let (result, error) = (answer.ok(), answer.err());
    let answer = Answer { jsonrpc: "2.0", id: id.map(RequestId::raw), result, error };
    // Nothing in it can fail to be written; an empty body would be noticed at once.
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// Writes a request.
pub(crate) fn request(id: u64, method: &str, params: Map<String, Value>) -> Vec<u8> {
    let message = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    message.to_string().into_bytes()
}

/// Writes a notification.
pub(crate) fn notification(method: &str, params: Map<String, Value>) -> Vec<u8> {
    let message = serde_json::json!({"jsonrpc": "2.0", "method": method, "params": params});
    message.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(text: &str) -> String {
        match read(text.as_bytes()) {
            Ok(Message::Request { id, method, params }) => {
                format!("request {} {method} {}", id.raw().get(), params.map_or("-", RawValue::get))
            }
            Ok(Message::Notification { method, .. }) => format!("notification {method}"),
            Ok(Message::Answer { id, answer }) => {
                let id = id.map_or("-", RawValue::get);
                answer.map_or_else(
                    |error| format!("error {id} {}", error.code),
                    |result| format!("result {id} {}", result.get()),
                )
            }
            Err(error) => format!("refused {}", error.code),
        }
    }

    #[test]
    fn messages_are_sorted_and_what_is_none_is_refused() {
        let check = |text: &str, expected: &str| assert_eq!(kind(text), expected, "{text}");
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request 1 ping -");
        check(
            r#" {"jsonrpc":"2.0","id":"a\u0062","method":"p\u0069ng","params":{}} "#,
            r#"request "a\u0062" ping {}"#,
        );
        check(r#"{"jsonrpc":"2.0","id":-7,"method":"x","params":{"a":1}}"#, r#"request -7 x {"a":1}"#);
        check(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, "notification notifications/x");
        check(r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "result 1 null");
        check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#, "error 1 -1");
        check(r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"no"}}"#, "error - -1");
        check(r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, "refused -32600");
        check(r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#, "refused -32600");
        check(r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, "refused -32600");
        check(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#, "refused -32600");
        check(r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, "refused -32600");
        check(r#"{"id":1,"method":"x"}"#, "refused -32600");
        check(r#"{"jsonrpc":"2.0","id":1}"#, "refused -32600");
        check(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#, "refused -32600");
        check(r#"[{"jsonrpc":"2.0","id":1,"method":"x"}]"#, "refused -32600");
        check(r#"["2.0",1,"x",null,null,null]"#, "refused -32600");
        check("7", "refused -32600");
        check("{", "refused -32700");
        check("", "refused -32700");
        check(
            &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}"#, "[".repeat(100)),
            "refused -32600",
        );
        let id = "1".repeat(300);
        check(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#), "refused -32600");
    }

    #[test]
    fn an_answer_repeats_the_id_as_it_came() {
        let text = br#"{"jsonrpc":"2.0","id":"\u0061","method":"x"}"#;
        let Ok(Message::Request { id, .. }) = read(text) else { panic!("no request") };
        let result: &RawValue = serde_json::from_str("{}").unwrap();
        let written = String::from_utf8(answer(Some(&id), Ok(result))).unwrap();
        assert_eq!(written, r#"{"jsonrpc":"2.0","id":"\u0061","result":{}}"#);
        let error = RpcError::new(code::PARSE_ERROR, "not JSON");
        let written = String::from_utf8(answer(None, Err(&error))).unwrap();
        assert_eq!(written, r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"not JSON"}}"#);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_text_like_json_makes_reading_panic(text in "[\\[\\]{}\":, a-z0-9.\\\\-]{0,80}") {
            let _ = read(text.as_bytes());
        }
    }
}
