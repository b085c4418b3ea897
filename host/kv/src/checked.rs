//! What every store checks before it does anything, in one place: whether it is open, and the bounds.

use crate::{
    Commit, Counted, CounterChange, Erased, Error, KeyPage, Operation, Partition, Place, Store, StoreMetrics,
    StoreOptions, Swap, TenantPart, Usage,
    limits::{check_changes, check_counters, check_entries, check_key, check_keys, check_page, check_value},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};

/// What a medium has to do. It is called only with keys, values and batches within the bounds, with batches that are
/// not empty, and for changes only while it is open; otherwise each method is the one of [`Store`].
pub(crate) trait Medium: Send + Sync + 'static {
    /// Set once, when the store is closed.
    fn closed(&self) -> &AtomicBool;
    /// What it counts.
    fn metrics(&self) -> &StoreMetrics;
    /// Whether the medium itself takes writes.
    fn takes_writes(&self) -> Result<(), Error> {
        Ok(())
    }
    fn get(
        &self,
        partition: &Partition,
        key: &str,
    ) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;
    fn exists(&self, partition: &Partition, key: &str) -> impl Future<Output = Result<bool, Error>> + Send;
    fn get_many(
        &self,
        partition: &Partition,
        keys: &[String],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, Error>> + Send;
    fn keys(
        &self,
        partition: &Partition,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<KeyPage, Error>> + Send;
    fn set(
        &self,
        partition: &Partition,
        key: &str,
        value: Bytes,
    ) -> impl Future<Output = Result<Commit, Error>> + Send;
    fn delete(&self, partition: &Partition, key: &str) -> impl Future<Output = Result<Commit, Error>> + Send;
    /// `bytes` is the size of all keys and values.
    fn set_many(
        &self,
        partition: &Partition,
        entries: Vec<(String, Bytes)>,
        bytes: usize,
    ) -> impl Future<Output = Result<Commit, Error>> + Send;
    fn delete_many(
        &self,
        partition: &Partition,
        keys: Vec<String>,
    ) -> impl Future<Output = Result<Commit, Error>> + Send;
    fn increment(
        &self,
        partition: &Partition,
        key: &str,
        delta: i64,
    ) -> impl Future<Output = Result<(i64, Commit), Error>> + Send;
    fn compare_and_swap(
        &self,
        partition: &Partition,
        key: &str,
        expected: Option<&Bytes>,
        value: Bytes,
    ) -> impl Future<Output = Result<Swap, Error>> + Send;
    fn swap_many(
        &self,
        partition: &Partition,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> impl Future<Output = Result<Option<Commit>, Error>> + Send;
    fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> impl Future<Output = Result<(Counted, Commit), Error>> + Send;
    fn usage(&self, tenant: &TenantPart) -> impl Future<Output = Result<Usage, Error>> + Send;
    fn erase(&self, tenant: &TenantPart) -> impl Future<Output = Result<Erased, Error>> + Send;
    fn place(&self) -> Place;
    fn options(&self) -> StoreOptions;
    fn applied(&self) -> Commit;
    /// Makes everything applied durable; the store takes no more writes already.
    fn close(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

fn check_open(medium: &impl Medium) -> Result<(), Error> {
    if medium.closed().load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
}

#[async_trait]
impl<M: Medium> Store for M {
    async fn get(&self, partition: &Partition, key: &str) -> Result<Option<Bytes>, Error> {
        check_key(key)?;
        let work = Medium::get(self, partition, key);
        Medium::metrics(self).measured(Operation::Get, work).await
    }

    async fn exists(&self, partition: &Partition, key: &str) -> Result<bool, Error> {
        check_key(key)?;
        let work = Medium::exists(self, partition, key);
        Medium::metrics(self).measured(Operation::Get, work).await
    }

    async fn get_many(&self, partition: &Partition, keys: &[String]) -> Result<Vec<Option<Bytes>>, Error> {
        check_keys(keys)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let work = Medium::get_many(self, partition, keys);
        Medium::metrics(self).measured(Operation::GetMany, work).await
    }

    async fn keys(
        &self,
        partition: &Partition,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<KeyPage, Error> {
        check_page(prefix, limit)?;
        let work = Medium::keys(self, partition, prefix, cursor, limit);
        Medium::metrics(self).measured(Operation::Keys, work).await
    }

    async fn set(&self, partition: &Partition, key: &str, value: Bytes) -> Result<Commit, Error> {
        check_open(self)?;
        check_key(key)?;
        check_value(&value)?;
        let work = Medium::set(self, partition, key, value);
        Medium::metrics(self).measured(Operation::Set, work).await
    }

    async fn delete(&self, partition: &Partition, key: &str) -> Result<Commit, Error> {
        check_open(self)?;
        check_key(key)?;
        let work = Medium::delete(self, partition, key);
        Medium::metrics(self).measured(Operation::Delete, work).await
    }

    async fn set_many(&self, partition: &Partition, entries: Vec<(String, Bytes)>) -> Result<Commit, Error> {
        check_open(self)?;
        let bytes = check_entries(&entries)?;
        if entries.is_empty() {
            return Ok(Medium::applied(self));
        }
        let work = Medium::set_many(self, partition, entries, bytes);
        Medium::metrics(self).measured(Operation::SetMany, work).await
    }

    async fn delete_many(&self, partition: &Partition, keys: Vec<String>) -> Result<Commit, Error> {
        check_open(self)?;
        check_keys(&keys)?;
        if keys.is_empty() {
            return Ok(Medium::applied(self));
        }
        let work = Medium::delete_many(self, partition, keys);
        Medium::metrics(self).measured(Operation::DeleteMany, work).await
    }

    async fn increment(&self, partition: &Partition, key: &str, delta: i64) -> Result<(i64, Commit), Error> {
        check_open(self)?;
        check_key(key)?;
        let work = Medium::increment(self, partition, key, delta);
        Medium::metrics(self).measured(Operation::Increment, work).await
    }

    async fn compare_and_swap(
        &self,
        partition: &Partition,
        key: &str,
        expected: Option<&Bytes>,
        value: Bytes,
    ) -> Result<Swap, Error> {
        check_open(self)?;
        check_key(key)?;
        check_value(&value)?;
        let work = Medium::compare_and_swap(self, partition, key, expected, value);
        Medium::metrics(self).measured(Operation::Swap, work).await
    }

    async fn swap_many(
        &self,
        partition: &Partition,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<Option<Commit>, Error> {
        check_open(self)?;
        check_changes(&expected)?;
        check_changes(&changes)?;
        let work = Medium::swap_many(self, partition, expected, changes);
        Medium::metrics(self).measured(Operation::Swap, work).await
    }

    async fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error> {
        check_open(self)?;
        check_counters(changes)?;
        let work = Medium::count(self, partition, changes);
        Medium::metrics(self).measured(Operation::Increment, work).await
    }

    async fn usage(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        Medium::usage(self, tenant).await
    }

    async fn erase(&self, tenant: &TenantPart) -> Result<Erased, Error> {
        check_open(self)?;
        Medium::erase(self, tenant).await
    }

    fn place(&self) -> Place {
        Medium::place(self)
    }

    fn takes_writes(&self) -> Result<(), Error> {
        check_open(self)?;
        Medium::takes_writes(self)
    }

    fn metrics(&self) -> &StoreMetrics {
        Medium::metrics(self)
    }

    fn options(&self) -> StoreOptions {
        Medium::options(self)
    }

    fn applied(&self) -> Commit {
        Medium::applied(self)
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed().store(true, Ordering::Release);
        Medium::close(self).await
    }
}
