//! The registry of tools, as records of the host on each tenant; and which tenants have some, as records of the host.

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use waggle_kv::{HostRecords, Partition, Put, Store};
use waggle_tools::{Listed, StoreFailure, ToolKeys};

/// Keeps these records apart from others of the host, on a tenant (kv-schemas/host-tool.json) and on its own.
const FAMILY: &str = "tool";
/// Times that a tenant is put on the list anew, or taken off it, because another host has just done so.
const LIST_ATTEMPTS_MAX: usize = 100;
/// What the list says of a tenant that somebody changes at the moment.
const CHANGING: &[u8] = b"changing";

/// The tools of all tenants in one store.
pub(crate) struct RecordedTools {
    store: Arc<dyn Store>,
    /// By their ids: tenants that may have tools.
    listed: HostRecords,
}

impl RecordedTools {
    /// # Errors
    /// When records in the store would expire.
    pub(crate) fn new(store: Arc<dyn Store>) -> Result<Self, waggle_kv::Error> {
        let listed = HostRecords::new(Arc::clone(&store), FAMILY)?;
        Ok(Self { store, listed })
    }
}

#[async_trait]
impl ToolKeys for RecordedTools {
    async fn get(&self, tenant: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StoreFailure> {
        let at = Partition::host_of(tenant, FAMILY).map_err(failure)?;
        self.store.get_many(&at, keys).await.map_err(failure)
    }

    async fn swap(
        &self,
        tenant: &str,
        expected: Vec<(String, Option<Bytes>)>,
        changes: Vec<(String, Option<Bytes>)>,
    ) -> Result<bool, StoreFailure> {
        let at = Partition::host_of(tenant, FAMILY).map_err(failure)?;
        match self.store.swap_many(&at, expected, changes).await.map_err(failure)? {
            Some(commit) => commit.durable().await.map_err(failure).map(|()| true),
            None => Ok(false),
        }
    }

    async fn version(&self) -> Result<u64, StoreFailure> {
        self.listed.version().await.map_err(failure)
    }

    async fn tenants(&self) -> Result<(u64, Vec<Listed>), StoreFailure> {
        let (version, records) = self.listed.load().await.map_err(failure)?;
        let listed = records.into_iter().map(|(tenant, revision, value)| Listed {
            tenant,
            revision,
            is_changing: value == CHANGING,
        });
        Ok((version, listed.collect()))
    }

    async fn touch(&self, tenant: &str, is_changing: bool) -> Result<(), StoreFailure> {
        let value = Bytes::from_static(if is_changing { CHANGING } else { b"" });
        let mut expected = None;
        for _ in 0..LIST_ATTEMPTS_MAX {
            match self.listed.put(tenant, value.clone(), expected).await.map_err(failure)? {
                Put::Done { .. } => return Ok(()),
                Put::Changed { revision } => expected = revision,
            }
        }
        Err(StoreFailure::new("the list of tenants with tools is changed all the time"))
    }

    async fn forget(&self, tenant: &str) -> Result<(), StoreFailure> {
        // No record has this revision: what is answered is the one it has.
        let mut revision = 0;
        for _ in 0..LIST_ATTEMPTS_MAX {
            match self.listed.remove(tenant, revision).await.map_err(failure)? {
                Put::Done { .. } | Put::Changed { revision: None } => return Ok(()),
                Put::Changed { revision: Some(listed) } => revision = listed,
            }
        }
        Err(StoreFailure::new("the list of tenants with tools is changed all the time"))
    }
}

fn failure(error: waggle_kv::Error) -> StoreFailure {
    StoreFailure::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_kv::{Opener, StoreConfig, TenantPart};

    #[tokio::test(flavor = "multi_thread")]
    async fn tools_lie_in_their_tenants_part_and_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut opener = Opener::new(folder.path().to_owned());
        let store = opener.open(&StoreConfig::default()).await.unwrap();
        let tools = RecordedTools::new(Arc::clone(&store)).unwrap();
        let key = || "head".to_owned();
        let value = Some(Bytes::from_static(b"{}"));
        for tenant in ["bank", "shop"] {
            tools.touch(tenant, true).await.unwrap();
            assert!(tools.swap(tenant, vec![(key(), None)], vec![(key(), value.clone())]).await.unwrap());
            assert!(!tools.swap(tenant, vec![(key(), None)], vec![(key(), None)]).await.unwrap());
        }
        tools.touch("bank", false).await.unwrap();
        let (version, listed) = tools.tenants().await.unwrap();
        assert_eq!(version, tools.version().await.unwrap());
        let told: Vec<_> = listed.iter().map(|one| (one.tenant.as_str(), one.is_changing)).collect();
        assert_eq!(told, [("bank", false), ("shop", true)]);

        store.erase(&TenantPart::new("bank").unwrap()).await.unwrap();
        assert_eq!(tools.get("bank", &[key()]).await.unwrap(), [None]);
        assert_eq!(tools.get("shop", &[key()]).await.unwrap(), [value]);
        for _ in 0..2 {
            tools.forget("bank").await.unwrap();
        }
        assert!(tools.version().await.unwrap() > version);
        assert_eq!(tools.tenants().await.unwrap().1.len(), 1);
    }
}
