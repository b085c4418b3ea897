//! JSON Web Tokens: who issued one, whether it counts, and what it says.

use crate::{Issuer, TenantId};
use async_trait::async_trait;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use waggle_secret::Secret;

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

/// What came from the address of a key set.
#[derive(Clone, Debug)]
pub struct FetchedJwks {
    /// The key set, JSON text.
    pub body: Vec<u8>,
    /// How long it may be kept, seconds.
    pub max_age_s: Option<u64>,
}

/// Fetches key sets.
#[async_trait]
pub trait JwksFetch: Send + Sync {
    /// The key set at `url`, as text.
    async fn fetch(&self, url: &str) -> Result<FetchedJwks, String>;
}

/// The issuers of all tenants.
pub struct TokenIssuers {
    issuers: RwLock<Vec<IssuerEntry>>,
    generation: AtomicU64,
}

/// What a verified token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Whose issuer it is.
    pub tenant: TenantId,
    /// The tenant's end user.
    pub user: Arc<str>,
    /// The session, if it names one.
    pub session: Option<Arc<str>>,
    /// What it allows, separated by spaces.
    pub scopes: Arc<str>,
    /// From when on it does not count, seconds since 1970.
    pub expires_at_s: u64,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    #[error("the token's issuer and audience are not known")]
    UnknownIssuer,
    #[error("the token's signature does not match")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token's claim `{0}` is missing or malformed")]
    Claim(&'static str),
    #[error("the issuer's keys cannot be had: {0}")]
    KeysUnavailable(String),
}

impl Issuer {
    /// Says what is wrong with it, if something is.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.issuer.is_empty() { Err("`issuer` is empty".to_owned()) } else { Ok(()) }
    }
}

impl TokenIssuers {
    /// No issuers yet.
    #[must_use]
    pub fn new(fetch: Arc<dyn JwksFetch>) -> Arc<Self> {
        drop(fetch);
        Arc::new(Self { issuers: RwLock::new(Vec::new()), generation: AtomicU64::new(0) })
    }

    /// Takes `issuers` in the place of those before.
    pub fn replace(&self, issuers: Vec<IssuerEntry>) {
        *self.issuers.write().unwrap_or_else(PoisonError::into_inner) = issuers;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Grows with each change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Verifies `token` at `now_s`.
    ///
    /// # Errors
    /// Why it does not count.
    pub async fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for IssuerEntry { tenant, issuer, secret } in issuers {
            let Some(secret) = &secret else { continue };
            let mut validation = Validation::new(Algorithm::HS256);
            validation.set_issuer(&[&issuer.issuer]);
            validation.set_audience(&[&issuer.audience]);
            validation.validate_exp = false;
            let key = DecodingKey::from_secret(secret.expose().as_bytes());
            let Ok(data) = decode::<serde_json::Value>(token, &key, &validation) else { continue };
            let text = |claim: &str| data.claims.get(claim).and_then(|value| value.as_str()).map(Arc::from);
            let expires_at_s =
                data.claims.get("exp").and_then(serde_json::Value::as_u64).ok_or(TokenError::Claim("exp"))?;
            if expires_at_s <= now_s {
                return Err(TokenError::Expired);
            }
            let user = text("sub").ok_or(TokenError::Claim("sub"))?;
            let scopes = text("scope").unwrap_or_default();
            return Ok(Claims { tenant, user, session: text("session"), scopes, expires_at_s });
        }
        Err(TokenError::UnknownIssuer)
    }
}
