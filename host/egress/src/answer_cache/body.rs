//! The body of an answer, wherever it comes from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::flight::ReadingSlot;
use super::kept::Kept;
use super::shelf::Seat;
use crate::error::EgressError;

/// The body of an answer: that of a call of its own (`B`), one that was kept, or one that is read together with others.
///
/// It fails with [`EgressError::Cancelled`] when its asker's token is cancelled. Dropped before its end, it ends the call,
/// unless others read it.
pub struct AnswerBody<B> {
    origin: Origin<B>,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

enum Origin<B> {
    Own(B),
    Kept(Arc<Kept>, usize),
    /// The slot goes before the seat, so that the flight has its readers among those with a seat.
    Shared(ReadingSlot, Seat),
    Broken(EgressError),
    Ended,
}

impl<B> AnswerBody<B> {
    /// A body that knows by itself when it is cancelled.
    pub(crate) fn own(body: B) -> Self {
        Self { origin: Origin::Own(body), cancelled: None }
    }

    pub(crate) fn kept(kept: Arc<Kept>) -> Self {
        Self { origin: Origin::Kept(kept, 0), cancelled: None }
    }

    pub(crate) fn shared(slot: ReadingSlot, seat: Seat) -> Self {
        Self { origin: Origin::Shared(slot, seat), cancelled: None }
    }

    pub(crate) fn broken(error: EgressError) -> Self {
        Self { origin: Origin::Broken(error), cancelled: None }
    }

    /// Lets `token` end it.
    pub(crate) fn until(mut self, token: Option<CancellationToken>) -> Self {
        self.cancelled = token.map(|token| Box::pin(token.cancelled_owned()));
        self
    }

    /// Gives up its part in whatever it came from.
    fn end(
        &mut self,
        last: Option<Result<Frame<Bytes>, EgressError>>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        self.origin = Origin::Ended;
        Poll::Ready(last)
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes, Error = EgressError> + Unpin,
{
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = self.get_mut();
        if matches!(this.origin, Origin::Ended) {
            return Poll::Ready(None);
        }
        if this.cancelled.as_mut().is_some_and(|cancelled| cancelled.as_mut().poll(context).is_ready()) {
            return this.end(Some(Err(EgressError::Cancelled)));
        }
        let next = match &mut this.origin {
            Origin::Own(body) => return Pin::new(body).poll_frame(context),
            Origin::Kept(kept, index) => {
                let piece = kept.piece(*index);
                *index += 1;
                piece.map(Ok)
            }
            Origin::Shared(slot, _seat) => ready!(slot.poll_next(context)),
            Origin::Broken(_) | Origin::Ended => match std::mem::replace(&mut this.origin, Origin::Ended) {
                Origin::Broken(error) => Some(Err(error)),
                _ => None,
            },
        };
        match next {
            Some(Ok(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Err(error)) => this.end(Some(Err(error))),
            None => this.end(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.origin {
            Origin::Own(body) => body.is_end_stream(),
            Origin::Kept(kept, index) => kept.piece(*index).is_none(),
            Origin::Shared(..) | Origin::Broken(_) => false,
            Origin::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.origin {
            Origin::Own(body) => body.size_hint(),
            Origin::Kept(kept, index) => SizeHint::with_exact(kept.bytes_from(*index)),
            Origin::Shared(..) | Origin::Broken(_) => SizeHint::default(),
            Origin::Ended => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match &self.origin {
            Origin::Own(_) => "own",
            Origin::Kept(..) => "kept",
            Origin::Shared(..) => "shared",
            Origin::Broken(_) => "broken",
            Origin::Ended => "ended",
        };
        f.debug_struct("AnswerBody").field("origin", &origin).finish_non_exhaustive()
    }
}
