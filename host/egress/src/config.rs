//! The `[egress]` part of the runtime configuration, with its bounds and defaults.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::credentials::Credential;

/// The longest connect timeout, in milliseconds: ten minutes.
const CONNECT_TIMEOUT_MS_MAX: u64 = 600_000;

/// The longest of the other timeouts, in milliseconds: one hour. What a function asks for is cut to it as well.
pub(crate) const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// The most idle connections that can be kept for one host.
const IDLE_CONNECTIONS_PER_HOST_MAX: u64 = 4096;

/// How calls go out. All durations are in milliseconds; a value out of its bounds is refused where it stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// How long a call waits for a connection: lookup, TCP and TLS together. 1 to 600,000; 5,000 by default.
    #[serde(deserialize_with = "between::<_, 1, CONNECT_TIMEOUT_MS_MAX>")]
    pub connect_timeout_ms: u64,
    /// How long a call waits for the head of the response. 1 to 3,600,000; 60,000 by default.
    #[serde(deserialize_with = "between::<_, 1, TIMEOUT_MS_MAX>")]
    pub first_byte_timeout_ms: u64,
    /// How long a response may pause. 1 to 3,600,000; 60,000 by default.
    #[serde(deserialize_with = "between::<_, 1, TIMEOUT_MS_MAX>")]
    pub between_bytes_timeout_ms: u64,
    /// How many idle connections are kept for one host. 0 (a connection for each call) to 4,096; 64 by default.
    #[serde(deserialize_with = "between::<_, 0, IDLE_CONNECTIONS_PER_HOST_MAX>")]
    pub idle_connections_per_host_max: u64,
    /// How long an idle connection is kept. 1 to 3,600,000; 30,000 by default.
    #[serde(deserialize_with = "between::<_, 1, TIMEOUT_MS_MAX>")]
    pub idle_timeout_ms: u64,
    /// A PEM file with certificates to trust beside the public ones, such as those of a company.
    pub extra_roots_file: Option<PathBuf>,
    /// The operator's secrets and where they belong. Never read from the `[egress]` table: secrets have their own source.
    #[serde(skip)]
    pub credentials: Vec<Credential>,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 5_000,
            first_byte_timeout_ms: 60_000,
            between_bytes_timeout_ms: 60_000,
            idle_connections_per_host_max: 64,
            idle_timeout_ms: 30_000,
            extra_roots_file: None,
            credentials: Vec::new(),
        }
    }
}

/// Why egress cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("egress.{key} must be {min} to {max}, found {found}")]
    OutOfBounds { key: &'static str, min: u64, max: u64, found: u64 },
    #[error("egress.extra_roots_file: cannot read certificates from {}: {reason}", path.display())]
    ExtraRoots { path: PathBuf, reason: String },
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl EgressConfig {
    /// Checks the bounds once more, for a configuration that was built in code.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let rules = [
            ("connect_timeout_ms", self.connect_timeout_ms, 1, CONNECT_TIMEOUT_MS_MAX),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms, 1, TIMEOUT_MS_MAX),
            ("between_bytes_timeout_ms", self.between_bytes_timeout_ms, 1, TIMEOUT_MS_MAX),
            ("idle_timeout_ms", self.idle_timeout_ms, 1, TIMEOUT_MS_MAX),
            (
                "idle_connections_per_host_max",
                self.idle_connections_per_host_max,
                0,
                IDLE_CONNECTIONS_PER_HOST_MAX,
            ),
        ];
        match rules.into_iter().find(|(_, found, min, max)| !(min..=max).contains(&found)) {
            Some((key, found, min, max)) => Err(ConfigError::OutOfBounds { key, min, max, found }),
            None => Ok(()),
        }
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
}

/// Reads a number and says what it should have been where it stands, so that the reader of the file gets line and column.
pub(crate) fn between<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<u64, D::Error> {
    let found = i64::deserialize(deserializer)?;
    match u64::try_from(found) {
        Ok(value) if (MIN..=MAX).contains(&value) => Ok(value),
        _ => Err(de::Error::custom(format_args!("expected a number from {MIN} to {MAX}, found {found}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_gives_the_defaults() {
        let config: EgressConfig = toml::from_str("").unwrap();
        assert_eq!(config.connect_timeout_ms, 5_000);
        assert_eq!(config.first_byte_timeout_ms, 60_000);
        assert!(config.check().is_ok());
    }

    #[test]
    fn every_key_is_read() {
        let text = "connect_timeout_ms = 1\nfirst_byte_timeout_ms = 2\nbetween_bytes_timeout_ms = 3\n\
                    idle_connections_per_host_max = 0\nidle_timeout_ms = 5\nextra_roots_file = 'a.pem'\n";
        let config: EgressConfig = toml::from_str(text).unwrap();
        assert_eq!((config.connect_timeout_ms, config.first_byte_timeout_ms), (1, 2));
        assert_eq!((config.between_bytes_timeout_ms, config.idle_timeout_ms), (3, 5));
        assert_eq!(config.idle_connections_per_host_max, 0);
        assert_eq!(config.extra_roots_file, Some(PathBuf::from("a.pem")));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_was_expected() {
        fn check(text: &str, parts: &[&str]) {
            let message = toml::from_str::<EgressConfig>(text).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message} lacks {part:?}");
            }
        }
        check("\nconnect_timeout_ms = 0", &["line 2", "from 1 to 600000, found 0"]);
        check("connect_timeout_ms = 600001", &["line 1", "found 600001"]);
        check("idle_timeout_ms = -1", &["found -1"]);
        check("idle_connections_per_host_max = 4097", &["from 0 to 4096"]);
        check("first_byte_timeout_ms = '60s'", &["line 1", "60s"]);
        check("conect_timeout_ms = 1", &["unknown field `conect_timeout_ms`", "`connect_timeout_ms`"]);
        check("credentials = []", &["unknown field `credentials`"]);
    }

    #[test]
    fn a_configuration_built_in_code_is_held_to_the_same_bounds() {
        let config = EgressConfig { idle_timeout_ms: 0, ..EgressConfig::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "egress.idle_timeout_ms must be 1 to 3600000, found 0"
        );
    }
}
