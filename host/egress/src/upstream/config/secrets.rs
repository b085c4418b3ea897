//! The keys of all upstreams, looked up and ready to be put on.

use std::fmt;
use std::sync::Arc;

use waggle_secret::Secret;

use super::{ConfigMistake, CredentialSource, UpstreamConfig, UpstreamsConfig};
use crate::credentials::Credentials;

/// The keys of upstreams, by the index of the upstream. The host's own are looked up once; those of a tenant once when it
/// comes into force. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct UpstreamCredentials(Arc<[Option<Arc<Credentials>>]>);

impl UpstreamCredentials {
    /// What goes into [`crate::SendOptions::upstream_credentials`] for the upstream of this index, if it has a key here.
    #[must_use]
    pub fn get(&self, upstream: usize) -> Option<&Arc<Credentials>> {
        self.0.get(upstream)?.as_ref()
    }
}

impl UpstreamsConfig {
    /// Looks up the keys that are the host's own, from its environment and files. `look_up` is asked for these two sources
    /// only; its error must not hold a secret.
    ///
    /// # Errors
    /// Every key that cannot be had or cannot be sent as it is configured.
    pub fn host_credentials<E: fmt::Display>(
        &self,
        mut look_up: impl FnMut(&CredentialSource) -> Result<Secret, E>,
    ) -> Result<UpstreamCredentials, Vec<ConfigMistake>> {
        let is_of_host = |upstream: &UpstreamConfig| upstream.tenant_secret().is_none();
        let (credentials, mistakes) = self.collect(|upstream| match &upstream.credential {
            Some(config) if is_of_host(upstream) => {
                look_up(&config.source).map(Some).map_err(|error| error.to_string())
            }
            _ => Ok(None),
        });
        if mistakes.is_empty() { Ok(credentials) } else { Err(mistakes) }
    }

    /// Takes the keys that are secrets of `tenant`, by their names, for the upstreams it may use. A secret that it does not
    /// have, or that cannot be sent as the upstream wants it, leaves that upstream without a key, so that it cannot be
    /// called for this tenant. Each of the latter is told; the other upstreams have their keys all the same.
    pub fn tenant_credentials(
        &self,
        tenant: &str,
        look_up: impl Fn(&str) -> Option<Secret>,
    ) -> (UpstreamCredentials, Vec<ConfigMistake>) {
        self.collect(|upstream| {
            let name = upstream.tenant_secret().filter(|_| upstream.is_open_to(tenant));
            Ok(name.and_then(&look_up))
        })
    }

    /// All keys that can be had and sent, and what is wrong with the others.
    fn collect(
        &self,
        mut secret_of: impl FnMut(&UpstreamConfig) -> Result<Option<Secret>, String>,
    ) -> (UpstreamCredentials, Vec<ConfigMistake>) {
        let mut mistakes = Vec::new();
        let mut all = Vec::with_capacity(self.upstreams.len());
        for (name, upstream) in &self.upstreams {
            let made = secret_of(upstream).and_then(|secret| match secret {
                Some(secret) => upstream.credentials(&secret).map_err(|error| error.to_string()),
                None => Ok(None),
            });
            let credentials = made.unwrap_or_else(|message| {
                mistakes.push(ConfigMistake::new(&["upstream", name.as_str(), "credential"], message));
                None
            });
            all.push(credentials.map(Arc::new));
        }
        (UpstreamCredentials(all.into()), mistakes)
    }
}
