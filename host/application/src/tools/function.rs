//! One tenant's tools, as one of its functions has them: the address at which it asks for them, and the terms on which it calls
//! other servers in their names.

use super::answers::{self, Refused};
use super::home::{Reach, ToolHome};
use super::metrics::{CallKind, CallOutcome, ToolMetrics};
use super::places::Place;
use super::trials::Trial;
use super::{TOOLS_HOST, Tools};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waggle_engine::{CallerFields, ToolCallContext, ToolCalls, ToolRefusal, ToolTerms, WasiBody};
use waggle_tenancy::TenantEntry;
use waggle_tools::{AcceptedTool, Kind, Limits, TOOLS_MAX};

const TOOLS_PATH: &str = "/v1/tools";
/// Bytes of a body: the arguments of a call, and what goes with them.
const BODY_BYTES_MAX: usize = 512 << 10;

/// The tools of one tenant.
pub(crate) struct FunctionTools {
    tools: Arc<Tools>,
    pub(super) entry: Arc<TenantEntry>,
    /// Those that were called, by name.
    homes: Mutex<HashMap<String, Arc<ToolHome>>>,
}

/// What is asked at the address.
#[derive(Debug, PartialEq, Eq)]
enum Route<'p> {
    List,
    Call(&'p str),
    Report(&'p str),
}

impl<'p> Route<'p> {
    fn of(method: &Method, path: &'p str) -> Result<Self, Refused> {
        let allowed = |allowed: Method, route: Self| {
            if *method == allowed { Ok(route) } else { Err(Refused::Method(allowed)) }
        };
        let rest = path.strip_prefix(TOOLS_PATH).ok_or(Refused::Path)?;
        if rest.is_empty() {
            return allowed(Method::GET, Self::List);
        }
        match rest.strip_prefix('/').and_then(|rest| rest.split_once('/')) {
            Some((name, "call")) => allowed(Method::POST, Self::Call(name)),
            Some((name, "report")) => allowed(Method::POST, Self::Report(name)),
            _ => Err(Refused::Path),
        }
    }
}

/// What a function reports of a tool.
#[derive(Deserialize)]
struct Report {
    what: What,
    #[serde(default)]
    detail: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    DefinitionChanged,
}

impl FunctionTools {
    pub(super) fn new(tools: Arc<Tools>, entry: Arc<TenantEntry>) -> Self {
        Self { tools, entry, homes: Mutex::default() }
    }

    async fn answer(
        &self,
        request: Request<WasiBody>,
        context: ToolCallContext,
    ) -> Result<Response<WasiBody>, Refused> {
        let (head, body) = request.into_parts();
        let tenant = self.entry.tenant.id.as_str();
        match Route::of(&head.method, head.uri.path())? {
            Route::List => {
                let snapshot = self.tools.registry.of(tenant);
                let known = head.headers.get(header::IF_NONE_MATCH);
                Ok(answers::registry(snapshot.json.clone(), &snapshot.revision, known))
            }
            Route::Call(name) => {
                let tool = self.tool(name)?;
                let asked = parse(&collect(body).await?)?;
                self.tools.run(&self.entry, &self.home(&tool), asked, context).await
            }
            Route::Report(name) => {
                let tool = self.tool(name)?;
                let report: Report = parse(&collect(body).await?)?;
                self.note(&tool, &report).await
            }
        }
    }

    fn tool(&self, name: &str) -> Result<Arc<AcceptedTool>, Refused> {
        let snapshot = self.tools.registry.of(self.entry.tenant.id.as_str());
        let tool = snapshot.tools.get(name).cloned();
        tool.ok_or_else(|| {
            self.tools.metrics.called(CallKind::Component, CallOutcome::Unknown);
            Refused::Unknown
        })
    }

    /// What a tool has, made anew when it has changed.
    fn home(&self, tool: &Arc<AcceptedTool>) -> Arc<ToolHome> {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = homes.get(&tool.name);
        if let Some(home) = known.filter(|home| Arc::ptr_eq(&home.tool, tool)) {
            return Arc::clone(home);
        }
        let log = known.map(|home| Arc::clone(&home.log));
        let home = Arc::new(ToolHome::new(&self.tools, &self.entry, tool, log));
        if homes.len() >= TOOLS_MAX {
            // Of names that the tenant no longer has; those it has come back when they are called.
            homes.clear();
        }
        homes.insert(tool.name.clone(), Arc::clone(&home));
        home
    }

    async fn note(&self, tool: &AcceptedTool, report: &Report) -> Result<Response<WasiBody>, Refused> {
        let What::DefinitionChanged = report.what;
        self.tools.metrics.changed();
        let detail = match &report.detail {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let tenant = self.entry.tenant.id.as_str();
        match self.tools.registry.report_changed(tenant, &tool.name, &detail).await {
            Ok(()) => Ok(answers::noted()),
            Err(error) => {
                tracing::warn!(tenant, tool = %tool.name, %error, "a changed definition could not be noted");
                Err(Refused::Unavailable("it could not be noted"))
            }
        }
    }

    fn trial_terms(&self, trial: &Trial) -> Result<ToolTerms, ToolRefusal> {
        let reach = Reach::new(&self.tools, &self.entry, &trial.grants);
        self.request_terms(&reach, &trial.name, &self.tools.bounded(&trial.limits))
    }

    /// The terms of one request of a tool, if there is a place for it.
    fn request_terms(
        &self,
        reach: &Reach,
        name: &Arc<str>,
        limits: &Limits,
    ) -> Result<ToolTerms, ToolRefusal> {
        let metrics = &self.tools.metrics;
        let place = self.tools.enter(&self.entry, name, limits).map_err(|_full| {
            metrics.called(CallKind::Request, CallOutcome::Busy);
            ToolRefusal::Busy
        })?;
        metrics.called(CallKind::Request, CallOutcome::Sent);
        let timed = Timed { metrics: Arc::clone(metrics), began: Instant::now(), _place: place };
        let timeout = Duration::from_millis(limits.time_ms_max);
        Ok(reach.terms(timeout, self.tools.config.response_bytes_max, Box::new(timed)))
    }
}

#[async_trait]
impl ToolCalls for FunctionTools {
    fn takes(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(TOOLS_HOST)
    }

    async fn call(&self, request: Request<WasiBody>, context: ToolCallContext) -> Response<WasiBody> {
        self.answer(request, context).await.unwrap_or_else(Refused::into_response)
    }

    fn terms(&self, name: &str, caller: &CallerFields) -> Result<ToolTerms, ToolRefusal> {
        if let Some(trial) = self.tools.trials.of(&self.entry.tenant.id, name, caller) {
            return self.trial_terms(&trial);
        }
        let snapshot = self.tools.registry.of(self.entry.tenant.id.as_str());
        // A component is run by the host, and calls under its grants by itself.
        let tool = snapshot.tools.get(name).filter(|tool| tool.kind != Kind::Component);
        let Some(tool) = tool else {
            self.tools.metrics.called(CallKind::Request, CallOutcome::Unknown);
            return Err(ToolRefusal::Unknown);
        };
        let home = self.home(tool);
        self.request_terms(&home.reach, &home.name, &home.limits)
    }
}

/// A request under way; told how long it took when it is dropped.
struct Timed {
    metrics: Arc<ToolMetrics>,
    began: Instant,
    _place: Place,
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.metrics.took(CallKind::Request, self.began.elapsed());
    }
}

async fn collect(body: WasiBody) -> Result<Bytes, Refused> {
    let collected = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        let is_too_long = error.downcast_ref::<LengthLimitError>().is_some();
        if is_too_long { Refused::TooLong(BODY_BYTES_MAX) } else { Refused::Body }
    })?;
    Ok(collected.to_bytes())
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_stands_in_method_and_path() {
        let check = |method: Method, path: &str, expected: Result<Route<'_>, Refused>| {
            assert_eq!(Route::of(&method, path), expected, "{method} {path}");
        };
        check(Method::GET, "/v1/tools", Ok(Route::List));
        check(Method::POST, "/v1/tools", Err(Refused::Method(Method::GET)));
        check(Method::POST, "/v1/tools/orders/call", Ok(Route::Call("orders")));
        check(Method::POST, "/v1/tools/orders/report", Ok(Route::Report("orders")));
        check(Method::GET, "/v1/tools/orders/call", Err(Refused::Method(Method::POST)));
        check(Method::GET, "/v1/tools/orders", Err(Refused::Path));
        check(Method::POST, "/v1/tools/a/b/call", Err(Refused::Path));
        check(Method::GET, "/v1/toolsy", Err(Refused::Path));
        check(Method::GET, "/", Err(Refused::Path));
    }

    #[test]
    fn a_report_names_what_it_is_about() {
        let read = |text: &str| parse::<Report>(text.as_bytes());
        assert!(read(r#"{"what": "definition_changed", "detail": {"function": "f"}}"#).is_ok());
        assert!(read(r#"{"what": "definition_changed"}"#).is_ok());
        for wrong in [r#"{"what": "other"}"#, "{}", "", "[]"] {
            assert!(matches!(read(wrong), Err(Refused::Invalid(_))), "{wrong}");
        }
    }
}
