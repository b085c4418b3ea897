//! The seam between this library and the network: any request, and an answer that arrives in chunks.

use std::future::Future;
use waggle_model::transport::{ChunkSource, TransportFailure};

/// A request to somebody else's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// The method, in upper case.
    pub method: &'static str,
    /// Where to: origin, path and query.
    pub url: String,
    /// The header fields, names in lower case; `content-length` is left to whoever sends it.
    pub headers: Vec<(String, String)>,
    /// The body, where there is one.
    pub body: Option<Vec<u8>>,
    /// How long to wait for the connection, for the first byte, and between any two, in milliseconds.
    pub timeout_ms: u64,
}

/// The head of an answer, and its body to come. Dropping the body tells the sender to stop.
#[derive(Debug)]
pub struct FetchResponse<B> {
    /// The HTTP status.
    pub status: u16,
    /// The header fields, names in lower case. Values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: B,
}

impl<B> FetchResponse<B> {
    /// The first value of a field; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }
}

/// What sends requests. It follows no redirects.
pub trait Fetch {
    /// The body of an answer.
    type Body: ChunkSource;

    /// Sends `request` and waits for the head of the answer.
    fn send(
        &self,
        request: FetchRequest,
    ) -> impl Future<Output = Result<FetchResponse<Self::Body>, TransportFailure>>;
}

impl<F: Fetch> Fetch for &F {
    type Body = F::Body;

    fn send(
        &self,
        request: FetchRequest,
    ) -> impl Future<Output = Result<FetchResponse<Self::Body>, TransportFailure>> {
        (**self).send(request)
    }
}
