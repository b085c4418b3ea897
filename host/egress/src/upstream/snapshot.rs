//! The state of upstreams, for metrics and for people.

use super::breaker::BreakerState;
use super::config::UpstreamName;
use super::latency::Quantiles;
use super::report::FailureKind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What has happened at one upstream since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) attempts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) hedges: AtomicU64,
    pub(crate) answers: AtomicU64,
    pub(crate) cut: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) budget_spent: AtomicU64,
    failures: [AtomicU64; FailureKind::ALL.len()],
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_failure(&self, kind: FailureKind) {
        if let Some(counter) = self.failures.get(kind as usize) {
            Self::add(counter);
        }
    }

    pub(crate) fn failures(&self) -> [(FailureKind, u64); FailureKind::ALL.len()] {
        FailureKind::ALL
            .map(|kind| (kind, self.failures.get(kind as usize).map_or(0, |counter| counter.load(Relaxed))))
    }
}

/// One upstream as it is now. Counts are since the start.
#[derive(Debug, Clone)]
pub struct UpstreamSnapshot {
    /// Its name.
    pub name: UpstreamName,
    /// Calls that came to it, as first choice or by failover, refused ones included.
    pub calls: u64,
    /// Attempts that were made, retries and hedges included.
    pub attempts: u64,
    /// Attempts that were retries.
    pub retries: u64,
    /// Attempts that were hedges.
    pub hedges: u64,
    /// Attempts whose answer began, complaints about the request included.
    pub answers: u64,
    /// Answers that broke off, stalled or grew too large after they had begun.
    pub cut: u64,
    /// Attempts that were ended by their caller or by a faster one.
    pub given_up: u64,
    /// Failed attempts, by kind.
    pub failures: [(FailureKind, u64); FailureKind::ALL.len()],
    /// Calls that were not let through because the breaker was open.
    pub refused_open: u64,
    /// Calls that found no place in time.
    pub refused_busy: u64,
    /// Retries and hedges that were not made because there had been too many.
    pub retries_refused: u64,
    /// What is let through: the state of the upstream as a whole.
    pub breaker: BreakerState,
    /// The state of each endpoint's breaker, in the order of the configuration.
    pub endpoints: Vec<BreakerState>,
    /// Calls under way that find out whether a breaker can close.
    pub probes: u64,
    /// How many calls there may be at once.
    pub limit: u64,
    /// How many calls there are.
    pub in_flight: u64,
    /// How many calls wait for a place.
    pub waiting: u64,
    /// How long the first bytes of streamed answers take; `None` while none is known.
    pub first_bytes_streamed: Option<Quantiles>,
    /// How long answers take that are not streamed; `None` while none is known.
    pub first_bytes_whole: Option<Quantiles>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_a_counter_of_its_own() {
        let counters = Counters::default();
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counters.add_failure(kind));
        }
        for (index, (kind, count)) in counters.failures().into_iter().enumerate() {
            assert_eq!((kind, count), (FailureKind::ALL[index], index as u64 + 1));
        }
    }
}
