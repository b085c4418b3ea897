//! The admin key: the one credential of the admin API. Only its hash stays in memory.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use waggle_secret::Secret;

/// What an admin key that was made here begins with, so that people and secret scanners recognise it.
const PREFIX: &str = "wadm_";
/// Random bytes of a key made here.
const RANDOM_BYTES: usize = 32;
/// The least bytes of a key; a shorter one could be guessed.
const KEY_BYTES_MIN: usize = 32;
/// The most bytes of a key.
const KEY_BYTES_MAX: usize = 1_024;
/// The file's permissions: its owner's only.
const FILE_MODE: u32 = 0o600;

/// What a request must present to be an administrator's. It knows the key's hash only.
#[derive(Clone)]
pub struct AdminKey {
    hash: [u8; 32],
}

impl std::fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminKey([redacted])")
    }
}

/// Why there is no admin key.
#[derive(Debug, thiserror::Error)]
pub enum AdminKeyError {
    #[error(
        "the environment variable {variable} holds no admin key; set it, or leave `admin.key_environment` out"
    )]
    Environment { variable: String },
    #[error(
        "an admin key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes of visible ASCII; make one with `openssl rand -hex 32`"
    )]
    Shape,
    #[error("{} holds no admin key ({KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes of visible ASCII); remove the file and a new key is made", path.display())]
    FileShape { path: PathBuf },
    #[error("{} can be read by others; run `chmod 600` on it, and make a new key if others may have seen it", path.display())]
    Permissions { path: PathBuf },
    #[error("the admin key cannot be read from or written to {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("the system gives no random numbers")]
    Random,
}

impl AdminKey {
    /// Takes the key over.
    ///
    /// # Errors
    /// When it is not 32 to 1,024 bytes of visible ASCII.
    pub fn new(text: &Secret) -> Result<Self, AdminKeyError> {
        let text = text.expose();
        let fits = (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminKeyError::Shape);
        }
        Ok(Self { hash: sha256(text.as_bytes()) })
    }

    /// Reads the key from the file at `path`; when there is none, makes one of 256 random bits and writes it there, for
    /// its owner only.
    ///
    /// # Errors
    /// When the file cannot be read or written, can be read by others, or holds no key.
    pub fn load_or_create(path: &Path) -> Result<Self, AdminKeyError> {
        let text = match read(path)? {
            Some(text) => text,
            None => create(path)?,
        };
        Self::new(&text).map_err(|_shape| AdminKeyError::FileShape { path: path.to_owned() })
    }

    /// Whether `presented` is the key. Takes the same time wherever the two differ.
    pub(crate) fn matches(&self, presented: &[u8]) -> bool {
        let other = sha256(presented);
        let difference = self.hash.iter().zip(&other).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// The key in the file at `path`, for whoever is to present it; none when there is no file.
///
/// # Errors
/// When the file cannot be read, or can be read by others.
pub(crate) fn read(path: &Path) -> Result<Option<Secret>, AdminKeyError> {
    let failed = |error| AdminKeyError::File { path: path.to_owned(), error };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(AdminKeyError::Permissions { path: path.to_owned() });
    }
    if metadata.len() > 2 * KEY_BYTES_MAX as u64 {
        return Err(AdminKeyError::FileShape { path: path.to_owned() });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    Ok(Some(Secret::new(text.trim_end())))
}

fn create(path: &Path) -> Result<Secret, AdminKeyError> {
    let mut random = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_unspecified| AdminKeyError::Random)?;
    let mut text = String::from(PREFIX);
    for byte in random {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    write_private(path, &text).map_err(|error| AdminKeyError::File { path: path.to_owned(), error })?;
    Ok(Secret::new(text))
}

/// Writes a file that only its owner can read; a crash leaves either the whole file or none.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    // What an earlier crash left may have other permissions.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-key");
        let key = AdminKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        let text = read(&path).unwrap().unwrap();
        assert!(text.expose().starts_with(PREFIX) && text.expose().len() == PREFIX.len() + 64);
        assert!(key.matches(text.expose().as_bytes()));
        let again = AdminKey::load_or_create(&path).unwrap();
        assert!(again.matches(text.expose().as_bytes()), "the second start has the same key");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn only_the_whole_key_matches() {
        let text = "wadm_0123456789abcdef0123456789abcdef";
        let key = AdminKey::new(&Secret::new(text)).unwrap();
        for other in ["", "wadm_", &text[1..], &text[..text.len() - 1], &text.to_uppercase()] {
            assert!(!key.matches(other.as_bytes()), "{other:?}");
        }
        assert!(key.matches(text.as_bytes()));
    }

    #[test]
    fn a_key_that_could_be_guessed_or_seen_is_refused() {
        let check =
            |text: &str| assert!(matches!(AdminKey::new(&Secret::new(text)), Err(AdminKeyError::Shape)));
        check("");
        check("admin");
        check(&"a b".repeat(20));
        check(&"a".repeat(KEY_BYTES_MAX + 1));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "0123456789abcdef0123456789abcdef").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = AdminKey::load_or_create(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(FILE_MODE)).unwrap();
        let error = AdminKey::load_or_create(&path).err().unwrap().to_string();
        assert!(error.contains("remove the file") && !error.contains("short"), "{error}");
    }
}
