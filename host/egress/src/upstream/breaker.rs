//! A circuit breaker: who has failed too often is left alone for a while, then asked again by a few.
//!
//! Closed, all calls pass. Open, none does. Half-open, after [`BreakerPolicy::open_ms`], at most
//! [`BreakerPolicy::probes_max`] at once: the first verdict decides (M. Nygard, *Release It!*, "Circuit Breaker"). Pure:
//! time is passed in, and nothing here waits.

pub(crate) mod window;

use self::window::Window;
use super::policy::BreakerPolicy;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A rate says nothing before there were this many calls.
const RATED_CALLS_MIN: u64 = 20;

const CALLS: usize = 0;
const FAILURES: usize = 1;

/// What a breaker lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls.
    Closed,
    /// None.
    Open,
    /// A few, which find out whether it can close.
    HalfOpen,
}

impl BreakerState {
    /// `closed`, `open` or `half_open`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// The one of both that lets less pass.
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::HalfOpen, _) | (_, Self::HalfOpen) => Self::HalfOpen,
            (Self::Closed, Self::Closed) => Self::Closed,
        }
    }
}

/// What a verdict did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was counted.
    Counted,
    /// It opened the breaker.
    Opened,
    /// It closed the breaker.
    Closed,
    /// It was not counted: the breaker has opened or closed since the call began.
    Stale,
}

/// The breaker of one endpoint, or of one upstream.
#[derive(Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Counts the phases, so that a verdict on a call of an earlier one is known as such.
    phase_number: u64,
    consecutive_failures: u64,
    /// Calls that are under way to find out whether it can close.
    probes: u64,
    /// Calls and failures of the last ten seconds.
    window: Window<2>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_number += 1;
        self.consecutive_failures = 0;
        self.probes = 0;
        self.window.clear();
    }
}

impl Breaker {
    pub(crate) fn new(policy: &BreakerPolicy, now: Instant) -> Self {
        Self {
            policy: policy.clone(),
            state: Mutex::new(State {
                phase: Phase::Closed,
                phase_number: 0,
                consecutive_failures: 0,
                probes: 0,
                window: Window::new(now),
            }),
        }
    }

    /// Lets a call pass.
    ///
    /// # Errors
    /// How long it will be refused for; zero if that hangs on a probe which is under way.
    pub(crate) fn enter(&self, now: Instant) -> Result<BreakerPermit<'_>, Duration> {
        let mut state = self.lock();
        let is_probe = match state.phase {
            Phase::Closed => false,
            Phase::Open { until } if now < until => return Err(until - now),
            Phase::Open { .. } => {
                state.enter(Phase::HalfOpen);
                true
            }
            Phase::HalfOpen => true,
        };
        if is_probe {
            if state.probes >= self.policy.probes_max {
                return Err(Duration::ZERO);
            }
            state.probes += 1;
        }
        Ok(BreakerPermit { breaker: self, phase_number: state.phase_number, is_probe, is_judged: false })
    }

    /// Whether a call would pass now, and if not, for how long it will be refused; see [`Breaker::enter`].
    pub(crate) fn check(&self, now: Instant) -> Result<(), Duration> {
        let state = self.lock();
        match state.phase {
            Phase::Open { until } if now < until => Err(until - now),
            Phase::HalfOpen if state.probes >= self.policy.probes_max => Err(Duration::ZERO),
            _ => Ok(()),
        }
    }

    /// What it lets pass now.
    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match self.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// Calls that are under way to find out whether it can close.
    pub(crate) fn probes(&self) -> u64 {
        self.lock().probes
    }

    /// Counts as failed, after all, a call that had succeeded: its answer broke off later. While the breaker is not
    /// closed this changes nothing.
    pub(crate) fn fail_late(&self, now: Instant) -> Verdict {
        let mut state = self.lock();
        if state.phase != Phase::Closed {
            return Verdict::Stale;
        }
        // The call itself has been counted when it succeeded.
        self.count_failure(&mut state, now)
    }

    fn succeed(&self, phase_number: u64, now: Instant) -> Verdict {
        let mut state = self.lock();
        if state.phase_number != phase_number {
            return Verdict::Stale;
        }
        if state.phase == Phase::HalfOpen {
            state.enter(Phase::Closed);
            return Verdict::Closed;
        }
        state.consecutive_failures = 0;
        state.window.add(now, CALLS);
        Verdict::Counted
    }

    fn fail(&self, phase_number: u64, now: Instant) -> Verdict {
        let mut state = self.lock();
        if state.phase_number != phase_number {
            return Verdict::Stale;
        }
        if state.phase == Phase::HalfOpen {
            return self.open(&mut state, now);
        }
        state.window.add(now, CALLS);
        self.count_failure(&mut state, now)
    }

    fn count_failure(&self, state: &mut State, now: Instant) -> Verdict {
        state.window.add(now, FAILURES);
        state.consecutive_failures += 1;
        let calls = state.window.sum(now, CALLS);
        let failures = state.window.sum(now, FAILURES);
        let is_rated = calls >= RATED_CALLS_MIN;
        let is_high = failures * 100 >= self.policy.failures_per_100_calls * calls;
        if state.consecutive_failures >= self.policy.failures || (is_rated && is_high) {
            return self.open(state, now);
        }
        Verdict::Counted
    }

    fn open(&self, state: &mut State, now: Instant) -> Verdict {
        state.enter(Phase::Open { until: now + self.policy.open() });
        Verdict::Opened
    }

    fn give_back(&self, phase_number: u64) {
        let mut state = self.lock();
        if state.phase_number == phase_number {
            state.probes = state.probes.saturating_sub(1);
        }
    }

    /// The state is consistent after each statement, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one call. Dropped without a verdict it counts nothing, and gives the place of a probe back.
#[derive(Debug)]
#[must_use]
pub(crate) struct BreakerPermit<'a> {
    breaker: &'a Breaker,
    phase_number: u64,
    is_probe: bool,
    is_judged: bool,
}

impl BreakerPermit<'_> {
    /// Whether the call finds out if the breaker can close.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    pub(crate) fn succeed(mut self, now: Instant) -> Verdict {
        self.is_judged = true;
        self.breaker.succeed(self.phase_number, now)
    }

    pub(crate) fn fail(mut self, now: Instant) -> Verdict {
        self.is_judged = true;
        self.breaker.fail(self.phase_number, now)
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        // A verdict on a probe has changed the phase, and with it forgotten all probes.
        if self.is_probe && !self.is_judged {
            self.breaker.give_back(self.phase_number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> BreakerPolicy {
        BreakerPolicy { failures: 5, failures_per_100_calls: 50, open_ms: 30_000, probes_max: 2 }
    }

    fn breaker() -> (Breaker, Instant) {
        let now = Instant::now();
        (Breaker::new(&policy(), now), now)
    }

    fn open(breaker: &Breaker, now: Instant) {
        for _ in 0..policy().failures {
            let _ = breaker.enter(now).unwrap().fail(now);
        }
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    const OPEN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn it_opens_by_consecutive_failures_or_by_their_rate_over_ten_seconds() {
        // `f` a failure, `s` a success, `-` a dropped permit, `.` a second passes.
        let check = |calls: &str, expected: BreakerState| {
            let (breaker, mut now) = breaker();
            for call in calls.chars() {
                match call {
                    'f' => drop(breaker.enter(now).map(|permit| permit.fail(now))),
                    's' => drop(breaker.enter(now).map(|permit| permit.succeed(now))),
                    '-' => drop(breaker.enter(now)),
                    _ => now += Duration::from_secs(1),
                }
            }
            assert_eq!(breaker.state(now), expected, "{calls}");
        };
        check("", BreakerState::Closed);
        check("ffff", BreakerState::Closed);
        check("fffff", BreakerState::Open);
        check("ffffsffff", BreakerState::Closed);
        check("f...f...f...f...f", BreakerState::Open);
        check("ffff-f", BreakerState::Open);
        check("ffff--------------------", BreakerState::Closed);
        // Every second one fails: at the twentieth call the rate counts.
        check("sfsfsfsfsfsfsfsfsf", BreakerState::Closed);
        check("sfsfsfsfsfsfsfsfsfsf", BreakerState::Open);
        check("ssfssfssfssfssfssfssfssfssf", BreakerState::Closed);
        check("sfsfsfsfsfsfsfsfs..........fsfsf", BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_is_open_it_says_for_how_long() {
        let (breaker, now) = breaker();
        open(&breaker, now);
        assert_eq!(breaker.enter(now).unwrap_err(), OPEN);
        assert_eq!(breaker.check(now + OPEN / 3).unwrap_err(), OPEN * 2 / 3);
        assert_eq!(breaker.enter(now + OPEN - Duration::from_millis(1)).unwrap_err().as_millis(), 1);
        assert!(breaker.check(now + OPEN).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_a_few_pass_and_the_first_verdict_decides() {
        let (breaker, now) = breaker();
        open(&breaker, now);
        let later = now + OPEN;
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        let (one, two) = (breaker.enter(later).unwrap(), breaker.enter(later).unwrap());
        assert!(one.is_probe() && two.is_probe());
        assert_eq!(breaker.enter(later).unwrap_err(), Duration::ZERO);
        assert_eq!(breaker.check(later).unwrap_err(), Duration::ZERO);
        assert_eq!(one.succeed(later), Verdict::Closed);
        assert_eq!(breaker.state(later), BreakerState::Closed);
        assert!(!breaker.enter(later).unwrap().is_probe());
        assert_eq!(two.fail(later), Verdict::Stale, "it was asked before it closed");
        assert_eq!(breaker.probes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_for_the_whole_time_again() {
        let (breaker, now) = breaker();
        open(&breaker, now);
        let later = now + OPEN;
        let (one, two) = (breaker.enter(later).unwrap(), breaker.enter(later).unwrap());
        assert_eq!(one.fail(later), Verdict::Opened);
        assert_eq!(breaker.enter(later).unwrap_err(), OPEN);
        assert_eq!(two.succeed(later), Verdict::Stale);
        assert_eq!(breaker.state(later), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_gives_its_place_back() {
        let (breaker, now) = breaker();
        open(&breaker, now);
        let later = now + OPEN;
        for _ in 0..10 {
            let probes = (breaker.enter(later).unwrap(), breaker.enter(later).unwrap());
            assert!(breaker.enter(later).is_err());
            assert_eq!(breaker.probes(), 2);
            drop(probes);
        }
        assert_eq!(breaker.probes(), 0);
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_it_opened_neither_keep_it_open_nor_close_it() {
        let (breaker, now) = breaker();
        let (early, another) = (breaker.enter(now).unwrap(), breaker.enter(now).unwrap());
        open(&breaker, now);
        assert_eq!(early.succeed(now), Verdict::Stale);
        let later = now + OPEN;
        let probe = breaker.enter(later).unwrap();
        assert_eq!(another.fail(later), Verdict::Stale);
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert_eq!(probe.succeed(later), Verdict::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_break_off_later_open_it_too() {
        let (breaker, now) = breaker();
        let mut verdicts = Vec::new();
        for _ in 0..20 {
            assert_eq!(breaker.enter(now).unwrap().succeed(now), Verdict::Counted);
            verdicts.push(breaker.fail_late(now));
        }
        // Each success ends the row of failures, but all of twenty calls failed.
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Opened).count(), 1);
        assert_eq!(verdicts.last(), Some(&Verdict::Opened));
        assert_eq!(breaker.fail_late(now), Verdict::Stale);
    }
}
