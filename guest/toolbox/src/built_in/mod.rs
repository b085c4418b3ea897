//! The tools that every tenant has, called `waggle` together: what a customer service needs and no model can do by itself.

mod calculator;
mod clock;
mod conversation;
mod knowledge;

use crate::outcome::{Done, Fault, Outcome};
use crate::service::Service;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use waggle_conversation::Store;
use waggle_mcp::Fetch;
use waggle_platform::Platform;
use waggle_tool::wire::{BUILT_IN_LABEL, CallError, CallRequest, Offered};

/// What stands for their definitions: it changes with them.
pub(crate) const DIGEST: &str = "waggle:1";
/// How long one of them may take, in milliseconds.
pub(crate) const TIME_MS_MAX: u64 = 30_000;
/// How long its output may be, in bytes.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// A tool of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    /// `search_knowledge`
    SearchKnowledge,
    /// `current_time`
    CurrentTime,
    /// `calculator`
    Calculator,
    /// `search_conversation`
    SearchConversation,
    /// `hand_over`
    HandOver,
}

/// All of them, in the order in which they are offered.
pub(crate) fn all() -> impl Iterator<Item = BuiltIn> {
    [
        BuiltIn::SearchKnowledge,
        BuiltIn::CurrentTime,
        BuiltIn::Calculator,
        BuiltIn::SearchConversation,
        BuiltIn::HandOver,
    ]
    .into_iter()
}

impl BuiltIn {
    /// The one of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        all().find(|one| one.name() == name)
    }

    /// What a model calls it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SearchKnowledge => "search_knowledge",
            Self::CurrentTime => "current_time",
            Self::Calculator => "calculator",
            Self::SearchConversation => "search_conversation",
            Self::HandOver => "hand_over",
        }
    }

    /// Whether it says anything without a conversation.
    pub(crate) fn needs_conversation(self) -> bool {
        matches!(self, Self::SearchConversation | Self::HandOver)
    }

    fn description(self) -> &'static str {
        match self {
            Self::SearchKnowledge => {
                "Searches the knowledge base for passages that answer a question. Use it whenever the answer depends on \
                 facts about the company, its products or its rules."
            }
            Self::CurrentTime => "Tells the current date, time and weekday, in any time zone.",
            Self::Calculator => {
                "Calculates an expression exactly, in decimals: + - * / % ^, parentheses, min, max, round(x, digits), \
                 abs, sqrt. Use it for every sum, price or percentage."
            }
            Self::SearchConversation => {
                "Searches this conversation from its beginning for what was said earlier, beyond what is shown."
            }
            Self::HandOver => {
                "Hands the conversation over to a person and ends the part of the assistant. Use it when the user asks \
                 for a person, or when nothing else helps."
            }
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Self::SearchKnowledge => {
                r#"{"type":"object","properties":{"query":{"type":"string","minLength":1,"maxLength":4096,"description":"The question, complete in itself"},"max_results":{"type":"integer","minimum":1,"maximum":20,"description":"How many passages at most; 5 unless it is said"}},"required":["query"],"additionalProperties":false}"#
            }
            Self::CurrentTime => {
                r#"{"type":"object","properties":{"time_zone":{"type":"string","maxLength":64,"description":"A name as Europe/Berlin or an offset as +05:30; UTC unless it is said"}},"additionalProperties":false}"#
            }
            Self::Calculator => {
                r#"{"type":"object","properties":{"expression":{"type":"string","minLength":1,"maxLength":1000,"description":"For example: round(19.99 * 3 * 1.19, 2)"}},"required":["expression"],"additionalProperties":false}"#
            }
            Self::SearchConversation => {
                r#"{"type":"object","properties":{"query":{"type":"string","minLength":1,"maxLength":1000,"description":"Words of what was said"}},"required":["query"],"additionalProperties":false}"#
            }
            Self::HandOver => {
                r#"{"type":"object","properties":{"reason":{"type":"string","maxLength":500,"description":"Why, for the person who takes over"}},"required":["reason"],"additionalProperties":false}"#
            }
        }
    }

    /// The schema of its arguments.
    pub(crate) fn parameters(self) -> Box<RawValue> {
        // What stands above is JSON: a test reads it.
        RawValue::from_string(self.schema().to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Whether a call may change something outside. One that does may be repeated: what is handed over stays so.
    pub(crate) fn has_side_effects(self) -> bool {
        matches!(self, Self::HandOver)
    }

    /// The same, as a catalogue has it.
    pub(crate) fn offered(self) -> Offered {
        Offered {
            name: self.name().to_owned(),
            label: BUILT_IN_LABEL.to_owned(),
            function: self.name().to_owned(),
            description: self.description().to_owned(),
            parameters: self.parameters(),
            side_effects: self.has_side_effects(),
            idempotent: true,
            needs_approval: false,
            digest: DIGEST.to_owned(),
        }
    }
}

/// An argument that is text.
fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> &'a str {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    /// Makes a call of one of ours, whose arguments fit its schema.
    pub(crate) async fn run_built_in(
        &self,
        one: BuiltIn,
        arguments: &Map<String, Value>,
        request: &CallRequest,
    ) -> Outcome {
        let invalid = |told: String| Fault::new(CallError::InvalidArguments, told);
        match one {
            BuiltIn::SearchKnowledge => self.search_knowledge(arguments, request).await,
            BuiltIn::CurrentTime => {
                let zone = arguments.get("time_zone").and_then(Value::as_str);
                clock::time(self.platform.now_ms(), zone).map(Done::of).map_err(invalid)
            }
            BuiltIn::Calculator => {
                let result = calculator::calculate(text(arguments, "expression"));
                result
                    .map(Done::of)
                    .map_err(|error| invalid(format!("The expression has no result: {error}.")))
            }
            BuiltIn::SearchConversation => self.search_conversation(arguments, request).await,
            BuiltIn::HandOver => self.hand_over(arguments, request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_schema::Schema;

    #[test]
    fn every_schema_is_one_and_every_name_is_found() {
        for one in all() {
            Schema::read(one.parameters().get()).unwrap();
            assert_eq!(BuiltIn::of(one.name()), Some(one));
            assert!(one.parameters().get().starts_with(r#"{"type":"object""#));
        }
        assert_eq!(BuiltIn::of("rm"), None);
    }
}
