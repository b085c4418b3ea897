//! Secrets at rest: encrypted under a key of the host before they reach a store that others may read.
//!
//! What this protects from is a store's file, dump or backup in the wrong hands. It does not protect from one who may
//! write to the store: they could let a sealed secret be sent to an upstream of theirs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use waggle_secret::Secret;

use crate::TenantId;

/// Bytes of a [`SealingKey`].
pub const SEALING_KEY_BYTES: usize = 32;

/// Bytes of the key's fingerprint in a sealed text: enough to tell a wrong key from a damaged text.
const FINGERPRINT_BYTES: usize = 4;

/// What a sealed text begins with; a later form begins otherwise.
const FORM: &str = "v1";

/// The most bytes of a key's file.
const KEY_FILE_BYTES_MAX: usize = 256;

/// An encrypted secret as text: `v1.FINGERPRINT.CIPHERTEXT`, where the last part is base64url of nonce, AES-256-GCM
/// ciphertext and tag (NIST SP 800-38D).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedText(String);

impl SealedText {
    /// Bytes of the text.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The host's key for secrets at rest: 256 random bits. Hosts that share a store share it.
pub struct SealingKey {
    key: LessSafeKey,
    fingerprint: String,
}

/// Why a key could not be had, or a sealed text not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The key's file cannot be read or written.
    #[error("the sealing key `{file}` cannot be {done}: {error}")]
    File {
        /// The file.
        file: String,
        /// "read" or "written".
        done: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// Others than its owner may read or write the key's file.
    #[error(
        "others may read the sealing key `{file}` (its mode is {mode:o}); `chmod 600 {file}` makes it private"
    )]
    Exposed {
        /// The file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The text is no key.
    #[error("a sealing key is {SEALING_KEY_BYTES} bytes in base64url; {0} is not")]
    NoKey(String),
    /// The system's generator of random numbers failed.
    #[error("the system has no random numbers")]
    NoRandomness,
    /// Sealed under another key.
    #[error("it was sealed under another key (fingerprint {found}, this host's is {expected})")]
    OtherKey {
        /// The fingerprint in the text.
        found: String,
        /// That of the key at hand.
        expected: String,
    },
    /// Not what was once sealed for this tenant.
    #[error("what is stored is damaged, or belongs to another tenant")]
    Damaged,
}

impl SealingKey {
    /// The key in `path`; if there is no such file, a new key is made and written there, readable by its owner only. Of
    /// several hosts that start at once, one writes and all read the same.
    ///
    /// # Errors
    /// The file cannot be read or written, holds no key, or others may read it.
    pub fn load_or_create(path: &Path) -> Result<Self, SealingError> {
        let failed = |done: &'static str| {
            let file = path.display().to_string();
            move |error| SealingError::File { file, done, error }
        };
        match read_private(path)? {
            Some(text) => Self::from_text_of(&text, &format!("what `{}` holds", path.display())),
            None => {
                write_new(path, &new_key()?).map_err(failed("written"))?;
                let text = read_private(path)?.ok_or(std::io::ErrorKind::NotFound.into());
                Self::from_text_of(
                    &text.map_err(failed("read"))?,
                    &format!("what `{}` holds", path.display()),
                )
            }
        }
    }

    /// The key that `text` holds, such as that of an environment variable: 32 bytes in base64url; white space around
    /// them does not count.
    ///
    /// # Errors
    /// It is no key. The error does not repeat it.
    pub fn from_text(text: &str) -> Result<Self, SealingError> {
        Self::from_text_of(text, "the given text")
    }

    fn from_text_of(text: &str, described: &str) -> Result<Self, SealingError> {
        let no_key = || SealingError::NoKey(described.to_owned());
        let bytes = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| no_key())?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| no_key())?;
        let hash = digest(&SHA256, &[b"waggle sealing key".as_slice(), &bytes].concat());
        let fingerprint = hash.as_ref().iter().take(FINGERPRINT_BYTES).map(|b| format!("{b:02x}")).collect();
        Ok(Self { key: LessSafeKey::new(key), fingerprint })
    }

    /// Seals `secret` for `tenant`: nobody can open it as another tenant's. The nonce is random; 2^32 secrets under one
    /// key are within its bounds.
    ///
    /// # Errors
    /// [`SealingError::NoRandomness`].
    pub fn seal(&self, tenant: &TenantId, secret: &str) -> Result<SealedText, SealingError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = secret.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(tenant), &mut sealed)
            .map_err(|_| SealingError::Damaged)?;
        let text = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat());
        Ok(SealedText(format!("{FORM}.{}.{text}", self.fingerprint)))
    }

    /// The secret that was sealed for `tenant`.
    ///
    /// # Errors
    /// Another key, another tenant, or a damaged text.
    pub fn open(&self, tenant: &TenantId, sealed: &SealedText) -> Result<Secret, SealingError> {
        let damaged = || SealingError::Damaged;
        let (fingerprint, text) = sealed
            .0
            .strip_prefix(FORM)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.split_once('.'))
            .ok_or_else(damaged)?;
        if fingerprint != self.fingerprint {
            // Only what looks like a fingerprint is repeated.
            let found: String = fingerprint.chars().take(2 * FINGERPRINT_BYTES).collect();
            return Err(SealingError::OtherKey { found, expected: self.fingerprint.clone() });
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut ciphertext = ciphertext.to_vec();
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), associated(tenant), &mut ciphertext)
            .map_err(|_| damaged())?;
        std::str::from_utf8(opened).map(Secret::new).map_err(|_| damaged())
    }
}

/// What a sealed text is bound to.
fn associated(tenant: &TenantId) -> Aad<Vec<u8>> {
    Aad::from([b"waggle tenant secret\0", tenant.as_str().as_bytes()].concat())
}

fn random<const N: usize>() -> Result<[u8; N], SealingError> {
    ring::rand::generate(&ring::rand::SystemRandom::new())
        .map(ring::rand::Random::expose)
        .map_err(|_| SealingError::NoRandomness)
}

fn new_key() -> Result<String, SealingError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<SEALING_KEY_BYTES>()?))
}

/// Written whole under another name first, then given its own, unless somebody else was faster: nobody ever reads half
/// a key, and no key is ever written over. The file is made with mode 0600.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".sealing-key-").tempfile_in(folder)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => std::fs::File::open(folder)?.sync_all(),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// What the file holds; nothing if there is none.
fn read_private(path: &Path) -> Result<Option<String>, SealingError> {
    use std::io::Read;
    let failed = |error| SealingError::File { file: path.display().to_string(), done: "read", error };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SealingError::Exposed { file: path.display().to_string(), mode });
        }
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX as u64).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::from_text(&URL_SAFE_NO_PAD.encode([byte; SEALING_KEY_BYTES])).unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::new(id).unwrap()
    }

    #[test]
    fn only_the_same_key_and_tenant_open_what_was_sealed() {
        let sealed = key(1).seal(&tenant("bank"), "sk-secret").unwrap();
        assert!(!sealed.0.contains("sk-secret"));
        assert_eq!(key(1).open(&tenant("bank"), &sealed).unwrap().expose(), "sk-secret");
        assert!(matches!(key(1).open(&tenant("shop"), &sealed), Err(SealingError::Damaged)));
        assert!(matches!(key(2).open(&tenant("bank"), &sealed), Err(SealingError::OtherKey { .. })));
    }

    #[test]
    fn the_same_secret_is_never_sealed_alike() {
        let (one, two) =
            (key(1).seal(&tenant("bank"), "x").unwrap(), key(1).seal(&tenant("bank"), "x").unwrap());
        assert!(one != two);
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealing.key");
        let sealed = SealingKey::load_or_create(&path).unwrap().seal(&tenant("bank"), "x").unwrap();
        let again = SealingKey::load_or_create(&path).unwrap();
        assert_eq!(again.open(&tenant("bank"), &sealed).unwrap().expose(), "x");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn hosts_that_start_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealing.key");
        let fingerprints: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| SealingKey::load_or_create(&path).unwrap().fingerprint))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]), "{fingerprints:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealing.key");
        SealingKey::load_or_create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = SealingKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        for text in ["", "short", "!!!", &"A".repeat(44), &"A".repeat(42)] {
            let error = SealingKey::from_text(text).unwrap_err().to_string();
            assert!(error.contains("32 bytes") && (text.is_empty() || !error.contains(text)), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_text_never_opens(secret in "\\PC{0,40}", at in 0usize..200, flip in 1u8..128) {
            let sealed = key(1).seal(&tenant("bank"), &secret).unwrap();
            let mut bytes = sealed.0.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(key(1).open(&tenant("bank"), &SealedText(text)).is_err());
            }
        }
    }
}
