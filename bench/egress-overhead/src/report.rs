//! The result, as a table and as JSON.

use crate::measure::{Measured, Mode, Plan};
use crate::way::Way;
use serde::Serialize;
use std::fmt::Write as _;

const NANOSECONDS_PER_MICROSECOND: f64 = 1_000.0;

/// All of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    calls: u32,
    block: u32,
    prompt_bytes: u32,
    results: Vec<Line>,
}

/// One way and kind of answer. Times are in microseconds; CPU time is that of the thread that calls, per call.
#[derive(Debug, Serialize)]
struct Line {
    way: Way,
    mode: Mode,
    #[serde(flatten)]
    times: Times,
    /// What that is more than the direct call.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<Times>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Times {
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

impl Times {
    fn of(measured: &Measured) -> Self {
        let quantile = |at: f64| round(measured.nanoseconds.value_at_quantile(at) as f64);
        let calls = measured.nanoseconds.len().max(1) as f64;
        Self {
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            cpu_us: round(measured.cpu_nanoseconds as f64 / calls),
        }
    }

    fn less(self, other: Self) -> Self {
        let less = |one: f64, other: f64| round((one - other) * NANOSECONDS_PER_MICROSECOND);
        Self {
            p50_us: less(self.p50_us, other.p50_us),
            p90_us: less(self.p90_us, other.p90_us),
            p99_us: less(self.p99_us, other.p99_us),
            cpu_us: less(self.cpu_us, other.cpu_us),
        }
    }
}

/// Nanoseconds as microseconds, to a hundredth.
fn round(nanoseconds: f64) -> f64 {
    (nanoseconds / NANOSECONDS_PER_MICROSECOND * 100.0).round() / 100.0
}

impl Report {
    pub(crate) fn new(plan: &Plan, prompt_bytes: u32, measured: Vec<Measured>) -> Self {
        let direct_of = |mode: Mode| {
            let direct = measured.iter().find(|one| one.way == Way::Direct && one.mode == mode);
            direct.map(Times::of)
        };
        let line = |one: &Measured| {
            let times = Times::of(one);
            let direct = direct_of(one.mode).filter(|_| one.way != Way::Direct);
            Line { way: one.way, mode: one.mode, times, more: direct.map(|direct| times.less(direct)) }
        };
        let results = measured.iter().map(line).collect();
        Self { calls: plan.calls, block: plan.block, prompt_bytes, results }
    }

    /// The table that people read.
    pub(crate) fn table(&self) -> String {
        let Self { calls, block, prompt_bytes, .. } = self;
        let mut text = format!(
            "{calls} sequential calls of each way, in turns of {block}; a prompt of {prompt_bytes} bytes; microseconds"
        );
        for mode in Mode::ALL {
            let _ = write!(text, "\n\n{:<30}{:>9}{:>9}{:>9}{:>9}", mode.name(), "p50", "p90", "p99", "CPU");
            for line in self.results.iter().filter(|line| line.mode == mode) {
                row(&mut text, line.way.name(), &line.times);
                if let Some(more) = &line.more {
                    row(&mut text, "  more than direct", more);
                }
            }
        }
        text
    }
}

fn row(text: &mut String, name: &str, times: &Times) {
    let Times { p50_us, p90_us, p99_us, cpu_us } = times;
    let _ = write!(text, "\n{name:<30}{p50_us:>9.1}{p90_us:>9.1}{p99_us:>9.1}{cpu_us:>9.1}");
}
