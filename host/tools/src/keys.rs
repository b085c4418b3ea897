//! What the registry needs of a store, which knows nothing of tools; and the keys of its families (kv-schemas/host-tool.json,
//! host-tool-head.json, host-tool-component.json, host-tool-part.json), built here and nowhere else.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the registry waits for one operation of the store, milliseconds.
const STORE_WAIT_MS_MAX: u64 = 10_000;

/// Keys with what they hold, or with nothing: as they are expected to be, or as they shall be.
pub(crate) type Listing = Vec<(String, Option<Bytes>)>;

/// The keys of the registry on each tenant, in a store that several hosts may share; and which tenants have some.
#[async_trait]
pub trait ToolKeys: Send + Sync {
    /// What these keys of the tenant hold, each as it is at some moment of the call.
    async fn get(&self, tenant: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StoreFailure>;

    /// Makes all changes as one step, if all that is expected is so; whether that was the case. Durable when it returns.
    /// At most 8 MiB at once, and 200 keys.
    async fn swap(
        &self,
        tenant: &str,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<bool, StoreFailure>;

    /// A number that is another one after each [`ToolKeys::touch`] and each [`ToolKeys::forget`], by any host.
    async fn version(&self) -> Result<u64, StoreFailure>;

    /// All tenants that were touched and not forgotten since, and the version at which that was so.
    async fn tenants(&self) -> Result<(u64, Vec<Listed>), StoreFailure>;

    /// Says to all hosts that the tenant's keys change (`is_changing`) or have changed.
    async fn touch(&self, tenant: &str, is_changing: bool) -> Result<(), StoreFailure>;

    /// Takes the tenant off the list.
    async fn forget(&self, tenant: &str) -> Result<(), StoreFailure>;
}

/// A tenant that has tools, or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub tenant: String,
    /// Another one after each touch.
    pub revision: u64,
    /// Whether somebody was about to change something and has not said yet that it is done.
    pub is_changing: bool,
}

/// The store did not do its part. The sentence is for the operator and holds no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of tools failed: {0}")]
pub struct StoreFailure(String);

impl StoreFailure {
    /// A failure for this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Waits at most [`STORE_WAIT_MS_MAX`].
pub(crate) async fn timely<T>(
    operation: impl Future<Output = Result<T, StoreFailure>>,
) -> Result<T, StoreFailure> {
    match tokio::time::timeout(Duration::from_millis(STORE_WAIT_MS_MAX), operation).await {
        Ok(result) => result,
        Err(_elapsed) => Err(StoreFailure::new(format!("no answer within {STORE_WAIT_MS_MAX} ms"))),
    }
}

/// Where it stands which tools and components there are.
pub(crate) const HEAD: &str = "head";

/// Where a tool's record is.
pub(crate) fn tool(name: &str) -> String {
    format!("tool/{name}")
}

/// Where it stands what a component can do. `hex` are the digits of its digest.
pub(crate) fn component(hex: &str) -> String {
    format!("component/{hex}")
}

/// Where a part of a component's bytes is.
pub(crate) fn part(hex: &str, number: usize) -> String {
    format!("part/{hex}/{number:03}")
}

/// Keys that are gone when the process is: for tests, and for hosts that keep none.
#[derive(Default)]
pub struct MemoryToolKeys(Mutex<Held>);

#[derive(Default)]
struct Held {
    version: u64,
    tenants: BTreeMap<String, Listed>,
    keys: BTreeMap<(String, String), Bytes>,
}

impl MemoryToolKeys {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All keys of a tenant with what they hold, in their order.
    #[must_use]
    pub fn all(&self, tenant: &str) -> Vec<(String, Bytes)> {
        let held = self.held();
        let own = held.keys.iter().filter(|((owner, _), _)| owner == tenant);
        own.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }

    /// Removes all keys of a tenant, as erasing its part of a store does.
    pub fn erase(&self, tenant: &str) {
        self.held().keys.retain(|(owner, _), _| owner != tenant);
    }
}

#[async_trait]
impl ToolKeys for MemoryToolKeys {
    async fn get(&self, tenant: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StoreFailure> {
        let held = self.held();
        let of = |key: &String| held.keys.get(&(tenant.to_owned(), key.clone())).cloned();
        Ok(keys.iter().map(of).collect())
    }

    async fn swap(&self, tenant: &str, expected: Listing, changes: Listing) -> Result<bool, StoreFailure> {
        let mut held = self.held();
        let at = |key: String| (tenant.to_owned(), key);
        for (key, value) in expected {
            if held.keys.get(&at(key)) != value.as_ref() {
                return Ok(false);
            }
        }
        for (key, value) in changes {
            match value {
                Some(value) => held.keys.insert(at(key), value),
                None => held.keys.remove(&at(key)),
            };
        }
        Ok(true)
    }

    async fn version(&self) -> Result<u64, StoreFailure> {
        Ok(self.held().version)
    }

    async fn tenants(&self) -> Result<(u64, Vec<Listed>), StoreFailure> {
        let held = self.held();
        Ok((held.version, held.tenants.values().cloned().collect()))
    }

    async fn touch(&self, tenant: &str, is_changing: bool) -> Result<(), StoreFailure> {
        let mut held = self.held();
        held.version += 1;
        let listed = Listed { tenant: tenant.to_owned(), revision: held.version, is_changing };
        held.tenants.insert(tenant.to_owned(), listed);
        Ok(())
    }

    async fn forget(&self, tenant: &str) -> Result<(), StoreFailure> {
        let mut held = self.held();
        held.version += 1;
        held.tenants.remove(tenant);
        Ok(())
    }
}
