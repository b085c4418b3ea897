//! Attributes of a file in a vector store: up to 16 pairs by which searches are filtered.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use std::fmt;
use waggle_index::Value;

/// The most pairs.
const PAIRS_MAX: usize = 16;
/// The longest key, in bytes: the index's bound.
const KEY_BYTES_MAX: usize = 64;
/// The longest text, in bytes: the index's bound.
const TEXT_BYTES_MAX: usize = 512;

/// What the names begin with that the function itself gives to a group of an index.
pub(crate) const RESERVED_PREFIX: &str = "waggle.";
/// The attribute that holds when a file expires, in seconds since 1970.
pub(crate) const EXPIRES_AT: &str = "waggle.expires_at";
/// When a file expires that never does: the greatest number that is exact.
const NEVER: u64 = 1 << 53;

/// A value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum AttributeValue {
    Text(String),
    Number(f64),
    Whole(i64),
    Boolean(bool),
}

/// The pairs, in the order they were sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Attributes(Vec<(String, AttributeValue)>);

impl Attributes {
    /// As the index has them, with what the function itself wants to know of the file at a search.
    pub(crate) fn of_group(&self, expires_at: Option<u64>) -> waggle_index::Attributes {
        let own = self.0.iter().map(|(name, value)| {
            let value = match value {
                AttributeValue::Text(text) => Value::Text(text.clone()),
                AttributeValue::Number(number) => Value::Number(*number),
                AttributeValue::Whole(number) => Value::Number(*number as f64),
                AttributeValue::Boolean(value) => Value::Boolean(*value),
            };
            (name.clone(), value)
        });
        // Every group has it, so that one comparison tells those that have expired.
        let expires_at = Value::Number(expires_at.unwrap_or(NEVER) as f64);
        own.chain([(EXPIRES_AT.to_owned(), expires_at)]).collect()
    }
}

/// As much of `text` as has at most so many bytes.
pub(crate) fn bounded(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = AttributeValue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a number or a boolean")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Boolean(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Whole(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<AttributeValue, E> {
                Ok(i64::try_from(value).map_or(AttributeValue::Number(value as f64), AttributeValue::Whole))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<AttributeValue, E> {
                Ok(AttributeValue::Number(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AttributeValue, E> {
                if text.len() > TEXT_BYTES_MAX {
                    return Err(E::custom(format!("a value is longer than {TEXT_BYTES_MAX} bytes")));
                }
                Ok(AttributeValue::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Attributes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings, numbers and booleans")
            }

            // `null` stands for none.
            fn visit_unit<E: Error>(self) -> Result<Attributes, E> {
                Ok(Attributes::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut pairs: Vec<(String, AttributeValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, AttributeValue>()? {
                    check_name(&name)?;
                    pairs.retain(|(earlier, _)| *earlier != name);
                    if pairs.len() == PAIRS_MAX {
                        return Err(A::Error::custom(format!("more than {PAIRS_MAX} pairs")));
                    }
                    pairs.push((name, value));
                }
                Ok(Attributes(pairs))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

fn check_name<E: Error>(name: &str) -> Result<(), E> {
    if name.is_empty() || name.len() > KEY_BYTES_MAX {
        return Err(E::custom(format!("a key is empty or longer than {KEY_BYTES_MAX} bytes")));
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Err(E::custom(format!("keys that begin with '{RESERVED_PREFIX}' are the server's")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, accepted: bool) {
        let read = serde_json::from_str::<Attributes>(json);
        assert_eq!(read.is_ok(), accepted, "{json:.80}: {read:?}");
        if let Ok(attributes) = read
            && json != "null"
        {
            assert_eq!(serde_json::to_string(&attributes).unwrap(), json);
        }
    }

    #[test]
    fn attributes_are_held_to_the_indexs_bounds() {
        check(r#"{"a":"b","c":1.5,"d":true,"e":-3}"#, true);
        check("{}", true);
        check("null", true);
        check(r#"{"a":null}"#, false);
        check(r#"{"a":[]}"#, false);
        check("[]", false);
        check(r#"{"":1}"#, false);
        check(r#"{"waggle.x":1}"#, false);
        check(&format!(r#"{{"{}":1}}"#, "k".repeat(64)), true);
        check(&format!(r#"{{"{}":1}}"#, "k".repeat(65)), false);
        check(&format!(r#"{{"k":"{}"}}"#, "v".repeat(512)), true);
        check(&format!(r#"{{"k":"{}"}}"#, "v".repeat(513)), false);
        let pairs = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|index| format!(r#""k{index}":1"#)).collect();
            format!("{{{}}}", pairs.join(","))
        };
        check(&pairs(16), true);
        check(&pairs(17), false);
    }

    #[test]
    fn a_group_knows_its_files_end_besides() {
        let attributes: Attributes = serde_json::from_str(r#"{"a":1,"b":"x"}"#).unwrap();
        let group = attributes.of_group(Some(7));
        assert_eq!(group[0], ("a".to_owned(), Value::Number(1.0)));
        assert_eq!(group[2], (EXPIRES_AT.to_owned(), Value::Number(7.0)));
        assert_eq!(attributes.of_group(None)[2].1, Value::Number(9_007_199_254_740_992.0));
    }
}
