//! What words are that come while an answer is waited for: the answer, another wish, or neither.

use crate::catalogue::{Slot, SlotKind};
use crate::date::Day;
use crate::lexical::plain;
use crate::nearest::Ranked;
use crate::slot::answer;
use serde_json::Value;

/// What somebody says who wants nothing of it any more. Only as the whole of what is said.
const LEAVING: [&str; 14] = [
    "never mind",
    "nevermind",
    "forget it",
    "forget about it",
    "stop",
    "cancel",
    "no thanks",
    "算了",
    "不用了",
    "取消",
    "没事了",
    "不需要了",
    "算了吧",
    "不问了",
];

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open<'c> {
    /// The place of the intent.
    pub(crate) intent: usize,
    /// The slot.
    pub(crate) slot: &'c Slot,
}

/// What is done with the words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// They are the value that was asked for.
    Answer(Value),
    /// They are no answer: it is asked again.
    Again,
    /// They mean this.
    Begin(Ranked),
    /// What was asked is not wanted any more.
    Leave,
    /// They mean nothing that is known; what was asked stays open.
    Unknown,
}

impl Open<'_> {
    /// Whether any words may be the value.
    fn takes_anything(self) -> bool {
        self.slot.kind == SlotKind::String && self.slot.pattern.is_none()
    }
}

fn is_question(text: &str) -> bool {
    text.trim_end().ends_with(['?', '\u{ff1f}', '吗', '呢'])
}

/// What can be decided without comparing the words with examples but for their letters; `by_words` is the intent whose
/// example they are.
pub(crate) fn at_once(
    open: Option<Open<'_>>,
    text: &str,
    by_words: Option<Ranked>,
    today: Day,
) -> Option<Decision> {
    let Some(open) = open else { return by_words.map(Decision::Begin) };
    if LEAVING.contains(&plain(text).as_str()) {
        return Some(Decision::Leave);
    }
    match by_words {
        Some(ranked) if ranked.intent != open.intent => return Some(Decision::Begin(ranked)),
        Some(_) if open.takes_anything() => return Some(Decision::Again),
        _ => {}
    }
    if open.takes_anything() {
        return None;
    }
    answer(open.slot, text, today).map(Decision::Answer)
}

/// What is decided then; `best` is the intent that they mean, if they are sure enough to mean one.
pub(crate) fn by_likeness(open: Option<Open<'_>>, text: &str, best: Option<Ranked>, today: Day) -> Decision {
    let Some(open) = open else { return best.map_or(Decision::Unknown, Decision::Begin) };
    if let Some(other) = best.filter(|best| best.intent != open.intent) {
        return Decision::Begin(other);
    }
    if is_question(text) {
        return Decision::Unknown;
    }
    answer(open.slot, text, today).map_or(Decision::Again, Decision::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use serde_json::json;

    fn catalogue() -> Catalogue {
        let slots = json!([{"name": "order", "type": "string", "pattern": "[0-9]{4}"}, {"name": "why", "type": "string"}]);
        Catalogue::read(&json!([{"name": "a", "examples": ["x"], "slots": slots}]).to_string()).unwrap()
    }

    fn ranked(intent: usize) -> Ranked {
        Ranked { intent, confidence: 0.9 }
    }

    #[test]
    fn words_are_an_answer_or_another_wish() {
        let catalogue = catalogue();
        let today = Day::of_ms(0);
        let check =
            |slot: &str, text: &str, by_words: Option<usize>, best: Option<usize>, expected: Decision| {
                let open = Some(Open { intent: 0, slot: catalogue.intents()[0].slot(slot).unwrap() });
                let decided = at_once(open, text, by_words.map(ranked), today)
                    .unwrap_or_else(|| by_likeness(open, text, best.map(ranked), today));
                assert_eq!(decided, expected, "{slot}: {text}");
            };
        check("order", "It is 1001", None, Some(1), Decision::Answer(json!("1001")));
        check("order", "cancel order 1001", Some(1), None, Decision::Begin(ranked(1)));
        check("order", "I want something else", None, Some(1), Decision::Begin(ranked(1)));
        check("order", "I do not know", None, None, Decision::Again);
        check("order", "Where do I find it?", None, None, Decision::Unknown);
        check("order", "Never mind!", None, None, Decision::Leave);
        check("order", "算了", None, None, Decision::Leave);
        check("why", "It was broken", None, None, Decision::Answer(json!("It was broken")));
        check("why", "It was broken", None, Some(0), Decision::Answer(json!("It was broken")));
        check("why", "x", Some(0), None, Decision::Again);
        check("why", "Do I have to say?", None, None, Decision::Unknown);
    }

    #[test]
    fn without_a_question_words_mean_what_they_are_like() {
        let today = Day::of_ms(0);
        assert_eq!(at_once(None, "cancel", None, today), None);
        assert_eq!(at_once(None, "x", Some(ranked(0)), today), Some(Decision::Begin(ranked(0))));
        assert_eq!(by_likeness(None, "y", None, today), Decision::Unknown);
    }
}
