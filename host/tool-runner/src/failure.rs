//! How a call fails: for the model in a short sentence, for the operator with all that is known.

use crate::config::Limits;
use crate::cpu::CpuUsedUp;
use crate::limits::MemoryLimits;

/// Bytes of a failure's message that are kept.
const MESSAGE_BYTES_MAX: usize = 2_048;
/// Bytes that the operator is told of a trap, the guest's backtrace included.
const DETAIL_BYTES_MAX: usize = 8_192;
/// How wasmtime says that a guest handed over more than [`wasmtime::Store::set_hostcall_fuel`] allows; the error has no
/// type of its own that could be asked for.
const TOO_MUCH_HANDED_OVER: &str = "fuel allocated for hostcalls has been exhausted";

/// Why a call gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    /// It crashed, or ended itself.
    Trapped,
    /// It took longer than it may.
    TimedOut,
    /// It needs more memory than it may have.
    OutOfMemory,
    /// It used more processor time than it may.
    OutOfCpu,
    /// It gave more than it may.
    OutputTooLarge,
    /// It gave something else than it declares, or what cannot be said in JSON.
    InvalidOutput,
    /// The arguments are not what the function takes, or mean nothing to it.
    InvalidArguments,
    /// Not now; nothing was changed.
    Unavailable,
    /// The tool says that it failed.
    Failed,
    /// It has no function of that name.
    NoSuchTool,
}

impl FailureCode {
    /// The word for it in `POST /v1/tools/{name}/call`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trapped => "trapped",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::OutOfCpu => "out_of_cpu",
            Self::OutputTooLarge => "output_too_large",
            Self::InvalidOutput => "invalid_output",
            Self::InvalidArguments => "invalid_arguments",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::NoSuchTool => "no_such_tool",
        }
    }
}

/// A call's failure. Its text is for the model: short, and without anything of the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToolFailure {
    /// What kind of failure it is.
    pub code: FailureCode,
    /// What went wrong, at most 2 KiB; of [`FailureCode::Failed`] and its like, what the tool said.
    pub message: String,
}

impl ToolFailure {
    pub(crate) fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: cut(message.into(), MESSAGE_BYTES_MAX) }
    }

    pub(crate) fn timed_out(limits: &Limits) -> Self {
        let message = format!("the tool did not answer within {} ms", limits.time.as_millis());
        Self::new(FailureCode::TimedOut, message)
    }

    pub(crate) fn out_of_cpu(limits: &Limits) -> Self {
        let allowed_ms = limits.cpu.as_millis();
        Self::new(FailureCode::OutOfCpu, format!("the tool used more than {allowed_ms} ms of processor time"))
    }

    pub(crate) fn output_too_large(bytes_max: usize) -> Self {
        let message = format!("the tool gave more than {bytes_max} bytes");
        Self::new(FailureCode::OutputTooLarge, message)
    }

    /// What an instance's end by an error means, and what the operator is told of it.
    pub(crate) fn of_trap(
        error: &wasmtime::Error,
        limits: &Limits,
        memory: &MemoryLimits,
    ) -> (Self, Option<String>) {
        let failure = if error.is::<CpuUsedUp>() {
            Self::out_of_cpu(limits)
        } else if error.is::<TimeUsedUp>() {
            Self::timed_out(limits)
        } else if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            Self::new(FailureCode::Unavailable, "the host has no room for the tool now")
        } else if memory.has_refused() {
            let message = format!("the tool needs more than {} bytes of memory", memory.bytes_max());
            Self::new(FailureCode::OutOfMemory, message)
        } else if error.chain().any(|cause| cause.to_string().contains(TOO_MUCH_HANDED_OVER)) {
            Self::new(FailureCode::OutputTooLarge, "the tool handed over more data than it may")
        } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            let message = format!("the tool ended itself with status {} and gave no answer", exit.0);
            Self::new(FailureCode::Trapped, message)
        } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
            let trap = trap.to_string();
            let trap = trap.trim_start_matches("wasm trap: ");
            Self::new(FailureCode::Trapped, format!("the tool crashed: {trap}"))
        } else {
            Self::new(FailureCode::Trapped, "the tool crashed")
        };
        (failure, Some(cut(format!("{error:?}"), DETAIL_BYTES_MAX)))
    }
}

/// The call's time is over; raised as a trap from the epoch's callback, for a guest that never waits.
#[derive(Debug, thiserror::Error)]
#[error("time used up")]
pub(crate) struct TimeUsedUp;

/// The beginning of a text, if it is longer.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        let failure = ToolFailure::new(FailureCode::Failed, "ü".repeat(10_000));
        assert!(failure.message.len() <= MESSAGE_BYTES_MAX && failure.message.ends_with("ü…"));
        assert_eq!(cut("short".into(), 5), "short");
    }

    #[test]
    fn the_bound_that_was_hit_is_named() {
        let (limits, memory) = (Limits::default(), MemoryLimits::new(1, 1));
        let check = |error: wasmtime::Error, expected: FailureCode, text: &str| {
            let (failure, detail) = ToolFailure::of_trap(&error, &limits, &memory);
            assert_eq!((failure.code, failure.message.as_str()), (expected, text));
            assert!(detail.is_some());
        };
        check(CpuUsedUp.into(), FailureCode::OutOfCpu, "the tool used more than 1000 ms of processor time");
        check(
            wasmtime::Error::from(TimeUsedUp).context("somewhere"),
            FailureCode::TimedOut,
            "the tool did not answer within 10000 ms",
        );
        check(
            wasmtime_wasi::I32Exit(3).into(),
            FailureCode::Trapped,
            "the tool ended itself with status 3 and gave no answer",
        );
        check(
            wasmtime::Error::from(wasmtime::Trap::UnreachableCodeReached).context("/a/path/of/the/host"),
            FailureCode::Trapped,
            "the tool crashed: wasm `unreachable` instruction executed",
        );
    }
}
