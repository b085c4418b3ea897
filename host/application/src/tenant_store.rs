//! The tenants of the admin API, as records of the host in a store.

use async_trait::async_trait;
use bytes::Bytes;
use waggle_kv::{HostRecords, Put};
use waggle_tenancy::{StoreFailure, StoredTenant, TenantId, TenantStore, WriteFailure};

/// The records of tenants in one store.
pub(crate) struct RecordedTenants(pub(crate) HostRecords);

#[async_trait]
impl TenantStore for RecordedTenants {
    async fn version(&self) -> Result<u64, StoreFailure> {
        self.0.version().await.map_err(failure)
    }

    async fn load(&self) -> Result<(u64, Vec<StoredTenant>), StoreFailure> {
        let (version, records) = self.0.load().await.map_err(failure)?;
        let tenants = records.into_iter().filter_map(|(id, revision, settings)| {
            let Ok(id) = TenantId::new(&id) else {
                tracing::error!(record = id, "a record of a tenant whose id is none; it is left out");
                return None;
            };
            Some(StoredTenant { id, revision, settings: settings.to_vec() })
        });
        Ok((version, tenants.collect()))
    }

    async fn put(
        &self,
        id: &TenantId,
        settings: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, WriteFailure> {
        match self.0.put(id.as_str(), Bytes::from(settings), expected).await.map_err(failure)? {
            Put::Done { revision, .. } => Ok(revision),
            Put::Changed { .. } => Err(WriteFailure::Conflict),
        }
    }

    async fn remove(&self, id: &TenantId, expected: u64) -> Result<(), WriteFailure> {
        match self.0.remove(id.as_str(), expected).await.map_err(failure)? {
            Put::Done { .. } => Ok(()),
            Put::Changed { .. } => Err(WriteFailure::Conflict),
        }
    }
}

fn failure(error: waggle_kv::Error) -> StoreFailure {
    StoreFailure::new(error.to_string())
}
