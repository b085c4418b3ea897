//! The body of an answer, on its way to the function: counted, bounded in size and time, ended by cancellation.

use super::record::Record;
use super::upstream::Upstream;
use crate::body::ResponseBody;
use crate::error::EgressError;
use crate::upstream::concurrency::Place;
use crate::upstream::report::Ending;
use crate::upstream::snapshot::Counters;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The most of an answer's body that is passed on; a longer one is cut there.
pub const RESPONSE_BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The last event of a stream, in OpenAI's API.
const DONE: &[u8] = b"[DONE]";

type Polled = Poll<Option<Result<Frame<Bytes>, EgressError>>>;

/// The body of a response to a call: an upstream's answer, or an error of the host.
///
/// It holds the call's place at the upstream, and tells how the call ended, when it ends or is dropped. It fails with
/// [`EgressError::Cancelled`] when the call is cancelled, [`EgressError::HttpResponseTimeout`] when the answer pauses for
/// too long or the call's time is over, and [`EgressError::HttpResponseIncomplete`] when the answer breaks off, or is larger
/// than [`RESPONSE_BODY_BYTES_MAX`].
pub struct UpstreamBody<B = ResponseBody> {
    /// What was read before the head was handed over.
    held: Option<Bytes>,
    /// The rest; `None` once it has ended, one way or the other.
    rest: Option<B>,
    bytes: u64,
    /// Whether the last piece was the end of a stream of events, after which a reader need not ask for more.
    is_done: bool,
    call: Option<Under>,
}

/// The call that an answer belongs to.
pub(super) struct Under {
    pub(super) upstream: Arc<Upstream>,
    pub(super) endpoint: usize,
    /// Whether it is an answer, and not a complaint about the request.
    pub(super) is_answer: bool,
    /// Whether it is the upstream's failure if the answer pauses for too long.
    pub(super) is_pause_fair: bool,
    pub(super) deadline: Instant,
    pub(super) cancelled: Option<CancellationToken>,
    pub(super) waits: Option<Pin<Box<Waits>>>,
    pub(super) record: Record,
    pub(super) _place: Option<Place>,
}

/// What ends the wait for a piece, beside the piece. Made when there is a wait at all.
pub(super) struct Waits {
    deadline: Pin<Box<Sleep>>,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<B> UpstreamBody<B> {
    /// A text of the host's own.
    pub(super) fn own(text: Bytes) -> Self {
        Self { held: Some(text), rest: None, bytes: 0, is_done: false, call: None }
    }

    /// Ends the call: its place is free, and its end is told.
    fn end(&mut self, ending: Ending) {
        self.rest = None;
        let Some(mut call) = self.call.take() else { return };
        call.record.report.ending = ending;
        call.record.report.response_bytes = self.bytes;
        if matches!(ending, Ending::BrokeOff | Ending::Stalled | Ending::TooLarge) {
            Counters::add(&call.upstream.counters.cut);
        }
        let is_of_upstream = match ending {
            Ending::BrokeOff => true,
            Ending::Stalled => call.is_pause_fair,
            _ => false,
        };
        if call.is_answer && is_of_upstream {
            call.upstream.fail_late(call.endpoint);
        }
    }

    fn fail(&mut self, ending: Ending, error: EgressError) -> Polled {
        self.end(ending);
        Poll::Ready(Some(Err(error)))
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Polled {
        if let Some(data) = frame.data_ref() {
            self.bytes += data.len() as u64;
            self.is_done = data.trim_ascii_end().ends_with(DONE);
        }
        if self.bytes > RESPONSE_BODY_BYTES_MAX {
            let reason = format!("it is larger than {RESPONSE_BODY_BYTES_MAX} bytes, and was cut");
            return self.fail(Ending::TooLarge, EgressError::HttpResponseIncomplete { reason });
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl<B: Body> UpstreamBody<B> {
    /// An answer of which `held` has been read.
    pub(super) fn of(held: Bytes, rest: B, call: Under) -> Self {
        let held = Some(held).filter(|held| !held.is_empty());
        let is_over = held.is_none() && rest.is_end_stream();
        let mut body = Self { held, rest: Some(rest), bytes: 0, is_done: false, call: Some(call) };
        if is_over {
            // Nobody may ever ask for a piece.
            body.end(Ending::Complete);
        }
        body
    }
}

impl Under {
    /// Ready when the call has been cancelled, or its time is over.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<(Ending, EgressError)> {
        let (until, cancelled) = (self.deadline, &mut self.cancelled);
        let waits = self.waits.get_or_insert_with(|| {
            Box::pin(Waits {
                deadline: Box::pin(tokio::time::sleep_until(until)),
                cancelled: cancelled.take().map(|token| Box::pin(token.cancelled_owned())),
            })
        });
        if waits.cancelled.as_mut().is_some_and(|cancelled| cancelled.as_mut().poll(context).is_ready()) {
            return Poll::Ready((Ending::GivenUp, EgressError::Cancelled));
        }
        ready!(waits.deadline.as_mut().poll(context));
        let after = until.saturating_duration_since(self.record.started);
        Poll::Ready((Ending::Deadline, EgressError::HttpResponseTimeout { after }))
    }
}

/// How a call ended whose answer failed with `error`.
fn ending_of(error: &EgressError) -> Ending {
    match error {
        EgressError::Cancelled => Ending::GivenUp,
        EgressError::HttpResponseTimeout { .. } => Ending::Stalled,
        _ => Ending::BrokeOff,
    }
}

impl<B> Body for UpstreamBody<B>
where
    B: Body<Data = Bytes, Error = EgressError> + Unpin,
{
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let mut is_watched = false;
        if let Some(call) = &mut this.call
            && call.waits.is_some()
        {
            if let Poll::Ready((ending, error)) = call.poll_end(context) {
                return this.fail(ending, error);
            }
            is_watched = true;
        }
        if let Some(held) = this.held.take() {
            let polled = this.pass(Frame::data(held));
            if this.rest.as_ref().is_some_and(Body::is_end_stream) {
                this.end(Ending::Complete);
            }
            return polled;
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        match Pin::new(&mut *rest).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // A reader that knows the length may never ask again.
                let is_end = rest.is_end_stream();
                let polled = this.pass(frame);
                if is_end {
                    this.end(Ending::Complete);
                }
                polled
            }
            Poll::Ready(Some(Err(error))) => this.fail(ending_of(&error), error),
            Poll::Ready(None) => {
                this.end(Ending::Complete);
                Poll::Ready(None)
            }
            Poll::Pending if is_watched => Poll::Pending,
            Poll::Pending => {
                let Some(call) = &mut this.call else { return Poll::Pending };
                let (ending, error) = ready!(call.poll_end(context));
                this.fail(ending, error)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, |held| held.len() as u64);
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

impl<B> Drop for UpstreamBody<B> {
    fn drop(&mut self) {
        if self.call.is_some() {
            self.end(if self.is_done { Ending::Complete } else { Ending::GivenUp });
        }
    }
}

impl<B> fmt::Debug for UpstreamBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("ended", &self.rest.is_none()).finish_non_exhaustive()
    }
}
