//! Compaction items: what they hold is sealed for its owner with a key of the tenant's, and kept by the client alone.
//!
//! A sealed text is base64url of a version, a nonce and what XChaCha20-Poly1305 (RFC 8439, with the longer nonce of
//! draft-irtf-cfrg-xchacha) makes of the text and its owner's name. The key lies in the tenant's store, so no other tenant
//! can open or make one.

use crate::key::COMPACTION_KEY;
use crate::store::{Store, StoreError};
use crate::viewer::{Owner, Viewer};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use std::fmt;
use waggle_openai::json;

/// The longest sealed text that is looked at, in bytes.
pub const SEALED_BYTES_MAX: usize = 64 << 10;
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// What is sealed by the same key for another purpose would not open as this.
const PURPOSE: &[u8] = b"waggle compaction 1";

/// A tenant's key.
#[derive(Clone)]
pub struct CompactionKey([u8; KEY_BYTES]);

impl fmt::Debug for CompactionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CompactionKey")
    }
}

/// Why a text cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a compaction item cannot be sealed")]
pub struct SealError;

#[derive(Serialize, Deserialize)]
struct KeyView {
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(default, skip_serializing_if = "Owner::is_services")]
    user: Owner,
    text: String,
}

fn read_key(value: &[u8]) -> Result<CompactionKey, StoreError> {
    let unreadable =
        |reason: &str| StoreError::Unreadable { key: COMPACTION_KEY.to_owned(), reason: reason.to_owned() };
    let view: KeyView = serde_json::from_slice(value).map_err(|_| unreadable("it is no key"))?;
    let bytes = URL_SAFE_NO_PAD.decode(view.key).map_err(|_| unreadable("it is no key"))?;
    bytes.try_into().map(CompactionKey).map_err(|_| unreadable("it is no key of that length"))
}

/// The tenant's key; `None` where nothing was ever sealed.
///
/// # Errors
/// The store's.
pub async fn key<S: Store>(store: &S) -> Result<Option<CompactionKey>, StoreError> {
    store.get(COMPACTION_KEY).await?.map(|value| read_key(&value)).transpose()
}

/// The tenant's key, which is made of `random` if there is none. A store's time to live counts anew.
///
/// # Errors
/// The store's.
pub async fn key_or_new<S: Store>(store: &S, random: [u128; 2]) -> Result<CompactionKey, StoreError> {
    if let Some(value) = store.get(COMPACTION_KEY).await? {
        let key = read_key(&value)?;
        store.swap(COMPACTION_KEY, Some(&value), value.clone()).await?;
        return Ok(key);
    }
    let bytes: Vec<u8> = random.iter().flat_map(|part| part.to_le_bytes()).collect();
    let mut value = Vec::with_capacity(64);
    json::push(&mut value, &KeyView { key: URL_SAFE_NO_PAD.encode(bytes) });
    if store.swap(COMPACTION_KEY, None, value.clone()).await? {
        return read_key(&value);
    }
    let gone = StoreError::Contended(COMPACTION_KEY.to_owned());
    key(store).await?.ok_or(gone)
}

impl CompactionKey {
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0))
    }

    /// Seals a text for its owner. `random` must be new.
    ///
    /// # Errors
    /// None in practice: the text would have to be longer than any memory.
    pub fn seal(&self, owner: &Owner, text: &str, random: [u128; 2]) -> Result<String, SealError> {
        let mut content = Vec::with_capacity(text.len() + 64);
        json::push(&mut content, &Content { user: owner.clone(), text: text.to_owned() });
        let mut nonce = [0; NONCE_BYTES];
        for (byte, random) in nonce.iter_mut().zip(random.iter().flat_map(|part| part.to_le_bytes())) {
            *byte = random;
        }
        let payload = Payload { msg: &content, aad: PURPOSE };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError)?;
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens a sealed text; `None` for one that this key did not seal, that is damaged, longer than
    /// [`SEALED_BYTES_MAX`], or of an owner whom `viewer` does not see. Without a viewer whoever it is.
    pub fn open(&self, viewer: Option<&Viewer>, sealed: &str) -> Option<String> {
        if sealed.len() > SEALED_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        if *version != VERSION {
            return None;
        }
        let payload = Payload { msg: sealed, aad: PURPOSE };
        let content = self.cipher().decrypt(&XNonce::from(nonce), payload).ok()?;
        let Content { user, text } = serde_json::from_slice(&content).ok()?;
        viewer.is_none_or(|viewer| viewer.sees(&user)).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use futures::executor::block_on;

    fn new_key(random: u128) -> CompactionKey {
        block_on(key_or_new(&MemoryStore::default(), [random, random + 1])).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_who_sees_its_owner_and_by_no_other_key() {
        let key = new_key(1);
        let [service, ada, adam] = [None, Some("ada"), Some("adam")].map(|user| match user {
            Some(user) => Viewer::user(user).unwrap(),
            None => Viewer::service(),
        });
        let sealed = key.seal(&ada.owner(), "The parcel is late.", [7, 8]).unwrap();
        let opened = |key: &CompactionKey, viewer: Option<&Viewer>| key.open(viewer, &sealed);
        let text = Some("The parcel is late.".to_owned());
        for viewer in [Some(&ada), Some(&service), None] {
            assert_eq!(opened(&key, viewer), text);
        }
        assert_eq!(opened(&key, Some(&adam)), None);
        assert_eq!(opened(&new_key(2), Some(&service)), None);
        assert!(!sealed.contains("parcel") && !format!("{key:?}").contains('['));
    }

    #[test]
    fn every_change_of_it_is_noticed() {
        let key = new_key(1);
        let sealed = key.seal(&Owner::default(), "text", [7, 8]).unwrap();
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone().into_bytes();
            damaged[place] = if damaged[place] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert_eq!(key.open(None, &damaged), None, "{place}");
            assert_eq!(key.open(None, &sealed[..place]), None, "{place}");
        }
        for forged in ["", "e==", "AQ", &"A".repeat(100), &"A".repeat(SEALED_BYTES_MAX + 1), "é"] {
            assert_eq!(key.open(None, forged), None, "{forged}");
        }
    }

    #[test]
    fn a_tenant_has_one_key() {
        let store = MemoryStore::default();
        assert!(block_on(key(&store)).unwrap().is_none());
        let first = block_on(key_or_new(&store, [1, 2])).unwrap();
        let second = block_on(key_or_new(&store, [3, 4])).unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(block_on(key(&store)).unwrap().unwrap().0, first.0);
    }
}
