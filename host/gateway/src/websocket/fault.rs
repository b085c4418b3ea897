//! Errors as messages: `{"type":"error","status":…,"error":{…}}`, as Open Responses has them on a WebSocket.

use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Value, json};

/// What an error's `code` is where there is none: there it must be a word.
const INVALID_REQUEST: &str = "invalid_request";
/// Fields of an answer that tell the client something about a refusal.
const TOLD_FIELDS: [HeaderName; 2] = [header::RETRY_AFTER, HeaderName::from_static("x-request-id")];

/// What is wrong with a message, or became of its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    status: u16,
    code: &'static str,
    message: String,
    param: Option<String>,
}

impl Fault {
    /// The client's mistake.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into(), param: None }
    }

    /// The host's or the function's.
    pub(crate) fn failed(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None }
    }

    /// Names the field that is wrong.
    pub(crate) fn of(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    /// The message for the client.
    pub(crate) fn event(&self) -> String {
        let error = json!({
            "type": kind(self.status),
            "code": self.code,
            "message": self.message,
            "param": self.param,
        });
        event(self.status, error)
    }
}

/// The message for a client whose request was answered with an error: OpenAI's object, as well as it can be found in
/// `body`.
pub(crate) fn from_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> String {
    let object = serde_json::from_slice::<Value>(body).ok();
    let found = object.as_ref().and_then(|object| object.get("error")?.as_object());
    let mut error = found.map_or_else(Map::new, known);
    let told: Map<String, Value> = TOLD_FIELDS
        .iter()
        .filter_map(|name| Some((name.to_string(), headers.get(name)?.to_str().ok()?.into())))
        .collect();
    if !told.is_empty() {
        error.insert("headers".into(), told.into());
    }
    complete(status, &mut error);
    event(status, error.into())
}

/// The message for an `error` event of a stream, which has the fields of an error itself or in an object.
pub(crate) fn from_stream(data: &[u8]) -> String {
    let object = serde_json::from_slice::<Value>(data).ok();
    let fields = object.as_ref().and_then(|object| object.get("error").unwrap_or(object).as_object());
    let mut error = fields.map_or_else(Map::new, known);
    // The fields of the event itself have its type among them, which is no type of an error.
    if error.get("type").is_some_and(|kind| kind == "error") {
        error.remove("type");
    }
    let status = match error.get("type").and_then(Value::as_str) {
        Some("invalid_request_error" | "invalid_request") => 400,
        Some("too_many_requests" | "rate_limit_error" | "requests" | "tokens") => 429,
        _ => 500,
    };
    complete(status, &mut error);
    event(status, error.into())
}

/// The fields of an error that a client knows.
fn known(object: &Map<String, Value>) -> Map<String, Value> {
    ["type", "code", "message", "param", "headers"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), object.get(name)?.clone())))
        .collect()
}

/// Adds what an error must have.
fn complete(status: u16, error: &mut Map<String, Value>) {
    let mut or = |name: &str, otherwise: &str| {
        if !error.get(name).is_some_and(Value::is_string) {
            error.insert(name.to_owned(), otherwise.into());
        }
    };
    or("type", kind(status));
    or("message", "The request could not be answered.");
    or(
        "code",
        match status {
            429 => "rate_limit_exceeded",
            500.. => "server_error",
            _ => INVALID_REQUEST,
        },
    );
    error.entry("param").or_insert(Value::Null);
}

fn kind(status: u16) -> &'static str {
    if status >= 500 { "server_error" } else { "invalid_request_error" }
}

fn event(status: u16, error: Value) -> String {
    json!({ "type": "error", "status": status, "error": error }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(event: &str, expected: &Value) {
        assert_eq!(&serde_json::from_str::<Value>(event).unwrap(), expected);
    }

    #[test]
    fn a_mistake_is_told_with_the_field_it_is_in() {
        let event = Fault::invalid("invalid_value", "No.").of("stream").event();
        let error = json!({"type": "invalid_request_error", "code": "invalid_value", "message": "No.", "param": "stream"});
        check(&event, &json!({"type": "error", "status": 400, "error": error}));
    }

    #[test]
    fn an_answers_error_has_a_code_whatever_the_answer_was() {
        let none = HeaderMap::new();
        let body =
            br#"{"error":{"message":"No.","type":"invalid_request_error","param":"input","code":null}}"#;
        let error = json!({"type": "invalid_request_error", "code": "invalid_request", "message": "No.", "param": "input"});
        check(&from_answer(400, &none, body), &json!({"type": "error", "status": 400, "error": error}));
        let message = "The request could not be answered.";
        let error =
            json!({"type": "server_error", "code": "server_error", "message": message, "param": null});
        check(&from_answer(502, &none, b"<html>"), &json!({"type": "error", "status": 502, "error": error}));
    }

    #[test]
    fn a_refusal_tells_when_to_try_again() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        headers.insert(header::SERVER, HeaderValue::from_static("secret"));
        let body =
            br#"{"error":{"message":"Slow.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
        let error = json!({"type": "requests", "code": "rate_limit_exceeded", "message": "Slow.", "param": null,
            "headers": {"retry-after": "7"}});
        check(&from_answer(429, &headers, body), &json!({"type": "error", "status": 429, "error": error}));
    }

    #[test]
    fn an_error_of_a_stream_is_understood_in_both_shapes() {
        let flat = br#"{"type":"error","sequence_number":3,"code":"model_unavailable","message":"No.","param":null}"#;
        let nested = br#"{"type":"error","sequence_number":3,"error":{"type":"server_error",
            "code":"model_unavailable","message":"No.","param":null}}"#;
        let error =
            json!({"type": "server_error", "code": "model_unavailable", "message": "No.", "param": null});
        for data in [&flat[..], &nested[..]] {
            check(&from_stream(data), &json!({"type": "error", "status": 500, "error": error}));
        }
    }
}
