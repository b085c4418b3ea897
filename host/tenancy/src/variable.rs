//! A tenant's own value of an application variable: as it was written, or sealed where the application declares the
//! variable as secret and a store keeps it.

use crate::sealing::SealedText;
use serde::de::{Error as _, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The member of a sealed value's object; [`SecretSource`](crate::SecretSource) has the same form.
const SEALED: &str = "sealed";

/// A value of a variable. Written as a string, or as `{ "sealed": "v1.…" }`.
#[derive(Clone, PartialEq, Eq)]
pub enum TenantVariable {
    /// The value itself.
    Plain(String),
    /// The value as it stands in a store: encrypted under the host's [`SealingKey`](crate::SealingKey), for one tenant.
    Sealed(SealedText),
}

impl TenantVariable {
    /// The value, where it is not sealed.
    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Sealed(_) => None,
        }
    }

    /// Bytes of what is written down.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(value) => value.len(),
            Self::Sealed(sealed) => sealed.len(),
        }
    }
}

impl From<&str> for TenantVariable {
    fn from(value: &str) -> Self {
        Self::Plain(value.to_owned())
    }
}

impl From<String> for TenantVariable {
    fn from(value: String) -> Self {
        Self::Plain(value)
    }
}

/// Which variables are secret is not known here, so none is shown.
impl fmt::Debug for TenantVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain([redacted])",
            Self::Sealed(_) => "Sealed([redacted])",
        })
    }
}

impl Serialize for TenantVariable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => serializer.serialize_str(value),
            Self::Sealed(sealed) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(SEALED, sealed)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for TenantVariable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = TenantVariable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
                Ok(value.into())
            }

            fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Self::Value, E> {
                Ok(value.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let wrong = || A::Error::invalid_type(Unexpected::Map, &Either);
                if map.next_key::<String>()?.as_deref() != Some(SEALED) {
                    return Err(wrong());
                }
                let sealed = map.next_value()?;
                match map.next_key::<String>()? {
                    None => Ok(TenantVariable::Sealed(sealed)),
                    Some(_) => Err(wrong()),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, sealing_key};

    #[test]
    fn both_forms_are_read_as_they_were_written() {
        let sealed = sealing_key(1).seal(&id("bank"), "canary").unwrap();
        for value in [TenantVariable::from("canary"), TenantVariable::Sealed(sealed)] {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<TenantVariable>(&text).unwrap(), value, "{text}");
            let shown = format!("{value:?}");
            assert!(!shown.contains("canary") && !shown.contains("v1."), "{shown}");
        }
        assert_eq!(serde_json::to_string(&TenantVariable::from("x")).unwrap(), "\"x\"");
    }

    #[test]
    fn what_is_neither_is_told_without_its_value() {
        for text in ["4711", "[\"4711\"]", "{}", "{\"value\":\"4711\"}", "{\"sealed\":\"a\",\"x\":\"4711\"}"]
        {
            let error = serde_json::from_str::<TenantVariable>(text).unwrap_err().to_string();
            assert!(error.contains("expected a string"), "{text}: {error}");
        }
        let error = serde_json::from_str::<TenantVariable>("{\"value\":\"4711\"}").unwrap_err().to_string();
        assert!(!error.contains("4711"), "{error}");
    }
}
