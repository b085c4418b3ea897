//! What the log says of a guest's failures: bounded in length and in number, because a guest decides when it fails and,
//! in part, in which words.

use crate::clock::now_ms;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 1_024;
/// Lines about one tenant's failures in a second; the rest is counted.
const LINES_PER_SECOND_MAX: u32 = 20;

/// A reason on one line, cut to its beginning, without characters that could pass for something else in a log.
pub(crate) fn reason(error: impl std::fmt::Display) -> String {
    let mut kept = String::new();
    for word in error.to_string().split_whitespace() {
        if kept.len() + word.len() + 1 > REASON_BYTES_MAX {
            kept.extend(word.chars().filter(|c| !c.is_control()).take((REASON_BYTES_MAX - kept.len()) / 4));
            kept.push('…');
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.extend(word.chars().filter(|c| !c.is_control()));
    }
    kept
}

/// How many lines about a tenant's failures there were in this second.
#[derive(Default)]
pub(crate) struct FailureBudget {
    second: AtomicU64,
    lines: AtomicU32,
    dropped: AtomicU64,
}

impl FailureBudget {
    /// Whether there may be one more line, and how many were left out since the last one.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(now_ms() / 1_000)
    }

    fn admit_at(&self, second: u64) -> Option<u64> {
        if self.second.swap(second, Relaxed) != second {
            self.lines.store(0, Relaxed);
        }
        if self.lines.fetch_add(1, Relaxed) >= LINES_PER_SECOND_MAX {
            self.dropped.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.dropped.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("out of\n  fuel\u{1b}[31m"), "out of fuel[31m");
        for text in ["x".repeat(1 << 20), "word ".repeat(1 << 18), "ü".repeat(1 << 20)] {
            let reason = reason(&text);
            assert!(reason.len() <= REASON_BYTES_MAX + 4 && reason.ends_with('…'), "{}", reason.len());
        }
    }

    #[test]
    fn lines_over_the_budget_are_counted_and_told_with_the_next() {
        let budget = FailureBudget::default();
        let admitted = (0..100).filter(|_| budget.admit_at(7).is_some()).count();
        assert_eq!(admitted, LINES_PER_SECOND_MAX as usize);
        assert_eq!(budget.admit_at(8), Some(80));
        assert_eq!(budget.admit_at(8), Some(0));
    }
}
