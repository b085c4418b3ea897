//! What is under way: counted while it is, and timed when it ends.

use crate::{Gauge, Held, Histogram};
use std::sync::Arc;
use std::time::Instant;

/// Something under way since the timer was made: one more in a [`Gauge`]; dropped, its time is in a [`Histogram`].
#[derive(Debug)]
pub struct Timer {
    since: Instant,
    durations: Arc<Histogram>,
    _under_way: Held,
}

impl Timer {
    /// Begins now.
    #[must_use]
    pub fn start(under_way: &Arc<Gauge>, durations: &Arc<Histogram>) -> Self {
        Self::since(Instant::now(), under_way, durations)
    }

    /// Began at `since`.
    #[must_use]
    pub fn since(since: Instant, under_way: &Arc<Gauge>, durations: &Arc<Histogram>) -> Self {
        Self { since, durations: Arc::clone(durations), _under_way: under_way.hold() }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.durations.observe(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_counted_once_and_no_longer_under_way() {
        let (gauge, durations) = (Arc::new(Gauge::new()), Arc::new(Histogram::default()));
        let timer = Timer::start(&gauge, &durations);
        assert_eq!((gauge.get(), durations.snapshot().count()), (1, 0));
        drop(timer);
        assert_eq!((gauge.get(), durations.snapshot().count()), (0, 1));
    }
}
