//! JSON and JSONL: a record for each object.

use crate::document::{BlockKind, Builder};
use crate::error::ExtractError;
use crate::record;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// How many values one JSON text may have.
const VALUES_MAX: usize = 400_000;

/// A value, with the members of objects in the order in which they stand; what is a number stays as it is written.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Scalar(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Reads one JSON text: each object of a list is a record; else the whole is one, with a heading before each of its lists of
/// objects.
///
/// # Errors
/// [`ExtractError::Broken`], [`ExtractError::TooLarge`].
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut left = VALUES_MAX;
    match parse(text, &mut left).map_err(|fault| fault.told(None))? {
        Value::Object(members) => push_object(members, builder),
        value => push_records(value, builder),
    }
}

/// Reads one JSON value a line.
///
/// # Errors
/// [`ExtractError::Broken`] with the number of the line, [`ExtractError::TooLarge`].
pub(crate) fn read_lines(text: &str, builder: &mut Builder) -> Result<(), ExtractError> {
    for (line, number) in text.lines().zip(1..) {
        if !line.trim().is_empty() {
            let mut left = VALUES_MAX;
            let value = parse(line, &mut left).map_err(|fault| fault.told(Some(number)))?;
            push_records(value, builder)?;
        }
    }
    Ok(())
}

/// What is wrong with a JSON text.
struct Fault {
    error: serde_json::Error,
    has_too_many: bool,
}

impl Fault {
    fn told(self, line: Option<usize>) -> ExtractError {
        if self.has_too_many {
            return ExtractError::more_than(VALUES_MAX, "values");
        }
        match line {
            Some(line) => ExtractError::broken(format!("line {line} is not JSON ({})", self.error)),
            None => ExtractError::broken(format!("it is not JSON ({})", self.error)),
        }
    }
}

fn parse(text: &str, left: &mut usize) -> Result<Value, Fault> {
    let budget = Cell::new(*left);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read =
        Seed(&budget).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    *left = budget.get();
    read.map_err(|error| Fault { error, has_too_many: *left == 0 })
}

/// An object's lists of objects come after its other members, each below a heading.
fn push_object(members: Vec<(String, Value)>, builder: &mut Builder) -> Result<(), ExtractError> {
    let has_objects = |value: &Value| matches!(value, Value::List(list) if list.iter().any(|value| matches!(value, Value::Object(_))));
    let (lists, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|(_, value)| has_objects(value));
    push_records(Value::Object(others), builder)?;
    for (name, list) in lists {
        builder.push(BlockKind::Heading { level: 1 }, &name)?;
        push_records(list, builder)?;
    }
    Ok(())
}

fn push_records(value: Value, builder: &mut Builder) -> Result<(), ExtractError> {
    if let Value::List(values) = value {
        return values.into_iter().try_for_each(|value| push_record(value, builder));
    }
    push_record(value, builder)
}

fn push_record(value: Value, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut fields = Vec::new();
    flatten(String::new(), value, &mut fields);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    record::push(&fields, builder)
}

/// Names inside of objects are joined by dots; values of a list by commas. Depth is bounded by the parser, at 128.
fn flatten(name: String, value: Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Scalar(text) => fields.push((name, text)),
        Value::List(values) if values.iter().all(|value| matches!(value, Value::Scalar(_))) => {
            let texts: Vec<String> = values.into_iter().filter_map(scalar).collect();
            fields.push((name, texts.join(", ")));
        }
        Value::List(values) => values.into_iter().for_each(|value| flatten(name.clone(), value, fields)),
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() { member } else { format!("{name}.{member}") };
                flatten(name, value, fields);
            }
        }
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::Scalar(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Counts the values that are still allowed.
#[derive(Clone, Copy)]
struct Seed<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().saturating_sub(1);
        self.0.set(left);
        if left == 0 {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Scalar(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name, map.next_value_seed(self)?));
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::Bounds;
    use crate::detect::Kind;

    type Reader = fn(&str, &mut Builder) -> Result<(), ExtractError>;

    fn texts(reader: Reader, text: &str) -> Result<Vec<String>, ExtractError> {
        let mut builder = Builder::new(&Bounds::default());
        reader(text, &mut builder)?;
        let document = builder.finish(Kind::Json, "a", None)?;
        Ok(document.blocks.into_iter().map(|block| format!("{:?} {}", block.kind, block.text)).collect())
    }

    #[test]
    fn members_stay_in_their_order_and_nested_ones_are_named() {
        let text = r#"[{"z": "pen", "a": {"b": 2, "c": [1, "two", null]}, "n": null}]"#;
        assert_eq!(texts(read, text).unwrap(), ["Record z: pen\na.b: 2\na.c: 1, two"]);
    }

    #[test]
    fn lists_of_objects_stand_below_their_names() {
        let text = r#"{"faq": [{"question": "Why?", "answer": "Because."}], "shop": "ours"}"#;
        let expected = ["Record shop: ours", "Heading { level: 1 } faq", "QuestionAnswer Why?\nBecause."];
        assert_eq!(texts(read, text).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_not_json_is_named() {
        let found = texts(read_lines, "{\"q\":\"a\",\"a\":\"b\"}\n\n{\"q\":\n").unwrap_err();
        assert!(found.to_string().contains("line 3"), "{found}");
        let deep = "[".repeat(100_000);
        assert_eq!(texts(read, &deep).unwrap_err().code(), "broken_file");
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
        assert_eq!(texts(read, &many).unwrap_err().code(), "file_too_large");
    }
}
