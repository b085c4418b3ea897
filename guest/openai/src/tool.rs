//! The tools of a turn, and how a model is told to choose among them.

use crate::error::{ApiError, echo};
use crate::file_search::{FileSearch, RankingOptions};
use crate::json::{Text, invalid_value, read_raw};
use crate::mcp_tool::{McpFields, McpTool};
use crate::object::Object;
use crate::whole::Whole;
use serde::de::{Deserializer, Error, IgnoredAny};
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

impl Tool {
    /// A function.
    pub fn function(
        name: String,
        description: Option<String>,
        parameters: Option<Box<RawValue>>,
        strict: Option<bool>,
    ) -> Self {
        Self { r#type: "function", name, description, parameters, strict }
    }
}

/// A tool as a request names it.
#[derive(Debug, Clone)]
pub enum AnyTool {
    /// A function of the client's.
    Function(Tool),
    /// The search in the tenant's knowledge, which this server runs itself.
    FileSearch(FileSearch),
    /// Tools of the tenant's, which this server runs as well.
    Mcp(McpTool),
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
    max_num_results: Option<Whole<u64>>,
    ranking_options: Option<Object<RankingOptions>>,
    server_label: Option<String>,
    server_url: Option<String>,
    server_description: Option<String>,
    #[serde(borrow)]
    allowed_tools: Option<&'a RawValue>,
    #[serde(borrow)]
    require_approval: Option<&'a RawValue>,
    headers: Option<IgnoredAny>,
    authorization: Option<IgnoredAny>,
    connector_id: Option<IgnoredAny>,
    tunnel_id: Option<IgnoredAny>,
    defer_loading: Option<bool>,
    allowed_callers: Option<Vec<String>>,
}

impl<'a> ToolFields<'a> {
    /// Takes what belongs to tools of type `mcp`.
    fn take_mcp(&mut self) -> McpFields<'a> {
        McpFields {
            server_label: self.server_label.take(),
            server_url: self.server_url.take(),
            server_description: self.server_description.take(),
            allowed_tools: self.allowed_tools.take(),
            require_approval: self.require_approval.take(),
            headers: self.headers.take().is_some(),
            authorization: self.authorization.take().is_some(),
            connector_id: self.connector_id.take().is_some(),
            tunnel_id: self.tunnel_id.take().is_some(),
            defer_loading: self.defer_loading.take().unwrap_or(false),
            allowed_callers: self.allowed_callers.take(),
        }
    }

    /// Refuses the fields of tools of type `mcp`, as unknown ones.
    fn refuse_mcp<E: Error>(&mut self, known: &'static [&'static str]) -> Result<(), E> {
        self.take_mcp().any().map_or(Ok(()), |name| Err(E::unknown_field(name, known)))
    }

    fn mcp<E: Error>(mut self) -> Result<McpTool, E> {
        let fields = self.take_mcp();
        let foreign = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("parameters", self.parameters.is_some()),
            ("strict", self.strict.is_some()),
            ("vector_store_ids", self.vector_store_ids.is_some()),
            ("filters", self.filters.is_some()),
            ("max_num_results", self.max_num_results.is_some()),
            ("ranking_options", self.ranking_options.is_some()),
        ];
        let known = &[
            "type",
            "server_label",
            "server_url",
            "server_description",
            "allowed_tools",
            "require_approval",
        ];
        refuse(foreign, known)?;
        fields.tool()
    }

    fn function<E: Error>(mut self) -> Result<Tool, E> {
        self.refuse_mcp(&["type", "name", "description", "parameters", "strict"])?;
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

    fn file_search<E: Error>(mut self) -> Result<FileSearch, E> {
        self.refuse_mcp(&["type", "vector_store_ids", "filters", "max_num_results", "ranking_options"])?;
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
            max_num_results: self.max_num_results.map(|Whole(count)| count),
            ranking_options: self.ranking_options.map(|Object(options)| options),
        })
    }
}

/// Refuses fields that belong to another type of tool, as unknown ones.
fn refuse<E: Error, const N: usize>(
    foreign: [(&'static str, bool); N],
    known: &'static [&'static str],
) -> Result<(), E> {
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
            "mcp" => fields.mcp().map(Self::Mcp),
            other => {
                let kind = echo(other);
                Err(D::Error::custom(format!(
                    "tools of type '{kind}' are not supported; supported are function, file_search and mcp"
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
        /// Those of the tenant's tools that are.
        mcp: Vec<McpChoice>,
    },
    /// These of the tenant's tools.
    Mcp(McpChoice),
}

/// Tools of one label, or one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpChoice {
    /// The label.
    pub server_label: String,
    /// The one; absent: any of them.
    pub name: Option<String>,
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
    server_label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> NamedChoice<'a> {
    fn function(name: &'a str) -> Self {
        Self { r#type: "function", server_label: None, name: Some(name) }
    }

    fn file_search() -> Self {
        Self { r#type: "file_search", server_label: None, name: None }
    }

    fn mcp(choice: &'a McpChoice) -> Self {
        let McpChoice { server_label, name } = choice;
        Self { r#type: "mcp", server_label: Some(server_label), name: name.as_deref() }
    }
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
    server_label: Option<String>,
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
    server_label: Option<String>,
}

fn allowed(mode: Option<Mode>, tools: Vec<AllowedTool<'_>>) -> Result<ToolChoice, ApiError> {
    let refused = |message: String| ApiError::invalid_param("tool_choice", "invalid_value", message);
    if tools.is_empty() || tools.len() > TOOLS_MAX {
        return Err(refused(format!("'tool_choice.tools' must have 1 to {TOOLS_MAX} tools.")));
    }
    let (mut names, mut file_search, mut mcp) = (Vec::with_capacity(tools.len()), false, Vec::new());
    for tool in tools {
        match (&*tool.kind, tool.name, tool.server_label) {
            ("function", Some(name), None) => names.push(name),
            ("function", None, _) => return Err(invalid_value("tool_choice", "missing field `name`")),
            ("file_search", None, None) => file_search = true,
            ("mcp", name, Some(server_label)) => mcp.push(McpChoice { server_label, name }),
            ("mcp", _, None) => return Err(invalid_value("tool_choice", "missing field `server_label`")),
            (other, ..) => {
                let kind = echo(other);
                return Err(refused(format!(
                    "'tool_choice.tools' has a tool of type '{kind}'; supported are function, with a name, \
                     file_search, and mcp, with a server_label."
                )));
            }
        }
    }
    Ok(ToolChoice::Allowed { mode: mode.unwrap_or_default(), tools: names, file_search, mcp })
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
                 {{\"type\": \"function\", \"name\": …}}, {{\"type\": \"file_search\"}}, \
                 {{\"type\": \"mcp\", \"server_label\": …}} or \
                 {{\"type\": \"allowed_tools\", \"mode\": …, \"tools\": […]}}.",
                echo(what)
            );
            ApiError::invalid_param(PARAM, "invalid_value", message)
        };
        if !raw.get().starts_with('"') {
            let Object(fields) = read_raw::<Object<ChoiceFields<'_>>>(raw.get(), PARAM)?;
            return match (&*fields.kind, fields.name, fields.tools, fields.server_label) {
                ("function", Some(name), None, None) => Ok(Self::Function(name)),
                ("file_search", None, None, None) => Ok(Self::FileSearch),
                ("mcp", name, None, Some(server_label)) => Ok(Self::Mcp(McpChoice { server_label, name })),
                ("mcp", _, None, None) => Err(invalid_value(PARAM, "missing field `server_label`")),
                ("allowed_tools", None, Some(tools), None) => allowed(fields.mode, tools),
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

    /// The same choice, with the tenant's tools as the functions that a model knows them by: `named` gives the names of
    /// those that a choice means. A choice of none of them is none.
    #[must_use]
    pub fn resolved(&self, named: impl Fn(&McpChoice) -> Vec<String>) -> Self {
        match self {
            Self::Mcp(choice) => match named(choice) {
                names if names.is_empty() => Self::None,
                mut names if names.len() == 1 => Self::Function(names.swap_remove(0)),
                tools => Self::Allowed { mode: Mode::Required, tools, file_search: false, mcp: Vec::new() },
            },
            Self::Allowed { mode, tools, file_search, mcp } => {
                let tools = tools.iter().cloned().chain(mcp.iter().flat_map(named)).collect();
                Self::Allowed { mode: *mode, tools, file_search: *file_search, mcp: Vec::new() }
            }
            other => other.clone(),
        }
    }

    /// The tenant's tools that are chosen.
    pub fn mcp(&self) -> &[McpChoice] {
        match self {
            Self::Mcp(choice) => std::slice::from_ref(choice),
            Self::Allowed { mcp, .. } => mcp,
            _ => &[],
        }
    }
}

impl Serialize for ToolChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Required => serializer.serialize_str("required"),
            Self::Function(name) => NamedChoice::function(name).serialize(serializer),
            Self::FileSearch => NamedChoice::file_search().serialize(serializer),
            Self::Mcp(choice) => NamedChoice::mcp(choice).serialize(serializer),
            Self::Allowed { mode, tools, file_search, mcp } => {
                let functions = tools.iter().map(|name| NamedChoice::function(name));
                let search = file_search.then(NamedChoice::file_search);
                let tools = functions.chain(search).chain(mcp.iter().map(NamedChoice::mcp)).collect();
                AllowedChoice { r#type: "allowed_tools", mode: *mode, tools }.serialize(serializer)
            }
        }
    }
}
