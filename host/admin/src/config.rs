//! The `[admin]` slice of the runtime configuration.

use crate::key::{AdminKey, AdminKeyError};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use waggle_secret::Secret;

/// Where the admin API listens and what opens it. Every field has a default, so an empty `[admin]` is valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where it listens; `127.0.0.1:0` by default, a free port of the loopback interface. It speaks plain HTTP: on
    /// another address, put a TLS proxy before it.
    pub listen: SocketAddr,
    /// The environment variable that holds the admin key. Not together with `key_file`.
    pub key_environment: Option<String>,
    /// The file that holds the admin key, made with a fresh key when it is missing. By default, `admin-key` in the
    /// state folder.
    pub key_file: Option<PathBuf>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), key_environment: None, key_file: None }
    }
}

impl AdminConfig {
    /// Says what contradicts itself, if something does.
    ///
    /// # Errors
    /// A sentence that names the fields.
    pub fn validate(&self) -> Result<(), String> {
        if self.key_environment.is_some() && self.key_file.is_some() {
            return Err("`key_environment` and `key_file` are both given; the admin key has one place".into());
        }
        Ok(())
    }

    /// The key, from where the configuration says, else from [`KEY_FILE`](crate::KEY_FILE) in `state_dir`. A relative
    /// `key_file` is relative to `config_dir`.
    ///
    /// # Errors
    /// When it cannot be read or made, or is too short.
    pub fn key(&self, config_dir: &Path, state_dir: &Path) -> Result<AdminKey, AdminKeyError> {
        if let Some(variable) = &self.key_environment {
            let value = std::env::var(variable)
                .map_err(|_absent| AdminKeyError::Environment { variable: variable.clone() })?;
            return AdminKey::new(&Secret::new(value));
        }
        match &self.key_file {
            Some(file) => AdminKey::load_or_create(&config_dir.join(file)),
            None => AdminKey::load_or_create(&state_dir.join(crate::KEY_FILE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_listens_on_loopback_only() {
        let config: AdminConfig = toml::from_str("").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:0");
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn mistakes_are_told() {
        let error = toml::from_str::<AdminConfig>("lisen = '127.0.0.1:1'").unwrap_err().to_string();
        assert!(error.contains("unknown field `lisen`"), "{error}");
        let both: AdminConfig = toml::from_str("key_environment = 'A'\nkey_file = 'b'").unwrap();
        assert!(both.validate().unwrap_err().contains("`key_file`"));
    }

    #[test]
    fn a_key_in_a_variable_that_is_not_set_is_an_error_that_names_it() {
        let config = AdminConfig {
            key_environment: Some("WAGGLE_TEST_NO_SUCH_VARIABLE".into()),
            ..AdminConfig::default()
        };
        let error = config.key(Path::new(""), Path::new("")).unwrap_err().to_string();
        assert!(error.contains("WAGGLE_TEST_NO_SUCH_VARIABLE"), "{error}");
    }

    #[test]
    fn a_key_file_is_beside_the_configuration_and_the_default_one_in_the_state_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, state) = (dir.path().join("conf"), dir.path().join("state"));
        std::fs::create_dir(&conf).unwrap();
        AdminConfig::default().key(&conf, &state).unwrap();
        assert!(state.join(crate::KEY_FILE).is_file(), "the state folder is made when it is missing");
        let config = AdminConfig { key_file: Some("k".into()), ..AdminConfig::default() };
        config.key(&conf, &state).unwrap();
        assert!(conf.join("k").is_file());
    }
}
