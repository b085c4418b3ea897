//! How many units came in the last minute: twelve counts of five seconds each, without a lock.
//!
//! The bucket beside it cannot say: it knows how much is left, not when what is gone was used.

use super::bucket::SECOND_NS;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long one count goes on.
const STEP_NS: u64 = 5 * SECOND_NS;
/// The counts of a minute.
const STEPS: usize = 12;
/// A count holds the number of its step above and its units below; both in one number, so that they change together.
const UNITS_BITS: u32 = 40;
/// The most units of one count: more than a trillion.
const UNITS_MAX: u64 = (1 << UNITS_BITS) - 1;
/// Steps are told apart for 2.6 years, after which one that nobody has touched since could be taken for another.
const STEP_MASK: u64 = u64::MAX >> UNITS_BITS;

/// Units of the last minute. Nothing else is published by the counts, so their operations are `Relaxed`.
#[derive(Debug, Default)]
pub(super) struct Minute([AtomicU64; STEPS]);

impl Minute {
    /// Counts `units` at `now`, nanoseconds since the meter was made.
    pub(super) fn add(&self, now: u64, units: u64) {
        let step = now / STEP_NS;
        let Some(count) = self.0.get((step % STEPS as u64) as usize) else { return };
        let step = step & STEP_MASK;
        let _always = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            let before = if old >> UNITS_BITS == step { old & UNITS_MAX } else { 0 };
            Some(step << UNITS_BITS | before.saturating_add(units).min(UNITS_MAX))
        });
    }

    /// The units of the last minute: of 55 seconds at least and 60 at most.
    pub(super) fn sum(&self, now: u64) -> u64 {
        let step = now / STEP_NS;
        let first = step.saturating_sub(STEPS as u64 - 1);
        let counted = |count: &AtomicU64| {
            let count = count.load(Ordering::Relaxed);
            (first..=step).any(|step| step & STEP_MASK == count >> UNITS_BITS).then_some(count & UNITS_MAX)
        };
        self.0.iter().filter_map(counted).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_minute_old_no_longer_counts() {
        let minute = Minute::default();
        let at = |second: u64| second * SECOND_NS;
        for (second, units) in [(0, 1), (4, 2), (5, 10), (59, 100)] {
            minute.add(at(second), units);
        }
        for (second, expected) in
            [(59, 113), (60, 110), (64, 110), (65, 100), (114, 100), (115, 0), (10_000, 0)]
        {
            assert_eq!(minute.sum(at(second)), expected, "after {second} s");
        }
        minute.add(at(60), 1_000);
        assert_eq!(minute.sum(at(60)), 1_110, "the first count is used again");
        minute.add(at(600), 7);
        assert_eq!(minute.sum(at(600)), 7);
    }

    #[test]
    fn a_count_stops_at_its_most() {
        let minute = Minute::default();
        minute.add(0, u64::MAX);
        minute.add(0, 1);
        assert_eq!(minute.sum(0), UNITS_MAX);
    }

    #[test]
    fn counts_of_many_threads_are_not_lost() {
        let minute = Minute::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| minute.add(0, 1)));
            }
        });
        assert_eq!(minute.sum(0), 40_000);
    }
}
