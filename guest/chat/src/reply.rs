//! A whole answer.

use crate::problem::INSUFFICIENT_QUOTA;
use waggle_openai::ApiError;

/// The header field of an answer that is a fallback, where that is known when its head is sent. Its value is the
/// reason.
const FALLBACK_FIELD: &str = "x-waggle-fallback";
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

    /// 200 with a fallback: the events of a stream, or one JSON object.
    pub(crate) fn fallback(body: Vec<u8>, stream: bool, reason: &'static str) -> Self {
        let mut reply = Self::json(body);
        if stream {
            reply.headers = STREAM_HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        }
        reply.headers.push((FALLBACK_FIELD, reason.to_owned()));
        reply
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
