//! The name of a tenant, checked once where it enters, so that every later use may trust its shape.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most bytes a tenant id has. Ids are part of every key in the store, so they stay short.
pub const TENANT_ID_BYTES_MAX: usize = 64;

/// The tenant that everybody belongs to while no tenants are configured.
pub const DEFAULT_TENANT: &str = "default";

/// The id of a tenant: 1 to [`TENANT_ID_BYTES_MAX`] characters out of `a` to `z`, `0` to `9`, `-` and `_`.
///
/// Neither a separator of keys (`/`, `:`, NUL) nor a character that a file name, a header or a metric label would need
/// to escape can occur in it. A clone costs one reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// Why a text is no [`TenantId`]. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    #[error(
        "a tenant id cannot be empty; it has 1 to {TENANT_ID_BYTES_MAX} characters of a-z, 0-9, '-' and '_'"
    )]
    Empty,
    #[error("a tenant id has at most {TENANT_ID_BYTES_MAX} characters, this one has {length}; shorten it")]
    TooLong { length: usize },
    #[error("{found:?} at position {position} cannot be part of a tenant id; use a-z, 0-9, '-' and '_'")]
    Character { found: char, position: usize },
}

impl TenantId {
    /// Checks `text` and makes it an id.
    ///
    /// # Errors
    /// Says which rule `text` breaks and at which position.
    pub fn new(text: &str) -> Result<Self, TenantIdError> {
        check_tenant_id(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The tenant that everybody belongs to while no tenants are configured: `default`.
    #[must_use]
    pub fn default_tenant() -> Self {
        static DEFAULT: LazyLock<TenantId> = LazyLock::new(|| TenantId(Arc::from(DEFAULT_TENANT)));
        DEFAULT.clone()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Says which rule of [`TenantId`] `text` breaks, if it breaks one.
fn check_tenant_id(text: &str) -> Result<(), TenantIdError> {
    if text.is_empty() {
        return Err(TenantIdError::Empty);
    }
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    if let Some((index, found)) = text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        return Err(TenantIdError::Character { found, position: index + 1 });
    }
    if text.len() > TENANT_ID_BYTES_MAX {
        return Err(TenantIdError::TooLong { length: text.len() });
    }
    Ok(())
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl AsRef<str> for TenantId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lets a map keyed by `TenantId` be asked by `&str`.
impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for TenantId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TenantId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a tenant id of 1 to {TENANT_ID_BYTES_MAX} characters of a-z, 0-9, '-' and '_'")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TenantId, E> {
                TenantId::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_well_formed_id_is_kept_as_it_is() {
        let longest = "z".repeat(TENANT_ID_BYTES_MAX);
        for text in ["a", "0", "-", "_", "default", "bank-7_eu", longest.as_str()] {
            let id: TenantId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.as_str(), text);
        }
    }

    #[test]
    fn a_malformed_id_is_refused_with_what_and_where() {
        fn check(text: &str, expected: TenantIdError, message_part: &str) {
            let error = TenantId::new(text).unwrap_err();
            assert_eq!(error, expected, "{text:?}");
            assert!(error.to_string().contains(message_part), "{error} lacks {message_part:?}");
        }
        let character = |found, position| TenantIdError::Character { found, position };
        check("", TenantIdError::Empty, "cannot be empty");
        check(&"a".repeat(65), TenantIdError::TooLong { length: 65 }, "has 65");
        check("Bank", character('B', 1), "'B' at position 1");
        check("bank/7", character('/', 5), "position 5");
        check("a\0b", character('\0', 2), r"'\0' at position 2");
        check("..", character('.', 1), "'.'");
        check("a b", character(' ', 2), "' '");
        check("bänk", character('ä', 2), "'ä' at position 2");
        check("ıd", character('ı', 1), "position 1");
    }

    #[test]
    fn the_default_tenant_is_a_valid_id() {
        assert_eq!(TenantId::default_tenant(), TenantId::new(DEFAULT_TENANT).unwrap());
    }

    #[test]
    fn serde_reads_and_writes_it_as_text_and_checks_it() {
        let id: TenantId = serde_json::from_str(r#""bank-7""#).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""bank-7""#);
        let error = serde_json::from_str::<TenantId>(r#""bank 7""#).unwrap_err();
        assert!(error.to_string().contains("position 5"), "{error}");
        assert!(serde_json::from_str::<TenantId>("7").unwrap_err().to_string().contains("a tenant id"));
    }

    #[test]
    fn a_map_by_tenant_is_asked_by_text() {
        let map = HashMap::from([(TenantId::default_tenant(), 1)]);
        assert_eq!(map.get("default"), Some(&1));
    }

    proptest! {
        #[test]
        fn what_is_accepted_has_only_the_allowed_characters(text in "\\PC{0,80}") {
            let allowed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
            let expected = allowed && (1..=TENANT_ID_BYTES_MAX).contains(&text.len());
            prop_assert_eq!(TenantId::new(&text).is_ok(), expected);
        }

        #[test]
        fn every_well_formed_text_is_accepted(text in "[a-z0-9_-]{1,64}") {
            let id = TenantId::new(&text).unwrap();
            prop_assert_eq!(id.as_str(), text);
        }
    }
}
