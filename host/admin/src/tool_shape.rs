//! What the routes of tools take and give, as types; the OpenAPI document is made of them. The records of `host/tools` have
//! these shapes as JSON, and go through them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A tool of a tenant: the version that runs, and the one that waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tool {
    /// A letter, then `a-z 0-9 - _`, at most 32 characters; unique in the tenant.
    pub(crate) name: String,
    /// Whether what is accepted may be called.
    pub(crate) enabled: bool,
    /// Counts the changes of the tenant's tools.
    pub(crate) revision: u64,
    /// What runs; null as long as no version was accepted.
    pub(crate) accepted: Option<ToolVersion>,
    /// What waits to be accepted or rejected.
    pub(crate) pending: Option<PendingVersion>,
    /// That an MCP server lists other definitions than those that were accepted, as far as anybody has noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<ToolChange>,
}

/// One version of a tool.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ToolVersion {
    /// For people and models.
    pub(crate) description: String,
    /// As its author counts.
    pub(crate) version: String,
    /// `sha256:` and 64 hexadecimal digits: of a component's bytes, and else of what it is and can do.
    pub(crate) digest: String,
    pub(crate) kind: ToolKind,
    /// Where the server is, of an HTTP tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// The endpoint, of an MCP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// What it can do.
    pub(crate) functions: Vec<ToolFunction>,
    /// What was said of functions beyond what they say of themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) overrides: BTreeMap<String, FunctionOverride>,
    /// The functions meant; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<Vec<String>>,
    pub(crate) grants: ToolGrants,
    #[schema(schema_with = crate::tool_shape::limits)]
    pub(crate) limits: Value,
}

/// A version that runs only when somebody accepts it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PendingVersion {
    /// For people and models.
    pub(crate) description: String,
    /// As its author counts.
    pub(crate) version: String,
    /// What an acceptance has to name.
    pub(crate) digest: String,
    pub(crate) kind: ToolKind,
    /// Where the server is, of an HTTP tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// The endpoint, of an MCP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// What it can do.
    pub(crate) functions: Vec<ToolFunction>,
    /// What was said of functions beyond what they say of themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) overrides: BTreeMap<String, FunctionOverride>,
    /// The functions meant; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<Vec<String>>,
    pub(crate) grants: ToolGrants,
    #[schema(schema_with = crate::tool_shape::limits)]
    pub(crate) limits: Value,
    /// What it would change, a sentence each.
    pub(crate) differences: Vec<String>,
    /// When it was added, seconds since 1970.
    pub(crate) added_at: u64,
}

/// What was noticed of an MCP server's definitions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ToolChange {
    /// When, seconds since 1970.
    pub(crate) noticed_at: u64,
    /// What.
    pub(crate) detail: String,
}

/// What a tool is: a WebAssembly component that the host runs, HTTP requests, or an MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolKind {
    Component,
    Http,
    Mcp,
}

/// One thing a tool can do.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolFunction {
    /// 1 to 48 characters of `a-z A-Z 0-9 - _`, unique in the tool.
    #[schema(max_length = 48)]
    pub(crate) name: String,
    /// For the model.
    #[schema(max_length = 4096)]
    pub(crate) description: String,
    /// The JSON Schema of its arguments, an object; at most 32 KiB.
    #[schema(value_type = Object)]
    pub(crate) parameters: Value,
    /// The JSON Schema of what it gives, if that is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) output: Option<Value>,
    /// Whether a call may change something outside.
    pub(crate) side_effects: bool,
    /// Whether the same call under the same idempotency key does no more than once.
    #[serde(default)]
    pub(crate) idempotent: bool,
    /// Whether a person approves each call.
    pub(crate) needs_approval: bool,
    /// How the call is made, of an HTTP tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<ToolRequest>,
    /// What the MCP server calls it, where that is not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote_name: Option<String>,
}

/// How arguments become an HTTP request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolRequest {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(crate) method: String,
    /// From a slash on, with `{argument}` where an argument's value goes.
    pub(crate) path: String,
    /// Where the other arguments go; what is not listed goes into the body's JSON object.
    #[serde(default)]
    pub(crate) arguments: Vec<PlacedArgument>,
    /// The argument whose value is the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// Fields that are the same in every call, each a list of its name and its value. No place for a secret.
    #[serde(default)]
    pub(crate) headers: Vec<Vec<String>>,
    /// The field that takes the idempotency key, where the server honours one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_header: Option<String>,
}

/// Where an argument goes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlacedArgument {
    /// The argument.
    pub(crate) argument: String,
    /// What it is called there.
    pub(crate) name: String,
    pub(crate) r#in: ArgumentPlace,
}

/// The query (a list once for each of its values), or a header field (a list by commas).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArgumentPlace {
    Query,
    Header,
}

/// What a tool may reach. Without a grant that is nothing.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolGrants {
    /// Origins, such as `https://api.example.com`.
    #[schema(max_items = 16)]
    pub(crate) outbound: Vec<String>,
    /// Names of the tenant's secrets, which the host puts on.
    #[schema(max_items = 16)]
    pub(crate) secrets: Vec<String>,
    /// Labels of stores.
    #[schema(max_items = 4)]
    pub(crate) key_value: Vec<String>,
}

/// What whoever adds a tool knows better than the tool; what is absent or null stays as the tool says.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FunctionOverride {
    /// For the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub(crate) description: Option<String>,
    /// Whether a call may change something outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) side_effects: Option<bool>,
    /// Whether the same call under the same key does no more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotent: Option<bool>,
    /// Whether a person approves each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) needs_approval: Option<bool>,
}

/// A tool to be added, or another version of one that is there.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTool {
    /// A letter, then `a-z 0-9 - _`, at most 32 characters; not `waggle`.
    #[schema(max_length = 32)]
    pub(crate) name: String,
    /// For people and models.
    #[serde(default)]
    #[schema(max_length = 4096)]
    pub(crate) description: String,
    /// As its author counts.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub(crate) version: String,
    pub(crate) kind: ToolKind,
    /// Where the server is, of an HTTP tool: what the paths of its functions are appended to.
    #[serde(default)]
    pub(crate) base_url: Option<String>,
    /// The endpoint, of an MCP server.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Of a component: which, among those that were uploaded.
    #[serde(default)]
    pub(crate) digest: Option<String>,
    /// What an HTTP tool can do. A component and an MCP server say that themselves.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub(crate) functions: Vec<ToolFunction>,
    /// The functions meant, of a component or an MCP server; absent or null: all.
    #[serde(default)]
    pub(crate) only: Option<Vec<String>>,
    /// What is to be said of functions beyond what they say of themselves, by their names.
    #[serde(default)]
    pub(crate) overrides: BTreeMap<String, FunctionOverride>,
    /// What it may reach. Where an HTTP tool or an MCP server itself is, is added.
    #[serde(default)]
    pub(crate) grants: ToolGrants,
    /// What a call may use up.
    #[serde(default)]
    #[schema(schema_with = crate::tool_shape::limits)]
    pub(crate) limits: Value,
    /// Whether it runs without being accepted.
    #[serde(default)]
    pub(crate) accept: bool,
}

/// The version that was read: what is accepted or rejected is this one, or nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadVersion {
    /// The digest of what waits.
    pub(crate) digest: String,
    /// The tool's revision, by which its grants and limits are those that were read as well; absent or null: whatever
    /// they are.
    #[serde(default)]
    pub(crate) revision: Option<u64>,
}

/// The tools of a tenant, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolList {
    pub(crate) tools: Vec<ToolSummary>,
    /// Those whose records cannot be read; they can only be removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unreadable: Vec<String>,
}

/// A tool, in few words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolSummary {
    /// Its name.
    pub(crate) name: String,
    pub(crate) state: ToolState,
    /// Whether a version waits to be accepted or rejected.
    pub(crate) pending: bool,
    /// Whether an MCP server was noticed to list other definitions than those that were accepted.
    pub(crate) changed: bool,
    /// Of what runs, else of what waits.
    pub(crate) kind: ToolKind,
    /// Of what runs, else of what waits.
    pub(crate) version: String,
    /// Of what runs, else of what waits.
    pub(crate) digest: String,
    /// How many things it can do.
    pub(crate) functions: usize,
}

/// Whether a tool may be called: it may, somebody has disabled it, or no version was accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolState {
    Active,
    Disabled,
    Pending,
}

/// A component that was uploaded. One that no tool has within an hour may be removed again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Component {
    /// `sha256:` and 64 hexadecimal digits of its bytes.
    pub(crate) digest: String,
    /// How many it has.
    pub(crate) bytes: u64,
    /// What it can do.
    pub(crate) functions: Vec<ToolFunction>,
}

/// The schema of [`waggle_tools::Limits`], which says itself what each may be.
pub(crate) fn limits() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .description(Some("What a call may use up; an absent field has its default."));
    for (name, least, most) in waggle_tools::Limits::bounds() {
        let property =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(*least)).maximum(Some(*most));
        object = object.property(*name, property);
    }
    utoipa::openapi::RefOr::T(Schema::Object(object.build()))
}
