//! Which endpoint of an upstream is asked next: by weight, without those that have failed too often, and on a retry one
//! that has not been tried yet. Pure: time is passed in.

use super::breaker::{Breaker, BreakerPermit, BreakerState};
use super::policy::BreakerPolicy;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The endpoints of one upstream, by their index in the configuration.
#[derive(Debug)]
pub(crate) struct Endpoints {
    breakers: Box<[Breaker]>,
    weights: Box<[u64]>,
    /// Of each, how much it lags behind its share.
    lags: Mutex<Box<[i64]>>,
}

/// A set of endpoints. Holds the first 64, which are more than can be configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EndpointSet(u64);

impl EndpointSet {
    pub(crate) fn insert(&mut self, index: usize) {
        self.0 |= Self::bit(index);
    }

    pub(crate) fn contains(self, index: usize) -> bool {
        self.0 & Self::bit(index) != 0
    }

    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    fn bit(index: usize) -> u64 {
        u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
    }
}

/// An endpoint to ask, and leave to ask it.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) index: usize,
    pub(crate) permit: BreakerPermit<'a>,
}

impl Endpoints {
    pub(crate) fn new(weights: impl IntoIterator<Item = u64>, policy: &BreakerPolicy, now: Instant) -> Self {
        let weights: Box<[u64]> = weights.into_iter().collect();
        Self {
            breakers: weights.iter().map(|_| Breaker::new(policy, now)).collect(),
            lags: Mutex::new(weights.iter().map(|_| 0).collect()),
            weights,
        }
    }

    /// Chooses an endpoint whose breaker lets a call pass, one outside of `tried` if there is any.
    ///
    /// # Errors
    /// How long all of them will refuse; zero where that is not known.
    pub(crate) fn choose(&self, now: Instant, tried: EndpointSet) -> Result<Chosen<'_>, Duration> {
        if let [breaker] = &*self.breakers {
            return breaker.enter(now).map(|permit| Chosen { index: 0, permit });
        }
        // Between looking and entering another call may take the last place of a probe; then the next one is looked at.
        let mut refused = EndpointSet::default();
        loop {
            let is_fit =
                |index: usize, breaker: &Breaker| !refused.contains(index) && breaker.check(now).is_ok();
            let fit = self.set(is_fit);
            let untried = EndpointSet(fit.0 & !tried.0);
            let eligible = if untried.len() > 0 { untried } else { fit };
            let Some((index, breaker)) = self.next(eligible) else { return Err(self.refused_for(now)) };
            match breaker.enter(now) {
                Ok(permit) => return Ok(Chosen { index, permit }),
                Err(_) => refused.insert(index),
            }
        }
    }

    /// For how long no endpoint lets a call pass; `None` if one does now. See [`Breaker::check`].
    pub(crate) fn is_open(&self, now: Instant) -> Option<Duration> {
        let is_fit = self.breakers.iter().any(|breaker| breaker.check(now).is_ok());
        (!is_fit).then(|| self.refused_for(now))
    }

    /// Open if all endpoints are, half-open if none is closed.
    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        let mut state = BreakerState::Open;
        for breaker in &self.breakers {
            match breaker.state(now) {
                BreakerState::Closed => return BreakerState::Closed,
                BreakerState::HalfOpen => state = BreakerState::HalfOpen,
                BreakerState::Open => {}
            }
        }
        state
    }

    /// What each breaker lets pass.
    pub(crate) fn states(&self, now: Instant) -> Vec<BreakerState> {
        self.breakers.iter().map(|breaker| breaker.state(now)).collect()
    }

    /// The breaker of one endpoint.
    pub(crate) fn breaker(&self, index: usize) -> Option<&Breaker> {
        self.breakers.get(index)
    }

    /// Calls that are under way to find out whether breakers can close.
    pub(crate) fn probes(&self) -> u64 {
        self.breakers.iter().map(Breaker::probes).sum()
    }

    fn refused_for(&self, now: Instant) -> Duration {
        self.breakers.iter().filter_map(|breaker| breaker.check(now).err()).min().unwrap_or_default()
    }

    fn set(&self, condition: impl Fn(usize, &Breaker) -> bool) -> EndpointSet {
        let mut set = EndpointSet::default();
        for (index, breaker) in self.breakers.iter().enumerate() {
            if condition(index, breaker) {
                set.insert(index);
            }
        }
        set
    }

    /// The next of `eligible` by weight, spread evenly: the smooth weighted round robin of nginx.
    fn next(&self, eligible: EndpointSet) -> Option<(usize, &Breaker)> {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut next: Option<(usize, i64)> = None;
        for (index, (lag, weight)) in lags.iter_mut().zip(&self.weights).enumerate() {
            if !eligible.contains(index) {
                continue;
            }
            let weight = i64::try_from(*weight).unwrap_or(i64::MAX);
            *lag = lag.saturating_add(weight);
            total += weight;
            if next.is_none_or(|(_, most)| *lag > most) {
                next = Some((index, *lag));
            }
        }
        let (index, _) = next?;
        if let Some(lag) = lags.get_mut(index) {
            *lag = lag.saturating_sub(total);
        }
        self.breakers.get(index).map(|breaker| (index, breaker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> BreakerPolicy {
        BreakerPolicy { failures: 2, open_ms: 1_000, ..BreakerPolicy::default() }
    }

    fn endpoints(weights: &[u64]) -> (Endpoints, Instant) {
        let now = Instant::now();
        (Endpoints::new(weights.iter().copied(), &policy(), now), now)
    }

    fn set(indexes: &[usize]) -> EndpointSet {
        let mut set = EndpointSet::default();
        indexes.iter().for_each(|index| set.insert(*index));
        set
    }

    /// Which endpoints `count` calls are given, as digits.
    fn given(endpoints: &Endpoints, now: Instant, tried: &[usize], count: usize) -> String {
        let choose = |_| match endpoints.choose(now, set(tried)) {
            Ok(chosen) => chosen.index.to_string(),
            Err(_) => "-".to_owned(),
        };
        (0..count).map(choose).collect()
    }

    fn eject(endpoints: &Endpoints, now: Instant, index: usize) {
        let breaker = endpoints.breaker(index).unwrap();
        for _ in 0..policy().failures {
            let _ = breaker.enter(now).unwrap().fail(now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_are_chosen_by_weight_without_bursts() {
        let check = |weights: &[u64], expected: &str| {
            let (endpoints, now) = endpoints(weights);
            assert_eq!(given(&endpoints, now, &[], expected.len()), expected, "{weights:?}");
        };
        check(&[1], "000");
        check(&[1, 1], "010101");
        check(&[3, 1], "00100010");
        check(&[5, 1, 1], "0010200");
        check(&[1000, 1], "0000000000");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_not_tried_is_preferred() {
        let check = |tried: &[usize], allowed: &str| {
            let (endpoints, now) = endpoints(&[1, 1, 1]);
            let given = given(&endpoints, now, tried, 12);
            assert!(given.chars().all(|index| allowed.contains(index)), "{tried:?}: {given}");
        };
        check(&[0], "12");
        check(&[0, 2], "1");
        check(&[0, 1, 2], "012");
    }

    #[tokio::test(start_paused = true)]
    async fn who_failed_too_often_is_left_out_until_it_is_asked_again() {
        let (endpoints, now) = endpoints(&[1, 1]);
        eject(&endpoints, now, 0);
        assert_eq!(given(&endpoints, now, &[], 4), "1111");
        assert_eq!(given(&endpoints, now, &[1], 2), "11", "better the same again than none");
        assert_eq!(endpoints.state(now), BreakerState::Closed);
        let later = now + Duration::from_secs(1);
        let probe = endpoints.choose(later, set(&[1])).unwrap();
        assert_eq!((probe.index, probe.permit.is_probe(), endpoints.probes()), (0, true, 1));
        assert_eq!(given(&endpoints, later, &[], 3), "111", "one probe at a time");
        let _ = probe.permit.succeed(later);
        assert!(given(&endpoints, later, &[], 4).contains('0'));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_out_the_upstream_is_open_until_the_first_may_be_asked() {
        let (endpoints, now) = endpoints(&[1, 1]);
        eject(&endpoints, now, 0);
        let half = now + Duration::from_millis(500);
        assert_eq!(endpoints.is_open(half), None);
        eject(&endpoints, half, 1);
        assert_eq!(endpoints.is_open(half), Some(Duration::from_millis(500)));
        assert_eq!(endpoints.choose(half, set(&[])).unwrap_err(), Duration::from_millis(500));
        assert_eq!(endpoints.state(half), BreakerState::Open);
        let later = now + Duration::from_secs(1);
        assert_eq!((endpoints.is_open(later), endpoints.state(later)), (None, BreakerState::HalfOpen));
    }
}
