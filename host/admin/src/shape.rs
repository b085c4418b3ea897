//! What the API takes and gives, as types; the OpenAPI document is made of them. No type here can hold the hash of a key,
//! and the values of secrets only on their way in.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use waggle_tenancy::Limits;

/// The most tenants of a page.
pub(crate) const PAGE_TENANTS_MAX: usize = 1_000;
/// The tenants of a page when the request does not say.
pub(crate) const PAGE_TENANTS: usize = 100;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    /// Its id: 1 to 64 of `a-z 0-9 - _`.
    pub(crate) id: String,
    /// Where it is configured. A tenant of tenants.toml cannot be changed here.
    pub(crate) source: Source,
    /// Counts the changes; what the `ETag` holds.
    pub(crate) revision: u64,
    /// Why it is not in force; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// Everything else.
    pub(crate) settings: Settings,
}

/// A tenant, in few words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantSummary {
    /// Its id.
    pub(crate) id: String,
    /// For people; the id where none was given.
    pub(crate) name: String,
    /// Whether it is served.
    pub(crate) state: TenantState,
    /// Where it is configured.
    pub(crate) source: Source,
    /// Counts the changes.
    pub(crate) revision: u64,
    /// Why it is not in force; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// A page of tenants, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantPage {
    #[schema(max_items = 1000)]
    pub(crate) tenants: Vec<TenantSummary>,
    /// What `after` must be for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Where a tenant is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// In tenants.toml.
    File,
    /// In the store, by this API.
    Store,
}

/// A new tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// 1 to 64 of `a-z 0-9 - _`. It is part of every key in the stores and can never be changed.
    #[schema(max_length = 64, pattern = "^[a-z0-9_-]{1,64}$")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) settings: Settings,
}

/// What a tenant may do and how it is recognised.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// For people.
    #[schema(max_length = 200)]
    pub(crate) name: String,
    /// Whether it is served. Absent in a request: as it is; active for a new tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) state: Option<TenantState>,
    /// Who may issue tokens for the tenant's users.
    pub(crate) issuers: Vec<Issuer>,
    /// Values that go before those of spin.toml. `null` stands for a secret value that is not shown; in a request it
    /// keeps that value.
    pub(crate) variables: BTreeMap<String, Option<String>>,
    /// Keys of upstreams, put on by the host, by name.
    pub(crate) secrets: BTreeMap<String, UpstreamSecret>,
    /// Narrows `allowed_outbound_hosts` of every function; null: no narrowing.
    pub(crate) allowed_outbound_hosts: Option<Vec<String>>,
    /// The functions it may use; null: all.
    pub(crate) functions: Option<Vec<String>>,
    /// The models its requests may name, a `*` at the end stands for any rest; null: all.
    pub(crate) models: Option<Vec<String>>,
    /// How long answers of models are kept for the same question, seconds; 0: not at all; null: as the host is configured.
    #[schema(maximum = 604800)]
    pub(crate) answer_cache_s: Option<u64>,
    /// What it may use up.
    #[schema(schema_with = crate::openapi::limits)]
    pub(crate) limits: Limits,
    /// How its requests are kept apart from each other; null: as the host is configured.
    pub(crate) isolation: Option<Isolation>,
    /// Whether what its functions print also goes to a file of its own.
    pub(crate) log_file: bool,
    /// Whether what its models are asked and answer is in the traces, redacted.
    pub(crate) trace_content: bool,
}

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TenantState {
    Active,
    Suspended,
}

/// What separates two requests of one tenant to one function: they may share an instance (`tenant`), or each has its own
/// (`request`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    Tenant,
    Request,
}

/// An issuer of JWTs (RFC 7519). A new one has exactly one of `secret`, `jwks`, `jwks_file` and `jwks_url`. One without
/// any of them keeps what the issuer of the same `issuer` and `audience` has.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer {
    /// The `iss` claim.
    pub(crate) issuer: String,
    /// What the `aud` claim must name.
    pub(crate) audience: String,
    /// The shared key of HS256. Never shown when it was given as a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<SecretSource>,
    /// A JSON Web Key Set (RFC 7517), as JSON text. Not shown when it holds more than public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jwks: Option<String>,
    /// A file with one. Only tenants.toml can name files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_file: Option<String>,
    /// Where one is fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jwks_url: Option<String>,
    /// How far clocks may differ, seconds; 30 when absent.
    #[serde(default = "clock_skew")]
    #[schema(minimum = 0, maximum = 300)]
    pub(crate) clock_skew_s: u64,
    /// The claim that names the user; `sub` when absent.
    #[serde(default = "subject")]
    pub(crate) user_claim: String,
}

/// A key of the tenant's at an upstream: where it belongs, how it is sent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamSecret {
    /// Scheme, host and port it is sent to, such as `https://api.example.com`.
    pub(crate) origin: String,
    /// The paths it is sent to: this one and those below it; `/` when absent.
    #[serde(default = "root_path")]
    pub(crate) path_prefix: String,
    /// The header field that holds it; `authorization` when absent.
    #[serde(default = "authorization")]
    pub(crate) header: String,
    /// What stands before the value in the field; `Bearer ` when absent.
    #[serde(default = "bearer")]
    pub(crate) prefix: String,
    /// The secret itself. Never shown when it was given as a value. Absent in a request: as it is, as long as the fields
    /// above stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<SecretSource>,
}

/// Where the value of a secret comes from. Requests give a `value`; only tenants.toml can name environment variables and
/// files of the host.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(min_properties = 1, max_properties = 1)]
pub(crate) struct SecretSource {
    /// The value itself.
    #[serde(default, skip_serializing_if = "never_shown")]
    #[schema(write_only, nullable = false)]
    pub(crate) value: Option<String>,
    /// The name of the environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) environment: Option<String>,
    /// The file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) file: Option<String>,
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretSource")
            .field("environment", &self.environment)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// An API key, without the key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    /// The part of the key that may be seen.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    /// What its holder may do.
    pub(crate) scopes: Vec<String>,
    /// When it was made, seconds since 1970.
    pub(crate) created_at: u64,
    /// From when on it no longer counts, seconds since 1970; null: never.
    pub(crate) expires_at: Option<u64>,
    /// When it was last used, seconds since 1970; null when that is not known.
    pub(crate) last_used_at: Option<u64>,
}

/// The API keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    pub(crate) keys: Vec<Key>,
}

/// A new API key: this answer is the only place where it is ever shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// The key itself.
    pub(crate) secret: String,
    /// What stays of it.
    pub(crate) key: Key,
}

/// An API key to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewKey {
    /// For people.
    #[schema(max_length = 200)]
    pub(crate) name: String,
    /// What its holder may do, told to functions.
    pub(crate) scopes: Vec<String>,
    /// How long it counts, seconds, ten years at most; absent or null: for ever.
    #[schema(minimum = 1, maximum = 315360000)]
    pub(crate) expires_in_s: Option<u64>,
}

/// How a key is replaced by a new one.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rotation {
    /// How long the old key still counts, seconds, thirty days at most; 0 when absent: it ends at once.
    #[schema(minimum = 0, maximum = 2592000)]
    pub(crate) grace_s: u64,
}

/// What was removed with a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Erasure {
    /// The tenant that was removed.
    pub(crate) tenant: String,
    /// What was erased, and that nothing is left.
    pub(crate) erased: crate::host::ErasureReport,
}

/// That the server serves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`
    pub(crate) status: &'static str,
}

/// Skips a field whatever it holds; `skip_serializing` would take it out of the document as well.
fn never_shown(_value: &Option<String>) -> bool {
    true
}

fn clock_skew() -> u64 {
    30
}

fn subject() -> String {
    "sub".to_owned()
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
