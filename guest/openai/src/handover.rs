//! The body and the object of `/v1/conversations/{id}/handover`.

use crate::error::ApiError;
use crate::id::ConversationId;
use crate::json::{self, Fields, Path, Text, Unknown, read_object};
use serde::Serialize;
use serde::de::MapAccess;

/// The body of `POST /v1/conversations/{id}/handover`; it may be empty.
#[derive(Debug, Default)]
pub struct HandoverBody<'a> {
    /// Why, for the people who take over.
    pub reason: Option<Text<'a>>,
    /// What the conversation is called where people read it.
    pub reference: Option<Text<'a>>,
    /// Who hands over: `model`, `user` or `service`; absent: whoever asks.
    pub by: Option<Text<'a>>,
    /// `false` hands the conversation back, for callers that can only post; absent: it is handed over.
    pub handed_over: Option<bool>,
}

impl<'de: 'a, 'a> Fields<'de> for HandoverBody<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, _path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "reason" => self.reason = map.next_value()?,
            "reference" => self.reference = map.next_value()?,
            "by" => self.by = map.next_value()?,
            "handed_over" => self.handed_over = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> HandoverBody<'a> {
    /// Reads a body of which `reason` has at most `reason_characters_max` characters, and `reference` at most
    /// `reference_characters_max`.
    ///
    /// # Errors
    /// 400 naming the field that is unknown, wrong or too long.
    pub fn read(
        body: &'a [u8],
        reason_characters_max: usize,
        reference_characters_max: usize,
    ) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        if !body.trim_ascii().is_empty() {
            read_object(body, &mut fields, Unknown::Refused)?;
        }
        within("reason", fields.reason.as_ref(), reason_characters_max)?;
        within("reference", fields.reference.as_ref(), reference_characters_max)?;
        Ok(fields)
    }
}

fn within(param: &str, text: Option<&Text<'_>>, characters_max: usize) -> Result<(), ApiError> {
    let long = text.is_some_and(|text| text.len() > characters_max && text.chars().count() > characters_max);
    if !long {
        return Ok(());
    }
    let message = format!("Invalid value for '{param}': it has more than {characters_max} characters.");
    Err(ApiError::invalid_param(param, "string_above_max_length", message))
}

/// What is told of a hand-over.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Told<'a> {
    /// In seconds since 1970.
    pub since: u64,
    /// Why; may be empty.
    pub reason: &'a str,
    /// Who handed it over.
    pub by: &'static str,
    /// What it is called where people read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<&'a str>,
    /// When people were told of it, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_at: Option<u64>,
}

#[derive(Serialize)]
struct HandoverJson<'a> {
    id: ConversationId,
    object: &'static str,
    handed_over: bool,
    #[serde(flatten)]
    told: Option<Told<'a>>,
}

/// The object that says whether a conversation is handed over.
pub fn to_json(id: ConversationId, told: Option<Told<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let object = HandoverJson { id, object: "conversation.handover", handed_over: told.is_some(), told };
    json::push(&mut out, &object);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonce;
    use serde_json::{Value, json};

    #[test]
    fn a_body_may_be_empty_and_is_held_to_its_bounds() {
        let check = |body: &str, param: Option<&str>| {
            let read = HandoverBody::read(body.as_bytes(), 4, 2);
            assert_eq!(
                read.err().map(|error| error.param),
                param.map(|param| Some(param.to_owned())),
                "{body}"
            );
        };
        check("", None);
        check("{}", None);
        check(r#"{"reason":"1234","reference":"好好","by":"user"}"#, None);
        check(r#"{"reason":"12345"}"#, Some("reason"));
        check(r#"{"reference":"123"}"#, Some("reference"));
        check(r#"{"handed_over":false}"#, None);
        check(r#"{"handed_over":"no"}"#, Some("handed_over"));
        check(r#"{"reason":1}"#, Some("reason"));
        check(r#"{"why":"x"}"#, Some("why"));
    }

    #[test]
    fn the_object_says_only_what_there_is() {
        let id = ConversationId(Nonce::mint(1, 2));
        let object = |told| serde_json::from_slice::<Value>(&to_json(id, told)).unwrap();
        let nobody = json!({"id": id.to_string(), "object": "conversation.handover", "handed_over": false});
        assert_eq!(object(None), nobody);
        let told = Told { since: 3, reason: "", by: "user", reference: None, told_at: Some(4) };
        let expected = json!({"id": id.to_string(), "object": "conversation.handover", "handed_over": true, "since": 3,
            "reason": "", "by": "user", "told_at": 4});
        assert_eq!(object(Some(told)), expected);
    }
}
