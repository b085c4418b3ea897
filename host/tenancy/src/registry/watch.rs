//! Taking over what the store holds: at the start, after another host's change, and when a conflict has ended.

use super::store::{StoreFailure, StoredTenant, timely};
use super::{Held, Known, Registry};
use crate::{ChangeRefused, Origin, Tenant, TenantId};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

impl Registry {
    /// Follows what other hosts change, for as long as the future is polled: looks at the store's version, pauses, and
    /// looks again. While the store fails, what is in force stays so.
    pub async fn watch(self: Arc<Self>, pause: Duration) {
        let mut was_failing = false;
        loop {
            tokio::time::sleep(pause).await;
            let result = self.follow().await;
            match &result {
                Ok(()) if was_failing => tracing::info!("the store of tenants answers again"),
                Err(failure) if !was_failing => {
                    tracing::warn!(%failure, "changes to tenants by other hosts are not seen at the moment");
                }
                _ => {}
            }
            was_failing = result.is_err();
        }
    }

    /// Takes over what has changed, if something has.
    pub(super) async fn follow(&self) -> Result<(), StoreFailure> {
        let mut known = self.turn.lock().await;
        let version = timely(self.store.version()).await?;
        if known.version != Some(version) {
            return self.reload(&mut known).await;
        }
        let has_problem = self.held().values().any(|held| held.problem.is_some());
        if has_problem && known.generation != self.directory.snapshot().generation {
            // Tenants.toml may have given way.
            self.put_in_force(&mut known);
        }
        Ok(())
    }

    /// Loads all records and puts them in force. Records that have not changed are not parsed again.
    pub(super) async fn reload(&self, known: &mut Known) -> Result<(), StoreFailure> {
        known.version = None;
        let (version, records) = timely(self.store.load()).await?;
        if version > 0 || !records.is_empty() {
            self.directory.set_claimed();
        }
        let mut held = BTreeMap::new();
        {
            let before = self.held();
            for record in records {
                let same = before.get(&record.id).filter(|held| held.revision == record.revision);
                let next = same.cloned().unwrap_or_else(|| read(&record));
                held.insert(record.id, next);
            }
        }
        *self.held() = held;
        self.put_in_force(known);
        known.version = Some(version);
        Ok(())
    }

    /// Puts in force all that can be. Of two tenants that claim the same, the one written last is left out, on every
    /// host alike.
    pub(super) fn put_in_force(&self, known: &mut Known) {
        let mut tenants: Vec<(u64, Arc<Tenant>)> = self
            .held()
            .values()
            .filter_map(|held| Some((held.revision, Arc::clone(held.tenant.as_ref()?))))
            .collect();
        tenants.sort_unstable_by_key(|(revision, _)| *revision);
        let mut problems = BTreeMap::new();
        // Each round leaves at least one out.
        while let Err(refused) =
            self.directory.replace(Origin::Store, tenants.iter().map(|(_, tenant)| Arc::clone(tenant)))
        {
            let found = problems_of(&refused);
            let out: HashSet<TenantId> = found.keys().cloned().collect();
            tenants.retain(|(_, tenant)| !out.contains(&tenant.id));
            problems.extend(found);
        }
        self.note(&problems);
        known.generation = self.directory.snapshot().generation;
    }

    fn note(&self, problems: &BTreeMap<TenantId, String>) {
        for (id, held) in self.held().iter_mut().filter(|(_, held)| held.tenant.is_some()) {
            let problem = problems.get(id).map(|problem| Arc::from(problem.as_str()));
            if let Some(problem) = problem.as_ref().filter(|_| held.problem != problem) {
                tracing::error!(tenant = %id, %problem, "a tenant of the store is not in force");
            }
            held.problem = problem;
        }
    }
}

/// What keeps each tenant from being in force.
fn problems_of(refused: &ChangeRefused) -> BTreeMap<TenantId, String> {
    let mut problems: BTreeMap<TenantId, String> = BTreeMap::new();
    let conflicts = refused.conflicts.iter().map(|conflict| (&conflict.second.1, conflict.to_string()));
    let mistakes = refused.mistakes.iter().map(|(tenant, mistake)| (tenant, mistake.to_string()));
    for (tenant, sentence) in conflicts.chain(mistakes) {
        let problem = problems.entry(tenant.clone()).or_default();
        if !problem.is_empty() {
            problem.push_str("; ");
        }
        problem.push_str(&sentence);
    }
    problems
}

fn read(record: &StoredTenant) -> Held {
    let revision = record.revision;
    match serde_json::from_slice(&record.settings) {
        Ok(settings) => {
            let tenant = Arc::new(Tenant { id: record.id.clone(), settings });
            Held::new(revision, Some(tenant), None)
        }
        Err(error) => {
            // Its place is said, not what stands there.
            let (line, column) = (error.line(), error.column());
            let problem = format!("its record cannot be read (line {line}, column {column})");
            tracing::error!(tenant = %record.id, problem, "a tenant of the store is not in force");
            Held { problem: Some(Arc::from(problem)), ..Held::new(revision, None, None) }
        }
    }
}
