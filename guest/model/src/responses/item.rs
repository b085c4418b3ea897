//! One item of an answer, as far as it is handed on.

use crate::failure::{ModelFailure, excerpt};
use crate::reply::{self, LogProbBody};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use waggle_openai::item::{Annotation, Citation, HostedCall, HostedKind, Item, Part, Role, TextPart};
use waggle_openai::json::Text;

/// An item of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputItem {
    /// The item; `None` for one of a type that is not handed on.
    pub item: Option<Item<'static>>,
    /// Whether the model came to its end.
    pub whole: bool,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct MessageBody<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Vec<PartBody<'a>>>,
    #[serde(borrow)]
    phase: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReasoningBody<'a> {
    #[serde(borrow)]
    summary: Option<Vec<PartBody<'a>>>,
    #[serde(borrow)]
    content: Option<Vec<PartBody<'a>>>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct CallBody<'a> {
    #[serde(borrow)]
    call_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct PartBody<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

pub(super) fn unreadable(error: &serde_json::Error, json: &str) -> ModelFailure {
    ModelFailure::NotACompletion(format!("{error}, in '{}'", excerpt(json.as_bytes())))
}

pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, ModelFailure> {
    serde_json::from_str(raw.get()).map_err(|error| unreadable(&error, raw.get()))
}

fn owned(text: Option<Text<'_>>) -> Cow<'static, str> {
    Cow::Owned(reply::owned(text))
}

/// An annotation, where it is one that is handed on: a place of the web, or a file.
pub(super) fn citation(raw: &RawValue) -> Option<Citation> {
    serde_json::from_str::<Annotation>(raw.get()).ok().and_then(Annotation::citation)
}

fn citations(raw: Option<&RawValue>) -> Vec<Citation> {
    let all: Vec<&RawValue> = reply::read_besides(raw).unwrap_or_default();
    all.into_iter().filter_map(citation).collect()
}

impl PartBody<'_> {
    /// The part; `None` for one that holds no words.
    fn part(self) -> Option<Part<'static>> {
        Some(match &*self.kind {
            "output_text" | "text" => Part::Text(TextPart {
                text: owned(self.text),
                annotations: citations(self.annotations),
                logprobs: reply::read_besides::<Vec<LogProbBody>>(self.logprobs)
                    .map(reply::log_probs)
                    .unwrap_or_default(),
            }),
            "refusal" => Part::Refusal(owned(self.refusal)),
            "reasoning_text" => Part::Reasoning(owned(self.text)),
            "summary_text" => Part::Summary(owned(self.text)),
            _ => return None,
        })
    }
}

/// The parts that say something, of which an item of that kind can hold only some.
fn parts(bodies: Option<Vec<PartBody<'_>>>, may: impl Fn(&Part<'_>) -> bool) -> Vec<Part<'static>> {
    let parts = bodies.into_iter().flatten().filter_map(PartBody::part);
    parts.filter(|part| !part.words().is_empty() && may(part)).collect()
}

fn message(raw: &RawValue) -> Result<Option<Item<'static>>, ModelFailure> {
    let body: MessageBody<'_> = read(raw)?;
    if body.role.is_some_and(|role| &*role != "assistant") {
        return Ok(None);
    }
    let parts = parts(body.content, |part| matches!(part, Part::Text(_) | Part::Refusal(_)));
    Ok(Some(Item::Message { role: Role::Assistant, parts, phase: reply::read_besides(body.phase) }))
}

fn reasoning(raw: &RawValue) -> Result<Option<Item<'static>>, ModelFailure> {
    let body: ReasoningBody<'_> = read(raw)?;
    Ok(Some(Item::Reasoning {
        summary: parts(body.summary, |part| matches!(part, Part::Summary(_))),
        content: parts(body.content, |part| matches!(part, Part::Reasoning(_))),
        encrypted_content: body.encrypted_content.map(|Text(text)| Cow::Owned(text.into_owned())),
    }))
}

fn call(raw: &RawValue) -> Result<Option<Item<'static>>, ModelFailure> {
    let CallBody { call_id, name, arguments } = read(raw)?;
    Ok(Some(Item::FunctionCall {
        call_id: owned(call_id),
        name: owned(Some(name)),
        arguments: owned(arguments),
    }))
}

impl OutputItem {
    /// Reads an item. Parts that say nothing are left out.
    ///
    /// # Errors
    /// It has no type, or not what its type must have.
    pub fn read(raw: &RawValue) -> Result<Self, ModelFailure> {
        let kind: Kind<'_> = read(raw)?;
        let item = match &*kind.kind {
            "message" => message(raw)?,
            "reasoning" => reasoning(raw)?,
            "function_call" => call(raw)?,
            other => match HostedKind::parse(other) {
                Some(kind) => HostedCall::read(kind, raw.get())
                    .map(|call| Some(Item::Hosted(call)))
                    .map_err(|error| unreadable(&error, raw.get()))?,
                None => None,
            },
        };
        Ok(Self { item, whole: kind.status.is_none_or(|status| &*status != "incomplete") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read_one(json: &Value) -> OutputItem {
        OutputItem::read(&serde_json::value::to_raw_value(json).unwrap()).unwrap()
    }

    #[test]
    fn messages_thoughts_and_calls_are_read_with_all_that_is_handed_on() {
        let cited = json!({"type": "url_citation", "start_index": 0, "end_index": 1, "url": "https://e.x", "title": "t"});
        let message = read_one(
            &json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete",
            "phase": "final_answer", "content": [
                {"type": "output_text", "text": "a", "annotations": [cited, {"type": "file_citation", "index": 0},
                    {"type": "file_citation", "file_id": "f", "filename": "a.md", "index": 1}],
                    "logprobs": [{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}]},
                {"type": "output_text", "text": ""}, {"type": "refusal", "refusal": "no"}, {"type": "output_audio"}]}),
        );
        assert!(!message.whole);
        let Some(Item::Message { parts, phase: Some(_), .. }) = message.item else { panic!("{message:?}") };
        let [Part::Text(text), Part::Refusal(_)] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!((text.annotations.len(), text.logprobs.len()), (2, 1));
        let thought =
            read_one(&json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
            "content": null, "encrypted_content": "e"}));
        let Some(Item::Reasoning { summary, content, encrypted_content: Some(sealed) }) = thought.item else {
            panic!("{thought:?}")
        };
        assert_eq!((summary.len(), content.len(), &*sealed, thought.whole), (1, 0, "e", true));
        let call =
            read_one(&json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}));
        let expected = Item::FunctionCall { call_id: "c".into(), name: "f".into(), arguments: "{}".into() };
        assert_eq!(call.item, Some(expected));
    }

    #[test]
    fn what_is_of_no_known_type_is_left_out_and_what_is_not_as_its_type_has_it_is_refused() {
        for unknown in [
            json!({"type": "computer_call", "action": {"type": "click"}, "name": 3}),
            json!({"type": "message", "role": "user", "content": []}),
        ] {
            assert_eq!(read_one(&unknown).item, None, "{unknown}");
        }
        for wrong in [
            json!({}),
            json!([]),
            json!({"type": 1}),
            json!({"type": "function_call", "call_id": "c"}),
            json!({"type": "message", "content": "text"}),
            json!({"type": "reasoning", "summary": [1]}),
        ] {
            let raw = serde_json::value::to_raw_value(&wrong).unwrap();
            assert!(matches!(OutputItem::read(&raw), Err(ModelFailure::NotACompletion(_))), "{wrong}");
        }
    }
}
