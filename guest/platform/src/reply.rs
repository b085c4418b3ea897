//! A whole answer.

use waggle_openai::ApiError;

/// The `type` of an error that repeating does not mend, as OpenAI names it: what was bought is used up.
pub const INSUFFICIENT_QUOTA: &str = "insufficient_quota";
/// The `Retry-After` of an answer that needs one and whose cause does not say.
const RETRY_AFTER_S_DEFAULT: u32 = 1;

/// A status, headers and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, with names in lower case; `content-length` is left to whoever sends it.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// 200 with a JSON body.
    pub fn json(body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("content-type", "application/json".to_owned())], body }
    }
}

impl From<&ApiError> for Reply {
    fn from(error: &ApiError) -> Self {
        let mut reply = Self { status: error.status, ..Self::json(error.to_json()) };
        // Whoever is told to come back is told when.
        let come_back = matches!(error.status, 429 | 503 | 504).then_some(RETRY_AFTER_S_DEFAULT);
        if let Some(seconds) = error.retry_after_s.or(come_back) {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        if error.kind == INSUFFICIENT_QUOTA {
            // OpenAI's SDKs repeat after every 429 that does not say this, and a turn that is repeated pays for the model
            // again.
            reply.headers.push(("x-should-retry", "false".to_owned()));
        }
        if let Some(allow) = error.allow {
            reply.headers.push(("allow", allow.to_owned()));
        }
        reply
    }
}

/// The headers of a streamed answer.
pub const STREAM_HEADERS: [(&str, &str); 3] = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    // Reverse proxies that buffer by default leave the stream alone when they see this.
    ("x-accel-buffering", "no"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_when_to_come_back_and_what_is_allowed() {
        let check = |error: &ApiError, expected: &[(&str, &str)]| {
            let reply = Reply::from(error);
            let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str()));
            let rest: Vec<_> = headers.filter(|(name, _)| *name != "content-type").collect();
            assert_eq!((reply.status, rest.as_slice()), (error.status, expected), "{error}");
        };
        check(&ApiError::invalid("no"), &[]);
        check(&ApiError::rate_limited(None, "later"), &[("retry-after", "1")]);
        check(&ApiError::rate_limited(Some(7), "later"), &[("retry-after", "7")]);
        check(&ApiError::server(503, "busy", "later"), &[("retry-after", "1")]);
        check(&ApiError::method_not_allowed("PUT", "GET, POST"), &[("allow", "GET, POST")]);
        let used_up = ApiError { kind: INSUFFICIENT_QUOTA, ..ApiError::rate_limited(Some(60), "used up") };
        check(&used_up, &[("retry-after", "60"), ("x-should-retry", "false")]);
    }
}
