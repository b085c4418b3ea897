//! All issuers of all tenants, and which of them may vouch for a token.

use super::TokenError;
use super::claims;
use super::compact::Compact;
use super::key_set::{KeySet, Verdict};
use super::members::Members;
use super::source::{Place, Source, Sources};
use crate::{Issuer, TenantId};
use std::collections::HashMap;
use std::sync::Arc;
use waggle_secret::Secret;

/// The most issuers of one tenant; of more, the first count.
pub const ISSUERS_PER_TENANT_MAX: usize = 8;

/// An issuer of a tenant's, its secret resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerEntry {
    /// Whose users it vouches for.
    pub tenant: TenantId,
    /// What was configured.
    pub issuer: Issuer,
    /// The value of [`Issuer::secret`], where it has one and that could be read.
    pub secret: Option<Secret>,
}

/// One issuer of one tenant, ready to verify.
pub(super) struct Trusted {
    pub(super) entry: IssuerEntry,
    keys: Keys,
}

enum Keys {
    Fixed(KeySet),
    Elsewhere(Arc<Source>),
    /// What is wrong with what was configured.
    Unusable(Arc<str>),
}

/// All issuers. Made anew whenever tenants change, and then only read.
#[derive(Default)]
pub(super) struct Table {
    by_tenant: HashMap<TenantId, Vec<Arc<Trusted>>>,
    /// Whose users a token of an issuer for an audience speaks of, where it does not say.
    owners: HashMap<Arc<str>, HashMap<Arc<str>, Owner>>,
}

#[derive(Clone, PartialEq)]
enum Owner {
    One(TenantId),
    Several,
}

impl Table {
    /// The table of `entries`; what `before` has of them is taken over.
    pub(super) fn build(entries: Vec<IssuerEntry>, before: &Self, sources: &mut Sources) -> Self {
        let mut table = Self::default();
        for entry in entries {
            let own = table.by_tenant.entry(entry.tenant.clone()).or_default();
            if own.len() == ISSUERS_PER_TENANT_MAX {
                tracing::warn!(tenant = %entry.tenant, "more than {ISSUERS_PER_TENANT_MAX} issuers; the rest is not used");
                continue;
            }
            let known = before.by_tenant.get(&entry.tenant);
            let known = known.and_then(|all| all.iter().find(|trusted| trusted.entry == entry));
            let trusted = known.map_or_else(|| Arc::new(Trusted::new(entry, sources)), Arc::clone);
            own.push(Arc::clone(&trusted));
            table.note_owner(&trusted.entry);
        }
        table
    }

    fn note_owner(&mut self, entry: &IssuerEntry) {
        self.owners
            .entry(Arc::from(&*entry.issuer.issuer))
            .or_default()
            .entry(Arc::from(&*entry.issuer.audience))
            .and_modify(|owner| {
                if *owner != Owner::One(entry.tenant.clone()) {
                    *owner = Owner::Several;
                }
            })
            .or_insert_with(|| Owner::One(entry.tenant.clone()));
    }

    /// The issuers that may vouch for a token with this payload: all of one tenant's. Nothing here is trusted yet; what
    /// is chosen is whose keys the token has to be signed with.
    pub(super) fn candidates(&self, payload: &Members<'_>) -> Result<Vec<&Trusted>, TokenError> {
        let issuer = claims::issuer(payload)?;
        let audiences = claims::audiences(payload)?;
        let tenant = match claims::tenant(payload)? {
            Some(tenant) => tenant,
            None => self.only_owner(&issuer, &audiences)?,
        };
        let mut of_issuer = self
            .by_tenant
            .get(&tenant)
            .into_iter()
            .flatten()
            .filter(|trusted| trusted.entry.issuer.issuer == issuer)
            .peekable();
        if of_issuer.peek().is_none() {
            return Err(TokenError::UnknownIssuer);
        }
        let meant =
            |trusted: &&Arc<Trusted>| audiences.iter().any(|name| *name == trusted.entry.issuer.audience);
        let candidates: Vec<&Trusted> = of_issuer.filter(meant).map(|trusted| &**trusted).collect();
        if candidates.is_empty() { Err(TokenError::Claim("aud")) } else { Ok(candidates) }
    }

    /// The tenant of a token that names none. If it could be one of several, it must name it.
    fn only_owner(&self, issuer: &str, audiences: &[impl AsRef<str>]) -> Result<TenantId, TokenError> {
        let by_audience = self.owners.get(issuer).ok_or(TokenError::UnknownIssuer)?;
        let mut only: Option<&TenantId> = None;
        for owner in audiences.iter().filter_map(|audience| by_audience.get(audience.as_ref())) {
            match owner {
                Owner::One(tenant) if only.is_none_or(|only| only == tenant) => only = Some(tenant),
                Owner::One(_) | Owner::Several => return Err(TokenError::Claim("tenant")),
            }
        }
        only.cloned().ok_or(TokenError::Claim("aud"))
    }
}

impl Trusted {
    fn new(entry: IssuerEntry, sources: &mut Sources) -> Self {
        let keys = Keys::of(&entry, sources).unwrap_or_else(|problem| {
            let (tenant, issuer) = (&entry.tenant, &entry.issuer.issuer);
            tracing::warn!(%tenant, issuer, problem, "the keys of an issuer are not usable");
            Keys::Unusable(Arc::from(problem))
        });
        Self { entry, keys }
    }

    /// Whether one of this issuer's keys, and nobody else's, signed `token`.
    pub(super) async fn verify_signature(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        let verdict = match &self.keys {
            Keys::Fixed(keys) => keys.verify(token),
            Keys::Unusable(problem) => return Err(TokenError::KeysUnavailable(problem.to_string())),
            Keys::Elsewhere(source) => {
                let keys = source.keys().await?;
                match keys.verify(token) {
                    Verdict::UnknownKid => match source.keys_other_than(&keys).await {
                        Some(newer) => newer.verify(token),
                        None => Verdict::UnknownKid,
                    },
                    verdict => verdict,
                }
            }
        };
        match verdict {
            Verdict::Verified => Ok(()),
            Verdict::Refused | Verdict::UnknownKid => Err(TokenError::Signature),
        }
    }
}

impl Keys {
    fn of(entry: &IssuerEntry, sources: &mut Sources) -> Result<Self, String> {
        let issuer = &entry.issuer;
        issuer.check()?;
        if let Some(path) = &issuer.jwks_file {
            return Ok(Self::Elsewhere(sources.of(Place::File(path.as_str().into()))));
        }
        if let Some(url) = &issuer.jwks_url {
            return Ok(Self::Elsewhere(sources.of(Place::Url(url.as_str().into()))));
        }
        if let Some(text) = &issuer.jwks {
            return KeySet::parse(text).map(Self::Fixed);
        }
        let secret = entry.secret.as_ref().ok_or("the secret could not be read")?;
        KeySet::of_secret(secret.expose().as_bytes()).map(Self::Fixed)
    }
}
