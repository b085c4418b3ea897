//! Answers that are read whole, within a bound.

use waggle_mcp::{Fetch, FetchRequest};
use waggle_model::transport::{ReadFailure, TransportFailure, read_whole};

/// Where a host that keeps a registry answers.
pub(crate) const HOST: &str = "http://tools.waggle.internal";
/// The field by which the host knows under whose grants a request goes.
pub(crate) const TOOL_FIELD: &str = "waggle-tool";

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The header fields, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Fetched {
    /// The first value of a field; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// After how many milliseconds it asks to come back, where it says so in seconds.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        seconds.checked_mul(1000)
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// None came, or not all of it.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
    /// It is longer than so many bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Sends `request` and reads its answer, of at most `bytes_max` bytes.
///
/// # Errors
/// There is none that is whole and within the bound.
pub(crate) async fn fetch<F: Fetch>(
    fetch: &F,
    request: FetchRequest,
    bytes_max: usize,
) -> Result<Fetched, FetchError> {
    let mut response = fetch.send(request).await?;
    let body = read_whole(&mut response.body, bytes_max).await.map_err(|failure| match failure {
        ReadFailure::TooLong(bytes_max) => FetchError::TooLong(bytes_max),
        ReadFailure::Transport(failure) => FetchError::Transport(failure),
    })?;
    Ok(Fetched { status: response.status, headers: response.headers, body })
}

/// A POST of JSON to another function or to the host.
pub(crate) fn post_json(url: String, body: Vec<u8>, timeout_ms: u64) -> FetchRequest {
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    FetchRequest { method: "POST", url, headers, body: Some(body), timeout_ms }
}

/// A GET of JSON, likewise.
pub(crate) fn get_json(url: String, timeout_ms: u64) -> FetchRequest {
    let headers = vec![("accept".to_owned(), "application/json".to_owned())];
    FetchRequest { method: "GET", url, headers, body: None, timeout_ms }
}
