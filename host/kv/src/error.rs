//! What can go wrong in a store, said for the person who reads it: what, where, and what to do.

use std::{io, path::PathBuf, sync::Arc};

/// An error of a store. It can be cloned because one failed flush is told to every commit that waits for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tenant id or store label is empty or too long.
    #[error("the {what} is {bytes} bytes long; it must have 1 to {max} bytes")]
    PartitionName { what: &'static str, bytes: usize, max: usize },
    /// A key, a prefix or a cursor is longer than a key may be.
    #[error("the key is {bytes} bytes long; at most {max} bytes are allowed")]
    KeyTooLong { bytes: usize, max: usize },
    /// A value is larger than a value may be.
    #[error("the value is {bytes} bytes long; at most {max} bytes are allowed")]
    ValueTooLarge { bytes: usize, max: usize },
    /// A batch has more entries than a batch may have.
    #[error("the batch has {entries} entries; at most {max} are allowed in one")]
    BatchTooLong { entries: usize, max: usize },
    /// The keys and values of a batch together are larger than a batch may be.
    #[error("the batch holds {bytes} bytes of keys and values; at most {max} bytes are allowed in one")]
    BatchTooLarge { bytes: usize, max: usize },
    /// The number of keys asked for in one page is 0 or too large.
    #[error("a page of {limit} keys was asked for; it must be 1 to {max}")]
    PageLimit { limit: usize, max: usize },
    /// The cursor was not handed out by this store for this prefix.
    #[error("the cursor is not one that this store handed out for this prefix; start again without a cursor")]
    InvalidCursor,
    /// `increment` met a value that is not a whole number in decimal text.
    #[error("the value of key {key:?} is not a whole number between -2^63 and 2^63-1 in decimal text")]
    NotANumber { key: String },
    /// The sum does not fit a signed 64-bit number; the value is as it was.
    #[error(
        "adding {delta} to the value of key {key:?} leaves the range -2^63 to 2^63-1; the value is unchanged"
    )]
    Overflow { key: String, delta: i64 },

    /// Another process (or another part of this one) has the store open.
    #[error("the store {} is in use by {}; stop it or give this one a directory of its own", path.display(), holder_text(*holder))]
    Locked { path: PathBuf, holder: Option<u32> },
    /// The store was written by a later version of Waggle.
    #[error(
        "the store {} has format version {found}, this program reads up to {supported}; use the newer program it was written by",
        path.display()
    )]
    NewerVersion { path: PathBuf, found: u32, supported: u32 },
    /// A file of the store is truncated or does not hold what it should.
    #[error("the store is damaged: {}: {reason}; restore the directory from a backup or move it away", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// The directory holds something that is not a store of Waggle.
    #[error("{} is not a Waggle store: {reason}; give an empty or a new directory", path.display())]
    NotAStore { path: PathBuf, reason: String },
    /// The operating system refuses access.
    #[error("no permission to use {}: {reason}; make it readable and writable for the user this program runs as", path.display())]
    NoPermission { path: PathBuf, reason: String },
    /// Any other failure of the file system.
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: Arc<io::Error> },

    /// A write would take the tenant over what it may store.
    #[error(
        "the write does not fit: {used} of {allowed} bytes of this tenant's storage are used; delete what is no longer needed, or have the limit raised"
    )]
    QuotaExceeded { used: u64, allowed: u64 },
    /// How much the tenant stores was not known in time, so whether the write fits is not known either.
    #[error(
        "how much this tenant stores could not be measured within {waited_ms} ms; nothing was written; try again"
    )]
    QuotaUnknown { waited_ms: u64 },
    /// A record of the host does not hold what it should.
    #[error("the host's record under {key:?} cannot be read: {reason}")]
    Record { key: String, reason: &'static str },
    /// Others changed the host's records again and again while this change or reading was tried.
    #[error("the host's records were changed by others {attempts} times in a row meanwhile; try again")]
    Contended { attempts: usize },
    /// Keys were erased, but the store's files still hold what they were.
    #[error("the keys are deleted, but the files of the store {} still hold them: {reason}; erase again", path.display())]
    NotPurged { path: PathBuf, reason: &'static str },

    /// An earlier write could not be made durable. What is in memory may be lost, so the store takes no more writes.
    #[error(
        "the store takes no more writes because an earlier one could not be made durable: {reason}; check the disk, then restart"
    )]
    Poisoned { reason: String },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,

    /// Redis cannot be reached, or the connection broke. A write that failed so may have been applied or not.
    #[error("no answer from the Redis at {url}: {reason}")]
    Unreachable { url: Arc<str>, reason: String },
    /// Redis answered with an error.
    #[error("the Redis at {url} refused the command: {reason}")]
    Refused { url: Arc<str>, reason: String },

    /// A field of a store's configuration has a value that cannot be used.
    #[error("`{field}`: {reason}")]
    Config { field: &'static str, reason: String },
}

fn holder_text(holder: Option<u32>) -> String {
    match holder {
        Some(pid) if pid == std::process::id() => format!("this same process ({pid})"),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

impl Error {
    /// Names the file in an error of the file system, and tells a lack of permission from the rest.
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NoPermission { path, reason: source.to_string() }
            }
            _ => Self::Io { path, source: Arc::new(source) },
        }
    }
}
