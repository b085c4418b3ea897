//! What is counted of tools, and the names it has in metrics.

use super::Tools;
use std::time::Duration;
use waggle_measure::{Counter, Histogram};
use waggle_telemetry::metrics::Families;

/// How a call of a tool ended, or that it was made at all where the function makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// It gave something.
    Ok,
    /// The tool said that it failed.
    Failed,
    /// The tool said that the arguments are wrong, or they do not fit.
    InvalidArguments,
    /// The tool said that it cannot now.
    Unavailable,
    /// There is no such tool or function, or its digest is another one.
    Unknown,
    /// It trapped.
    Trapped,
    /// It took too long.
    TimedOut,
    /// It used too much processor time.
    OutOfCpu,
    /// It asked for too much memory.
    OutOfMemory,
    /// What it gave is too long, or not what it says.
    InvalidOutput,
    /// There was no place for it.
    Busy,
    /// A function made it, under the tool's grants; what came of it, the function knows.
    Sent,
}

impl CallOutcome {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Ok,
        Self::Failed,
        Self::InvalidArguments,
        Self::Unavailable,
        Self::Unknown,
        Self::Trapped,
        Self::TimedOut,
        Self::OutOfCpu,
        Self::OutOfMemory,
        Self::InvalidOutput,
        Self::Busy,
        Self::Sent,
    ];

    /// Its name in metrics and spans.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::InvalidArguments => "invalid_arguments",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Trapped => "trapped",
            Self::TimedOut => "timed_out",
            Self::OutOfCpu => "out_of_cpu",
            Self::OutOfMemory => "out_of_memory",
            Self::InvalidOutput => "invalid_output",
            Self::Busy => "busy",
            Self::Sent => "sent",
        }
    }
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// The host runs the tool's component.
    Component,
    /// A function calls another server in the tool's name.
    Request,
}

impl CallKind {
    const ALL: [Self; 2] = [Self::Component, Self::Request];

    fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Request => "request",
        }
    }
}

/// What a tool was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// A destination that it was not granted.
    Destination,
    /// A store that it was not granted.
    Store,
    /// More requests than a call may make.
    Requests,
}

impl Denial {
    const ALL: [Self; 3] = [Self::Destination, Self::Store, Self::Requests];

    fn name(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Store => "store",
            Self::Requests => "requests",
        }
    }
}

/// The tools of all tenants together.
#[derive(Debug, Default)]
pub(crate) struct ToolMetrics {
    calls: [[Counter; CallOutcome::ALL.len()]; CallKind::ALL.len()],
    durations: [Histogram; CallKind::ALL.len()],
    denials: [Counter; Denial::ALL.len()],
    /// How long components took to be compiled, or to be had from the cache.
    compiles: Histogram,
    /// Definitions of other servers that changed after they were accepted, as often as that was seen.
    changes: Counter,
}

impl ToolMetrics {
    pub(crate) fn called(&self, kind: CallKind, outcome: CallOutcome) {
        self.calls[kind as usize][outcome as usize].increment();
    }

    pub(crate) fn took(&self, kind: CallKind, duration: Duration) {
        self.durations[kind as usize].observe(duration);
    }

    pub(crate) fn denied(&self, denial: Denial) {
        self.denials[denial as usize].increment();
    }

    pub(crate) fn compiled(&self, duration: Duration) {
        self.compiles.observe(duration);
    }

    pub(crate) fn changed(&self) {
        self.changes.increment();
    }

    /// How often that was refused.
    #[cfg(test)]
    pub(crate) fn denials(&self, denial: Denial) -> u64 {
        self.denials[denial as usize].get()
    }
}

/// Tells what was counted, and how many calls there are.
pub(crate) fn tell(tools: &Tools, families: &mut Families) {
    let (metrics, under_way) = tools.counted();
    let mut calls =
        families.counter("waggle_tool_calls_total", "Calls of tools, by who makes them and how they ended");
    for kind in CallKind::ALL {
        for outcome in CallOutcome::ALL {
            let count = metrics.calls[kind as usize][outcome as usize].get();
            if count > 0 {
                calls.add(&[("kind", kind.name()), ("outcome", outcome.name())], count);
            }
        }
    }
    let mut durations =
        families.histogram("waggle_tool_call_duration_seconds", "Until a call of a tool had ended");
    for kind in CallKind::ALL {
        let snapshot = metrics.durations[kind as usize].snapshot();
        if snapshot.count() > 0 {
            durations.add(&[("kind", kind.name())], snapshot);
        }
    }
    let mut denials =
        families.counter("waggle_tool_denials_total", "What tools asked for and were not granted");
    for denial in Denial::ALL {
        denials.add(&[("reason", denial.name())], metrics.denials[denial as usize].get());
    }
    families
        .histogram("waggle_tool_compile_duration_seconds", "Until a component was ready to be called")
        .add(&[], metrics.compiles.snapshot());
    families
        .counter("waggle_tool_definition_changes_total", "Definitions found changed after they were accepted")
        .add(&[], metrics.changes.get());
    families.gauge("waggle_tool_calls_in_flight", "Calls of tools under way").add(&[], i64::from(under_way));
}
