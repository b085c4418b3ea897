//! The trait that every store satisfies.

use crate::{Commit, Counted, CounterChange, Error, Partition, StoreMetrics, TenantPart};
use async_trait::async_trait;
use bytes::Bytes;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What a store label is opened with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long a key lives after it was last written; `None`: until it is deleted. Every write of a key starts its
    /// time anew. An expired key is gone for every read at once and leaves the disk some time later.
    pub time_to_live: Option<Duration>,
}

/// Some keys of a partition, and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// Whole keys, the prefix included.
    pub keys: Vec<String>,
    /// To be passed to the next call; `None`: there are no more keys. A page can be empty and still have a cursor.
    pub cursor: Option<String>,
}

/// What came of a compare-and-swap.
#[derive(Clone, Debug)]
pub enum Swap {
    /// The value was the expected one and is now the new one.
    Done(Commit),
    /// The value was this one, and still is.
    Changed(Option<Bytes>),
}

/// What a tenant has in a store, in all labels together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys that have a value now.
    pub keys: u64,
    /// Bytes of these keys and their values, as a guest sees them: without what the store itself adds.
    pub bytes: u64,
}

/// What erasing a tenant has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Keys that had a value and were deleted.
    pub keys: u64,
    /// Bytes of these keys and values, counted as in [`Usage`].
    pub bytes: u64,
    /// Keys found when counting again afterwards: 0, unless the tenant was still writing.
    pub remaining: u64,
}

/// Where a store's data is. Two stores at one place hold the same keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// The address of a server, without its password.
    Server(Arc<str>),
}

/// A key-value store.
///
/// Reads see every write whose call has returned (and may see one whose call has not). The bounds of
/// [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) and its neighbours hold for every store; breaking one is a typed error
/// and changes nothing. All other errors are those of the medium: [`Error::Poisoned`], [`Error::Damaged`],
/// [`Error::Io`] when embedded; [`Error::Unreachable`], [`Error::Refused`] over the network. Every write to a
/// closed store is [`Error::Closed`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    async fn get(&self, partition: &Partition, key: &str) -> Result<Option<Bytes>, Error>;

    /// Whether the key has a value.
    async fn exists(&self, partition: &Partition, key: &str) -> Result<bool, Error>;

    /// The values of several keys, in their order, all seen at one moment: a batch is seen whole or not at all.
    async fn get_many(&self, partition: &Partition, keys: &[String]) -> Result<Vec<Option<Bytes>>, Error>;

    /// The keys that begin with `prefix`, in pages; `cursor` is the one of the page before.
    ///
    /// A key that is there during the whole walk is in a page; one that comes or goes meanwhile may or may not be.
    /// Embedded: at most `limit` keys, sorted by their bytes, each once. Redis: about `limit` keys in no order, and a
    /// key can come in two pages (the guarantees of `SCAN`, which also looks at the keys of every other partition).
    async fn keys(
        &self,
        partition: &Partition,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<KeyPage, Error>;

    /// Sets one value.
    async fn set(&self, partition: &Partition, key: &str, value: Bytes) -> Result<Commit, Error>;

    /// Deletes one key; deleting a key that is not there is a success.
    async fn delete(&self, partition: &Partition, key: &str) -> Result<Commit, Error>;

    /// Sets several values in one atomic commit. Of a key that comes twice the last value counts.
    async fn set_many(&self, partition: &Partition, entries: Vec<(String, Bytes)>) -> Result<Commit, Error>;

    /// Deletes several keys in one atomic commit.
    async fn delete_many(&self, partition: &Partition, keys: Vec<String>) -> Result<Commit, Error>;

    /// Adds `delta` to a whole number kept as decimal text, as Redis' `INCRBY` does, and returns the sum. A key that
    /// is not there counts as 0.
    ///
    /// # Errors
    /// [`Error::NotANumber`] and [`Error::Overflow`]; the value is then unchanged.
    async fn increment(&self, partition: &Partition, key: &str, delta: i64) -> Result<(i64, Commit), Error>;

    /// Sets the value if it is the expected one (`None`: if there is none), atomically, comparing bytes.
    async fn compare_and_swap(
        &self,
        partition: &Partition,
        key: &str,
        expected: Option<&Bytes>,
        value: Bytes,
    ) -> Result<Swap, Error>;

    /// Makes the changes (`None`: the key is deleted) in one atomic commit if every key of `expected` has that value
    /// (`None`: no value). Returns `None`, and changes nothing, if one has not. Of a key that is changed twice the
    /// last value counts.
    async fn swap_many(
        &self,
        partition: &Partition,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<Option<Commit>, Error>;

    /// Corrects several counters and charges all of them or none, atomically, see [`CounterChange`]. The counters live
    /// until the times that the changes name, not as the store's options say. Embedded it never waits for anything;
    /// Redis: one round trip.
    ///
    /// # Errors
    /// [`Error::NotANumber`], [`Error::BatchTooLong`] beyond [`COUNTERS_PER_STEP_MAX`](crate::COUNTERS_PER_STEP_MAX).
    async fn count(
        &self,
        partition: &Partition,
        changes: &[CounterChange],
    ) -> Result<(Counted, Commit), Error>;

    /// What the tenant has at this store's place, in all labels. Embedded: reads the tenant's part from its beginning
    /// to its end. Redis: looks at every key of the database (`SCAN`), which takes seconds where there are millions.
    async fn usage(&self, tenant: &TenantPart) -> Result<Usage, Error>;

    /// Deletes all that the tenant has at this store's place, in all labels, a bounded number of keys at a time, and
    /// counts again. Other tenants read and write on meanwhile. The tenant should be quiet: what it writes during the
    /// call is either deleted or counted as remaining. An erasure that was cut short is completed by another call.
    ///
    /// Durable when it returns. Embedded, what was erased has left the files as well by then: the journal was begun
    /// anew and every table rewritten without it, which costs about 64 MiB of writing and one pass over the whole
    /// store; erasures at the same time share that. What the file system does with the blocks it got back is its own.
    /// Redis keeps deleted values in an append-only file until that is rewritten, and in snapshots made before.
    ///
    /// # Errors
    /// [`Error::NotPurged`] when all keys are deleted but the files still hold something; call again.
    async fn erase(&self, tenant: &TenantPart) -> Result<Erased, Error>;

    /// Where the data is.
    fn place(&self) -> Place;

    /// Whether it takes writes.
    ///
    /// # Errors
    /// Why it does not: it is closed, or a flush has failed. One that is over the network does not ask its server.
    fn takes_writes(&self) -> Result<(), Error>;

    /// What it has counted since it was opened.
    fn metrics(&self) -> &StoreMetrics;

    /// What the store was opened with.
    fn options(&self) -> StoreOptions;

    /// A commit that covers every write that a read returned from this store may have seen. Whoever lets something
    /// leave the machine that depends on what was *read* waits for it, as for the commit of a write.
    fn applied(&self) -> Commit;

    /// Makes everything applied durable and then takes no more writes. Closing twice is a success.
    async fn close(&self) -> Result<(), Error>;
}
