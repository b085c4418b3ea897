//! The bounds of every store, and the checks that keep them.

use crate::{COUNTERS_PER_STEP_MAX, CounterChange, Error};
use bytes::Bytes;

/// Bytes of a key in UTF-8. The empty key is a key like any other, in every store.
pub const KEY_BYTES_MAX: usize = 2 * 1024;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Keys or entries of one batch, reading or writing.
pub const BATCH_ENTRIES_MAX: usize = 10_000;
/// Bytes of all keys and values that one batch writes.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Keys that one page may be asked for.
pub const KEYS_PAGE_MAX: usize = 1_000;
/// Bytes of a tenant id in UTF-8.
pub const TENANT_BYTES_MAX: usize = 256;
/// Bytes of a store label in UTF-8.
pub const LABEL_BYTES_MAX: usize = 256;
/// Days that a time to live may have: about a century, far from the end of a 64-bit millisecond count.
pub const TIME_TO_LIVE_DAYS_MAX: u64 = 36_500;

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    check(key.len(), KEY_BYTES_MAX, |bytes, max| Error::KeyTooLong { bytes, max })
}

pub(crate) fn check_value(value: &Bytes) -> Result<(), Error> {
    check(value.len(), VALUE_BYTES_MAX, |bytes, max| Error::ValueTooLarge { bytes, max })
}

pub(crate) fn check_keys(keys: &[String]) -> Result<(), Error> {
    check(keys.len(), BATCH_ENTRIES_MAX, |entries, max| Error::BatchTooLong { entries, max })?;
    keys.iter().try_for_each(|key| check_key(key))
}

/// Checks a batch of writes and returns how many bytes its keys and values have together.
pub(crate) fn check_entries(entries: &[(String, Bytes)]) -> Result<usize, Error> {
    check_batch(entries.iter().map(|(key, value)| (key, Some(value))))
}

/// The same for a batch in which a key can be without a value.
pub(crate) fn check_changes(changes: &[(String, Option<Bytes>)]) -> Result<usize, Error> {
    check_batch(changes.iter().map(|(key, value)| (key, value.as_ref())))
}

/// Checks the counters of one step.
pub(crate) fn check_counters(changes: &[CounterChange]) -> Result<(), Error> {
    let too_long = |entries, max| Error::BatchTooLong { entries, max };
    check(changes.len(), COUNTERS_PER_STEP_MAX, too_long)?;
    changes.iter().try_for_each(|change| check_key(&change.key))
}

fn check_batch<'a>(
    entries: impl ExactSizeIterator<Item = (&'a String, Option<&'a Bytes>)>,
) -> Result<usize, Error> {
    check(entries.len(), BATCH_ENTRIES_MAX, |entries, max| Error::BatchTooLong { entries, max })?;
    let mut total = 0_usize;
    for (key, value) in entries {
        check_key(key)?;
        value.map_or(Ok(()), check_value)?;
        total = total.saturating_add(key.len() + value.map_or(0, Bytes::len));
    }
    check(total, BATCH_BYTES_MAX, |bytes, max| Error::BatchTooLarge { bytes, max })?;
    Ok(total)
}

pub(crate) fn check_page(prefix: &str, limit: usize) -> Result<(), Error> {
    check_key(prefix)?;
    if limit == 0 || limit > KEYS_PAGE_MAX {
        return Err(Error::PageLimit { limit, max: KEYS_PAGE_MAX });
    }
    Ok(())
}

fn check(actual: usize, max: usize, error: impl FnOnce(usize, usize) -> Error) -> Result<(), Error> {
    if actual > max { Err(error(actual, max)) } else { Ok(()) }
}
