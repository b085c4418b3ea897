//! A tenant in force: its settings with everything that a request needs worked out in advance.

use super::resolve::{resolve_issuers, resolve_secrets, resolve_variables};
use super::{DirectoryConfig, Origin};
use crate::api_key::{CredentialHash, KeyId};
use crate::jwt::IssuerEntry;
use crate::meter::Meter;
use crate::{ApiKey, FieldMistake, Limits, Tenant, TenantId, TenantSettings, TenantState, UpstreamSecret};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use waggle_secret::Secret;

/// A tenant in force. It never changes: a changed tenant has another entry.
pub struct TenantEntry {
    /// What was configured.
    pub tenant: Arc<Tenant>,
    /// Where it is written down.
    pub origin: Origin,
    /// What it may use up: its own limits, the host's where it has none.
    pub limits: Limits,
    /// What it is using up. The same over all entries of a tenant.
    pub meter: Arc<Meter>,
    /// Grows with each change of the tenant and is never given twice, not even to a tenant that was removed and came back.
    /// It counts on this host and from its start.
    pub revision: u64,
    pub(crate) keys: Vec<KeyInForce>,
    pub(super) issuers: Vec<IssuerEntry>,
    secrets: Vec<(UpstreamSecret, Secret)>,
    /// The values of the variables that are sealed in the settings.
    opened: BTreeMap<String, Secret>,
}

/// An API key, ready to be compared.
pub(crate) struct KeyInForce {
    pub(crate) id: KeyId,
    pub(crate) hash: CredentialHash,
    pub(crate) scopes: Arc<str>,
    pub(crate) expires_at_s: Option<u64>,
    /// Seconds since 1970; 0 for never. The same over all entries of a tenant.
    pub(crate) last_used_s: Arc<AtomicU64>,
}

/// What a tenant's settings come to.
pub(super) enum Built {
    /// The entry in force still says it all.
    Unchanged,
    /// The next entry.
    Fresh(Arc<TenantEntry>),
}

impl TenantEntry {
    /// Whether its requests are served.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.tenant.settings.state == TenantState::Active
    }

    /// The keys of upstreams, each with its value.
    #[must_use]
    pub fn upstream_secrets(&self) -> &[(UpstreamSecret, Secret)] {
        &self.secrets
    }

    /// The tenant's own values of application variables, sealed ones opened.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tenant.settings.variables.iter().filter_map(|(name, variable)| {
            let value = variable.as_plain().or_else(|| self.opened.get(name).map(Secret::expose));
            Some((name.as_str(), value?))
        })
    }

    /// When this host last accepted the API key `id`, seconds since 1970; nothing if it never has.
    #[must_use]
    pub fn last_used(&self, id: &str) -> Option<u64> {
        let id = KeyId::new(id)?;
        let key = self.keys.iter().find(|key| key.id == id)?;
        Some(key.last_used_s.load(Ordering::Relaxed)).filter(|&seconds| seconds > 0)
    }

    /// The entry of the built-in tenant `default`.
    pub(super) fn of_default(limits: Limits) -> Self {
        let tenant = Tenant { id: TenantId::default_tenant(), settings: TenantSettings::default() };
        Self {
            tenant: Arc::new(tenant),
            origin: Origin::File,
            limits,
            meter: Meter::new(limits),
            revision: 0,
            keys: Vec::new(),
            issuers: Vec::new(),
            secrets: Vec::new(),
            opened: BTreeMap::new(),
        }
    }

    /// What follows on `before`. Secrets are read again even if the settings are the same, since what they name may have
    /// changed.
    pub(super) fn build(
        tenant: &Arc<Tenant>,
        origin: Origin,
        before: Option<&Arc<Self>>,
        revision: u64,
        config: &DirectoryConfig,
    ) -> Result<Built, Vec<FieldMistake>> {
        let same = before.filter(|entry| Arc::ptr_eq(&entry.tenant, tenant) || entry.tenant == *tenant);
        let mut mistakes = if same.is_some() { Vec::new() } else { tenant.check() };
        let secrets = resolve_secrets(tenant, config, &mut mistakes);
        let issuers = resolve_issuers(tenant, config, &mut mistakes);
        let opened = resolve_variables(tenant, config, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if same.is_some_and(|entry| {
            entry.secrets == secrets && entry.issuers == issuers && entry.opened == opened
        }) {
            return Ok(Built::Unchanged);
        }
        let limits = tenant.settings.limits.or(config.defaults);
        let keys = tenant.settings.api_keys.iter();
        Ok(Built::Fresh(Arc::new(Self {
            tenant: Arc::clone(tenant),
            origin,
            limits,
            meter: before.map_or_else(|| Meter::new(limits), |entry| Arc::clone(&entry.meter)),
            revision,
            keys: keys.filter_map(|key| KeyInForce::new(key, before)).collect(),
            issuers,
            secrets,
            opened,
        })))
    }
}

impl KeyInForce {
    /// None for what [`Tenant::check`] does not let through.
    fn new(key: &ApiKey, before: Option<&Arc<TenantEntry>>) -> Option<Self> {
        let id = KeyId::new(&key.id)?;
        let used = before
            .and_then(|entry| entry.keys.iter().find(|key| key.id == id))
            .map(|key| Arc::clone(&key.last_used_s));
        Some(Self {
            id,
            hash: CredentialHash::from_hex(&key.hash)?,
            scopes: key.scopes.join(" ").into(),
            expires_at_s: key.expires_at,
            last_used_s: used.unwrap_or_default(),
        })
    }
}
