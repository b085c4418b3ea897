//! `[upstream.NAME]`: where an upstream is, its key, and, flat beside them, the keys of [`Policy`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use waggle_secret::Secret;

use super::api::Apis;
use super::base_url::{BaseUrl, Endpoint};
use super::credential::{CredentialConfig, CredentialSource};
use crate::client::Egress;
use crate::credentials::{Credential, CredentialError, Credentials};
use crate::transport::{HttpVersion, TransportError, TransportProfile};
use crate::upstream::policy::Policy;

/// All keys of an upstream: its own, which `Reader::read_own` reads, and those of [`Policy`].
const KEYS: &[&str] = &[
    "url",
    "endpoints",
    "api",
    "credential",
    "tenants",
    "http",
    "roots_file",
    "connect_timeout_ms",
    "first_byte_timeout_ms",
    "answer_timeout_ms",
    "between_bytes_timeout_ms",
    "total_timeout_ms",
    "attempts_max",
    "backoff_ms",
    "backoff_ms_max",
    "retries_per_100_calls",
    "retries_per_second_min",
    "breaker",
    "concurrency",
    "hedge",
];

/// A place that answers calls to models. What [`super::UpstreamsConfig`] holds has at least one endpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamConfig {
    /// Where it is. 1 to 16.
    pub endpoints: Vec<Endpoint>,
    /// By which APIs it can be asked.
    pub apis: Apis,
    /// Its key; none if it wants none.
    pub credential: Option<CredentialConfig>,
    /// The tenants that may use it; every tenant if `None`.
    pub tenants: Option<Vec<Arc<str>>>,
    /// Which version of HTTP is spoken.
    pub http: HttpVersion,
    /// A PEM file with certificates to trust beside those that every call trusts.
    pub roots_file: Option<PathBuf>,
    /// How calls are made.
    pub policy: Policy,
}

impl UpstreamConfig {
    /// An upstream of one endpoint for every tenant, without a key, with the defaults of everything else.
    #[must_use]
    pub fn at(url: BaseUrl) -> Self {
        Self { endpoints: vec![Endpoint::new(url)], ..Self::default() }
    }

    /// The credentials that put `secret` on calls to its endpoints, and on no others. None if it wants no key.
    ///
    /// # Errors
    /// When the secret cannot be sent as it is configured; it is not shown.
    pub fn credentials(&self, secret: &Secret) -> Result<Option<Credentials>, CredentialError> {
        let Some(config) = &self.credential else { return Ok(None) };
        let made: Result<Vec<Credential>, _> = self
            .endpoints
            .iter()
            .map(|endpoint| Credential::of_base(&endpoint.url, &config.place, secret))
            .collect();
        made.map(|credentials| Some(Credentials::new(credentials)))
    }

    /// The name of the tenant's secret that it wants, if its key is the tenant's.
    #[must_use]
    pub fn tenant_secret(&self) -> Option<&str> {
        match &self.credential.as_ref()?.source {
            CredentialSource::TenantSecret(name) => Some(name),
            CredentialSource::Environment(_) | CredentialSource::File(_) => None,
        }
    }

    /// Whether `tenant` may use it.
    #[must_use]
    pub fn is_open_to(&self, tenant: &str) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.iter().any(|one| **one == *tenant))
    }

    /// What goes into [`crate::SendOptions::transport`]: `None` where calls go as all others do. Reads the roots file.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn transport(&self, egress: &Egress) -> Result<Option<Arc<TransportProfile>>, TransportError> {
        if self.roots_file.is_none() && self.http == HttpVersion::Auto {
            return Ok(None);
        }
        egress.transport_profile(self.roots_file.as_deref(), self.http).map(Some)
    }

    /// Makes the names of its files relative to `folder`, unless they are absolute.
    pub(super) fn resolve_files(&mut self, folder: &Path) {
        if let Some(file) = &mut self.roots_file {
            *file = folder.join(&*file);
        }
        if let Some(CredentialConfig { source: CredentialSource::File(file), .. }) = &mut self.credential {
            *file = folder.join(&*file);
        }
    }
}

impl<'de> Deserialize<'de> for UpstreamConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("UpstreamConfig", KEYS, TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = UpstreamConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with `url`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UpstreamConfig, A::Error> {
        let mut config = UpstreamConfig::default();
        let mut url = None;
        let reader = Reader { map, config: &mut config, url: &mut url };
        config.policy = Policy::deserialize(MapAccessDeserializer::new(reader))?;
        if let Some(url) = url {
            if !config.endpoints.is_empty() {
                let message = "`url` and `endpoints` both say where the upstream is; keep one of them";
                return Err(de::Error::custom(message));
            }
            config.endpoints.push(Endpoint::new(url));
        }
        Ok(config)
    }
}

/// Reads the upstream's own keys off a table, and passes the others on to [`Policy`]. Serde's `flatten` would do it too, but
/// it knows neither unknown keys nor where a mistake stands.
struct Reader<'a, A> {
    map: A,
    config: &'a mut UpstreamConfig,
    url: &'a mut Option<BaseUrl>,
}

impl<'de, A: MapAccess<'de>> Reader<'_, A> {
    /// Reads the value of `key`, if it is the upstream's own.
    fn read_own(&mut self, key: &str) -> Result<bool, A::Error> {
        match key {
            "url" => *self.url = Some(self.map.next_value()?),
            "endpoints" => self.config.endpoints = self.map.next_value()?,
            "api" => self.config.apis = self.map.next_value()?,
            "credential" => self.config.credential = Some(self.map.next_value()?),
            "tenants" => {
                let tenants: Vec<String> = self.map.next_value()?;
                self.config.tenants = Some(tenants.into_iter().map(Arc::from).collect());
            }
            "http" => self.config.http = self.map.next_value()?,
            "roots_file" => self.config.roots_file = Some(self.map.next_value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Reader<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key_seed(KnownKey)? {
            if !self.read_own(key)? {
                return seed.deserialize(IntoDeserializer::<A::Error>::into_deserializer(key)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads one of [`KEYS`].
struct KnownKey;

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of an upstream")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<&'static str, E> {
        let known = KEYS.iter().find(|known| **known == key);
        known.copied().ok_or_else(|| E::unknown_field(key, KEYS))
    }
}
