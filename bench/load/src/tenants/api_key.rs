//! API keys as Waggle's tenants.toml wants them: `wk_`, an id of 12 characters, `_`, 256 random bits. The program knows
//! only their hash.

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

const ID_BYTES: usize = 12;
const SECRET_BYTES: usize = 32;
/// Base32 (RFC 4648, section 6), in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A key that was made for a measurement.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: String,
    /// The key itself.
    pub(crate) text: String,
}

impl ApiKey {
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let bytes = random::<{ ID_BYTES + SECRET_BYTES }>()?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let id: String = id.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let text = format!("wk_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        Ok(Self { id, text })
    }

    /// What tenants.toml holds of it.
    pub(crate) fn hash(&self) -> String {
        digest(&SHA256, self.text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Bytes nobody can guess.
pub(crate) fn random<const BYTES: usize>() -> anyhow::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        bail!("the system gives no random bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_form_that_waggle_expects() {
        let key = ApiKey::generate().unwrap();
        let (id, secret) = key.text.strip_prefix("wk_").unwrap().split_once('_').unwrap();
        assert_eq!((id, id.len(), secret.len()), (key.id.as_str(), 12, 43));
        assert!(id.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(ApiKey::generate().unwrap().id, key.id);
    }

    #[test]
    fn the_hash_is_sha_256_of_the_whole_key() {
        let key = ApiKey { id: String::new(), text: "abc".to_owned() };
        // FIPS 180-4's example.
        assert_eq!(key.hash(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
