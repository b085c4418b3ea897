//! A call, from what a model wrote to what it is shown: find, compare the digest, ask for approval, hold the arguments to
//! the schema, run, hold the output to its bound and schema, clean it, note it down. In this order, and no other way.

use crate::arguments;
use crate::audit::{Entry, Log, Status, Via};
use crate::built_in::{self, BuiltIn};
use crate::clean::{clean, clean_text, cut};
use crate::component;
use crate::http::HttpCall;
use crate::outcome::{Again, Done, Fault, Outcome};
use crate::problem::Problem;
use crate::race::within;
use crate::registry::{Snapshot, function};
use crate::remote::RemoteFunction;
use crate::service::Service;
use crate::settings::{AuditSettings, OutputSettings};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use waggle_conversation::Store;
use waggle_mcp::{Fetch, Progress};
use waggle_openai::error::echo;
use waggle_platform::Platform;
use waggle_schema::Schema;
use waggle_tool::definition::{Function, Kind, Tool};
use waggle_tool::wire::{BUILT_IN_LABEL, CallError, CallReply, CallRequest};

/// How often a call is tried that may be made more than once.
const ATTEMPTS_MAX: u32 = 3;
/// How long the second attempt waits, in milliseconds, and at most half as long again; the third twice that.
const BACKOFF_MS: u64 = 200;
/// How much later than its call a server of others is given up, in milliseconds: it is told of that first.
const CANCEL_MS: u64 = 500;
/// The longest text of an error, in bytes.
const ERROR_BYTES_MAX: usize = 4 << 10;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The tenant's user; `None` for its services.
    pub(crate) user: Option<String>,
    /// By which way.
    pub(crate) via: Via,
}

/// What is called.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    BuiltIn(BuiltIn),
    Tool { tool: &'a Tool, function: &'a Function, under_grants: bool },
}

/// What is read once for a call.
struct Prepared {
    output: OutputSettings,
    audit: AuditSettings,
}

impl<'a> Target<'a> {
    fn find(snapshot: &'a Snapshot, request: &CallRequest) -> Result<Self, Fault> {
        let unknown = || {
            let told =
                format!("There is no tool '{}' of '{}'.", echo(&request.function), echo(&request.label));
            Fault::new(CallError::Unknown, told)
        };
        let (target, digest) = if request.label == BUILT_IN_LABEL {
            (Self::BuiltIn(BuiltIn::of(&request.function).ok_or_else(unknown)?), built_in::DIGEST)
        } else {
            let tool = snapshot.tool(&request.label).ok_or_else(unknown)?;
            let function = function(tool, &request.function).ok_or_else(unknown)?;
            (Self::Tool { tool, function, under_grants: snapshot.is_hosts }, tool.digest.as_str())
        };
        if digest != request.digest {
            let told = "This tool has changed since it was offered, so it is not called.";
            return Err(Fault::new(CallError::Unknown, told));
        }
        Ok(target)
    }

    fn has_side_effects(&self) -> bool {
        match self {
            Self::BuiltIn(one) => one.has_side_effects(),
            Self::Tool { function, .. } => function.side_effects,
        }
    }

    /// Whether a call may be made more than once.
    fn is_repeatable(&self) -> bool {
        match self {
            Self::BuiltIn(_) => true,
            Self::Tool { function, .. } => !function.side_effects || function.idempotent,
        }
    }

    fn needs_approval(&self) -> bool {
        matches!(self, Self::Tool { function, .. } if function.needs_approval)
    }

    fn parameters(&self) -> Box<RawValue> {
        match self {
            Self::BuiltIn(one) => one.parameters(),
            Self::Tool { function, .. } => function.parameters.clone(),
        }
    }

    fn time_ms_max(&self) -> u64 {
        match self {
            Self::BuiltIn(_) => built_in::TIME_MS_MAX,
            Self::Tool { tool, .. } => tool.time_ms_max,
        }
    }

    fn output_bytes_max(&self) -> usize {
        match self {
            Self::BuiltIn(_) => built_in::OUTPUT_BYTES_MAX,
            Self::Tool { tool, .. } => usize::try_from(tool.output_bytes_max).unwrap_or(usize::MAX),
        }
    }

    fn tool(&self) -> Option<&'a Tool> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Tool { tool, .. } => Some(tool),
        }
    }

    fn output(&self) -> Option<&'a RawValue> {
        match self {
            Self::BuiltIn(_) => None,
            Self::Tool { function, .. } => function.output.as_deref(),
        }
    }

    /// Whether the call may be made at all, and with what.
    fn admit(&self, request: &CallRequest) -> Result<Map<String, Value>, Fault> {
        if self.needs_approval() && !request.approved {
            return Err(Fault::new(CallError::ApprovalRequired, "A person has to approve this call first."));
        }
        if request.repeated && !self.is_repeatable() {
            let told = "This call was interrupted. It may have happened, and is not safe to repeat: its outcome is unknown.";
            return Err(Fault::new(CallError::OutcomeUnknown, told));
        }
        let read = arguments::read(&request.arguments, &self.parameters());
        read.map_err(|told| Fault::new(CallError::InvalidArguments, told))
    }

    /// What the model is shown of an output.
    fn fit(&self, done: &Done, settings: &OutputSettings) -> Result<String, Fault> {
        let bytes_max = self.output_bytes_max();
        if done.output.len() > bytes_max {
            let told = format!("The tool's output is longer than {bytes_max} bytes, so it is not used.");
            return Err(Fault::new(CallError::InvalidOutput, told));
        }
        if let Some(Ok(schema)) = self.output().map(|schema| Schema::read_lenient(schema.get())) {
            let value: Value = serde_json::from_str(&done.output).map_err(|_| {
                Fault::new(CallError::InvalidOutput, "The tool's output is no JSON, though it declares that.")
            })?;
            schema.check(&value).map_err(|mismatch| {
                let told =
                    format!("The tool's output is not what it declares {}.", mismatch.describe(&value));
                Fault::new(CallError::InvalidOutput, told)
            })?;
        }
        Ok(clean(&done.output, &settings.links(self.tool())))
    }

    /// What the model is shown of a failure: a tool may have written what is told of it as well.
    fn shown(&self, mut fault: Fault, settings: &OutputSettings) -> Fault {
        fault.text = clean(&fault.text, &settings.links(self.tool()));
        fault
    }

    /// What a failure is to the model, once there are no more attempts.
    fn settle(&self, mut fault: Fault) -> Fault {
        match (fault.may_have_happened && self.has_side_effects(), self.is_repeatable()) {
            (true, false) => {
                fault.text.push_str(" It may have happened all the same, and is not safe to repeat.");
            }
            (true, true) => fault.text.push_str(" It may have happened all the same; it is safe to repeat."),
            (false, _) => {}
        }
        if fault.error == CallError::OutcomeUnknown && self.is_repeatable() {
            fault.error = CallError::Failed;
        }
        fault
    }
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    /// Makes a call.
    ///
    /// # Errors
    /// It was not made, for a reason that is not the call's: the registry or a variable cannot be read.
    pub(crate) async fn call<G: Progress>(
        &self,
        request: &CallRequest,
        caller: &Caller,
        progress: &mut G,
    ) -> Result<CallReply, Problem> {
        let began_ms = self.platform.now_ms();
        let snapshot = self.registry().await?;
        let prepared = Prepared {
            output: OutputSettings::read(&self.platform).await?,
            audit: AuditSettings::read(&self.platform).await?,
        };
        let log = Log { store: &self.store, settings: &prepared.audit, now_ms: began_ms };
        let mut entry = entry(request, caller, began_ms);
        let admitted = Target::find(&snapshot, request).and_then(|target| {
            entry.side_effects = target.has_side_effects();
            Ok((target, target.admit(request)?))
        });
        let (target, arguments) = match admitted {
            Ok(admitted) => admitted,
            Err(fault) => {
                entry.status = Status::Refused;
                return Ok(self.close(&log, (None, entry), 0, Err(fault)).await);
            }
        };
        let mut number = None;
        if entry.side_effects {
            // Nothing is changed without a trace.
            match log.append(&entry).await {
                Ok(noted) => number = Some(noted),
                Err(error) => {
                    let told = "The audit log cannot be written, so nothing is done that changes something.";
                    let fault = Fault::new(CallError::Unavailable, told).logged(error.to_string());
                    return Ok(self.reply(&entry, 0, Err(fault)));
                }
            }
        }
        let (attempts, outcome) = self.attempts(target, &arguments, request, progress).await;
        let shown = |fault| target.settle(target.shown(fault, &prepared.output));
        let outcome = outcome.map_err(shown).and_then(|done| {
            let output = target
                .fit(&done, &prepared.output)
                .map_err(|fault| target.settle(Fault { may_have_happened: true, ..fault }))?;
            Ok(Done { output, ..done })
        });
        entry.status = if outcome.is_ok() { Status::Completed } else { Status::Failed };
        Ok(self.close(&log, (number, entry), attempts, outcome).await)
    }

    /// Tries until there is an outcome, or no more attempt is to be made.
    async fn attempts<G: Progress>(
        &self,
        target: Target<'_>,
        arguments: &Map<String, Value>,
        request: &CallRequest,
        progress: &mut G,
    ) -> (u32, Outcome) {
        let until_ms = self.platform.now_ms().saturating_add(target.time_ms_max());
        let mut attempts = 0;
        loop {
            attempts += 1;
            let left_ms = until_ms.saturating_sub(self.platform.now_ms());
            let attempt = self.attempt(target, arguments, request, left_ms, progress);
            let limit_ms = left_ms + if is_remote(target) { CANCEL_MS } else { 0 };
            let outcome = within(attempt, self.platform.sleep(limit_ms)).await.unwrap_or_else(|| {
                let told = "The tool took longer than it may.";
                Err(Fault { may_have_happened: true, ..Fault::new(CallError::TimedOut, told) })
            });
            let fault = match outcome {
                Ok(done) => return (attempts, Ok(done)),
                Err(fault) => fault,
            };
            let wait_ms = match fault.again {
                Again::Never => return (attempts, Err(fault)),
                Again::After(ms) => ms,
                Again::Later => self.backoff_ms(attempts),
            };
            let left_ms = until_ms.saturating_sub(self.platform.now_ms());
            if attempts == ATTEMPTS_MAX || !target.is_repeatable() || wait_ms >= left_ms {
                return (attempts, Err(fault));
            }
            self.platform.sleep(wait_ms).await;
        }
    }

    fn backoff_ms(&self, attempts: u32) -> u64 {
        let wait_ms = BACKOFF_MS << (attempts - 1).min(8);
        // The remainder of a number below 2^64 by one is below it as well.
        let spread_ms = self.platform.random() % u128::from(wait_ms / 2 + 1);
        wait_ms + u64::try_from(spread_ms).unwrap_or_default()
    }

    async fn attempt<G: Progress>(
        &self,
        target: Target<'_>,
        arguments: &Map<String, Value>,
        request: &CallRequest,
        left_ms: u64,
        progress: &mut G,
    ) -> Outcome {
        let (tool, function, under_grants) = match target {
            Target::BuiltIn(one) => return Box::pin(self.run_built_in(one, arguments, request)).await,
            Target::Tool { tool, function, under_grants } => (tool, function, under_grants),
        };
        let key = request.idempotency_key.as_str();
        match &tool.kind {
            Kind::Component => component::run(&self.fetch, tool, function, arguments, key).await,
            Kind::Http { base_url } => {
                let call = HttpCall { tool, base_url, function, arguments, key, under_grants };
                call.run(&self.fetch).await
            }
            Kind::Mcp { url } => {
                let remote = RemoteFunction { tool, url, function, under_grants };
                Box::pin(self.run_remote(remote, arguments, left_ms, progress)).await
            }
        }
    }

    /// Notes a call that is over, and makes the reply of it. That it cannot be noted changes nothing about it.
    async fn close(
        &self,
        log: &Log<'_, S>,
        (number, mut entry): (Option<u64>, Entry),
        attempts: u32,
        outcome: Outcome,
    ) -> CallReply {
        let reply = self.reply(&entry, attempts, outcome);
        entry.attempts = attempts;
        entry.duration_ms = reply.duration_ms;
        entry.error = reply.error;
        entry.output = Some(reply.output.clone());
        let noted = match number {
            Some(number) => log.write(number, &entry).await,
            None => log.append(&entry).await.map(drop),
        };
        if let Err(error) = noted {
            self.platform.log(&format!("tool={} the audit log was not written: {error}", entry.tool));
        }
        reply
    }

    fn reply(&self, entry: &Entry, attempts: u32, outcome: Outcome) -> CallReply {
        let duration_ms = self.platform.now_ms().saturating_sub(entry.at_ms);
        match outcome {
            Ok(done) => {
                let Done { output, handed_over } = done;
                CallReply { output, error: None, attempts, duration_ms, handed_over }
            }
            Err(fault) => {
                if let Some(log) = &fault.log {
                    self.platform.log(&format!(
                        "tool={} function={} {log}",
                        echo(&entry.tool),
                        echo(&entry.function)
                    ));
                }
                let output = cut(&clean_text(&fault.text), ERROR_BYTES_MAX).into_owned();
                CallReply { output, error: Some(fault.error), attempts, duration_ms, handed_over: false }
            }
        }
    }
}

fn is_remote(target: Target<'_>) -> bool {
    target.tool().is_some_and(|tool| matches!(tool.kind, Kind::Mcp { .. }))
}

/// A call that is about to be made.
fn entry(request: &CallRequest, caller: &Caller, at_ms: u64) -> Entry {
    Entry {
        at_ms,
        user: caller.user.clone(),
        via: caller.via,
        response: request.response.clone(),
        conversation: request.conversation.clone(),
        tool: request.label.clone(),
        function: request.function.clone(),
        digest: request.digest.clone(),
        side_effects: false,
        approved: request.approved,
        arguments: request.arguments.clone(),
        status: Status::Begun,
        error: None,
        output: None,
        attempts: 0,
        duration_ms: 0,
    }
}
