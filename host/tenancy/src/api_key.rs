//! API keys: how one looks, how it is made, what is kept of it.
//!
//! A key is `wk_ID_SECRET`: 12 characters of `a` to `z` and `2` to `7` that may be seen, and 256 random bits in
//! base64url. What is kept is its SHA-256: a slow hash protects what people choose, and nobody can search 256 random
//! bits, however fast the hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;
use waggle_secret::Secret;

/// What every key begins with.
pub const API_KEY_PREFIX: &str = "wk_";

/// Characters of the part of a key by which it is found.
pub const API_KEY_ID_BYTES: usize = 12;

/// Random bytes of a key.
const API_KEY_SECRET_BYTES: usize = 32;

/// Base32 (RFC 4648, section 6), in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What is kept of an API key. The key itself is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The part of the key that may be seen, and by which it is found.
    pub id: String,
    /// SHA-256 of the whole key, hexadecimal.
    pub hash: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// What its holder may do, told to functions.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it was made, seconds since 1970.
    #[serde(default)]
    pub created_at: u64,
    /// From when on it no longer counts, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl ApiKey {
    /// Makes a new key: what is kept of it, and the key itself, which cannot be had again. Times are seconds since 1970.
    #[must_use]
    pub fn generate(
        name: &str,
        scopes: Vec<String>,
        created_at: u64,
        expires_at: Option<u64>,
    ) -> (Self, Secret) {
        let mut random = rand::rng();
        let id =
            KeyId(random.random::<[u8; API_KEY_ID_BYTES]>().map(|byte| ALPHABET[usize::from(byte % 32)]));
        let secret = URL_SAFE_NO_PAD.encode(random.random::<[u8; API_KEY_SECRET_BYTES]>());
        let text = format!("{API_KEY_PREFIX}{id}_{secret}");
        let hash = CredentialHash::of(text.as_bytes()).to_hex();
        let key = Self { id: id.to_string(), hash, name: name.to_owned(), scopes, created_at, expires_at };
        (key, Secret::new(text))
    }

    /// The beginning of the key, by which people recognise it: `wk_` and its id.
    #[must_use]
    pub fn visible_prefix(&self) -> String {
        format!("{API_KEY_PREFIX}{}", self.id)
    }
}

/// The id of a key, checked: it is copied and compared without allocating.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId([u8; API_KEY_ID_BYTES]);

impl KeyId {
    /// The id in `text`, if it is one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let bytes: [u8; API_KEY_ID_BYTES] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| ALPHABET.contains(byte)).then_some(Self(bytes))
    }

    /// The id in the key `credential`, if that has the form of one.
    pub(crate) fn of_key(credential: &str) -> Option<Self> {
        let (id, secret) = credential.strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
        // Base64 needs four characters for three bytes, the last of them begun or not.
        if secret.len() != (API_KEY_SECRET_BYTES * 4).div_ceil(3) {
            return None;
        }
        Self::new(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// SHA-256 of a credential: what is kept and compared instead of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CredentialHash([u8; 32]);

impl CredentialHash {
    /// A hash that no known text has.
    pub(crate) const OF_NOTHING: Self = Self([0; 32]);

    pub(crate) fn of(credential: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, credential).as_ref());
        Self(hash)
    }

    /// The hash written as 64 digits of `0` to `9` and `a` to `f`.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }

    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares in a time that does not depend on where the two differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_key_is_found_by_its_id_and_known_by_its_hash() {
        let (key, text) = ApiKey::generate("ci", vec!["chat".to_owned()], 5, Some(9));
        assert!(text.expose().starts_with(&key.visible_prefix()), "{key:?}");
        assert_eq!(text.expose().len(), 3 + 12 + 1 + 43);
        assert_eq!(KeyId::of_key(text.expose()).unwrap().to_string(), key.id);
        let hash = CredentialHash::from_hex(&key.hash).unwrap();
        assert!(hash.is(&CredentialHash::of(text.expose().as_bytes())));
        assert!(!hash.is(&CredentialHash::of(b"wk_")));
        assert_eq!((key.name.as_str(), key.created_at, key.expires_at), ("ci", 5, Some(9)));
    }

    #[test]
    fn nothing_of_the_secret_part_is_kept() {
        let (key, text) = ApiKey::generate("ci", Vec::new(), 0, None);
        let kept = format!("{key:?}{}", serde_json::to_string(&key).unwrap());
        let secret = text.expose().rsplit_once(&key.id).unwrap().1.trim_start_matches('_');
        assert!(!kept.contains(secret) && !kept.contains(&secret[..12]));
    }

    #[test]
    fn no_two_keys_share_an_id() {
        let ids: HashSet<_> = (0..1_000).map(|_| ApiKey::generate("", Vec::new(), 0, None).0.id).collect();
        assert_eq!(ids.len(), 1_000);
    }

    #[test]
    fn what_has_not_the_form_of_a_key_has_no_id() {
        let secret = "A".repeat(43);
        let check =
            |text: &str, expected: bool| assert_eq!(KeyId::of_key(text).is_some(), expected, "{text}");
        check(&format!("wk_abcdefgh2345_{secret}"), true);
        check(&format!("wk_abcdefgh2345_{secret}A"), false);
        check(&format!("wk_abcdefgh234_{secret}"), false);
        check(&format!("wk_ABCDEFGH2345_{secret}"), false);
        check(&format!("wk_abcdefgh1345_{secret}"), false);
        check(&format!("sk_abcdefgh2345_{secret}"), false);
        check("wk_", false);
        check("", false);
    }

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        let hash = CredentialHash::of(b"x");
        assert!(CredentialHash::from_hex(&hash.to_hex()) == Some(hash));
        for text in ["", "ab", &"g".repeat(64), &"A".repeat(64), &"0".repeat(65)] {
            assert!(CredentialHash::from_hex(text).is_none(), "{text}");
        }
    }
}
