//! A store that refuses a tenant's writes beyond its quota.
//!
//! Reads and, where there is no limit, writes go straight to the store behind: they cost one call and one branch more.

use crate::{
    Commit, Counted, CounterChange, Erased, Error, KeyPage, Partition, Place, StorageQuota, Store,
    StoreMetrics, StoreOptions, Swap, TenantPart, Usage,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{future::Future, pin::Pin, sync::Arc};

/// Bytes that the longest number of `increment` has as text.
const NUMBER_BYTES: usize = 20;

/// What the functions of [`Store`] return.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// One tenant's view of a store, with a quota that all the tenant's stores share.
pub struct QuotaStore {
    inner: Arc<dyn Store>,
    quota: Arc<StorageQuota>,
}

impl QuotaStore {
    /// Every write to the store returned counts as one of the quota's tenant, whatever partition it names; a write
    /// beyond the quota is [`Error::QuotaExceeded`]. The first write to be limited waits until the tenant's part of
    /// the store has been measured.
    #[expect(clippy::new_ret_no_self, reason = "whoever makes one uses it as any other store")]
    pub fn new(inner: Arc<dyn Store>, quota: Arc<StorageQuota>) -> Arc<dyn Store> {
        quota.add_store(&inner);
        Arc::new(Self { inner, quota })
    }

    /// Makes a write of so many bytes if there is room.
    async fn within<T>(
        &self,
        bytes: usize,
        write: impl Future<Output = Result<T, Error>> + Send,
        is_applied: impl Fn(&T) -> bool + Send,
    ) -> Result<T, Error> {
        let reservation = self.quota.reserve(bytes as u64).await?;
        let outcome = write.await;
        let is_applied = match &outcome {
            Ok(answer) => is_applied(answer),
            // Nobody knows.
            Err(Error::Unreachable { .. } | Error::Io { .. } | Error::Poisoned { .. }) => true,
            Err(_) => false,
        };
        if !is_applied {
            reservation.give_back();
        }
        outcome
    }

    /// Deletes, which needs no room and may make some.
    async fn freeing<T>(&self, delete: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let outcome = delete.await;
        self.quota.note_delete();
        outcome
    }
}

#[async_trait]
impl Store for QuotaStore {
    fn get<'s, 'p, 'k, 'a>(&'s self, partition: &'p Partition, key: &'k str) -> Answer<'a, Option<Bytes>>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        Self: 'a,
    {
        self.inner.get(partition, key)
    }

    fn exists<'s, 'p, 'k, 'a>(&'s self, partition: &'p Partition, key: &'k str) -> Answer<'a, bool>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        Self: 'a,
    {
        self.inner.exists(partition, key)
    }

    fn get_many<'s, 'p, 'k, 'a>(
        &'s self,
        partition: &'p Partition,
        keys: &'k [String],
    ) -> Answer<'a, Vec<Option<Bytes>>>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        Self: 'a,
    {
        self.inner.get_many(partition, keys)
    }

    fn keys<'s, 'p, 'k, 'c, 'a>(
        &'s self,
        partition: &'p Partition,
        prefix: &'k str,
        cursor: Option<&'c str>,
        limit: usize,
    ) -> Answer<'a, KeyPage>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        'c: 'a,
        Self: 'a,
    {
        self.inner.keys(partition, prefix, cursor, limit)
    }

    fn set<'s, 'p, 'k, 'a>(
        &'s self,
        partition: &'p Partition,
        key: &'k str,
        value: Bytes,
    ) -> Answer<'a, Commit>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        Self: 'a,
    {
        let bytes = key.len() + value.len();
        let write = self.inner.set(partition, key, value);
        if self.quota.is_unlimited() { write } else { Box::pin(self.within(bytes, write, |_| true)) }
    }

    fn delete<'s, 'p, 'k, 'a>(&'s self, partition: &'p Partition, key: &'k str) -> Answer<'a, Commit>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        Self: 'a,
    {
        let delete = self.inner.delete(partition, key);
        if self.quota.is_unlimited() { delete } else { Box::pin(self.freeing(delete)) }
    }

    fn set_many<'s, 'p, 'a>(
        &'s self,
        partition: &'p Partition,
        entries: Vec<(String, Bytes)>,
    ) -> Answer<'a, Commit>
    where
        's: 'a,
        'p: 'a,
        Self: 'a,
    {
        if self.quota.is_unlimited() {
            return self.inner.set_many(partition, entries);
        }
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        Box::pin(self.within(bytes, self.inner.set_many(partition, entries), |_| true))
    }

    fn delete_many<'s, 'p, 'a>(&'s self, partition: &'p Partition, keys: Vec<String>) -> Answer<'a, Commit>
    where
        's: 'a,
        'p: 'a,
        Self: 'a,
    {
        let delete = self.inner.delete_many(partition, keys);
        if self.quota.is_unlimited() { delete } else { Box::pin(self.freeing(delete)) }
    }

    fn increment<'s, 'p, 'k, 'a>(
        &'s self,
        partition: &'p Partition,
        key: &'k str,
        delta: i64,
    ) -> Answer<'a, (i64, Commit)>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        Self: 'a,
    {
        let write = self.inner.increment(partition, key, delta);
        let bytes = key.len() + NUMBER_BYTES;
        if self.quota.is_unlimited() { write } else { Box::pin(self.within(bytes, write, |_| true)) }
    }

    fn compare_and_swap<'s, 'p, 'k, 'e, 'a>(
        &'s self,
        partition: &'p Partition,
        key: &'k str,
        expected: Option<&'e Bytes>,
        value: Bytes,
    ) -> Answer<'a, Swap>
    where
        's: 'a,
        'p: 'a,
        'k: 'a,
        'e: 'a,
        Self: 'a,
    {
        let bytes = key.len() + value.len();
        let write = self.inner.compare_and_swap(partition, key, expected, value);
        if self.quota.is_unlimited() {
            return write;
        }
        Box::pin(self.within(bytes, write, |swap| matches!(swap, Swap::Done(_))))
    }

    async fn swap_many(
        &self,
        partition: &Partition,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<Option<Commit>, Error> {
        let size =
            |(key, value): &(String, Option<Bytes>)| value.as_ref().map(|value| key.len() + value.len());
        let bytes = changes.iter().filter_map(size).sum();
        let write = self.inner.swap_many(partition, expected, changes);
        if self.quota.is_unlimited() {
            return write.await;
        }
        // It may delete as well as write.
        self.freeing(self.within(bytes, write, Option::is_some)).await
    }

    /// Counters are the host's own and need no room of the tenant's.
    async fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error> {
        self.inner.count(partition, changes).await
    }

    async fn usage(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        self.inner.usage(tenant).await
    }

    async fn erase(&self, tenant: &TenantPart) -> Result<Erased, Error> {
        self.freeing(self.inner.erase(tenant)).await
    }

    fn takes_writes(&self) -> Result<(), Error> {
        self.inner.takes_writes()
    }

    fn metrics(&self) -> &StoreMetrics {
        self.inner.metrics()
    }

    fn place(&self) -> Place {
        self.inner.place()
    }

    fn options(&self) -> StoreOptions {
        self.inner.options()
    }

    fn applied(&self) -> Commit {
        self.inner.applied()
    }

    async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }
}
