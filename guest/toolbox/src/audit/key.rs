//! The keys of the family `tool_audit/`, built here and nowhere else.

/// The number of the newest entry.
pub(super) const SEQUENCE: &str = "tool_audit/sequence";
/// The number up to which all entries are gone.
pub(super) const FLOOR: &str = "tool_audit/floor";

/// An entry. Keys sort by number.
pub(super) fn entry(number: u64) -> String {
    format!("tool_audit/entry/{number:012}")
}
