//! Questions that a model is just answering, so that it is not asked the same twice at once.

use super::Basis;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many questions can be under way; two that fall together do not wait for each other.
pub(crate) const SLOTS: u64 = 1_024;
/// How long an answer may take, in milliseconds; after that another may have it answered.
pub(crate) const LEASE_MS: u64 = 60_000;
/// Letters of a holder's name.
const HOLDER_LENGTH: usize = 32;

/// A question under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// The hash of version and question.
    pub(crate) asked: String,
    /// Who has it answered: a name that nobody can guess.
    pub(crate) holder: String,
    pub(crate) until_ms: u64,
    pub(crate) question: String,
    pub(crate) version: String,
    pub(crate) basis: Basis,
}

impl Flight {
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

/// Under what an answer may be kept. Only who was given it can write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerKey {
    pub(crate) slot: u64,
    pub(crate) holder: String,
}

impl AnswerKey {
    /// Reads a key; `None` for what was never given out.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (slot, holder) = text.strip_prefix("ak_")?.split_once('_')?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_holder = holder.len() == HOLDER_LENGTH && holder.bytes().all(is_hex);
        let slot: u64 = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
        is_holder.then(|| Self { slot, holder: holder.to_owned() })
    }
}

impl fmt::Display for AnswerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ak_{:04}_{}", self.slot, self.holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let key = AnswerKey { slot: 7, holder: "0123456789abcdef".repeat(2) };
        assert_eq!(AnswerKey::parse(&key.to_string()), Some(key.clone()));
        let holder = key.holder;
        for text in [
            "".to_owned(),
            format!("ak_1024_{holder}"),
            format!("ak_-1_{holder}"),
            format!("ak_7_{}", holder.to_uppercase()),
            format!("ak_7_{holder}0"),
            format!("7_{holder}"),
        ] {
            assert_eq!(AnswerKey::parse(&text), None, "{text}");
        }
    }
}
