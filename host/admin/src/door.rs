//! Who may come in: the check of the `Host` field, and of the admin key.

use crate::key::AdminKey;
use crate::problem::Problem;
use http::header::{self, HeaderMap};
use http::{StatusCode, Uri};
use std::sync::{Mutex, PoisonError};
use tokio::time::{Duration, Instant};
use waggle_listen::{called_name, is_loopback_name};

/// Wrong keys that are answered as such at once; over it, they are answered 429.
const FAILURES_MAX: u32 = 10;
/// In which time that many are forgotten.
const FAILURES_PERIOD: Duration = Duration::from_secs(1);
/// What a 401 asks for (RFC 6750, section 3).
const CHALLENGE: &str = "Bearer realm=\"waggle-admin\"";

/// Lets administrators in.
pub(crate) struct Door {
    key: AdminKey,
    /// Whether the listener is on a loopback address: then only loopback names may stand in `Host`.
    loopback: bool,
    failures: Mutex<Failures>,
}

/// Wrong keys lately: a bucket that empties steadily.
struct Failures {
    count: f64,
    seen_at: Instant,
}

impl Door {
    pub(crate) fn new(key: AdminKey, loopback: bool) -> Self {
        let failures = Failures { count: 0.0, seen_at: Instant::now() };
        Self { key, loopback, failures: Mutex::new(failures) }
    }

    /// Whether the request is meant for this server, and not by a page in a browser that has its own name lead here.
    ///
    /// # Errors
    /// What the client reads.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(name) = called_name(uri, headers) else {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host",
                "Exactly one `Host` field is expected.",
            ));
        };
        if !self.loopback || is_loopback_name(name) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host",
            "This server listens on a loopback address and answers only to `localhost`, 127.0.0.1 and [::1].",
        ))
    }

    /// Whether the request presents the admin key. The right key always passes, however many wrong ones came: with 256
    /// random bits, what must be bounded is the noise, not the guesses.
    ///
    /// # Errors
    /// What the client reads: 401, or 429 when too many wrong keys came lately.
    pub(crate) fn check_key(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (field, second) = (fields.next(), fields.next());
        let Some(field) = field.filter(|_| second.is_none()) else {
            // Nothing was tried, so nothing is counted.
            return Err(unauthorized("Present the admin key: `Authorization: Bearer KEY`.", CHALLENGE));
        };
        match bearer(field.as_bytes()) {
            Some(key) if self.key.matches(key) => Ok(()),
            _ => Err(self.wrong_key()),
        }
    }

    fn wrong_key(&self) -> Problem {
        if self.may_fail_again() {
            let challenge = format!("{CHALLENGE}, error=\"invalid_token\"");
            return unauthorized("This is not the admin key.", &challenge);
        }
        let detail = "Too many wrong admin keys; try again shortly.";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail)
            .with(header::RETRY_AFTER, "1")
    }

    fn may_fail_again(&self) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.duration_since(failures.seen_at).as_secs_f64() / FAILURES_PERIOD.as_secs_f64();
        failures.count = (failures.count - passed * f64::from(FAILURES_MAX)).max(0.0);
        failures.seen_at = now;
        if failures.count + 1.0 > f64::from(FAILURES_MAX) {
            return false;
        }
        failures.count += 1.0;
        true
    }
}

fn unauthorized(detail: &str, challenge: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).with(header::WWW_AUTHENTICATE, challenge)
}

/// What stands after `Bearer` (RFC 6750, section 2.1); the scheme's case does not count (RFC 9110, section 11.1).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use waggle_secret::Secret;

    const KEY: &str = "wadm_0123456789abcdef0123456789abcdef";

    fn door(loopback: bool) -> Door {
        Door::new(AdminKey::new(&Secret::new(KEY)).unwrap(), loopback)
    }

    #[test]
    fn on_loopback_only_its_own_names_are_answered_to() {
        let check = |host: &str, expected: bool| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            let uri = Uri::from_static("/");
            assert_eq!(door(true).check_host(&uri, &headers).is_ok(), expected, "{host:?}");
            assert!(door(false).check_host(&uri, &headers).is_ok());
        };
        for host in ["localhost", "127.0.0.1:1", "[::1]:8080"] {
            check(host, true);
        }
        for host in ["example.com", "localhost:80@evil", "10.0.0.1"] {
            check(host, false);
        }
    }

    #[test]
    fn a_request_has_exactly_one_host_wherever_the_listener_is() {
        let check = |headers: &HeaderMap, expected: [bool; 2]| {
            let uri = Uri::from_static("/");
            let found = [true, false].map(|loopback| door(loopback).check_host(&uri, headers).is_ok());
            assert_eq!(found, expected, "{headers:?}");
        };
        let mut headers = HeaderMap::new();
        check(&headers, [false; 2]);
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        check(&headers, [true; 2]);
        assert!(door(true).check_host(&Uri::from_static("http://evil.test/"), &headers).is_err());
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        check(&headers, [false; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_keys_are_told_so_until_there_are_too_many_and_the_right_one_passes() {
        let door = door(true);
        let status = |value: &str| {
            let headers =
                HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            match door.check_key(&headers) {
                Ok(()) => 200,
                Err(problem) => crate::answer::Answer::from(problem).into_response().status().as_u16(),
            }
        };
        let right = format!("bearer {KEY}");
        assert_eq!(status(&right), 200);
        for wrong in ["Bearer", "Bearer ", "Basic abc", KEY, "Bearer wadm_x"] {
            assert_eq!(status(wrong), 401, "{wrong}");
        }
        let many: Vec<u16> = (0..10).map(|_| status("Bearer x")).collect();
        assert_eq!(many, [401, 401, 401, 401, 401, 429, 429, 429, 429, 429]);
        assert_eq!(status(&right), 200);
        tokio::time::advance(FAILURES_PERIOD / 10).await;
        assert_eq!((status("Bearer x"), status("Bearer x")), (401, 429));
    }
}
