//! Pending work, as records of the host on each tenant; and which tenants have some, as records of the host.

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use waggle_kv::{HostRecords, Partition, Place, Put, Store};
use waggle_work::{Listed, Listing, StoreFailure, WorkKeys};

/// Keeps these records apart from others of the host, on a tenant (kv-schemas/host-work.json) and on its own.
const FAMILY: &str = "work";
/// Times that a tenant is put on the list anew because another host has just done so.
const ENLIST_ATTEMPTS_MAX: usize = 100;

/// The work of all tenants in one store.
pub(crate) struct RecordedWork {
    store: Arc<dyn Store>,
    /// By their ids, without a value: tenants that may have work.
    listed: HostRecords,
}

impl RecordedWork {
    /// # Errors
    /// When records in the store would expire.
    pub(crate) fn new(store: Arc<dyn Store>) -> Result<Self, waggle_kv::Error> {
        let listed = HostRecords::new(Arc::clone(&store), FAMILY)?;
        Ok(Self { store, listed })
    }
}

#[async_trait]
impl WorkKeys for RecordedWork {
    async fn get(&self, tenant: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StoreFailure> {
        let at = Partition::host_of(tenant, FAMILY).map_err(failure)?;
        self.store.get_many(&at, keys).await.map_err(failure)
    }

    async fn swap(&self, tenant: &str, expected: Listing, changes: Listing) -> Result<bool, StoreFailure> {
        let at = Partition::host_of(tenant, FAMILY).map_err(failure)?;
        match self.store.swap_many(&at, expected, changes).await.map_err(failure)? {
            Some(commit) => commit.durable().await.map_err(failure).map(|()| true),
            None => Ok(false),
        }
    }

    async fn tenants(&self) -> Result<Vec<Listed>, StoreFailure> {
        let (_version, records) = self.listed.load().await.map_err(failure)?;
        Ok(records.into_iter().map(|(tenant, revision, _value)| Listed { tenant, revision }).collect())
    }

    async fn enlist(&self, tenant: &str) -> Result<(), StoreFailure> {
        let mut expected = None;
        for _ in 0..ENLIST_ATTEMPTS_MAX {
            match self.listed.put(tenant, Bytes::new(), expected).await.map_err(failure)? {
                Put::Done { .. } => return Ok(()),
                Put::Changed { revision } => expected = revision,
            }
        }
        Err(StoreFailure::new("the list of tenants with work is changed all the time"))
    }

    async fn delist(&self, listed: &Listed) -> Result<(), StoreFailure> {
        // If it has another revision by now, it has work again.
        self.listed.remove(&listed.tenant, listed.revision).await.map(drop).map_err(failure)
    }

    fn is_shared(&self) -> bool {
        matches!(self.store.place(), Place::Server(_))
    }
}

fn failure(error: waggle_kv::Error) -> StoreFailure {
    StoreFailure::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_kv::{Opener, StoreConfig, TenantPart};
    use waggle_work::{Added, Claim, KeyedWork, Pending, Settle, Terms, Work, WorkId, WorkStore};

    fn work() -> Work {
        Work {
            function: "chat".into(),
            path: "/internal/run".into(),
            content_type: Some("application/json".into()),
            caller: vec![("waggle-user".into(), "mia".into())],
            body: Bytes::from_static(b"{}"),
        }
    }

    fn terms(until_ms: u64) -> Terms {
        Terms { now_ms: 0, until_ms, attempts_max: 3, wait_ms_max: 1_000 }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_lies_in_its_tenants_part_and_is_erased_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut opener = Opener::new(folder.path().to_owned());
        let store = opener.open(&StoreConfig::default()).await.unwrap();
        let recorded = || KeyedWork::new(RecordedWork::new(Arc::clone(&store)).unwrap(), "me".into());
        let queue = recorded();
        let pending = |id: &WorkId| Pending { id: id.clone(), arrived_ms: 7 };
        let (first, second) = (WorkId::random(), WorkId::random());
        for (tenant, id) in [("bank", &first), ("shop", &second)] {
            assert_eq!(queue.add(tenant, pending(id), &work(), 1).await.unwrap(), Added::Kept);
        }
        let full = queue.add("bank", pending(&WorkId::random()), &work(), 1).await.unwrap();
        assert_eq!(full, Added::Full);
        let of = |listed: Vec<Listed>| listed.into_iter().map(|one| one.tenant).collect::<Vec<_>>();
        assert_eq!(of(queue.tenants().await.unwrap()), ["bank", "shop"]);

        store.erase(&TenantPart::new("bank").unwrap()).await.unwrap();
        assert_eq!(queue.pending("bank").await.unwrap(), []);
        assert!(matches!(queue.claim("bank", &first, terms(10)).await.unwrap(), Claim::Gone));
        assert_eq!(queue.pending("shop").await.unwrap(), [pending(&second)]);
        for listed in queue.tenants().await.unwrap() {
            queue.release(&listed, true).await.unwrap();
        }
        assert_eq!(of(queue.tenants().await.unwrap()), ["shop"]);
        let left = store.usage(&TenantPart::new("bank").unwrap()).await.unwrap();
        assert_eq!(left.keys, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_is_there_after_a_restart_until_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let id = WorkId::random();
        for attempt in 1..=2 {
            let mut opener = Opener::new(folder.path().to_owned());
            let store = opener.open(&StoreConfig::default()).await.unwrap();
            let queue = KeyedWork::new(RecordedWork::new(Arc::clone(&store)).unwrap(), attempt.to_string());
            if attempt == 1 {
                let pending = Pending { id: id.clone(), arrived_ms: 7 };
                queue.add("bank", pending, &work(), 10).await.unwrap();
            }
            assert_eq!(queue.tenants().await.unwrap().len(), 1);
            let claim = queue.claim("bank", &id, terms(1_000)).await.unwrap();
            let Claim::Claimed(claimed) = claim else { panic!("{claim:?}") };
            assert_eq!((claimed.attempt, &claimed.work), (attempt, &work()));
            if attempt == 2 {
                assert!(queue.settle("bank", &id, &claimed.held, Settle::Remove).await.unwrap());
                assert_eq!(queue.pending("bank").await.unwrap(), []);
            }
            store.close().await.unwrap();
        }
    }
}
