//! A whole answer: the response object of a plain call, or the one that ends a stream.

use super::ITEMS_MAX;
use super::item::{OutputItem, read, unreadable};
use crate::failure::{ModelFailure, excerpt};
use crate::reply::{FinishReason, TOOL_CALLS_MAX, read_besides};
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_openai::item::{Item, Part};
use waggle_openai::json::Text;
use waggle_openai::response::Usage;

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the model said, in its order.
    pub items: Vec<OutputItem>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// What it counted, when it says so.
    pub usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    reason: Text<'a>,
}

#[derive(Deserialize)]
struct UsageBody {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    input_tokens_details: Option<Cached>,
    output_tokens_details: Option<Reasoned>,
}

#[derive(Deserialize)]
struct Cached {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Reasoned {
    reasoning_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        Self {
            input_tokens: body.input_tokens,
            cached_tokens: body.input_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            output_tokens: body.output_tokens,
            reasoning_tokens: body
                .output_tokens_details
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or(0),
        }
    }
}

/// The failure that an endpoint tells by an error object inside an answer of status 200. What is a matter of the request
/// or of a limit is told as if the status had said so.
pub(super) fn reported(error: Option<&RawValue>) -> ModelFailure {
    let body: ErrorBody<'_> = read_besides(error).unwrap_or_default();
    let message = body.message.as_deref().unwrap_or("an error it does not describe");
    let status = match body.code.map_or("", |code| code.get().trim_matches('"')) {
        "rate_limit_exceeded" => 429,
        "invalid_prompt" | "invalid_request_error" | "context_length_exceeded" => 400,
        code if code.contains("image") => 400,
        _ => return ModelFailure::Reported(excerpt(message.as_bytes())),
    };
    ModelFailure::Status {
        status,
        message: Some(excerpt(message.as_bytes())),
        code: None,
        retry_after_s: None,
    }
}

fn is_there(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get() != "null")
}

fn finish(details: Option<&RawValue>) -> FinishReason {
    match read_besides::<Details<'_>>(details) {
        Some(Details { reason }) if &*reason == "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Length,
    }
}

fn items(output: Option<Vec<&RawValue>>) -> Result<Vec<OutputItem>, ModelFailure> {
    let output = output.unwrap_or_default();
    if output.len() > ITEMS_MAX {
        return Err(ModelFailure::TooLong(format!("more than {ITEMS_MAX} items")));
    }
    let items: Vec<OutputItem> = output.into_iter().map(OutputItem::read).collect::<Result<_, _>>()?;
    let is_call = |item: &&OutputItem| matches!(item.item, Some(Item::FunctionCall { .. }));
    if items.iter().filter(is_call).count() > TOOL_CALLS_MAX {
        return Err(ModelFailure::TooLong(format!("more than {TOOL_CALLS_MAX} tool calls")));
    }
    Ok(items)
}

/// Reads a response object.
pub(super) fn of_object(json: &str) -> Result<Answer, ModelFailure> {
    let body: Body<'_> = serde_json::from_str(json).map_err(|error| unreadable(&error, json))?;
    let finish = match body.status.as_deref() {
        _ if is_there(body.error) => return Err(reported(body.error)),
        Some("completed") => FinishReason::Stop,
        Some("incomplete") => finish(body.incomplete_details),
        Some("failed" | "cancelled") => return Err(reported(None)),
        _ => {
            let said = excerpt(json.as_bytes());
            return Err(ModelFailure::NotACompletion(format!("no response that is over in '{said}'")));
        }
    };
    let usage = read_besides::<UsageBody>(body.usage).map(Usage::from);
    Ok(Answer { items: items(body.output)?, finish, usage })
}

/// As [`of_object`], of an object within another.
pub(super) fn of_raw(raw: Option<&RawValue>) -> Result<Answer, ModelFailure> {
    match raw {
        Some(raw) => of_object(raw.get()),
        None => Err(ModelFailure::NotACompletion("an event without its 'response'".to_owned())),
    }
}

/// The error of a response object.
pub(super) fn error_of(raw: Option<&RawValue>) -> ModelFailure {
    #[derive(Deserialize)]
    struct Failed<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let failed = raw.and_then(|raw| read::<Failed<'_>>(raw).ok());
    reported(failed.and_then(|failed| failed.error))
}

/// Reads a whole answer.
///
/// # Errors
/// The body is no response object, or one that failed; it has too many items, or one that cannot be read.
pub fn read_answer(json: &[u8]) -> Result<Answer, ModelFailure> {
    let text = std::str::from_utf8(json);
    let text =
        text.map_err(|error| ModelFailure::NotACompletion(format!("{error}, in '{}'", excerpt(json))))?;
    of_object(text)
}

impl Answer {
    fn parts(&self) -> impl Iterator<Item = &Part<'static>> {
        self.items.iter().flat_map(|item| match &item.item {
            Some(Item::Message { parts, .. }) => parts.as_slice(),
            _ => &[],
        })
    }

    /// Its words: those of its messages, without refusals.
    pub fn text(&self) -> String {
        self.parts().filter(|part| matches!(part, Part::Text(_))).map(Part::words).collect()
    }

    /// Whether it refuses.
    pub fn refuses(&self) -> bool {
        self.parts().any(|part| matches!(part, Part::Refusal(_)))
    }

    /// Whether it asks for tools.
    pub fn calls(&self) -> bool {
        self.items.iter().any(|item| matches!(item.item, Some(Item::FunctionCall { .. } | Item::Hosted(_))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer(json: &Value) -> Result<Answer, ModelFailure> {
        read_answer(json.to_string().as_bytes())
    }

    #[test]
    fn an_answer_is_read_with_what_was_counted_and_why_it_ended() {
        let message = json!({"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "no"}]});
        let usage = json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 14});
        let whole = answer(&json!({"status": "completed", "error": null, "incomplete_details": null,
            "output": [message, {"type": "web_search_call", "id": "ws_1", "status": "completed"}], "usage": usage}))
        .unwrap();
        let counted = Usage { input_tokens: 9, cached_tokens: 4, output_tokens: 5, reasoning_tokens: 3 };
        assert_eq!((whole.usage, whole.finish), (Some(counted), FinishReason::Stop));
        assert_eq!((whole.text().as_str(), whole.refuses(), whole.calls()), ("Hi", true, true));
        let finish = |reason: &Value| {
            answer(&json!({"status": "incomplete", "incomplete_details": reason, "output": []}))
                .unwrap()
                .finish
        };
        assert_eq!(finish(&json!({"reason": "content_filter"})), FinishReason::ContentFilter);
        assert_eq!(finish(&json!({"reason": "max_output_tokens"})), FinishReason::Length);
        assert_eq!(finish(&Value::Null), FinishReason::Length);
    }

    fn check(json: &Value, expected: fn(&ModelFailure) -> bool) {
        let failure = answer(json).unwrap_err();
        assert!(expected(&failure), "{json}: {failure:?}");
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let failed =
            |code: &str| json!({"status": "failed", "error": {"code": code, "message": "m"}, "output": []});
        check(
            &failed("server_error"),
            |failure| matches!(failure, ModelFailure::Reported(said) if said == "m"),
        );
        check(&failed("rate_limit_exceeded"), |failure| {
            matches!(failure, ModelFailure::Status { status: 429, .. })
        });
        check(&failed("invalid_prompt"), |failure| {
            matches!(failure, ModelFailure::Status { status: 400, .. })
        });
        check(&failed("invalid_image"), |failure| {
            matches!(failure, ModelFailure::Status { status: 400, .. })
        });
        check(&json!({"error": "no"}), |failure| matches!(failure, ModelFailure::Reported(_)));
        check(&json!({"status": "cancelled"}), |failure| matches!(failure, ModelFailure::Reported(_)));
        for other in
            [json!({}), json!([]), json!({"status": "in_progress", "output": []}), json!({"choices": []})]
        {
            check(&other, |failure| matches!(failure, ModelFailure::NotACompletion(_)));
        }
        let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""});
        for items in [vec![call; TOOL_CALLS_MAX + 1], vec![json!({"type": "reasoning"}); ITEMS_MAX + 1]] {
            let body = json!({"status": "completed", "output": items});
            check(&body, |failure| matches!(failure, ModelFailure::TooLong(_)));
        }
        for bytes in [&b""[..], b"<html>", b"\xff", b"{\"status\":"] {
            assert!(matches!(read_answer(bytes), Err(ModelFailure::NotACompletion(_))), "{bytes:?}");
        }
    }
}
