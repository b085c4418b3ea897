//! One upstream while the host runs: what is known of it, and what an attempt does to that.

use crate::client::Egress;
use crate::credentials::Credentials;
use crate::transport::TransportProfile;
use crate::upstream::breaker::{Breaker, Verdict};
use crate::upstream::concurrency::ConcurrencyLimit;
use crate::upstream::config::{BaseUrl, ConfigMistake, UpstreamConfig, UpstreamName};
use crate::upstream::endpoints::Endpoints;
use crate::upstream::latency::Latency;
use crate::upstream::policy::Policy;
use crate::upstream::retry::RetryBudget;
use crate::upstream::snapshot::{Counters, UpstreamSnapshot};
use http::HeaderValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::time::Instant;

/// An upstream and its state. Calls share it.
pub(crate) struct Upstream {
    pub(super) name: UpstreamName,
    /// The name, for the response's header.
    pub(super) name_value: HeaderValue,
    pub(super) policy: Policy,
    pub(super) urls: Box<[BaseUrl]>,
    pub(super) endpoints: Endpoints,
    /// The breaker of the upstream as a whole. One of a single endpoint is that endpoint's.
    pub(super) breaker: Option<Breaker>,
    pub(super) limit: Arc<ConcurrencyLimit>,
    pub(super) budget: RetryBudget,
    latency_streamed: Latency,
    latency_whole: Latency,
    pub(super) counters: Counters,
    /// The host's key.
    pub(super) credentials: Option<Arc<Credentials>>,
    /// Whether the key is the tenant's, without which it cannot be called.
    pub(super) wants_tenant_key: bool,
    pub(super) transport: Option<Arc<TransportProfile>>,
    /// Whether it has been told that it does not take calls, since it last took one.
    is_refusal_told: AtomicBool,
}

impl Upstream {
    pub(super) fn new(
        name: &UpstreamName,
        config: &UpstreamConfig,
        credentials: Option<Arc<Credentials>>,
        transport: Option<Arc<TransportProfile>>,
        now: Instant,
    ) -> Self {
        let policy = config.policy.clone();
        let weights = config.endpoints.iter().map(|endpoint| endpoint.weight);
        Self {
            name_value: HeaderValue::from_str(name.as_str()).unwrap_or(HeaderValue::from_static("")),
            name: name.clone(),
            urls: config.endpoints.iter().map(|endpoint| endpoint.url.clone()).collect(),
            endpoints: Endpoints::new(weights, &policy.breaker, now),
            breaker: (config.endpoints.len() > 1).then(|| Breaker::new(&policy.breaker, now)),
            limit: ConcurrencyLimit::new(&policy.concurrency, now),
            budget: RetryBudget::new(&policy, now),
            latency_streamed: Latency::new(now),
            latency_whole: Latency::new(now),
            counters: Counters::default(),
            credentials,
            wants_tenant_key: config.tenant_secret().is_some(),
            transport,
            is_refusal_told: AtomicBool::new(false),
            policy,
        }
    }

    /// How the connections of `config` are made.
    pub(super) fn transport(
        name: &UpstreamName,
        config: &UpstreamConfig,
        egress: &Egress,
    ) -> Result<Option<Arc<TransportProfile>>, ConfigMistake> {
        config.transport(egress).map_err(|error| ConfigMistake::new(&["upstream", name.as_str()], error))
    }

    /// How long first bytes take, of streamed answers or of others.
    pub(super) fn latency(&self, is_streamed: bool) -> &Latency {
        if is_streamed { &self.latency_streamed } else { &self.latency_whole }
    }

    /// An answer broke off after it had begun.
    pub(super) fn fail_late(&self, endpoint: usize) {
        if let Some(breaker) = self.endpoints.breaker(endpoint) {
            self.tell(breaker.fail_late(Instant::now()), Some(endpoint));
        }
    }

    /// Says that a breaker has opened or closed: that of `endpoint`, or of the whole upstream.
    pub(super) fn tell(&self, verdict: Verdict, endpoint: Option<usize>) {
        let upstream = self.name.as_str();
        let url = endpoint.and_then(|index| self.urls.get(index)).map(tracing::field::display);
        let open_ms = self.policy.breaker.open_ms;
        match verdict {
            Verdict::Opened => {
                tracing::warn!(
                    upstream,
                    endpoint = url,
                    open_ms,
                    "breaker opened: it has failed too often and is left alone"
                );
            }
            Verdict::Closed => tracing::info!(upstream, endpoint = url, "breaker closed: it works again"),
            Verdict::Counted | Verdict::Stale => {}
        }
    }

    /// Says, once until it takes a call again, that it does not take calls.
    pub(super) fn tell_refusal(&self, status: http::StatusCode, model: &str) {
        if !self.is_refusal_told.swap(true, Relaxed) {
            tracing::error!(
                upstream = self.name.as_str(),
                model,
                status = status.as_u16(),
                "the upstream refuses calls: see whether its credential, its URL and the model's name there are right"
            );
        }
    }

    /// It has taken a call.
    pub(super) fn forget_refusal(&self) {
        if self.is_refusal_told.load(Relaxed) {
            self.is_refusal_told.store(false, Relaxed);
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> UpstreamSnapshot {
        let counters = &self.counters;
        let whole = self.breaker.as_ref().map(|breaker| breaker.state(now));
        let of_endpoints = self.endpoints.state(now);
        UpstreamSnapshot {
            name: self.name.clone(),
            calls: counters.calls.load(Relaxed),
            attempts: counters.attempts.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            hedges: counters.hedges.load(Relaxed),
            answers: counters.answers.load(Relaxed),
            cut: counters.cut.load(Relaxed),
            given_up: counters.given_up.load(Relaxed),
            failures: counters.failures(),
            refused_open: counters.open.load(Relaxed),
            refused_busy: counters.busy.load(Relaxed),
            retries_refused: counters.budget_spent.load(Relaxed),
            breaker: whole.map_or(of_endpoints, |whole| whole.stricter(of_endpoints)),
            endpoints: self.endpoints.states(now),
            probes: self.endpoints.probes() + self.breaker.as_ref().map_or(0, Breaker::probes),
            limit: self.limit.limit(),
            in_flight: self.limit.in_flight(),
            waiting: self.limit.waiting(),
            first_bytes_streamed: self.latency_streamed.quantiles(now),
            first_bytes_whole: self.latency_whole.quantiles(now),
        }
    }
}
