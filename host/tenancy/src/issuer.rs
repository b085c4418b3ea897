//! Who may issue tokens for a tenant's users, as it is configured.

use crate::SecretSource;
use serde::{Deserialize, Serialize};

/// An issuer of JWTs (RFC 7519) for one tenant. Exactly one of `secret`, `jwks`, `jwks_file` and `jwks_url` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` claim, compared byte by byte.
    pub issuer: String,
    /// What the `aud` claim must name.
    pub audience: String,
    /// The shared key of HS256, 32 bytes at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// A JSON Web Key Set (RFC 7517), as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// A file with one, read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    /// Where one is fetched from: `https`, or `http` to a loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// How far clocks may differ, seconds; 0 to 300.
    #[serde(default = "clock_skew")]
    pub clock_skew_s: u64,
    /// The claim that names the user.
    #[serde(default = "subject")]
    pub user_claim: String,
}

fn clock_skew() -> u64 {
    30
}

fn subject() -> String {
    "sub".to_owned()
}
