//! Bodies the gateway makes or wraps: fixed ones, bounded ones, and one that reads on after refusing.

use crate::headers::{strip_hop_by_hop, strip_reserved};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::SetOnce;
use waggle_engine::{BodyError, WasiBody};

/// How long a refused request's body is read and thrown away, so that a client that writes before it reads gets to
/// see the refusal instead of a reset connection.
const LINGER: Duration = Duration::from_secs(5);

/// A body of known content.
pub(crate) fn full(content: impl Into<Bytes>) -> WasiBody {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The body of a request.
pub(crate) enum Inbound {
    /// It comes from the client.
    Stream(Incoming),
    /// It was made of a message that a client has sent.
    Message(Full<Bytes>),
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Stream(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Hyper),
            Self::Message(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_end_stream(),
            Self::Message(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(body) => body.size_hint(),
            Self::Message(body) => body.size_hint(),
        }
    }
}

/// Tells that a body was cut because it grew over its limit. None for a body that cannot: its declared length fits.
#[derive(Clone, Default)]
pub(crate) struct Cut(Option<Arc<SetOnce<()>>>);

impl Cut {
    /// Of this body, whose declared length, if it has one, is within `limit`.
    fn of(body: &Inbound, limit: u64) -> Self {
        let may_grow = body.size_hint().upper().is_none_or(|most| most > limit);
        Self(may_grow.then(Arc::default))
    }

    /// Whether the body was cut.
    pub(crate) fn has_happened(&self) -> bool {
        self.0.as_ref().is_some_and(|cut| cut.initialized())
    }

    /// Returns when the body is cut, which for most never happens.
    pub(crate) async fn happens(&self) {
        match &self.0 {
            Some(cut) => {
                cut.wait().await;
            }
            None => std::future::pending().await,
        }
    }

    fn tell(&self) {
        if let Some(cut) = &self.0 {
            // It is told once at most: a body that was cut has ended.
            let _ = cut.set(());
        }
    }
}

/// A client's body that ends with an error once it has grown over `limit` bytes, and what tells that it has.
/// `counted` is told how many bytes came.
pub(crate) fn limited(body: Inbound, limit: u64, counted: Option<Arc<AtomicU64>>) -> (WasiBody, Cut) {
    if body.is_end_stream() {
        let empty = http_body_util::Empty::new().map_err(|never| match never {});
        return (empty.boxed_unsync(), Cut::default());
    }
    let cut = Cut::of(&body, limit);
    let body = LimitedBody { inner: Some(body), remaining: limit, cut: cut.clone(), counted };
    (body.boxed_unsync(), cut)
}

/// The body of a call between functions, without trailers that a function has no right to send.
pub(crate) fn clean_trailers(body: WasiBody) -> WasiBody {
    if body.is_end_stream() { body } else { CleanBody(body).boxed_unsync() }
}

/// Says how long it is, unlike what `map_frame` makes: whoever knows that takes a short body whole.
struct CleanBody(WasiBody);

impl Body for CleanBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_ok(clean)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Trailers are header fields that come late (RFC 9110, section 6.5): the same must not pass.
fn clean(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        strip_hop_by_hop(trailers);
        strip_reserved(trailers);
        trailers.remove(http::header::AUTHORIZATION);
    }
    frame
}

struct LimitedBody {
    /// None once it has ended.
    inner: Option<Inbound>,
    remaining: u64,
    cut: Cut,
    counted: Option<Arc<AtomicU64>>,
}

impl LimitedBody {
    /// What the client still sends is read and thrown away, for a while: with unread bytes in it, the connection would be
    /// reset, and the answer lost on the way.
    fn discard_rest(&mut self) {
        let unread = self.inner.take().filter(|inner| !inner.is_end_stream());
        if let (Some(mut unread), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                let discard = async { while let Some(Ok(_discarded)) = unread.frame().await {} };
                let _ = tokio::time::timeout(LINGER, discard).await;
            });
        }
    }
}

impl Drop for LimitedBody {
    /// A function may answer without having read the body.
    fn drop(&mut self) {
        self.discard_rest();
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => {
                self.inner = None;
                return Poll::Ready(end);
            }
        };
        let frame = clean(frame);
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        if let Some(counted) = &self.counted {
            counted.fetch_add(size, Relaxed);
        }
        match self.remaining.checked_sub(size) {
            Some(remaining) => self.remaining = remaining,
            None => {
                // Told before the function hears of it, so that whatever it answers comes later.
                self.cut.tell();
                self.discard_rest();
                return Poll::Ready(Some(Err(BodyError::HttpRequestBodySize(Some(size)))));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Sends `answer`, then reads what the client still sends, for a while, before it lets the connection go.
pub(crate) fn lingering(answer: WasiBody, request: Inbound) -> WasiBody {
    if request.is_end_stream() {
        return answer;
    }
    LingeringBody { answer, request, timer: None }.boxed_unsync()
}

struct LingeringBody {
    answer: WasiBody,
    request: Inbound,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for LingeringBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(frame) = ready!(Pin::new(&mut this.answer).poll_frame(cx)) {
            return Poll::Ready(Some(frame));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            match ready!(Pin::new(&mut this.request).poll_frame(cx)) {
                Some(Ok(_discarded)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }

    // Its end is not announced: hyper would not poll it any more, and the rest of the request stay unread.
}
