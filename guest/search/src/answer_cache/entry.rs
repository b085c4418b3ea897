//! An answer as it is kept.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest answer that is kept, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;
/// The longest entry, with its sources, in bytes.
pub(crate) const ENTRY_BYTES_MAX: usize = 256 << 10;

/// An answer that was given before.
#[derive(Debug, Clone)]
pub struct CachedAnswer {
    /// The answer, with the numbers of its sources as in `[1]`.
    pub text: String,
    /// Its sources in the order of their numbers, as in `data` of a search.
    pub data: Vec<Box<RawValue>>,
    /// The question it was given to.
    pub question: String,
    /// How long ago that was, in seconds.
    pub age_s: u64,
}

/// What is in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Which answer of this place it is: the version of the group with its question.
    pub(super) stamp: u64,
    pub(super) version: String,
    pub(super) question: String,
    pub(super) text: String,
    pub(super) data: Vec<Box<RawValue>>,
    pub(super) at_ms: u64,
}

impl Entry {
    pub(super) fn into_answer(self, now_ms: u64) -> CachedAnswer {
        let age_s = now_ms.saturating_sub(self.at_ms) / 1_000;
        CachedAnswer { text: self.text, data: self.data, question: self.question, age_s }
    }
}
