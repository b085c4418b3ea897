//! The settings of one turn that a client may send, and that its response repeats.

use crate::error::ApiError;
use crate::json::{Text, read_raw};
use crate::metadata::Metadata;
use crate::tool::{Tool, ToolChoice};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest model name and user id, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The settings of one turn.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// The model, when the client names one.
    pub model: Option<String>,
    /// The system prompt of this turn.
    pub instructions: Option<String>,
    /// The client's own pairs.
    pub metadata: Metadata,
    /// From 0 to 2.
    pub temperature: Option<f64>,
    /// From 0 to 1.
    pub top_p: Option<f64>,
    /// The bound on the model's answer, in tokens; at least 1.
    pub max_output_tokens: Option<u64>,
    /// The end user, as the application names them.
    pub user: Option<String>,
    /// The functions the model may ask for.
    pub tools: Vec<Tool>,
    /// How it chooses among them.
    pub tool_choice: ToolChoice,
    /// Whether it may ask for several at once.
    pub parallel_tool_calls: Option<bool>,
    /// How hard a reasoning model thinks.
    pub reasoning: Reasoning,
    /// The form of the answer.
    pub text: TextOptions,
    /// `auto` or `disabled`.
    pub truncation: Option<String>,
    /// Repeated in the response, without effect.
    pub service_tier: Option<String>,
    /// Repeated in the response, without effect.
    pub safety_identifier: Option<String>,
    /// Repeated in the response, without effect.
    pub prompt_cache_key: Option<String>,
    /// Whether the response is kept.
    pub store: bool,
}

/// The `reasoning` object.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reasoning {
    /// Passed to the model as `reasoning_effort`.
    pub effort: Option<String>,
    /// Repeated in the response, without effect.
    pub summary: Option<String>,
}

/// The `text` object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextOptions {
    /// The format, as it was sent; plain text when there is none.
    pub format: Option<Box<RawValue>>,
    /// Passed to the model.
    pub verbosity: Option<String>,
}

#[derive(Serialize)]
struct PlainText {
    r#type: &'static str,
}

impl Serialize for TextOptions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("TextOptions", 2)?;
        match &self.format {
            Some(format) => fields.serialize_field("format", format)?,
            None => fields.serialize_field("format", &PlainText { r#type: "text" })?,
        }
        if let Some(verbosity) = &self.verbosity {
            fields.serialize_field("verbosity", verbosity)?;
        }
        fields.end()
    }
}

/// The `text.format` object, read for the model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFormat<'a> {
    /// `text`, `json_object` or `json_schema`.
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// The schema's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// What the format is for.
    #[serde(borrow)]
    pub description: Option<Text<'a>>,
    /// The schema.
    #[serde(borrow)]
    pub schema: Option<&'a RawValue>,
    /// Whether the schema must be followed exactly.
    pub strict: Option<bool>,
}

impl TextOptions {
    /// The format, read; `None` stands for plain text.
    ///
    /// # Errors
    /// 400 naming `text.format`.
    pub fn read_format(&self) -> Result<Option<TextFormat<'_>>, ApiError> {
        const PARAM: &str = "text.format";
        let Some(raw) = &self.format else { return Ok(None) };
        let format: TextFormat<'_> = read_raw(raw.get(), PARAM)?;
        match &*format.kind {
            "text" => Ok(None),
            "json_object" => Ok(Some(format)),
            "json_schema" if format.name.is_some() && format.schema.is_some() => Ok(Some(format)),
            "json_schema" => {
                Err(out_of_range(PARAM, "given 'name' and 'schema' when its type is 'json_schema'"))
            }
            _ => Err(out_of_range(PARAM, "of type 'text', 'json_object' or 'json_schema'")),
        }
    }
}

impl Parameters {
    /// Holds each setting to its range.
    ///
    /// # Errors
    /// 400 naming the first one that is out of its range.
    pub fn validate(&self) -> Result<(), ApiError> {
        within("temperature", self.temperature, 2.0)?;
        within("top_p", self.top_p, 1.0)?;
        if self.max_output_tokens == Some(0) {
            return Err(out_of_range("max_output_tokens", "an integer of at least 1"));
        }
        let truncation = self.truncation.as_deref();
        if !matches!(truncation, None | Some("auto" | "disabled")) {
            return Err(out_of_range("truncation", "'auto' or 'disabled'"));
        }
        if self.model.as_ref().is_some_and(String::is_empty) {
            return Err(out_of_range("model", "the name of a model"));
        }
        let names = [
            ("model", &self.model),
            ("user", &self.user),
            ("service_tier", &self.service_tier),
            ("safety_identifier", &self.safety_identifier),
            ("prompt_cache_key", &self.prompt_cache_key),
        ];
        for (param, name) in names {
            if name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
                return Err(out_of_range(param, &format!("at most {NAME_BYTES_MAX} bytes long")));
            }
        }
        if self.tools.iter().any(|tool| tool.name.is_empty() || tool.name.len() > NAME_BYTES_MAX) {
            let expected = format!("named by 1 to {NAME_BYTES_MAX} bytes");
            return Err(out_of_range("tools", &expected));
        }
        self.text.read_format().map(|_| ())
    }
}

fn within(param: &str, value: Option<f64>, upper: f64) -> Result<(), ApiError> {
    match value {
        Some(value) if !(0.0..=upper).contains(&value) => {
            Err(out_of_range(param, &format!("a number from 0 to {upper}")))
        }
        _ => Ok(()),
    }
}

fn out_of_range(param: &str, expected: &str) -> ApiError {
    let message = format!("Invalid value for '{param}': it must be {expected}.");
    ApiError::invalid_param(param, "invalid_value", message)
}
