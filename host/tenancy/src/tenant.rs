//! A tenant as it is configured: everything that belongs to it, whichever source it comes from.
//!
//! The same shape is a section `[tenant.ID]` of tenants.toml, a record in the store and, without secrets, an object of
//! the admin API.

mod check;
#[cfg(test)]
mod check_tests;

pub use check::{
    API_KEYS_MAX, FieldMistake, ISSUERS_MAX, LIST_ENTRIES_MAX, LIST_ENTRY_BYTES_MAX, SCOPE_BYTES_MAX,
    SCOPES_MAX, SECRETS_MAX, VARIABLE_BYTES_MAX, VARIABLES_MAX,
};

pub(crate) use check::is_header_byte;

use crate::api_key::ApiKey;
use crate::issuer::Issuer;
use crate::limits::Limits;
use crate::{SecretSource, TenantId, TenantVariable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A tenant: who pays and owns data.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Its id, which nothing else may ever share.
    pub id: TenantId,
    /// Everything else.
    pub settings: TenantSettings,
}

/// What a tenant may do and how it is recognised. Every field has a default: an empty section is a tenant that nobody
/// can call yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// For people; at most [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes. The id where it is empty.
    pub name: String,
    /// Whether its requests are served.
    pub state: TenantState,
    /// Keys of the tenant's own services.
    pub api_keys: Vec<ApiKey>,
    /// Who may issue tokens for the tenant's users.
    pub issuers: Vec<Issuer>,
    /// Values that go before those of spin.toml, the command line and the environment; only variables that spin.toml
    /// declares.
    pub variables: BTreeMap<String, TenantVariable>,
    /// Keys of upstreams, put on by the host, by name.
    pub secrets: BTreeMap<String, UpstreamSecret>,
    /// Narrows `allowed_outbound_hosts` of every function: a call must be allowed by both. Absent: no narrowing.
    pub allowed_outbound_hosts: Option<Vec<String>>,
    /// The functions it may use. Absent: all.
    pub functions: Option<Vec<String>>,
    /// The models its requests may name; a `*` at the end stands for any rest. Absent: all.
    pub models: Option<Vec<String>>,
    /// How long answers of models are kept for the same question, seconds; 0 to 604,800, 0: not at all. Absent: as the host
    /// is configured.
    pub answer_cache_s: Option<u64>,
    /// What it may use up; what is absent is the host's default.
    pub limits: Limits,
    /// How its requests are kept apart from each other; absent: as the host is configured.
    pub isolation: Option<Isolation>,
    /// Whether what its functions print also goes to a file of its own.
    pub log_file: bool,
    /// Whether what its models are asked and answer is in the traces, redacted.
    pub trace_content: bool,
}

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// It is.
    #[default]
    Active,
    /// New requests are refused; what it owns stays.
    Suspended,
}

/// What separates two requests of one tenant to one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// They may share an instance.
    Tenant,
    /// Each has an instance of its own, which ends with it.
    Request,
}

/// A key of the tenant's at an upstream: where it belongs, how it is sent, and where its value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSecret {
    /// Scheme, host and port it is sent to, such as `https://api.example.com`.
    pub origin: String,
    /// The paths it is sent to: this one and those below it.
    #[serde(default = "root_path")]
    pub path_prefix: String,
    /// The header field that holds it.
    #[serde(default = "authorization")]
    pub header: String,
    /// What stands before the value in the field, a space included.
    #[serde(default = "bearer")]
    pub prefix: String,
    /// The secret itself.
    pub secret: SecretSource,
}

fn root_path() -> String {
    "/".to_owned()
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}
