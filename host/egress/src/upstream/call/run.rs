//! A call over all its candidates: attempts at one upstream, waits between them, then the next upstream.

use super::CallOptions;
use super::answer::{Failures, Reason};
use super::attempt::{Begun, NoAnswer, Shot};
use super::carrier::Carrier;
use super::judge::{Failure, Patience};
use super::record::Record;
use super::trial::{Entry, Told, Trial};
use super::upstream::Upstream;
use crate::credentials::Credentials;
use crate::error::EgressError;
use crate::upstream::breaker::BreakerPermit;
use crate::upstream::endpoints::EndpointSet;
use crate::upstream::model_body::ModelCall;
use crate::upstream::retry::Backoff;
use crate::upstream::route::Candidate;
use crate::upstream::snapshot::Counters;
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most attempts of one call over all its candidates, hedges included.
const ATTEMPTS_PER_CALL_MAX: u32 = 32;
/// A hedge needs to know how long first bytes usually take: this many of them at least.
const HEDGE_TIMES_MIN: u64 = 20;

/// A call, as it is for all its attempts.
pub(super) struct Run<'a, C> {
    pub(super) carrier: &'a C,
    pub(super) upstreams: &'a [Arc<Upstream>],
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    /// What follows the base of an endpoint's URL.
    pub(super) path: &'a str,
    pub(super) call: &'a ModelCall<'a>,
    pub(super) options: &'a CallOptions<'a>,
}

/// An answer, and where it comes from.
pub(super) struct Won<'a, B> {
    pub(super) begun: Begun<B>,
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) candidate: &'a Candidate,
    pub(super) deadline: Instant,
    /// Whether an answer that pauses for too long is the upstream's failure.
    pub(super) is_pause_fair: bool,
}

impl<'a, C: Carrier> Run<'a, C> {
    /// Asks one candidate after the other.
    ///
    /// # Errors
    /// What is wrong with the request, for whoever sent it.
    pub(super) async fn run(
        &self,
        candidates: &'a [Candidate],
        record: &mut Record,
        failures: &mut Failures,
    ) -> Result<Option<Won<'a, C::Body>>, EgressError> {
        for candidate in candidates {
            if self.options.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                failures.add(Reason::Timeout, None);
                break;
            }
            if record.report.attempts >= ATTEMPTS_PER_CALL_MAX {
                break;
            }
            let Some(upstream) = self.upstreams.get(candidate.upstream) else { continue };
            Counters::add(&upstream.counters.calls);
            let Some(shot) = self.shot(upstream, candidate, record) else {
                failures.add(Reason::Unavailable, None);
                continue;
            };
            let mut tries = Tries { record, failures, tried: EndpointSet::default(), count: 0 };
            if let Some(begun) = self.try_upstream(&shot, candidate, &mut tries).await? {
                let (deadline, is_pause_fair) = (shot.deadline, shot.between_bytes.is_fair);
                return Ok(Some(Won { begun, upstream, candidate, deadline, is_pause_fair }));
            }
        }
        Ok(None)
    }

    /// What goes out to one upstream; `None` where the key is missing that it wants.
    fn shot(&self, upstream: &'a Arc<Upstream>, candidate: &Candidate, record: &Record) -> Option<Shot<'a>> {
        let total = record.started + Duration::from_millis(upstream.policy.total_timeout_ms);
        Some(Shot {
            upstream,
            path: self.path,
            method: self.method,
            headers: self.headers,
            body: self.call.with_model(&candidate.model),
            is_streamed: self.call.stream,
            credentials: self.credentials(upstream, candidate.upstream)?,
            own: self.options.own.cloned(),
            deadline: self.options.deadline.map_or(total, |deadline| deadline.min(total)),
            connect: Patience::new(self.options.connect_timeout, upstream.policy.connect_timeout_ms),
            between_bytes: Patience::new(
                self.options.between_bytes_timeout,
                upstream.policy.between_bytes_timeout_ms,
            ),
        })
    }

    fn credentials(&self, upstream: &Upstream, index: usize) -> Option<Option<Arc<Credentials>>> {
        if !upstream.wants_tenant_key {
            return Some(upstream.credentials.clone());
        }
        let own = self.options.credentials.and_then(|credentials| credentials.get(index));
        if own.is_none() {
            tracing::debug!(
                upstream = upstream.name.as_str(),
                tenant = self.options.tenant,
                "the upstream is not called: the tenant has no secret of the name that its credential wants"
            );
        }
        own.map(|own| Some(Arc::clone(own)))
    }

    /// Asks one upstream as often as is allowed.
    async fn try_upstream(
        &self,
        shot: &Shot<'_>,
        candidate: &Candidate,
        tries: &mut Tries<'_>,
    ) -> Result<Option<Begun<C::Body>>, EgressError> {
        let upstream = shot.upstream;
        let permit = match upstream.breaker.as_ref().map(|breaker| breaker.enter(Instant::now())).transpose()
        {
            Ok(permit) => permit,
            Err(open_for) => {
                Counters::add(&upstream.counters.open);
                tries.failures.add(Reason::Open, Some(open_for));
                return Ok(None);
            }
        };
        let mut backoff = Backoff::new(&upstream.policy);
        let mut last = None;
        while let Some(entry) = tries.enter(shot).await {
            match self.attempt(shot, candidate, entry, tries).await {
                Ok(begun) => {
                    judge(upstream, permit, true);
                    return Ok(Some(begun));
                }
                Err(NoAnswer::Error(error)) => return Err(error),
                Err(NoAnswer::Refused(status)) => {
                    tries.failures.add_refusal(status);
                    judge(upstream, permit, true);
                    return Ok(None);
                }
                Err(NoAnswer::Late) => {
                    tries.failures.add(Reason::Timeout, None);
                    break;
                }
                Err(NoAnswer::Failed(failure)) => {
                    tries.failures.add(failure.kind.into(), failure.retry_after);
                    last = Some(failure);
                    let Some(wait) = tries.wait(shot, &failure, &mut backoff) else { break };
                    tokio::time::sleep(wait).await;
                }
            }
        }
        // One endpoint that fails is that endpoint's matter; two of them are the upstream's.
        if tries.tried.len() > 1 && last.is_some_and(|failure| failure.is_of_upstream()) {
            judge(upstream, permit, false);
        }
        Ok(None)
    }

    /// One attempt, and beside it a hedge where that is wanted and the first takes long.
    async fn attempt(
        &self,
        shot: &Shot<'_>,
        candidate: &Candidate,
        entry: Entry<'_>,
        tries: &mut Tries<'_>,
    ) -> Result<Begun<C::Body>, NoAnswer> {
        tries.tried.insert(entry.chosen.index);
        let told = Told {
            observer: self.options.observer.as_deref(),
            model: &candidate.configured,
            number: tries.next_number(),
            is_hedge: false,
            is_streamed: shot.is_streamed,
            request_bytes: shot.body.len() as u64,
            prompt_tokens: self.call.prompt_tokens(),
            prices: &candidate.prices,
            spent: self.options.spent,
        };
        let trial = Trial::new(shot.upstream, entry, told);
        match hedge_delay(shot) {
            None => shot.attempt(self.carrier, trial).await,
            Some(delay) => {
                let hedge = || {
                    let entry = tries.enter_beside(shot)?;
                    Some((entry, Told { number: tries.next_number(), is_hedge: true, ..told }))
                };
                // Boxed, as few upstreams want hedges and their state would be in every call.
                Box::pin(shot.attempt_hedged(self.carrier, trial, delay, hedge)).await
            }
        }
    }
}

/// When a second attempt is made beside the first; `None` where none is.
fn hedge_delay(shot: &Shot<'_>) -> Option<Duration> {
    if !shot.upstream.policy.hedge {
        return None;
    }
    let now = Instant::now();
    let delay = shot.upstream.latency(shot.is_streamed).p95(now, HEDGE_TIMES_MIN)?;
    (now + delay < shot.deadline).then_some(delay)
}

/// Tells the breaker of an upstream with several endpoints how a call went.
fn judge(upstream: &Upstream, permit: Option<BreakerPermit<'_>>, works: bool) {
    if let Some(permit) = permit {
        let now = Instant::now();
        upstream.tell(if works { permit.succeed(now) } else { permit.fail(now) }, None);
    }
}

/// What a call has tried at one upstream.
struct Tries<'a> {
    record: &'a mut Record,
    failures: &'a mut Failures,
    tried: EndpointSet,
    /// Attempts at this upstream, hedges not counted.
    count: u64,
}

impl Tries<'_> {
    fn next_number(&mut self) -> u32 {
        self.record.report.attempts += 1;
        self.record.report.attempts
    }

    /// A place at the upstream and leave to ask one of its endpoints, after a wait if there are many calls. `None` if there is
    /// none; that is a reason of its own only if nothing was tried here.
    async fn enter<'s>(&mut self, shot: &Shot<'s>) -> Option<Entry<'s>> {
        let upstream = shot.upstream;
        let now = Instant::now();
        if let Some(open_for) = upstream.endpoints.is_open(now) {
            return self.refuse(upstream, Reason::Open, Some(open_for));
        }
        let Ok(place) = upstream.limit.enter(shot.deadline).await else {
            return self.refuse(upstream, Reason::Busy, None);
        };
        let now = Instant::now();
        let chosen = match upstream.endpoints.choose(now, self.tried) {
            Ok(chosen) => chosen,
            Err(open_for) => return self.refuse(upstream, Reason::Open, Some(open_for)),
        };
        if self.count == 0 {
            upstream.budget.count_call(now);
        } else if upstream.budget.take(now) {
            Counters::add(&upstream.counters.retries);
        } else {
            Counters::add(&upstream.counters.budget_spent);
            return None;
        }
        self.count += 1;
        Some(Entry { place, chosen })
    }

    fn refuse<T>(&mut self, upstream: &Upstream, reason: Reason, retry_in: Option<Duration>) -> Option<T> {
        if self.count == 0 {
            let counters = &upstream.counters;
            Counters::add(if reason == Reason::Busy { &counters.busy } else { &counters.open });
            self.failures.add(reason, retry_in);
        }
        None
    }

    /// A place and leave for a hedge, without any wait.
    fn enter_beside<'s>(&mut self, shot: &Shot<'s>) -> Option<Entry<'s>> {
        let upstream = shot.upstream;
        if self.record.report.attempts >= ATTEMPTS_PER_CALL_MAX {
            return None;
        }
        let now = Instant::now();
        let place = upstream.limit.try_enter()?;
        let chosen = upstream.endpoints.choose(now, self.tried).ok()?;
        if !upstream.budget.take(now) {
            Counters::add(&upstream.counters.budget_spent);
            return None;
        }
        self.tried.insert(chosen.index);
        self.record.report.hedges += 1;
        Counters::add(&upstream.counters.hedges);
        Some(Entry { place, chosen })
    }

    /// How long to wait before the next attempt at the same upstream; `None` if there is none.
    fn wait(&self, shot: &Shot<'_>, failure: &Failure, backoff: &mut Backoff) -> Option<Duration> {
        let upstream = shot.upstream;
        let is_last = self.count >= upstream.policy.attempts_max
            || self.record.report.attempts >= ATTEMPTS_PER_CALL_MAX;
        if is_last || !failure.may_retry {
            return None;
        }
        let wait = backoff.next(failure.retry_after, rand::random())?;
        let now = Instant::now();
        let is_open_then = upstream.endpoints.is_open(now).is_some_and(|open_for| open_for > wait);
        if is_open_then || now + wait >= shot.deadline {
            return None;
        }
        if !upstream.budget.allows(now) {
            Counters::add(&upstream.counters.budget_spent);
            return None;
        }
        Some(wait)
    }
}
