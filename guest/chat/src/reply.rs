//! A whole answer of this function.

pub use waggle_platform::{Reply, STREAM_HEADERS};

/// The header field of an answer that is a fallback, where that is known when its head is sent. Its value is the
/// reason.
const FALLBACK_FIELD: &str = "x-waggle-fallback";
/// The header field of an answer that no model gave, and that is none in a model's place. Its value is what it is.
const ANSWER_FIELD: &str = "x-waggle-answer";

/// What the head of an answer says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing: a model gave it.
    None,
    /// It is a fallback, for this reason.
    Fallback(&'static str),
    /// It was known without a model, as this.
    Known(&'static str),
}

/// 200 with an answer that is marked so: the events of a stream, or one JSON object.
pub(crate) fn marked(body: Vec<u8>, stream: bool, mark: Mark) -> Reply {
    let mut reply = Reply::json(body);
    if stream {
        reply.headers = STREAM_HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    }
    match mark {
        Mark::None => {}
        Mark::Fallback(reason) => reply.headers.push((FALLBACK_FIELD, reason.to_owned())),
        Mark::Known(known_as) => reply.headers.push((ANSWER_FIELD, known_as.to_owned())),
    }
    reply
}
