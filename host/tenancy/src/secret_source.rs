//! Where the value of a secret comes from, and how it is read. A value appears in no error.

use crate::sealing::SealedText;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use waggle_secret::Secret;

/// The most bytes of a secret's value, a line end after it not counted.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A secret's value: written down, in an environment variable, in a file, or sealed. Exactly one is given.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The value itself.
    Value(String),
    /// The name of the environment variable that holds it.
    Environment(String),
    /// The file that holds it; a line end after it does not count.
    File(String),
    /// The value as it stands in a store: encrypted under the host's [`SealingKey`](crate::SealingKey), for one tenant.
    Sealed(SealedText),
}

/// Why a secret's value could not be had. Names the variable or file, never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("the file `{file}` cannot be read: {error}")]
    File {
        /// The file, as it was looked for.
        file: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It holds bytes that are no text.
    #[error("what {0} holds is not UTF-8")]
    Text(String),
    /// It has more than [`SECRET_BYTES_MAX`] bytes.
    #[error("what {0} holds is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong(String),
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// A sealed value is opened with the host's key, not read.
    #[error("the value is sealed, and no sealing key is at hand")]
    Sealed,
}

impl SecretSource {
    /// Reads the value. A relative file stands in `base_dir`. One line end (`\n` or `\r\n`) after it does not count.
    ///
    /// # Errors
    /// The variable or file is missing, empty, longer than [`SECRET_BYTES_MAX`] or no text; the value is sealed.
    pub fn read(&self, base_dir: &Path) -> Result<Secret, SecretError> {
        match self {
            Self::Value(value) => bounded(value.clone(), || "the value".to_owned()),
            Self::Environment(name) => {
                let described = || format!("the environment variable `{name}`");
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                bounded(value.into_string().map_err(|_| SecretError::Text(described()))?, described)
            }
            Self::File(file) => {
                let path = base_dir.join(file);
                let described = || format!("the file `{}`", path.display());
                let bytes = read_bounded(&path)
                    .map_err(|error| SecretError::File { file: path.display().to_string(), error })?;
                bounded(String::from_utf8(bytes).map_err(|_| SecretError::Text(described()))?, described)
            }
            Self::Sealed(_) => Err(SecretError::Sealed),
        }
    }

    /// Whether the value stands in this source itself, sealed or not.
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Sealed(_))
    }
}

/// At most what a secret may have, its line end and one byte more, so that a file without end ends nevertheless.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = SECRET_BYTES_MAX as u64 + 3;
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn bounded(mut value: String, described: impl Fn() -> String) -> Result<Secret, SecretError> {
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(SecretError::Empty(described()));
    }
    if value.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong(described()));
    }
    Ok(Secret::new(value))
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value([redacted])"),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Sealed(_) => f.write_str("Sealed([redacted])"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_file(content: &[u8]) -> Result<Secret, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), content).unwrap();
        SecretSource::File("key".to_owned()).read(folder.path())
    }

    #[test]
    fn one_line_end_after_a_value_does_not_count() {
        for (content, expected) in
            [("sk-1", "sk-1"), ("sk-1\n", "sk-1"), ("sk-1\r\n", "sk-1"), ("sk-1\n\n", "sk-1\n")]
        {
            assert_eq!(read_file(content.as_bytes()).unwrap().expose(), expected, "{content:?}");
            assert_eq!(
                SecretSource::Value(content.to_owned()).read(Path::new("")).unwrap().expose(),
                expected
            );
        }
        let longest = format!("{}\r\n", "x".repeat(SECRET_BYTES_MAX));
        assert_eq!(read_file(longest.as_bytes()).unwrap().expose().len(), SECRET_BYTES_MAX);
    }

    #[test]
    fn an_error_names_the_file_or_variable_and_not_the_value() {
        #[track_caller]
        fn check(result: Result<Secret, SecretError>, part: &str) {
            let error = result.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(part) && !text.contains("sk-"), "{text}");
        }
        check(read_file(b""), "key` is empty");
        check(read_file(b"\n"), "key` is empty");
        check(read_file(b"sk-\xff"), "not UTF-8");
        check(read_file(&vec![b'x'; SECRET_BYTES_MAX + 1]), "longer than 65536");
        check(SecretSource::File("none".to_owned()).read(Path::new("/nowhere")), "/nowhere/none");
        check(
            SecretSource::Environment("WAGGLE_NEVER_SET".to_owned()).read(Path::new("")),
            "WAGGLE_NEVER_SET",
        );
        check(SecretSource::Value(String::new()).read(Path::new("")), "the value is empty");
    }

    #[test]
    fn a_variable_of_the_environment_is_read() {
        let path = SecretSource::Environment("PATH".to_owned()).read(Path::new("")).unwrap();
        assert_eq!(path.expose(), std::env::var("PATH").unwrap());
    }

    #[test]
    fn a_value_is_redacted_in_debug() {
        assert_eq!(format!("{:?}", SecretSource::Value("sk-1".to_owned())), "Value([redacted])");
    }
}
