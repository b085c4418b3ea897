//! A set of keys (RFC 7517, section 5), and which of them may verify a token.

use super::compact::Compact;
use super::key::VerifyKey;
use super::members::Members;
use serde_json::value::RawValue;

/// The most bytes of a key set.
pub(crate) const JWKS_BYTES_MAX: usize = 256 * 1024;

/// The most keys of a set, usable or not.
const KEYS_MAX: usize = 128;

/// The most keys that are tried on one token: those of one algorithm and, where the token names it, one `kid`.
const KEYS_TRIED_MAX: usize = 10;

/// Keys of one issuer.
pub(crate) struct KeySet(Vec<VerifyKey>);

/// What a set says of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Verified,
    /// No key verifies it.
    Refused,
    /// The token names a key that is not in the set. A newer set may have it.
    UnknownKid,
}

impl KeySet {
    /// Reads a set. A key that cannot be used is left out, as the standard asks for.
    ///
    /// # Errors
    /// What is wrong with the set; where it holds no usable key, why the first is not.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(format!("the key set has {} bytes; {JWKS_BYTES_MAX} are the most", text.len()));
        }
        let set = Members::parse(text).map_err(|problem| format!("the key set is not usable: {problem}"))?;
        let keys: Vec<&RawValue> = set
            .get("keys")
            .and_then(|keys| serde_json::from_str(keys.get()).ok())
            .ok_or("the key set has no array `keys`")?;
        if keys.len() > KEYS_MAX {
            return Err(format!("the key set has {} keys; {KEYS_MAX} are the most", keys.len()));
        }
        let mut usable = Vec::with_capacity(keys.len());
        let mut first_problem = None;
        for (index, jwk) in keys.iter().enumerate() {
            match Members::parse(jwk.get()).and_then(|jwk| VerifyKey::from_jwk(&jwk, false)) {
                Ok(key) => usable.push(key),
                Err(problem) => {
                    first_problem.get_or_insert_with(|| format!("; key {}: {problem}", index + 1));
                }
            }
        }
        if usable.is_empty() {
            let problem = first_problem.unwrap_or_default();
            return Err(format!("the key set holds no key that can be used{problem}"));
        }
        Ok(Self(usable))
    }

    /// The set of one shared secret.
    pub(crate) fn of_secret(secret: &[u8]) -> Result<Self, String> {
        Ok(Self(vec![VerifyKey::secret(secret)?]))
    }

    /// The set of one key, which may be a symmetric one.
    pub(super) fn of_one(jwk: &str) -> Result<Self, String> {
        let jwk = Members::parse(jwk)?;
        Ok(Self(vec![VerifyKey::from_jwk(&jwk, true)?]))
    }

    /// Whether one of the keys verifies `token`. A key without `kid` is only tried on tokens without one, but a shared
    /// secret on all: it is the only one its issuer has.
    pub(super) fn verify(&self, token: &Compact<'_>) -> Verdict {
        let named = |key: &&VerifyKey| match &token.kid {
            Some(kid) if !key.is_secret() => key.kid.as_ref() == Some(kid),
            _ => true,
        };
        let mut keys = self.0.iter().filter(named).peekable();
        if token.kid.is_some() && keys.peek().is_none() {
            return Verdict::UnknownKid;
        }
        let mut keys = keys.filter(|key| key.algorithm() == token.algorithm).take(KEYS_TRIED_MAX);
        if keys.any(|key| key.verifies(token.signed, &token.signature)) {
            Verdict::Verified
        } else {
            Verdict::Refused
        }
    }
}
