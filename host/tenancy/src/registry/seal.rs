//! Secrets on their way into the store.

use super::SecretVariables;
use crate::{FieldMistake, SealingError, SealingKey, SecretSource, Tenant, TenantVariable};
use std::path::Path;

/// What a tenant of the store cannot name: whoever may change tenants is not thereby one who may read files and
/// environment of the host, and have them sent to an upstream of their choice.
pub(super) fn only_inline(tenant: &Tenant) -> Vec<FieldMistake> {
    let mut mistakes = Vec::new();
    let mut refuse = |path: &[&str], instead: &str| {
        let message = format!("only tenants of tenants.toml name files and variables of the host; {instead}");
        mistakes.push(FieldMistake::new(path, message));
    };
    for (name, secret) in &tenant.settings.secrets {
        if !secret.secret.is_inline() {
            refuse(&["secrets", name, "secret"], "give the `value`, which is stored encrypted");
        }
    }
    for (index, issuer) in tenant.settings.issuers.iter().enumerate() {
        let index = index.to_string();
        if issuer.secret.as_ref().is_some_and(|source| !source.is_inline()) {
            refuse(&["issuers", &index, "secret"], "give the `value`, which is stored encrypted");
        }
        if issuer.jwks_file.is_some() {
            refuse(&["issuers", &index, "jwks_file"], "give `jwks` or `jwks_url`");
        }
    }
    mistakes
}

/// The tenant with each secret value sealed, those of secret variables as well. What is sealed already stays as it is: the directory finds out whether it opens.
pub(super) fn sealed(
    mut tenant: Tenant,
    key: &SealingKey,
    secret_variables: &SecretVariables,
) -> Result<Tenant, SealingError> {
    let settings = &mut tenant.settings;
    let of_upstreams = settings.secrets.values_mut().map(|secret| &mut secret.secret);
    let of_issuers = settings.issuers.iter_mut().filter_map(|issuer| issuer.secret.as_mut());
    for source in of_upstreams.chain(of_issuers) {
        if matches!(source, SecretSource::Value(_)) {
            // Reading takes the line end away. An empty value has been refused before.
            let Ok(value) = source.read(Path::new("")) else { continue };
            *source = SecretSource::Sealed(key.seal(&tenant.id, value.expose())?);
        }
    }
    for (name, variable) in &mut settings.variables {
        if let TenantVariable::Plain(value) = variable
            && secret_variables(name)
        {
            *variable = TenantVariable::Sealed(key.seal(&tenant.id, value)?);
        }
    }
    Ok(tenant)
}

/// The tenant with its variables opened, for checks of their values. One that does not open is left out: the directory
/// says so.
pub(super) fn with_variables_opened(tenant: &Tenant, key: &SealingKey) -> Tenant {
    let mut opened = tenant.clone();
    opened.settings.variables.retain(|_name, variable| match variable {
        TenantVariable::Plain(_) => true,
        TenantVariable::Sealed(sealed) => match key.open(&tenant.id, sealed) {
            Ok(value) => {
                *variable = value.expose().into();
                true
            }
            Err(_) => false,
        },
    });
    opened
}
