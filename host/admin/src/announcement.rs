//! Where a running server's admin API is, written down for `waggle tenant` on the same machine.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file in the state folder.
pub const ANNOUNCEMENT_FILE: &str = "admin.json";
/// The most bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 4_096;

/// The file while it stands; it is removed when this is dropped.
#[derive(Debug)]
pub struct Announcement {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Content {
    url: String,
}

impl Announcement {
    /// Writes `url`, such as `http://127.0.0.1:4000`, into the folder `state_dir`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(state_dir: &Path, url: &str) -> io::Result<Self> {
        fs::create_dir_all(state_dir)?;
        let path = state_dir.join(ANNOUNCEMENT_FILE);
        let unfinished = state_dir.join(format!("{ANNOUNCEMENT_FILE}.new"));
        let content = serde_json::to_string(&Content { url: url.to_owned() })?;
        fs::write(&unfinished, content + "\n")?;
        fs::rename(&unfinished, &path)?;
        Ok(Self { path })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // A file that stays only makes the next caller read that nobody answers there.
        let _ = fs::remove_file(&self.path);
    }
}

/// What the file in `state_dir` says; none when no server runs with that folder.
#[cfg(feature = "client")]
pub(crate) fn read(state_dir: &Path) -> io::Result<Option<String>> {
    let path = state_dir.join(ANNOUNCEMENT_FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
        Ok(_) => {}
    }
    let content: Content = serde_json::from_str(&fs::read_to_string(&path)?)?;
    Ok(Some(content.url))
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_while_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(read(&state).unwrap(), None);
        let announcement = Announcement::write(&state, "http://127.0.0.1:1").unwrap();
        assert_eq!(read(&state).unwrap().as_deref(), Some("http://127.0.0.1:1"));
        drop(announcement);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    }
}
