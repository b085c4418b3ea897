//! A JSON object, read strictly: no member name twice (RFC 7515, section 4; RFC 7519, section 4), since two readers
//! could then see two different tokens.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The most members of an object. It also bounds the search for duplicates.
const MEMBERS_MAX: usize = 128;

/// The members of one object, in order, their values not yet interpreted.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A member that is there but not of the type it must have.
#[derive(Debug)]
pub(super) struct WrongType;

impl<'a> Members<'a> {
    /// Reads `text`, which must be one object and nothing else.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                "not a JSON object, a member name occurs twice, or there are too many members"
            } else {
                "not JSON"
            }
        })
    }

    /// The value of `name` as it is written.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// The text that `name` holds.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, WrongType> {
        self.get(name).map(text).transpose()
    }

    /// The texts that `name` holds: an array of at most `count_max`, or one alone.
    pub(super) fn texts(&self, name: &str, count_max: usize) -> Result<Option<Vec<Cow<'a, str>>>, WrongType> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if let Ok(one) = text(value) {
            return Ok(Some(vec![one]));
        }
        let all: Vec<Text<'a>> = serde_json::from_str(value.get()).map_err(|_| WrongType)?;
        if all.len() > count_max {
            return Err(WrongType);
        }
        Ok(Some(all.into_iter().map(|text| text.0).collect()))
    }
}

fn text(value: &RawValue) -> Result<Cow<'_, str>, WrongType> {
    serde_json::from_str::<Text<'_>>(value.get()).map(|text| text.0).map_err(|_| WrongType)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(16);
                while let Some(Text(name)) = map.next_key()? {
                    if members.len() == MEMBERS_MAX || members.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("a member too many"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A text, borrowed where it is written without escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_strictly() {
        fn check(text: &str, accepted: bool) {
            assert_eq!(Members::parse(text).is_ok(), accepted, "{text}");
        }
        check("{}", true);
        check(" {\"a\": {\"b\": 1}, \"c\": [1, 1]}\n", true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
        check(r#"{"a":1,"b":2,"a":null}"#, false);
        check(r#"{"a":1}{"b":1}"#, false);
        check(r#"{"a":1,}"#, false);
        check(r#"{"a":01}"#, false);
        check("[]", false);
        check("null", false);
        check("", false);
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        check(&many(MEMBERS_MAX), true);
        check(&many(MEMBERS_MAX + 1), false);
    }

    #[test]
    fn texts_are_one_or_several() {
        let members =
            Members::parse(r#"{"one":"\u0061","two":["a","b"],"none":[],"bad":["a",1],"no":1}"#).unwrap();
        let texts = |name| {
            members
                .texts(name, 2)
                .ok()
                .flatten()
                .map(|all| all.into_iter().map(Cow::into_owned).collect::<Vec<_>>().join("+"))
        };
        assert_eq!(texts("one").as_deref(), Some("a"));
        assert_eq!(texts("two").as_deref(), Some("a+b"));
        assert_eq!(texts("none").as_deref(), Some(""));
        assert!(members.texts("bad", 2).is_err() && members.texts("no", 2).is_err());
        assert!(members.texts("two", 1).is_err(), "over its bound");
        assert!(members.texts("absent", 1).unwrap().is_none());
    }
}
