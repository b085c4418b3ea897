//! One call of a component that the host runs: its place, its memory and its CPU time, and the world it runs in.

use super::Tools;
use super::answers::{self, Refused};
use super::home::ToolHome;
use super::metrics::{CallKind, CallOutcome, Denial};
use async_trait::async_trait;
use http::{Request, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use waggle_engine::{
    BodyError, CallContext, LogSink as _, LogStream, LogWriter, StoreHandle, TenantUse, ToolCallContext,
    ToolSend, WasiBody, send_on_terms,
};
use waggle_measure::trace::attribute::{self, operation};
use waggle_measure::trace::{Parent, Span, SpanKind};
use waggle_tenancy::TenantEntry;
use waggle_tool_runner::{Call, FailureCode, Limits, Outcome, Prepared, SendTimes, ToolFailure, ToolWorld};
use waggle_tools::{AcceptedTool, Kind};

/// CPU time that a call may be charged beyond its bound before it is noticed.
const CPU_MARGIN: Duration = Duration::from_millis(100);

/// One call, as a function asks for it.
#[derive(Deserialize)]
pub(crate) struct Asked {
    function: String,
    arguments: Box<RawValue>,
    idempotency_key: String,
    digest: String,
}

impl Tools {
    /// Calls a component, in an instance of its own.
    ///
    /// # Errors
    /// Why the call was not made.
    pub(super) async fn run(
        self: &Arc<Self>,
        entry: &TenantEntry,
        home: &Arc<ToolHome>,
        asked: Asked,
        context: ToolCallContext,
    ) -> Result<Response<WasiBody>, Refused> {
        let began = Instant::now();
        let mut span = span(&context.call, &home.tool, &asked);
        let made = self.make(entry, home, asked, context, span.parent()).await;
        let outcome = match &made {
            Ok(Ok(outcome)) => outcome_of(&outcome.result),
            Ok(Err((code, _message))) => outcome_of_code(*code),
            Err(Refused::Full(_) | Refused::Memory) => CallOutcome::Busy,
            Err(Refused::OtherDigest | Refused::Unknown | Refused::NotAComponent) => CallOutcome::Unknown,
            Err(_) => CallOutcome::Unavailable,
        };
        self.metrics.called(CallKind::Component, outcome);
        if outcome != CallOutcome::Ok {
            span.set(attribute::ERROR_TYPE, outcome.name());
            span.fail("the call gave nothing");
        }
        span.end();
        let made = made?;
        self.metrics.took(CallKind::Component, began.elapsed());
        Ok(match made {
            Ok(outcome) => {
                let result = outcome.result.map_err(|failure| (failure.code.as_str(), failure.message));
                answers::called(&result, outcome.cpu, outcome.time)
            }
            Err((code, message)) => {
                answers::called(&Err((code.as_str(), message)), Duration::ZERO, Duration::ZERO)
            }
        })
    }

    /// The call itself; the inner error is one that is known without it.
    async fn make(
        self: &Arc<Self>,
        entry: &TenantEntry,
        home: &Arc<ToolHome>,
        asked: Asked,
        context: ToolCallContext,
        span: Parent,
    ) -> Result<Result<Outcome, (FailureCode, String)>, Refused> {
        let tool = &home.tool;
        if tool.kind != Kind::Component {
            return Err(Refused::NotAComponent);
        }
        if tool.digest != asked.digest {
            return Err(Refused::OtherDigest);
        }
        let Some(function) = tool.function(&asked.function) else {
            let message = format!("the tool has no function {:?}", asked.function);
            return Ok(Err((FailureCode::NoSuchTool, message)));
        };
        let gives_json = function.output.is_some();
        let _place = self.enter(entry, &home.name, &home.limits).map_err(Refused::Full)?;
        let prepared = self.prepared(entry, tool).await?;
        let limits = runner_limits(&home.limits);
        let ToolCallContext { call, account } = context;
        let request = CallContext { span, ..call };
        let _memory = account.memory(home.limits.memory_bytes_max).ok_or(Refused::Memory)?;
        let deadline = request.body_deadline;
        let world = ComponentWorld::new(self, home, request, &account, limits.time);
        let call = Call {
            function: asked.function,
            arguments: asked.arguments.get().to_owned(),
            idempotency_key: asked.idempotency_key,
            gives_json,
            limits,
            deadline: Some(deadline),
            world: Arc::new(world),
        };
        let runner = self.runner.clone();
        let running = async move { runner.call(&prepared, &call).await };
        let allowance = limits.cpu + CPU_MARGIN;
        let outcome = Box::pin(self.work.run(&account, allowance, running)).await;
        let outcome = outcome.ok_or(Refused::Unavailable("the call was interrupted"))?;
        let outcome =
            outcome.map_err(|_busy| Refused::Unavailable("the host runs as many tools as it may"))?;
        if outcome.outbound_calls > limits.outbound_calls_max {
            self.metrics.denied(Denial::Requests);
        }
        tell_operator(entry, tool, &outcome, &account);
        Ok(Ok(outcome))
    }

    /// The component, compiled; when it is not ready, it is made so at once.
    async fn prepared(&self, entry: &TenantEntry, tool: &AcceptedTool) -> Result<Arc<Prepared>, Refused> {
        if let Some(prepared) = self.runner.prepared(&tool.digest) {
            return Ok(prepared);
        }
        let (tenant, began) = (entry.tenant.id.as_str(), Instant::now());
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(tenant, tool = %tool.name, digest = %tool.digest, %error, "a tool's component is not ready");
            Refused::Unavailable("the tool's component could not be made ready")
        };
        let bytes = self.registry.component(tenant, &tool.digest).await.map_err(|error| failed(&error))?;
        let prepared = self.runner.prepare(bytes).await.map_err(|error| failed(&error))?;
        self.metrics.compiled(began.elapsed());
        Ok(prepared)
    }
}

fn runner_limits(limits: &waggle_tools::Limits) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        memory_bytes_max: size(limits.memory_bytes_max),
        cpu: Duration::from_millis(limits.cpu_ms_max),
        time: Duration::from_millis(limits.time_ms_max),
        output_bytes_max: size(limits.output_bytes_max),
        outbound_calls_max: u32::try_from(limits.outbound_calls_max).unwrap_or(u32::MAX),
    }
}

/// GenAI conventions of OpenTelemetry.
fn span(request: &CallContext, tool: &AcceptedTool, asked: &Asked) -> Span {
    let mut span = request.span.child(operation::EXECUTE_TOOL, SpanKind::Internal);
    if span.is_recorded() {
        // Of a name that is none of the tool's, nothing is told.
        let function = tool.function(&asked.function).map_or("", |function| function.name.as_str());
        let name = format!("{}.{function}", tool.name);
        span.rename(format!("{} {name}", operation::EXECUTE_TOOL));
        span.set(attribute::GEN_AI_OPERATION_NAME, operation::EXECUTE_TOOL);
        span.set_text(attribute::GEN_AI_TOOL_NAME, &name);
        span.set_text(attribute::GEN_AI_TOOL_CALL_ID, &asked.idempotency_key);
    }
    span
}

fn outcome_of(result: &Result<String, ToolFailure>) -> CallOutcome {
    match result {
        Ok(_output) => CallOutcome::Ok,
        Err(failure) => outcome_of_code(failure.code),
    }
}

fn outcome_of_code(code: FailureCode) -> CallOutcome {
    match code {
        FailureCode::Trapped => CallOutcome::Trapped,
        FailureCode::TimedOut => CallOutcome::TimedOut,
        FailureCode::OutOfMemory => CallOutcome::OutOfMemory,
        FailureCode::OutOfCpu => CallOutcome::OutOfCpu,
        FailureCode::OutputTooLarge | FailureCode::InvalidOutput => CallOutcome::InvalidOutput,
        FailureCode::InvalidArguments => CallOutcome::InvalidArguments,
        FailureCode::Unavailable => CallOutcome::Unavailable,
        FailureCode::Failed => CallOutcome::Failed,
        FailureCode::NoSuchTool => CallOutcome::Unknown,
    }
}

/// What nobody but the operator may read of a crash, as far as the tenant's share of the log goes.
fn tell_operator(entry: &TenantEntry, tool: &AcceptedTool, outcome: &Outcome, account: &TenantUse) {
    let Some(detail) = &outcome.detail else { return };
    let Some(not_told) = account.admit_line() else { return };
    let detail: String = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    tracing::warn!(tenant = %entry.tenant.id, tool = %tool.name, detail, not_told, "a tool's call was ended");
}

/// The world of one call.
struct ComponentWorld {
    tools: Arc<Tools>,
    home: Arc<ToolHome>,
    request: CallContext,
    account: TenantUse,
    /// When the call is over, whatever it waits for.
    until: Instant,
    out: Box<dyn LogWriter>,
    error: Box<dyn LogWriter>,
}

impl ComponentWorld {
    fn new(
        tools: &Arc<Tools>,
        home: &Arc<ToolHome>,
        request: CallContext,
        account: &TenantUse,
        time: Duration,
    ) -> Self {
        let instance = tools.instances.fetch_add(1, Relaxed);
        Self {
            until: Instant::now() + time,
            out: home.log.open(instance, LogStream::Out),
            error: home.log.open(instance, LogStream::Error),
            request,
            tools: Arc::clone(tools),
            home: Arc::clone(home),
            account: account.clone(),
        }
    }

    fn tell_refused(&self, destination: &str) {
        let Some(not_told) = self.account.admit_line() else { return };
        // As the tool wrote it, but without what could pass for something else in a log.
        let destination: String = destination.chars().filter(|c| !c.is_control()).take(256).collect();
        tracing::warn!(
            tool = &*self.home.name,
            request = &*self.request.request_id,
            destination,
            not_told,
            "outbound call of a tool refused: it is not among the tool's grants"
        );
    }
}

#[async_trait]
impl ToolWorld for ComponentWorld {
    async fn send(
        &self,
        request: Request<WasiBody>,
        times: SendTimes,
    ) -> Result<Response<WasiBody>, BodyError> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let left = self.until.saturating_duration_since(Instant::now());
        let terms = self.home.reach.terms(left, self.tools.config.response_bytes_max, Box::new(()));
        let send = ToolSend {
            connect_timeout: times.connect,
            first_byte_timeout: times.first_byte,
            between_bytes_timeout: times.between_bytes,
            cancelled: None,
            span: self.request.span.clone(),
        };
        let sent = send_on_terms(&self.tools.egress, terms, request, send).await;
        if let Err(BodyError::HttpRequestDenied) = &sent {
            self.tell_refused(&authority);
        }
        sent
    }

    fn store(&self, label: &str) -> Option<StoreHandle> {
        let store = self.home.stores.get(label).cloned();
        if store.is_none() {
            self.tools.metrics.denied(Denial::Store);
        }
        store
    }

    fn log(&self, stream: LogStream, bytes: &[u8]) {
        match stream {
            LogStream::Out => self.out.write(Some(&self.request), bytes),
            LogStream::Error => self.error.write(Some(&self.request), bytes),
        }
    }
}
