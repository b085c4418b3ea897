//! The seam between this library and the network: two traits.

use crate::tier::Choice;
use crate::wire::Wire;
use std::collections::VecDeque;
use std::future::Future;

/// Why no answer, or no more of it, came from the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// Nobody listens there, or the name, the route or the TLS handshake failed.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer within the time allowed.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// The host does not allow this function to go there.
    #[error("not allowed by the host: {0}")]
    Denied(String),
    /// The host has no room for another call, or holds it back to spare the endpoint.
    #[error("held back by the host: {0}")]
    Busy(String),
    /// The connection ended before the answer did.
    #[error("cut off: {0}")]
    Cut(String),
    /// The host ended the call, as it does when the client has gone away: nobody waits for an answer any more.
    #[error("ended by the host: {0}")]
    Ended(String),
}

/// A body that arrives in chunks.
pub trait ChunkSource {
    /// The next chunk, `None` at the end. Dropping the source tells the sender to stop.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, TransportFailure>>;
}

/// A request to a model endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// Where to: origin, path and query.
    pub url: String,
    /// By which API the model is asked, where one is.
    pub wire: Wire,
    /// Sent as `Authorization: Bearer …` when it is not empty.
    pub api_key: String,
    /// Posted as JSON; `None` makes it a GET.
    pub body: Option<Vec<u8>>,
    /// Whether events are wanted rather than one JSON document.
    pub events: bool,
    /// How long to wait for the connection, for the first byte, and between any two, in milliseconds.
    pub timeout_ms: u64,
    /// Which tier was chosen for it and why, where one was: for the metrics of a host that asks for it.
    pub choice: Option<Choice>,
    /// Sent as `Idempotency-Key` when it is not empty: the same for each attempt at one step of a run.
    pub idempotency_key: String,
}

/// The head of an endpoint's answer, and its body to come.
#[derive(Debug)]
pub struct UpstreamResponse<B> {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The `waggle-model` header: which model answered, where the host chooses among several.
    pub model: Option<String>,
    /// The `waggle-price` header: what the model's tokens cost, where the host knows.
    pub price: Option<String>,
    /// The body.
    pub body: B,
}

/// What sends requests. Clones send them to the same place.
pub trait Upstream: Clone {
    /// The body of an answer.
    type Body: ChunkSource + 'static;

    /// Sends `request` and waits for the head of the answer.
    fn send(
        &self,
        request: UpstreamRequest,
    ) -> impl Future<Output = Result<UpstreamResponse<Self::Body>, TransportFailure>>;
}

/// A body of which some chunks were read ahead.
#[derive(Debug)]
pub struct Replayed<B> {
    ahead: VecDeque<Vec<u8>>,
    body: B,
}

impl<B> Replayed<B> {
    /// `body`, after the chunks that were read of it.
    pub fn new(ahead: Vec<Vec<u8>>, body: B) -> Self {
        Self { ahead: ahead.into(), body }
    }
}

impl<B> From<B> for Replayed<B> {
    fn from(body: B) -> Self {
        Self::new(Vec::new(), body)
    }
}

impl<B: ChunkSource> ChunkSource for Replayed<B> {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        match self.ahead.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.body.next_chunk().await,
        }
    }
}

/// Why a body could not be read whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// It is longer than allowed; no more than that was held.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// It ended early.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
}

/// Reads a body to its end, holding at most `bytes_max` bytes and one chunk.
///
/// # Errors
/// As soon as the body is longer than `bytes_max`, or when it ends early.
pub async fn read_whole<B: ChunkSource>(body: &mut B, bytes_max: usize) -> Result<Vec<u8>, ReadFailure> {
    let mut whole = Vec::new();
    while let Some(chunk) = body.next_chunk().await? {
        if whole.len() + chunk.len() > bytes_max {
            return Err(ReadFailure::TooLong(bytes_max));
        }
        if whole.is_empty() {
            whole = chunk;
        } else {
            whole.extend_from_slice(&chunk);
        }
    }
    Ok(whole)
}
