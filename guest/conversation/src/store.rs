//! What this crate needs of a key-value store.

use std::future::Future;

/// The store did not do what it was asked, or holds what it should not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The operation failed.
    #[error("the key-value store failed to {operation}: {reason}")]
    Failed {
        /// What was asked of it.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
    /// There is no room for what was to be written: all that may be stored is stored. Deleting makes room.
    #[error("the key-value store is full and failed to {operation}: {reason}")]
    Full {
        /// What was asked of it.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
    /// A value cannot be read as what its key says.
    #[error("the value at '{key}' cannot be read: {reason}")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Others changed the value each time this one was about to.
    #[error("the value at '{0}' was changed by others {SWAPS_MAX} times in a row")]
    Contended(String),
}

/// How a store begins its reason when all that may be stored is stored (`wit/world.wit`). None of the key-value
/// interfaces has an error for it, and stores that have no such bound never say it.
const QUOTA_EXCEEDED: &str = "quota-exceeded: ";

impl StoreError {
    /// The error of an `operation` that failed for this reason, in the store's own words.
    pub fn of(operation: &'static str, reason: String) -> Self {
        match reason.strip_prefix(QUOTA_EXCEEDED) {
            Some(reason) => Self::Full { operation, reason: reason.to_owned() },
            None => Self::Failed { operation, reason },
        }
    }
}

/// How often a swap is tried again when others were faster.
pub const SWAPS_MAX: usize = 8;

/// A key-value store. One implementation stands over `wasi:keyvalue`, one in memory.
pub trait Store: Clone {
    /// The value of `key`.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;

    /// The values of `keys`, in their order.
    fn get_many(&self, keys: Vec<String>) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, StoreError>>;

    /// Sets all of `pairs`, in one atomic commit where the store can.
    fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> impl Future<Output = Result<(), StoreError>>;

    /// Deletes `keys`; those that are not there are skipped.
    fn delete_many(&self, keys: Vec<String>) -> impl Future<Output = Result<(), StoreError>>;

    /// Adds 1 to the counter at `key`, which starts at 0, and returns its new value.
    fn increment(&self, key: &str) -> impl Future<Output = Result<i64, StoreError>>;

    /// Sets `key` to `value` if it still is `expected`, where `None` stands for a key that is not there; `false` when it
    /// is something else.
    fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Vec<u8>,
    ) -> impl Future<Output = Result<bool, StoreError>>;
}

/// Reads a counter's value as a plain `get` returns it.
///
/// `wasi:keyvalue` does not say how a counter is kept. Two ways are known: decimal digits (our host, Redis) and eight
/// bytes, the least significant first (Spin's SQLite). No counter of ours grows so far that eight digits could be
/// taken for the second.
///
/// # Errors
/// The value is neither.
pub fn read_counter(key: &str, value: Option<&[u8]>) -> Result<u64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    let decimal = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    let binary =
        || value.try_into().ok().map(i64::from_le_bytes).and_then(|number| u64::try_from(number).ok());
    decimal
        .or_else(binary)
        .ok_or_else(|| StoreError::Unreadable { key: key.to_owned(), reason: "it is no counter".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_full_is_told_from_one_that_fails() {
        let check = |reason: &str, expected: &str| {
            assert_eq!(StoreError::of("set-many", reason.to_owned()).to_string(), expected);
        };
        check("quota-exceeded: no room", "the key-value store is full and failed to set-many: no room");
        check("disk on fire", "the key-value store failed to set-many: disk on fire");
        check("not quota-exceeded: ", "the key-value store failed to set-many: not quota-exceeded: ");
    }

    #[test]
    fn counters_are_read_in_both_known_forms() {
        assert_eq!(read_counter("k", None), Ok(0));
        assert_eq!(read_counter("k", Some(b"17")), Ok(17));
        assert_eq!(read_counter("k", Some(b"12345678")), Ok(12_345_678));
        assert_eq!(read_counter("k", Some(&17i64.to_le_bytes())), Ok(17));
        assert!(read_counter("k", Some(b"")).is_err());
        assert!(read_counter("k", Some(&(-1i64).to_le_bytes())).is_err());
    }
}
