//! From a credential to a caller.
//!
//! API keys are looked up each time: their hash is the whole check, and as cheap as asking a cache. Tokens that were
//! verified are remembered by their hash, never by their text, and count as long as nothing has changed that could make
//! them not count: the tenant's entry, the issuers, or the time.

use crate::Caller;
#[cfg(test)]
mod tests;

use crate::api_key::{API_KEY_PREFIX, CredentialHash, KeyId};
use crate::directory::{Directory, KeyPlace, Snapshot, TenantEntry};
use crate::jwt::{Claims, TokenError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes of a credential.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// How many verified tokens are remembered.
pub const VERIFIED_TOKENS_MAX: usize = 65_536;

/// How long a verified token is remembered: then it is verified again, so that a key that its issuer has withdrawn is
/// noticed.
pub const VERIFIED_TOKEN_S_MAX: u64 = 60;

/// How often a token is verified again because tenants changed meanwhile.
const VERIFICATIONS_MAX: usize = 3;

/// Why nobody is calling. The messages may be shown to the caller: none tells whether a key's id is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `Authorization`.
    #[error("no credential was sent; send `Authorization: Bearer` and an API key or a token")]
    Missing,
    /// Another scheme than `Bearer` (RFC 6750) and `Basic` (RFC 7617).
    #[error("the scheme of `Authorization` is not `Bearer`")]
    Scheme,
    /// What follows `Bearer` is no credential.
    #[error("what follows `Bearer` is neither an API key nor a token")]
    Malformed,
    /// What follows `Basic` has no API key for its password.
    #[error("what follows `Basic` is not a user name and an API key as its password, in base64")]
    Basic,
    /// No such key: the id or the secret is wrong, or it was revoked.
    #[error("the API key is not valid")]
    UnknownKey,
    /// The key has expired.
    #[error("the API key has expired")]
    KeyExpired,
    /// The token does not count. Why its issuer's keys cannot be had is for the log only: it may name files and hosts.
    #[error("{}", public_message(.0))]
    Token(#[from] TokenError),
    /// The tenant is suspended.
    #[error("the tenant is suspended")]
    Suspended,
    /// No tenants are configured, and the caller is on another machine.
    #[error("without tenants, this host serves its own machine only; configure a tenant")]
    OpenOnlyOnLoopback,
}

impl Denied {
    /// Whether it is no fault of the caller's, who may come again with the same credential: 503 rather than 401.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Token(TokenError::KeysUnavailable(_)))
    }
}

fn public_message(error: &TokenError) -> String {
    match error {
        TokenError::KeysUnavailable(_) => "the token's issuer cannot be asked at the moment".to_owned(),
        _ => error.to_string(),
    }
}

/// Recognises callers.
pub struct Door {
    directory: Arc<Directory>,
    verified: Cache<CredentialHash, Arc<Verified>>,
    no_scopes: Arc<str>,
}

/// A token that counted.
struct Verified {
    entry: Arc<TenantEntry>,
    claims: Claims,
    /// When it is forgotten, seconds since 1970.
    until_s: u64,
    issuers_generation: u64,
    /// The last state of the directory in which `entry` was seen to be in force.
    directory_generation: AtomicU64,
}

impl Door {
    /// A door to the tenants of `directory`.
    #[must_use]
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, verified: Cache::new(VERIFIED_TOKENS_MAX), no_scopes: Arc::from("") }
    }

    /// Who is calling with this value of `Authorization`. While no tenants are configured, everybody on this machine is
    /// the tenant `default`, whatever they send: clients exist that cannot leave the header out. Waits only for keys of
    /// issuers that have to be fetched.
    ///
    /// # Errors
    /// Why nobody is.
    pub async fn identify(
        &self,
        authorization: Option<&[u8]>,
        from_loopback: bool,
    ) -> Result<Caller, Denied> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.identify_at(authorization, from_loopback, now_s).await
    }

    /// [`Door::identify`] at `now_s`, seconds since 1970.
    ///
    /// # Errors
    /// As there.
    pub async fn identify_at(
        &self,
        authorization: Option<&[u8]>,
        from_loopback: bool,
        now_s: u64,
    ) -> Result<Caller, Denied> {
        if self.directory.is_open() {
            return self.default_caller(from_loopback);
        }
        let credential = credential(authorization.ok_or(Denied::Missing)?)?;
        let credential = &*credential;
        let hash = CredentialHash::of(credential.as_bytes());
        if credential.starts_with(API_KEY_PREFIX) {
            return key_holder(&self.directory.snapshot(), credential, &hash, now_s);
        }
        if let Some(caller) = self.remembered(&hash, now_s) {
            return caller;
        }
        self.verify(credential, hash, now_s).await
    }

    fn default_caller(&self, from_loopback: bool) -> Result<Caller, Denied> {
        if !from_loopback {
            return Err(Denied::OpenOnlyOnLoopback);
        }
        let tenant = self.directory.default_entry();
        Ok(Caller { tenant, user: None, session: None, scopes: Arc::clone(&self.no_scopes) })
    }

    /// The caller of a token that counted before, if it still does.
    fn remembered(&self, hash: &CredentialHash, now_s: u64) -> Option<Result<Caller, Denied>> {
        let verified = self.verified.get(hash)?;
        let snapshot = self.directory.snapshot();
        let counts = now_s < verified.until_s
            && verified.issuers_generation == self.directory.issuers().generation()
            && verified.is_in_force(&snapshot);
        if !counts {
            self.verified.remove(hash);
            return None;
        }
        Some(token_bearer(&verified.entry, &verified.claims))
    }

    /// Verifies a token and remembers it. If its tenant changed meanwhile, it is not clear under which settings it was
    /// verified, so it is verified again.
    async fn verify(&self, token: &str, hash: CredentialHash, now_s: u64) -> Result<Caller, Denied> {
        let issuers = self.directory.issuers();
        for _ in 0..VERIFICATIONS_MAX {
            let before = Arc::clone(&self.directory.snapshot());
            let issuers_generation = issuers.generation();
            let claims = issuers.verify(token, now_s).await?;
            let after = self.directory.snapshot();
            let (Some(entry), Some(entry_before)) =
                (after.by_id.get(&claims.tenant), before.by_id.get(&claims.tenant))
            else {
                continue;
            };
            if !Arc::ptr_eq(entry, entry_before) {
                continue;
            }
            let caller = token_bearer(entry, &claims);
            let verified = Verified {
                entry: Arc::clone(entry),
                until_s: claims.expires_at_s.min(now_s + VERIFIED_TOKEN_S_MAX),
                claims,
                issuers_generation,
                directory_generation: AtomicU64::new(after.generation),
            };
            self.verified.insert(hash, Arc::new(verified));
            return caller;
        }
        Err(Denied::Token(TokenError::UnknownIssuer))
    }
}

impl Verified {
    /// Whether the entry it was verified for is the one in force.
    fn is_in_force(&self, snapshot: &Snapshot) -> bool {
        if self.directory_generation.load(Ordering::Relaxed) == snapshot.generation {
            return true;
        }
        let in_force = snapshot.by_id.get(&self.entry.tenant.id);
        if !in_force.is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            return false;
        }
        self.directory_generation.store(snapshot.generation, Ordering::Relaxed);
        true
    }
}

/// The credential of a `Bearer` header (RFC 6750, section 2.1; the scheme's case does not matter, RFC 9110, section
/// 11.1), or the API key of a `Basic` one.
fn credential(authorization: &[u8]) -> Result<Cow<'_, str>, Denied> {
    let text = std::str::from_utf8(authorization).map_err(|_| Denied::Malformed)?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    let credential = credential.trim_matches(' ');
    let is_token =
        (1..=CREDENTIAL_BYTES_MAX).contains(&credential.len()) && credential.bytes().all(is_token_byte);
    if scheme.eq_ignore_ascii_case("bearer") {
        return if is_token { Ok(Cow::Borrowed(credential)) } else { Err(Denied::Malformed) };
    }
    if scheme.eq_ignore_ascii_case("basic") {
        return basic(credential).filter(|_key| is_token).map(Cow::Owned).ok_or(Denied::Basic);
    }
    Err(Denied::Scheme)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// The API key that is the password (RFC 7617, section 2), for those who can be given nothing but a URL. The user name says
/// nothing, as a key says whose it is; tokens of users are no passwords.
fn basic(credential: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(credential).ok()?).ok()?;
    let (_user, key) = pair.split_once(':')?;
    (key.starts_with(API_KEY_PREFIX) && key.bytes().all(is_token_byte)).then(|| key.to_owned())
}

/// The holder of an API key. A key whose id is unknown takes the same way as one whose secret is wrong.
fn key_holder(
    snapshot: &Snapshot,
    credential: &str,
    hash: &CredentialHash,
    now_s: u64,
) -> Result<Caller, Denied> {
    let place = KeyId::of_key(credential).and_then(|id| snapshot.by_key.get(&id));
    let key = place.and_then(|KeyPlace { entry, index }| Some((entry, entry.keys.get(*index)?)));
    let is_right = key.map_or(&CredentialHash::OF_NOTHING, |(_, key)| &key.hash).is(hash);
    let Some((entry, key)) = key.filter(|_| is_right) else { return Err(Denied::UnknownKey) };
    if key.expires_at_s.is_some_and(|expires_at_s| expires_at_s <= now_s) {
        return Err(Denied::KeyExpired);
    }
    if !entry.is_active() {
        return Err(Denied::Suspended);
    }
    if key.last_used_s.load(Ordering::Relaxed) < now_s {
        // Not written by each request, so that cores do not wait for each other's cache line.
        key.last_used_s.fetch_max(now_s, Ordering::Relaxed);
    }
    let scopes = Arc::clone(&key.scopes);
    Ok(Caller { tenant: Arc::clone(entry), user: None, session: None, scopes })
}

fn token_bearer(entry: &Arc<TenantEntry>, claims: &Claims) -> Result<Caller, Denied> {
    if !entry.is_active() {
        return Err(Denied::Suspended);
    }
    Ok(Caller {
        tenant: Arc::clone(entry),
        user: Some(Arc::clone(&claims.user)),
        session: claims.session.clone(),
        scopes: Arc::clone(&claims.scopes),
    })
}
