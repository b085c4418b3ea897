//! Calls in turns, timed each by itself, and the CPU time of each block.

use crate::way::{Callers, Way, Ways};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Calls of each way before anything counts: connections are made, code and caches are warm.
const WARM_UP_CALLS: u32 = 200;
/// Times are kept to three digits, in nanoseconds; this is the most.
const NANOSECONDS_MAX: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// Which kind of answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// One JSON object, timed until all of it is there.
    Plain,
    /// Events, timed until the first that says something.
    Streamed,
}

impl Mode {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Streamed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain, to its end",
            Self::Streamed => "streamed, to its first piece",
        }
    }
}

/// How much is measured, and in which turns.
pub(crate) struct Plan {
    pub(crate) calls: u32,
    pub(crate) block: u32,
    pub(crate) ways: Vec<Way>,
}

/// What was measured of one way.
pub(crate) struct Measured {
    pub(crate) way: Way,
    pub(crate) mode: Mode,
    pub(crate) nanoseconds: Histogram<u64>,
    pub(crate) cpu_nanoseconds: u64,
}

/// Makes all calls of one mode.
pub(crate) async fn measure(ways: &Ways, mode: Mode, plan: &Plan) -> anyhow::Result<Vec<Measured>> {
    let callers = ways.callers(mode)?;
    let mut measured = Vec::with_capacity(plan.ways.len());
    for way in &plan.ways {
        let nanoseconds = Histogram::new_with_max(NANOSECONDS_MAX, DIGITS)?;
        measured.push(Measured { way: *way, mode, nanoseconds, cpu_nanoseconds: 0 });
    }
    for one in &mut measured {
        block(&callers, one, WARM_UP_CALLS).await?;
        one.nanoseconds.reset();
        one.cpu_nanoseconds = 0;
    }
    let mut left = plan.calls;
    while left > 0 {
        let calls = left.min(plan.block);
        for one in &mut measured {
            block(&callers, one, calls).await?;
        }
        left -= calls;
        // Nobody always comes after the same.
        measured.rotate_left(1);
    }
    measured.sort_by_key(|one| Way::ALL.iter().position(|way| *way == one.way));
    Ok(measured)
}

async fn block(callers: &Callers, measured: &mut Measured, calls: u32) -> anyhow::Result<()> {
    let before = cpu_nanoseconds();
    for _ in 0..calls {
        let took = callers.call(measured.way).await?;
        measured.nanoseconds.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
    measured.cpu_nanoseconds += cpu_nanoseconds().saturating_sub(before);
    Ok(())
}

/// What this thread has had of a core.
fn cpu_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
