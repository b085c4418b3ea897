//! JSON Web Tokens: who issued one, whether it counts, and what it says.
//!
//! RFC 7515 (JWS, compact serialisation), 7517 (keys), 7518 (HS256, RS256, ES256), 8037 (Ed25519) and 7519 (claims), read
//! as narrowly as RFC 8725 advises: the key decides the one algorithm it verifies, and nothing in a token chooses a key
//! of another tenant, or one that is not configured. No header but `alg`, `typ`, `kid`, `crit` and `b64` is looked at;
//! `jwk`, `jku` and `x5u` in particular never are.

mod claims;
mod compact;
mod freshness;
mod key;
mod key_set;
mod members;
mod mint;
mod source;
mod table;
#[cfg(test)]
mod tests;

pub use mint::{MintError, MintRequest, SigningKey, mint};
pub use table::{ISSUERS_PER_TENANT_MAX, IssuerEntry};

pub(crate) use key::HMAC_SECRET_BYTES_MIN;
pub(crate) use key_set::KeySet;

use crate::TenantId;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use compact::Compact;
use members::Members;
use source::Sources;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use table::Table;

/// The most bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What a token says about its bearer, once it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The tenant whose issuer verified the token.
    pub tenant: TenantId,
    /// The tenant's end user: 1 to 256 bytes of visible ASCII.
    pub user: Arc<str>,
    /// The session, if the token names one: 1 to 256 bytes of visible ASCII.
    pub session: Option<Arc<str>>,
    /// What the token allows, separated by single spaces (RFC 6749, section 3.3); at most 2,048 bytes, often none.
    pub scopes: Arc<str>,
    /// From this second since 1970 on [`TokenIssuers::verify`] refuses the token: its `exp`, rounded up, plus the clock
    /// difference that its issuer allows.
    pub expires_at_s: u64,
}

/// Why a token does not count. None of the messages holds a part of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token at all, or not one in the form that is accepted.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// No tenant has this issuer, or the tenant that the token names has not.
    #[error("the token's issuer is not one that this tenant has")]
    UnknownIssuer,
    /// None of the issuer's keys verifies it.
    #[error("no key of the issuer verifies the token's signature")]
    Signature,
    /// Its `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` or `iat` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A claim is absent, of the wrong type or out of its bounds.
    #[error("the token's claim `{0}` is missing or not as it must be")]
    Claim(&'static str),
    /// The issuer's keys cannot be had at the moment. That is no fault of the token's bearer.
    #[error("the issuer's keys are not available: {0}")]
    KeysUnavailable(String),
}

/// What came from the address of a key set.
#[derive(Clone, Debug)]
pub struct FetchedJwks {
    /// The key set, JSON text.
    pub body: Vec<u8>,
    /// How long it may be kept, seconds: `max-age` of `Cache-Control` (RFC 9111), if there was one.
    pub max_age_s: Option<u64>,
}

/// The way to key sets that are served by others.
#[async_trait]
pub trait JwksFetch: Send + Sync {
    /// Gets the key set at `url`. The caller gives up after 4.9 seconds and accepts at most 256 KiB.
    ///
    /// # Errors
    /// A sentence for the operator's log; it must hold no secret.
    async fn fetch(&self, url: &str) -> Result<FetchedJwks, String>;
}

/// All tenants' issuers. One per process; the tenants behind it change by [`TokenIssuers::replace`].
pub struct TokenIssuers {
    table: ArcSwap<Table>,
    /// Key sets by where they are, shared by all issuers that name the same place. Locked when issuers change, never
    /// by a request.
    sources: Mutex<Sources>,
    generation: Arc<AtomicU64>,
}

impl TokenIssuers {
    /// Starts without issuers: no token counts. Key sets with an address are had through `fetch`.
    #[must_use]
    pub fn new(fetch: Arc<dyn JwksFetch>) -> Arc<Self> {
        let generation = Arc::new(AtomicU64::new(0));
        Arc::new(Self {
            table: ArcSwap::from_pointee(Table::default()),
            sources: Mutex::new(Sources::new(fetch, Arc::clone(&generation))),
            generation,
        })
    }

    /// Puts these issuers in the place of all there were. An issuer whose keys are unusable only breaks itself: tokens
    /// of that issuer get [`TokenError::KeysUnavailable`]. What has been fetched is kept for those that still need it,
    /// and an issuer that has not changed is not read again.
    pub fn replace(&self, issuers: Vec<IssuerEntry>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let table = Table::build(issuers, &self.table.load(), &mut sources);
        self.table.store(Arc::new(table));
        sources.forget_unused();
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever a token's verdict may have changed for another reason than time: issuers were replaced, or a
    /// key set that is a file or is fetched turned out to be another one. For caches of verdicts: read it before
    /// [`TokenIssuers::verify`], and take a verdict from the cache only while it is the same.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Says whose token this is, if it counts at `now_s`, seconds since 1970. It waits only for keys that have to be
    /// fetched, at most 5 seconds.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        let compact = Compact::parse(token)?;
        let payload = std::str::from_utf8(&compact.payload)
            .map_err(|_| TokenError::Malformed("the payload is not UTF-8"))?;
        let payload = Members::parse(payload).map_err(TokenError::Malformed)?;
        let table = self.table.load_full();
        let candidates = table.candidates(&payload)?;
        let mut refusal = TokenError::Signature;
        for issuer in candidates {
            match issuer.verify_signature(&compact).await {
                Ok(()) => return claims::check(issuer, &payload, now_s),
                // It stands above a wrong signature: the key that would have verified may be among the missing.
                Err(unavailable @ TokenError::KeysUnavailable(_)) => refusal = unavailable,
                Err(_) => {}
            }
        }
        Err(refusal)
    }
}

/// Whether the key in `jwk` (RFC 7517, JSON text, symmetric ones included) verifies the signature of `token`, whatever
/// its payload is: the layer below the claims, for tests with published vectors.
///
/// # Errors
/// Why it does not.
#[doc(hidden)]
pub fn verify_signature(jwk: &str, token: &str) -> Result<(), TokenError> {
    let keys = KeySet::of_one(jwk).map_err(TokenError::KeysUnavailable)?;
    let compact = Compact::parse(token)?;
    match keys.verify(&compact) {
        key_set::Verdict::Verified => Ok(()),
        key_set::Verdict::Refused | key_set::Verdict::UnknownKid => Err(TokenError::Signature),
    }
}
