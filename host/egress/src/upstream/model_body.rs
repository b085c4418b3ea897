//! The body of a call to a model: what the host must know of it, read off the top level, and another model's name written
//! into it. Everything else stays as it is, byte for byte, and is not even looked at more closely.

mod members;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use self::members::{Field, Member, Members};
use crate::usage::estimated_tokens;

/// The most further models that a request names to fail over to.
pub const FURTHER_MODELS_MAX: usize = 15;
/// The most bytes of a model's name in a request.
pub const CALLED_NAME_BYTES_MAX: usize = 256;

/// What the host knows of a call to a model, from the top level of its body. Borrows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCall<'a> {
    /// `model`: 1 to 256 bytes, without control characters.
    pub model: Cow<'a, str>,
    /// `models`: further ones to go to when that one fails, in order. At most 15; those that repeat an earlier one are
    /// left out.
    pub models: Vec<Cow<'a, str>>,
    /// `stream`: whether the answer is wanted as it is made.
    pub stream: bool,
    /// The most tokens that may be written: the larger of `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    pub tokens_max: Option<u64>,
    /// How many bytes the model has to read, about: those of the messages and tools as they stand in the body.
    pub prompt_bytes: usize,
    /// `user`: who asks, as far as the function says.
    pub user: Option<Cow<'a, str>>,
    body: &'a Bytes,
    model_at: Range<usize>,
    models_at: Option<Range<usize>>,
}

/// Why a body is no call to a model. The text is for whoever sent it, and repeats none of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not JSON.
    #[error("The body is no valid JSON: line {line}, column {column}.")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1; 0 before the first.
        column: usize,
    },
    /// It is JSON, but no object.
    #[error("The body must be a JSON object.")]
    NotObject,
    /// A member is missing.
    #[error("Missing required parameter: '{field}'.")]
    Missing {
        /// Which one.
        field: &'static str,
    },
    /// A member is there twice, and servers differ in which of both they take.
    #[error("Duplicate parameter: '{field}' is there more than once.")]
    Duplicate {
        /// Which one.
        field: &'static str,
    },
    /// A member has another value than it must have.
    #[error("Invalid value for '{field}': expected {expected}.")]
    Invalid {
        /// Which one.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl BodyError {
    /// The member that is wrong: `param` of an error of OpenAI's API.
    #[must_use]
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::NotJson { .. } | Self::NotObject => None,
            Self::Missing { field } | Self::Duplicate { field } | Self::Invalid { field, .. } => Some(field),
        }
    }
}

/// Reads what the host must know off the top level of `body`, which costs one pass over its bytes.
///
/// # Errors
/// When it is no JSON object (RFC 8259), names no model, has one of the members that are read twice, or with a value it
/// cannot have. What is nested, and members that are not read, are checked for being JSON only.
pub fn read(body: &Bytes) -> Result<ModelCall<'_>, BodyError> {
    let members = Members::read(body)?;
    let model = members.get(Field::Model).ok_or(BodyError::Missing { field: Field::Model.name() })?;
    let name = model_name(model.value, Field::Model)?;
    let further = members.get(Field::Models);
    Ok(ModelCall {
        models: further.map_or(Ok(Vec::new()), |member| further_models(member.value, &name))?,
        model: name,
        stream: flag(&members, Field::Stream)?,
        tokens_max: tokens_max(&members)?,
        prompt_bytes: members.prompt_bytes,
        user: members.get(Field::User).map_or(Ok(None), |member| user(member.value))?,
        body,
        model_at: model.value_at(body),
        models_at: further.map(Member::cut),
    })
}

/// `body` with the value of the top level's `model` replaced by `name` and without the top level's `models`; everything else
/// is the same byte for byte.
///
/// # Errors
/// As [`read`].
pub fn with_model(body: &Bytes, name: &str) -> Result<Bytes, BodyError> {
    read(body).map(|call| call.with_model(name))
}

impl ModelCall<'_> {
    /// How many tokens the model has to read, about.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        estimated_tokens(self.prompt_bytes as u64)
    }

    /// The body with `name` as its `model` and without `models`; everything else is the same byte for byte. Nothing is copied
    /// where nothing changes.
    #[must_use]
    pub fn with_model(&self, name: &str) -> Bytes {
        if self.models_at.is_none() && self.model == name {
            return self.body.clone();
        }
        let name = Value::from(name).to_string();
        let mut changes = vec![(self.model_at.clone(), name.as_str())];
        changes.extend(self.models_at.clone().map(|range| (range, "")));
        changes.sort_by_key(|(range, _)| range.start);
        let mut changed = Vec::with_capacity(self.body.len() + name.len());
        let mut done = 0;
        for (range, text) in changes {
            changed.extend_from_slice(self.body.get(done..range.start).unwrap_or_default());
            changed.extend_from_slice(text.as_bytes());
            done = range.end;
        }
        changed.extend_from_slice(self.body.get(done..).unwrap_or_default());
        changed.into()
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    /// Borrows where nothing is escaped; `Cow` by itself never does.
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

fn model_name(value: &RawValue, field: Field) -> Result<Cow<'_, str>, BodyError> {
    let fits = |name: &Cow<'_, str>| {
        (1..=CALLED_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
    };
    let expected = "a name of 1 to 256 bytes without control characters";
    text(value).filter(fits).ok_or(BodyError::Invalid { field: field.name(), expected })
}

fn further_models<'a>(value: &'a RawValue, first: &str) -> Result<Vec<Cow<'a, str>>, BodyError> {
    if is_null(value) {
        return Ok(Vec::new());
    }
    let field = Field::Models;
    let refuse =
        || BodyError::Invalid { field: field.name(), expected: "a list of at most 15 names of models" };
    let names: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| refuse())?;
    let mut models: Vec<Cow<'a, str>> = Vec::new();
    for name in names {
        let name = model_name(name, field)?;
        if name == first || models.contains(&name) {
            continue;
        }
        if models.len() == FURTHER_MODELS_MAX {
            return Err(refuse());
        }
        models.push(name);
    }
    Ok(models)
}

fn flag(members: &Members<'_>, field: Field) -> Result<bool, BodyError> {
    match members.get(field).map(|member| member.value.get()) {
        None | Some("null" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(BodyError::Invalid { field: field.name(), expected: "true or false" }),
    }
}

fn tokens_max(members: &Members<'_>) -> Result<Option<u64>, BodyError> {
    let mut most = None;
    for field in [Field::MaxTokens, Field::MaxCompletionTokens, Field::MaxOutputTokens] {
        let Some(member) = members.get(field).filter(|member| !is_null(member.value)) else { continue };
        let refuse = |_| BodyError::Invalid { field: field.name(), expected: "a whole number from 0" };
        most = most.max(Some(member.value.get().parse::<u64>().map_err(refuse)?));
    }
    Ok(most)
}

fn user(value: &RawValue) -> Result<Option<Cow<'_, str>>, BodyError> {
    if is_null(value) {
        return Ok(None);
    }
    let refuse = BodyError::Invalid { field: Field::User.name(), expected: "a string" };
    text(value).map(Some).ok_or(refuse)
}

#[cfg(test)]
mod tests;
