//! The settings of one turn that a client may send, and that its response repeats.

use crate::error::{ApiError, echo};
use crate::file_search::FileSearch;
use crate::include::Include;
use crate::json::{Text, read_raw};
use crate::mcp_tool::McpTool;
use crate::metadata::Metadata;
use crate::object::Object;
use crate::tool::{AnyTool, McpChoice, Mode, Tool, ToolChoice};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The longest model name and user id, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest schema of an answer, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// The most alternatives to each token that may be asked for.
const TOP_LOGPROBS_MAX: u8 = 20;

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
    /// From -2 to 2.
    pub presence_penalty: Option<f64>,
    /// From -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// How many alternatives to each token the model is asked for, 0 to 20.
    pub top_logprobs: Option<u8>,
    /// What the client wants to have besides.
    pub include: Include,
    /// The bound on the calls of tools that this server runs; at least 1. It can lower the tenant's, not raise it.
    pub max_tool_calls: Option<u64>,
    /// The end user, as the application names them.
    pub user: Option<String>,
    /// The functions the model may ask for.
    pub tools: Vec<Tool>,
    /// The search in the tenant's knowledge.
    pub file_search: Option<FileSearch>,
    /// The tenant's own tools, by their labels, each of which is there once.
    pub mcp: Vec<McpTool>,
    /// How it chooses among all of these.
    pub tool_choice: ToolChoice,
    /// Whether it may ask for several at once.
    pub parallel_tool_calls: Option<bool>,
    /// How hard a reasoning model thinks.
    pub reasoning: Reasoning,
    /// The form of the answer.
    pub text: TextOptions,
    /// `auto` or `disabled`.
    pub truncation: Option<String>,
    /// Passed to the model.
    pub service_tier: Option<String>,
    /// Passed to the model.
    pub safety_identifier: Option<String>,
    /// Passed to the model.
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
struct PlainFormat {
    r#type: &'static str,
}

/// A schema's format as a response repeats it: every field is there.
#[derive(Serialize)]
struct SchemaFormat<'a> {
    r#type: &'static str,
    name: Option<&'a str>,
    description: Option<&'a str>,
    schema: Option<&'a RawValue>,
    strict: bool,
}

impl Serialize for TextOptions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("TextOptions", 2)?;
        // It was read once when the request was checked, so it can be read.
        match self.read_format().ok().flatten() {
            None => fields.serialize_field("format", &PlainFormat { r#type: "text" })?,
            Some(format) if format.schema.is_none() => {
                fields.serialize_field("format", &PlainFormat { r#type: "json_object" })?;
            }
            Some(format) => {
                let format = SchemaFormat {
                    r#type: "json_schema",
                    name: format.name.as_deref(),
                    description: format.description.as_deref(),
                    schema: format.schema,
                    strict: format.strict.unwrap_or(false),
                };
                fields.serialize_field("format", &format)?;
            }
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
        let Object(format) = read_raw::<Object<TextFormat<'_>>>(raw.get(), PARAM)?;
        match &*format.kind {
            "text" => Ok(None),
            "json_object" => Ok(Some(TextFormat { schema: None, ..format })),
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
        within("temperature", self.temperature, 0.0, 2.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        for (param, number) in
            [("max_output_tokens", self.max_output_tokens), ("max_tool_calls", self.max_tool_calls)]
        {
            if number == Some(0) {
                return Err(out_of_range(param, "an integer of at least 1"));
            }
        }
        if self.top_logprobs.is_some_and(|count| count > TOP_LOGPROBS_MAX) {
            return Err(out_of_range("top_logprobs", &format!("an integer from 0 to {TOP_LOGPROBS_MAX}")));
        }
        one_of("truncation", self.truncation.as_deref(), &["auto", "disabled"])?;
        one_of("reasoning.effort", self.reasoning.effort.as_deref(), &EFFORTS)?;
        one_of("reasoning.summary", self.reasoning.summary.as_deref(), &["auto", "concise", "detailed"])?;
        one_of("text.verbosity", self.text.verbosity.as_deref(), &["low", "medium", "high"])?;
        self.check_names()?;
        self.file_search.as_ref().map_or(Ok(()), FileSearch::check)?;
        self.mcp.iter().try_for_each(McpTool::check)?;
        self.check_choice()?;
        self.check_format()
    }

    /// Whether the model is to say how probable its words are.
    pub fn wants_logprobs(&self) -> bool {
        self.include.logprobs || self.top_logprobs.is_some_and(|count| count > 0)
    }

    fn check_names(&self) -> Result<(), ApiError> {
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
        Ok(())
    }

    /// Takes the tools of a request apart.
    pub(crate) fn take_tools(&mut self, tools: Vec<AnyTool>) -> Result<(), ApiError> {
        for (place, tool) in tools.into_iter().enumerate() {
            match tool {
                AnyTool::Function(tool) => self.tools.push(tool),
                AnyTool::FileSearch(_) if self.file_search.is_some() => {
                    let message =
                        "There is a tool of type 'file_search' already; name all vector stores in that one.";
                    return Err(ApiError::invalid_param(format!("tools[{place}]"), "invalid_value", message));
                }
                AnyTool::FileSearch(search) => self.file_search = Some(FileSearch { place, ..search }),
                AnyTool::Mcp(tool)
                    if self.mcp.iter().any(|known| known.server_label == tool.server_label) =>
                {
                    let label = echo(&tool.server_label);
                    let message = format!("There is a tool of type 'mcp' with the label '{label}' already.");
                    let param = format!("tools[{place}].server_label");
                    return Err(ApiError::invalid_param(param, "invalid_value", message));
                }
                AnyTool::Mcp(mut tool) => {
                    tool.place = place;
                    self.mcp.push(tool);
                }
            }
        }
        Ok(())
    }

    /// Whether the choice of tools leaves the turn to be answered from the tenant's knowledge.
    pub fn may_search(&self) -> bool {
        match &self.tool_choice {
            ToolChoice::Auto | ToolChoice::Required | ToolChoice::FileSearch => true,
            ToolChoice::None | ToolChoice::Function(_) | ToolChoice::Mcp(_) => false,
            ToolChoice::Allowed { mode, file_search, .. } => {
                *mode != Mode::None && (*file_search || self.file_search.is_none())
            }
        }
    }

    /// How the model chooses among the functions. The search is no function, and has happened before the model is asked:
    /// where some tool had to be used, one was.
    pub fn choice_of_functions(&self) -> Cow<'_, ToolChoice> {
        match &self.tool_choice {
            choice if self.file_search.is_none() => Cow::Borrowed(choice),
            ToolChoice::Required | ToolChoice::FileSearch => Cow::Owned(ToolChoice::Auto),
            ToolChoice::Allowed { tools, file_search: true, mcp, .. }
                if tools.is_empty() && mcp.is_empty() =>
            {
                Cow::Owned(ToolChoice::None)
            }
            ToolChoice::Allowed { mode, tools, file_search: true, mcp } => {
                let mode = if *mode == Mode::Required { Mode::Auto } else { *mode };
                let (tools, mcp) = (tools.clone(), mcp.clone());
                Cow::Owned(ToolChoice::Allowed { mode, tools, file_search: false, mcp })
            }
            choice => Cow::Borrowed(choice),
        }
    }

    /// What is chosen must be there to be chosen.
    fn check_choice(&self) -> Result<(), ApiError> {
        let chosen_search = matches!(
            self.tool_choice,
            ToolChoice::FileSearch | ToolChoice::Allowed { file_search: true, .. }
        );
        if chosen_search && self.file_search.is_none() {
            let message = "'tool_choice' names 'file_search', which is not in 'tools'.";
            return Err(ApiError::invalid_param("tool_choice", "invalid_value", message));
        }
        let is_there =
            |choice: &&McpChoice| self.mcp.iter().any(|tool| tool.server_label == choice.server_label);
        if let Some(choice) = self.tool_choice.mcp().iter().find(|choice| !is_there(choice)) {
            let label = echo(&choice.server_label);
            let message = format!("'tool_choice' names the server_label '{label}', which is not in 'tools'.");
            return Err(ApiError::invalid_param("tool_choice", "invalid_value", message));
        }
        let has_tools = !self.tools.is_empty() || self.file_search.is_some() || !self.mcp.is_empty();
        let named: &[String] = match &self.tool_choice {
            ToolChoice::Auto | ToolChoice::None | ToolChoice::FileSearch | ToolChoice::Mcp(_) => &[],
            ToolChoice::Required if !has_tools => {
                let message = "'tool_choice' is 'required', but there are no 'tools' to choose from.";
                return Err(ApiError::invalid_param("tool_choice", "invalid_value", message));
            }
            ToolChoice::Required => &[],
            ToolChoice::Function(name) => std::slice::from_ref(name),
            ToolChoice::Allowed { tools, .. } => tools,
        };
        match named.iter().find(|name| self.tools.iter().all(|tool| tool.name != **name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!("'tool_choice' names '{}', which is not in 'tools'.", echo(name));
                Err(ApiError::invalid_param("tool_choice", "invalid_value", message))
            }
        }
    }

    fn check_format(&self) -> Result<(), ApiError> {
        let Some(format) = self.text.read_format()? else { return Ok(()) };
        let bytes = format.schema.map_or(0, |schema| schema.get().len());
        if bytes > SCHEMA_BYTES_MAX {
            let expected = format!("at most {SCHEMA_BYTES_MAX} bytes long");
            return Err(out_of_range("text.format.schema", &expected));
        }
        Ok(())
    }
}

/// How hard a reasoning model may be asked to think; which of them a model knows is its own matter.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

fn one_of(param: &str, value: Option<&str>, known: &[&str]) -> Result<(), ApiError> {
    match value {
        Some(value) if !known.contains(&value) => {
            Err(out_of_range(param, &format!("one of '{}'", known.join("', '"))))
        }
        _ => Ok(()),
    }
}

fn within(param: &str, value: Option<f64>, lower: f64, upper: f64) -> Result<(), ApiError> {
    match value {
        Some(value) if !(lower..=upper).contains(&value) => {
            Err(out_of_range(param, &format!("a number from {lower} to {upper}")))
        }
        _ => Ok(()),
    }
}

fn out_of_range(param: &str, expected: &str) -> ApiError {
    let message = format!("Invalid value for '{param}': it must be {expected}.");
    ApiError::invalid_param(param, "invalid_value", message)
}
