//! What the server answers: whole, or as a stream of events.

use super::stream::StreamedCall;
use crate::message::{self, RequestId, RpcError, code};
use crate::version::Version;
use serde_json::value::RawValue;
use waggle_platform::{Reply, STREAM_HEADERS};

/// What comes back for a request.
#[derive(Debug)]
pub enum Answer<T> {
    /// All of it.
    Reply(Reply),
    /// A call whose progress is told: the shell begins a stream with [`STREAM_HEADERS`] and runs it.
    Stream(Box<StreamedCall<T>>),
}

/// An error of JSON-RPC, and what HTTP has to say with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) error: RpcError,
    /// The status, where the error's code alone does not decide it.
    pub(super) status: Option<u16>,
    pub(super) retry_after_s: Option<u32>,
}

impl Refusal {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { error: RpcError::new(code, message), status: None, retry_after_s: None }
    }

    /// The same, as this status of HTTP.
    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// As a whole answer. Since 2026-07-28 an error of a request is a status of HTTP too; clients before it read the
    /// error of an answer with 200 only.
    pub(super) fn reply(&self, version: Option<Version>, id: Option<&RequestId>) -> Reply {
        let has_handshake = version.is_some_and(|version| !version.is_stateless());
        let by_code = match self.error.code {
            _ if has_handshake && id.is_some() => 200,
            code::METHOD_NOT_FOUND => 404,
            // The request was understood; the protocol gives its failure no status, and clients read this one.
            code::INTERNAL_ERROR => 200,
            _ => 400,
        };
        let mut reply = json(self.status.unwrap_or(by_code), message::answer(id, Err(&self.error)));
        if let Some(seconds) = self.retry_after_s {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        reply
    }
}

impl From<RpcError> for Refusal {
    fn from(error: RpcError) -> Self {
        Self { error, status: None, retry_after_s: None }
    }
}

/// A whole answer of JSON.
pub(super) fn json(status: u16, body: Vec<u8>) -> Reply {
    Reply { status, ..Reply::json(body) }
}

/// The answer to `id`, whole.
pub(super) fn result(id: &RequestId, result: &RawValue) -> Reply {
    json(200, message::answer(Some(id), Ok(result)))
}

/// What is answered to a notification.
pub(super) fn accepted() -> Reply {
    Reply { status: 202, headers: Vec::new(), body: Vec::new() }
}

/// One event of a stream.
pub(super) fn event(message: &[u8]) -> Vec<u8> {
    [b"event: message\ndata: ", message, b"\n\n"].concat()
}

/// A stream that is known whole.
pub(super) fn events(messages: &[Vec<u8>]) -> Reply {
    let headers = STREAM_HEADERS.into_iter().map(|(name, value)| (name, value.to_owned()));
    let body = messages.iter().flat_map(|message| event(message)).collect();
    Reply { status: 200, headers: headers.collect(), body }
}
