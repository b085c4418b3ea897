//! A model endpoint whose type nobody needs to know: a run that is under way asks it again and again, and the stream it
//! runs in is of one type whatever endpoint it is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};

type Sending<'a, B> = Pin<Box<dyn Future<Output = Result<UpstreamResponse<B>, TransportFailure>> + 'a>>;

trait Sends<B> {
    fn send_boxed(&self, request: UpstreamRequest) -> Sending<'_, B>;
}

impl<U: Upstream> Sends<U::Body> for U {
    fn send_boxed(&self, request: UpstreamRequest) -> Sending<'_, U::Body> {
        Box::pin(self.send(request))
    }
}

/// Any model endpoint whose answers have this body.
pub(crate) struct AnyUpstream<B>(Rc<dyn Sends<B>>);

impl<B> AnyUpstream<B> {
    pub(crate) fn new<U: Upstream<Body = B> + 'static>(upstream: U) -> Self {
        Self(Rc::new(upstream))
    }
}

impl<B> Clone for AnyUpstream<B> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<B> fmt::Debug for AnyUpstream<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AnyUpstream")
    }
}

impl<B: ChunkSource + 'static> Upstream for AnyUpstream<B> {
    type Body = B;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<B>, TransportFailure> {
        self.0.send_boxed(request).await
    }
}
