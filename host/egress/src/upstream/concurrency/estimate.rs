//! How many calls an upstream can take at once, learnt from how it answers. Pure: time is passed in.
//!
//! Additive increase, multiplicative decrease (D. Chiu, R. Jain, *Analysis of the Increase and Decrease Algorithms for
//! Congestion Avoidance*, 1989), as TCP does it: once per window, a decrease starts from what was in flight and not from a
//! bound that nobody had reached (RFC 5681, 3.1), and beside drops the delay is a signal, held against the least that was
//! seen (L. Brakmo, L. Peterson, *TCP Vegas*, 1995). The step up is the square root of the bound, as in Netflix's
//! *concurrency-limits*. Steps of a fixed size are taken rather than those of Vegas or of Netflix's gradient, which compute
//! the bound from the delay itself: the first byte of a model comes later for a long prompt than for a short one, and a
//! window with more long prompts would throw such a bound far off.

use crate::upstream::policy::ConcurrencyPolicy;
use std::time::Duration;
use tokio::time::Instant;

/// The bound moves at most this often.
const WINDOW: Duration = Duration::from_millis(500);
/// A window with fewer outcomes says nothing and goes on.
const OUTCOMES_MIN: u64 = 10;
/// Times of one window that are kept, for their median.
const TIMES_MAX: usize = 64;
/// So many drops of 100 outcomes are congestion; fewer are mishaps.
const DROPS_PER_100: u64 = 10;
/// First bytes that take this many times as long as the least are congestion, if they also take longer by [`SLACK_US`].
const TOLERANCE: u64 = 2;
/// Differences below this, in microseconds, are congestion nowhere: a scheduler causes them as well.
const SLACK_US: u64 = 50_000;
/// The least is forgotten by this part of the difference in each window, as a service may have become slower for good.
const FORGET_PART: u64 = 20;
/// What a decrease leaves, in tenths.
const DECREASE_TENTHS: u64 = 9;

/// The bound, and what it is learnt from.
#[derive(Debug)]
pub(super) struct Estimate {
    min: u64,
    max: u64,
    limit: u64,
    /// The least median of a window, slowly forgotten, in microseconds.
    baseline_us: Option<u64>,
    window: Window,
}

/// What was seen since the bound moved last.
#[derive(Debug)]
struct Window {
    start: Instant,
    outcomes: u64,
    drops: u64,
    peak_in_flight: u64,
    times: usize,
    times_us: [u32; TIMES_MAX],
}

impl Window {
    fn new(start: Instant, in_flight: u64) -> Self {
        Self { start, outcomes: 0, drops: 0, peak_in_flight: in_flight, times: 0, times_us: [0; TIMES_MAX] }
    }

    /// The median of the last times, in microseconds, if there were enough of them.
    fn median_us(&mut self) -> Option<u64> {
        let times = self.times_us.get_mut(..self.times.min(TIMES_MAX))?;
        if (times.len() as u64) < OUTCOMES_MIN {
            return None;
        }
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        Some(u64::from(*median))
    }
}

impl Estimate {
    pub(super) fn new(policy: &ConcurrencyPolicy, now: Instant) -> Self {
        let (min, max) = (policy.min.min(policy.max), policy.max);
        Self { min, max, limit: max, baseline_us: None, window: Window::new(now, 0) }
    }

    /// How many calls there may be at once.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Says how many calls there are at once.
    pub(super) fn see_in_flight(&mut self, in_flight: u64) {
        self.window.peak_in_flight = self.window.peak_in_flight.max(in_flight);
    }

    /// Says that a call was answered, and after what time, where that says something about the upstream's load.
    pub(super) fn see_answer(&mut self, now: Instant, first_byte: Option<Duration>, in_flight: u64) {
        if let Some(time) = first_byte {
            let window = &mut self.window;
            let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
            window.times_us[window.times % TIMES_MAX] = micros;
            window.times += 1;
        }
        self.end_outcome(now, in_flight);
    }

    /// Says that the upstream had no room for a call: it said so, or did not answer in time.
    pub(super) fn see_drop(&mut self, now: Instant, in_flight: u64) {
        self.window.drops += 1;
        self.end_outcome(now, in_flight);
    }

    fn end_outcome(&mut self, now: Instant, in_flight: u64) {
        self.window.outcomes += 1;
        let is_over = now.saturating_duration_since(self.window.start) >= WINDOW;
        if !is_over || self.window.outcomes < OUTCOMES_MIN {
            return;
        }
        let is_slow = self.is_slow();
        let window = &self.window;
        let peak = window.peak_in_flight;
        if is_slow || window.drops * 100 >= window.outcomes * DROPS_PER_100 {
            self.limit = (self.limit.min(peak) * DECREASE_TENTHS / 10).clamp(self.min, self.max);
        } else if peak * 2 >= self.limit {
            // A bound that nobody came near is not known to be too low.
            let step = self.limit.isqrt().max(self.limit / 10).max(1);
            self.limit = (self.limit + step).min(self.max);
        }
        self.window = Window::new(now, in_flight);
    }

    /// Whether first bytes took much longer than the least; learns the least.
    fn is_slow(&mut self) -> bool {
        let Some(median) = self.window.median_us() else { return false };
        let baseline = self.baseline_us.map_or(median, |baseline| {
            if median < baseline { median } else { baseline + (median - baseline) / FORGET_PART }
        });
        let before = self.baseline_us.replace(baseline).unwrap_or(median);
        median > before * TOLERANCE && median > before + SLACK_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: u64 = 4;
    const MAX: u64 = 400;

    /// An upstream that is told to the estimate window by window.
    struct Run {
        estimate: Estimate,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            let policy = ConcurrencyPolicy { min: MIN, max: MAX, ..ConcurrencyPolicy::default() };
            let now = Instant::now();
            Self { estimate: Estimate::new(&policy, now), now }
        }

        /// A window of `answers` after `ms` each and of `drops`, with `in_flight` calls at once; the bound after it.
        fn window(&mut self, in_flight: u64, answers: u64, ms: u64, drops: u64) -> u64 {
            self.estimate.see_in_flight(in_flight);
            self.now += WINDOW - Duration::from_millis(1);
            for _ in 0..drops {
                self.estimate.see_drop(self.now, in_flight);
            }
            let before = self.estimate.limit();
            for index in 0..answers {
                if index + 1 == answers {
                    assert_eq!(self.estimate.limit(), before, "it moved within a window");
                    self.now += Duration::from_millis(1);
                }
                self.estimate.see_answer(self.now, Some(Duration::from_millis(ms)), in_flight);
            }
            self.estimate.limit()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_starts_at_its_most_and_stays_there_while_nothing_is_wrong() {
        let mut run = Run::new();
        assert_eq!(run.estimate.limit(), MAX);
        for in_flight in [1, 10, 399, 400, 1] {
            assert_eq!(run.window(in_flight, 50, 200, 0), MAX);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn drops_lower_it_from_what_was_in_flight_once_a_window() {
        // (in flight, answers, drops) to the bound after one window.
        let check = |in_flight: u64, answers: u64, drops: u64, expected: u64| {
            let limit = Run::new().window(in_flight, answers, 200, drops);
            assert_eq!(limit, expected, "{in_flight} in flight, {answers} answers, {drops} drops");
        };
        check(100, 90, 10, 90);
        check(100, 1, 99, 90);
        check(400, 50, 50, 360);
        check(1_000, 50, 50, 360);
        check(2, 50, 50, MIN);
        // A few are mishaps.
        check(100, 91, 9, MAX);
        // Too few outcomes say nothing.
        check(100, 5, 4, MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_again_while_it_is_used_and_not_otherwise() {
        let mut run = Run::new();
        for _ in 0..100 {
            run.window(16, 5, 200, 5);
        }
        run.window(1, 5, 200, 5);
        assert_eq!(run.estimate.limit(), MIN);
        assert_eq!(run.window(1, 50, 200, 0), 4, "half of it was not used");
        assert_eq!(run.window(4, 50, 200, 0), 6);
        assert_eq!(run.window(6, 50, 200, 0), 8);
        let mut windows = 0;
        while run.estimate.limit() < MAX {
            let limit = run.estimate.limit();
            run.window(limit, 50, 200, 0);
            windows += 1;
        }
        assert!(windows < 40, "it took {windows} windows");
    }

    #[tokio::test(start_paused = true)]
    async fn first_bytes_that_take_much_longer_than_the_least_lower_it() {
        // The time that was usual, the time that came then, and whether the bound falls.
        let check = |usual_ms: u64, then_ms: u64, falls: bool| {
            let mut run = Run::new();
            run.window(100, 50, usual_ms, 0);
            let limit = run.window(100, 50, then_ms, 0);
            assert_eq!(limit < MAX, falls, "{usual_ms} ms, then {then_ms} ms: {limit}");
        };
        check(200, 199, false);
        check(200, 400, false);
        check(200, 401, true);
        check(200, 5_000, true);
        check(1, 40, false);
        check(1, 52, true);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_became_slower_for_good_is_not_throttled_for_ever() {
        let mut run = Run::new();
        run.window(100, 50, 100, 0);
        let mut least = MAX;
        let mut windows = 0;
        loop {
            let limit = run.window(run.estimate.limit().min(100), 50, 400, 0);
            windows += 1;
            if limit > least {
                break;
            }
            least = limit;
        }
        assert!(windows < 20, "it fell for {windows} windows");
        assert!(least > 30, "it fell to {least}");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_whose_time_says_nothing_count_against_the_drops_only() {
        let mut run = Run::new();
        run.estimate.see_in_flight(100);
        run.now += WINDOW;
        (0..50).for_each(|_| run.estimate.see_answer(run.now, None, 100));
        assert_eq!(run.estimate.limit(), MAX);
        assert_eq!(run.estimate.baseline_us, None);
    }
}
