//! A tool of a tenant's registry, as `GET http://tools.waggle.internal/v1/tools` tells it. The host is its only writer;
//! `kv-schemas/host-tool.json` is the shape both sides are held to.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// All tools of the tenant that are accepted and enabled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registry {
    /// Changes with every change of any of them; opaque.
    pub revision: String,
    /// In the order of their names.
    pub data: Vec<Tool>,
}

/// One tool: a component, a set of HTTP requests, or an MCP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tool {
    /// `^[a-z][a-z0-9_-]{0,31}$`, unique in the tenant; not `waggle`, which is what the built-in tools are called together.
    pub name: String,
    /// For people and models.
    pub description: String,
    /// Which version of it, as its author says.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits, of what was accepted.
    pub digest: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// What it can do, 1 to 64 things.
    pub functions: Vec<Function>,
    /// How long a call may take, milliseconds.
    pub time_ms_max: u64,
    /// How long its answer may be, bytes.
    pub output_bytes_max: u64,
    /// The origins that it was granted (`https://host[:port]`): links to their hosts stay in what it gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<String>,
}

/// What a tool is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A component that the host runs: `POST /v1/tools/NAME/call`.
    Component,
    /// HTTP requests, which the function makes with the header field `waggle-tool: NAME`.
    Http {
        /// What the paths of its functions are appended to, without a slash at its end.
        base_url: String,
    },
    /// An MCP server, which the function calls with the header field `waggle-tool: NAME`.
    Mcp {
        /// Its endpoint.
        url: String,
    },
}

/// One thing a tool can do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Function {
    /// `^[a-zA-Z0-9_-]{1,48}$`, unique in the tool.
    pub name: String,
    /// For the model.
    pub description: String,
    /// The JSON Schema of the arguments, an object.
    pub parameters: Box<RawValue>,
    /// The JSON Schema of what it gives, if that is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
    /// Whether a call may change something outside.
    pub side_effects: bool,
    /// Whether the same call under the same idempotency key, made twice, does no more than made once.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether a person approves each call.
    pub needs_approval: bool,
    /// How the call is made, of an HTTP tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestTemplate>,
    /// What the MCP server calls it, where that is not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<String>,
}

/// How arguments become an HTTP request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestTemplate {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path, from a slash on, with `{argument}` where an argument's value goes, percent-encoded.
    pub path: String,
    /// Where the other arguments go; what is not listed, and is not in the path, goes into the body's JSON object.
    #[serde(default)]
    pub arguments: Vec<Placed>,
    /// The argument whose value is the whole body; without it the body is an object of all that are placed nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Fields that are the same in every call.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The field that takes the idempotency key, where the server honours one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

/// Where an argument goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Placed {
    /// The argument.
    pub argument: String,
    /// What it is called there.
    pub name: String,
    /// Where.
    pub r#in: Place,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The query, percent-encoded; an array once for each of its values.
    Query,
    /// A header field; an array by commas.
    Header,
}
