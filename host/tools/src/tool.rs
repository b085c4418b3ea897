//! A tool as it is written down: `kv-schemas/host-tool.json`. What functions are told of it has the same shapes.

use crate::{Grants, Limits, Override};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A tool of one tenant: the version that runs, and the one that waits, if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `^[a-z][a-z0-9_-]{0,31}$`, unique in the tenant; it never changes.
    pub name: String,
    /// Whether what is accepted may be called.
    pub enabled: bool,
    /// Which writing of this record it is, counted over all tools of the tenant.
    pub revision: u64,
    /// What runs; none as long as no version was accepted.
    pub accepted: Option<Version>,
    /// What waits to be accepted or rejected.
    pub pending: Option<Pending>,
    /// That an MCP server lists other definitions than those that were accepted, as far as anybody has noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// One version of a tool: what it is, what it can do, and what it may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// For people and models; at most 4,096 bytes.
    pub description: String,
    /// As its author counts; at most 64 bytes.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits: of a component's bytes, and else of what it is and can do.
    pub digest: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// What it can do: 1 to 64 things.
    pub functions: Vec<Function>,
    /// What was said of functions beyond what they say of themselves, by their names; it also holds for later versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Override>,
    /// The functions meant, of a component or an MCP server that has more of them; absent: all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// What it may reach.
    pub grants: Grants,
    /// What a call of it may use up.
    pub limits: Limits,
}

/// A version that runs only when somebody accepts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// What it would change, a sentence each: [`crate::differences`].
    pub differences: Vec<String>,
    /// When it was added, seconds since 1970.
    pub added_at: u64,
}

/// What was noticed of an MCP server's definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// When, seconds since 1970.
    pub noticed_at: u64,
    /// What; at most 1,024 bytes.
    pub detail: String,
}

/// What a tool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A WebAssembly component that the host runs; its bytes are those of the version's digest.
    Component,
    /// HTTP requests.
    Http {
        /// What the paths of its functions are appended to: scheme, host, port and path, without a slash at its end.
        base_url: String,
    },
    /// An MCP server.
    Mcp {
        /// Its endpoint.
        url: String,
    },
}

impl Kind {
    /// What it is called in records, options and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Http { .. } => "http",
            Self::Mcp { .. } => "mcp",
        }
    }

    /// Where it is called, of what is called over a network.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Component => None,
            Self::Http { base_url } => Some(base_url),
            Self::Mcp { url } => Some(url),
        }
    }
}

/// One thing a tool can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// `^[a-zA-Z0-9_-]{1,48}$`, unique in the tool.
    pub name: String,
    /// For the model; at most 4,096 bytes.
    pub description: String,
    /// The JSON Schema of its arguments, an object; at most 32 KiB.
    pub parameters: Value,
    /// The JSON Schema of what it gives, if that is JSON; at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Whether a call may change something outside.
    pub side_effects: bool,
    /// Whether the same call under the same idempotency key, made twice, does no more than made once.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether a person approves each call.
    pub needs_approval: bool,
    /// How the call is made, of an HTTP tool and of no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestTemplate>,
    /// What the MCP server calls it, where that is not `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<String>,
}

/// How arguments become an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTemplate {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path, from a slash on, with `{argument}` where an argument's value goes.
    pub path: String,
    /// Where the other arguments go; what is not listed, and is not in the path, goes into the body's JSON object.
    #[serde(default)]
    pub arguments: Vec<Placed>,
    /// The argument whose value is the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Fields that are the same in every call. No place for a secret: those are granted by name.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The field that takes the idempotency key, where the server honours one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

/// Where an argument goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// The argument.
    pub argument: String,
    /// What it is called there.
    pub name: String,
    /// Where.
    pub r#in: Place,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The query; an array once for each of its values.
    Query,
    /// A header field; an array by commas.
    Header,
}
