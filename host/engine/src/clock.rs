//! The clocks of the process, in numbers that fit an atomic.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first call, never 0 after it.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// Milliseconds since the first call.
pub(crate) fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

thread_local! {
    /// Whether this thread has a low priority, so that it often waits for a core while it seems to run.
    static WAITS_FOR_CORES: Cell<bool> = const { Cell::new(false) };
}

/// From now on [`running_ns`] is the CPU time of this thread.
pub(crate) fn this_thread_waits_for_cores() {
    WAITS_FOR_CORES.set(true);
}

/// The clock by which this thread's instances are charged, never 0: the CPU time of a thread that often waits for a core,
/// else the time of day's, which costs a tenth to read.
pub(crate) fn running_ns() -> u64 {
    if WAITS_FOR_CORES.get() { thread_cpu_ns() } else { now_ns() }
}

/// Nanoseconds this thread has had a core, never 0.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    (seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)).max(1)
}
