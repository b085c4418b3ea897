//! What each route does: reads the call, changes or shows tenants, and writes one line to the log for each change.

use crate::answer::Answer;
use crate::check::check;
use crate::convert::{apply, mistakes, show, show_key, show_state};
use crate::host::{ErasureReport, Host};
use crate::openapi::schemas;
use crate::precondition;
use crate::problem::{Mistake, Problem};
use crate::query::Query;
use crate::route::{BASE, Operation, Route};
use crate::shape;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use waggle_tenancy::{
    ApiKey, NewKey, Origin, Registry, RegistryError, Tenant, TenantId, TenantSettings, TenantState,
    TenantView,
};

/// How long an erasure waits for other hosts; if it takes longer, the client is told when to come back.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(10);

/// A request that was let in, read whole.
pub(crate) struct Call {
    pub(crate) route: &'static Route,
    /// What stands for `{id}`, and for `{key}` or `{name}`, in the path, not checked yet.
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) query: String,
    pub(crate) if_match: Vec<HeaderValue>,
    pub(crate) body: Value,
    /// The body of a route that takes no JSON.
    pub(crate) bytes: Bytes,
    pub(crate) remote: SocketAddr,
}

/// The operations.
pub(crate) struct Api {
    pub(crate) registry: Arc<Registry>,
    pub(crate) host: Arc<dyn Host>,
}

impl Api {
    pub(crate) fn new(registry: Arc<Registry>, host: Arc<dyn Host>) -> Self {
        Self { registry, host }
    }

    pub(crate) async fn carry_out(&self, call: Call) -> Result<Answer, Problem> {
        match call.route.operation {
            Operation::ListTenants => self.list_tenants(&call),
            Operation::CreateTenant => self.create_tenant(&call).await,
            Operation::ShowTenant => Ok(self.tenant(StatusCode::OK, &self.view(&call)?)),
            Operation::ReplaceTenant => self.replace_tenant(&call).await,
            Operation::RemoveTenant => self.remove_tenant(&call).await,
            Operation::SuspendTenant | Operation::ResumeTenant => self.set_state(&call).await,
            Operation::ListKeys => self.list_keys(&call),
            Operation::AddKey => self.add_key(&call).await,
            Operation::RevokeKey => self.revoke_key(&call).await,
            Operation::RotateKey => self.rotate_key(&call).await,
            Operation::ShowUsage => {
                let usage = self.host.usage(&self.view(&call)?.tenant.id).await;
                Ok(Answer::json(StatusCode::OK, &usage))
            }
            Operation::ListTools
            | Operation::UploadComponent
            | Operation::AddTool
            | Operation::ShowTool
            | Operation::AcceptTool
            | Operation::RejectTool
            | Operation::EnableTool
            | Operation::DisableTool
            | Operation::RefreshTool
            | Operation::RemoveTool => self.carry_out_on_tools(&call).await,
            Operation::Health | Operation::Document => Err(Problem::internal(&"answered before")),
        }
    }

    fn list_tenants(&self, call: &Call) -> Result<Answer, Problem> {
        let query = Query::read(&call.query, call.route.query)?;
        let limit = query.number("limit", 1, shape::PAGE_TENANTS_MAX)?.unwrap_or(shape::PAGE_TENANTS);
        let after = match query.text("after") {
            None => None,
            Some(text) => Some(
                TenantId::new(text)
                    .map_err(|error| Problem::query(vec![Mistake::parameter("after", error.to_string())]))?,
            ),
        };
        // One more than asked for tells whether there is another page.
        let mut views = self.registry.list(after.as_ref(), limit + 1);
        let more = views.len() > limit;
        views.truncate(limit);
        let next = views.last().filter(|_| more).map(|last| last.tenant.id.to_string());
        let tenants = views.iter().map(summary).collect();
        Ok(Answer::json(StatusCode::OK, &shape::TenantPage { tenants, next }))
    }

    async fn create_tenant(&self, call: &Call) -> Result<Answer, Problem> {
        let new: shape::NewTenant = read(call)?;
        let id = TenantId::new(&new.id).map_err(|error| Mistake::at("/id", error.to_string()));
        let settings = apply(new.settings, &TenantSettings::default(), "/settings");
        let (id, settings) = match (id, settings) {
            (Ok(id), Ok(settings)) => (id, settings),
            (id, settings) => {
                let mut mistakes = settings.err().unwrap_or_default();
                mistakes.extend(id.err());
                return Err(Problem::invalid(mistakes));
            }
        };
        let view = self
            .registry
            .create(Tenant { id, settings })
            .await
            .map_err(|error| refused(error, "/settings"))?;
        audit(call, "create tenant", &view.tenant.id, None);
        let location = format!("{BASE}/tenants/{}", view.tenant.id);
        Ok(self.tenant(StatusCode::CREATED, &view).with(header::LOCATION, &location))
    }

    async fn replace_tenant(&self, call: &Call) -> Result<Answer, Problem> {
        let view = self.view(call)?;
        let new: shape::Settings = read(call)?;
        // After the body: a condition is looked at last (RFC 9110, section 13.2.1).
        precondition::check(&call.if_match, view.revision)?;
        let settings = apply(new, &view.tenant.settings, "").map_err(Problem::invalid)?;
        // What was left out stays as it was in this revision, so no other may be replaced, asked for or not.
        let replaced = self
            .registry
            .replace(&view.tenant.id, settings, Some(view.revision))
            .await
            .map_err(|error| refused(error, ""))?;
        audit(call, "replace tenant", &replaced.tenant.id, None);
        Ok(self.tenant(StatusCode::OK, &replaced))
    }

    async fn remove_tenant(&self, call: &Call) -> Result<Answer, Problem> {
        let erase = Query::read(&call.query, call.route.query)?.flag("erase")?;
        let view = self.view(call)?;
        let id = &view.tenant.id;
        if view.origin == Origin::File {
            return self.remove_shadowed(call, id, erase).await;
        }
        precondition::check(&call.if_match, view.revision)?;
        let (revision, report) = if erase {
            self.wait_until_quiet(&view).await?;
            let (revision, report) = self.erase(call, id, view.revision).await?;
            (Some(revision), Some(report))
        } else {
            // Who makes no condition removes what there is, whatever another host has made of it meanwhile.
            ((!call.if_match.is_empty()).then_some(view.revision), None)
        };
        self.registry.remove(id, revision).await.map_err(|error| refused(error, ""))?;
        self.host.ended(id).await;
        audit(call, if erase { "remove and erase tenant" } else { "remove tenant" }, id, None);
        Ok(match report {
            Some(erased) => Answer::json(StatusCode::OK, &shape::Erasure { tenant: id.to_string(), erased }),
            None => Answer::empty(StatusCode::NO_CONTENT),
        })
    }

    /// A tenant that is in force by tenants.toml may be in the store as well; then it can be removed from there. The data
    /// belongs to the one in force.
    async fn remove_shadowed(&self, call: &Call, id: &TenantId, erase: bool) -> Result<Answer, Problem> {
        if erase {
            return Err(refused(RegistryError::FromFile(id.clone()), ""));
        }
        self.registry.remove(id, None).await.map_err(|error| refused(error, ""))?;
        audit(call, "remove shadowed tenant", id, None);
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    /// Waits until nobody can write to the tenant's data any more, so that what is counted after the erasure proves
    /// something: other hosts have to see that it is suspended, and to finish what they have.
    async fn wait_until_quiet(&self, view: &TenantView) -> Result<(), Problem> {
        let id = &view.tenant.id;
        let Some(since) = view.quiet_since else {
            let detail = format!(
                "`{id}` is being served. Suspend it first (`POST {BASE}/tenants/{id}/suspend`, or `waggle tenant suspend \
                 {id}`), so that nothing new is written; then erase it."
            );
            return Err(Problem::new(StatusCode::CONFLICT, "tenant_active", detail));
        };
        let left = self.host.quiet_after().saturating_sub(since.elapsed());
        if left > QUIET_WAIT_MAX {
            let seconds = left.as_millis().div_ceil(1_000);
            let detail = format!(
                "Hosts that share the store may go on with requests of `{id}` for {seconds} s. Erase it then; it stays \
                 suspended, and nothing was erased yet."
            );
            let problem = Problem::new(StatusCode::CONFLICT, "tenant_not_quiet", detail);
            return Err(problem.with(header::RETRY_AFTER, &seconds.to_string()));
        }
        tokio::time::sleep(left).await;
        Ok(())
    }

    /// Forgets the settings first, so that they leave the store's files with the data. If it fails, the tenant is still
    /// there and it can be tried again.
    async fn erase(
        &self,
        call: &Call,
        id: &TenantId,
        revision: u64,
    ) -> Result<(u64, ErasureReport), Problem> {
        let emptied = self.emptied(call, id, revision).await?;
        let failed = |cause: &str| {
            tracing::error!(target: "admin", tenant = %id, cause, "a tenant's data could not be erased");
            let detail = "Not all data could be erased; the tenant stays, suspended and without settings. Try again; the log \
                 says why.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "erasure_incomplete", detail)
        };
        let report = self.host.erase(id).await.map_err(|cause| failed(&cause))?;
        if report.is_complete() { Ok((emptied, report)) } else { Err(failed("a second look found keys")) }
    }

    /// Takes the suspended tenant's settings and keys, if it still is at `revision`, and answers the revision after that. A
    /// record that cannot be read is not in force, so nobody is served by it.
    async fn emptied(&self, call: &Call, id: &TenantId, revision: u64) -> Result<u64, Problem> {
        let empty = |settings: &mut TenantSettings| {
            *settings = TenantSettings { state: TenantState::Suspended, ..TenantSettings::default() };
            Ok(())
        };
        match self.registry.edit(id, Some(revision), empty).await {
            Ok((view, ())) => {
                audit(call, "empty tenant", id, None);
                Ok(view.revision)
            }
            Err(RegistryError::Unreadable(_)) => Ok(revision),
            Err(error) => Err(refused(error, "")),
        }
    }

    async fn set_state(&self, call: &Call) -> Result<Answer, Problem> {
        let id = self.id(call)?;
        let suspend = call.route.operation == Operation::SuspendTenant;
        let changed =
            if suspend { self.registry.suspend(&id).await } else { self.registry.resume(&id).await };
        let view = changed.map_err(|error| refused(error, ""))?;
        audit(call, if suspend { "suspend tenant" } else { "resume tenant" }, &id, None);
        Ok(self.tenant(StatusCode::OK, &view))
    }

    fn list_keys(&self, call: &Call) -> Result<Answer, Problem> {
        let view = self.view(call)?;
        let last_used = |id: &str| view.entry.as_ref().and_then(|entry| entry.last_used(id));
        let keys = view.tenant.settings.api_keys.iter();
        let keys = keys.map(|key| show_key(key, last_used(&key.id))).collect();
        Ok(Answer::json(StatusCode::OK, &shape::KeyList { keys }))
    }

    async fn add_key(&self, call: &Call) -> Result<Answer, Problem> {
        let id = self.id(call)?;
        let new: shape::NewKey = read(call)?;
        let expires_at = new.expires_in_s.map(|life| now_s().saturating_add(life));
        let asked = NewKey { name: new.name, scopes: new.scopes, expires_at };
        let (key, secret) = self.registry.add_key(&id, asked).await.map_err(key_refused)?;
        audit(call, "add key", &id, Some(&key.id));
        Ok(created_key(&key, secret.expose()))
    }

    async fn revoke_key(&self, call: &Call) -> Result<Answer, Problem> {
        let id = self.id(call)?;
        self.registry.revoke_key(&id, &call.key).await.map_err(|error| refused(error, ""))?;
        audit(call, "revoke key", &id, Some(&call.key));
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    async fn rotate_key(&self, call: &Call) -> Result<Answer, Problem> {
        let id = self.id(call)?;
        let rotation: shape::Rotation = read(call)?;
        let (key, secret) = self
            .registry
            .rotate_key(&id, &call.key, rotation.grace_s)
            .await
            .map_err(|error| refused(error, ""))?;
        audit(call, "rotate key", &id, Some(&format!("{} to {}", call.key, key.id)));
        Ok(created_key(&key, secret.expose()))
    }

    pub(crate) fn id(&self, call: &Call) -> Result<TenantId, Problem> {
        TenantId::new(&call.id).map_err(|_no_id| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "unknown_tenant",
                "There is no such tenant; what stands in the path is no tenant's id.",
            )
        })
    }

    fn view(&self, call: &Call) -> Result<TenantView, Problem> {
        self.registry.get(&self.id(call)?).map_err(|error| refused(error, ""))
    }

    fn tenant(&self, status: StatusCode, view: &TenantView) -> Answer {
        let settings = show(&view.tenant.settings, |name| self.host.is_secret_variable(name));
        let tenant = shape::Tenant {
            id: view.tenant.id.to_string(),
            source: source(view.origin),
            revision: view.revision,
            problem: view.problem.as_deref().map(str::to_owned),
            settings,
        };
        Answer::json(status, &tenant).with(header::ETAG, &precondition::etag(view.revision))
    }
}

fn summary(view: &TenantView) -> shape::TenantSummary {
    let Tenant { id, settings } = &*view.tenant;
    let name = if settings.name.is_empty() { id.as_str() } else { &settings.name };
    shape::TenantSummary {
        id: id.to_string(),
        name: name.to_owned(),
        state: show_state(settings.state),
        source: source(view.origin),
        revision: view.revision,
        problem: view.problem.as_deref().map(str::to_owned),
    }
}

fn source(origin: Origin) -> shape::Source {
    match origin {
        Origin::File => shape::Source::File,
        Origin::Store => shape::Source::Store,
    }
}

fn created_key(key: &ApiKey, secret: &str) -> Answer {
    let created = shape::CreatedKey { secret: secret.to_owned(), key: show_key(key, None) };
    Answer::json(StatusCode::CREATED, &created)
}

/// The body as `T`, checked against the schema that the document has for it.
pub(crate) fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    let name = call.route.body.map_or("", |(name, _)| name);
    let found = check(schemas(), &json!({ "$ref": name }), &call.body);
    if !found.is_empty() {
        return Err(Problem::invalid(found));
    }
    // The schema is made from the type, so that this should not fail; its message could repeat a value.
    T::deserialize(&call.body).map_err(|_shape| {
        Problem::invalid(vec![Mistake::at("", "has not the shape that the document describes")])
    })
}

/// The answer to what the registry refuses of a new key: it stands at the end of the tenant's keys, but is the whole body.
fn key_refused(mut error: RegistryError) -> Problem {
    if let RegistryError::Invalid(found) = &mut error {
        for mistake in
            found.iter_mut().filter(|mistake| mistake.path.first().is_some_and(|at| at == "api_keys"))
        {
            mistake.path.drain(..mistake.path.len().min(2));
        }
    }
    refused(error, "")
}

fn no_tenant(id: &TenantId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_tenant", format!("There is no tenant `{id}`."))
}

/// The answer to what the registry refuses; `base` is where the settings stand in the body.
pub(crate) fn refused(error: RegistryError, base: &str) -> Problem {
    let sentence = error.to_string();
    let conflict = |code| Problem::new(StatusCode::CONFLICT, code, sentence);
    match error {
        RegistryError::Exists(_) => conflict("tenant_exists"),
        RegistryError::FromFile(_) => conflict("tenant_of_file"),
        RegistryError::Conflict(_) => conflict("conflict"),
        RegistryError::Contended(_) => conflict("contended"),
        RegistryError::Unreadable(_) => conflict("unreadable"),
        RegistryError::NotFound(id) => no_tenant(&id),
        RegistryError::KeyNotFound(_) => {
            Problem::new(StatusCode::NOT_FOUND, "unknown_key", "The tenant has no such API key.")
        }
        RegistryError::Invalid(found) => Problem::invalid(mistakes(found, base)),
        RegistryError::RevisionMismatch { .. } => precondition::changed(),
        RegistryError::Sealing(cause) => Problem::internal(&cause),
        RegistryError::Store(cause) => {
            tracing::error!(target: "admin", %cause, "the store does not take a change");
            Problem::unavailable("store", "The store does not take changes at the moment; the log says why.")
        }
    }
}

/// One line for each change: who did what to which tenant, and never a secret.
fn audit(call: &Call, action: &str, tenant: &TenantId, key: Option<&str>) {
    tracing::info!(target: "admin", action, %tenant, key, remote = %call.remote, "changed");
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
