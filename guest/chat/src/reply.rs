//! A whole answer.

use crate::problem::INSUFFICIENT_QUOTA;
use waggle_openai::ApiError;

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
        if let Some(seconds) = error.retry_after_s {
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
