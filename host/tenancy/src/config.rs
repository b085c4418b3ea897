//! The `[tenancy]` slice of the runtime configuration.

use crate::Limits;
use serde::Deserialize;
use std::path::PathBuf;

/// Where tenants are written down, and what those get that say nothing. Every field has a default, so an empty
/// `[tenancy]` is valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenancyConfig {
    /// tenants.toml, read again whenever it changes; relative to the runtime configuration. Absent: tenants are in the
    /// store only.
    pub file: Option<PathBuf>,
    /// The store that holds the tenants of the admin API. Hosts that share it share them.
    pub store: String,
    /// The limits of a tenant that sets none. Where these say nothing either, a tenant's instances have a quarter of the
    /// machine's memory, and its requests half of the host's `concurrent_requests_max`.
    pub limits: Limits,
    /// The environment variable with the key (32 bytes, base64) that seals tenants' secrets in the store. Absent: a file
    /// `sealing-key` in the state folder, made when it is missing. Hosts that share a store need the same key.
    pub sealing_key_environment: Option<String>,
    /// Where the log files of tenants with `log_file = true` are; relative to the runtime configuration. Absent: `logs`
    /// in the state folder.
    pub log_folder: Option<PathBuf>,
}

impl Default for TenancyConfig {
    fn default() -> Self {
        Self {
            file: None,
            store: "default".to_owned(),
            limits: Limits::default(),
            sealing_key_environment: None,
            log_folder: None,
        }
    }
}
