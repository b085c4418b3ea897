//! Changes to tools: checked, written to the store, in force at once; on other hosts as soon as they look.
//!
//! A tenant's keys lie in its own part of the store, so that erasing the tenant erases them. Each change swaps the tenant's
//! head, together with the one record that it changes; around that, the change is told to other hosts by a list of tenants
//! (`touch`), first that something is about to happen, then that it has. A host that sees only the first of the two, because
//! the other died, looks at that tenant every time.

mod change;
mod components;
mod error;
mod follow;
mod held;
mod source;
#[cfg(test)]
mod tests;

pub use components::{COMPONENT_BYTES_MAX, COMPONENTS_MAX, Component};
pub use error::RegistryError;
pub use source::{ToolSource, Unlisted};

use crate::check::Mistakes;
use crate::new_tool::NewTool;
use crate::{
    Changed, Digest, Function, Grants, Kind, Origin, Pending, Snapshot, Tool, ToolKeys, Version, differences,
};
use change::Edit;
use held::Held;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tools of a tenant.
pub const TOOLS_MAX: usize = 2_048;
/// Bytes of one tool's record.
pub(crate) const RECORD_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the records of all tools of a tenant.
pub(crate) const RECORDS_BYTES_MAX: u64 = 16 << 20;
/// Bytes of what is kept of a report.
const REPORT_BYTES_MAX: usize = 1_024;

/// The tools of all tenants in one store.
pub struct Registry {
    keys: Arc<dyn ToolKeys>,
    /// Held by whoever changes something or takes over what is in the store.
    turn: tokio::sync::Mutex<follow::Known>,
    /// What the store holds, as far as this host knows.
    held: RwLock<BTreeMap<String, Arc<Held>>>,
}

impl Registry {
    /// What is in force of the tenant's tools at this moment. No wait, no input or output: for every request.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Arc<Snapshot> {
        self.held(tenant).map_or_else(Snapshot::empty, |held| Arc::clone(&held.snapshot))
    }

    /// All tools of the tenant, in force or not, in the order of their names. One whose record cannot be read is not
    /// among them; [`Registry::unreadable`] names it.
    #[must_use]
    pub fn list(&self, tenant: &str) -> Vec<Arc<Tool>> {
        self.held(tenant).map(|held| held.tools.values().cloned().collect()).unwrap_or_default()
    }

    /// The names of tools whose records cannot be read.
    #[must_use]
    pub fn unreadable(&self, tenant: &str) -> Vec<String> {
        let Some(held) = self.held(tenant) else { return Vec::new() };
        held.head.tools.keys().filter(|name| !held.tools.contains_key(*name)).cloned().collect()
    }

    /// One tool of the tenant.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Unreadable`].
    pub fn get(&self, tenant: &str, name: &str) -> Result<Arc<Tool>, RegistryError> {
        let held = self.held(tenant).ok_or_else(|| RegistryError::NotFound(name.to_owned()))?;
        held.tool(name).cloned()
    }

    /// Adds a tool, or another version of one. It waits to be accepted, unless `new` says that it is, or the same version
    /// is the accepted one already. `secrets` are the tenant's, each with its origin; what the tool can do is asked of
    /// `source` where it is not said.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`], [`RegistryError::Refused`], [`RegistryError::Unavailable`], [`RegistryError::TooMuch`],
    /// [`RegistryError::Unreadable`], or the store's failure.
    pub async fn add(
        &self,
        tenant: &str,
        new: NewTool,
        secrets: &BTreeMap<String, String>,
        source: &dyn ToolSource,
    ) -> Result<Arc<Tool>, RegistryError> {
        new.check().map_err(RegistryError::Invalid)?;
        let functions = self.functions(tenant, &new, source).await?;
        let (name, accept) = (new.name.clone(), new.accept);
        let version = new.into_version(functions).map_err(RegistryError::Invalid)?;
        check_grants(&version.grants, secrets, &source.stores())?;
        self.put(tenant, &name, version, accept).await
    }

    /// Lists what an MCP server can do anew. If that is not what was accepted, it is a version that waits.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::NothingToList`], and those of [`Registry::add`].
    pub async fn refresh(
        &self,
        tenant: &str,
        name: &str,
        secrets: &BTreeMap<String, String>,
        source: &dyn ToolSource,
    ) -> Result<Arc<Tool>, RegistryError> {
        let tool = self.get(tenant, name)?;
        let waits = tool.pending.as_ref().map(|pending| &pending.version);
        let version =
            waits.or(tool.accepted.as_ref()).filter(|version| matches!(version.kind, Kind::Mcp { .. }));
        let version = version.ok_or_else(|| RegistryError::NothingToList(name.to_owned()))?;
        let again = NewTool::again(name, version);
        let functions = self.functions(tenant, &again, source).await?;
        let again = again.without_gone(&functions);
        let version = again.into_version(functions).map_err(RegistryError::Invalid)?;
        check_grants(&version.grants, secrets, &source.stores())?;
        self.put(tenant, name, version, false).await
    }

    /// Puts the version that waits in force, if it is the one that was read: the one with this digest, and, where
    /// `revision` is given, of a record that nobody has changed since.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::NothingPending`], [`RegistryError::OtherPending`],
    /// [`RegistryError::Unreadable`], or the store's failure.
    pub async fn accept(
        &self,
        tenant: &str,
        name: &str,
        digest: &str,
        revision: Option<u64>,
    ) -> Result<Arc<Tool>, RegistryError> {
        let accepted = self.edit(tenant, name, |tool| {
            let version = read(tool, digest, revision)?.version.clone();
            Ok(Some(Tool { accepted: Some(version), pending: None, changed: None, ..tool.clone() }))
        });
        accepted.await?.ok_or_else(|| RegistryError::NotFound(name.to_owned()))
    }

    /// Drops the version that waits, if it is the one that was read; a tool of which none was ever accepted is removed
    /// with it, and then there is none to answer.
    ///
    /// # Errors
    /// As [`Registry::accept`].
    pub async fn reject(
        &self,
        tenant: &str,
        name: &str,
        digest: &str,
        revision: Option<u64>,
    ) -> Result<Option<Arc<Tool>>, RegistryError> {
        let rejected = self.edit(tenant, name, |tool| {
            read(tool, digest, revision)?;
            Ok(tool.accepted.is_some().then(|| Tool { pending: None, ..tool.clone() }))
        });
        rejected.await
    }

    /// Lets what is accepted of a tool be called, or not. Calls under way are finished.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Unreadable`], or the store's failure.
    pub async fn set_enabled(
        &self,
        tenant: &str,
        name: &str,
        enabled: bool,
    ) -> Result<Arc<Tool>, RegistryError> {
        let changed = self.edit(tenant, name, |tool| Ok(Some(Tool { enabled, ..tool.clone() })));
        changed.await?.ok_or_else(|| RegistryError::NotFound(name.to_owned()))
    }

    /// Notes that an MCP server lists other definitions than those that were accepted. Only the first report counts until
    /// another version is accepted, so that whoever reports at every call writes once.
    ///
    /// # Errors
    /// As [`Registry::set_enabled`].
    pub async fn report_changed(&self, tenant: &str, name: &str, detail: &str) -> Result<(), RegistryError> {
        if self.get(tenant, name)?.changed.is_some() {
            return Ok(());
        }
        let detail = bounded(detail, REPORT_BYTES_MAX);
        tracing::warn!(
            tenant,
            tool = name,
            detail,
            "an MCP server lists other definitions than were accepted"
        );
        let noted = self.edit(tenant, name, |tool| {
            let changed =
                tool.changed.clone().unwrap_or(Changed { noticed_at: now_s(), detail: detail.clone() });
            Ok(Some(Tool { changed: Some(changed), ..tool.clone() }))
        });
        noted.await.map(drop)
    }

    /// Removes a tool, even one whose record cannot be read, and the components that no other tool has.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], or the store's failure.
    pub async fn remove(&self, tenant: &str, name: &str) -> Result<(), RegistryError> {
        let removed = self.change(tenant, |held| {
            if !held.head.tools.contains_key(name) {
                return Err(RegistryError::NotFound(name.to_owned()));
            }
            Ok(Some(Edit { name: name.to_owned(), tool: None }))
        });
        removed.await.map(drop)
    }

    /// The tenant's part of the store has been erased, and its tools with it: takes it off the list, and forgets it.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn forget(&self, tenant: &str) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        crate::keys::timely(self.keys.forget(tenant)).await?;
        self.hold(tenant, None);
        Ok(())
    }

    /// What a new tool can do.
    async fn functions(
        &self,
        tenant: &str,
        new: &NewTool,
        source: &dyn ToolSource,
    ) -> Result<Vec<Function>, RegistryError> {
        match &new.kind {
            Kind::Http { .. } => Ok(new.functions.clone()),
            Kind::Component => {
                let digest = new.digest.as_deref().unwrap_or_default();
                let digest: Digest =
                    digest.parse().map_err(|_| RegistryError::NoComponent(digest.to_owned()))?;
                Ok(self.component_of(tenant, &digest).await?.functions)
            }
            Kind::Mcp { url } => {
                let mut grants = new.grants.clone();
                grants.outbound.extend(Origin::of_url(url).ok().map(|own| own.to_string()));
                grants.normalize();
                Ok(source.list_remote(tenant, &new.name, url, &grants, &new.limits).await?)
            }
        }
    }

    async fn put(
        &self,
        tenant: &str,
        name: &str,
        version: Version,
        accept: bool,
    ) -> Result<Arc<Tool>, RegistryError> {
        let put = self.change(tenant, |held| {
            let is_new = !held.head.tools.contains_key(name);
            if is_new && held.head.tools.len() >= TOOLS_MAX {
                let message =
                    format!("the tenant has {TOOLS_MAX} tools, which is the most; remove one first");
                return Err(RegistryError::TooMuch(message));
            }
            let old = if is_new { None } else { Some(held.tool(name)?) };
            held.has_component(&version)?;
            let tool = with_version(name, old.map(|old| &**old), &version, accept);
            Ok(Some(Edit { name: name.to_owned(), tool: Some(tool) }))
        });
        put.await?.ok_or_else(|| RegistryError::NotFound(name.to_owned()))
    }

    /// Changes one tool as `edit` says; nothing removes it. Nothing is written where nothing changes.
    async fn edit(
        &self,
        tenant: &str,
        name: &str,
        edit: impl Fn(&Tool) -> Result<Option<Tool>, RegistryError>,
    ) -> Result<Option<Arc<Tool>>, RegistryError> {
        let changed = self.change(tenant, |held| {
            let old = held.tool(name)?;
            let new = edit(old)?;
            let is_same = new.as_ref().is_some_and(|new| *new == **old);
            Ok((!is_same).then(|| Edit { name: name.to_owned(), tool: new }))
        });
        match changed.await? {
            Some(tool) => Ok(Some(tool)),
            // Unchanged, or gone.
            None => Ok(self.get(tenant, name).ok()),
        }
    }
}

/// The tool with another version, which waits unless it is accepted, or is already.
fn with_version(name: &str, old: Option<&Tool>, version: &Version, accept: bool) -> Tool {
    let new = || Tool {
        name: name.to_owned(),
        enabled: true,
        revision: 0,
        accepted: None,
        pending: None,
        changed: None,
    };
    let mut tool = old.cloned().unwrap_or_else(new);
    tool.pending = None;
    if accept || tool.accepted.as_ref() == Some(version) {
        tool.accepted = Some(version.clone());
        tool.changed = None;
    } else {
        let differences = differences(tool.accepted.as_ref(), version);
        tool.pending = Some(Pending { version: version.clone(), differences, added_at: now_s() });
    }
    tool
}

/// What waits, if it is what was read.
fn read<'t>(tool: &'t Tool, digest: &str, revision: Option<u64>) -> Result<&'t Pending, RegistryError> {
    let pending = tool.pending.as_ref().ok_or_else(|| RegistryError::NothingPending(tool.name.clone()))?;
    if pending.version.digest == digest && revision.is_none_or(|revision| revision == tool.revision) {
        return Ok(pending);
    }
    Err(RegistryError::OtherPending {
        name: tool.name.clone(),
        digest: pending.version.digest.clone(),
        revision: tool.revision,
    })
}

/// What is granted has to be there, and a secret is sent nowhere but to its own origin.
fn check_grants(
    grants: &Grants,
    secrets: &BTreeMap<String, String>,
    stores: &BTreeSet<String>,
) -> Result<(), RegistryError> {
    let mut found = Mistakes::default();
    for (index, name) in grants.secrets.iter().enumerate() {
        let message = match secrets.get(name).map(|origin| (origin, origin.parse::<Origin>())) {
            None => format!("the tenant has no secret `{name}`; it has {}", listed(secrets.keys())),
            Some((_, Ok(origin))) if grants.outbound.contains(&origin.to_string()) => continue,
            Some((origin, _)) => {
                format!(
                    "`{name}` is sent to {origin} only, which is not among `outbound`: it would never be used"
                )
            }
        };
        found.add(&["grants", "secrets", &index.to_string()], message);
    }
    for (index, label) in grants.key_value.iter().enumerate().filter(|(_, label)| !stores.contains(*label)) {
        let message = format!("there is no store `{label}`; there are {}", listed(stores.iter()));
        found.add(&["grants", "key_value", &index.to_string()], message);
    }
    found.none_or_all().map_err(RegistryError::Invalid)
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// At most `most` bytes of a text, without control characters.
fn bounded(text: &str, most: usize) -> String {
    let mut out = String::new();
    for character in text.chars().filter(|one| !one.is_control()) {
        if out.len() + character.len_utf8() > most {
            break;
        }
        out.push(character);
    }
    out
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
