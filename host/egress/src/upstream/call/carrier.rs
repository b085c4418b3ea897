//! What carries an attempt out: the egress, or a script in a test.

use crate::body::ResponseBody;
use crate::client::{Egress, SendOptions};
use crate::error::EgressError;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use std::future::Future;
use std::sync::atomic::AtomicBool;

/// Sends one request and returns the head of its response as soon as it is there. Dropping the future, or the body, ends the
/// call, and then too `is_sent` says whether the request had been handed to a connection.
pub trait Carrier: Send + Sync + 'static {
    /// The body of a response.
    type Body: Body<Data = Bytes, Error = EgressError> + Send + Unpin + 'static;

    /// See [`Egress::send`].
    fn send(
        &self,
        request: Request<Full<Bytes>>,
        options: SendOptions,
        is_sent: &AtomicBool,
    ) -> impl Future<Output = Result<Response<Self::Body>, EgressError>> + Send;
}

impl Carrier for Egress {
    type Body = ResponseBody;

    fn send(
        &self,
        request: Request<Full<Bytes>>,
        options: SendOptions,
        is_sent: &AtomicBool,
    ) -> impl Future<Output = Result<Response<ResponseBody>, EgressError>> + Send {
        self.send_telling(request, options, is_sent)
    }
}
