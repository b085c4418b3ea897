//! A store in memory that outlives the queues over it, and functions that do as they are told.

use crate::keyed::{Listing, WorkKeys};
use crate::queue::{Deliver, Delivery, Failure, Standing};
use crate::store::{Listed, StoreFailure};
use crate::work::Work;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Work of a function, whose body says which.
pub(crate) fn work(body: &str) -> Work {
    Work {
        function: "chat".into(),
        path: "/internal/run".into(),
        content_type: Some("text/plain".into()),
        caller: vec![("waggle-user".into(), "mia".into())],
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// Keys in memory. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    inner: Arc<MemoryInner>,
    /// Whether whoever has this one cannot reach it.
    is_cut_off: Arc<AtomicBool>,
}

#[derive(Default)]
struct MemoryInner {
    keys: Mutex<BTreeMap<(String, String), Bytes>>,
    listed: Mutex<BTreeMap<String, u64>>,
    revision: AtomicUsize,
    is_shared: AtomicBool,
    /// Operations that will still be made; all that follow fail, as if the process had ended.
    operations_left: Mutex<Option<usize>>,
}

impl Memory {
    pub(crate) fn shared() -> Self {
        let memory = Self::default();
        memory.inner.is_shared.store(true, SeqCst);
        memory
    }

    /// The same, by a way of its own.
    pub(crate) fn by_another_way(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), is_cut_off: Arc::default() }
    }

    /// Whether operations of this one, and of its clones, fail from now on.
    pub(crate) fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, SeqCst);
    }

    /// After so many operations all fail; none: no more failures.
    pub(crate) fn fail_after(&self, operations: Option<usize>) {
        *self.inner.operations_left.lock().unwrap() = operations;
    }

    pub(crate) fn keys_of(&self, tenant: &str) -> Vec<String> {
        let keys = self.inner.keys.lock().unwrap();
        keys.keys().filter(|(of, _key)| of == tenant).map(|(_of, key)| key.clone()).collect()
    }

    pub(crate) fn value(&self, tenant: &str, key: &str) -> Option<Bytes> {
        self.inner.keys.lock().unwrap().get(&(tenant.to_owned(), key.to_owned())).cloned()
    }

    pub(crate) fn listed(&self) -> Vec<String> {
        self.inner.listed.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn erase(&self, tenant: &str) {
        self.inner.keys.lock().unwrap().retain(|(of, _key), _value| of != tenant);
    }

    /// An operation takes its time, so that others come in between.
    async fn operation(&self) -> Result<(), StoreFailure> {
        tokio::task::yield_now().await;
        if self.is_cut_off.load(SeqCst) {
            return Err(StoreFailure::new("the store cannot be reached"));
        }
        let mut left = self.inner.operations_left.lock().unwrap();
        match left.as_mut() {
            None => Ok(()),
            Some(0) => Err(StoreFailure::new("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl WorkKeys for Memory {
    async fn get(&self, tenant: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StoreFailure> {
        self.operation().await?;
        Ok(keys.iter().map(|key| self.value(tenant, key)).collect())
    }

    async fn swap(&self, tenant: &str, expected: Listing, changes: Listing) -> Result<bool, StoreFailure> {
        self.operation().await?;
        let mut all = self.inner.keys.lock().unwrap();
        let name = |key: &String| (tenant.to_owned(), key.clone());
        if expected.iter().any(|(key, value)| all.get(&name(key)) != value.as_ref()) {
            return Ok(false);
        }
        for (key, value) in changes {
            match value {
                Some(value) => all.insert(name(&key), value),
                None => all.remove(&name(&key)),
            };
        }
        Ok(true)
    }

    async fn tenants(&self) -> Result<Vec<Listed>, StoreFailure> {
        self.operation().await?;
        let listed = self.inner.listed.lock().unwrap();
        Ok(listed
            .iter()
            .map(|(tenant, revision)| Listed { tenant: tenant.clone(), revision: *revision })
            .collect())
    }

    async fn enlist(&self, tenant: &str) -> Result<(), StoreFailure> {
        self.operation().await?;
        let revision = self.inner.revision.fetch_add(1, SeqCst) as u64;
        self.inner.listed.lock().unwrap().insert(tenant.to_owned(), revision);
        Ok(())
    }

    async fn delist(&self, listed: &Listed) -> Result<(), StoreFailure> {
        self.operation().await?;
        let mut all = self.inner.listed.lock().unwrap();
        if all.get(&listed.tenant) == Some(&listed.revision) {
            all.remove(&listed.tenant);
        }
        Ok(())
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared.load(SeqCst)
    }
}

/// What a function does with a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Succeed,
    Fail,
    /// Succeeds after so long.
    Take(Duration),
}

/// All functions. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Functions(Arc<FunctionsInner>);

#[derive(Default)]
struct FunctionsInner {
    /// By the body of the work; what is not said succeeds.
    acts: Mutex<HashMap<String, VecDeque<Act>>>,
    standings: Mutex<HashMap<String, Standing>>,
    seen: Mutex<Vec<(String, Delivery)>>,
    under_way: Mutex<HashMap<String, usize>>,
    /// The most deliveries of a tenant, and of all, that were under way at once.
    most: Mutex<(usize, usize)>,
}

impl Functions {
    pub(crate) fn act(&self, body: &str, acts: &[Act]) {
        self.0.acts.lock().unwrap().insert(body.to_owned(), acts.iter().copied().collect());
    }

    pub(crate) fn stand(&self, tenant: &str, standing: Standing) {
        self.0.standings.lock().unwrap().insert(tenant.to_owned(), standing);
    }

    /// `TENANT BODY ATTEMPT`, with `!` on the last attempt, in the order of deliveries.
    pub(crate) fn seen(&self) -> Vec<String> {
        let shown = |(tenant, delivery): &(String, Delivery)| {
            let body = String::from_utf8_lossy(&delivery.work.body).into_owned();
            format!("{tenant} {body} {}{}", delivery.attempt, if delivery.is_last { "!" } else { "" })
        };
        self.0.seen.lock().unwrap().iter().map(shown).collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<(String, Delivery)> {
        self.0.seen.lock().unwrap().clone()
    }

    pub(crate) fn most(&self) -> (usize, usize) {
        *self.0.most.lock().unwrap()
    }
}

/// A delivery that is under way; it may be cut off.
struct UnderWay<'f>(&'f FunctionsInner, String);

impl<'f> UnderWay<'f> {
    fn begin(functions: &'f FunctionsInner, tenant: &str) -> Self {
        let mut under_way = functions.under_way.lock().unwrap();
        *under_way.entry(tenant.to_owned()).or_default() += 1;
        let mut most = functions.most.lock().unwrap();
        *most = (most.0.max(under_way[tenant]), most.1.max(under_way.values().sum()));
        Self(functions, tenant.to_owned())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self.0.under_way.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

#[async_trait]
impl Deliver for Functions {
    fn standing(&self, tenant: &str) -> Standing {
        self.0.standings.lock().unwrap().get(tenant).copied().unwrap_or(Standing::Served)
    }

    async fn deliver(&self, tenant: &str, delivery: Delivery) -> Result<(), Failure> {
        let _under_way = UnderWay::begin(&self.0, tenant);
        let body = String::from_utf8_lossy(&delivery.work.body).into_owned();
        self.0.seen.lock().unwrap().push((tenant.to_owned(), delivery));
        let act = self.0.acts.lock().unwrap().get_mut(&body).and_then(VecDeque::pop_front);
        match act.unwrap_or(Act::Succeed) {
            Act::Succeed => Ok(()),
            Act::Fail => Err(Failure("status 500".into())),
            Act::Take(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}
