//! Metadata: up to 16 pairs of strings that a client attaches to a response or a conversation.

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most pairs.
pub const PAIRS_MAX: usize = 16;
/// The longest key, in characters.
pub const KEY_CHARACTERS_MAX: usize = 64;
/// The longest value, in characters.
pub const VALUE_CHARACTERS_MAX: usize = 512;

/// What the keys begin with that the server writes into a response's metadata. A client's own that begin so are left
/// out, so that these mean what they say.
pub const RESERVED_PREFIX: &str = "waggle_";

/// The pairs, in the order they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Leaves out the pairs whose keys are the server's.
    pub fn drop_reserved(&mut self) {
        self.0.retain(|(key, _)| !key.starts_with(RESERVED_PREFIX));
    }

    /// Sets a pair of the server's, which is not counted among the client's [`PAIRS_MAX`].
    pub fn set(&mut self, key: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((key.to_owned(), value.to_owned())),
        }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if longer_than(&key, KEY_CHARACTERS_MAX) {
                        return Err(A::Error::custom(format!(
                            "a key is longer than {KEY_CHARACTERS_MAX} characters"
                        )));
                    }
                    if longer_than(&value, VALUE_CHARACTERS_MAX) {
                        return Err(A::Error::custom(format!(
                            "a value is longer than {VALUE_CHARACTERS_MAX} characters"
                        )));
                    }
                    pairs.retain(|(earlier, _)| *earlier != key);
                    if pairs.len() == PAIRS_MAX {
                        return Err(A::Error::custom(format!("more than {PAIRS_MAX} pairs")));
                    }
                    pairs.push((key, value));
                }
                Ok(Metadata(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn longer_than(text: &str, characters_max: usize) -> bool {
    text.len() > characters_max && text.chars().count() > characters_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_pairs_are_its_own_and_come_on_top() {
        let pairs: Vec<String> = (0..15).map(|index| format!(r#""k{index}":"v""#)).collect();
        let json = format!(r#"{{"waggle_fallback":"forged",{}}}"#, pairs.join(","));
        let mut metadata: Metadata = serde_json::from_str(&json).unwrap();
        assert_eq!((metadata.get("waggle_fallback"), metadata.get("k15")), (Some("forged"), None));
        metadata.drop_reserved();
        assert_eq!(metadata.get("waggle_fallback"), None);
        assert_eq!(serde_json::to_string(&metadata).unwrap(), format!("{{{}}}", pairs.join(",")));
        metadata.set("waggle_tier", "small");
        metadata.set("waggle_escalated", "true");
        metadata.set("waggle_tier", "large");
        let expected = format!(r#"{{{},"waggle_tier":"large","waggle_escalated":"true"}}"#, pairs.join(","));
        assert_eq!(serde_json::to_string(&metadata).unwrap(), expected);
    }

    fn check(json: &str, accepted: bool) {
        let read = serde_json::from_str::<Metadata>(json);
        assert_eq!(read.is_ok(), accepted, "{json}: {read:?}");
        if let Ok(metadata) = read {
            assert_eq!(serde_json::to_string(&metadata).unwrap(), json);
        }
    }

    #[test]
    fn metadata_is_held_to_its_limits() {
        check("{}", true);
        check(r#"{"a":"b"}"#, true);
        check(r#"{"a":1}"#, false);
        check("[]", false);
        check(&format!(r#"{{"{}":""}}"#, "é".repeat(64)), true);
        check(&format!(r#"{{"{}":""}}"#, "é".repeat(65)), false);
        check(&format!(r#"{{"k":"{}"}}"#, "v".repeat(512)), true);
        check(&format!(r#"{{"k":"{}"}}"#, "v".repeat(513)), false);
        let pairs = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|index| format!(r#""k{index}":"v""#)).collect();
            format!("{{{}}}", pairs.join(","))
        };
        check(&pairs(16), true);
        check(&pairs(17), false);
    }
}
