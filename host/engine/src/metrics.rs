//! What the engine counts of each function.

use crate::worker::Ending;
use std::sync::Arc;
use waggle_measure::{Counter, Gauge, Histogram};

/// The instances of one function, of all tenants together.
#[derive(Debug, Default)]
pub struct FunctionMetrics {
    /// Instances there are, those that are about to end included.
    pub live: Arc<Gauge>,
    /// Instances that were begun.
    pub created: Counter,
    /// Requests that found an instance that had been there before them.
    pub reused: Counter,
    /// How long it took until a new instance was ready for its first request.
    pub starts: Histogram,
    /// Requests that wait for a place in an instance.
    pub waiting: Arc<Gauge>,
    ended: [Counter; EndingKind::ALL.len()],
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndingKind {
    /// It was idle, had served as many requests as it may, or its tenant has changed.
    Retired,
    /// It trapped.
    Trapped,
    /// It used more CPU time than its requests are allowed.
    CpuTime,
    /// It could not be made.
    NotInstantiated,
}

impl EndingKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Retired, Self::Trapped, Self::CpuTime, Self::NotInstantiated];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::Trapped => "trapped",
            Self::CpuTime => "cpu_time",
            Self::NotInstantiated => "not_instantiated",
        }
    }

    fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Retired => Self::Retired,
            Ending::Trapped { .. } => Self::Trapped,
            Ending::CpuTime => Self::CpuTime,
            Ending::NotInstantiated { .. } => Self::NotInstantiated,
        }
    }
}

impl FunctionMetrics {
    /// How many instances have ended in this way.
    #[must_use]
    pub fn ended(&self, how: EndingKind) -> u64 {
        self.ended[how as usize].get()
    }

    pub(crate) fn count_ending(&self, ending: &Ending) {
        self.ended[EndingKind::of(ending) as usize].increment();
        self.live.add(-1);
    }
}
