//! One event of a stream.

use super::answer::{Answer, error_of, of_raw, reported};
use super::item::{OutputItem, citation, read};
use crate::failure::{ModelFailure, excerpt};
use crate::reply::{Chunk, LogProbBody, ToolCallDelta, log_probs, read_besides};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use waggle_openai::item::{Citation, Item, LogProb};
use waggle_openai::json::Text;

/// What a delta adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaKind {
    /// The text of a message.
    Text,
    /// Why the model does not answer.
    Refusal,
    /// What it thinks.
    Reasoning,
    /// That, in short.
    Summary,
}

/// What an event says. `at` is the index by which the endpoint names the item, `part` that of its part.
#[derive(Debug)]
pub enum Event<'a> {
    /// Nothing that is handed on: how far the response has come, the bounds of a part, what is of no known type.
    Silent,
    /// An item begins.
    Added {
        /// Which.
        at: usize,
        /// As it begins, mostly with nothing in it.
        item: OutputItem,
    },
    /// More of a part.
    Delta {
        /// Of which item.
        at: usize,
        /// Which part.
        part: usize,
        /// What is said.
        kind: DeltaKind,
        /// The words.
        delta: Text<'a>,
        /// How probable its tokens were.
        logprobs: Vec<LogProb>,
    },
    /// More of a call's arguments.
    Arguments {
        /// Of which item.
        at: usize,
        /// The arguments.
        delta: Text<'a>,
    },
    /// A text cites something.
    Cited {
        /// In which item.
        at: usize,
        /// What.
        citation: Citation,
    },
    /// An item ends.
    Done {
        /// Which.
        at: usize,
        /// All of it.
        item: OutputItem,
    },
    /// The answer ends.
    Ended(Answer),
}

/// All that is read of events; which of it is there depends on the type. The values are read when the type is known: an
/// event of an unknown one may hold anything.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow)]
    summary_index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

fn required<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, name: &str) -> Result<T, ModelFailure> {
    match raw {
        Some(raw) => read(raw),
        None => Err(ModelFailure::NotACompletion(format!("an event without its '{name}'"))),
    }
}

impl<'a> Body<'a> {
    fn at(&self) -> Result<usize, ModelFailure> {
        required(self.output_index, "output_index")
    }

    fn item(&self) -> Result<OutputItem, ModelFailure> {
        OutputItem::read(required(self.item, "item")?)
    }

    fn delta(&self, kind: DeltaKind) -> Result<Event<'a>, ModelFailure> {
        let index = if kind == DeltaKind::Summary { self.summary_index } else { self.content_index };
        let logprobs = read_besides::<Vec<LogProbBody>>(self.logprobs);
        Ok(Event::Delta {
            at: self.at()?,
            // Those who know no second part may leave the index of the first one out.
            part: index.map_or(Ok(0), read)?,
            kind,
            delta: required(self.delta, "delta")?,
            logprobs: logprobs.map(log_probs).unwrap_or_default(),
        })
    }

    fn cited(&self) -> Result<Event<'a>, ModelFailure> {
        let at = self.at()?;
        Ok(self.annotation.and_then(citation).map_or(Event::Silent, |citation| Event::Cited { at, citation }))
    }
}

/// Reads the data of an event. Events of a type that is not known are silent.
///
/// # Errors
/// The data is no event, or reports a failure.
pub fn read_event(json: &[u8]) -> Result<Event<'_>, ModelFailure> {
    let body: Body<'_> = serde_json::from_slice(json)
        .map_err(|error| ModelFailure::NotACompletion(format!("{error}, in '{}'", excerpt(json))))?;
    let Some(kind) = body.kind.as_deref() else {
        if body.error.is_some() {
            return Err(reported(body.error));
        }
        return Err(ModelFailure::NotACompletion(format!("no event in '{}'", excerpt(json))));
    };
    match kind {
        "response.output_item.added" => Ok(Event::Added { at: body.at()?, item: body.item()? }),
        "response.output_text.delta" => body.delta(DeltaKind::Text),
        "response.refusal.delta" => body.delta(DeltaKind::Refusal),
        // OpenAI's name, and Open Responses'.
        "response.reasoning_text.delta" | "response.reasoning.delta" => body.delta(DeltaKind::Reasoning),
        "response.reasoning_summary_text.delta" => body.delta(DeltaKind::Summary),
        "response.function_call_arguments.delta" => {
            Ok(Event::Arguments { at: body.at()?, delta: required(body.delta, "delta")? })
        }
        "response.output_text.annotation.added" => body.cited(),
        "response.output_item.done" => Ok(Event::Done { at: body.at()?, item: body.item()? }),
        "response.completed" | "response.incomplete" => of_raw(body.response).map(Event::Ended),
        "response.failed" | "response.cancelled" => Err(error_of(body.response)),
        // OpenAI has the reason as members of the event, Open Responses as its member `error`.
        "error" if body.error.is_some_and(|error| error.get().starts_with('{')) => Err(reported(body.error)),
        "error" if body.message.is_some() => Err(reported(serde_json::from_slice(json).ok())),
        "error" => Err(reported(None)),
        _ => Ok(Event::Silent),
    }
}

fn said<'a>(delta: &'a Text<'_>) -> Option<Text<'a>> {
    (!delta.is_empty()).then(|| Text(Cow::Borrowed(&**delta)))
}

impl Event<'_> {
    /// As much of it as tells what the model is about to do, in the words of Chat Completions.
    pub fn as_chunk(&self) -> Chunk<'_> {
        match self {
            Self::Delta { kind: DeltaKind::Text, delta, .. } => {
                Chunk { text: said(delta), ..Chunk::default() }
            }
            Self::Delta { kind: DeltaKind::Refusal, delta, .. } => {
                Chunk { refusal: said(delta), ..Chunk::default() }
            }
            Self::Delta { delta, .. } => Chunk { reasons: !delta.is_empty(), ..Chunk::default() },
            Self::Arguments { .. } => {
                Chunk { tool_calls: vec![ToolCallDelta::default()], ..Chunk::default() }
            }
            Self::Added { item, .. } | Self::Done { item, .. } => match &item.item {
                Some(Item::FunctionCall { .. } | Item::Hosted(_)) => {
                    Chunk { tool_calls: vec![ToolCallDelta::default()], ..Chunk::default() }
                }
                Some(Item::Reasoning { .. }) => Chunk { reasons: true, ..Chunk::default() },
                _ => Chunk::default(),
            },
            Self::Ended(answer) => Chunk { finish: Some(answer.finish), ..Chunk::default() },
            Self::Silent | Self::Cited { .. } => Chunk::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(event: &Value, expected: fn(&Result<Event<'_>, ModelFailure>) -> bool) {
        let text = event.to_string();
        let read = read_event(text.as_bytes());
        assert!(expected(&read), "{text}: {read:?}");
    }

    #[test]
    fn every_event_that_is_handed_on_is_read() {
        let delta = |kind: &str| json!({"type": kind, "output_index": 2, "content_index": 1, "summary_index": 3, "delta": "d"});
        check(&delta("response.output_text.delta"), |read| {
            matches!(read, Ok(Event::Delta { at: 2, part: 1, kind: DeltaKind::Text, .. }))
        });
        check(&delta("response.refusal.delta"), |read| {
            matches!(read, Ok(Event::Delta { at: 2, part: 1, kind: DeltaKind::Refusal, .. }))
        });
        for kind in ["response.reasoning_text.delta", "response.reasoning.delta"] {
            check(&delta(kind), |read| {
                matches!(read, Ok(Event::Delta { at: 2, part: 1, kind: DeltaKind::Reasoning, .. }))
            });
        }
        check(&delta("response.reasoning_summary_text.delta"), |read| {
            matches!(read, Ok(Event::Delta { at: 2, part: 3, kind: DeltaKind::Summary, .. }))
        });
        check(
            &delta("response.function_call_arguments.delta"),
            |read| matches!(read, Ok(Event::Arguments { at: 2, delta }) if &**delta == "d"),
        );
        let item = json!({"type": "reasoning", "summary": []});
        check(&json!({"type": "response.output_item.added", "output_index": 0, "item": item}), |read| {
            matches!(read, Ok(Event::Added { at: 0, .. }))
        });
        check(&json!({"type": "response.output_item.done", "output_index": 0, "item": item}), |read| {
            matches!(read, Ok(Event::Done { at: 0, .. }))
        });
        let cited = json!({"type": "url_citation", "start_index": 0, "end_index": 1, "url": "u"});
        let event = |annotation: &Value| json!({"type": "response.output_text.annotation.added", "output_index": 0, "annotation": annotation});
        check(&event(&cited), |read| matches!(read, Ok(Event::Cited { at: 0, .. })));
        check(&event(&json!({"type": "file_path"})), |read| matches!(read, Ok(Event::Silent)));
        let ended = json!({"type": "response.completed", "response": {"status": "completed", "output": []}});
        check(&ended, |read| matches!(read, Ok(Event::Ended(_))));
    }

    #[test]
    fn what_is_not_known_is_silent_whatever_it_holds() {
        for kind in
            ["response.created", "response.content_part.added", "response.output_text.done", "keepalive"]
        {
            let event = json!({"type": kind, "output_index": "x", "delta": {}, "item": 7, "response": [], "logprobs": {}});
            check(&event, |read| matches!(read, Ok(Event::Silent)));
        }
    }

    #[test]
    fn failures_are_named_wherever_the_endpoint_tells_them() {
        let limit = json!({"code": "rate_limit_exceeded", "message": "m"});
        for event in [
            json!({"type": "error", "code": "rate_limit_exceeded", "message": "m", "sequence_number": 3}),
            json!({"type": "error", "error": limit}),
            json!({"type": "response.failed", "response": {"status": "failed", "error": limit}}),
            json!({"error": limit}),
        ] {
            check(&event, |read| matches!(read, Err(ModelFailure::Status { status: 429, .. })));
        }
        for event in [json!({"type": "error"}), json!({"type": "response.failed"}), json!({"error": "no"})] {
            check(&event, |read| matches!(read, Err(ModelFailure::Reported(_))));
        }
    }

    #[test]
    fn what_lacks_what_its_type_must_have_is_no_event() {
        for event in [
            json!({}),
            json!([]),
            json!({"type": 1}),
            json!({"type": "response.output_text.delta", "output_index": 0}),
            json!({"type": "response.output_text.delta", "delta": "x"}),
            json!({"type": "response.output_text.delta", "output_index": -1, "delta": "x"}),
            json!({"type": "response.output_text.delta", "output_index": 0, "delta": 7}),
            json!({"type": "response.output_item.added", "output_index": 0}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": 1}}),
            json!({"type": "response.completed"}),
            json!({"type": "response.completed", "response": {"status": "in_progress"}}),
            json!({"choices": []}),
        ] {
            check(&event, |read| matches!(read, Err(ModelFailure::NotACompletion(_))));
        }
    }
}
