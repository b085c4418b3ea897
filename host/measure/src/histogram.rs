//! How long things take: durations, counted in fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The buckets of a histogram with a bound; one more takes what is longer than all.
pub const BOUNDS: usize = 24;
const BUCKETS: usize = BOUNDS + 1;
const NS_PER_S: f64 = 1e9;

/// The upper bounds of a histogram's buckets, rising; a duration that equals one is in its bucket.
#[derive(Debug, PartialEq, Eq)]
pub struct Bounds {
    ns: [u64; BOUNDS],
}

/// 1, 2, 3 and 5 of each decade of `first_ns`, six decades.
const fn six_decades(first_ns: u64) -> [u64; BOUNDS] {
    const STEPS: [u64; 4] = [1, 2, 3, 5];
    let mut ns = [0; BOUNDS];
    let (mut index, mut decade) = (0, first_ns);
    while index < BOUNDS {
        ns[index] = STEPS[index % 4] * decade;
        index += 1;
        if index.is_multiple_of(4) {
            decade *= 10;
        }
    }
    ns
}

impl Bounds {
    /// For what a client waits for: 100 µs to 60 s, by 1, 2, 3 and 5 of each decade, so that the goals (200 µs, 1 ms, 300
    /// ms) are bounds; the last is 60 s in place of 50.
    pub const REQUESTS: &'static Self = {
        let mut ns = six_decades(100_000);
        ns[BOUNDS - 1] = 60_000_000_000;
        &Self { ns }
    };

    /// For what happens many times within a request: 1 µs to 500 ms, by 1, 2, 3 and 5 of each decade.
    pub const OPERATIONS: &'static Self = &Self { ns: six_decades(1_000) };

    /// The bounds, nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self) -> &[u64] {
        &self.ns
    }

    /// The bounds, seconds.
    pub fn seconds(&self) -> impl Iterator<Item = f64> + '_ {
        self.ns.iter().map(|ns| seconds(*ns))
    }
}

/// Durations, counted in the buckets of its [`Bounds`]. Observing takes two additions to memory and no lock.
#[derive(Debug)]
#[repr(align(128))]
pub struct Histogram {
    bounds: &'static Bounds,
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new(Bounds::REQUESTS)
    }
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub const fn new(bounds: &'static Bounds) -> Self {
        Self { bounds, buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_ns: AtomicU64::new(0) }
    }

    /// Counts one duration. Above 584 years it counts as that.
    pub fn observe(&self, duration: Duration) {
        self.observe_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one duration of `ns` nanoseconds.
    pub fn observe_ns(&self, ns: u64) {
        let index = self.bounds.ns.partition_point(|bound| *bound < ns);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What was counted so far. What is being observed meanwhile may be in the sum and not yet in a bucket, or the
    /// reverse.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            bounds: self.bounds,
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSnapshot {
    bounds: &'static Bounds,
    buckets: [u64; BUCKETS],
    sum_ns: u64,
}

impl HistogramSnapshot {
    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All durations together, seconds. It begins anew after 584 years of them.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        seconds(self.sum_ns)
    }

    /// The upper bound of each bucket, seconds, and how many durations are in that bucket alone; infinity is the last.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.seconds().chain([f64::INFINITY]).zip(self.buckets.iter().copied())
    }

    /// Adds another's durations, if it has the same bounds; says whether it has.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.bounds != other.bounds {
            return false;
        }
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.wrapping_add(more);
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        true
    }

    /// The upper bound of the bucket in which the `quantile` (0 to 1) of the durations is; none without durations, or
    /// when it is longer than the last bound.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = rank(quantile, count)?;
        let mut seen = 0;
        let position = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= wanted
        })?;
        self.bounds.ns.get(position).map(|ns| Duration::from_nanos(*ns))
    }
}

/// The how manieth of `count`, from 1 on, is the `quantile`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank within the count, which is clamped to it"
)]
fn rank(quantile: f64, count: u64) -> Option<u64> {
    (count > 0).then(|| ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count))
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days; beyond, a few ns do not matter")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_S
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(bounds: &'static Bounds, duration: Duration) -> f64 {
        let histogram = Histogram::new(bounds);
        histogram.observe(duration);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 1);
        snapshot.buckets().find(|(_, count)| *count == 1).unwrap().0
    }

    #[test]
    fn a_duration_is_in_the_bucket_of_the_next_bound() {
        let check = |bounds, ns, expected: f64| {
            assert_eq!(bucket_of(bounds, Duration::from_nanos(ns)), expected, "{ns}");
        };
        check(Bounds::REQUESTS, 0, 0.0001);
        check(Bounds::REQUESTS, 100_000, 0.0001);
        check(Bounds::REQUESTS, 100_001, 0.0002);
        check(Bounds::REQUESTS, 999_999, 0.001);
        check(Bounds::REQUESTS, 299_999_999, 0.3);
        check(Bounds::REQUESTS, 60_000_000_000, 60.0);
        check(Bounds::REQUESTS, 60_000_000_001, f64::INFINITY);
        check(Bounds::OPERATIONS, 1_500, 0.000_002);
        check(Bounds::OPERATIONS, 500_000_000, 0.5);
        assert_eq!(bucket_of(Bounds::REQUESTS, Duration::MAX), f64::INFINITY);
    }

    #[test]
    fn bounds_rise_and_have_the_goals_in_them() {
        for bounds in [Bounds::REQUESTS, Bounds::OPERATIONS] {
            assert!(bounds.nanoseconds().is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
        let seconds: Vec<f64> = Bounds::REQUESTS.seconds().collect();
        assert_eq!((seconds[0], seconds[BOUNDS - 1]), (0.0001, 60.0));
        for goal in [0.0002, 0.0003, 0.001, 0.01, 0.1, 0.3, 1.0] {
            assert!(seconds.contains(&goal), "{goal} is in {seconds:?}");
        }
    }

    #[test]
    fn nothing_is_lost_when_many_observe_at_once() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| histogram.observe(Duration::from_millis(2))));
            }
        });
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 4_000);
        assert_eq!(snapshot.sum_seconds(), 8.0);
    }

    #[test]
    fn snapshots_of_the_same_bounds_are_added_up() {
        let (first, second) = (Histogram::default(), Histogram::default());
        first.observe_ns(1);
        second.observe_ns(7_000_000);
        let mut sum = first.snapshot();
        assert!(sum.merge(&second.snapshot()));
        assert_eq!((sum.count(), sum.sum_seconds()), (2, 0.007_000_001));
        assert!(!sum.merge(&Histogram::new(Bounds::OPERATIONS).snapshot()));
        assert_eq!(sum.count(), 2);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        (0..90).for_each(|_| histogram.observe(Duration::from_micros(150)));
        (0..10).for_each(|_| histogram.observe(Duration::from_millis(40)));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.quantile(0.5), Some(Duration::from_micros(200)));
        assert_eq!(snapshot.quantile(0.9), Some(Duration::from_micros(200)));
        assert_eq!(snapshot.quantile(0.99), Some(Duration::from_millis(50)));
        (0..900).for_each(|_| histogram.observe(Duration::from_secs(100)));
        assert_eq!(histogram.snapshot().quantile(0.99), None);
    }
}
