//! Secrets of a tenant, read or opened when the tenant comes into force, so that no request waits for a file.

use super::DirectoryConfig;
use crate::jwt::IssuerEntry;
use crate::tenant::is_header_byte;
use crate::{FieldMistake, SealingError, SecretError, SecretSource, Tenant, TenantVariable, UpstreamSecret};
use std::collections::BTreeMap;
use waggle_secret::Secret;

/// The fewest bytes of a key of HS256 (RFC 7518, section 3.2).
const HS256_BYTES_MIN: usize = 32;

/// The upstream secrets with their values; what cannot be had becomes a mistake.
pub(super) fn resolve_secrets(
    tenant: &Tenant,
    config: &DirectoryConfig,
    mistakes: &mut Vec<FieldMistake>,
) -> Vec<(UpstreamSecret, Secret)> {
    let mut resolved = Vec::with_capacity(tenant.settings.secrets.len());
    for (name, secret) in &tenant.settings.secrets {
        let path = ["secrets", name, "secret"];
        match value(tenant, &secret.secret, config) {
            Ok(value) if value.expose().bytes().all(is_header_byte) => {
                resolved.push((secret.clone(), value));
            }
            Ok(_) => mistakes.push(FieldMistake::new(
                &path,
                "the value holds a character that no header field can, such as a line end inside of it",
            )),
            Err(message) => mistakes.push(FieldMistake::new(&path, message)),
        }
    }
    resolved
}

/// The issuers, their shared keys read and their files given by whole paths.
pub(super) fn resolve_issuers(
    tenant: &Tenant,
    config: &DirectoryConfig,
    mistakes: &mut Vec<FieldMistake>,
) -> Vec<IssuerEntry> {
    let mut resolved = Vec::with_capacity(tenant.settings.issuers.len());
    for (index, issuer) in tenant.settings.issuers.iter().enumerate() {
        let mut issuer = issuer.clone();
        let mut secret = None;
        if let Some(source) = &issuer.secret {
            match value(tenant, source, config) {
                Ok(value) if value.expose().len() >= HS256_BYTES_MIN => secret = Some(value),
                Ok(value) => {
                    let length = value.expose().len();
                    let path = ["issuers", &index.to_string(), "secret"];
                    let message =
                        format!("the value has {length} bytes; HS256 needs {HS256_BYTES_MIN} at least");
                    mistakes.push(FieldMistake::new(&path, message));
                }
                Err(message) => {
                    let path = ["issuers", &index.to_string(), "secret"];
                    mistakes.push(FieldMistake::new(&path, message));
                }
            }
        }
        if let Some(file) = &mut issuer.jwks_file {
            *file = config.base_dir.join(&*file).to_string_lossy().into_owned();
        }
        resolved.push(IssuerEntry { tenant: tenant.id.clone(), issuer, secret });
    }
    resolved
}

/// The values of the variables that are sealed.
pub(super) fn resolve_variables(
    tenant: &Tenant,
    config: &DirectoryConfig,
    mistakes: &mut Vec<FieldMistake>,
) -> BTreeMap<String, Secret> {
    let mut resolved = BTreeMap::new();
    for (name, variable) in &tenant.settings.variables {
        let TenantVariable::Sealed(sealed) = variable else { continue };
        let opened = match &config.sealing {
            Some(key) => key.open(&tenant.id, sealed).map_err(|error: SealingError| error.to_string()),
            None => Err(SecretError::Sealed.to_string()),
        };
        match opened {
            Ok(value) => drop(resolved.insert(name.clone(), value)),
            Err(message) => mistakes.push(FieldMistake::new(&["variables", name], message)),
        }
    }
    resolved
}

fn value(tenant: &Tenant, source: &SecretSource, config: &DirectoryConfig) -> Result<Secret, String> {
    match (source, &config.sealing) {
        (SecretSource::Sealed(sealed), Some(key)) => {
            key.open(&tenant.id, sealed).map_err(|error| error.to_string())
        }
        _ => source.read(&config.base_dir).map_err(|error| error.to_string()),
    }
}
