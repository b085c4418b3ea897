//! One store label's view of an engine: keys of partitions as keys of the engine, and the time to live.

use super::{Embedded, batch::Change, engine::Engine, record};
use crate::{
    Commit, Counted, CounterChange, Erased, Error, KeyPage, Partition, Place, StoreMetrics, StoreOptions,
    Swap, TenantPart, Usage, checked::Medium, limits::check_key, partition::end_of_prefix,
};
use bytes::Bytes;
use std::{
    cell::RefCell,
    sync::{Arc, atomic::AtomicBool},
};

/// Writes larger than this go to a thread where blocking is fine: copying them to the operating system takes longer
/// than the hop.
const INLINE_WRITE_BYTES_MAX: usize = 256 * 1024;
/// Batches with more entries than this go there too.
const INLINE_WRITE_ENTRIES_MAX: usize = 500;
/// Records that one page of keys may look at, expired ones included, before it hands out a cursor.
const PAGE_RECORDS_MAX: usize = 4 * crate::KEYS_PAGE_MAX;

pub(super) struct View {
    embedded: Embedded,
    options: StoreOptions,
    metrics: StoreMetrics,
    is_closed: AtomicBool,
}

thread_local! {
    /// Where keys to be read are put together: a read allocates nothing for its key.
    static READ_KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn with_full_key<T>(partition: &Partition, key: &str, read: impl FnOnce(&[u8]) -> T) -> T {
    READ_KEY.with_borrow_mut(|full| {
        full.clear();
        full.extend_from_slice(partition.prefix());
        full.extend_from_slice(key.as_bytes());
        read(full)
    })
}

impl View {
    pub(super) fn new(embedded: Embedded, options: StoreOptions) -> Self {
        let metrics = StoreMetrics::with_flushes(Arc::clone(embedded.engine().flushes()));
        Self { embedded, options, metrics, is_closed: AtomicBool::new(false) }
    }

    fn engine(&self) -> &Arc<Engine> {
        self.embedded.engine()
    }

    /// When something written now expires.
    fn expires_ms(&self) -> u64 {
        let Some(time_to_live) = self.options.time_to_live else { return record::NEVER };
        let ms = u64::try_from(time_to_live.as_millis()).unwrap_or(u64::MAX);
        self.engine().now_ms().saturating_add(ms)
    }

    fn put(&self, partition: &Partition, key: &str, value: &[u8]) -> Change {
        Change::put(partition.full_key(key), value, self.expires_ms())
    }

    /// Writes here if it is quick, else where blocking is fine.
    async fn write(&self, changes: Vec<Change>, bytes: usize) -> Result<Commit, Error> {
        if bytes <= INLINE_WRITE_BYTES_MAX && changes.len() <= INLINE_WRITE_ENTRIES_MAX {
            return self.engine().write_all(changes);
        }
        self.aside(move |engine| engine.write_all(changes)).await
    }

    /// Does something long where blocking is fine.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = self.engine().clone();
        tokio::task::spawn_blocking(move || work(&engine)).await.unwrap_or_else(|failure| {
            // Nobody cancels the task, so what is not a panic is the end of the runtime.
            let reason = || "work on the store ended in a panic".to_owned();
            Err(if failure.is_panic() { Error::Poisoned { reason: reason() } } else { Error::Closed })
        })
    }
}

impl Medium for View {
    fn closed(&self) -> &AtomicBool {
        &self.is_closed
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    fn takes_writes(&self) -> Result<(), Error> {
        self.engine().check_open()
    }

    async fn get(&self, partition: &Partition, key: &str) -> Result<Option<Bytes>, Error> {
        with_full_key(partition, key, |full| self.engine().get(full))
    }

    async fn exists(&self, partition: &Partition, key: &str) -> Result<bool, Error> {
        with_full_key(partition, key, |full| Ok(self.engine().get(full)?.is_some()))
    }

    async fn get_many(&self, partition: &Partition, keys: &[String]) -> Result<Vec<Option<Bytes>>, Error> {
        self.engine().get_many(partition, keys)
    }

    async fn keys(
        &self,
        partition: &Partition,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<KeyPage, Error> {
        let start = match cursor {
            None => partition.full_key(prefix),
            Some(last) if last.starts_with(prefix) && check_key(last).is_ok() => just_behind(partition, last),
            Some(_) => return Err(Error::InvalidCursor),
        };
        let Some(end) = end_of_prefix(partition.full_key(prefix)) else { return Err(Error::InvalidCursor) };
        let own_key = |full: &[u8]| {
            let key = full.get(partition.prefix().len()..).and_then(|key| std::str::from_utf8(key).ok());
            key.map(str::to_owned).ok_or_else(|| self.engine().damaged("a key is not UTF-8"))
        };
        let mut keys = Vec::new();
        let mut has_more = false;
        let stopped_at = self.engine().walk(start, end, PAGE_RECORDS_MAX, |full| {
            has_more = keys.len() == limit;
            if !has_more {
                keys.push(own_key(full)?);
            }
            Ok(!has_more)
        })?;
        let cursor = match stopped_at {
            Some(full) => Some(own_key(&full)?),
            None if has_more => keys.last().cloned(),
            None => None,
        };
        Ok(KeyPage { keys, cursor })
    }

    async fn set(&self, partition: &Partition, key: &str, value: Bytes) -> Result<Commit, Error> {
        let change = self.put(partition, key, &value);
        if value.len() > INLINE_WRITE_BYTES_MAX {
            return self.write(vec![change], value.len()).await;
        }
        self.engine().write_one(change)
    }

    async fn delete(&self, partition: &Partition, key: &str) -> Result<Commit, Error> {
        self.engine().write_one(Change::delete(partition.full_key(key)))
    }

    async fn set_many(
        &self,
        partition: &Partition,
        entries: Vec<(String, Bytes)>,
        bytes: usize,
    ) -> Result<Commit, Error> {
        let expires_ms = self.expires_ms();
        let put = |(key, value): &(String, Bytes)| Change::put(partition.full_key(key), value, expires_ms);
        self.write(entries.iter().map(put).collect(), bytes).await
    }

    async fn delete_many(&self, partition: &Partition, keys: Vec<String>) -> Result<Commit, Error> {
        let changes = keys.iter().map(|key| Change::delete(partition.full_key(key))).collect();
        self.write(changes, 0).await
    }

    async fn increment(&self, partition: &Partition, key: &str, delta: i64) -> Result<(i64, Commit), Error> {
        let full = partition.full_key(key);
        let (sum, commit) = self.engine().update(&full, |current| {
            let number = match &current {
                None => 0,
                Some(text) => parse_number(text).ok_or_else(|| Error::NotANumber { key: key.to_owned() })?,
            };
            let overflow = || Error::Overflow { key: key.to_owned(), delta };
            let sum = number.checked_add(delta).ok_or_else(overflow)?;
            Ok((sum, Some(self.put(partition, key, sum.to_string().as_bytes()))))
        })?;
        Ok((sum, commit.unwrap_or_default()))
    }

    async fn compare_and_swap(
        &self,
        partition: &Partition,
        key: &str,
        expected: Option<&Bytes>,
        value: Bytes,
    ) -> Result<Swap, Error> {
        let (current, commit) = self.engine().update(&partition.full_key(key), |current| {
            let change = (current.as_ref() == expected).then(|| self.put(partition, key, &value));
            Ok((current, change))
        })?;
        Ok(commit.map_or(Swap::Changed(current), Swap::Done))
    }

    async fn swap_many(
        &self,
        partition: &Partition,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<Option<Commit>, Error> {
        let full = |key: &String| Bytes::from(partition.full_key(key));
        let expected = expected.iter().map(|(key, value)| (full(key), value.clone())).collect();
        let change = |(key, value): &(String, Option<Bytes>)| match value {
            Some(value) => self.put(partition, key, value),
            None => Change::delete(full(key)),
        };
        let changes = changes.iter().map(change).collect();
        self.aside(move |engine| engine.swap_all(expected, changes)).await
    }

    async fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error> {
        self.engine().count(partition, changes)
    }

    async fn usage(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        let tenant = tenant.clone();
        self.aside(move |engine| engine.usage(&tenant)).await
    }

    async fn erase(&self, tenant: &TenantPart) -> Result<Erased, Error> {
        let tenant = tenant.clone();
        let erased = self.aside(move |engine| engine.erase(&tenant)).await?;
        self.engine().applied().durable().await?;
        Ok(erased)
    }

    fn place(&self) -> Place {
        Place::Directory(self.engine().path().to_path_buf())
    }

    fn options(&self) -> StoreOptions {
        self.options
    }

    fn applied(&self) -> Commit {
        self.engine().applied()
    }

    async fn close(&self) -> Result<(), Error> {
        self.engine().wait_for_writers();
        self.engine().applied().durable().await
    }
}

/// The smallest key after this one.
fn just_behind(partition: &Partition, key: &str) -> Vec<u8> {
    let mut full = partition.full_key(key);
    full.push(0);
    full
}

/// A whole number exactly as `i64` prints it: no sign but a minus, no leading zeros, no spaces, as Redis has it.
fn parse_number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_as_redis_writes_them_are_numbers() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(parse_number(text.as_bytes()), expected, "{text:?}")
        };
        check("0", Some(0));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for wrong in ["", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808", "0x1", "١"] {
            check(wrong, None);
        }
    }
}
