//! Taking over what the store holds: at the start, and after another host's change.

use super::held::Held;
use super::{Registry, RegistryError};
use crate::head::Head;
use crate::keys::{self, Listed, timely};
use crate::{StoreFailure, Tool, ToolKeys};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Records that one read asks for.
const PAGE_RECORDS: usize = 64;
/// How often a tenant is read anew because it was changed meanwhile.
const LOAD_ATTEMPTS_MAX: usize = 8;

/// How far this host has followed.
#[derive(Default)]
pub(super) struct Known {
    /// The version of the list of tenants that was taken over; none if it has to be read anew.
    version: Option<u64>,
    /// Tenants that somebody was about to change, which are looked at every time.
    changing: BTreeSet<String>,
}

impl Registry {
    /// Puts the tools that `keys` holds in force. A tool whose record cannot be read is left out and reported in the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(keys: Arc<dyn ToolKeys>) -> Result<Arc<Self>, StoreFailure> {
        let registry = Arc::new(Self {
            keys,
            turn: tokio::sync::Mutex::new(Known::default()),
            held: RwLock::new(BTreeMap::new()),
        });
        registry.follow().await?;
        Ok(registry)
    }

    /// Follows what other hosts change, for as long as the future is polled: looks, pauses, and looks again. While the
    /// store fails, what is in force stays so.
    pub async fn watch(self: Arc<Self>, pause: Duration) {
        let mut was_failing = false;
        loop {
            tokio::time::sleep(pause).await;
            let result = self.follow().await;
            match &result {
                Ok(()) if was_failing => tracing::info!("the store of tools answers again"),
                Err(failure) if !was_failing => {
                    tracing::warn!(%failure, "changes to tools by other hosts are not seen at the moment");
                }
                _ => {}
            }
            was_failing = result.is_err();
        }
    }

    /// Takes over what has changed, if something has.
    ///
    /// # Errors
    /// The store cannot be read; what was taken over before that stays so.
    pub async fn follow(&self) -> Result<(), StoreFailure> {
        let mut known = self.turn.lock().await;
        if known.version == Some(timely(self.keys.version()).await?) {
            let changing: Vec<String> = known.changing.iter().cloned().collect();
            for tenant in changing {
                let listed = self.held(&tenant).map_or(0, |held| held.listed);
                self.take_over(&tenant, listed).await?;
            }
            return Ok(());
        }
        known.version = None;
        let (version, listed) = timely(self.keys.tenants()).await?;
        self.keep_only(&listed);
        known.changing = listed.iter().filter(|one| one.is_changing).map(|one| one.tenant.clone()).collect();
        for one in &listed {
            let is_known = self.held(&one.tenant).is_some_and(|held| held.listed == one.revision);
            if !is_known || one.is_changing {
                self.take_over(&one.tenant, one.revision).await?;
            }
        }
        known.version = Some(version);
        Ok(())
    }

    async fn take_over(&self, tenant: &str, listed: u64) -> Result<(), StoreFailure> {
        match self.load(tenant, self.held(tenant), listed).await {
            Ok(held) => {
                self.hold(tenant, Some(held));
                Ok(())
            }
            Err(RegistryError::Store(failure)) => Err(failure),
            Err(error) => {
                // One tenant's damage is not the others'. Without its head nothing of it can be trusted.
                tracing::error!(tenant, %error, "the tools of a tenant are not in force");
                self.hold(tenant, Some(Arc::new(Held::none().listed_at(listed))));
                Ok(())
            }
        }
    }

    /// Reads a tenant's tools; those whose records have not changed since `before` are not read again.
    pub(super) async fn load(
        &self,
        tenant: &str,
        before: Option<Arc<Held>>,
        listed: u64,
    ) -> Result<Arc<Held>, RegistryError> {
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let written = self.read(tenant, keys::HEAD).await?;
            if let Some(before) = before.as_ref().filter(|before| before.written == written) {
                let same = before.listed == listed;
                return Ok(if same { Arc::clone(before) } else { Arc::new(before.listed_at(listed)) });
            }
            let Some(bytes) = &written else { return Ok(Arc::new(Held::none().listed_at(listed))) };
            let head: Head = serde_json::from_slice(bytes).map_err(|error| {
                tracing::error!(
                    tenant,
                    line = error.line(),
                    column = error.column(),
                    "the head of a tenant's tools is damaged"
                );
                RegistryError::Unreadable("the list of tools".to_owned())
            })?;
            if let Some(tools) = self.records(tenant, &head, before.as_deref()).await? {
                return Ok(Arc::new(Held::new(listed, head, written, tools)));
            }
        }
        Err(RegistryError::Contended)
    }

    pub(super) async fn read(&self, tenant: &str, key: &str) -> Result<Option<Bytes>, StoreFailure> {
        let mut found = timely(self.keys.get(tenant, &[key.to_owned()])).await?;
        Ok(found.pop().flatten())
    }

    /// The records that the head tells of; none if one is of another writing, so that the head has changed since.
    async fn records(
        &self,
        tenant: &str,
        head: &Head,
        before: Option<&Held>,
    ) -> Result<Option<BTreeMap<String, Arc<Tool>>>, StoreFailure> {
        let mut tools = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, entry) in &head.tools {
            match before.and_then(|held| held.tools.get(name)).filter(|tool| tool.revision == entry.revision)
            {
                Some(tool) => drop(tools.insert(name.clone(), Arc::clone(tool))),
                None => missing.push((name, entry.revision)),
            }
        }
        for page in missing.chunks(PAGE_RECORDS) {
            let asked: Vec<String> = page.iter().map(|(name, _)| keys::tool(name)).collect();
            let found = timely(self.keys.get(tenant, &asked)).await?;
            for ((name, revision), record) in page.iter().zip(found) {
                let Some(record) = record else { return Ok(None) };
                match serde_json::from_slice::<Tool>(&record) {
                    Ok(tool) if tool.revision != *revision => return Ok(None),
                    Ok(tool) => drop(tools.insert((*name).clone(), Arc::new(tool))),
                    // Its place is said, not what stands there.
                    Err(error) => {
                        let (line, column) = (error.line(), error.column());
                        tracing::error!(tenant, tool = %name, line, column, "the record of a tool is damaged; it is left out");
                    }
                }
            }
        }
        Ok(Some(tools))
    }

    pub(super) fn held(&self, tenant: &str) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    pub(super) fn hold(&self, tenant: &str, held: Option<Arc<Held>>) {
        let mut all = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match held {
            Some(held) => all.insert(tenant.to_owned(), held),
            None => all.remove(tenant),
        };
    }

    /// Forgets tenants that another host has taken off the list.
    fn keep_only(&self, listed: &[Listed]) {
        let names: BTreeSet<&str> = listed.iter().map(|one| one.tenant.as_str()).collect();
        let mut all = self.held.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|tenant, _| names.contains(tenant.as_str()));
    }
}
