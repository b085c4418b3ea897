//! Changes to tenants: checked, written to the store, in force at once.
//!
//! The registry is the only writer of the store's tenants, and of those in the directory that come from there. A change
//! is written against the revision it was made from, so that two hosts that share a store cannot undo each other's; each
//! host takes over what the others have written by watching the store's version.

mod error;
mod keys;
mod memory;
mod rules;
mod seal;
mod store;
#[cfg(test)]
mod tests;
mod watch;

pub use error::RegistryError;
pub use keys::NewKey;
pub use memory::MemoryTenantStore;
pub use rules::{SecretVariables, TenantCheck, TenantRules};
pub use store::{STORE_WAIT_MS_MAX, StoreFailure, StoredTenant, TenantStore, WriteFailure};

use crate::{
    ChangeRefused, Directory, FieldMistake, Origin, SealingKey, Tenant, TenantEntry, TenantId,
    TenantSettings, TenantState,
};
use seal::{only_inline, sealed, with_variables_opened};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::timely;
use tokio::time::Instant;

/// How often a change is made again because another host was faster.
const ATTEMPTS_MAX: usize = 8;

/// A tenant as it is written down, in force or not.
#[derive(Clone)]
pub struct TenantView {
    /// What was configured. Secrets of the store's tenants are sealed, those of the file's as they stand there.
    pub tenant: Arc<Tenant>,
    /// Where it is written down.
    pub origin: Origin,
    /// What a change may be made conditional on. That of the store is the same on all hosts, that of the file is not.
    pub revision: u64,
    /// The tenant in force.
    pub entry: Option<Arc<TenantEntry>>,
    /// Why it is not in force, where it is not.
    pub problem: Option<Arc<str>>,
    /// Since when this host knows that no new requests of it are served anywhere: it is suspended, or nobody can read
    /// its record. None for what is active, and for tenants of the file.
    pub quiet_since: Option<Instant>,
}

/// The tenants of the store.
pub struct Registry {
    store: Arc<dyn TenantStore>,
    directory: Arc<Directory>,
    sealing: Arc<SealingKey>,
    rules: TenantRules,
    /// Held by whoever changes something or takes over what is in the store.
    turn: tokio::sync::Mutex<Known>,
    /// What the store holds, as far as this host knows.
    held: Mutex<BTreeMap<TenantId, Held>>,
}

/// How far this host has followed.
#[derive(Default)]
struct Known {
    /// The version of the store that was taken over; none if it has to be loaded anew.
    version: Option<u64>,
    /// The state of the directory when it was.
    generation: u64,
}

#[derive(Clone)]
struct Held {
    revision: u64,
    /// None if the record cannot be read.
    tenant: Option<Arc<Tenant>>,
    problem: Option<Arc<str>>,
    quiet_since: Option<Instant>,
}

impl Held {
    /// What is held of a tenant from now on. `before` is what this was made from.
    fn new(revision: u64, tenant: Option<Arc<Tenant>>, before: Option<&Held>) -> Self {
        let is_served = tenant.as_ref().is_some_and(|tenant| tenant.settings.state == TenantState::Active);
        let since = || before.and_then(|held| held.quiet_since).unwrap_or_else(Instant::now);
        Self { revision, tenant, problem: None, quiet_since: (!is_served).then(since) }
    }

    /// The tenant, to be changed.
    fn readable(&self, id: &TenantId) -> Result<Tenant, RegistryError> {
        let tenant = self.tenant.as_deref().cloned();
        tenant.ok_or_else(|| RegistryError::Unreadable(id.clone()))
    }
}

impl Registry {
    /// Puts the tenants of `store` in force. A tenant that cannot be (its record is damaged, its secrets are sealed under
    /// another key, or tenants.toml has it, too) is left out, reported in the log and in its [`TenantView`].
    ///
    /// # Errors
    /// The store cannot be read. A host that went on without would be open to everybody.
    pub async fn open(
        store: Arc<dyn TenantStore>,
        directory: Arc<Directory>,
        sealing: Arc<SealingKey>,
        rules: TenantRules,
    ) -> Result<Arc<Self>, StoreFailure> {
        let registry = Arc::new(Self {
            store,
            directory,
            sealing,
            rules,
            turn: tokio::sync::Mutex::new(Known::default()),
            held: Mutex::new(BTreeMap::new()),
        });
        registry.reload(&mut *registry.turn.lock().await).await?;
        Ok(registry)
    }

    /// At most `most` tenants of both origins whose ids come after `after`, in the order of their ids.
    #[must_use]
    pub fn list(&self, after: Option<&TenantId>, most: usize) -> Vec<TenantView> {
        let mut ids: Vec<TenantId> = self.held().keys().cloned().collect();
        let of_file = self.directory.entries().into_iter().filter(|entry| entry.origin == Origin::File);
        ids.extend(of_file.map(|entry| entry.tenant.id.clone()));
        ids.retain(|id| after.is_none_or(|after| id > after));
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| self.get(id).ok()).take(most).collect()
    }

    /// Whether there are no tenants yet, so that everybody on this machine is the one of [`TenantId::default_tenant`].
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.directory.is_open()
    }

    /// One tenant of either origin.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn get(&self, id: &TenantId) -> Result<TenantView, RegistryError> {
        let entry = self.directory.entry(id).filter(|_| !self.directory.is_open());
        if let Some(entry) = entry.as_ref().filter(|entry| entry.origin == Origin::File) {
            return Ok(TenantView {
                tenant: Arc::clone(&entry.tenant),
                origin: Origin::File,
                revision: entry.revision,
                entry: Some(Arc::clone(entry)),
                problem: None,
                quiet_since: None,
            });
        }
        let held = self.held().get(id).cloned().ok_or_else(|| RegistryError::NotFound(id.clone()))?;
        let empty = || Arc::new(Tenant { id: id.clone(), settings: TenantSettings::default() });
        Ok(TenantView {
            tenant: held.tenant.unwrap_or_else(empty),
            origin: Origin::Store,
            revision: held.revision,
            entry,
            problem: held.problem,
            quiet_since: held.quiet_since,
        })
    }

    /// Adds a tenant. Secrets given by value, and values of secret variables, are sealed before they are written.
    ///
    /// # Errors
    /// [`RegistryError::Exists`], [`RegistryError::FromFile`], [`RegistryError::Invalid`],
    /// [`RegistryError::Conflict`], or the store's failure.
    pub async fn create(&self, tenant: Tenant) -> Result<TenantView, RegistryError> {
        let mut known = self.turn.lock().await;
        self.not_from_file(&tenant.id)?;
        let tenant = self.prepare(tenant)?;
        for _ in 0..ATTEMPTS_MAX {
            if self.held().contains_key(&tenant.id) {
                return Err(RegistryError::Exists(tenant.id.clone()));
            }
            match self.put(&tenant, None, &mut known).await? {
                Some(view) => return Ok(view),
                None => self.reload(&mut known).await?,
            }
        }
        Err(RegistryError::Contended(tenant.id.clone()))
    }

    /// Puts other settings in the place of a tenant's. Its API keys stay as they are: they have methods of their own, and
    /// `settings` names none or the same. With `if_revision`, only if nothing has changed since.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::FromFile`], [`RegistryError::Invalid`],
    /// [`RegistryError::Conflict`], [`RegistryError::RevisionMismatch`], or the store's failure.
    pub async fn replace(
        &self,
        id: &TenantId,
        settings: TenantSettings,
        if_revision: Option<u64>,
    ) -> Result<TenantView, RegistryError> {
        let replaced = self.edit(id, if_revision, |current| {
            let keys = std::mem::take(&mut current.api_keys);
            if !settings.api_keys.is_empty() && settings.api_keys != keys {
                let message = "API keys are added, rotated and revoked one by one; leave them out here";
                return Err(RegistryError::Invalid(vec![FieldMistake::new(&["api_keys"], message)]));
            }
            *current = TenantSettings { api_keys: keys, ..settings.clone() };
            Ok(())
        });
        Ok(replaced.await?.0)
    }

    /// Refuses the tenant's requests from now on; what it owns stays. On other hosts it takes until they look. Nothing
    /// else of the tenant is looked at: one that cannot be in force on this host, because its secrets are sealed under
    /// another key, can be suspended for those on which it is.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::FromFile`], [`RegistryError::Unreadable`], or the store's failure.
    pub async fn suspend(&self, id: &TenantId) -> Result<TenantView, RegistryError> {
        let mut known = self.turn.lock().await;
        self.not_from_file(id)?;
        for _ in 0..ATTEMPTS_MAX {
            let held = self.current(id, None)?;
            let mut tenant = held.readable(id)?;
            tenant.settings.state = TenantState::Suspended;
            match self.write(&Arc::new(tenant), Some(held.revision), &mut known).await? {
                // What keeps it from being in force stands in the view; it is suspended all the same.
                Some(_in_force_or_not) => return self.get(id),
                None => self.reload(&mut known).await?,
            }
        }
        Err(RegistryError::Contended(id.clone()))
    }

    /// Serves the tenant's requests again.
    ///
    /// # Errors
    /// As [`Registry::replace`], without the mismatch.
    pub async fn resume(&self, id: &TenantId) -> Result<TenantView, RegistryError> {
        let set = |settings: &mut TenantSettings| {
            settings.state = TenantState::Active;
            Ok(())
        };
        Ok(self.edit(id, None, set).await?.0)
    }

    /// Removes a tenant, even one that is not in force. Its data stays: erasing it is for the stores that have it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::FromFile`], [`RegistryError::RevisionMismatch`], or the store's
    /// failure.
    pub async fn remove(&self, id: &TenantId, if_revision: Option<u64>) -> Result<(), RegistryError> {
        let mut known = self.turn.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            // One that the file has as well can be removed from the store: that is how the conflict ends.
            let held = self.current(id, if_revision)?;
            match timely(self.store.remove(id, held.revision)).await {
                Ok(()) => {
                    self.held().remove(id);
                    self.directory.update(Origin::Store, &[], std::slice::from_ref(id))?;
                    return Ok(());
                }
                Err(WriteFailure::Conflict) => self.reload(&mut known).await?,
                Err(WriteFailure::Store(failure)) => return Err(self.lost(failure, &mut known)),
            }
        }
        Err(RegistryError::Contended(id.clone()))
    }

    /// Changes a tenant's settings as `edit` does, which is called again with newer settings if another host was
    /// faster. With `if_revision`, only if nothing has changed since. Answers what `edit` returned last.
    ///
    /// # Errors
    /// As [`Registry::replace`], and what `edit` answers.
    pub async fn edit<T>(
        &self,
        id: &TenantId,
        if_revision: Option<u64>,
        edit: impl Fn(&mut TenantSettings) -> Result<T, RegistryError>,
    ) -> Result<(TenantView, T), RegistryError> {
        let mut known = self.turn.lock().await;
        self.not_from_file(id)?;
        for _ in 0..ATTEMPTS_MAX {
            let held = self.current(id, if_revision)?;
            let mut tenant = held.readable(id)?;
            let result = edit(&mut tenant.settings)?;
            let tenant = self.prepare(tenant)?;
            match self.put(&tenant, Some(held.revision), &mut known).await? {
                Some(view) => return Ok((view, result)),
                None => self.reload(&mut known).await?,
            }
        }
        Err(RegistryError::Contended(id.clone()))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<TenantId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_from_file(&self, id: &TenantId) -> Result<(), RegistryError> {
        match self.directory.snapshot().by_id.get(id) {
            Some(entry) if entry.origin == Origin::File => Err(RegistryError::FromFile(id.clone())),
            _ => Ok(()),
        }
    }

    /// What is held of `id`, if its revision is the one that was asked for.
    fn current(&self, id: &TenantId, if_revision: Option<u64>) -> Result<Held, RegistryError> {
        let Some(held) = self.held().get(id).cloned() else {
            self.not_from_file(id)?;
            return Err(RegistryError::NotFound(id.clone()));
        };
        match if_revision {
            Some(asked) if asked != held.revision => {
                Err(RegistryError::RevisionMismatch { asked, current: held.revision })
            }
            _ => Ok(held),
        }
    }

    /// Checks a tenant all through and seals its secrets; what comes out can be written and be in force.
    fn prepare(&self, tenant: Tenant) -> Result<Arc<Tenant>, RegistryError> {
        let mut mistakes = tenant.check();
        mistakes.extend(only_inline(&tenant));
        mistakes.extend((self.rules.check)(&with_variables_opened(&tenant, &self.sealing)));
        if !mistakes.is_empty() {
            return Err(RegistryError::Invalid(mistakes));
        }
        let tenant = Arc::new(sealed(tenant, &self.sealing, &self.rules.secret_variables)?);
        self.directory.would_update(Origin::Store, std::slice::from_ref(&tenant))?;
        Ok(tenant)
    }

    /// Writes a prepared tenant and puts it in force. None if another host has changed it meanwhile.
    async fn put(
        &self,
        tenant: &Arc<Tenant>,
        expected: Option<u64>,
        known: &mut Known,
    ) -> Result<Option<TenantView>, RegistryError> {
        match self.write(tenant, expected, known).await? {
            Some(in_force) => {
                in_force?;
                self.get(&tenant.id).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Writes a tenant and puts it in force where that can be; what is written stays, with its problem, where it cannot.
    /// None if another host has changed it meanwhile.
    async fn write(
        &self,
        tenant: &Arc<Tenant>,
        expected: Option<u64>,
        known: &mut Known,
    ) -> Result<Option<Result<(), ChangeRefused>>, RegistryError> {
        let settings = serde_json::to_vec(&tenant.settings)
            .map_err(|error| StoreFailure::new(format!("a tenant cannot be written as JSON: {error}")))?;
        let revision = match timely(self.store.put(&tenant.id, settings, expected)).await {
            Ok(revision) => revision,
            Err(WriteFailure::Conflict) => return Ok(None),
            Err(WriteFailure::Store(failure)) => return Err(self.lost(failure, known)),
        };
        {
            let mut held = self.held();
            let next = Held::new(revision, Some(Arc::clone(tenant)), held.get(&tenant.id));
            held.insert(tenant.id.clone(), next);
        }
        let updated = self.directory.update(Origin::Store, std::slice::from_ref(tenant), &[]);
        if updated.is_err() {
            // Of a tenant that was checked before: tenants.toml was read anew between the check and now.
            self.put_in_force(known);
        }
        Ok(Some(updated.map(|_change| ())))
    }

    /// Whether a failed write was made nobody knows, so all is read anew before long.
    fn lost(&self, failure: StoreFailure, known: &mut Known) -> RegistryError {
        known.version = None;
        RegistryError::Store(failure)
    }
}
