//! Values of slots: which stand in a text, and whether what somebody says is one.

use crate::catalogue::{Slot, SlotKind};
use crate::date::{Day, days, without_days};
use crate::lexical::{half, plain};
use regex_lite::Regex;
use serde_json::{Number, Value};
use std::sync::LazyLock;

/// The longest text that is a value, in characters.
pub(crate) const TEXT_CHARACTERS_MAX: usize = 500;
/// How many values of a slot are looked for in a text.
const VALUES_LOOKED_AT_MAX: usize = 8;

static NUMBERS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?").ok());

const YES: [&str; 14] =
    ["yes", "y", "yeah", "yep", "sure", "ok", "okay", "true", "是", "是的", "对", "好", "好的", "可以"];
const NO: [&str; 12] = ["no", "n", "nope", "nah", "not", "false", "否", "不", "不是", "不用", "不要", "没有"];

/// The numbers that stand in a text by themselves: `E-4711b` has none.
fn numbers(text: &str) -> Vec<String> {
    let text = without_days(text);
    let Some(regex) = &*NUMBERS else { return Vec::new() };
    let alone = |found: &regex_lite::Match<'_>| {
        let before = text.get(..found.start()).and_then(|text| text.chars().next_back());
        let after = text.get(found.end()..).and_then(|text| text.chars().next());
        let joins =
            |character: Option<char>| character.is_some_and(|one| one.is_ascii_alphanumeric() || one == '_');
        !joins(before) && !joins(after)
    };
    let signed = |found: regex_lite::Match<'_>| {
        let before = text.get(..found.start()).unwrap_or_default();
        // A minus is one where nothing stands before it; else it is a dash.
        let minus = before
            .strip_suffix('-')
            .is_some_and(|text| text.is_empty() || text.ends_with(char::is_whitespace));
        let digits = found.as_str().replace(',', "");
        if minus { format!("-{digits}") } else { digits }
    };
    regex.find_iter(&text).take(VALUES_LOOKED_AT_MAX).filter(alone).map(signed).collect()
}

fn number(text: &str) -> Option<Value> {
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}

fn integer(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(Value::from)
}

/// Whether a text has a value of an enum, as words of its own where it is of Latin letters.
fn has_value(text: &str, value: &str) -> bool {
    let value = plain(value);
    if value.is_empty() {
        return false;
    }
    let mut rest = text;
    while let Some(start) = rest.find(&value) {
        let (before, after) =
            (rest.get(..start).unwrap_or_default(), rest.get(start + value.len()..).unwrap_or_default());
        let joins = |character: Option<char>| character.is_some_and(|one| one.is_ascii_alphanumeric());
        let is_latin = value.is_ascii();
        if !is_latin || !joins(before.chars().next_back()) && !joins(after.chars().next()) {
            return true;
        }
        rest = after;
    }
    false
}

/// The text as a value of the slot's type.
fn typed(slot: &Slot, text: &str, today: Day) -> Option<Value> {
    let text = text.trim();
    match &slot.kind {
        SlotKind::String => {
            let fits = !text.is_empty() && text.chars().count() <= TEXT_CHARACTERS_MAX;
            fits.then(|| Value::from(text))
        }
        SlotKind::Integer => integer(text),
        SlotKind::Number => number(text),
        SlotKind::Boolean => yes_or_no(text),
        SlotKind::Date => days(text, today).into_iter().next().map(Value::from),
        SlotKind::Enum(values) => {
            let words = plain(text);
            values.iter().find(|value| plain(value) == words).map(|value| Value::from(value.as_str()))
        }
    }
}

fn yes_or_no(text: &str) -> Option<Value> {
    let words = plain(text);
    let first = words.split(' ').next().unwrap_or_default();
    let is_one = |known: &[&str]| known.contains(&words.as_str()) || known.contains(&first);
    match (is_one(&YES), is_one(&NO)) {
        (true, false) => Some(Value::Bool(true)),
        (false, true) => Some(Value::Bool(false)),
        _ => None,
    }
}

/// The values of the slot that stand in a text, each once: by its pattern, or by its type where that shows what is one.
pub(crate) fn standing(slot: &Slot, text: &str, today: Day) -> Vec<Value> {
    let text = half(text);
    let found: Vec<Value> = match (&slot.pattern, &slot.kind) {
        (Some(pattern), _) => {
            let matches = pattern.captures_iter(&text).take(VALUES_LOOKED_AT_MAX);
            let value = |found: regex_lite::Captures<'_>| {
                let part = found.get(1).or_else(|| found.get(0));
                part.and_then(|part| typed(slot, part.as_str(), today))
            };
            matches.filter_map(value).collect()
        }
        (None, SlotKind::Integer) => numbers(&text).iter().filter_map(|text| integer(text)).collect(),
        (None, SlotKind::Number) => numbers(&text).iter().filter_map(|text| number(text)).collect(),
        (None, SlotKind::Date) => days(&text, today).into_iter().map(Value::from).collect(),
        (None, SlotKind::Enum(values)) => {
            let words = plain(&text);
            values
                .iter()
                .filter(|value| has_value(&words, value))
                .map(|value| Value::from(value.as_str()))
                .collect()
        }
        (None, SlotKind::String | SlotKind::Boolean) => Vec::new(),
    };
    let mut once: Vec<Value> = Vec::new();
    for value in found {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

/// The value in the answer to the slot's question: the only one that stands in it, else all of it where that can be one.
pub(crate) fn answer(slot: &Slot, text: &str, today: Day) -> Option<Value> {
    let mut standing = standing(slot, text, today);
    if standing.len() == 1 {
        return standing.pop();
    }
    let says_itself = slot.pattern.is_none() && standing.is_empty();
    if says_itself { typed(slot, &half(text), today) } else { None }
}

/// What a model says the value is, if it can be.
pub(crate) fn taken(slot: &Slot, said: &Value, today: Day) -> Option<Value> {
    let text = match said {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) if slot.kind == SlotKind::Boolean => return Some(Value::Bool(*flag)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    if slot.pattern.is_some() {
        return standing(slot, &text, today).into_iter().next();
    }
    typed(slot, &half(&text), today)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use proptest::prelude::*;
    use serde_json::json;

    fn slot(changes: &Value) -> Catalogue {
        let mut slot = json!({"name": "s", "type": "string"});
        for (name, value) in changes.as_object().unwrap() {
            slot[name] = value.clone();
        }
        Catalogue::read(&json!([{"name": "a", "examples": ["x"], "slots": [slot]}]).to_string()).unwrap()
    }

    fn today() -> Day {
        Day::of_ms(1_772_323_200_000)
    }

    fn check_answer(slot_json: &Value, text: &str, expected: &Value) {
        let catalogue = slot(slot_json);
        let found = answer(&catalogue.intents()[0].slots[0], text, today());
        assert_eq!(found.unwrap_or(Value::Null), *expected, "{slot_json} {text}");
    }

    #[test]
    fn an_answer_has_a_value_of_the_slots_type() {
        let integer = json!({"type": "integer"});
        check_answer(&integer, "It is 12.", &json!(12));
        check_answer(&integer, "1,200 pieces", &json!(1200));
        check_answer(&integer, "１２", &json!(12));
        check_answer(&integer, "12 or 13", &Value::Null);
        check_answer(&integer, "12 and 12", &json!(12));
        check_answer(&integer, "E12b", &Value::Null);
        check_answer(&integer, "99999999999999999999", &Value::Null);
        check_answer(&json!({"type": "number"}), "about -1.5", &json!(-1.5));
        check_answer(&json!({"type": "number"}), "8-9", &Value::Null);
        check_answer(&json!({"type": "boolean"}), "Yes, please", &json!(true));
        check_answer(&json!({"type": "boolean"}), "不用", &json!(false));
        check_answer(&json!({"type": "boolean"}), "maybe", &Value::Null);
        check_answer(&json!({"type": "date"}), "tomorrow", &json!("2026-03-02"));
        check_answer(&json!({"type": "date"}), "soon", &Value::Null);
        let sizes = json!({"type": "enum", "values": ["small", "large", "大号"]});
        check_answer(&sizes, "The Large one", &json!("large"));
        check_answer(&sizes, "我要大号的", &json!("大号"));
        check_answer(&sizes, "smaller", &Value::Null);
        check_answer(&sizes, "small or large", &Value::Null);
        check_answer(&json!({}), " Bo Li ", &json!("Bo Li"));
        check_answer(&json!({}), " ", &Value::Null);
        check_answer(&json!({}), &"x".repeat(501), &Value::Null);
    }

    #[test]
    fn a_pattern_finds_its_value_in_a_text() {
        let order = json!({"pattern": "\\b(?:order|#)\\s*([0-9]{4})\\b"});
        check_answer(&order, "It's Order 1001, I think", &json!("1001"));
        check_answer(&order, "1001", &Value::Null);
        check_answer(&json!({"pattern": "[a-z]{2}-[0-9]+"}), "AB-12!", &json!("AB-12"));
        check_answer(&json!({"pattern": "[0-9]{4}"}), "no idea", &Value::Null);
    }

    #[test]
    fn a_model_is_believed_only_what_can_be() {
        let check = |slot_json: &Value, said: &Value, expected: &Value| {
            let catalogue = slot(slot_json);
            let found = taken(&catalogue.intents()[0].slots[0], said, today()).unwrap_or(Value::Null);
            assert_eq!(found, *expected, "{slot_json} {said}");
        };
        check(&json!({"type": "integer"}), &json!(3), &json!(3));
        check(&json!({"type": "integer"}), &json!("3"), &json!(3));
        check(&json!({"type": "integer"}), &json!("three"), &Value::Null);
        check(&json!({"type": "boolean"}), &json!(true), &json!(true));
        check(&json!({"type": "date"}), &json!("2026-03-05"), &json!("2026-03-05"));
        check(&json!({"type": "enum", "values": ["S"]}), &json!("s"), &json!("S"));
        check(&json!({"type": "enum", "values": ["S"]}), &json!("M"), &Value::Null);
        check(&json!({"pattern": "[0-9]{4}"}), &json!("none"), &Value::Null);
        check(&json!({}), &json!({"a": 1}), &Value::Null);
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,200}") {
            for kind in [json!({"type": "integer"}), json!({"type": "number"}), json!({"type": "date"}),
                json!({"type": "enum", "values": ["a", "是"]}), json!({"type": "boolean"}), json!({})] {
                let catalogue = slot(&kind);
                let _ = answer(&catalogue.intents()[0].slots[0], &text, today());
            }
        }
    }
}
