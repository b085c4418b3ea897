//! What budgets need of a store, which knows nothing of budgets.

use crate::TenantId;
use async_trait::async_trait;

/// What one step does to one counter, a whole number from 0 to 2^53 - 1; 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterChange {
    /// Its name among the tenant's counters; each once in a step.
    pub key: String,
    /// Added whatever becomes of the step; the counter never falls below 0.
    pub correction: i64,
    /// Added if every counter of the step is below its bound once it is corrected, else nothing is added to any.
    pub charge: u64,
    /// The bound; none: this counter never stands in the way.
    pub below: Option<u64>,
    /// When the counter may go away, milliseconds since 1970.
    pub expires_ms: u64,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether everything was charged, or nothing.
    pub is_charged: bool,
    /// The counters as they are after it, in the order of the changes.
    pub totals: Vec<u64>,
}

/// Counters of tenants, possibly shared by several hosts. They survive a restart; the last second's changes may be lost
/// in a power cut.
#[async_trait]
pub trait BudgetStore: Send + Sync + 'static {
    /// Makes one step, of 16 counters at most, atomically: no other step comes in between.
    async fn count(
        &self,
        tenant: &TenantId,
        changes: &[CounterChange],
    ) -> Result<Counted, BudgetStoreFailure>;

    /// What these counters are now, in their order.
    async fn read(&self, tenant: &TenantId, keys: &[String]) -> Result<Vec<u64>, BudgetStoreFailure>;
}

/// The store did not do its part; whether the step was made is not known. The sentence is for the operator and holds no
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of budgets failed: {0}")]
pub struct BudgetStoreFailure(String);

impl BudgetStoreFailure {
    /// A failure for this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}
