//! Function tools and how a model is told to choose among them.

use crate::error::{ApiError, echo};
use crate::json::{Text, read_raw};
use crate::object::Object;
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
        let Object(fields) = Object::<ToolFields>::deserialize(deserializer)?;
        if &*fields.kind != "function" {
            let kind = echo(&fields.kind);
            return Err(D::Error::custom(format!(
                "tools of type '{kind}' are not supported; supported is function"
            )));
        }
        if fields.parameters.as_ref().is_some_and(|schema| !schema.get().starts_with('{')) {
            return Err(D::Error::custom("'parameters' must be an object: the JSON Schema of the arguments"));
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
    /// As `mode` says, among these functions of all there are.
    Allowed {
        /// How it chooses among them.
        mode: Mode,
        /// The functions' names.
        tools: Vec<String>,
    },
}

/// How a model chooses among the tools it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As it likes.
    #[default]
    Auto,
    /// No tool.
    None,
    /// Some tool.
    Required,
}

#[derive(Serialize)]
struct NamedChoice<'a> {
    r#type: &'static str,
    name: &'a str,
}

#[derive(Serialize)]
struct AllowedChoice<'a> {
    r#type: &'static str,
    mode: Mode,
    tools: Vec<NamedChoice<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    name: Option<String>,
    mode: Option<Mode>,
    #[serde(borrow)]
    tools: Option<Vec<AllowedTool<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedTool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    name: String,
}

fn allowed(mode: Option<Mode>, tools: Vec<AllowedTool<'_>>) -> Result<ToolChoice, ApiError> {
    let refused = |message: String| ApiError::invalid_param("tool_choice", "invalid_value", message);
    if tools.is_empty() || tools.len() > TOOLS_MAX {
        return Err(refused(format!("'tool_choice.tools' must have 1 to {TOOLS_MAX} tools.")));
    }
    if let Some(other) = tools.iter().find(|tool| &*tool.kind != "function") {
        let kind = echo(&other.kind);
        return Err(refused(format!(
            "'tool_choice.tools' has a tool of type '{kind}'; supported is function."
        )));
    }
    let tools = tools.into_iter().map(|tool| tool.name).collect();
    Ok(ToolChoice::Allowed { mode: mode.unwrap_or_default(), tools })
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
                "Invalid value for 'tool_choice': '{}'. It is 'none', 'auto', 'required', \
                 {{\"type\": \"function\", \"name\": …}} or \
                 {{\"type\": \"allowed_tools\", \"mode\": …, \"tools\": […]}}.",
                echo(what)
            );
            ApiError::invalid_param(PARAM, "invalid_value", message)
        };
        if !raw.get().starts_with('"') {
            let Object(fields) = read_raw::<Object<ChoiceFields<'_>>>(raw.get(), PARAM)?;
            return match (&*fields.kind, fields.name, fields.tools) {
                ("function", Some(name), None) => Ok(Self::Function(name)),
                ("allowed_tools", None, Some(tools)) => allowed(fields.mode, tools),
                (other, ..) => Err(refused(other)),
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
            Self::Allowed { mode, tools } => {
                let tools = tools.iter().map(|name| NamedChoice { r#type: "function", name }).collect();
                AllowedChoice { r#type: "allowed_tools", mode: *mode, tools }.serialize(serializer)
            }
        }
    }
}
