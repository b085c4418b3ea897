//! Files and vector stores of a running Waggle, for `waggle kb`: a client of the public API and of nothing else.
//!
//! [`Knowledge`] is one server as one caller sees it. [`scan`] finds the files of folders, [`Knowledge::add`] brings a vector
//! store to what they hold: what is there unchanged is not sent again, what has changed is replaced once its new version is
//! found. What a file is called and what it held stand in its attributes ([`PATH_ATTRIBUTE`], [`HASH_ATTRIBUTE`]), so that
//! nothing has to be remembered on this side. [`Knowledge::warm`] has questions answered before somebody asks them.

mod add;
mod client;
mod error;
mod form;
mod plan;
mod scan;
mod shape;
mod stores;
mod warm;

pub use add::{Added, Failure, Progress};
pub use client::Knowledge;
pub use error::KnowledgeError;
pub use scan::{EXTENSIONS, LocalFile, Scan, scan};
pub use shape::{FileCounts, Hit, LastError, Member, Store};
pub use warm::{Asking, FREQUENT_MAX, FailedQuestion, FrequentQuestion, QUESTIONS_MAX, Warmed, questions_of};

/// The attribute of a file with its path, as it is shown: with `/`, relative to what was named.
pub const PATH_ATTRIBUTE: &str = "path";
/// The attribute of a file with the SHA-256 of its content, in hexadecimal.
pub const HASH_ATTRIBUTE: &str = "content_hash";
/// The most files of one addition.
pub const FILES_MAX: usize = 10_000;
