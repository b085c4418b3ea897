//! How long first bytes take: a histogram of fixed size that forgets, without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Buckets per doubling: a quantile is told at most an eighth too high.
const BUCKETS_PER_DOUBLING: usize = 8;
/// 2^32 microseconds, more than an hour, is the longest time that is told apart.
const DOUBLINGS: usize = 32;
const BUCKETS: usize = BUCKETS_PER_DOUBLING * DOUBLINGS;
/// All counts are halved this often.
const HALF_LIFE_SECONDS: u64 = 30;

/// Quantiles of recent times. A time counts half after thirty seconds, a quarter after a minute, and so on. Counts that are
/// written while they are halved may be lost: this is an estimate.
///
/// The buckets are those of an HDR histogram: linear within each doubling.
#[derive(Debug)]
pub(crate) struct Latency {
    start: Instant,
    /// How often the counts have been halved, or need not have been.
    halvings: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

/// What half, 95 and 99 of 100 recent times did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    /// The median.
    pub p50: Duration,
    /// 95 of 100.
    pub p95: Duration,
    /// 99 of 100.
    pub p99: Duration,
}

impl Latency {
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, halvings: AtomicU64::new(0), counts: [const { AtomicU32::new(0) }; BUCKETS] }
    }

    /// Counts one time.
    pub(crate) fn record(&self, now: Instant, time: Duration) {
        self.forget(now);
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        if let Some(count) = self.counts.get(bucket(micros)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many recent times are counted, each as much as it still counts.
    pub(crate) fn count(&self, now: Instant) -> u64 {
        self.forget(now);
        self.counts.iter().map(|count| u64::from(count.load(Relaxed))).sum()
    }

    /// What 95 of 100 recent times did not pass; `None` while fewer than `count_min` are counted.
    pub(crate) fn p95(&self, now: Instant, count_min: u64) -> Option<Duration> {
        let total = self.count(now).max(1);
        (total >= count_min).then(|| self.quantile(total, 95)).flatten()
    }

    /// The quantiles; `None` while nothing is counted.
    pub(crate) fn quantiles(&self, now: Instant) -> Option<Quantiles> {
        let total = self.count(now);
        let quantile = |percent| self.quantile(total, percent);
        Some(Quantiles { p50: quantile(50)?, p95: quantile(95)?, p99: quantile(99)? })
    }

    fn quantile(&self, total: u64, percent: u64) -> Option<Duration> {
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u64::from(count.load(Relaxed));
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_bound(found)))
    }

    /// Halves the counts as often as is due; one of several threads that find it due does.
    fn forget(&self, now: Instant) {
        let due = now.saturating_duration_since(self.start).as_secs() / HALF_LIFE_SECONDS;
        let done = self.halvings.load(Relaxed);
        if due <= done || self.halvings.compare_exchange(done, due, Relaxed, Relaxed).is_err() {
            return;
        }
        let shift = u32::try_from(due - done).unwrap_or(u32::MAX);
        for count in &self.counts {
            count.store(count.load(Relaxed).checked_shr(shift).unwrap_or(0), Relaxed);
        }
    }
}

/// The bucket of a time: the first ones hold a microsecond each, those of each further doubling an eighth of it.
fn bucket(micros: u32) -> usize {
    let linear = BUCKETS_PER_DOUBLING as u32;
    if micros < linear {
        return micros as usize;
    }
    let doubling = micros.ilog2();
    let eighth = (micros >> (doubling - linear.ilog2())) - linear;
    ((doubling - linear.ilog2() + 1) * linear + eighth) as usize
}

/// The longest time of a bucket, in microseconds.
fn upper_bound(bucket: usize) -> u64 {
    let linear = BUCKETS_PER_DOUBLING as u64;
    let bucket = bucket as u64;
    if bucket < linear {
        return bucket;
    }
    let shift = bucket / linear - 1;
    ((linear + bucket % linear + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn every_time_has_a_bucket_whose_bound_is_at_most_an_eighth_above_it() {
        let mut last = 0;
        for exponent in 0..32_u32 {
            for eighths in [0_u64, 1, 3, 5] {
                let micros = (1_u32 << exponent) + u32::try_from((eighths << exponent) >> 3_u64).unwrap();
                let bucket = bucket(micros);
                assert!(bucket < BUCKETS && bucket >= last, "{micros} is in {bucket}");
                let bound = upper_bound(bucket);
                let micros = u64::from(micros);
                assert!((micros..=micros + micros / 8).contains(&bound), "{micros} is told as {bound}");
                last = bucket;
            }
        }
        assert!(bucket(u32::MAX) < BUCKETS);
    }

    #[tokio::test(start_paused = true)]
    async fn quantiles_are_those_of_what_was_recorded_and_never_too_low() {
        let check = |times: &[(u64, u64)], p50: u64, p95: u64, p99: u64| {
            let now = Instant::now();
            let latency = Latency::new(now);
            for (count, time) in times {
                (0..*count).for_each(|_| latency.record(now, ms(*time)));
            }
            let quantiles = latency.quantiles(now).unwrap();
            for (found, expected) in [(quantiles.p50, p50), (quantiles.p95, p95), (quantiles.p99, p99)] {
                assert!(
                    found >= ms(expected) && found <= ms(expected) * 9 / 8,
                    "{times:?}: {found:?}, not {expected}"
                );
            }
        };
        check(&[(1, 100)], 100, 100, 100);
        check(&[(50, 10), (50, 20)], 10, 20, 20);
        check(&[(94, 10), (6, 1_000)], 10, 1_000, 1_000);
        check(&[(95, 10), (5, 1_000)], 10, 10, 1_000);
        check(&[(990, 40), (10, 4_000)], 40, 40, 40);
        check(&[(1, 0)], 0, 0, 0);
        check(&[(1, 3_600_000)], 3_600_000, 3_600_000, 3_600_000);
    }

    #[tokio::test(start_paused = true)]
    async fn old_times_count_less_and_less_and_then_nothing() {
        let now = Instant::now();
        let latency = Latency::new(now);
        (0..64).for_each(|_| latency.record(now, ms(10)));
        let after = |halves: u64| now + Duration::from_secs(HALF_LIFE_SECONDS * halves);
        assert_eq!(latency.count(after(1)), 32);
        assert_eq!(latency.count(after(3)), 8);
        (0..8).for_each(|_| latency.record(after(3), ms(100)));
        (0..8).for_each(|_| latency.record(after(3), ms(100)));
        assert!(latency.quantiles(after(3)).unwrap().p50 >= ms(100));
        assert_eq!(latency.count(after(100)), 0);
        assert_eq!(latency.quantiles(after(100)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_p95_needs_enough_times() {
        let now = Instant::now();
        let latency = Latency::new(now);
        assert_eq!(latency.p95(now, 0), None);
        (0..19).for_each(|_| latency.record(now, ms(10)));
        assert_eq!(latency.p95(now, 20), None);
        latency.record(now, ms(10));
        assert!(latency.p95(now, 20).is_some());
    }
}
