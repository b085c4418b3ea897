//! The time of day, as work is dated: of hosts that share a store, the clocks should agree within a few seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Milliseconds since 1970, counted on from when it was made: a step of the system's clock moves nothing afterwards, so
/// a host never takes a lease of its own for over because of one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_ms: u64,
}

impl Clock {
    /// Set by the system's clock.
    #[must_use]
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ms: milliseconds(since) }
    }

    /// One that is wrong.
    #[cfg(test)]
    pub(crate) fn ahead(by: Duration) -> Self {
        let right = Self::system();
        Self { origin_ms: right.origin_ms + milliseconds(by), ..right }
    }

    /// What it shows now.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.origin_ms.saturating_add(milliseconds(self.origin.elapsed()))
    }

    /// When it will show `at_ms`; now, if that is past.
    pub(crate) fn instant(&self, at_ms: u64) -> Instant {
        let now = Instant::now();
        let wait = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
        now.checked_add(wait).unwrap_or(now)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
