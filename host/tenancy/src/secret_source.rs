//! Where the value of a secret comes from.

use serde::{Deserialize, Serialize};

/// A secret's value: written down, in an environment variable, or in a file. Exactly one is given.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The value itself.
    Value(String),
    /// The name of the environment variable that holds it.
    Environment(String),
    /// The file that holds it; a line end after it does not count.
    File(String),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value([redacted])"),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
