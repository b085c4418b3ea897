//! What the registry asks before anybody has accepted a tool: what a component can do, which the runner says, and what another
//! server lists, which the function `tools` finds out.

use super::trials::Trial;
use super::{TOOLS_FUNCTION, Tools};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use waggle_gateway::{WorkDelivery, WorkFailure};
use waggle_tenancy::TenantId;
use waggle_tool_runner::{ComponentError, FunctionDescription};
use waggle_tools::{Function, Grants, Limits, ToolSource, Unlisted};

/// Where the function lists what another server can do.
const LIST_PATH: &str = "/waggle/tools/list-remote";
/// How long that may take.
const LIST_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of what it answers: 64 functions with their schemas, and some.
const LIST_BYTES_MAX: usize = 8 << 20;

#[derive(Deserialize)]
struct Listed {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Failed {
    error: FailedWith,
}

#[derive(Deserialize)]
struct FailedWith {
    message: String,
}

#[async_trait]
impl ToolSource for Tools {
    async fn inspect(&self, component: Bytes) -> Result<Vec<Function>, Unlisted> {
        let began = Instant::now();
        let inspected = Box::pin(self.runner.inspect(component)).await.map_err(|error| match error {
            ComponentError::Setup(_) | ComponentError::Busy => Unlisted::Unavailable(error.to_string()),
            wrong => Unlisted::Refused(wrong.to_string()),
        })?;
        self.metrics.compiled(began.elapsed());
        inspected.functions.into_iter().map(function).collect()
    }

    async fn list_remote(
        &self,
        tenant: &str,
        name: &str,
        url: &str,
        grants: &Grants,
        limits: &Limits,
    ) -> Result<Vec<Function>, Unlisted> {
        let unavailable =
            |reason: String| Unlisted::Unavailable(format!("`{url}` could not be asked: {reason}"));
        let tenant = TenantId::new(tenant).map_err(|error| unavailable(error.to_string()))?;
        let trial =
            Trial { tenant: tenant.clone(), name: name.into(), grants: grants.clone(), limits: *limits };
        let question =
            self.trials.begin(trial).ok_or_else(|| unavailable("too many are asked at once".into()))?;
        let gateway = self.gateway.get().ok_or_else(|| unavailable("the host is on its way down".into()))?;
        let delivery = WorkDelivery {
            id: question.id().to_owned(),
            function: TOOLS_FUNCTION.to_owned(),
            path: LIST_PATH.to_owned(),
            content_type: Some("application/json".to_owned()),
            caller: question.caller(),
            body: json!({ "name": name, "url": url }).to_string().into(),
            attempt: 1,
            is_last: true,
            timeout: LIST_TIME_MAX,
        };
        let asked = Box::pin(gateway.ask(&tenant, delivery, LIST_BYTES_MAX)).await;
        let (status, body) = asked.map_err(|failure| unavailable(told(&failure)))?;
        if !status.is_success() {
            let message = serde_json::from_slice(&body).map(|failed: Failed| failed.error.message);
            let message = message.unwrap_or_else(|_other| format!("the function answered {status}"));
            return Err(if status.is_client_error() {
                Unlisted::Refused(message)
            } else {
                unavailable(message)
            });
        }
        let listed: Listed = serde_json::from_slice(&body)
            .map_err(|error| Unlisted::Refused(format!("what `{url}` lists cannot be read: {error}")))?;
        Ok(listed.functions)
    }

    fn stores(&self) -> BTreeSet<String> {
        self.stores.keys().cloned().collect()
    }
}

/// What an operator reads of it.
fn told(failure: &WorkFailure) -> String {
    match failure {
        WorkFailure::NoAnswer(code) if code == "unknown_url" => {
            format!("the application has no function `{TOOLS_FUNCTION}`, or the tenant may not use it")
        }
        other => other.to_string(),
    }
}

fn function(described: FunctionDescription) -> Result<Function, Unlisted> {
    let schema = |raw: &serde_json::value::RawValue| {
        serde_json::from_str(raw.get()).map_err(|error| {
            Unlisted::Refused(format!("a schema of `{}` is no JSON: {error}", described.name))
        })
    };
    let parameters = schema(&described.parameters)?;
    let output = described.output.as_deref().map(schema).transpose()?;
    Ok(Function {
        parameters,
        output,
        name: described.name,
        description: described.description,
        side_effects: described.side_effects,
        idempotent: described.idempotent,
        needs_approval: described.needs_approval,
        request: None,
        remote_name: None,
    })
}
