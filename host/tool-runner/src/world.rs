//! What one call can reach beyond its own instance. The host makes it from the tool's grants; nothing in it can be widened
//! by the tool.

use async_trait::async_trait;
use std::time::Duration;
use waggle_engine::{BodyError, LogStream, StoreHandle, WasiBody};

/// The world of a tool's calls: where it may call, what it may store, where its output goes. Made for one tenant and tool.
#[async_trait]
pub trait ToolWorld: Send + Sync + 'static {
    /// Makes a call that the tool asks for, under its grants: the allow-list, the guard against inner addresses, the
    /// credentials and the bounds of answers are checked here. The number of calls is bounded by
    /// [`Limits::outbound_calls_max`](crate::Limits::outbound_calls_max) already.
    ///
    /// # Errors
    /// What the tool is told: [`BodyError::HttpRequestDenied`] where it was not granted the destination.
    async fn send(
        &self,
        request: http::Request<WasiBody>,
        times: SendTimes,
    ) -> Result<http::Response<WasiBody>, BodyError>;

    /// The store that was granted by this label; none where it was not, and the tool is told `access-denied`.
    fn store(&self, label: &str) -> Option<StoreHandle>;

    /// Takes what the tool prints, in pieces of any size, of each call no more than `LOGGED_BYTES_MAX` in all.
    fn log(&self, stream: LogStream, bytes: &[u8]);
}

/// Bytes of standard output and error together that are kept of one call; the rest is dropped.
pub(crate) const LOGGED_BYTES_MAX: usize = 64 << 10;

/// How long the tool waits for what, where it said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendTimes {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the head of the answer.
    pub first_byte: Option<Duration>,
    /// For the next piece of its body.
    pub between_bytes: Option<Duration>,
}

/// Reaches nothing, and drops what is printed: the world of a tool that is asked what it can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGrants;

#[async_trait]
impl ToolWorld for NoGrants {
    async fn send(
        &self,
        _request: http::Request<WasiBody>,
        _times: SendTimes,
    ) -> Result<http::Response<WasiBody>, BodyError> {
        Err(BodyError::HttpRequestDenied)
    }

    fn store(&self, _label: &str) -> Option<StoreHandle> {
        None
    }

    fn log(&self, _stream: LogStream, _bytes: &[u8]) {}
}
