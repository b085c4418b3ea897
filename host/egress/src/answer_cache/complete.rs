//! Which answers are worth keeping: chat completions that came whole and said what there was to say.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// The only reason to end that leaves nothing open.
const STOP: &str = "stop";
/// The last event of a stream.
const DONE: &str = "[DONE]";
/// The type of a stream.
const EVENT_STREAM: &str = "text/event-stream";

/// Whether an answer with this content type and text is one to keep: it came whole, every choice ended with `stop` and
/// said something, none called a tool or refused, and it holds no error.
pub(crate) fn is_worth_keeping(content_type: &[u8], text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    match media_type(content_type).as_deref() {
        Some("application/json") => is_good_object(text),
        Some(EVENT_STREAM) => is_good_stream(text),
        _ => false,
    }
}

/// Whether an answer with these header fields comes as server-sent events.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    media_type(content_type).as_deref() == Some(EVENT_STREAM)
}

fn media_type(content_type: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content_type).ok()?;
    Some(text.split(';').next()?.trim().to_ascii_lowercase())
}

fn is_good_object(text: &str) -> bool {
    let mut choices = Choices::default();
    serde_json::from_str(text).is_ok_and(|answer| choices.take(&answer)) && choices.are_good()
}

/// A stream of server-sent events is good when its chunks are and the last of them is followed by `[DONE]`.
fn is_good_stream(text: &str) -> bool {
    let mut choices = Choices::default();
    let mut done = false;
    for data in text.lines().filter_map(|line| line.strip_prefix("data:")) {
        if done {
            return false;
        }
        done = data.trim() == DONE;
        if !done && !serde_json::from_str(data).is_ok_and(|chunk| choices.take(&chunk)) {
            return false;
        }
    }
    done && choices.are_good()
}

/// A completion or a chunk of one, as far as it says whether it is good.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "delta")]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    refusal: Option<IgnoredAny>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    function_call: Option<IgnoredAny>,
}

impl Message<'_> {
    fn says_something(&self) -> bool {
        self.content.as_ref().is_some_and(|content| !content.trim().is_empty())
    }

    fn does_something_else(&self) -> bool {
        let calls = self.tool_calls.is_some_and(|calls| !matches!(calls.get(), "null" | "[]"));
        calls || self.function_call.is_some() || self.refusal.is_some()
    }
}

/// What became of each choice so far.
#[derive(Default)]
struct Choices(BTreeMap<u64, Seen>);

#[derive(Default)]
struct Seen {
    stopped: bool,
    said_something: bool,
}

impl Choices {
    /// Whether nothing of `answer` speaks against keeping it.
    fn take(&mut self, answer: &Answer<'_>) -> bool {
        for choice in &answer.choices {
            let seen = self.0.entry(choice.index).or_default();
            match choice.finish_reason.as_deref() {
                None => {}
                Some(STOP) => seen.stopped = true,
                Some(_) => return false,
            }
            let Some(message) = &choice.message else { continue };
            seen.said_something |= message.says_something();
            if message.does_something_else() {
                return false;
            }
        }
        answer.error.is_none()
    }

    fn are_good(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|seen| seen.stopped && seen.said_something)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_kept_and_no_others() {
        fn check(text: &str, expected: bool) {
            assert_eq!(
                is_worth_keeping(b"application/json; charset=utf-8", text.as_bytes()),
                expected,
                "{text}"
            );
        }
        let choice = |choice: &str| format!(r#"{{"id":"x","choices":[{choice}],"usage":{{}}}}"#);
        let good = r#"{"index":0,"message":{"role":"assistant","content":"Hi","tool_calls":null,"refusal":null},
            "finish_reason":"stop","logprobs":null}"#;
        check(&choice(good), true);
        check(&choice(&format!("{good},{}", good.replace("\"index\":0", "\"index\":1"))), true);
        check(&choice(&good.replace("null,\"refusal\"", "[],\"refusal\"")), true);
        check(&choice(&good.replace("stop", "length")), false);
        check(&choice(&good.replace("stop", "content_filter")), false);
        check(&choice(&good.replace("\"stop\"", "null")), false);
        check(&choice(&good.replace("\"Hi\"", "\" \"")), false);
        check(&choice(&good.replace("\"Hi\"", "null")), false);
        check(&choice(&good.replace("\"tool_calls\":null", "\"tool_calls\":[{\"id\":\"c\"}]")), false);
        check(&choice(&good.replace("\"tool_calls\":null", "\"function_call\":{}")), false);
        check(&choice(&good.replace("\"refusal\":null", "\"refusal\":\"no\"")), false);
        check(&choice(&format!("{good},{{\"index\":1,\"finish_reason\":null}}")), false);
        check(&choice(""), false);
        check(r#"{"error":{"message":"x"}}"#, false);
        check(&choice(good).replace("\"usage\":{}", "\"error\":{}"), false);
        check(&choice(good).replace("}]", "}"), false);
        check("<html>", false);
        check("", false);
    }

    #[test]
    fn whole_streams_are_kept_and_no_others() {
        fn check(text: &str, expected: bool) {
            assert_eq!(is_worth_keeping(b"text/event-stream", text.as_bytes()), expected, "{text}");
        }
        let good = ": hello\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
            data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n\
            data:{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\ndata: [DONE]\n\n";
        check(good, true);
        check(&good.replace('\n', "\r\n"), true);
        check(&good.replace("data: [DONE]\n\n", ""), false);
        check(&good.replace("\"stop\"", "\"tool_calls\""), false);
        check(&good.replace("\"stop\"", "null"), false);
        check(&good.replace("{\"content\":\"Hi\"}", "{\"tool_calls\":[{}]}"), false);
        check(&good.replace("\"Hi\"", "\"\""), false);
        check(&good.replace("\"usage\":{\"total_tokens\":3}", "\"error\":{\"code\":1}"), false);
        check(&good.replace("data: [DONE]", "data: {\"cho"), false);
        check(&format!("{good}data: {{}}\n\n"), false);
        check("data: [DONE]\n\n", false);
    }

    #[test]
    fn the_type_of_the_content_decides_how_it_is_read() {
        let text = br#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
        assert!(is_worth_keeping(b"Application/JSON", text));
        assert!(!is_worth_keeping(b"text/html", text) && !is_worth_keeping(b"", text));
        assert!(!is_worth_keeping(b"text/event-stream", text));
        assert!(!is_worth_keeping(b"application/json", b"\xff"));
    }
}
