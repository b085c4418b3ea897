//! The seam to the application: what the admin API needs of the running host beside the tenants' records.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use waggle_tenancy::TenantId;
use waggle_tools::{Registry, ToolSource};

/// What the application does for the admin API.
#[async_trait]
pub trait Host: Send + Sync {
    /// Ends the instances of `tenant`, removes all it has in all stores and indexes and its log files, and then looks again: the
    /// report counts what was removed and what is still there. The tenant is suspended while this runs, and has been for
    /// [`Host::quiet_after`]. Doing it twice is no error.
    ///
    /// # Errors
    /// A sentence for the log: why not everything could be removed. It is done again with the next try.
    async fn erase(&self, tenant: &TenantId) -> Result<ErasureReport, String>;

    /// `tenant` has been removed: its instances end, and nothing of it stays in memory.
    async fn ended(&self, tenant: &TenantId);

    /// How long after a tenant was suspended other hosts may still write to its data: until they have seen it, and
    /// their last requests have ended. Zero where no other host shares the stores.
    fn quiet_after(&self) -> Duration;

    /// What `tenant` uses at this moment, within a few seconds.
    async fn usage(&self, tenant: &TenantId) -> Usage;

    /// Whether the application declares the variable `name` as secret; its value is then never shown.
    fn is_secret_variable(&self, name: &str) -> bool;

    /// Tenants' tools; none where the application has no function that they could be called by.
    fn tools(&self) -> Option<&Tools> {
        None
    }
}

/// What the routes of tools ask.
#[derive(Clone)]
pub struct Tools {
    /// The tools themselves.
    pub registry: Arc<Registry>,
    /// What says what a tool can do.
    pub source: Arc<dyn ToolSource>,
}

/// The proof of an erasure: what was removed, and that a second look found nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasureReport {
    /// One for each store of the application, those included in which the tenant had nothing. Its indexes, where it had
    /// any, are among them as `(indexes)`, each counted as a key.
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

/// What a tenant uses on this host at this moment. A field is absent when the host does not count it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Requests under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u64>,
    /// Requests over a limit that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_requests: Option<u64>,
    /// Tokens of models in the last minute, measured: as the models' answers say, in steps of five seconds. Absent without
    /// the limit `tokens_per_minute`, for then nobody counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_last_minute: Option<u64>,
    /// Instances alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Linear memory of all instances, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Bytes of keys and values in all stores, those that other hosts wrote included. Measured: counted anew for this
    /// answer; it is not the estimate that the limit `storage_bytes_max` goes by. Absent where counting takes longer than
    /// five seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    /// Its indexes, on this host. Absent where no function uses indexes, or they cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_indexes: Option<u64>,
    /// The chunks that are found in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_chunks: Option<u64>,
    /// About how many bytes they take, what is staged included; the limit `vector_bytes_max` goes by the same count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_bytes: Option<u64>,
    /// Its tools, accepted or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<u64>,
    /// Calls of them under way, on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
    /// What is used of each budget that the tenant has as a whole; those of its users are not told here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetUse>,
}

/// What is used of one budget, in the window that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetUse {
    /// The field of the limits: `tokens_per_day`, `cost_per_month`, …
    pub limit: String,
    /// What is allowed: tokens, or millionths of the currency.
    pub allowed: u64,
    /// What is used.
    pub used: u64,
    /// What calls of this host that are under way have set aside.
    pub reserved: u64,
    /// In how many seconds the window ends.
    pub reset_seconds: u64,
}
