//! What a function reads when no upstream answers: an error object in the shape of OpenAI's API, never with anything of an
//! upstream's address or text.

use super::body::UpstreamBody;
use crate::upstream::report::FailureKind;
use crate::upstream::retry::RETRY_AFTER_MAX;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use std::time::Duration;

/// How long a client is asked to wait where nothing better is known, in seconds.
const RETRY_AFTER_SECONDS_DEFAULT: u64 = 1;

/// Why an upstream did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It failed.
    Unavailable = 1,
    /// It had failed too often to be asked.
    Open = 2,
    /// There was no place for the call.
    Busy = 4,
    /// It took too long.
    Timeout = 8,
    /// It said 429.
    RateLimited = 16,
}

impl From<FailureKind> for Reason {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Timeout => Self::Timeout,
            FailureKind::RateLimited => Self::RateLimited,
            _ => Self::Unavailable,
        }
    }
}

/// Why none of the upstreams answered.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The [`Reason`]s there were, one bit each.
    reasons: u8,
    /// The shortest wait after which one of them may answer.
    retry_in: Option<Duration>,
    /// The first status by which an upstream refused the call.
    refusal: Option<StatusCode>,
}

/// An error for the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    kind: &'static str,
    message: String,
    param: Option<&'static str>,
    retry_after_seconds: Option<u64>,
}

impl Failures {
    pub(super) fn add(&mut self, reason: Reason, retry_in: Option<Duration>) {
        self.reasons |= reason as u8;
        self.retry_in = match (self.retry_in, retry_in) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    pub(super) fn add_refusal(&mut self, status: StatusCode) {
        self.refusal.get_or_insert(status);
    }

    /// What the function gets.
    pub(super) fn answer(&self) -> Answer {
        if self.reasons == 0
            && let Some(status) = self.refusal
        {
            return Answer::refused(status);
        }
        let only = |reason: Reason| self.reasons == reason as u8;
        if only(Reason::RateLimited) {
            let (status, kind) = (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error");
            return self.later(status, kind, "rate_limit_exceeded", "The model's rate limit is reached.");
        }
        let server = |status, code, message| self.later(status, "server_error", code, message);
        if only(Reason::Timeout) {
            let message = "The model did not answer in time.";
            return server(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message);
        }
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        if only(Reason::Open) {
            return server(
                unavailable,
                "upstream_open",
                "The model has failed too often and is left alone for a while.",
            );
        }
        if only(Reason::Busy) {
            return server(unavailable, "upstream_busy", "The model has more calls than it can take.");
        }
        server(unavailable, "upstream_unavailable", "The model is not available at the moment.")
    }

    fn later(&self, status: StatusCode, kind: &'static str, code: &'static str, message: &str) -> Answer {
        let wait = self.retry_in.unwrap_or_default().min(RETRY_AFTER_MAX);
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Answer {
            status,
            code,
            kind,
            message: format!("{message} Please try again later."),
            param: None,
            retry_after_seconds: Some(seconds.max(RETRY_AFTER_SECONDS_DEFAULT)),
        }
    }
}

impl Answer {
    /// An upstream does not take the call: 401, 403 or 404. Its own text is not passed on, as it may quote a part of the key
    /// that it refuses.
    fn refused(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => {
                ("model_not_found", "The model's endpoint does not have this model or this path.")
            }
            StatusCode::FORBIDDEN => {
                ("upstream_forbidden", "The model's endpoint does not permit this call.")
            }
            _ => (
                "upstream_unauthorized",
                "The model's endpoint does not accept the key that is configured for it.",
            ),
        };
        Self::of_request(status, code, message, None)
    }

    /// A mistake in the request.
    pub(super) fn of_request(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        param: Option<&'static str>,
    ) -> Self {
        let kind = "invalid_request_error";
        Self { status, code, kind, message: message.into(), param, retry_after_seconds: None }
    }

    pub(super) fn into_response<B>(self) -> Response<UpstreamBody<B>> {
        let body = serde_json::json!({
            "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code }
        });
        let mut response = Response::new(UpstreamBody::own(body.to_string().into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_why_nobody_answered_and_when_to_come_back() {
        use Reason::{Busy, Open, RateLimited, Timeout, Unavailable};
        let check = |reasons: &[(Reason, Option<u64>)], status: u16, code: &str, retry_after: u64| {
            let mut failures = Failures::default();
            for (reason, retry_in_ms) in reasons {
                failures.add(*reason, retry_in_ms.map(Duration::from_millis));
            }
            let answer = failures.answer();
            assert_eq!((answer.status.as_u16(), answer.code), (status, code), "{reasons:?}");
            assert_eq!(answer.retry_after_seconds, Some(retry_after), "{reasons:?}");
        };
        check(&[], 503, "upstream_unavailable", 1);
        check(&[(Unavailable, None)], 503, "upstream_unavailable", 1);
        check(&[(Open, Some(29_001))], 503, "upstream_open", 30);
        check(&[(Open, Some(0))], 503, "upstream_open", 1);
        check(&[(Open, Some(9_000)), (Open, Some(2_000))], 503, "upstream_open", 2);
        check(&[(Busy, None)], 503, "upstream_busy", 1);
        check(&[(Timeout, None), (Timeout, None)], 504, "upstream_timeout", 1);
        check(&[(RateLimited, Some(7_000))], 429, "rate_limit_exceeded", 7);
        check(&[(RateLimited, None), (RateLimited, Some(u64::MAX))], 429, "rate_limit_exceeded", 3_600);
        check(&[(RateLimited, Some(7_000)), (Timeout, None)], 503, "upstream_unavailable", 7);
        check(&[(Open, Some(5_000)), (Busy, None)], 503, "upstream_unavailable", 5);
    }

    #[test]
    fn a_refusal_is_told_where_coming_back_would_not_help() {
        let check = |refusals: &[u16], reason: Option<Reason>, status: u16, code: &str| {
            let mut failures = Failures::default();
            for refusal in refusals {
                failures.add_refusal(StatusCode::from_u16(*refusal).unwrap());
            }
            if let Some(reason) = reason {
                failures.add(reason, None);
            }
            let answer = failures.answer();
            assert_eq!((answer.status.as_u16(), answer.code), (status, code), "{refusals:?} {reason:?}");
            assert_eq!(answer.retry_after_seconds.is_some(), reason.is_some());
        };
        check(&[401], None, 401, "upstream_unauthorized");
        check(&[403, 404], None, 403, "upstream_forbidden");
        check(&[404], None, 404, "model_not_found");
        check(&[401], Some(Reason::Unavailable), 503, "upstream_unavailable");
        check(&[404], Some(Reason::Open), 503, "upstream_open");
    }
}
