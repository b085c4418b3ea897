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
    static WAITS_FOR_CORES: Cell<bool> = const { Cell::new(false) };
}

/// From now on [`waits_for_cores`] holds for this thread.
pub(crate) fn this_thread_waits_for_cores() {
    WAITS_FOR_CORES.set(true);
}

/// Whether this thread has a low priority, so that the clock goes on much faster than its CPU time.
pub(crate) fn waits_for_cores() -> bool {
    WAITS_FOR_CORES.get()
}

/// Nanoseconds this thread has had a core, never 0.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    (seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)).max(1)
}

/// How old a thread's reading of its CPU time may be, nanoseconds.
const READING_AGE_MAX_NS: u64 = 1_000_000;

thread_local! {
    /// When this thread last read its CPU time, and what it was.
    static READING: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Reads the thread's CPU time if that was not done lately. `now` is [`now_ns`].
pub(crate) fn refresh_cpu_reading(now: u64) {
    if now.saturating_sub(READING.get().0) > READING_AGE_MAX_NS {
        READING.set((now, thread_cpu_ns()));
    }
}

/// CPU time the thread has had since the last reading, which is replaced.
fn cpu_since_reading(now: u64) -> u64 {
    let cpu = thread_cpu_ns();
    cpu.saturating_sub(READING.replace((now, cpu)).1)
}

/// When more than this has passed, nanoseconds, the thread may have been kept off its core: two ticks of the epoch, at
/// each of which a running instance is charged.
const CREDIBLE_NS: u64 = 4_000_000;

/// What the thread used between two times: the clock's answer, unless it is so much that the thread may have waited for a
/// core; then its CPU time counts. [`refresh_cpu_reading`] must have been called at the first.
pub(crate) fn cpu_between(began: u64, now: u64) -> u64 {
    let passed = now.saturating_sub(began);
    if passed > CREDIBLE_NS { cpu_since_reading(now).min(passed) } else { passed }
}
