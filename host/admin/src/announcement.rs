//! Where a running server's admin API is, written down for `waggle tenant` on the same machine.

use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file in the state folder.
pub const ANNOUNCEMENT_FILE: &str = "admin.json";
/// The most bytes of the file that are read.
#[cfg(feature = "client")]
const FILE_BYTES_MAX: u64 = 4_096;

/// The file while it stands; it is removed when this is dropped.
#[derive(Debug)]
pub struct Announcement {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// Of the admin API.
    pub(crate) url: String,
    /// Of the application, for those who want to try a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) application_url: Option<String>,
}

impl Announcement {
    /// Writes the URLs of the admin API and of the application, such as `http://127.0.0.1:4000`, into the folder
    /// `state_dir`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(state_dir: &Path, url: &str, application_url: &str) -> io::Result<Self> {
        fs::create_dir_all(state_dir)?;
        let path = state_dir.join(ANNOUNCEMENT_FILE);
        let unfinished = state_dir.join(format!("{ANNOUNCEMENT_FILE}.new"));
        let content = Content { url: url.to_owned(), application_url: Some(application_url.to_owned()) };
        let content = serde_json::to_string(&content)?;
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
pub(crate) fn read(state_dir: &Path) -> io::Result<Option<Content>> {
    let path = state_dir.join(ANNOUNCEMENT_FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
        Ok(_) => {}
    }
    Ok(Some(serde_json::from_str(&fs::read_to_string(&path)?)?))
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_while_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(read(&state).unwrap().is_none());
        let announcement = Announcement::write(&state, "http://127.0.0.1:1", "http://127.0.0.1:2").unwrap();
        let content = read(&state).unwrap().unwrap();
        assert_eq!(
            (content.url.as_str(), content.application_url.as_deref()),
            ("http://127.0.0.1:1", Some("http://127.0.0.1:2"))
        );
        drop(announcement);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    }
}
