//! The changes of one atomic batch.

use super::record;
use bytes::Bytes;
use std::collections::HashSet;

/// One change of one key.
pub(super) struct Change {
    pub(super) key: Bytes,
    /// `None`: the key is deleted.
    pub(super) put: Option<Put>,
}

/// A value on its way to the engine, with its header.
pub(super) struct Put {
    pub(super) expires_ms: u64,
    pub(super) record: Bytes,
}

impl Change {
    pub(super) fn put(key: impl Into<Bytes>, value: &[u8], expires_ms: u64) -> Self {
        let record = record::encode(expires_ms, value);
        Self { key: key.into(), put: Some(Put { expires_ms, record }) }
    }

    pub(super) fn delete(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), put: None }
    }
}

/// Up to this many keys are compared with each other; more are compared through a set.
const COMPARED_KEYS_MAX: usize = 16;

/// Leaves the last change of each key. All entries of a batch have one sequence number in the engine, which would
/// leave it open which of two values of a key is the newer one.
pub(super) fn last_of_each_key(mut changes: Vec<Change>) -> Vec<Change> {
    if changes.len() <= COMPARED_KEYS_MAX {
        let has_later = |i: usize| changes[i + 1..].iter().any(|later| later.key == changes[i].key);
        if !(0..changes.len()).any(has_later) {
            return changes;
        }
    }
    let mut seen = HashSet::with_capacity(changes.len());
    changes.reverse();
    changes.retain(|change| seen.insert(change.key.clone()));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_changes_to_a_key_the_last_counts() {
        let check = |count: usize| {
            let changes = (0..count).map(|i| Change::put(format!("k{}", i % 3).into_bytes(), &[i as u8], 0));
            let mut left = last_of_each_key(changes.collect());
            left.sort_by(|a, b| a.key.cmp(&b.key));
            let values: Vec<u8> =
                left.iter().filter_map(|change| change.put.as_ref()?.record.last().copied()).collect();
            let mut expected: Vec<u8> = (count.saturating_sub(3)..count).map(|i| i as u8).collect();
            expected.sort_by_key(|i| i % 3);
            assert_eq!(values, expected, "{count} changes");
        };
        for count in [0, 1, 2, 3, 4, 16, 17, 100] {
            check(count);
        }
    }
}
