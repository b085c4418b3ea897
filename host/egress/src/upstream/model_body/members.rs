//! The members of a JSON object, told apart by name, each with its place in the text. No tree is built.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::BodyError;

/// The members that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(super) enum Field {
    Model,
    Models,
    Stream,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    User,
    /// What the model reads.
    #[serde(alias = "prompt", alias = "input", alias = "instructions", alias = "tools", alias = "functions")]
    Messages,
    #[serde(other)]
    Other,
}

/// How many of them are kept: all but the last two.
const KEPT: usize = 7;

impl Field {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Models => "models",
            Self::Stream => "stream",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::User => "user",
            Self::Messages => "messages",
            Self::Other => "",
        }
    }
}

/// One member.
pub(super) struct Member<'a> {
    pub(super) value: &'a RawValue,
    /// What has to go for this member to be gone, a comma included.
    cut: Range<usize>,
}

impl Member<'_> {
    pub(super) fn cut(&self) -> Range<usize> {
        self.cut.clone()
    }

    /// Where the value stands in `body`.
    pub(super) fn value_at(&self, body: &[u8]) -> Range<usize> {
        value_at(self.value, body)
    }
}

/// Where `value`, which was borrowed from `body`, stands in it.
fn value_at(value: &RawValue, body: &[u8]) -> Range<usize> {
    let start = value.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start + value.get().len()
}

/// What of an object is read.
pub(super) struct Members<'a> {
    kept: [Option<Member<'a>>; KEPT],
    /// The bytes of all values that the model reads.
    pub(super) prompt_bytes: usize,
    duplicate: Option<Field>,
}

impl<'a> Members<'a> {
    /// Reads the object that `body` is.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let read = reader.deserialize_map(ObjectVisitor { body });
        let members =
            read.and_then(|members| reader.end().map(|()| members)).map_err(|error| refuse(&error))?;
        match members.duplicate {
            Some(field) => Err(BodyError::Duplicate { field: field.name() }),
            None => Ok(members),
        }
    }

    pub(super) fn get(&self, field: Field) -> Option<&Member<'a>> {
        self.kept.get(field as usize)?.as_ref()
    }
}

fn refuse(error: &serde_json::Error) -> BodyError {
    match error.classify() {
        // Only the outermost value has a type that is asked for.
        Category::Data => BodyError::NotObject,
        Category::Io | Category::Syntax | Category::Eof => {
            BodyError::NotJson { line: error.line(), column: error.column() }
        }
    }
}

struct ObjectVisitor<'a> {
    body: &'a [u8],
}

impl<'de> Visitor<'de> for ObjectVisitor<'de> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members { kept: Default::default(), prompt_bytes: 0, duplicate: None };
        let opening = self.body.iter().position(|byte| *byte == b'{');
        // Behind the opening brace, then behind each value: what stands between there and the end of the next value is
        // the next member, with the comma before it.
        let mut end = opening.map_or(0, |position| position + 1);
        let mut is_first = true;
        while let Some(field) = map.next_key::<Field>()? {
            let value: &'de RawValue = map.next_value()?;
            let start = end;
            end = value_at(value, self.body).end;
            match field {
                Field::Other => {}
                Field::Messages => members.prompt_bytes += value.get().len(),
                field => {
                    let Some(kept) = members.kept.get_mut(field as usize) else { continue };
                    // The first member has its comma behind it.
                    let cut = if is_first { start..self.behind_comma(end) } else { start..end };
                    if kept.replace(Member { value, cut }).is_some() {
                        members.duplicate.get_or_insert(field);
                    }
                }
            }
            is_first = false;
        }
        Ok(members)
    }
}

impl ObjectVisitor<'_> {
    /// Behind the comma that follows at `end`; `end` itself if none does.
    fn behind_comma(&self, end: usize) -> usize {
        let rest = self.body.get(end..).unwrap_or_default();
        let next = rest.iter().position(|byte| !byte.is_ascii_whitespace());
        match next {
            Some(position) if rest.get(position) == Some(&b',') => end + position + 1,
            _ => end,
        }
    }
}
