//! What only the application can know of a tenant's settings: which functions and variables there are.

use std::sync::Arc;
use waggle_egress::Credential;
use waggle_manifest::{Manifest, OutboundHost, Variables};
use waggle_secret::Secret;
use waggle_tenancy::{FieldMistake, Tenant, TenantSettings};

/// The variable by which functions learn which models a tenant may use.
pub(crate) const MODELS_VARIABLE: &str = "models";

/// Checks settings against the application.
pub(crate) struct TenantChecks {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) variables: Arc<Variables>,
}

impl TenantChecks {
    /// Whether spin.toml declares that variable as secret.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.manifest.variables.iter().any(|variable| variable.name.value == name && variable.is_secret)
    }

    /// Every mistake.
    pub(crate) fn check(&self, tenant: &Tenant) -> Vec<FieldMistake> {
        let mut found = Vec::new();
        self.check_functions(tenant, &mut found);
        self.check_variables(tenant, &mut found);
        for (index, host) in tenant.settings.allowed_outbound_hosts.iter().flatten().enumerate() {
            if let Err(error) = OutboundHost::parse(host) {
                let path = ["allowed_outbound_hosts", &index.to_string()];
                found.push(FieldMistake::new(&path, format!("`{host}`: {}; {}", error.message, error.help)));
            }
        }
        for (name, secret) in &tenant.settings.secrets {
            let value = Secret::new("x");
            let made = Credential::new(&secret.origin, &secret.path_prefix, &secret.header, &value);
            if let Err(error) = made {
                found.push(FieldMistake::new(&["secrets", name], error.to_string()));
            }
        }
        found
    }

    fn check_functions(&self, tenant: &Tenant, found: &mut Vec<FieldMistake>) {
        let known: Vec<&str> = self.manifest.components.iter().map(|one| one.id.value.as_str()).collect();
        for (index, function) in tenant.settings.functions.iter().flatten().enumerate() {
            if !known.contains(&function.as_str()) {
                let path = ["functions", &index.to_string()];
                let message =
                    format!("the application has no function `{function}`; it has {}", known.join(", "));
                found.push(FieldMistake::new(&path, message));
            }
        }
    }

    fn check_variables(&self, tenant: &Tenant, found: &mut Vec<FieldMistake>) {
        let known: Vec<&str> = self.manifest.variables.iter().map(|one| one.name.value.as_str()).collect();
        for name in tenant.settings.variables.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!("the application has no variable `{name}`; it has {}", known.join(", "));
            found.push(FieldMistake::new(&["variables", name], message));
        }
        if tenant.settings.models.is_some() && !known.contains(&MODELS_VARIABLE) {
            let message = format!(
                "the application declares no variable `{MODELS_VARIABLE}`, so its functions would not heed this"
            );
            found.push(FieldMistake::new(&["models"], message));
        }
        // The registry has opened what is sealed; what did not open is not in force anyway.
        let own = tenant.settings.variables.iter();
        let own = own.filter_map(|(name, value)| Some((name.as_str(), value.as_plain()?)));
        let models = models(&tenant.settings);
        let models = models.as_deref().map(|models| (MODELS_VARIABLE, models));
        if found.is_empty()
            && let Err(mistakes) = self.variables.with_overrides(&self.manifest, own.chain(models))
        {
            for mistake in mistakes.iter() {
                found.push(FieldMistake::new(&["variables"], mistake.message.clone()));
            }
        }
    }
}

/// The value of [`MODELS_VARIABLE`]; none where the tenant may use all.
pub(crate) fn models(settings: &TenantSettings) -> Option<String> {
    settings.models.as_ref().map(|models| models.join(","))
}
