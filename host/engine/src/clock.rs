//! The process's own clock, in numbers that fit an atomic.

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
