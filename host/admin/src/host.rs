//! The seam to the application: what the admin API needs of the running host beside the tenants' records.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use waggle_tenancy::TenantId;

/// What the application does for the admin API.
#[async_trait]
pub trait Host: Send + Sync {
    /// Ends the instances of `tenant`, removes all it has in all stores and its log files, and then looks again: the
    /// report counts what was removed and what is still there. The tenant is suspended while this runs. Doing it twice
    /// is no error.
    ///
    /// # Errors
    /// A sentence for the log: why not everything could be removed. It is done again with the next try.
    async fn erase(&self, tenant: &TenantId) -> Result<ErasureReport, String>;

    /// `tenant` has been removed: its instances end, and nothing of it stays in memory.
    async fn ended(&self, tenant: &TenantId);

    /// What `tenant` uses at this moment. Must not block.
    fn usage(&self, tenant: &TenantId) -> Usage;

    /// Whether the application declares the variable `name` as secret; its value is then never shown.
    fn is_secret_variable(&self, name: &str) -> bool;
}

/// The proof of an erasure: what was removed, and that a second look found nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasureReport {
    /// One for each store of the application, those included in which the tenant had nothing.
    pub stores: Vec<StoreErasure>,
    /// How many log files were removed.
    pub log_files: u32,
}

impl ErasureReport {
    /// Whether nothing was left in any store.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stores.iter().all(|store| store.remaining == 0)
    }
}

/// What was removed from one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreErasure {
    /// The store's name in spin.toml.
    pub store: String,
    /// Keys removed.
    pub keys: u64,
    /// Bytes of the removed keys and values.
    pub bytes: u64,
    /// Keys of the tenant that a second look found; 0 when the erasure is complete.
    pub remaining: u64,
}

/// What a tenant uses at this moment. A field is absent when the host does not count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Requests under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u64>,
    /// Requests over a limit that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_requests: Option<u64>,
    /// Tokens of models in the last minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_last_minute: Option<u64>,
    /// Instances alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Linear memory of all instances, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Keys and values in stores, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
}
