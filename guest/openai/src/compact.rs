//! The body of `POST /v1/responses/compact`, and the object that answers it.

use crate::error::ApiError;
use crate::id::ResponseId;
use crate::item::{InputElement, Item, RawItem};
use crate::json::{self, Fields, Path, Unknown, read_object};
use crate::parameters::Parameters;
use crate::request::{Continues, Draft, Input, Reference, divided};
use crate::response::Usage;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// The fields, all of which mean what they mean when a response is created.
const FIELDS: [&str; 7] = [
    "model",
    "previous_response_id",
    "instructions",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "service_tier",
];

/// A request to compact a conversation that the client keeps, or a chain of responses.
#[derive(Debug)]
pub struct CompactRequest<'a> {
    /// What was said; may be empty where it continues something.
    pub input: Vec<Item<'a>>,
    /// Stored items that belong among them, in their order.
    pub references: Vec<Reference<'a>>,
    /// The chain whose end it is, or nothing.
    pub continues: Continues,
    /// Model and instructions; all else is at its default.
    pub parameters: Parameters,
}

impl<'a> CompactRequest<'a> {
    /// Reads and validates a request body.
    ///
    /// # Errors
    /// 400, with `param` naming the first field that is unknown, of the wrong type, out of range, or missing.
    pub fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        let mut draft = CompactDraft::default();
        read_object(body, &mut draft, Unknown::Refused)?;
        let CompactDraft(mut draft) = draft;
        let continues = draft.continues()?;
        draft.parameters.validate()?;
        let input = draft.input.take().unwrap_or_default();
        if input.is_empty() && matches!(continues, Continues::Nothing) {
            return Err(ApiError::missing("input"));
        }
        let (input, references) = divided(input);
        Ok(Self { input, references, continues, parameters: draft.parameters })
    }
}

#[derive(Default)]
struct CompactDraft<'a>(Draft<'a>);

impl<'de: 'a, 'a> Fields<'de> for CompactDraft<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "input" => self.0.input = map.next_value_seed(OptionalInput(path))?,
            name if FIELDS.contains(&name) => return self.0.read(name, path, map),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The `input` field, which may be `null` here.
struct OptionalInput<'p>(&'p Path);

impl<'de> DeserializeSeed<'de> for OptionalInput<'_> {
    type Value = Option<Vec<InputElement<'de>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OptionalInput<'_> {
    type Value = Option<Vec<InputElement<'de>>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, an array of items or null")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Input(self.0).deserialize(deserializer).map(Some)
    }
}

#[derive(Serialize)]
struct CompactionJson<'a> {
    id: ResponseId,
    object: &'static str,
    created_at: u64,
    output: &'a [RawItem],
    usage: Usage,
}

/// The compaction object. `output` is what a client gives back as input.
pub fn to_json(id: ResponseId, created_at: u64, output: &[RawItem], usage: Usage) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + output.iter().map(|item| item.get().len()).sum::<usize>());
    json::push(&mut out, &CompactionJson { id, object: "response.compaction", created_at, output, usage });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<usize, &str>) {
        let read = CompactRequest::read(body.as_bytes());
        let read = read.map(|request| request.input.len());
        let param = |error: &ApiError| error.param.clone().unwrap_or_default();
        assert_eq!(
            read.as_ref().map(|count| *count).map_err(param),
            expected.map_err(str::to_owned),
            "{body}"
        );
    }

    #[test]
    fn there_must_be_something_to_compact_and_nothing_that_compacting_does_not_know() {
        let id = "resp_000000000000000000000000";
        check(r#"{"model":"m","input":"x","instructions":"i","prompt_cache_key":"k"}"#, Ok(1));
        check(r#"{"model":"m","input":[{"role":"user","content":"x"}],"service_tier":"auto"}"#, Ok(1));
        check(&format!(r#"{{"model":"m","input":null,"previous_response_id":"{id}"}}"#), Ok(0));
        check(r#"{"model":"m"}"#, Err("input"));
        check(r#"{"model":"m","input":[]}"#, Err("input"));
        check(r#"{"model":"m","input":7}"#, Err("input"));
        check(r#"{"model":"m","input":[{"role":"user"}]}"#, Err("input[0]"));
        check(r#"{"model":"m","input":"x","previous_response_id":"y"}"#, Err("previous_response_id"));
        for field in ["conversation", "stream", "tools", "store", "background", "x"] {
            check(&format!(r#"{{"input":"x","{field}":null}}"#), Err(field));
        }
    }
}
