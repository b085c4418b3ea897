//! What an open loop counts, step by step of its profile, and the report made from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::arrivals::{Arrivals, Step};
use crate::client::Failure;
use crate::measurement::{Latency, Tally, Times};
use crate::worker::Timing;

/// A request that goes out later than this after it was due is counted as late.
const LATE_MS_MIN: u64 = 1;

/// The times of one good request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) due: Instant,
    pub(crate) at: Instant,
    pub(crate) timing: Timing,
}

/// One step of the profile.
#[derive(Debug, Clone)]
pub(crate) struct StepTally {
    step: Step,
    pub(crate) tally: Tally,
    offered: u64,
    not_sent: u64,
    sent_late: u64,
}

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct OpenTally {
    pub(crate) steps: Vec<StepTally>,
    /// From sending to the answer: what a closed loop would have called latency.
    service: Times,
    /// From when a request was due until it was sent.
    lag: Times,
    /// The most connections there were.
    pub(crate) connections: u32,
}

impl StepTally {
    fn new(step: Step) -> anyhow::Result<Self> {
        Ok(Self { step, tally: Tally::new()?, offered: 0, not_sent: 0, sent_late: 0 })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.step.seconds += other.step.seconds;
        self.tally.add(&other.tally)?;
        self.offered += other.offered;
        self.not_sent += other.not_sent;
        self.sent_late += other.sent_late;
        Ok(())
    }

    fn report(&self) -> StepReport {
        StepReport {
            rate: self.step.rate,
            seconds: self.step.seconds,
            offered: self.offered,
            good: self.tally.good(),
            failed: self.tally.failures().values().sum(),
            not_sent: self.not_sent,
            latency: self.tally.answer_times(),
        }
    }
}

impl OpenTally {
    pub(crate) fn new(steps: &[Step]) -> anyhow::Result<Self> {
        let steps = steps.iter().map(|step| StepTally::new(*step)).collect::<anyhow::Result<_>>()?;
        Ok(Self { steps, service: Times::new()?, lag: Times::new()?, connections: 0 })
    }

    /// The tally of a step; warming up has none.
    fn of(&mut self, step: Option<usize>) -> Option<&mut StepTally> {
        self.steps.get_mut(step?)
    }

    pub(crate) fn offered(&mut self, step: Option<usize>) {
        if let Some(tally) = self.of(step) {
            tally.offered += 1;
        }
    }

    pub(crate) fn not_sent(&mut self, step: Option<usize>) {
        if let Some(tally) = self.of(step) {
            tally.not_sent += 1;
        }
    }

    pub(crate) fn failed(&mut self, step: Option<usize>, failure: &Failure) {
        if let Some(tally) = self.of(step) {
            tally.tally.failure(failure);
        }
    }

    pub(crate) fn good(&mut self, step: Option<usize>, Sent { due, at, timing }: Sent) {
        let Some(tally) = step.and_then(|step| self.steps.get_mut(step)) else { return };
        self.service.record(timing.done - at);
        self.lag.record(at - due);
        tally.tally.latency(timing.done - due);
        if let Some(first) = timing.first_delta {
            tally.tally.first_delta(first - due);
        }
        if at - due > Duration::from_millis(LATE_MS_MIN) {
            tally.sent_late += 1;
        }
    }

    /// Joins another round of the same profile.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.connections = self.connections.max(other.connections);
        self.service.add(&other.service)?;
        self.lag.add(&other.lag)?;
        self.steps.iter_mut().zip(&other.steps).try_for_each(|(mine, theirs)| mine.add(theirs))
    }

    /// All steps as one.
    pub(crate) fn joined(&self) -> anyhow::Result<Tally> {
        let mut all = Tally::new()?;
        self.steps.iter().try_for_each(|step| all.add(&step.tally))?;
        Ok(all)
    }

    pub(crate) fn report(&self, arrivals: Arrivals, connections_max: u32) -> OpenReport {
        let sum = |count: fn(&StepTally) -> u64| self.steps.iter().map(count).sum();
        OpenReport {
            arrivals,
            connections: self.connections,
            connections_max,
            offered: sum(|step| step.offered),
            not_sent: sum(|step| step.not_sent),
            sent_late: sum(|step| step.sent_late),
            service: self.service.latency(),
            send_lag: self.lag.latency(),
            steps: self.steps.iter().map(StepTally::report).collect(),
        }
    }
}

/// What only an open loop has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenReport {
    /// How arrivals were spread.
    pub arrivals: Arrivals,
    /// The most connections there were.
    pub connections: u32,
    /// The most there could have been.
    pub connections_max: u32,
    /// Requests that were due in the window: good ones, failed ones, and those not sent.
    pub offered: u64,
    /// Requests that found no connection before their time-out.
    pub not_sent: u64,
    /// Good ones that went out later than 1 ms after they were due.
    pub sent_late: u64,
    /// From sending to the last byte, not corrected for waiting; the report's `latency` begins when a request was due.
    pub service: Latency,
    /// From when a request was due until it was sent: the generator's own part, and the wait for a connection.
    pub send_lag: Latency,
    /// Step by step; a request belongs to the step in which it was due.
    pub steps: Vec<StepReport>,
}

/// One step of the profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepReport {
    /// Requests per second that were due.
    pub rate: f64,
    /// Length, of all rounds together.
    pub seconds: f64,
    /// Requests that were due.
    pub offered: u64,
    /// Good answers.
    pub good: u64,
    /// Failed requests.
    pub failed: u64,
    /// Requests that found no connection before their time-out.
    pub not_sent: u64,
    /// From when they were due to the last byte.
    pub latency: Latency,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_timed_from_when_it_was_due_and_counted_in_that_step() {
        let steps = [Step { rate: 1.0, seconds: 1.0 }, Step { rate: 2.0, seconds: 1.0 }];
        let mut tally = OpenTally::new(&steps).unwrap();
        let due = Instant::now();
        let at = due + Duration::from_millis(30);
        let timing = Timing { done: at + Duration::from_millis(10), first_delta: None };
        for step in [None, Some(1)] {
            tally.offered(step);
            tally.good(step, Sent { due, at, timing });
        }
        tally.offered(Some(0));
        tally.not_sent(Some(0));
        let mut other = OpenTally::new(&steps).unwrap();
        other.offered(Some(1));
        other.failed(Some(1), &Failure::Timeout);
        tally.add(&other).unwrap();
        let report = tally.report(Arrivals::Uniform, 9);
        assert_eq!((report.offered, report.not_sent, report.sent_late), (3, 1, 1));
        let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.01, "{found}");
        near(tally.joined().unwrap().answer_times().p50_us, 40_000.0);
        near(report.service.p50_us, 10_000.0);
        near(report.send_lag.max_us, 30_000.0);
        let counted: Vec<_> =
            report.steps.iter().map(|s| (s.offered, s.good, s.failed, s.not_sent)).collect();
        assert_eq!(counted, [(1, 0, 0, 1), (2, 1, 1, 0)]);
    }
}
