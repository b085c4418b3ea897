//! What each tenant may keep in stores: one quota for all stores and functions of a tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use waggle_kv::{Error, QuotaStore, StorageQuota, Store, TenantPart};
use waggle_tenancy::{TenantEntry, TenantId};

/// The quotas of all tenants that have one.
#[derive(Default)]
pub(crate) struct Quotas(Mutex<HashMap<TenantId, Arc<StorageQuota>>>);

impl Quotas {
    /// `store`, or a way to it that counts what the tenant writes. A tenant that once had a limit is counted on, so that
    /// the limit can come back.
    pub(crate) fn limited(&self, entry: &TenantEntry, store: &Arc<dyn Store>) -> Arc<dyn Store> {
        let mut quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = &entry.tenant.id;
        let limit = entry.limits.storage_bytes_max;
        if limit.is_none() && !quotas.contains_key(id) {
            return Arc::clone(store);
        }
        let Ok(part) = TenantPart::new(id.as_str()) else { return Arc::clone(store) };
        let quota = quotas.entry(id.clone()).or_insert_with(|| StorageQuota::new(part, limit));
        quota.set_limit(limit);
        QuotaStore::new(Arc::clone(store), Arc::clone(quota))
    }

    /// How many bytes the tenant has in these stores, counted anew; a tenant that has a quota waits for the pause between
    /// two counts.
    pub(crate) async fn used(
        &self,
        tenant: &TenantId,
        stores: impl Iterator<Item = &Arc<dyn Store>>,
    ) -> Result<u64, Error> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        let quota = match known {
            Some(quota) => quota,
            None => StorageQuota::new(TenantPart::new(tenant.as_str())?, None),
        };
        // It knows the stores of the instances there were; what an earlier run of the host wrote counts as well.
        stores.for_each(|store| drop(QuotaStore::new(Arc::clone(store), Arc::clone(&quota))));
        quota.used().await
    }

    /// Forgets what is known of a tenant's use, because it is gone or erased.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }
}
