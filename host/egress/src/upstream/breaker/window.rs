//! Counts over the last ten seconds. Time is passed in; nothing here reads a clock.

use tokio::time::Instant;

/// How many seconds a count is remembered.
pub(crate) const WINDOW_SECONDS: usize = 10;

/// `KINDS` counters over the last [`WINDOW_SECONDS`], in buckets of one second. A time before the last one counts as the
/// last one.
#[derive(Debug)]
pub(crate) struct Window<const KINDS: usize> {
    start: Instant,
    /// The second that is being counted, from `start`.
    second: u64,
    buckets: [[u32; KINDS]; WINDOW_SECONDS],
    sums: [u64; KINDS],
}

impl<const KINDS: usize> Window<KINDS> {
    pub(crate) fn new(now: Instant) -> Self {
        Self { start: now, second: 0, buckets: [[0; KINDS]; WINDOW_SECONDS], sums: [0; KINDS] }
    }

    /// Counts one more of `kind`.
    pub(crate) fn add(&mut self, now: Instant, kind: usize) {
        self.advance(now);
        let bucket = self.bucket();
        if let Some(count) = self.buckets.get_mut(bucket).and_then(|bucket| bucket.get_mut(kind)) {
            *count = count.saturating_add(1);
            self.sums[kind] += 1;
        }
    }

    /// How many of `kind` there were in the last ten seconds.
    pub(crate) fn sum(&mut self, now: Instant, kind: usize) -> u64 {
        self.advance(now);
        self.sums[kind]
    }

    /// How many of `kind` there were in the second that is being counted.
    pub(crate) fn this_second(&mut self, now: Instant, kind: usize) -> u64 {
        self.advance(now);
        u64::from(self.buckets[self.bucket()][kind])
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.buckets = [[0; KINDS]; WINDOW_SECONDS];
        self.sums = [0; KINDS];
    }

    fn bucket(&self) -> usize {
        usize::try_from(self.second % WINDOW_SECONDS as u64).unwrap_or_default()
    }

    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.start).as_secs();
        if second <= self.second {
            return;
        }
        if second - self.second >= WINDOW_SECONDS as u64 {
            self.clear();
            self.second = second;
            return;
        }
        while self.second < second {
            self.second += 1;
            let bucket = self.bucket();
            let old = std::mem::replace(&mut self.buckets[bucket], [0; KINDS]);
            for (sum, count) in self.sums.iter_mut().zip(old) {
                *sum = sum.saturating_sub(u64::from(count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_ten_seconds_is_forgotten() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        // When something is counted, and what the sum is at a later time.
        let check = |added_ms: &[u64], asked_ms: u64, sum: u64, this_second: u64| {
            let mut window = Window::<2>::new(start);
            for ms in added_ms {
                window.add(at(*ms), 1);
            }
            assert_eq!(window.sum(at(asked_ms), 1), sum, "{added_ms:?} at {asked_ms}");
            assert_eq!(window.this_second(at(asked_ms), 1), this_second, "{added_ms:?} at {asked_ms}");
            assert_eq!(window.sum(at(asked_ms), 0), 0);
        };
        check(&[], 0, 0, 0);
        check(&[0, 1, 999], 999, 3, 3);
        check(&[0, 1, 999], 1_000, 3, 0);
        check(&[0, 1, 999], 9_999, 3, 0);
        check(&[0, 1, 999], 10_000, 0, 0);
        check(&[0, 5_000, 9_000], 10_500, 2, 0);
        check(&[0, 5_000, 9_000], 15_000, 1, 0);
        check(&[0, 5_000, 9_000], 100_000, 0, 0);
        check(&[0, 100_000, 100_001], 100_500, 2, 2);
        // Time that goes backwards is the time that was.
        check(&[5_000, 0], 5_000, 2, 2);
    }
}
