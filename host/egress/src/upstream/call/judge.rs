//! What the outcome of an attempt means: for the call, for the upstream's breaker, for its bound on calls. Pure.

use crate::error::EgressError;
use crate::upstream::report::FailureKind;
use crate::upstream::retry;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::{Duration, SystemTime};

/// Why an attempt failed, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// Whether the same upstream may be asked again.
    pub(super) may_retry: bool,
    /// How long it asked to wait before.
    pub(super) retry_after: Option<Duration>,
    /// Whether the upstream had the time that is its own to answer.
    pub(super) is_fair: bool,
}

impl Failure {
    pub(super) fn new(kind: FailureKind) -> Self {
        Self { kind, may_retry: true, retry_after: None, is_fair: true }
    }

    fn for_good(kind: FailureKind) -> Self {
        Self { may_retry: false, ..Self::new(kind) }
    }

    /// A time-out that came long before the upstream's own. It says nothing of the upstream; and asked again, it would take
    /// as long as before, at the cost of retries that others need.
    pub(super) fn hurried() -> Self {
        Self { is_fair: false, ..Self::for_good(FailureKind::Timeout) }
    }

    /// Whether the breaker counts it: it says that the upstream does not work, not that it has too much to do or does not
    /// want this call.
    pub(super) fn is_of_upstream(&self) -> bool {
        self.is_fair && !matches!(self.kind, FailureKind::RateLimited | FailureKind::Refused)
    }
}

/// A time-out that ends an attempt before the upstream's own counts as the upstream's failure if the upstream had this part
/// of its time, in percent.
const FAIR_PART_PERCENT: u32 = 50;

/// Whether an upstream that would have had `allowed` has had a fair part of it with `had`.
pub(super) fn is_fair(had: Duration, allowed: Duration) -> bool {
    had * 100 >= allowed * FAIR_PART_PERCENT
}

/// How long something is waited for in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// The shorter of what the upstream allows itself and what the function wants.
    pub(super) time: Duration,
    /// Whether it is the upstream's failure when that is over.
    pub(super) is_fair: bool,
}

impl Patience {
    /// Of an upstream that allows itself `policy_ms`, for a function that wants `wish`.
    pub(super) fn new(wish: Option<Duration>, policy_ms: u64) -> Self {
        let allowed = Duration::from_millis(policy_ms);
        let time = wish.map_or(allowed, |wish| wish.min(allowed));
        Self { time, is_fair: is_fair(time, allowed) }
    }
}

/// What the head of a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// The beginning of an answer: of server-sent events, or of something else.
    Answer { is_events: bool },
    /// A complaint about the request, which is passed on: another upstream would say the same.
    Complaint,
    /// 401, 403, 404: this upstream does not take the call, another one may.
    Refusal,
    /// A failure; `is_overload` where the upstream says that it has too much to do.
    Failure { failure: Failure, is_overload: bool },
}

/// Judges the head of a response.
pub(super) fn judge_head(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Head {
    let after = |kind| Failure { retry_after: retry::retry_after(headers, now), ..Failure::new(kind) };
    let failure = |failure, is_overload| Head::Failure { failure, is_overload };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Head::Refusal,
        StatusCode::TOO_MANY_REQUESTS => failure(after(FailureKind::RateLimited), true),
        StatusCode::SERVICE_UNAVAILABLE => failure(after(FailureKind::Status), true),
        StatusCode::REQUEST_TIMEOUT => failure(after(FailureKind::Status), false),
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
            failure(Failure::for_good(FailureKind::Status), false)
        }
        _ if status.is_server_error() => failure(after(FailureKind::Status), false),
        _ if status.is_client_error() => Head::Complaint,
        // No encoding is asked for, so one is a mistake of the upstream or of a proxy before it, and whatever it hides could
        // be read by nobody here: neither whether it says something nor what it used.
        _ if status.is_success() && is_encoded(headers) => {
            failure(Failure::new(FailureKind::NoAnswer), false)
        }
        _ if status.is_success() => match content(headers) {
            Some(is_events) => Head::Answer { is_events },
            None => failure(Failure::new(FailureKind::NoAnswer), false),
        },
        // Redirects are not followed: a model endpoint that redirects is not the one that was configured.
        _ => failure(Failure::new(FailureKind::NoAnswer), false),
    }
}

/// Whether the content has another encoding than `identity`, which stands for none.
fn is_encoded(headers: &HeaderMap) -> bool {
    let is_one = |coding: &HeaderValue| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    headers.get_all(CONTENT_ENCODING).iter().any(is_one)
}

/// Whether the content is server-sent events (`true`) or JSON (`false`); `None` for anything else, such as a proxy's page.
fn content(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| media_type.eq_ignore_ascii_case(name);
    if is("text/event-stream") {
        return Some(true);
    }
    let suffix = media_type.rsplit('+').next().unwrap_or_default();
    let is_json = is("application/json")
        || is("application/x-ndjson")
        || (suffix.len() < media_type.len() && suffix.eq_ignore_ascii_case("json"));
    is_json.then_some(false)
}

/// What an error means.
#[derive(Debug)]
pub(super) enum Judged {
    /// The attempt failed.
    Failure(Failure),
    /// The request cannot be sent anywhere, or nobody wants the answer any more: an error for whoever called.
    Error(EgressError),
}

/// Judges what came instead of a response, or of its first piece.
pub(super) fn judge_error(error: EgressError) -> Judged {
    use EgressError as E;
    let failure = match &error {
        E::HttpRequestDenied { .. }
        | E::HttpRequestUriInvalid { .. }
        | E::HttpRequestMethodInvalid { .. }
        | E::RequestBody { .. }
        | E::Cancelled => return Judged::Error(error),
        E::ConnectionTimeout { .. }
        | E::DnsTimeout { .. }
        | E::ConnectionReadTimeout { .. }
        | E::HttpResponseTimeout { .. } => Failure::new(FailureKind::Timeout),
        E::ConnectionTerminated { .. } | E::HttpResponseIncomplete { .. } => {
            Failure::new(FailureKind::BrokeOff)
        }
        E::HttpProtocolError { .. } | E::HttpResponseHeaderSectionSize { .. } | E::HttpUpgradeFailed => {
            Failure::new(FailureKind::NoAnswer)
        }
        // Neither gets better within seconds.
        E::TlsCertificateError { .. } | E::DestinationIpProhibited { .. } => {
            Failure::for_good(FailureKind::Connect)
        }
        _ => Failure::new(FailureKind::Connect),
    };
    Judged::Failure(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str, retry_after: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("content-type", content_type), ("retry-after", retry_after)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    #[test]
    fn a_status_says_what_follows() {
        let check = |status: u16, expected: &str| {
            let head = judge_head(
                StatusCode::from_u16(status).unwrap(),
                &headers("application/json", "1"),
                SystemTime::now(),
            );
            let found = match head {
                Head::Answer { .. } => "answer",
                Head::Complaint => "complaint",
                Head::Refusal => "next",
                Head::Failure { failure, is_overload } => {
                    match (failure.may_retry, failure.is_of_upstream(), is_overload) {
                        (true, true, true) => "again, counts, overload",
                        (true, true, false) => "again, counts",
                        (true, false, true) => "again, overload",
                        (false, true, false) => "next, counts",
                        _ => "something else",
                    }
                }
            };
            assert_eq!(found, expected, "{status}");
        };
        check(200, "answer");
        check(201, "answer");
        check(301, "again, counts");
        check(307, "again, counts");
        check(400, "complaint");
        check(401, "next");
        check(402, "complaint");
        check(403, "next");
        check(404, "next");
        check(408, "again, counts");
        check(413, "complaint");
        check(422, "complaint");
        check(429, "again, overload");
        check(500, "again, counts");
        check(501, "next, counts");
        check(502, "again, counts");
        check(503, "again, counts, overload");
        check(504, "again, counts");
        check(505, "next, counts");
        check(529, "again, counts");
    }

    #[test]
    fn a_retry_after_goes_with_the_failure() {
        for status in [429, 503, 500] {
            let status = StatusCode::from_u16(status).unwrap();
            let Head::Failure { failure, .. } = judge_head(status, &headers("", "7"), SystemTime::now())
            else {
                panic!("{status} is a failure");
            };
            assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn what_is_neither_json_nor_events_is_no_answer() {
        let check = |content_type: &str, expected: Option<bool>| {
            let head = judge_head(StatusCode::OK, &headers(content_type, ""), SystemTime::now());
            let found = match head {
                Head::Answer { is_events } => Some(is_events),
                Head::Failure { failure, is_overload: false }
                    if failure == Failure::new(FailureKind::NoAnswer) =>
                {
                    None
                }
                _ => panic!("{content_type}: {head:?}"),
            };
            assert_eq!(found, expected, "{content_type}");
        };
        check("application/json", Some(false));
        check("Application/JSON; charset=utf-8", Some(false));
        check("application/problem+json", Some(false));
        check("application/x-ndjson", Some(false));
        check("text/event-stream", Some(true));
        check("text/event-stream;charset=utf-8", Some(true));
        check("text/html", None);
        check("text/html; charset=utf-8", None);
        check("text/plain", None);
        check("json", None);
        check("application/jsonp", None);
        check("", None);
    }

    #[test]
    fn an_error_says_whether_it_is_the_upstreams() {
        let host = || "h".to_owned();
        let reason = || "r".to_owned();
        let check = |error: EgressError, expected: Option<(FailureKind, bool)>| {
            let text = error.to_string();
            let found = match judge_error(error) {
                Judged::Failure(failure) => Some((failure.kind, failure.may_retry)),
                Judged::Error(_) => None,
            };
            assert_eq!(found, expected, "{text}");
        };
        check(EgressError::ConnectionRefused { host: host() }, Some((FailureKind::Connect, true)));
        check(EgressError::DnsError { host: host(), reason: reason() }, Some((FailureKind::Connect, true)));
        let certificate = EgressError::TlsCertificateError { host: host(), reason: reason() };
        check(certificate, Some((FailureKind::Connect, false)));
        let late = EgressError::ConnectionReadTimeout { host: host(), after: Duration::from_secs(1) };
        check(late, Some((FailureKind::Timeout, true)));
        check(EgressError::ConnectionTerminated { reason: reason() }, Some((FailureKind::BrokeOff, true)));
        check(EgressError::HttpProtocolError { reason: reason() }, Some((FailureKind::NoAnswer, true)));
        check(EgressError::Cancelled, None);
        check(EgressError::HttpRequestDenied { reason: "r" }, None);
        check(EgressError::RequestBody { reason: reason() }, None);
    }
}
