//! The numbers of an upstream: time-outs, attempts, breaker, concurrency, hedges. Each has a default that suits a chat
//! service.

use crate::config::between;
use serde::Deserialize;
use std::time::Duration;

/// The longest of all times here, in milliseconds: one hour.
pub(crate) const POLICY_MS_MAX: u64 = 3_600_000;

/// How calls to one upstream are made. Times are in milliseconds; a value out of its bounds is refused where it stands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How long one attempt waits for a connection: lookup, TCP and TLS together. 1 to 3,600,000; 1,000 by default.
    #[serde(deserialize_with = "between::<_, 1, POLICY_MS_MAX>")]
    pub connect_timeout_ms: u64,
    /// How long one attempt at a streamed answer waits for its head, and then once more for the first piece of its body.
    /// 1 to 3,600,000; 1,500 by default.
    #[serde(deserialize_with = "between::<_, 1, POLICY_MS_MAX>")]
    pub first_byte_timeout_ms: u64,
    /// How long one attempt at an answer that is not streamed waits for its head, which comes when all of it has been
    /// computed. 1 to 3,600,000; 60,000 by default.
    #[serde(deserialize_with = "between::<_, 1, POLICY_MS_MAX>")]
    pub answer_timeout_ms: u64,
    /// How long an answer may pause once it has begun. 1 to 3,600,000; 15,000 by default.
    #[serde(deserialize_with = "between::<_, 1, POLICY_MS_MAX>")]
    pub between_bytes_timeout_ms: u64,
    /// How long all of a call may take: attempts, waits and the answer. 1 to 3,600,000; 300,000 by default. The deadline of
    /// the client's request ends it as well.
    #[serde(deserialize_with = "between::<_, 1, POLICY_MS_MAX>")]
    pub total_timeout_ms: u64,
    /// How often one model is tried in one call, hedges not counted. 1 to 10; 3 by default.
    #[serde(deserialize_with = "between::<_, 1, 10>")]
    pub attempts_max: u64,
    /// The wait before the second attempt is drawn from 0 to this; before each further one from twice the range.
    /// 1 to 60,000; 100 by default.
    #[serde(deserialize_with = "between::<_, 1, 60_000>")]
    pub backoff_ms: u64,
    /// The widest such range, and the longest `Retry-After` that is waited for; one that asks for more ends the attempts at
    /// this model. 1 to 60,000; 2,000 by default.
    #[serde(deserialize_with = "between::<_, 1, 60_000>")]
    pub backoff_ms_max: u64,
    /// How many retries there may be for 100 calls, over all calls of the last ten seconds. 0 to 100; 20 by default.
    #[serde(deserialize_with = "between::<_, 0, 100>")]
    pub retries_per_100_calls: u64,
    /// How many retries a second are free, so that a quiet service may retry at all. 0 to 10,000; 10 by default.
    #[serde(deserialize_with = "between::<_, 0, 10_000>")]
    pub retries_per_second_min: u64,
    /// When the upstream, or one of its endpoints, is not asked for a while.
    pub breaker: BreakerPolicy,
    /// How many calls there may be at once.
    pub concurrency: ConcurrencyPolicy,
    /// Whether a call that has waited longer than 95 of 100 recent ones is made once more, elsewhere if possible; the
    /// answer that begins first is taken and the other call ended. Counts as a retry. Off by default: it costs tokens.
    pub hedge: bool,
}

/// A circuit breaker: closed, open, half-open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerPolicy {
    /// Consecutive failures that open it. 1 to 1,000; 5 by default.
    #[serde(deserialize_with = "between::<_, 1, 1_000>")]
    pub failures: u64,
    /// It opens also when this many of 100 calls failed in the last ten seconds, if there were at least twenty.
    /// 1 to 100; 50 by default.
    #[serde(deserialize_with = "between::<_, 1, 100>")]
    pub failures_per_100_calls: u64,
    /// How long it stays open, in milliseconds. 1 to 3,600,000; 30,000 by default.
    #[serde(deserialize_with = "between::<_, 1, POLICY_MS_MAX>")]
    pub open_ms: u64,
    /// How many calls at once find out, after that, whether it can close. 1 to 100; 1 by default.
    #[serde(deserialize_with = "between::<_, 1, 100>")]
    pub probes_max: u64,
}

/// The bound on concurrent calls, which moves between its least and its most with the upstream's latency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConcurrencyPolicy {
    /// It never falls below this. 1 to 100,000; 16 by default.
    #[serde(deserialize_with = "between::<_, 1, 100_000>")]
    pub min: u64,
    /// It never rises above this, where it starts. 1 to 100,000; 4,096 by default.
    #[serde(deserialize_with = "between::<_, 1, 100_000>")]
    pub max: u64,
    /// How many calls over it may wait for a place. 0 to 100,000; 256 by default.
    #[serde(deserialize_with = "between::<_, 0, 100_000>")]
    pub waiting_max: u64,
    /// How long they wait, in milliseconds. 0 to 60,000; 500 by default.
    #[serde(deserialize_with = "between::<_, 0, 60_000>")]
    pub wait_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 1_000,
            first_byte_timeout_ms: 1_500,
            answer_timeout_ms: 60_000,
            between_bytes_timeout_ms: 15_000,
            total_timeout_ms: 300_000,
            attempts_max: 3,
            backoff_ms: 100,
            backoff_ms_max: 2_000,
            retries_per_100_calls: 20,
            retries_per_second_min: 10,
            breaker: BreakerPolicy::default(),
            concurrency: ConcurrencyPolicy::default(),
            hedge: false,
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, failures_per_100_calls: 50, open_ms: 30_000, probes_max: 1 }
    }
}

impl Default for ConcurrencyPolicy {
    fn default() -> Self {
        Self { min: 16, max: 4_096, waiting_max: 256, wait_ms: 500 }
    }
}

impl BreakerPolicy {
    /// How long it stays open.
    #[must_use]
    pub fn open(&self) -> Duration {
        Duration::from_millis(self.open_ms)
    }
}
