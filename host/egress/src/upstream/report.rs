//! What is told of a call when it is over: to whoever accounts for it, and to the counters of its upstream.

use super::config::{Prices, UpstreamName};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// In which way an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection: the name is unknown, nobody listens, TLS fails.
    Connect,
    /// No connection, no head or no first piece in time.
    Timeout,
    /// 429.
    RateLimited,
    /// A status 5xx, or 408.
    Status,
    /// An answer that is none: an HTML page, a redirect, an empty body, an encoding that nobody asked for, no HTTP.
    NoAnswer,
    /// The connection ended before the answer began.
    BrokeOff,
    /// 401, 403 or 404: the upstream is there, but not for this call.
    Refused,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::RateLimited,
        Self::Status,
        Self::NoAnswer,
        Self::BrokeOff,
        Self::Refused,
    ];

    /// A name for metrics: `connect`, `timeout`, `rate_limited`, `status`, `no_answer`, `broke_off`, `refused`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Status => "status",
            Self::NoAnswer => "no_answer",
            Self::BrokeOff => "broke_off",
            Self::Refused => "refused",
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Its answer began and was handed over; what became of it then, the [`CallReport`] says.
    Answered,
    /// The upstream complained about the request (400, 413, 422, …), which was passed on.
    Complained(StatusCode),
    /// It failed.
    Failed(FailureKind),
    /// Another attempt of the same call was faster.
    Outrun,
    /// The call was given up: its client went away, its deadline passed, or its function waits much less long than the
    /// upstream would have had.
    GivenUp,
}

/// One attempt, told when it has ended or its answer has begun.
#[derive(Debug, Clone)]
pub struct AttemptReport<'a> {
    /// The NAME of its `[model.NAME]`.
    pub model: &'a Arc<str>,
    /// Where it went.
    pub upstream: &'a UpstreamName,
    /// Which endpoint of the upstream, by its position in the configuration.
    pub endpoint: usize,
    /// Which attempt of the call, counted from 1 over all upstreams.
    pub number: u32,
    /// Whether it was made beside another one that took long.
    pub is_hedge: bool,
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// How long it took, from its beginning to its outcome: to the first piece of an answer, if it has one.
    pub took: Duration,
    /// The size of the body that was sent.
    pub request_bytes: u64,
    /// Whether the upstream has most probably charged for the prompt though there is no answer; see
    /// [`super::PromptsSpent`].
    pub is_prompt_spent: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer was handed over whole.
    Complete,
    /// The answer broke off in the middle: a cut connection.
    BrokeOff,
    /// The answer paused for too long.
    Stalled,
    /// The answer was larger than is passed on.
    TooLarge,
    /// The call's time was over in the middle of the answer.
    Deadline,
    /// The caller gave the call up, before the answer or in the middle of it.
    GivenUp,
    /// No answer: what was handed over is an error, with this code.
    Failed(&'static str),
}

/// A whole call, told exactly once, when all of it is over.
#[derive(Debug, Clone)]
pub struct CallReport {
    /// The NAME of the `[model.NAME]` that answered.
    pub model: Option<Arc<str>>,
    /// The upstream that answered.
    pub upstream: Option<UpstreamName>,
    /// What its tokens cost.
    pub prices: Prices,
    /// The status that was handed over, if any.
    pub status: Option<StatusCode>,
    /// How many attempts were made, hedges included.
    pub attempts: u32,
    /// How many of them were hedges.
    pub hedges: u32,
    /// How it ended.
    pub ending: Ending,
    /// From the call's beginning to the first piece of its answer, failed attempts and waits included.
    pub first_byte: Option<Duration>,
    /// From the call's beginning to its end.
    pub took: Duration,
    /// The size of the request's body.
    pub request_bytes: u64,
    /// How much of the answer's body was handed over.
    pub response_bytes: u64,
}

/// Whoever accounts for calls. Called on the path of the call: it must not block.
pub trait CallObserver: Send + Sync {
    /// An attempt has ended, or its answer has begun.
    fn attempt(&self, _report: &AttemptReport<'_>) {}

    /// A call is over.
    fn ended(&self, _report: &CallReport) {}
}
