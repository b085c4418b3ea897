//! How many lines may reach the log per second. A line over the budget is dropped and counted, never queued.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines per second a budget has unless told otherwise.
pub const LINES_PER_SECOND_DEFAULT: u32 = 200;

const WINDOW: Duration = Duration::from_secs(1);

/// A budget of log lines, for one function of one tenant: all its instances share it.
#[derive(Debug)]
pub struct LineBudget {
    lines_per_second_max: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    /// Lines dropped since the last time somebody was told.
    dropped: u64,
}

/// Whether a line may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may. `dropped` lines before it did not, which nobody has been told yet.
    Pass {
        dropped: u64,
    },
    Drop,
}

impl LineBudget {
    /// A budget of `lines_per_second_max` lines in each second.
    #[must_use]
    pub fn new(lines_per_second_max: u32) -> Self {
        let window = Window { began: Instant::now(), lines: 0, dropped: 0 };
        Self { lines_per_second_max, window: Mutex::new(window) }
    }

    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.began) >= WINDOW {
            window.began = now;
            window.lines = 0;
        }
        if window.lines >= self.lines_per_second_max {
            window.dropped = window.dropped.saturating_add(1);
            return Admission::Drop;
        }
        window.lines += 1;
        Admission::Pass { dropped: std::mem::take(&mut window.dropped) }
    }

    /// How many lines were dropped that nobody has been told about. Whoever asks has to tell.
    pub(crate) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner).dropped)
    }
}

impl Default for LineBudget {
    fn default() -> Self {
        Self::new(LINES_PER_SECOND_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_budget_are_dropped_and_counted_once() {
        let budget = LineBudget::new(2);
        let start = Instant::now();
        let at = |ms| budget.admit(start + Duration::from_millis(ms));
        assert_eq!(at(0), Admission::Pass { dropped: 0 });
        assert_eq!(at(1), Admission::Pass { dropped: 0 });
        assert_eq!(at(2), Admission::Drop);
        assert_eq!(at(999), Admission::Drop);
        assert_eq!(at(1001), Admission::Pass { dropped: 2 });
        assert_eq!(at(1002), Admission::Pass { dropped: 0 });
        assert_eq!(at(1003), Admission::Drop);
        assert_eq!(budget.take_dropped(), 1);
        assert_eq!(budget.take_dropped(), 0);
    }

    #[test]
    fn a_budget_of_none_lets_nothing_pass() {
        assert_eq!(LineBudget::new(0).admit(Instant::now()), Admission::Drop);
    }
}
