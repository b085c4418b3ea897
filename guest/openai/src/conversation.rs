//! The bodies and objects of `/v1/conversations`.

use crate::error::ApiError;
use crate::handover::Told;
use crate::id::ConversationId;
use crate::include::{INCLUDES_MAX, Include};
use crate::item::Item;
use crate::json::{self, Elements, Fields, Path, Text, Unknown, read_object};
use crate::metadata::Metadata;
use serde::Serialize;
use serde::de::MapAccess;

/// The most items that one call creates or adds.
pub const ITEMS_MAX: usize = 20;

/// What the three bodies hold: `items`, `metadata`, or both.
#[derive(Debug, Default)]
pub struct ConversationBody<'a> {
    /// The items.
    pub items: Vec<Item<'a>>,
    /// The metadata, when it was sent.
    pub metadata: Option<Metadata>,
    include: Vec<Text<'a>>,
    which: Which,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Which {
    #[default]
    Create,
    Update,
    Add,
}

impl<'de: 'a, 'a> Fields<'de> for ConversationBody<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match (name, self.which) {
            ("items", Which::Create | Which::Add) => {
                self.items = map.next_value_seed(Elements::new(path, ITEMS_MAX))?;
            }
            ("metadata", Which::Create | Which::Update) => self.metadata = map.next_value()?,
            ("include", Which::Add) => {
                self.include = map.next_value_seed(Elements::new(path, INCLUDES_MAX))?
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> ConversationBody<'a> {
    /// The body of `POST /v1/conversations`; it may be empty.
    ///
    /// # Errors
    /// 400 naming the field that is wrong.
    pub fn read_create(body: &'a [u8]) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        if !body.trim_ascii().is_empty() {
            read_object(body, &mut fields, Unknown::Refused)?;
        }
        Ok(fields)
    }

    /// The body of `POST /v1/conversations/{id}`: the metadata that replaces the old.
    ///
    /// # Errors
    /// 400 naming the field that is wrong or missing.
    pub fn read_update(body: &'a [u8]) -> Result<Metadata, ApiError> {
        let mut fields = Self { which: Which::Update, ..Self::default() };
        read_object(body, &mut fields, Unknown::Refused)?;
        fields.metadata.ok_or_else(|| ApiError::missing("metadata"))
    }

    /// The body of `POST /v1/conversations/{id}/items`: 1 to 20 items.
    ///
    /// # Errors
    /// 400 naming the field that is wrong or missing.
    pub fn read_add(body: &'a [u8]) -> Result<Vec<Item<'a>>, ApiError> {
        let mut fields = Self { which: Which::Add, ..Self::default() };
        read_object(body, &mut fields, Unknown::Refused)?;
        // Nothing of it changes what is answered, but a value that nobody knows is a mistake.
        Include::read(&fields.include)?;
        if fields.items.is_empty() { Err(ApiError::missing("items")) } else { Ok(fields.items) }
    }
}

#[derive(Serialize)]
struct ConversationJson<'a, M> {
    id: ConversationId,
    object: &'static str,
    created_at: u64,
    metadata: &'a M,
    #[serde(rename = "waggle_pinned", skip_serializing_if = "Vec::is_empty")]
    pinned: Vec<&'a str>,
    #[serde(rename = "waggle_handover", skip_serializing_if = "Option::is_none")]
    handover: Option<Told<'a>>,
}

/// The conversation object; `pinned` are the ids of its pinned items, `handover` is told while it is handed over.
pub fn to_json<'a, M: Serialize>(
    id: ConversationId,
    created_at: u64,
    metadata: &'a M,
    pinned: impl Iterator<Item = &'a str>,
    handover: Option<Told<'a>>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let pinned = pinned.collect();
    let object = "conversation";
    json::push(&mut out, &ConversationJson { id, object, created_at, metadata, pinned, handover });
    out
}

#[derive(Serialize)]
struct DeletedJson<T> {
    id: T,
    object: &'static str,
    deleted: bool,
}

/// The object that confirms a deletion; `object` says what was deleted.
pub fn deleted_json<T: Serialize>(id: T, object: &'static str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    json::push(&mut out, &DeletedJson { id, object, deleted: true });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_item_and_no_include_is_refused_by_its_place() {
        let check = |body: &str, param: &str| {
            let error = ConversationBody::read_add(body.as_bytes()).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{body}: {error:?}");
        };
        let item = r#"{"role":"user","content":"x"}"#;
        check(&format!(r#"{{"items":[{item}],"include":["secrets"]}}"#), "include[0]");
        check(&format!(r#"{{"items":[{item}],"include":[null]}}"#), "include[0]");
        check(&format!(r#"{{"items":[{item},["message",null,"user","x"]]}}"#), "items[1]");
        check(r#"{"items":[{"role":"user","content":"x","status":"lost"}]}"#, "items[0]");
        check(r#"{"items":[{"role":"user","content":[["input_text","x"]]}]}"#, "items[0]");
        let known = format!(r#"{{"items":[{item}],"include":["reasoning.encrypted_content"]}}"#);
        assert_eq!(ConversationBody::read_add(known.as_bytes()).unwrap().len(), 1);
    }
}
