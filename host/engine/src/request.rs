//! One request while it is under way: its deadline, its cancellation, and the gate that holds its response back
//! until what the function wrote is durable.

use crate::lanes::ConnectionLane;
use crate::pool::Place;
use crate::store_span::durable;
use crate::worker::Seat;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, SetOnce};
use tokio_util::sync::CancellationToken;
use waggle_kv::Commit;
use waggle_measure::Timer;
use waggle_measure::trace::{Parent, Span, SpanKind, attribute};
use waggle_tenancy::Admitted;
use wasmtime_wasi_http::{Error, WasiBody};

/// What a call carries with it: from the client to the function, and on to the functions and services it calls.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Names the request in logs and to upstreams.
    pub request_id: Arc<str>,
    /// When the response's head must be there.
    pub head_deadline: Instant,
    /// When the response's body must have ended.
    pub body_deadline: Instant,
    /// How many functions called each other to get here; 0 for a client's request.
    pub depth: u32,
    /// Calls between functions that are under way for the client's request, however deep.
    pub calls: Arc<AtomicU32>,
    /// Who is calling, as header fields; every function that takes part in the request is told so.
    pub caller: CallerFields,
    /// As whose child the work on it is traced.
    pub span: Parent,
}

/// Header fields that the host puts on a request. A clone costs one reference count.
pub type CallerFields = Arc<[(HeaderName, HeaderValue)]>;

/// What a request holds of the host while it is under way.
#[derive(Default)]
pub struct Admission {
    /// Its place among the host's requests.
    pub host: Option<OwnedSemaphorePermit>,
    /// Its place among its tenant's.
    pub tenant: Option<Admitted>,
    /// The connection it came by, which goes to the lane of its tenant.
    pub connection: Option<Arc<ConnectionLane>>,
    /// Shows that it is under way, and how long it took.
    pub timer: Option<Timer>,
}

/// The commits of one instance that are applied but not known to be durable.
///
/// A write returns to the guest as soon as it is applied; what leaves the machine afterwards waits here for it. To
/// everybody outside, that is a durable write, but the guest never waits for the disk. Increments are kept apart, because
/// calls of models do not wait for them (docs/decisions/0020-increments-hold-no-model.md).
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Unflushed>);

#[derive(Debug, Default)]
struct Unflushed {
    writes: Option<Commit>,
    increments: Option<Commit>,
}

impl Unflushed {
    /// Forgets what is durable by now.
    fn tidy(&mut self) {
        for commit in [&mut self.writes, &mut self.increments] {
            if commit.as_ref().is_some_and(Commit::is_durable) {
                *commit = None;
            }
        }
    }
}

impl Ledger {
    /// Notes a write that is no increment.
    pub(crate) fn record(&self, commit: Commit) {
        if !commit.is_durable() {
            merge(&mut self.lock().writes, commit);
        }
    }

    /// Notes the increment of a counter.
    pub(crate) fn record_increment(&self, commit: Commit) {
        if !commit.is_durable() {
            merge(&mut self.lock().increments, commit);
        }
    }

    /// What must become durable before anything may leave, if there is something.
    pub(crate) fn pending(&self) -> Option<Commit> {
        let mut unflushed = self.lock();
        unflushed.tidy();
        let mut pending = unflushed.writes.clone();
        if let Some(increments) = &unflushed.increments {
            merge(&mut pending, increments.clone());
        }
        pending
    }

    /// What of it must become durable before a model may be called.
    pub(crate) fn pending_for_model(&self) -> Option<Commit> {
        let mut unflushed = self.lock();
        unflushed.tidy();
        unflushed.writes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Unflushed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `earlier` stands for both from now on.
fn merge(earlier: &mut Option<Commit>, later: Commit) {
    match earlier {
        Some(earlier) => earlier.merge(later),
        None => *earlier = Some(later),
    }
}

/// A request under way. It ends when its response has been sent to the end, or when the client has gone away.
pub(crate) struct RequestScope {
    pub(crate) context: CallContext,
    /// Cancelled when the client goes away or the deadline passes; the request's outbound calls end with it.
    pub(crate) cancelled: CancellationToken,
    /// Told when the request is over, complete or not.
    over: SetOnce<()>,
    completed: AtomicBool,
    /// The place in an instance that the request holds, once it has one.
    place: Mutex<Option<Place>>,
    /// When an instance began with it, if it is traced.
    began: OnceLock<Instant>,
    /// Spans of operations on stores that it has, if it is traced.
    store_spans: AtomicU32,
}

/// How long what a request has asked of other functions may go on after its response is complete.
const AFTER_RESPONSE: Duration = Duration::from_secs(5);

/// Operations on stores of one request that have spans; more have none. One request must not fill the queue of all.
pub(crate) const STORE_SPANS_MAX: u32 = 256;

impl RequestScope {
    pub(crate) fn new(context: CallContext) -> Self {
        Self {
            context,
            cancelled: CancellationToken::new(),
            over: SetOnce::new(),
            completed: AtomicBool::new(false),
            place: Mutex::new(None),
            began: OnceLock::new(),
            store_spans: AtomicU32::new(0),
        }
    }

    /// Whether one more operation on a store may have a span.
    pub(crate) fn takes_store_span(&self) -> bool {
        self.is_traced() && self.store_spans.fetch_add(1, Relaxed) < STORE_SPANS_MAX
    }

    /// Whether what is done for it now belongs into a trace.
    pub(crate) fn is_traced(&self) -> bool {
        self.context.span.is_recorded() && !self.is_over()
    }

    /// An instance begins with it. An earlier one may have, and ended.
    pub(crate) fn begin(&self) {
        let _ = self.began.set(Instant::now());
    }

    /// When an instance began with it, if it is traced.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// The request was given a place; an earlier one (in an instance that ended before it began) is freed.
    pub(crate) fn take_place(&self, place: Place) {
        *self.lock_place() = Some(place);
    }

    /// The instance the request is in.
    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.lock_place().as_ref().map(|place| Arc::clone(place.seat()))
    }

    /// Whether nobody waits for the request any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.initialized()
    }

    /// Returns when what the request has asked of other functions is to end: at once when nobody waits for its response any
    /// more, and a while after it was complete, so that work beside the response can come to its end.
    pub(crate) async fn released(&self) {
        self.over.wait().await;
        if self.is_completed() {
            tokio::time::sleep(AFTER_RESPONSE).await;
        }
    }

    /// Whether its response was sent to the end; what the guest goes on to do is nobody's request.
    pub(crate) fn is_completed(&self) -> bool {
        self.completed.load(Relaxed)
    }

    fn lock_place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by whoever waits for the response; dropping it before the response is complete cancels the request.
pub(crate) struct RequestGuard {
    pub(crate) scope: Arc<RequestScope>,
    /// The request's admission to the host, kept until the request has ended.
    _admission: Admission,
    /// What the function does for it.
    pub(crate) span: Span,
}

impl RequestGuard {
    /// `context` is that of the request; what the function asks for is traced as a child of what it does for it.
    pub(crate) fn new(mut context: CallContext, admission: Admission, function: &str) -> Self {
        let mut span = context.span.child("function", SpanKind::Internal);
        if span.is_recorded() {
            span.rename(format!("function {function}"));
            span.set_text(attribute::WAGGLE_FUNCTION, function);
        }
        context.span = span.parent();
        Self { scope: Arc::new(RequestScope::new(context)), _admission: admission, span }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if !self.scope.completed.load(Relaxed) {
            self.scope.cancelled.cancel();
        }
        // Only this guard tells it, and a guard is dropped once.
        let _ = self.scope.over.set(());
        drop(self.scope.lock_place().take());
    }
}

/// The response's body on its way to the client.
pub(crate) struct GatedBody {
    inner: WasiBody,
    ledger: Arc<Ledger>,
    guard: Option<RequestGuard>,
    /// Bytes that are still to come, where the response's head says how many there are. Whoever sends them does not ask for
    /// the end of the body when it has had all of them.
    left: Option<u64>,
    held: Option<Held>,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// A frame (or the end) that waits for a commit to become durable.
struct Held {
    frame: Option<Result<Frame<Bytes>, Error>>,
    durable: Pin<Box<dyn Future<Output = Result<(), waggle_kv::Error>> + Send>>,
}

impl GatedBody {
    pub(crate) fn wrap(
        response: http::Response<WasiBody>,
        ledger: Arc<Ledger>,
        guard: RequestGuard,
    ) -> http::Response<WasiBody> {
        let length = response.headers().get(http::header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|inner| {
            let mut body = Self { inner, ledger, guard: Some(guard), left, held: None, deadline: None };
            if left == Some(0) {
                body.complete();
            }
            body.boxed_unsync()
        })
    }

    /// Notes what goes to the client now: whether that is the last of it.
    fn count(&mut self, frame: Option<&Result<Frame<Bytes>, Error>>) {
        match frame {
            None => self.complete(),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                if self.left == Some(0) {
                    self.complete();
                }
            }
            Some(Err(_)) => {}
        }
    }

    /// The body ended as it should: the request is complete and its place free.
    fn complete(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.scope.completed.store(true, Relaxed);
        }
    }

    /// Whether the instance failed before this body was complete. The body itself does not tell a cut from its end.
    fn is_cut(&self) -> bool {
        self.guard.as_ref().and_then(|guard| guard.scope.seat()).is_some_and(|seat| seat.is_broken())
    }

    /// Ends with an error when the response has taken too long as a whole.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(guard) = &self.guard else { return Poll::Pending };
        let at = guard.scope.context.body_deadline;
        self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into()))).as_mut().poll(cx)
    }
}

impl Body for GatedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if let Some(held) = &mut self.held {
                let durable = ready!(held.durable.as_mut().poll(cx));
                let frame = self.held.take().and_then(|held| held.frame);
                if let Err(error) = durable {
                    let reason = format!("what was written could not be made durable: {error}");
                    return Poll::Ready(Some(Err(Error::InternalError(Some(reason)))));
                }
                self.count(frame.as_ref());
                return Poll::Ready(frame);
            }
            let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
                ready!(self.poll_deadline(cx));
                // What produces the body goes on otherwise, in an instance that others use.
                if let Some(seat) = self.guard.take().and_then(|guard| guard.scope.seat()) {
                    seat.condemn();
                }
                return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
            };
            if frame.is_none() && self.is_cut() {
                self.guard = None;
                return Poll::Ready(Some(Err(Error::HttpResponseIncomplete)));
            }
            match self.ledger.pending() {
                None => {
                    self.count(frame.as_ref());
                    return Poll::Ready(frame);
                }
                Some(commit) => {
                    let span = self.guard.as_ref().map(|guard| guard.span.parent()).unwrap_or_default();
                    let durable = Box::pin(async move { durable(commit, &span).await });
                    self.held = Some(Held { frame, durable });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // The end, too, may have to wait for a commit, so it is never announced early.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
