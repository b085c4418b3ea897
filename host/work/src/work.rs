//! Work as a function hands it over: what it is, and what it may not be.

use bytes::Bytes;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Bytes of a path with its query.
pub const PATH_BYTES_MAX: usize = 512;
/// Bytes of a body.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;

const ID_PREFIX: &str = "work_";
const ID_CHARACTERS: usize = 24;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Names a piece of work: `work_` and 24 characters of base32, 120 random bits. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct WorkId(Arc<str>);

impl WorkId {
    /// One that no other work has.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0_u8; ID_CHARACTERS];
        rand::rng().fill_bytes(&mut bytes);
        let mut id = String::with_capacity(ID_PREFIX.len() + ID_CHARACTERS);
        id.push_str(ID_PREFIX);
        id.extend(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])));
        Self(id.into())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<WorkId> for String {
    fn from(id: WorkId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for WorkId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let characters = text.strip_prefix(ID_PREFIX).filter(|rest| rest.len() == ID_CHARACTERS);
        // `ALPHABET`, by its ranges: a host reads the ids of all that is pending each time some is added or done.
        let is_id =
            characters.is_some_and(|rest| rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
        if is_id { Ok(Self(text.into())) } else { Err("it is no id of work") }
    }
}

/// What is to be done, by whom, and for whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Work {
    /// The function that handed it over, and that will be called.
    pub function: String,
    /// The path with its query.
    pub path: String,
    /// What the body is, as the function says it.
    pub content_type: Option<String>,
    /// Who called when it was handed over: the fields, by name, that the host put on that request.
    pub caller: Vec<(String, String)>,
    /// The body, which only the function understands.
    pub body: Bytes,
}

impl Work {
    /// Checks what a function can get wrong.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), WorkMistake> {
        if !self.path.starts_with('/') {
            return Err(WorkMistake::PathBeginning);
        }
        if self.path.len() > PATH_BYTES_MAX {
            return Err(WorkMistake::PathLength { bytes: self.path.len() });
        }
        if !self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(WorkMistake::PathCharacters);
        }
        if let Some(bytes) =
            self.content_type.as_ref().map(String::len).filter(|b| *b > CONTENT_TYPE_BYTES_MAX)
        {
            return Err(WorkMistake::ContentTypeLength { bytes });
        }
        if self.body.len() > BODY_BYTES_MAX {
            return Err(WorkMistake::BodyLength);
        }
        Ok(())
    }
}

/// Without the body, which is the tenant's.
impl fmt::Debug for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Work");
        shown.field("function", &self.function).field("path", &self.path);
        shown.field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Why work cannot be taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkMistake {
    /// The path is relative, or empty.
    #[error("the path must begin with '/'")]
    PathBeginning,
    /// The path is too long.
    #[error("the path has {bytes} bytes; it may have {PATH_BYTES_MAX}")]
    PathLength {
        /// How long it is.
        bytes: usize,
    },
    /// The path has characters that no path has.
    #[error("the path must consist of visible ASCII characters, without '#'")]
    PathCharacters,
    /// The content type is too long.
    #[error("the content type has {bytes} bytes; it may have {CONTENT_TYPE_BYTES_MAX}")]
    ContentTypeLength {
        /// How long it is.
        bytes: usize,
    },
    /// The body is too long.
    #[error("the body of work may have {BODY_BYTES_MAX} bytes")]
    BodyLength,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_nothing_else_is_one() {
        let id = WorkId::random();
        assert_eq!(id.as_str().len(), 29);
        assert_eq!(WorkId::try_from(id.to_string()).as_ref(), Ok(&id));
        assert_ne!(WorkId::random(), id);
        for wrong in ["", "work_", "work_ABCDEFGHIJKLMNOPQRSTUVWX", "work_abcdefghijklmnopqrstuvw/"] {
            assert!(WorkId::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_is_told_from_the_others() {
        let fine = || Work {
            function: "chat".into(),
            path: "/a?b=c".into(),
            content_type: None,
            caller: Vec::new(),
            body: Bytes::new(),
        };
        let path = |path: &str| Work { path: path.to_owned(), ..fine() };
        let check =
            |work: Work, expected: Result<(), WorkMistake>| assert_eq!(work.check(), expected, "{work:?}");
        check(fine(), Ok(()));
        check(path(""), Err(WorkMistake::PathBeginning));
        check(path("http://a/"), Err(WorkMistake::PathBeginning));
        check(path("/a b"), Err(WorkMistake::PathCharacters));
        check(path("/ä"), Err(WorkMistake::PathCharacters));
        check(path("/a#b"), Err(WorkMistake::PathCharacters));
        check(path(&format!("/{}", "a".repeat(511))), Ok(()));
        check(path(&format!("/{}", "a".repeat(512))), Err(WorkMistake::PathLength { bytes: 513 }));
        let body = |bytes: usize| Work { body: vec![0; bytes].into(), ..fine() };
        check(body(BODY_BYTES_MAX), Ok(()));
        check(body(BODY_BYTES_MAX + 1), Err(WorkMistake::BodyLength));
        let typed = Work { content_type: Some("a".repeat(257)), ..fine() };
        check(typed, Err(WorkMistake::ContentTypeLength { bytes: 257 }));
    }

    #[test]
    fn a_body_is_in_no_debug_output() {
        let work = Work {
            function: "chat".into(),
            path: "/".into(),
            content_type: None,
            caller: vec![("waggle-user".into(), "hidden-user".into())],
            body: Bytes::from_static(b"hidden-body"),
        };
        assert!(!format!("{work:?}").contains("hidden"), "{work:?}");
    }
}
