//! One change: worked out from what the store holds, written in one step with the tenant's head, told to other hosts.

use super::components::{UNUSED_KEPT_S, keys_of};
use super::held::{Held, components_of};
use super::{RECORD_BYTES_MAX, RECORDS_BYTES_MAX, Registry, RegistryError, now_s};
use crate::head::{Head, ToolEntry};
use crate::keys::{self, Listing, timely};
use crate::{StoreFailure, Tool};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a change is worked out anew because another host was faster.
const ATTEMPTS_MAX: usize = 8;
/// Keys that one change removes beside its record: the parts of one component of the greatest size, or of several.
const REMOVED_KEYS_MAX: usize = 150;

/// What becomes of one tool.
pub(super) struct Edit {
    pub(super) name: String,
    /// None: it is removed.
    pub(super) tool: Option<Tool>,
}

impl Registry {
    /// Makes the change that `work_out` finds from what there is, which is called again if another host was faster; the
    /// tool as it is from now on. None where nothing is to be changed, or the tool is removed.
    pub(super) async fn change(
        &self,
        tenant: &str,
        work_out: impl Fn(&Held) -> Result<Option<Edit>, RegistryError>,
    ) -> Result<Option<Arc<Tool>>, RegistryError> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let held = self.current(tenant).await?;
            let Some(edit) = work_out(&held)? else { return Ok(None) };
            let (next, changes) = next(&held, edit)?;
            timely(self.keys.touch(tenant, true)).await?;
            let made = self.write(tenant, &held, &next, changes).await?;
            // A failure leaves the mark that something changes, so that all hosts go on looking.
            timely(self.keys.touch(tenant, false)).await?;
            if made {
                let tool = next.changed.clone();
                self.hold(tenant, Some(next.into_held()));
                return Ok(tool);
            }
        }
        Err(RegistryError::Contended)
    }

    /// Swaps the head, and what changes with it; whether nobody was faster.
    async fn write(
        &self,
        tenant: &str,
        held: &Held,
        next: &Next,
        mut changes: Listing,
    ) -> Result<bool, StoreFailure> {
        let expected = vec![(keys::HEAD.to_owned(), held.written.clone())];
        changes.push((keys::HEAD.to_owned(), Some(next.written.clone())));
        timely(self.keys.swap(tenant, expected, changes)).await
    }

    /// What there is of a tenant at this moment, by the store; held from now on.
    pub(super) async fn current(&self, tenant: &str) -> Result<Arc<Held>, RegistryError> {
        let held = self.held(tenant);
        let listed = held.as_ref().map_or(0, |held| held.listed);
        let loaded = self.load(tenant, held, listed).await?;
        self.hold(tenant, Some(Arc::clone(&loaded)));
        Ok(loaded)
    }
}

/// What there will be.
struct Next {
    head: Head,
    written: Bytes,
    tools: BTreeMap<String, Arc<Tool>>,
    changed: Option<Arc<Tool>>,
    listed: u64,
}

impl Next {
    fn into_held(self) -> Arc<Held> {
        Arc::new(Held::new(self.listed, self.head, Some(self.written), self.tools))
    }
}

/// What there will be after `edit`, and what is written beside the head.
fn next(held: &Held, edit: Edit) -> Result<(Next, Listing), RegistryError> {
    let (mut head, mut tools) = (held.head.clone(), held.tools.clone());
    head.revision += 1;
    let before = head.tools.remove(&edit.name).map(|entry| entry.components).unwrap_or_default();
    tools.remove(&edit.name);
    let mut changes = Listing::new();
    let mut changed = None;
    match edit.tool {
        None => changes.push((keys::tool(&edit.name), None)),
        Some(mut tool) => {
            tool.revision = head.revision;
            let record = json(&tool)?;
            let bytes = record.len() as u64;
            let entry = ToolEntry { revision: tool.revision, bytes, components: components_of(&tool) };
            head.tools.insert(edit.name.clone(), entry);
            check_room(&head, bytes)?;
            changes.push((keys::tool(&edit.name), Some(record)));
            let tool = Arc::new(tool);
            tools.insert(edit.name, Arc::clone(&tool));
            changed = Some(tool);
        }
    }
    drop_unused(&mut head, &before, &mut changes);
    let written = json(&head)?;
    Ok((Next { head, written, tools, changed, listed: held.listed }, changes))
}

fn check_room(head: &Head, bytes: u64) -> Result<(), RegistryError> {
    if bytes > RECORD_BYTES_MAX {
        let message = format!(
            "the tool's record has {bytes} bytes, at most {RECORD_BYTES_MAX} are allowed; choose fewer functions (`only`)"
        );
        return Err(RegistryError::TooMuch(message));
    }
    if head.record_bytes() > RECORDS_BYTES_MAX {
        let message = format!(
            "the tenant's tools would have {} bytes together, at most {RECORDS_BYTES_MAX} are allowed",
            head.record_bytes()
        );
        return Err(RegistryError::TooMuch(message));
    }
    Ok(())
}

/// Removes components that no tool has any more: those that the changed tool had, and those that were uploaded long ago.
/// What is too much for one step stays for a later change.
fn drop_unused(head: &mut Head, before: &[String], changes: &mut Listing) {
    let lost = before.iter().filter(|hex| !head.uses(hex)).cloned();
    let mut unused: Vec<String> = lost.chain(head.unused(now_s().saturating_sub(UNUSED_KEPT_S))).collect();
    unused.sort_unstable();
    unused.dedup();
    let mut count = 0;
    for hex in unused {
        let Some(entry) = head.components.get(&hex) else { continue };
        let gone = keys_of(&hex, entry.bytes);
        if count + gone.len() > REMOVED_KEYS_MAX {
            continue;
        }
        count += gone.len();
        head.components.remove(&hex);
        changes.extend(gone.into_iter().map(|key| (key, None)));
    }
}

/// A record as it is written.
pub(super) fn json(value: &impl serde::Serialize) -> Result<Bytes, StoreFailure> {
    let written = serde_json::to_vec(value).map(Bytes::from);
    written.map_err(|error| StoreFailure::new(format!("a record cannot be written as JSON: {error}")))
}
