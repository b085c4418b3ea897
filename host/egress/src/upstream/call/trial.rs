//! One attempt under way: its place, its leave from the breaker, and its account. Whatever becomes of it, and wherever it is
//! dropped, all of that is given back and told exactly once.

use super::judge::{Failure, is_fair};
use super::upstream::Upstream;
use crate::upstream::breaker::{BreakerPermit, Verdict};
use crate::upstream::concurrency::Place;
use crate::upstream::config::Prices;
use crate::upstream::endpoints::Chosen;
use crate::upstream::report::{AttemptOutcome, AttemptReport, CallObserver, FailureKind};
use crate::upstream::snapshot::Counters;
use crate::upstream::spent::PromptsSpent;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// What may be used for an attempt: a place, and leave to ask an endpoint.
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) chosen: Chosen<'a>,
}

/// What an attempt says of itself.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) observer: Option<&'a dyn CallObserver>,
    pub(super) model: &'a Arc<str>,
    pub(super) number: u32,
    pub(super) is_hedge: bool,
    pub(super) is_streamed: bool,
    pub(super) request_bytes: u64,
    pub(super) prompt_tokens: u64,
    pub(super) prices: &'a Prices,
    pub(super) spent: Option<&'a PromptsSpent>,
}

/// An attempt under way.
pub(super) struct Trial<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) endpoint: usize,
    place: Option<Place>,
    permit: Option<BreakerPermit<'a>>,
    started: Instant,
    told: Told<'a>,
    /// Set by the first of several attempts that is answered.
    race: Option<&'a AtomicBool>,
    is_over: bool,
    /// Whether the upstream has the request; the carrier says so.
    pub(super) is_sent: AtomicBool,
    /// Whether it has begun to answer.
    is_accepted: bool,
}

impl<'a> Trial<'a> {
    pub(super) fn new(upstream: &'a Arc<Upstream>, entry: Entry<'a>, told: Told<'a>) -> Self {
        Counters::add(&upstream.counters.attempts);
        Self {
            upstream,
            endpoint: entry.chosen.index,
            place: Some(entry.place),
            permit: Some(entry.chosen.permit),
            started: Instant::now(),
            told,
            race: None,
            is_over: false,
            is_sent: AtomicBool::new(false),
            is_accepted: false,
        }
    }

    /// Says that it runs against another attempt of the same call.
    pub(super) fn race(&mut self, race: &'a AtomicBool) {
        self.race = Some(race);
    }

    /// The upstream has taken the request, by the head of its response.
    pub(super) fn accepted(&mut self) {
        self.is_accepted = true;
    }

    /// Its answer has begun. Its place is the answer's from now on.
    pub(super) fn answered(mut self) -> Option<Place> {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.started);
        let is_streamed = self.told.is_streamed;
        self.upstream.latency(is_streamed).record(now, took);
        // How long a whole answer takes says more about its length than about the load.
        self.upstream.limit.see_answer(now, is_streamed.then_some(took));
        self.upstream.forget_refusal();
        self.works(now);
        self.over(AttemptOutcome::Answered, now);
        self.place.take()
    }

    /// The upstream complained about the request, which is passed on. Its place is that answer's from now on.
    pub(super) fn complained(mut self, status: StatusCode) -> Option<Place> {
        let now = Instant::now();
        self.upstream.limit.see_answer(now, None);
        self.works(now);
        self.over(AttemptOutcome::Complained(status), now);
        self.place.take()
    }

    /// The upstream does not take the call.
    pub(super) fn refused(mut self, status: StatusCode) {
        let now = Instant::now();
        self.upstream.tell_refusal(status, self.told.model);
        self.upstream.limit.see_answer(now, None);
        self.works(now);
        self.over(AttemptOutcome::Failed(FailureKind::Refused), now);
    }

    /// It failed. `is_overload`: the upstream said that it has too much to do.
    pub(super) fn failed(mut self, failure: &Failure, is_overload: bool) {
        let now = Instant::now();
        if failure.is_fair {
            self.fail(failure.kind, failure.is_of_upstream(), is_overload, now);
        } else {
            self.over(AttemptOutcome::GivenUp, now);
        }
    }

    /// The call's deadline ended it. `allowed` is the time it would have had by the upstream's own policy.
    pub(super) fn late(mut self, allowed: Duration) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.started);
        if is_fair(took, allowed) {
            self.fail(FailureKind::Timeout, true, false, now);
        } else {
            self.over(AttemptOutcome::GivenUp, now);
        }
    }

    fn works(&mut self, now: Instant) {
        if let Some(permit) = self.permit.take() {
            self.upstream.tell(permit.succeed(now), Some(self.endpoint));
        }
        if let Some(race) = self.race {
            race.store(true, Relaxed);
        }
    }

    fn fail(&mut self, kind: FailureKind, is_of_upstream: bool, is_overload: bool, now: Instant) {
        let is_probe = self.permit.as_ref().is_some_and(BreakerPermit::is_probe);
        let mut is_stale = false;
        if is_of_upstream && let Some(permit) = self.permit.take() {
            let verdict = permit.fail(now);
            is_stale = verdict == Verdict::Stale;
            self.upstream.tell(verdict, Some(self.endpoint));
        }
        // A probe, and what an upstream in trouble had still been asked, say nothing about how much it can take when it works.
        if !is_probe && !is_stale {
            if is_overload || kind == FailureKind::Timeout {
                self.upstream.limit.see_drop(now);
            } else {
                self.upstream.limit.see_answer(now, None);
            }
        }
        self.over(AttemptOutcome::Failed(kind), now);
    }

    /// Tells how it ended.
    fn over(&mut self, outcome: AttemptOutcome, now: Instant) {
        self.is_over = true;
        let counters = &self.upstream.counters;
        match outcome {
            AttemptOutcome::Answered | AttemptOutcome::Complained(_) => Counters::add(&counters.answers),
            AttemptOutcome::Outrun | AttemptOutcome::GivenUp => Counters::add(&counters.given_up),
            AttemptOutcome::Failed(kind) => counters.add_failure(kind),
        }
        let is_prompt_spent = self.is_prompt_spent(outcome);
        if let Some(spent) = self.told.spent.filter(|_| is_prompt_spent) {
            spent.add(self.told.prompt_tokens, self.told.prices);
        }
        let took = now.saturating_duration_since(self.started);
        tracing::debug!(
            upstream = self.upstream.name.as_str(),
            endpoint = self.endpoint,
            model = &**self.told.model,
            number = self.told.number,
            is_hedge = self.told.is_hedge,
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            ?outcome,
            "attempt over"
        );
        let Some(observer) = self.told.observer else { return };
        observer.attempt(&AttemptReport {
            model: self.told.model,
            upstream: &self.upstream.name,
            endpoint: self.endpoint,
            number: self.told.number,
            is_hedge: self.told.is_hedge,
            outcome,
            took,
            request_bytes: self.told.request_bytes,
            is_prompt_spent,
        });
    }

    /// Whether the upstream has read the prompt for nothing.
    fn is_prompt_spent(&self, outcome: AttemptOutcome) -> bool {
        match outcome {
            // An answer has a usage of its own.
            AttemptOutcome::Answered | AttemptOutcome::Complained(_) => false,
            // It was left at work.
            AttemptOutcome::Failed(FailureKind::Timeout)
            | AttemptOutcome::Outrun
            | AttemptOutcome::GivenUp => self.is_sent.load(Relaxed),
            AttemptOutcome::Failed(_) => self.is_accepted,
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let is_outrun = self.race.is_some_and(|race| race.load(Relaxed));
            let outcome = if is_outrun { AttemptOutcome::Outrun } else { AttemptOutcome::GivenUp };
            self.over(outcome, Instant::now());
        }
    }
}
