//! Which limit a request is over, as its client reads it.

use std::fmt;
use std::time::Duration;

/// A limit is used up. Its text is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The field of [`Limits`](crate::Limits) it is, such as `requests_per_second`; `requests_per_minute` for the limit
    /// of a client address.
    pub limit: &'static str,
    /// Its value.
    pub allowed: u64,
    /// When another attempt can succeed, if nobody else comes before it.
    pub retry_after: Duration,
}

impl Exceeded {
    /// The value of `Retry-After` (RFC 9110, section 10.2.3): whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn retry_after_seconds(&self) -> u64 {
        let seconds = self.retry_after.as_secs();
        seconds.saturating_add(u64::from(self.retry_after.subsec_nanos() > 0)).max(1)
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, allowed, .. } = self;
        match *limit {
            super::REQUESTS_PER_SECOND => write!(f, "The limit of {allowed} requests per second")?,
            super::CONCURRENT_REQUESTS => write!(f, "The limit of {allowed} requests at once")?,
            super::TOKENS_PER_MINUTE => write!(f, "The limit of {allowed} tokens per minute")?,
            super::REQUESTS_PER_MINUTE => {
                write!(f, "The limit of {allowed} requests per minute from one address")?;
            }
            _ => write!(f, "The limit of {allowed}")?,
        }
        let seconds = self.retry_after_seconds();
        let plural = if seconds == 1 { "" } else { "s" };
        write!(f, " ({limit}) is used up; try again in {seconds} second{plural}.")
    }
}

impl std::error::Error for Exceeded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_which_limit_and_how_long_to_wait() {
        let check = |limit, allowed, retry_after, expected: &str| {
            assert_eq!(Exceeded { limit, allowed, retry_after }.to_string(), expected);
        };
        check(
            "requests_per_second",
            100,
            Duration::from_millis(3),
            "The limit of 100 requests per second (requests_per_second) is used up; try again in 1 second.",
        );
        check(
            "concurrent_requests_max",
            8,
            Duration::from_secs(1),
            "The limit of 8 requests at once (concurrent_requests_max) is used up; try again in 1 second.",
        );
        check(
            "tokens_per_minute",
            60_000,
            Duration::from_millis(41_001),
            "The limit of 60000 tokens per minute (tokens_per_minute) is used up; try again in 42 seconds.",
        );
        check(
            "requests_per_minute",
            60,
            Duration::ZERO,
            "The limit of 60 requests per minute from one address (requests_per_minute) is used up; try again in 1 \
             second.",
        );
    }
}
