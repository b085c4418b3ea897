//! What is stored, and how it is written. Pure.
//!
//! PostgreSQL's texts have no byte 0, ours may: so names and texts are stored as bytes, and what filters compare is escaped.

use serde_json::{Map, Value as Json, json};
use std::{collections::BTreeMap, fmt::Write};
use waggle_vector::{Attribute, Value, VectorError};

/// What the server remembers of how often a word stands in a chunk ends here: a `tsvector` has no more positions of a word.
const FREQUENCY_MAX: u32 = 255;

/// A version as the server orders it: its integers have a sign.
pub(crate) fn stored_version(version: u64) -> i64 {
    (version ^ (1 << 63)).cast_signed()
}

/// The version that was stored.
pub(crate) fn read_version(stored: i64) -> u64 {
    stored.cast_unsigned() ^ (1 << 63)
}

/// A text without the byte 0 that is ordered as the bytes of `text` are.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '\0' => escaped.push_str("\u{1}\u{1}"),
            '\u{1}' => escaped.push_str("\u{1}\u{2}"),
            other => escaped.push(other),
        }
        escaped
    })
}

/// Attributes as they were given, with every bit of their numbers.
pub(crate) fn attributes_bytes(attributes: &[Attribute]) -> Vec<u8> {
    let all = attributes.iter().map(|Attribute { name, value }| match value {
        Value::Text(text) => json!([name, text]),
        Value::Number(number) => json!([name, number.to_bits()]),
        Value::Boolean(boolean) => json!([name, boolean]),
    });
    Json::Array(all.collect()).to_string().into_bytes()
}

/// The attributes that were stored.
///
/// # Errors
/// [`VectorError::Damaged`] for what was written by something else.
pub(crate) fn read_attributes(stored: &[u8]) -> Result<Vec<Attribute>, VectorError> {
    let damaged = || VectorError::Damaged("the attributes of a group in PostgreSQL".to_owned());
    let all: Vec<(String, Json)> = serde_json::from_slice(stored).map_err(|_error| damaged())?;
    let read = |(name, value)| {
        let value = match value {
            Json::String(text) => Value::Text(text),
            Json::Bool(boolean) => Value::Boolean(boolean),
            Json::Number(bits) => Value::Number(f64::from_bits(bits.as_u64().ok_or_else(damaged)?)),
            _ => return Err(damaged()),
        };
        Ok(Attribute { name, value })
    };
    all.into_iter().map(read).collect()
}

/// Attributes as filters compare them, as JSON: by name, each with its value under the letter of its type.
pub(crate) fn filterable(attributes: &[Attribute]) -> String {
    let mut object = Map::new();
    for Attribute { name, value } in attributes.iter().rev() {
        let value = match value {
            Value::Text(text) => json!({ "t": escape(text) }),
            Value::Number(number) if number.is_nan() => json!({}),
            Value::Number(number) if number.is_infinite() => {
                json!({ "n": if *number > 0.0 { "Infinity" } else { "-Infinity" } })
            }
            Value::Number(number) => json!({ "n": number }),
            Value::Boolean(boolean) => json!({ "b": boolean }),
        };
        object.insert(escape(name), value);
    }
    Json::Object(object).to_string()
}

/// A word as it stands in the inverted index: that of no other index is the same. Words are letters, digits and marks.
pub(crate) fn lexeme(index: i64, word: &str) -> String {
    format!("{index}:{word}")
}

/// The text of a `tsvector` that has each word as often as it stands in the chunk. Where it stands is not kept.
pub(crate) fn word_vector(index: i64, words: &[String]) -> String {
    let mut frequencies: BTreeMap<&str, u32> = BTreeMap::new();
    for word in words {
        *frequencies.entry(word).or_default() += 1;
    }
    let mut text = String::new();
    for (word, frequency) in frequencies {
        // Writing to a text cannot fail.
        let _ = write!(text, "'{}'", lexeme(index, word));
        for position in 1..=frequency.min(FREQUENCY_MAX) {
            let _ = write!(text, "{}{position}", if position == 1 { ':' } else { ',' });
        }
        text.push(' ');
    }
    text
}

/// The text of a `vector` of length 1 with the direction of this one; none for one without a direction.
pub(crate) fn vector_text(vector: &[f32]) -> Option<String> {
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    let mut text = String::with_capacity(vector.len() * 12 + 2);
    for (place, number) in vector.iter().enumerate() {
        let separator = if place == 0 { '[' } else { ',' };
        let _ = write!(text, "{separator}{:e}", (f64::from(*number) / length) as f32);
    }
    text.push(']');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<String>().prop_map(Value::Text),
            any::<f64>().prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
        ]
    }

    proptest! {
        #[test]
        fn versions_keep_their_order(one in any::<u64>(), other in any::<u64>()) {
            prop_assert_eq!(stored_version(one).cmp(&stored_version(other)), one.cmp(&other));
            prop_assert_eq!(read_version(stored_version(one)), one);
        }

        #[test]
        fn escaped_texts_keep_their_order(one in "[\0-\u{3}a]{0,5}", other in "[\0-\u{3}a]{0,5}") {
            prop_assert_eq!(escape(&one).cmp(&escape(&other)), one.cmp(&other));
            prop_assert!(!escape(&one).contains('\0'));
        }

        #[test]
        fn attributes_are_read_as_they_were(all in prop::collection::vec((any::<String>(), values()), 0..5)) {
            let all: Vec<_> = all.into_iter().map(|(name, value)| Attribute { name, value }).collect();
            prop_assert_eq!(read_attributes(&attributes_bytes(&all)).unwrap(), all);
        }
    }

    #[test]
    fn of_two_attributes_of_a_name_the_first_is_compared() {
        let attribute = |number: f64| Attribute { name: "a".into(), value: Value::Number(number) };
        assert_eq!(filterable(&[attribute(1.5), attribute(2.0)]), r#"{"a":{"n":1.5}}"#);
    }

    #[test]
    fn words_are_counted_under_their_index() {
        let words = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(word_vector(7, &words), "'7:a':1 '7:b':1,2 ");
        assert!(word_vector(7, &vec!["a".to_owned(); 300]).ends_with(",255 "));
    }

    #[test]
    fn vectors_have_length_one_however_long_they_were() {
        assert_eq!(vector_text(&[3e38, 0.0]).unwrap(), "[1e0,0e0]");
        assert_eq!(vector_text(&[3.0, 4.0]).unwrap(), "[6e-1,8e-1]");
        assert_eq!(vector_text(&[0.0]), None);
    }
}
