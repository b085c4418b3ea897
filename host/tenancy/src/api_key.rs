//! API keys: how one looks, what is kept of it.

use serde::{Deserialize, Serialize};

/// What is kept of an API key. The key itself is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The part of the key that may be seen, and by which it is found.
    pub id: String,
    /// SHA-256 of the whole key, hexadecimal.
    pub hash: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// What its holder may do, told to functions.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it was made, seconds since 1970.
    #[serde(default)]
    pub created_at: u64,
    /// From when on it no longer counts, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}
