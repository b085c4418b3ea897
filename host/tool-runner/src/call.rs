//! One call: an instance is made, asked, and ends.

use crate::bindings::ToolComponentPre;
use crate::bindings::tool::{self, Invocation};
use crate::component::{Kind, PlainComponent, Prepared};
use crate::config::{Limits, RunnerConfig};
use crate::cpu::{CpuMeter, CpuUsedUp};
use crate::failure::{FailureCode, TimeUsedUp, ToolFailure};
use crate::limits::MemoryLimits;
use crate::reflect::{AnswerError, answer, error_text, lower};
use crate::state::CallState;
use crate::world::{NoGrants, ToolWorld};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::Val;
use wasmtime::component::types::Type;
use wasmtime::{Engine, Store, UpdateDeadline};

/// Bytes of a call's arguments.
pub const ARGUMENTS_BYTES_MAX: usize = 256 << 10;
/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 128;
/// What a guest may hand over to the host in one call at least, bytes: the largest value of a store, and some.
const HANDED_OVER_BYTES_MIN: usize = 4 << 20;
/// And at most.
const HANDED_OVER_BYTES_MAX: usize = 64 << 20;

/// One call of a tool's function.
pub struct Call {
    /// The function, by the name of its description.
    pub function: String,
    /// The arguments: a JSON object of at most [`ARGUMENTS_BYTES_MAX`]. Those of a plain component are held to its types here;
    /// those of a `waggle:tool` to their schema by whoever calls.
    pub arguments: String,
    /// The same for every attempt at the same call: 1 to 128 printable ASCII characters.
    pub idempotency_key: String,
    /// Whether what a `waggle:tool` gives has to be JSON, because the function declares its shape.
    pub gives_json: bool,
    /// What it may use.
    pub limits: Limits,
    /// When whoever asked no longer waits; the limit of time holds as well.
    pub deadline: Option<Instant>,
    /// What it may reach.
    pub world: Arc<dyn ToolWorld>,
}

/// What came of a call, and what it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the function gave, at most [`Limits::output_bytes_max`]: of a plain component JSON, `null` if it gives nothing.
    pub result: Result<String, ToolFailure>,
    /// What the operator is told of a crash and the like, at most 8 KiB: with the guest's backtrace, for the log only.
    pub detail: Option<String>,
    /// Processor time, the instance's start included.
    pub cpu: Duration,
    /// How long it took.
    pub time: Duration,
    /// Linear memory of the instance, bytes.
    pub memory_bytes: usize,
    /// Calls over HTTP it asked for, those that were refused included.
    pub outbound_calls: u32,
}

/// Why there is no answer.
enum Stop {
    /// It is known why.
    Failed(ToolFailure),
    /// Something ended the instance.
    Trapped(wasmtime::Error),
    /// It used more processor time than it may.
    CpuUsedUp,
    /// It took longer than it may.
    TimeUsedUp,
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trapped(error)
    }
}

impl From<ToolFailure> for Stop {
    fn from(failure: ToolFailure) -> Self {
        Self::Failed(failure)
    }
}

/// Makes the call. Dropping the future ends it.
pub(crate) async fn call(
    engine: &Engine,
    config: &RunnerConfig,
    prepared: &Prepared,
    call: &Call,
) -> Outcome {
    let mut instance = Instance::new(engine, config, &call.limits, call.deadline, Arc::clone(&call.world));
    let cpu = Arc::clone(&instance.cpu);
    let asked = within(&cpu, instance.deadline, asked(&mut instance.store, prepared, call)).await;
    instance.outcome(asked)
}

/// Asks a `waggle:tool` what it can do.
pub(crate) async fn describe(
    engine: &Engine,
    config: &RunnerConfig,
    pre: &ToolComponentPre<CallState>,
) -> Result<Vec<tool::Definition>, ToolFailure> {
    let limits = config.describe_limits();
    let mut instance = Instance::new(engine, config, &limits, None, Arc::new(NoGrants));
    let cpu = Arc::clone(&instance.cpu);
    let store = &mut instance.store;
    let asking = async {
        let tool = pre.instantiate_async(&mut *store).await?;
        Ok(tool.waggle_tool_tool().call_describe(&mut *store).await?)
    };
    let deadline = instance.deadline;
    match within(&cpu, deadline, asking).await {
        Ok(described) => Ok(described),
        Err(stop) => {
            let (failure, detail) = instance.failure(stop);
            if let Some(detail) = detail {
                tracing::info!(detail, "`describe` of a tool failed");
            }
            Err(failure)
        }
    }
}

/// Runs what belongs to a call until it is done or its processor time or its time is over.
async fn within<T>(
    cpu: &CpuMeter,
    deadline: Instant,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    let mut work = Box::pin(work);
    let polled = std::future::poll_fn(|context| cpu.poll(work.as_mut(), context));
    match tokio::time::timeout_at(deadline.into(), polled).await {
        Ok(Ok(worked)) => worked,
        Ok(Err(CpuUsedUp)) => Err(Stop::CpuUsedUp),
        Err(_late) => Err(Stop::TimeUsedUp),
    }
}

/// The store of one call, with its bounds.
struct Instance {
    store: Store<CallState>,
    cpu: Arc<CpuMeter>,
    limits: Limits,
    began: Instant,
    deadline: Instant,
}

impl Instance {
    fn new(
        engine: &Engine,
        config: &RunnerConfig,
        limits: &Limits,
        deadline: Option<Instant>,
        world: Arc<dyn ToolWorld>,
    ) -> Self {
        let began = Instant::now();
        let deadline = deadline.map_or(began + limits.time, |deadline| deadline.min(began + limits.time));
        let memory_bytes_max = limits.memory_bytes_max.min(config.memory_bytes_max);
        let memory = MemoryLimits::new(memory_bytes_max, config.table_elements_max);
        let cpu = Arc::new(CpuMeter::new(limits.cpu));
        let mut store = Store::new(engine, CallState::new(world, limits, memory));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(handed_over_bytes_max(limits));
        store.set_epoch_deadline(1);
        let meter = Arc::clone(&cpu);
        store.epoch_deadline_callback(move |_store| {
            meter.charge()?;
            if Instant::now() >= deadline {
                return Err(TimeUsedUp.into());
            }
            // Others of the thread get a turn.
            Ok(UpdateDeadline::Yield(1))
        });
        Self { store, cpu, limits: *limits, began, deadline }
    }

    /// What came of it.
    fn outcome(self, asked: Result<String, Stop>) -> Outcome {
        let (result, detail) = match asked {
            Ok(output) => (Ok(output), None),
            Err(stop) => {
                let (failure, detail) = self.failure(stop);
                (Err(failure), detail)
            }
        };
        let state = self.store.data();
        Outcome {
            result,
            detail,
            cpu: self.cpu.used(),
            time: self.began.elapsed(),
            memory_bytes: state.memory.taken_bytes(),
            outbound_calls: state.outbound_calls(),
        }
    }

    /// Why it gave no answer, for the model and for the operator.
    fn failure(&self, stop: Stop) -> (ToolFailure, Option<String>) {
        match stop {
            Stop::Failed(failure) => (failure, None),
            Stop::Trapped(error) => ToolFailure::of_trap(&error, &self.limits, &self.store.data().memory),
            Stop::CpuUsedUp => (ToolFailure::out_of_cpu(&self.limits), None),
            Stop::TimeUsedUp => (ToolFailure::timed_out(&self.limits), None),
        }
    }
}

/// What wasmtime lifts of a plain component's result takes more room than what it says: up to a `Val` for a byte.
fn handed_over_bytes_max(limits: &Limits) -> usize {
    limits
        .output_bytes_max
        .saturating_mul(size_of::<Val>())
        .clamp(HANDED_OVER_BYTES_MIN, HANDED_OVER_BYTES_MAX)
}

async fn asked(store: &mut Store<CallState>, prepared: &Prepared, call: &Call) -> Result<String, Stop> {
    check(call)?;
    let answered = match &prepared.kind {
        Kind::Tool(pre) => {
            let tool = pre.instantiate_async(&mut *store).await?;
            let invocation = Invocation {
                name: call.function.clone(),
                arguments: call.arguments.clone(),
                idempotency_key: call.idempotency_key.clone(),
            };
            let given = tool.waggle_tool_tool().call_call(&mut *store, &invocation).await?;
            given.map_err(said).and_then(|output| checked(output, call))
        }
        Kind::Plain(component) => asked_plainly(store, component, call).await?,
    };
    // Whoever hears of the answer may rely on what was written, also when the answer is an error.
    let written = store.data().writes.clone();
    written.durable().await.map_err(|error| {
        tracing::error!(%error, "what a tool wrote could not be made durable");
        ToolFailure::new(FailureCode::Failed, "what the tool wrote could not be stored")
    })?;
    Ok(answered?)
}

/// The outer result is about the instance, the inner about what the function said.
async fn asked_plainly(
    store: &mut Store<CallState>,
    component: &PlainComponent,
    call: &Call,
) -> Result<Result<String, ToolFailure>, Stop> {
    let Some(function) = component.function(&call.function) else { return Ok(Err(no_such_function(call))) };
    let arguments: Value = serde_json::from_str(&call.arguments).map_err(|error| not_json(&error))?;
    let arguments = lower(&arguments, &function.parameters)
        .map_err(|error| ToolFailure::new(FailureCode::InvalidArguments, error))?;
    let instance = component.pre.instantiate_async(&mut *store).await?;
    let Some(callee) = instance.get_func(&mut *store, function.index) else {
        return Ok(Err(no_such_function(call)));
    };
    let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
    callee.call_async(&mut *store, &arguments, &mut results).await?;
    let (Some(value), Some(kind)) = (results.first(), &function.result) else {
        return Ok(Ok("null".into()));
    };
    Ok(told(value, kind, call.limits.output_bytes_max))
}

/// What a plain function gave, of a result what is in it.
fn told(value: &Val, kind: &Type, bytes_max: usize) -> Result<String, ToolFailure> {
    let invalid = |error: AnswerError| match error {
        AnswerError::TooLarge => ToolFailure::output_too_large(bytes_max),
        AnswerError::NotJson(what) => ToolFailure::new(
            FailureCode::InvalidOutput,
            format!("the tool gave {what}, which JSON cannot say"),
        ),
    };
    let (Val::Result(outcome), Type::Result(kinds)) = (value, kind) else {
        return answer(value, kind, bytes_max).map_err(invalid);
    };
    match outcome {
        Ok(value) => match (value, kinds.ok()) {
            (Some(value), Some(kind)) => answer(value, &kind, bytes_max).map_err(invalid),
            _ => Ok("null".into()),
        },
        Err(value) => Err(match (value, kinds.err()) {
            (Some(value), Some(kind)) => error_text(value, &kind, bytes_max)
                .map_or_else(invalid, |text| ToolFailure::new(FailureCode::Failed, text)),
            _ => ToolFailure::new(FailureCode::Failed, "the tool failed and did not say why"),
        }),
    }
}

/// Looks at what comes from outside before anything is made for it.
fn check(call: &Call) -> Result<(), ToolFailure> {
    let invalid = |message: String| Err(ToolFailure::new(FailureCode::InvalidArguments, message));
    if call.arguments.len() > ARGUMENTS_BYTES_MAX {
        return invalid(format!("the arguments have more than {ARGUMENTS_BYTES_MAX} bytes"));
    }
    let key = &call.idempotency_key;
    if key.is_empty() || key.len() > KEY_CHARS_MAX || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return invalid(format!("an idempotency key has 1 to {KEY_CHARS_MAX} printable ASCII characters"));
    }
    Ok(())
}

/// What a `waggle:tool` gave, within its bound and of the kind that it declares.
fn checked(output: String, call: &Call) -> Result<String, ToolFailure> {
    if output.len() > call.limits.output_bytes_max {
        return Err(ToolFailure::output_too_large(call.limits.output_bytes_max));
    }
    if call.gives_json {
        serde_json::from_str::<Value>(&output).map_err(|error| {
            let message = format!("the tool declares that it gives JSON, and gave something else: {error}");
            ToolFailure::new(FailureCode::InvalidOutput, message)
        })?;
    }
    Ok(output)
}

/// What a `waggle:tool` says went wrong.
fn said(error: tool::Error) -> ToolFailure {
    match error {
        tool::Error::NoSuchTool => {
            ToolFailure::new(FailureCode::NoSuchTool, "the tool has no function of this name")
        }
        tool::Error::InvalidArguments(text) => ToolFailure::new(FailureCode::InvalidArguments, text),
        tool::Error::Unavailable(text) => ToolFailure::new(FailureCode::Unavailable, text),
        tool::Error::Failed(text) => ToolFailure::new(FailureCode::Failed, text),
    }
}

fn no_such_function(call: &Call) -> ToolFailure {
    let name = crate::failure::cut(call.function.clone(), 100);
    ToolFailure::new(FailureCode::NoSuchTool, format!("the tool has no function {name:?}"))
}

fn not_json(error: &serde_json::Error) -> ToolFailure {
    ToolFailure::new(FailureCode::InvalidArguments, format!("the arguments are not JSON: {error}"))
}
