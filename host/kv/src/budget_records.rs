//! Counters that the host keeps for each tenant: what of its budgets is used.
//!
//! They lie in the tenant's own part of a store, so that whoever erases a tenant erases them, but in a partition that no
//! store label leads to: no function reads or writes them. Every counter has an end, after which it goes away by itself.

use crate::{Counted, CounterChange, Error, Partition, Store, counters::parse, limits::check_key};
use std::sync::Arc;

/// Keeps these counters apart from other records of the host on a tenant.
const FAMILY: &str = "budget";

/// The counters of all tenants in one store, which several hosts may share. Cloning is cheap.
#[derive(Clone)]
pub struct BudgetRecords(Arc<dyn Store>);

impl BudgetRecords {
    /// The store's time to live does not matter: each counter has an end of its own.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Corrects and charges counters of a tenant in one atomic step. Embedded: applied when it returns, and on the
    /// device soon after, which is not waited for; it never waits for anything. Redis: one round trip.
    ///
    /// # Errors
    /// Those of [`Store::count`], of which [`Error::Unreachable`] leaves open whether the step was made.
    pub async fn count(&self, tenant: &str, changes: &[CounterChange]) -> Result<Counted, Error> {
        let at = Partition::host_of(tenant, FAMILY)?;
        // What a power cut takes back, or the end of the process, is a hundredth of a second's use; nobody waits for the
        // device because of that.
        let (counted, _unawaited) = self.0.count(&at, changes).await?;
        Ok(counted)
    }

    /// What these counters of a tenant are now, in their order.
    ///
    /// # Errors
    /// Those of [`Store::get_many`], and [`Error::NotANumber`].
    pub async fn read(&self, tenant: &str, keys: &[String]) -> Result<Vec<u64>, Error> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let at = Partition::host_of(tenant, FAMILY)?;
        let found = self.0.get_many(&at, keys).await?;
        keys.iter().zip(found).map(|(key, value)| parse(key, value.as_deref())).collect()
    }

    /// The keys of a tenant's counters that have not ended, all of them; for tests and inspection, it walks over them.
    ///
    /// # Errors
    /// Those of [`Store::keys`].
    pub async fn keys(&self, tenant: &str) -> Result<Vec<String>, Error> {
        let at = Partition::host_of(tenant, FAMILY)?;
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.0.keys(&at, "", cursor.as_deref(), crate::KEYS_PAGE_MAX).await?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(keys);
            }
        }
    }
}
