//! Function tools and how a model is told to choose among them.

use crate::error::{ApiError, echo};
use crate::json::{Text, read_raw};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most tools of one request.
pub const TOOLS_MAX: usize = 128;

/// A function the model may ask for.
#[derive(Debug, Clone, Serialize)]
pub struct Tool {
    r#type: &'static str,
    /// The function's name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// The JSON Schema of its arguments.
    pub parameters: Option<Box<RawValue>>,
    /// Whether the arguments must follow the schema exactly.
    pub strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = ToolFields::deserialize(deserializer)?;
        if &*fields.kind != "function" {
            let kind = echo(&fields.kind);
            return Err(D::Error::custom(format!(
                "tools of type '{kind}' are not supported; supported is function"
            )));
        }
        Ok(Self {
            r#type: "function",
            name: fields.name.ok_or_else(|| D::Error::missing_field("name"))?,
            description: fields.description,
            parameters: fields.parameters,
            strict: fields.strict,
        })
    }
}

/// How the model chooses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// No tool.
    None,
    /// Some tool.
    Required,
    /// This function.
    Function(String),
}

#[derive(Serialize)]
struct NamedChoice<'a> {
    r#type: &'static str,
    name: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    name: Option<String>,
}

impl ToolChoice {
    /// Reads the `tool_choice` field.
    ///
    /// # Errors
    /// 400 naming `tool_choice`.
    pub fn read(raw: &RawValue) -> Result<Self, ApiError> {
        const PARAM: &str = "tool_choice";
        let refused = |what: &str| {
            let message = format!(
                "Invalid value for 'tool_choice': '{}'. It is 'none', 'auto', 'required' or \
                 {{\"type\": \"function\", \"name\": …}}.",
                echo(what)
            );
            ApiError::invalid_param(PARAM, "invalid_value", message)
        };
        if !raw.get().starts_with('"') {
            let fields: ChoiceFields<'_> = read_raw(raw.get(), PARAM)?;
            return match (&*fields.kind, fields.name) {
                ("function", Some(name)) => Ok(Self::Function(name)),
                (other, _) => Err(refused(other)),
            };
        }
        match &*read_raw::<Text<'_>>(raw.get(), PARAM)? {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            "required" => Ok(Self::Required),
            other => Err(refused(other)),
        }
    }
}

impl Serialize for ToolChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Required => serializer.serialize_str("required"),
            Self::Function(name) => NamedChoice { r#type: "function", name }.serialize(serializer),
        }
    }
}
