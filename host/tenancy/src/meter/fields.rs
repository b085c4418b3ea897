//! The header fields `RateLimit-Policy` and `RateLimit`, by draft-ietf-httpapi-ratelimit-headers-11: structured fields
//! (RFC 9651), lists of strings with integers as parameters.
//!
//! ```text
//! RateLimit-Policy: "requests_per_second";q=100;w=1,"tokens_per_minute";q=60000;qu="tokens";w=60
//! RateLimit: "requests_per_second";r=73;t=1,"tokens_per_minute";r=51200;t=52
//! ```
//!
//! A policy's name is the limit's, as [`Exceeded`](super::Exceeded) has it. `q` units come back in `w` seconds. Of these
//! `r` are there, and a client that uses no more than them within `t` seconds stays within the limit; where `r` is 0, `t`
//! is when there is something again, and so is `Retry-After`. The draft's registry has no unit for tokens yet; `tokens` is
//! what it is called here, so that nobody takes them for requests.

use super::{Meter, REQUESTS_PER_SECOND, RateState, TOKENS_PER_MINUTE};
use http::{HeaderName, HeaderValue};
use std::fmt::Write;

/// The name of the field that says what is left.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The name of the field that says how much there is.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The longest field: two names with quotes of 21 bytes, two numbers of at most 20 for each, and what stands between.
const FIELD_BYTES_MAX: usize = 192;

/// The values of both fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitFields {
    /// For [`RATE_LIMIT_POLICY`].
    pub policy: HeaderValue,
    /// For [`RATE_LIMIT`].
    pub limit: HeaderValue,
}

/// The fields as they are at this moment; none for a tenant without a limit on requests or tokens. Costs one small
/// allocation, that of the value of [`RATE_LIMIT`].
#[must_use]
pub fn rate_limit_fields(meter: &Meter) -> Option<RateLimitFields> {
    let policy = meter.plan.load().policy.clone()?;
    let limit = limit(meter.rate_state(), meter.tokens_state())?;
    Some(RateLimitFields { policy, limit })
}

/// The field that says how much there is, from states of any time.
pub(super) fn policy(requests: Option<RateState>, tokens: Option<RateState>) -> Option<HeaderValue> {
    let mut field = Field::new();
    if let Some(state) = requests {
        field.item(format_args!("\"{REQUESTS_PER_SECOND}\";q={};w={}", state.quota(), state.window_s));
    }
    if let Some(state) = tokens {
        let (quota, window_s) = (state.quota(), state.window_s);
        field.item(format_args!("\"{TOKENS_PER_MINUTE}\";q={quota};qu=\"tokens\";w={window_s}"));
    }
    field.value()
}

/// The field that says what is left.
fn limit(requests: Option<RateState>, tokens: Option<RateState>) -> Option<HeaderValue> {
    let mut field = Field::new();
    for (name, state) in [(REQUESTS_PER_SECOND, requests), (TOKENS_PER_MINUTE, tokens)] {
        if let Some(state) = state {
            field.item(format_args!("\"{name}\";r={};t={}", state.remaining, state.reset_s));
        }
    }
    field.value()
}

/// A list under construction, on the stack.
struct Field {
    bytes: [u8; FIELD_BYTES_MAX],
    length: usize,
}

impl Field {
    fn new() -> Self {
        Self { bytes: [0; FIELD_BYTES_MAX], length: 0 }
    }

    fn item(&mut self, item: std::fmt::Arguments<'_>) {
        let before = self.length;
        let comma = if before == 0 { "" } else { "," };
        // What does not fit is left out as a whole; the greatest values do fit, as a test shows.
        if write!(self, "{comma}{item}").is_err() {
            self.length = before;
        }
    }

    /// The list, unless it is empty.
    fn value(&self) -> Option<HeaderValue> {
        let value = self.bytes.get(..self.length).filter(|value| !value.is_empty())?;
        HeaderValue::from_bytes(value).ok()
    }
}

impl Write for Field {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn fields(limits: Limits, requests: usize, tokens: u64) -> Option<(String, String)> {
        let meter = Meter::new(limits);
        for _ in 0..requests {
            drop(meter.admit_now());
        }
        meter.spend_tokens(tokens);
        let fields = rate_limit_fields(&meter)?;
        Some((fields.policy.to_str().unwrap().to_owned(), fields.limit.to_str().unwrap().to_owned()))
    }

    fn check(limits: Limits, requests: usize, tokens: u64, policy: &str, limit: &str) {
        let (found_policy, found_limit) = fields(limits, requests, tokens).unwrap();
        assert_eq!((found_policy.as_str(), found_limit.as_str()), (policy, limit));
    }

    #[tokio::test(start_paused = true)]
    async fn the_fields_say_what_there_is_and_what_is_left() {
        let requests = Limits { requests_per_second: Some(100), ..Limits::default() };
        let name = "requests_per_second";
        check(requests, 0, 0, &format!("\"{name}\";q=100;w=1"), &format!("\"{name}\";r=100;t=1"));
        check(requests, 27, 0, &format!("\"{name}\";q=100;w=1"), &format!("\"{name}\";r=73;t=1"));
        let burst = Limits { requests_burst: Some(1_000), ..requests };
        check(burst, 1, 0, &format!("\"{name}\";q=1000;w=10"), &format!("\"{name}\";r=999;t=10"));
        let little = Limits { requests_burst: Some(10), ..requests };
        check(little, 1, 0, &format!("\"{name}\";q=100;w=1"), &format!("\"{name}\";r=9;t=1"));
        let both = Limits { tokens_per_minute: Some(60_000), ..requests };
        check(
            both,
            0,
            8_800,
            "\"requests_per_second\";q=100;w=1,\"tokens_per_minute\";q=60000;qu=\"tokens\";w=60",
            "\"requests_per_second\";r=100;t=1,\"tokens_per_minute\";r=51200;t=52",
        );
        let tokens = Limits { tokens_per_minute: Some(60_000), ..Limits::default() };
        check(
            tokens,
            0,
            90_000,
            "\"tokens_per_minute\";q=60000;qu=\"tokens\";w=60",
            "\"tokens_per_minute\";r=0;t=31",
        );
    }

    #[test]
    fn without_a_rate_there_are_no_fields() {
        assert_eq!(fields(Limits::default(), 0, 0), None);
        assert_eq!(fields(Limits { concurrent_requests_max: Some(1), ..Limits::default() }, 0, 0), None);
    }

    #[test]
    fn the_greatest_values_fit() {
        let most = u64::MAX;
        let state = RateState { limit: most, burst: most, remaining: most, reset_s: most, window_s: most };
        let text = |value: Option<HeaderValue>| value.unwrap().to_str().unwrap().to_owned();
        for value in [text(policy(Some(state), Some(state))), text(limit(Some(state), Some(state)))] {
            assert!(value.contains(REQUESTS_PER_SECOND) && value.contains(TOKENS_PER_MINUTE), "{value}");
        }
    }
}
