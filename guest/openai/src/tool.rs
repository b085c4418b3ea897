//! The tools of a turn, and how a model is told to choose among them.

use crate::error::{ApiError, echo};
use crate::file_search::{FileSearch, RankingOptions};
use crate::json::{Text, invalid_value, read_raw};
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

/// A tool as a request names it.
#[derive(Debug, Clone)]
pub enum AnyTool {
    /// A function of the client's.
    Function(Tool),
    /// The search in the tenant's knowledge, which this server runs itself.
    FileSearch(FileSearch),
}

/// The fields of all types of tools.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
    vector_store_ids: Option<Vec<String>>,
    filters: Option<Box<RawValue>>,
    max_num_results: Option<u64>,
    ranking_options: Option<Object<RankingOptions>>,
}

impl ToolFields<'_> {
    fn function<E: Error>(self) -> Result<Tool, E> {
        let foreign = [
            ("vector_store_ids", self.vector_store_ids.is_some()),
            ("filters", self.filters.is_some()),
            ("max_num_results", self.max_num_results.is_some()),
            ("ranking_options", self.ranking_options.is_some()),
        ];
        refuse(foreign, &["type", "name", "description", "parameters", "strict"])?;
        if self.parameters.as_ref().is_some_and(|schema| !schema.get().starts_with('{')) {
            return Err(E::custom("'parameters' must be an object: the JSON Schema of the arguments"));
        }
        Ok(Tool {
            r#type: "function",
            name: self.name.ok_or_else(|| E::missing_field("name"))?,
            description: self.description,
            parameters: self.parameters,
            strict: self.strict,
        })
    }

    fn file_search<E: Error>(self) -> Result<FileSearch, E> {
        let foreign = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("parameters", self.parameters.is_some()),
            ("strict", self.strict.is_some()),
        ];
        refuse(foreign, &["type", "vector_store_ids", "filters", "max_num_results", "ranking_options"])?;
        if self.filters.as_ref().is_some_and(|filters| !filters.get().starts_with('{')) {
            return Err(E::custom(
                "'filters' must be an object: a comparison, or filters joined by and / or",
            ));
        }
        Ok(FileSearch {
            place: 0,
            vector_store_ids: self.vector_store_ids.ok_or_else(|| E::missing_field("vector_store_ids"))?,
            filters: self.filters,
            max_num_results: self.max_num_results,
            ranking_options: self.ranking_options.map(|Object(options)| options),
        })
    }
}

/// Refuses fields that belong to another type of tool, as unknown ones.
fn refuse<E: Error>(foreign: [(&'static str, bool); 4], known: &'static [&'static str]) -> Result<(), E> {
    match foreign.into_iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => Err(E::unknown_field(name, known)),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for AnyTool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(fields) = Object::<ToolFields<'_>>::deserialize(deserializer)?;
        match &*fields.kind {
            "function" => fields.function().map(Self::Function),
            "file_search" => fields.file_search().map(Self::FileSearch),
            other => {
                let kind = echo(other);
                Err(D::Error::custom(format!(
                    "tools of type '{kind}' are not supported; supported are function and file_search"
                )))
            }
        }
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
    /// The search in the tenant's knowledge.
    FileSearch,
    /// As `mode` says, among these tools of all there are.
    Allowed {
        /// How it chooses among them.
        mode: Mode,
        /// The functions' names.
        tools: Vec<String>,
        /// Whether the search in the tenant's knowledge is among them.
        file_search: bool,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
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
    name: Option<String>,
}

fn allowed(mode: Option<Mode>, tools: Vec<AllowedTool<'_>>) -> Result<ToolChoice, ApiError> {
    let refused = |message: String| ApiError::invalid_param("tool_choice", "invalid_value", message);
    if tools.is_empty() || tools.len() > TOOLS_MAX {
        return Err(refused(format!("'tool_choice.tools' must have 1 to {TOOLS_MAX} tools.")));
    }
    let (mut names, mut file_search) = (Vec::with_capacity(tools.len()), false);
    for tool in tools {
        match (&*tool.kind, tool.name) {
            ("function", Some(name)) => names.push(name),
            ("function", None) => return Err(invalid_value("tool_choice", "missing field `name`")),
            ("file_search", None) => file_search = true,
            (other, _) => {
                let kind = echo(other);
                return Err(refused(format!(
                    "'tool_choice.tools' has a tool of type '{kind}'; supported are function, with a name, and \
                     file_search."
                )));
            }
        }
    }
    Ok(ToolChoice::Allowed { mode: mode.unwrap_or_default(), tools: names, file_search })
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
                 {{\"type\": \"function\", \"name\": …}}, {{\"type\": \"file_search\"}} or \
                 {{\"type\": \"allowed_tools\", \"mode\": …, \"tools\": […]}}.",
                echo(what)
            );
            ApiError::invalid_param(PARAM, "invalid_value", message)
        };
        if !raw.get().starts_with('"') {
            let Object(fields) = read_raw::<Object<ChoiceFields<'_>>>(raw.get(), PARAM)?;
            return match (&*fields.kind, fields.name, fields.tools) {
                ("function", Some(name), None) => Ok(Self::Function(name)),
                ("file_search", None, None) => Ok(Self::FileSearch),
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
            Self::Function(name) => {
                NamedChoice { r#type: "function", name: Some(name) }.serialize(serializer)
            }
            Self::FileSearch => NamedChoice { r#type: "file_search", name: None }.serialize(serializer),
            Self::Allowed { mode, tools, file_search } => {
                let functions = tools.iter().map(|name| NamedChoice { r#type: "function", name: Some(name) });
                let search = file_search.then_some(NamedChoice { r#type: "file_search", name: None });
                let tools = functions.chain(search).collect();
                AllowedChoice { r#type: "allowed_tools", mode: *mode, tools }.serialize(serializer)
            }
        }
    }
}
