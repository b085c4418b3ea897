//! All tenants in force, from both origins, looked up without a lock.
//!
//! Readers see one immutable snapshot; a change builds the next one and swaps it in. Whoever keeps something for a
//! tenant (an instance, a verified token) keeps the [`TenantEntry`] it was made for and compares it with the one in
//! force: they are the same allocation until the tenant changes.

mod conflict;
mod entry;
mod resolve;
mod snapshot;
#[cfg(test)]
mod tests;

pub use conflict::{Conflict, ConflictOn};
pub use entry::TenantEntry;

pub(crate) use snapshot::{KeyPlace, Snapshot};

use crate::jwt::{IssuerEntry, TokenIssuers};
use crate::{FieldMistake, Limits, SealingKey, Tenant, TenantId};
use arc_swap::{ArcSwap, Guard};
use conflict::conflicts;
use entry::Built;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Where a tenant is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In tenants.toml, changed by editing it.
    File,
    /// In the store, changed through the admin API.
    Store,
}

/// What a directory needs to know besides the tenants.
pub struct DirectoryConfig {
    /// The host's limits: those of a tenant that sets none.
    pub defaults: Limits,
    /// What verifies tokens; told of all tenants' issuers whenever they change.
    pub issuers: Arc<TokenIssuers>,
    /// Opens sealed secrets.
    pub sealing: Option<Arc<SealingKey>>,
    /// Where relative files of tenants.toml stand.
    pub base_dir: PathBuf,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Tenants that are new.
    pub added: Vec<TenantId>,
    /// Tenants that are not as they were.
    pub changed: Vec<TenantId>,
    /// Tenants that are gone.
    pub removed: Vec<TenantId>,
}

/// Why a change was not made; all that was in force is still so.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentences().join("; "))]
pub struct ChangeRefused {
    /// What two tenants both claim.
    pub conflicts: Vec<Conflict>,
    /// Fields that are not as they must be, or secrets that cannot be read.
    pub mistakes: Vec<(TenantId, FieldMistake)>,
}

impl ChangeRefused {
    fn sentences(&self) -> Vec<String> {
        let mistakes = self.mistakes.iter().map(|(tenant, mistake)| format!("tenant `{tenant}`: {mistake}"));
        self.conflicts.iter().map(ToString::to_string).chain(mistakes).collect()
    }
}

/// Told which tenants are new, changed or gone.
pub type OnChange = Box<dyn Fn(&[TenantId]) + Send + Sync>;

/// All tenants in force.
pub struct Directory {
    config: DirectoryConfig,
    default_entry: Arc<TenantEntry>,
    current: ArcSwap<Snapshot>,
    /// Held while a change is made, so that none is lost. No reader waits for it.
    change: Mutex<()>,
    listeners: RwLock<Vec<OnChange>>,
}

impl Directory {
    /// A directory without tenants: open, until it is given some.
    #[must_use]
    pub fn new(config: DirectoryConfig) -> Arc<Self> {
        let default_entry = Arc::new(TenantEntry::of_default(config.defaults));
        Arc::new(Self {
            config,
            default_entry,
            current: ArcSwap::from_pointee(Snapshot::default()),
            change: Mutex::new(()),
            listeners: RwLock::new(Vec::new()),
        })
    }

    /// The tenant, if it is in force; the built-in `default` only while the directory is open.
    #[must_use]
    pub fn entry(&self, tenant: &TenantId) -> Option<Arc<TenantEntry>> {
        let current = self.current.load();
        match current.by_id.get(tenant) {
            Some(entry) => Some(Arc::clone(entry)),
            None if !current.claimed && *tenant == self.default_entry.tenant.id => Some(self.default_entry()),
            None => None,
        }
    }

    /// All configured tenants, in no order.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<TenantEntry>> {
        self.current.load().by_id.values().cloned().collect()
    }

    /// How many tenants are configured.
    #[must_use]
    pub fn count(&self) -> usize {
        self.current.load().by_id.len()
    }

    /// The tenant `default` as it is while no tenants are configured: everything at its default.
    #[must_use]
    pub fn default_entry(&self) -> Arc<TenantEntry> {
        Arc::clone(&self.default_entry)
    }

    /// Whether callers need no credential: as long as no file of tenants was given and the store never held one.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.current.load().claimed
    }

    /// Closes the directory for good: there are tenants, or have been. Removing the last one does not open it again.
    pub fn set_claimed(&self) {
        let turn = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        if !current.claimed {
            self.current.store(Arc::new(current.with(Vec::new(), &[], true)));
            drop(turn);
            self.tell(&Change::default(), true);
        }
    }

    /// Has `listener` told, after each change, which tenants are new, changed or gone. It is called by whoever made the
    /// change, so it should be quick.
    pub fn on_change(&self, listener: OnChange) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Puts `tenants` in the place of all that came from `origin`, or leaves everything as it is. Tenants that have not
    /// changed keep their entry; those that have get another one with the same meter. Also closes the directory, if
    /// `origin` is the file (an empty one, too) or there are tenants.
    ///
    /// # Errors
    /// All conflicts, with tenants of the other origin as well, and all fields that are wrong.
    pub fn replace<T: Into<Arc<Tenant>>>(
        &self,
        origin: Origin,
        tenants: impl IntoIterator<Item = T>,
    ) -> Result<Change, ChangeRefused> {
        let tenants: Vec<Arc<Tenant>> = tenants.into_iter().map(Into::into).collect();
        let turn = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let named: HashSet<&TenantId> = tenants.iter().map(|tenant| &tenant.id).collect();
        let gone = self.current.load().gone(origin, &named);
        let was_open = self.is_open();
        let change = self.make(origin, &tenants, gone)?;
        drop(turn);
        self.tell(&change, was_open);
        Ok(change)
    }

    /// Changes some tenants of `origin` and removes others, or leaves everything as it is. A tenant to be removed that
    /// is not there, or comes from the other origin, is passed over.
    ///
    /// # Errors
    /// As [`Directory::replace`].
    pub fn update(
        &self,
        origin: Origin,
        tenants: &[Arc<Tenant>],
        removed: &[TenantId],
    ) -> Result<Change, ChangeRefused> {
        let turn = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load();
        let is_there = |id: &&TenantId| current.by_id.get(*id).is_some_and(|entry| entry.origin == origin);
        let gone = removed.iter().filter(is_there).cloned().collect();
        let was_open = !current.claimed;
        drop(current);
        let change = self.make(origin, tenants, gone)?;
        drop(turn);
        self.tell(&change, was_open);
        Ok(change)
    }

    /// What is in force at this moment.
    pub(crate) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What verifies tokens.
    pub(crate) fn issuers(&self) -> &Arc<TokenIssuers> {
        &self.config.issuers
    }

    /// Whether [`Directory::update`] with these tenants would succeed now.
    pub(crate) fn would_update(&self, origin: Origin, tenants: &[Arc<Tenant>]) -> Result<(), ChangeRefused> {
        self.plan(&self.current.load(), origin, tenants, Vec::new()).map(|_| ())
    }

    /// Builds the next snapshot and swaps it in. The caller holds `change`.
    fn make(
        &self,
        origin: Origin,
        tenants: &[Arc<Tenant>],
        gone: Vec<TenantId>,
    ) -> Result<Change, ChangeRefused> {
        let current = self.current.load_full();
        let (change, fresh) = self.plan(&current, origin, tenants, gone)?;
        let claims = origin == Origin::File || !tenants.is_empty();
        if !fresh.is_empty() || !change.removed.is_empty() || (claims && !current.claimed) {
            self.put_in_force(&current, fresh, &change.removed, claims);
        }
        Ok(change)
    }

    /// What a change would do, and the entries it needs.
    fn plan(
        &self,
        current: &Snapshot,
        origin: Origin,
        tenants: &[Arc<Tenant>],
        gone: Vec<TenantId>,
    ) -> Result<(Change, Vec<Arc<TenantEntry>>), ChangeRefused> {
        let mut refused =
            ChangeRefused { conflicts: conflicts(current, origin, tenants, &gone), mistakes: Vec::new() };
        let mut fresh = Vec::new();
        let mut change = Change { removed: gone, ..Change::default() };
        for tenant in tenants {
            let before = current.by_id.get(&tenant.id).filter(|entry| entry.origin == origin);
            match TenantEntry::build(tenant, origin, before, current.generation + 1, &self.config) {
                Ok(Built::Unchanged) => {}
                Ok(Built::Fresh(entry)) => {
                    let ids = if before.is_some() { &mut change.changed } else { &mut change.added };
                    ids.push(tenant.id.clone());
                    fresh.push(entry);
                }
                Err(mistakes) => {
                    refused.mistakes.extend(mistakes.into_iter().map(|mistake| (tenant.id.clone(), mistake)))
                }
            }
        }
        if refused == ChangeRefused::default() { Ok((change, fresh)) } else { Err(refused) }
    }

    /// The issuers go first: a token verified by the old ones meanwhile is then remembered for an entry that is not in
    /// force any more. The other way round it would be remembered for the new one.
    fn put_in_force(
        &self,
        current: &Snapshot,
        fresh: Vec<Arc<TenantEntry>>,
        removed: &[TenantId],
        claims: bool,
    ) {
        let issuers_before = |tenant: &TenantId| -> &[IssuerEntry] {
            current.by_id.get(tenant).map(|entry| entry.issuers.as_slice()).unwrap_or_default()
        };
        let issuers_change = fresh.iter().any(|entry| issuers_before(&entry.tenant.id) != entry.issuers)
            || removed.iter().any(|tenant| !issuers_before(tenant).is_empty());
        for entry in &fresh {
            entry.meter.set_limits(entry.limits);
        }
        let next = current.with(fresh, removed, claims);
        if issuers_change {
            self.config.issuers.replace(next.issuers());
        }
        self.current.store(Arc::new(next));
    }

    fn tell(&self, change: &Change, was_open: bool) {
        let mut ids: Vec<TenantId> =
            [&change.added, &change.changed, &change.removed].into_iter().flatten().cloned().collect();
        let default = &self.default_entry.tenant.id;
        if was_open && !self.is_open() && !ids.contains(default) {
            // The built-in tenant went as the door closed.
            ids.push(default.clone());
        }
        if !ids.is_empty() {
            let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
            listeners.iter().for_each(|listener| listener(&ids));
        }
    }
}
