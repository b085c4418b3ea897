//! What an instance remembers between requests. It serves one tenant, and so does its memory.

use crate::answer_cache::Counts;
use crate::embed::Recent;

/// Vectors of questions that were asked last, and how often they were. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub(crate) recent: Recent,
    pub(crate) counts: Counts,
}

impl Memory {
    /// That of this instance.
    pub fn of_instance() -> Self {
        Self { recent: Recent::of_instance(), counts: Counts::of_instance() }
    }
}
