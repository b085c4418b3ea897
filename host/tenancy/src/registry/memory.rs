//! A store of tenants in memory, for tests and for hosts that keep none.

use super::store::{StoreFailure, StoredTenant, TenantStore, WriteFailure};
use crate::TenantId;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tenants that are gone when the process is.
#[derive(Default)]
pub struct MemoryTenantStore {
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    version: u64,
    by_id: BTreeMap<TenantId, StoredTenant>,
}

impl MemoryTenantStore {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn expect(&self, id: &TenantId, expected: Option<u64>) -> Result<(), WriteFailure> {
        let revision = self.by_id.get(id).map(|record| record.revision);
        if revision == expected { Ok(()) } else { Err(WriteFailure::Conflict) }
    }
}

#[async_trait]
impl TenantStore for MemoryTenantStore {
    async fn version(&self) -> Result<u64, StoreFailure> {
        Ok(self.records().version)
    }

    async fn load(&self) -> Result<(u64, Vec<StoredTenant>), StoreFailure> {
        let records = self.records();
        Ok((records.version, records.by_id.values().cloned().collect()))
    }

    async fn put(
        &self,
        id: &TenantId,
        settings: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, WriteFailure> {
        let mut records = self.records();
        records.expect(id, expected)?;
        records.version += 1;
        let revision = records.version;
        records.by_id.insert(id.clone(), StoredTenant { id: id.clone(), revision, settings });
        Ok(revision)
    }

    async fn remove(&self, id: &TenantId, expected: u64) -> Result<(), WriteFailure> {
        let mut records = self.records();
        records.expect(id, Some(expected))?;
        records.version += 1;
        records.by_id.remove(id);
        Ok(())
    }
}
