//! The members of a JSON object in their order, to change some and leave every other byte as it is.

use crate::json::Text;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The members of one object. A name that comes twice is changed where it comes first.
#[derive(Debug, Clone, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Members<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn read(object: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(object)
    }

    /// The value of a member, as JSON.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Makes the member `name` be `json`, in its place if it is there, else at the end. `json` must be one JSON value.
    pub fn set(&mut self, name: &'a str, json: impl Into<Cow<'a, str>>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = json.into(),
            None => self.0.push((name.into(), json.into())),
        }
    }

    /// As [`set`](Self::set), where the member is there.
    pub fn replace(&mut self, name: &'a str, json: impl Into<Cow<'a, str>>) {
        if self.get(name).is_some() {
            self.set(name, json);
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The object, without white space between its members.
    pub fn to_json(&self) -> Vec<u8> {
        let length: usize = self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut out = Vec::with_capacity(length + 2);
        out.push(b'{');
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            crate::json::push(&mut out, &**name);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        out
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name, Cow::Borrowed(value.get())));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_keeps_its_bytes_and_its_place() {
        let object = br#"{"b": 1.50, "a\n":[1 , 2],"c":null}"#;
        let mut members = Members::read(object).unwrap();
        assert_eq!((members.get("b"), members.get("d")), (Some("1.50"), None));
        members.set("c", "{}");
        members.set("d", "\"x\"");
        members.replace("e", "1");
        members.remove("b");
        assert_eq!(members.to_json(), br#"{"a\n":[1 , 2],"c":{},"d":"x"}"#);
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for text in ["", "[]", "1", "{", "{}x"] {
            assert!(Members::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
