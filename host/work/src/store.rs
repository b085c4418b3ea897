//! Where work is kept: the seam at which another broker can stand.
//!
//! A broker of messages satisfies it as it is: `add` publishes, `claim` takes a message with a time to acknowledge it
//! in, `renew` extends that time, `settle` acknowledges or has it delivered again later, `tenants` and `pending` name
//! what waits. What differs stands behind the trait: the queue above it neither knows keys nor swaps.

use crate::work::{Work, WorkId};
use async_trait::async_trait;
use bytes::Bytes;

/// Why the store did not do it. Nothing in it is a tenant's.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreFailure(String);

impl StoreFailure {
    /// For the log.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A tenant that may have work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub tenant: String,
    /// Changes whenever a tenant without work is given some.
    pub revision: u64,
}

/// Work that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub id: WorkId,
    /// When it was handed over, milliseconds since 1970.
    pub arrived_ms: u64,
}

/// What came of handing work over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is kept, durably.
    Kept,
    /// The tenant has as much as it may have; nothing was kept.
    Full,
}

/// What the store gives to whoever holds work, and takes back with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held(pub Bytes);

/// Work that is this host's to deliver.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What is to be done.
    pub work: Work,
    /// Its attempt, from 1; it counts as used from now on, whatever happens.
    pub attempt: u32,
    /// Shows that this host holds it.
    pub held: Held,
}

/// On which terms work is claimed.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Now, milliseconds since 1970.
    pub now_ms: u64,
    /// When the lease ends, milliseconds since 1970.
    pub until_ms: u64,
    /// How often the work may be delivered.
    pub attempts_max: u32,
    /// How long the wait for another attempt can be, milliseconds. One that would be longer was written by a clock that was
    /// ahead, and is over.
    pub wait_ms_max: u64,
}

/// What came of asking for a piece of work.
#[derive(Debug)]
pub enum Claim {
    /// It is held, durably, until the lease ends.
    Claimed(Box<Claimed>),
    /// Not before then, milliseconds since 1970: it waits for its next attempt, or another host has it.
    Later(u64),
    /// All its attempts are used up, the last one without anybody learning its outcome. It is gone now.
    Spent(Box<Work>),
    /// There is no such work any more.
    Gone,
}

/// What becomes of work that was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It is done with, and removed.
    Remove,
    /// It is to be delivered again, not before then (milliseconds since 1970).
    Again(u64),
    /// As if it had not been held: its attempt is not used up.
    GiveBack,
}

/// Keeps the work of all tenants. A host that shares it with others holds work by a lease.
#[async_trait]
pub trait WorkStore: Send + Sync + 'static {
    /// All tenants that may have work, and maybe some that have none.
    async fn tenants(&self) -> Result<Vec<Listed>, StoreFailure>;

    /// A tenant's work, in order of arrival.
    async fn pending(&self, tenant: &str) -> Result<Vec<Pending>, StoreFailure>;

    /// Keeps work, unless there are `pending_max` pieces of the tenant's already. Durable when it returns.
    async fn add(
        &self,
        tenant: &str,
        pending: Pending,
        work: &Work,
        pending_max: usize,
    ) -> Result<Added, StoreFailure>;

    /// Takes a piece of work until the lease ends, if it has an attempt left and its time has come.
    async fn claim(&self, tenant: &str, id: &WorkId, terms: Terms) -> Result<Claim, StoreFailure>;

    /// Holds it until `until_ms` instead; none if somebody else has it by now, or it is gone.
    async fn renew(
        &self,
        tenant: &str,
        id: &WorkId,
        held: &Held,
        until_ms: u64,
    ) -> Result<Option<Held>, StoreFailure>;

    /// Says what became of it. False if it was no longer held; then nothing is changed. Durable when it returns.
    async fn settle(
        &self,
        tenant: &str,
        id: &WorkId,
        held: &Held,
        outcome: Settle,
    ) -> Result<bool, StoreFailure>;

    /// Takes the tenant off the list if it has no work. `is_gone` says that there is no such tenant: then nothing is
    /// written into its part.
    async fn release(&self, listed: &Listed, is_gone: bool) -> Result<(), StoreFailure>;

    /// Whether other hosts may hold work of this store, so that leases must be kept.
    fn is_shared(&self) -> bool;
}
