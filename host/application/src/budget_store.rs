//! Counters of budgets, as records of the host on each tenant.

use async_trait::async_trait;
use waggle_kv::BudgetRecords;
use waggle_tenancy::TenantId;
use waggle_tenancy::{BudgetStore, BudgetStoreFailure, Counted, CounterChange};

/// The counters in one store.
pub(crate) struct RecordedBudgets(pub(crate) BudgetRecords);

#[async_trait]
impl BudgetStore for RecordedBudgets {
    async fn count(
        &self,
        tenant: &TenantId,
        changes: &[CounterChange],
    ) -> Result<Counted, BudgetStoreFailure> {
        let changes: Vec<waggle_kv::CounterChange> = changes
            .iter()
            .map(|change| waggle_kv::CounterChange {
                key: change.key.clone(),
                correction: change.correction,
                charge: change.charge,
                below: change.below,
                expires_ms: change.expires_ms,
            })
            .collect();
        Ok(match self.0.count(tenant.as_str(), &changes).await.map_err(failure)? {
            waggle_kv::Counted::Charged { totals } => Counted { is_charged: true, totals },
            waggle_kv::Counted::Refused { totals, .. } => Counted { is_charged: false, totals },
        })
    }

    async fn read(&self, tenant: &TenantId, keys: &[String]) -> Result<Vec<u64>, BudgetStoreFailure> {
        self.0.read(tenant.as_str(), keys).await.map_err(failure)
    }
}

fn failure(error: waggle_kv::Error) -> BudgetStoreFailure {
    BudgetStoreFailure::new(error.to_string())
}
