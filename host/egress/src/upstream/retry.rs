//! What may be tried again: how long to wait before, and how often over all calls. Pure: time and chance are passed in.

use super::breaker::window::Window;
use super::policy::Policy;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The longest `Retry-After` that is believed; one that asks for more is taken for this.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

const CALLS: usize = 0;
const RETRIES: usize = 1;

/// How many retries an upstream gets over all calls, so that a failing one is not asked several times as often as one
/// that works. A retry is allowed while fewer than `retries_per_second_min` were made in this second, or while those of
/// the last ten seconds are fewer than `retries_per_100_calls` of the calls.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    per_100_calls: u64,
    per_second_min: u64,
    /// Calls and retries of the last ten seconds.
    window: Mutex<Window<2>>,
}

impl RetryBudget {
    pub(crate) fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            per_100_calls: policy.retries_per_100_calls,
            per_second_min: policy.retries_per_second_min,
            window: Mutex::new(Window::new(now)),
        }
    }

    /// Counts a call's first attempt.
    pub(crate) fn count_call(&self, now: Instant) {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).add(now, CALLS);
    }

    /// Whether there may be one more retry.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.is_allowed(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Counts one more retry if there may be one.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let is_allowed = self.is_allowed(&mut window, now);
        if is_allowed {
            window.add(now, RETRIES);
        }
        is_allowed
    }

    fn is_allowed(&self, window: &mut Window<2>, now: Instant) -> bool {
        window.this_second(now, RETRIES) < self.per_second_min
            || window.sum(now, RETRIES) * 100 < window.sum(now, CALLS) * self.per_100_calls
    }
}

/// The waits between the attempts of one call: drawn evenly from zero to a range that doubles, up to a bound. This is
/// "full jitter" (M. Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015), which spreads the retries of
/// many calls the widest.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    range_ms: u64,
    range_ms_max: u64,
}

impl Backoff {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self { range_ms: policy.backoff_ms.min(policy.backoff_ms_max), range_ms_max: policy.backoff_ms_max }
    }

    /// The next wait. `retry_after` is what the upstream asked for, which is the least.
    ///
    /// `chance` is any number, evenly distributed. `None`: the upstream asked for more than is waited.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>, chance: u64) -> Option<Duration> {
        let asked = retry_after.unwrap_or_default();
        if asked > Duration::from_millis(self.range_ms_max) {
            return None;
        }
        let drawn_us = chance % (self.range_ms * 1_000 + 1);
        self.range_ms = (self.range_ms * 2).min(self.range_ms_max);
        Some(asked + Duration::from_micros(drawn_us))
    }
}

/// How long the upstream asks to wait: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or `retry-after-ms`, which
/// OpenAI's services send beside it. At most [`RETRY_AFTER_MAX`]; `None` where neither can be read.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let asked = milliseconds.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        // A date that has passed asks for no wait.
        httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default())
    })?;
    Some(asked.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(per_100_calls: u64, per_second_min: u64) -> Policy {
        Policy {
            retries_per_100_calls: per_100_calls,
            retries_per_second_min: per_second_min,
            ..Policy::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_bounded_by_the_calls_and_a_few_a_second_are_free() {
        let check = |per_100_calls: u64, per_second_min: u64, calls: u64, expected: u64| {
            let now = Instant::now();
            let budget = RetryBudget::new(&policy(per_100_calls, per_second_min), now);
            (0..calls).for_each(|_| budget.count_call(now));
            let taken = (0..10_000).filter(|_| budget.take(now)).count() as u64;
            assert_eq!(taken, expected, "{per_100_calls} of 100, {per_second_min} free, {calls} calls");
            assert!(!budget.allows(now));
        };
        check(20, 10, 0, 10);
        check(20, 10, 40, 10);
        check(20, 10, 1_000, 200);
        check(20, 0, 0, 0);
        check(20, 0, 4, 1);
        check(0, 0, 1_000, 0);
        check(0, 3, 1_000, 3);
        check(100, 0, 500, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_free_comes_back_each_second_and_the_rest_after_ten() {
        let mut now = Instant::now();
        let budget = RetryBudget::new(&policy(20, 2), now);
        (0..100).for_each(|_| budget.count_call(now));
        let mut take_all = |seconds: u64| {
            now += Duration::from_secs(seconds);
            (0..1_000).filter(|_| budget.take(now)).count()
        };
        assert_eq!(take_all(0), 20);
        assert_eq!(take_all(1), 2);
        assert_eq!(take_all(1), 2);
        assert_eq!(take_all(10), 2, "calls and retries are both forgotten");
    }

    #[test]
    fn waits_are_drawn_from_a_range_that_doubles_up_to_its_bound() {
        let policy = Policy { backoff_ms: 100, backoff_ms_max: 350, ..Policy::default() };
        let mut backoff = Backoff::new(&policy);
        for range_ms in [100, 200, 350, 350] {
            let mut other = backoff.clone();
            assert_eq!(other.next(None, range_ms * 1_000).unwrap(), Duration::from_millis(range_ms));
            let mut other = backoff.clone();
            assert_eq!(other.next(None, range_ms * 1_000 + 1).unwrap(), Duration::ZERO);
            assert_eq!(backoff.next(None, 7).unwrap(), Duration::from_micros(7));
        }
    }

    #[test]
    fn a_retry_after_is_the_least_wait_and_one_that_is_too_long_is_not_waited_for() {
        let policy = Policy { backoff_ms: 100, backoff_ms_max: 2_000, ..Policy::default() };
        let check = |asked_ms: u64, expected_ms: Option<u64>| {
            let wait = Backoff::new(&policy).next(Some(Duration::from_millis(asked_ms)), 5_000);
            assert_eq!(wait, expected_ms.map(Duration::from_millis), "{asked_ms}");
        };
        check(0, Some(5));
        check(1_000, Some(1_005));
        check(2_000, Some(2_005));
        check(2_001, None);
    }

    #[test]
    fn a_retry_after_is_read_as_seconds_milliseconds_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        let check = |name: &'static str, value: &str, expected_ms: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected_ms.map(Duration::from_millis), "{name}: {value}");
        };
        check("retry-after", "0", Some(0));
        check("retry-after", "2", Some(2_000));
        check("retry-after", " 7 ", Some(7_000));
        check("retry-after", "999999999999", Some(3_600_000));
        check("retry-after", "99999999999999999999999", None);
        check("retry-after", "-1", None);
        check("retry-after", "1.5", None);
        check("retry-after", "soon", None);
        check("retry-after", "", None);
        check("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT", Some(30_000));
        check("retry-after", "Wed, 21 Oct 2026 07:27:00 GMT", Some(0));
        check("retry-after", "Thu, 22 Oct 2026 07:28:00 GMT", Some(3_600_000));
        check("retry-after-ms", "250", Some(250));
        check("x-retry-after", "2", None);
    }
}
