//! A JSON object and nothing else: what serde derives for a struct reads an array as well, its elements as the fields.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A struct that was written as an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Eq, Default)]
    #[serde(deny_unknown_fields)]
    struct Fields<'a> {
        name: Option<&'a str>,
    }

    #[test]
    fn an_array_is_no_object() {
        let read = |text: &'static str| serde_json::from_str::<Object<Fields<'_>>>(text);
        assert_eq!(read(r#"{"name": "x"}"#).unwrap(), Object(Fields { name: Some("x") }));
        assert_eq!(read("{}").unwrap(), Object::default());
        for wrong in ["[]", r#"["x"]"#, "null", "1", r#"{"other": 1}"#, r#"{"name": 1}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Fields<'_>>(r#"["x"]"#).is_ok(), "what this is for");
    }
}
