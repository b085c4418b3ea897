//! What each route of tools does. What a tool may be and do, and whether a version runs, is decided in `host/tools`; here it
//! is only read, told, and written to the log.

use crate::answer::Answer;
use crate::api::{Api, Call, read};
use crate::host::Tools;
use crate::problem::{Mistake, Problem, step};
use crate::route::{BASE, Operation};
use crate::tool_shape as shape;
use http::StatusCode;
use http::header;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use std::collections::BTreeMap;
use waggle_tenancy::{RegistryError as TenantError, TenantId};
use waggle_tools::{Kind, NewTool, RegistryError, Tool};

/// A tenant whose tools are meant.
struct Owner<'a> {
    tools: &'a Tools,
    id: TenantId,
    /// The tenant's secrets, each with the origin it is sent to.
    secrets: BTreeMap<String, String>,
}

impl Api {
    /// Carries out an operation on tools.
    pub(crate) async fn carry_out_on_tools(&self, call: &Call) -> Result<Answer, Problem> {
        let owner = self.owner(call)?;
        match call.route.operation {
            Operation::UploadComponent => owner.upload(call).await,
            Operation::AddTool => owner.add(call).await,
            Operation::ShowTool => {
                let tool = owner.tools.registry.get(owner.id.as_str(), &call.key).map_err(refused)?;
                tool_answer(StatusCode::OK, &tool)
            }
            Operation::AcceptTool => owner.accept(call).await,
            Operation::RejectTool => owner.reject(call).await,
            Operation::EnableTool | Operation::DisableTool => owner.set_enabled(call).await,
            Operation::RefreshTool => owner.refresh(call).await,
            Operation::RemoveTool => owner.remove(call).await,
            _ => Ok(owner.list()),
        }
    }

    /// Whose tools are meant: a tenant of either source, or everybody's as long as there are no tenants.
    fn owner(&self, call: &Call) -> Result<Owner<'_>, Problem> {
        let Some(tools) = self.host.tools() else {
            let detail = "The application has no tools: it needs the function `tools` in its spin.toml.";
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_tools", detail));
        };
        let id = self.id(call)?;
        let secrets = match self.registry.get(&id) {
            Ok(view) => {
                let all = view.tenant.settings.secrets.iter();
                all.map(|(name, secret)| (name.clone(), secret.origin.clone())).collect()
            }
            Err(TenantError::NotFound(_)) if self.registry.is_open() && id == TenantId::default_tenant() => {
                BTreeMap::new()
            }
            Err(error) => return Err(crate::api::refused(error, "")),
        };
        Ok(Owner { tools, id, secrets })
    }
}

impl Owner<'_> {
    fn list(&self) -> Answer {
        let registry = &self.tools.registry;
        let tools = registry.list(self.id.as_str()).iter().filter_map(|tool| summary(tool)).collect();
        let list = shape::ToolList { tools, unreadable: registry.unreadable(self.id.as_str()) };
        Answer::json(StatusCode::OK, &list)
    }

    async fn upload(&self, call: &Call) -> Result<Answer, Problem> {
        let Tools { registry, source } = self.tools;
        let component =
            registry.put_component(self.id.as_str(), call.bytes.clone(), &**source).await.map_err(refused)?;
        self.audit(call, "upload component", &component.digest, None);
        let shown: shape::Component = through(&component)?;
        Ok(Answer::json(StatusCode::CREATED, &shown))
    }

    async fn add(&self, call: &Call) -> Result<Answer, Problem> {
        let new = new_tool(call)?;
        let Tools { registry, source } = self.tools;
        let is_new = matches!(registry.get(self.id.as_str(), &new.name), Err(RegistryError::NotFound(_)));
        let tool = registry.add(self.id.as_str(), new, &self.secrets, &**source).await.map_err(refused)?;
        self.audit(call, "add tool", &tool.name, digest_of(&tool));
        if !is_new {
            return tool_answer(StatusCode::OK, &tool);
        }
        let location = format!("{BASE}/tenants/{}/tools/{}", self.id, tool.name);
        Ok(tool_answer(StatusCode::CREATED, &tool)?.with(header::LOCATION, &location))
    }

    async fn accept(&self, call: &Call) -> Result<Answer, Problem> {
        let read: shape::ReadVersion = read(call)?;
        let accepting = self.tools.registry.accept(self.id.as_str(), &call.key, &read.digest, read.revision);
        let tool = accepting.await.map_err(refused)?;
        self.audit(call, "accept tool", &call.key, Some(&read.digest));
        tool_answer(StatusCode::OK, &tool)
    }

    async fn reject(&self, call: &Call) -> Result<Answer, Problem> {
        let read: shape::ReadVersion = read(call)?;
        let rejecting = self.tools.registry.reject(self.id.as_str(), &call.key, &read.digest, read.revision);
        let left = rejecting.await.map_err(refused)?;
        self.audit(call, "reject tool", &call.key, Some(&read.digest));
        match left {
            Some(tool) => tool_answer(StatusCode::OK, &tool),
            None => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        }
    }

    async fn set_enabled(&self, call: &Call) -> Result<Answer, Problem> {
        let enable = call.route.operation == Operation::EnableTool;
        let changing = self.tools.registry.set_enabled(self.id.as_str(), &call.key, enable);
        let tool = changing.await.map_err(refused)?;
        self.audit(call, if enable { "enable tool" } else { "disable tool" }, &call.key, None);
        tool_answer(StatusCode::OK, &tool)
    }

    async fn refresh(&self, call: &Call) -> Result<Answer, Problem> {
        let Tools { registry, source } = self.tools;
        let refreshing = registry.refresh(self.id.as_str(), &call.key, &self.secrets, &**source);
        let tool = refreshing.await.map_err(refused)?;
        self.audit(call, "refresh tool", &call.key, digest_of(&tool));
        tool_answer(StatusCode::OK, &tool)
    }

    async fn remove(&self, call: &Call) -> Result<Answer, Problem> {
        self.tools.registry.remove(self.id.as_str(), &call.key).await.map_err(refused)?;
        self.audit(call, "remove tool", &call.key, None);
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    /// One line for each change: who did what to which tool of which tenant.
    fn audit(&self, call: &Call, action: &str, tool: &str, digest: Option<&str>) {
        tracing::info!(target: "admin", action, tenant = %self.id, tool, digest, remote = %call.remote, "changed");
    }
}

/// The body, in the shape that the registry takes.
fn new_tool(call: &Call) -> Result<NewTool, Problem> {
    let new: shape::NewTool = read(call)?;
    let missing = |field: &str, what: &str| {
        Err(Problem::invalid(vec![Mistake::at(step(field), format!("it is missing: {what}"))]))
    };
    match new.kind {
        shape::ToolKind::Http if new.base_url.is_none() => {
            return missing("base_url", "where is the server?");
        }
        shape::ToolKind::Mcp if new.url.is_none() => return missing("url", "where is the server?"),
        _ => {}
    }
    let mut body = serde_json::to_value(&new).map_err(|error| Problem::internal(&error))?;
    // Absent and null are the same to whoever asks.
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    NewTool::deserialize(body).map_err(|error| Problem::invalid(vec![Mistake::at("", error.to_string())]))
}

fn tool_answer(status: StatusCode, tool: &Tool) -> Result<Answer, Problem> {
    let shown: shape::Tool = through(tool)?;
    Ok(Answer::json(status, &shown))
}

/// A record in the shape that the document describes.
fn through<T: DeserializeOwned>(record: &impl Serialize) -> Result<T, Problem> {
    let value = serde_json::to_value(record).map_err(|error| Problem::internal(&error))?;
    serde_json::from_value(value).map_err(|error| Problem::internal(&error))
}

fn summary(tool: &Tool) -> Option<shape::ToolSummary> {
    let version = tool.accepted.as_ref().or(tool.pending.as_ref().map(|pending| &pending.version))?;
    let state = match (&tool.accepted, tool.enabled) {
        (None, _) => shape::ToolState::Pending,
        (Some(_), true) => shape::ToolState::Active,
        (Some(_), false) => shape::ToolState::Disabled,
    };
    Some(shape::ToolSummary {
        name: tool.name.clone(),
        state,
        pending: tool.pending.is_some(),
        changed: tool.changed.is_some(),
        kind: match version.kind {
            Kind::Component => shape::ToolKind::Component,
            Kind::Http { .. } => shape::ToolKind::Http,
            Kind::Mcp { .. } => shape::ToolKind::Mcp,
        },
        version: version.version.clone(),
        digest: version.digest.clone(),
        functions: version.functions.len(),
    })
}

/// Of what waits, else of what runs.
fn digest_of(tool: &Tool) -> Option<&str> {
    let waits = tool.pending.as_ref().map(|pending| &pending.version);
    waits.or(tool.accepted.as_ref()).map(|version| version.digest.as_str())
}

/// The answer to what the registry refuses.
fn refused(error: RegistryError) -> Problem {
    let sentence = capitalized(&error.to_string());
    let conflict = |code| Problem::new(StatusCode::CONFLICT, code, sentence.clone());
    match error {
        RegistryError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "unknown_tool", sentence),
        RegistryError::Invalid(found) => Problem::invalid(
            found
                .into_iter()
                .map(|one| {
                    Mistake::at(one.path.iter().map(|name| step(name)).collect::<String>(), one.message)
                })
                .collect(),
        ),
        RegistryError::Refused(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "tool_refused", sentence),
        RegistryError::Unavailable(_) => Problem::unavailable("tool_unavailable", sentence),
        RegistryError::NothingPending(_) => conflict("nothing_pending"),
        RegistryError::OtherPending { .. } => conflict("other_pending"),
        RegistryError::NothingToList(_) => conflict("nothing_to_list"),
        RegistryError::TooMuch(_) => conflict("too_much"),
        RegistryError::Unreadable(_) => conflict("unreadable"),
        RegistryError::NoComponent(_) => conflict("no_component"),
        RegistryError::Contended => conflict("contended"),
        RegistryError::Store(cause) => {
            tracing::error!(target: "admin", %cause, "the store does not take a change");
            Problem::unavailable("store", "The store does not take changes at the moment; the log says why.")
        }
    }
}

/// A sentence as answers have them.
fn capitalized(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    let end = if sentence.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", rest.as_str())
}
