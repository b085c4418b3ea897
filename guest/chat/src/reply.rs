//! A whole answer of this function.

pub use waggle_platform::{Reply, STREAM_HEADERS};

/// The header field of an answer that is a fallback, where that is known when its head is sent. Its value is the
/// reason.
const FALLBACK_FIELD: &str = "x-waggle-fallback";

/// 200 with a fallback: the events of a stream, or one JSON object.
pub(crate) fn fallback(body: Vec<u8>, stream: bool, reason: &'static str) -> Reply {
    let mut reply = Reply::json(body);
    if stream {
        reply.headers = STREAM_HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    }
    reply.headers.push((FALLBACK_FIELD, reason.to_owned()));
    reply
}
