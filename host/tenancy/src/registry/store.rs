//! Where the tenants of the admin API are kept: what the registry needs of a store, which knows nothing of tenants.

use crate::TenantId;
use async_trait::async_trait;
use std::future::Future;
use std::time::Duration;

/// How long the registry waits for one operation of the store, milliseconds.
pub const STORE_WAIT_MS_MAX: u64 = 5_000;

/// A record of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTenant {
    /// Whose it is.
    pub id: TenantId,
    /// Which writing of it this is: grows with each, and is never given twice for one id, not even after a removal.
    pub revision: u64,
    /// The settings, JSON. Secrets in them are sealed.
    pub settings: Vec<u8>,
}

/// A store of tenants, possibly shared by several hosts.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// A number that grows with each change, at the latest when the change is acknowledged. 0 as long as there never was
    /// one; removing everything does not bring it back to that.
    async fn version(&self) -> Result<u64, StoreFailure>;

    /// All records, and a version whose changes they contain; they may be newer than it.
    async fn load(&self) -> Result<(u64, Vec<StoredTenant>), StoreFailure>;

    /// Writes a record if its revision is still `expected` (none: if there is no such record), as one step, and
    /// answers its new revision. It survives a power cut when this returns.
    async fn put(&self, id: &TenantId, settings: Vec<u8>, expected: Option<u64>)
    -> Result<u64, WriteFailure>;

    /// Removes a record if its revision is still `expected`, as one step. It stays removed after a power cut.
    async fn remove(&self, id: &TenantId, expected: u64) -> Result<(), WriteFailure>;
}

/// The store did not do its part. The sentence is for the operator and holds no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of tenants failed: {0}")]
pub struct StoreFailure(String);

impl StoreFailure {
    /// A failure for this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteFailure {
    /// Its revision is another one: somebody else has changed it.
    #[error("the record was changed meanwhile")]
    Conflict,
    /// The store failed; whether the record was written is not known.
    #[error(transparent)]
    Store(#[from] StoreFailure),
}

/// Waits at most [`STORE_WAIT_MS_MAX`].
pub(super) async fn timely<T, E: From<StoreFailure>>(
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let late = || StoreFailure::new(format!("no answer within {STORE_WAIT_MS_MAX} ms"));
    match tokio::time::timeout(Duration::from_millis(STORE_WAIT_MS_MAX), operation).await {
        Ok(result) => result,
        Err(_) => Err(late().into()),
    }
}
