//! The body that is sent and the body that comes back.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::EgressError;
use crate::pool::Lease;

type BoxError = Box<dyn StdError + Send + Sync>;

/// The body of a request, of one type for all callers because connections are shared. An empty one costs no allocation.
pub(crate) enum RequestBody {
    Empty,
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl RequestBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() { Self::Empty } else { Self::Boxed(body.map_err(Into::into).boxed_unsync()) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// The body of a response, as it arrives.
///
/// It fails with [`EgressError::HttpResponseTimeout`] when the upstream pauses for too long while somebody waits for it
/// (a slow reader does not count as a pause), and with [`EgressError::Cancelled`] when the call is cancelled. Read to its
/// end, it gives the connection back to the pool. Dropped before, it closes the connection (HTTP/1) or resets the stream
/// (HTTP/2), so that the upstream stops working for nobody.
pub struct ResponseBody {
    /// `None` once it has ended, one way or the other.
    incoming: Option<Incoming>,
    lease: Option<Lease>,
    pause: PauseTimer,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        lease: Option<Lease>,
        between_bytes: Duration,
        cancelled: Option<CancellationToken>,
    ) -> Self {
        let mut body = Self {
            incoming: Some(incoming),
            lease,
            pause: PauseTimer { timeout: between_bytes, waiting_since: None, sleep: None },
            cancelled: cancelled.map(|token| Box::pin(token.cancelled_owned())),
        };
        body.finish_at_end();
        body
    }

    /// Gives the connection back as soon as nothing more can come, as a reader that knows the length may never ask again.
    fn finish_at_end(&mut self) {
        if self.incoming.as_ref().is_some_and(Body::is_end_stream) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.incoming = None;
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// Ends the call upstream.
    fn fail(&mut self, error: EgressError) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        self.incoming = None;
        self.lease = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = self.get_mut();
        let Some(incoming) = this.incoming.as_mut() else { return Poll::Ready(None) };
        if this.cancelled.as_mut().is_some_and(|cancelled| cancelled.as_mut().poll(context).is_ready()) {
            return this.fail(EgressError::Cancelled);
        }
        match Pin::new(incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.pause.waiting_since = None;
                this.finish_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(EgressError::from_body(&error)),
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.pause.poll(context));
                let after = this.pause.timeout;
                this.fail(EgressError::HttpResponseTimeout { after })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("ended", &self.incoming.is_none()).finish_non_exhaustive()
    }
}

/// Measures how long somebody has waited for the next piece. The timer is set once and moved only when it rings too
/// early, because moving it for each piece of a stream would cost more than the piece.
struct PauseTimer {
    timeout: Duration,
    waiting_since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl PauseTimer {
    /// Ready when the wait has lasted for the timeout.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = since + self.timeout;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
