//! Numbers that only grow, and numbers that go up and down.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How often something happened since the start, or how much of it there was. On a cache line of its own (two, since
/// processors fetch them in pairs), so that cores which count different things do not wait for each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `more`. After 2^64 it begins anew.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much there is of something at this moment.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds `more`, which may be negative.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Says how much there is.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// How much there is.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more until what is returned is dropped: for whatever is under way, however it ends.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.add(1);
        Held(Arc::clone(self))
    }
}

/// One of what a [`Gauge`] shows, for as long as it lives.
#[derive(Debug)]
pub struct Held(Arc<Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_many_count_at_once() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| counter.increment()));
            }
        });
        counter.add(5);
        assert_eq!(counter.get(), 40_005);
    }

    #[test]
    fn a_gauge_falls_when_what_was_held_is_dropped() {
        let gauge = Arc::new(Gauge::new());
        let (first, second) = (gauge.hold(), gauge.hold());
        assert_eq!(gauge.get(), 2);
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop(second);
        gauge.set(-7);
        assert_eq!(gauge.get(), -7);
    }

    #[test]
    fn counters_do_not_share_a_cache_line() {
        assert_eq!(align_of::<Counter>(), 128);
        assert_eq!(size_of::<[Gauge; 2]>(), 256);
    }
}
