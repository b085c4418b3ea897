//! One question from end to end.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::sync::futures::Notified;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::AnswerSource;
use super::body::AnswerBody;
use super::caches::Host;
use super::flight::Turn;
use super::kept::mark;
use super::key::Key;
use super::pump::{Course, Led, fly};
use super::shelf::{AnswerStats, Found, Seat, Shelf};
use crate::error::EgressError;

/// How long somebody without a deadline waits for another's call: as long as a call takes at most, by default.
const FOLLOW_TIME_MAX: Duration = Duration::from_secs(300);

/// A request, as far as its answer depends on it.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The path it goes to, without a query. Only those that end in `/chat/completions` are looked at.
    pub path: &'a str,
    /// The model that is to answer, by its configured name.
    pub model: &'a str,
    /// The body, as the function wrote it.
    pub body: &'a [u8],
}

/// Who asks: until when an answer is of use, and how it is told that none is.
#[derive(Debug, Clone, Default)]
pub struct AskOptions {
    /// When the answer must have begun. Who follows another's call until then makes a call after all, which is to see for
    /// itself that it is late: so one place says what becomes of late calls, and those who wait together do not call
    /// together. `None` is five minutes from now.
    pub deadline: Option<Instant>,
    /// Ends this asker's part at any point, the body of the response included.
    pub cancelled: Option<CancellationToken>,
}

/// The answers of one tenant. Cheap to clone.
#[derive(Clone)]
pub struct TenantAnswers(Option<Open>);

/// What a handle has when the cache is on.
#[derive(Clone)]
struct Open {
    host: Arc<Host>,
    shelf: Arc<Shelf>,
}

type Answered<B> = Result<Response<AnswerBody<B>>, EgressError>;

impl TenantAnswers {
    /// A handle with which every question is called for.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    pub(crate) fn new(host: Arc<Host>, shelf: Arc<Shelf>) -> Self {
        Self(Some(Open { host, shelf }))
    }

    /// Whether answers are kept at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.open().is_some()
    }

    fn open(&self) -> Option<&Open> {
        self.0.as_ref().filter(|open| open.shelf.is_on())
    }

    /// Makes all answers invalid, those that are under way included: they reach whoever has asked already, and nobody
    /// else. To be called when the tenant's settings or knowledge change.
    pub fn invalidate(&self) {
        if let Some(open) = &self.0 {
            open.shelf.clear();
        }
    }

    /// What has been done for this tenant, and what is held.
    #[must_use]
    pub fn stats(&self) -> AnswerStats {
        self.0.as_ref().map(|open| open.shelf.stats()).unwrap_or_default()
    }

    /// Answers `question` from what is kept, from a call that is under way, or by `call`; the module's documentation says
    /// when which. Must run inside a Tokio runtime.
    ///
    /// `call` is given the token that ends it, and must not be ended by the asker's own: others may go on with it when the
    /// asker has gone. For the same reason it owns what accounts for it. It is dropped unused if no call is made.
    ///
    /// The response carries an [`AnswerSource`] in its extensions, and the field [`super::ANSWER_CACHE_FIELD`]. Who made
    /// the call gets its head whole; others get its type, `waggle-model`, `waggle-upstream`, and `waggle-attempts` as 0.
    /// What is no answer, a status other than 200, belongs to whoever made the call.
    ///
    /// Dropping the future, or the body, gives up this asker's part.
    ///
    /// # Errors
    /// What `call` fails with; [`EgressError::Cancelled`]. An answer of another's call that breaks off fails in its body.
    pub async fn get_or_call<C, F, B>(
        &self,
        question: Question<'_>,
        options: AskOptions,
        call: C,
    ) -> Answered<B>
    where
        C: FnOnce(CancellationToken) -> F,
        F: Future<Output = Result<Response<B>, EgressError>> + Send + 'static,
        B: Body<Data = Bytes, Error = EgressError> + Send + Unpin + 'static,
    {
        let asked = self.open().and_then(|open| Some((open, Key::of(open.shelf.number, &question)?)));
        let Some((open, key)) = asked else { return alone(call, options, AnswerSource::Off).await };
        match open.shelf.find(key) {
            Found::Kept(kept) => {
                let body = AnswerBody::kept(Arc::clone(&kept)).until(options.cancelled);
                Ok(kept.head.response(AnswerSource::Hit, body))
            }
            Found::Call(seat, is_under_way) => {
                if is_under_way {
                    open.shelf.count(|counters| &counters.waits, 1);
                }
                open.take_part(seat, options, call).await
            }
            Found::Full => {
                open.shelf.count(|counters| &counters.misses, 1);
                alone(call, options, AnswerSource::Miss).await
            }
        }
    }
}

impl Open {
    /// Leads or follows, until there is something to read or nobody else to wait for.
    async fn take_part<C, F, B>(&self, seat: Seat, options: AskOptions, call: C) -> Answered<B>
    where
        C: FnOnce(CancellationToken) -> F,
        F: Future<Output = Result<Response<B>, EgressError>> + Send + 'static,
        B: Body<Data = Bytes, Error = EgressError> + Send + Unpin + 'static,
    {
        let until = options.deadline.unwrap_or_else(|| Instant::now() + FOLLOW_TIME_MAX);
        let turn = loop {
            // Before the look at the flight, so that no change after it is missed.
            let changed = seat.flight.changed.notified();
            match seat.flight.turn() {
                Turn::Wait => match wait(changed, until, options.cancelled.as_ref()).await {
                    Waited::Changed => {}
                    Waited::Cancelled => return Err(EgressError::Cancelled),
                    Waited::Late => break Turn::Alone,
                },
                turn => break turn,
            }
        };
        match turn {
            Turn::Read(head, slot) => {
                let body = AnswerBody::shared(slot, seat).until(options.cancelled);
                Ok(head.response(AnswerSource::Joined, body))
            }
            Turn::Lead(ends) => {
                self.shelf.count(|counters| &counters.misses, 1);
                self.lead(seat, ends, options, call).await
            }
            Turn::Wait | Turn::Alone => {
                drop(seat);
                self.shelf.count(|counters| &counters.misses, 1);
                alone(call, options, AnswerSource::Miss).await
            }
        }
    }

    async fn lead<C, F, B>(
        &self,
        seat: Seat,
        ends: CancellationToken,
        options: AskOptions,
        call: C,
    ) -> Answered<B>
    where
        C: FnOnce(CancellationToken) -> F,
        F: Future<Output = Result<Response<B>, EgressError>> + Send + 'static,
        B: Body<Data = Bytes, Error = EgressError> + Send + Unpin + 'static,
    {
        let course = Course {
            host: Arc::clone(&self.host),
            shelf: Arc::clone(&self.shelf),
            key: seat.key,
            flight: Arc::clone(&seat.flight),
            has_ended: false,
        };
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(fly(course, call(ends.clone()), ends, sender).in_current_span());
        let led = tokio::select! {
            biased;
            () = cancellation(options.cancelled.as_ref()) => return Err(EgressError::Cancelled),
            led = receiver => led,
        };
        let mut response = match led {
            Ok(Led::Shared(head, slot)) => Response::from_parts(head, AnswerBody::shared(slot, seat)),
            Ok(Led::Own(result)) => result?.map(AnswerBody::own),
            Ok(Led::Broken(head, error)) => Response::from_parts(head, AnswerBody::broken(error)),
            Err(_gone) => {
                let reason = "the task that made the call has ended".to_owned();
                return Err(EgressError::ConnectionTerminated { reason });
            }
        };
        mark(&mut response, AnswerSource::Miss);
        Ok(response.map(|body| body.until(options.cancelled)))
    }
}

/// A call outside of the cache, ended by the asker's own token.
async fn alone<C, F, B>(call: C, options: AskOptions, source: AnswerSource) -> Answered<B>
where
    C: FnOnce(CancellationToken) -> F,
    F: Future<Output = Result<Response<B>, EgressError>>,
{
    let mut response = call(options.cancelled.unwrap_or_default()).await?.map(AnswerBody::own);
    mark(&mut response, source);
    Ok(response)
}

enum Waited {
    Changed,
    Cancelled,
    Late,
}

/// Waits for a change of the flight. One that is told of a change and does not look passes it on, which is what `Notified`
/// does when it is dropped.
async fn wait(changed: Notified<'_>, until: Instant, cancelled: Option<&CancellationToken>) -> Waited {
    tokio::select! {
        biased;
        () = cancellation(cancelled) => Waited::Cancelled,
        () = changed => Waited::Changed,
        () = tokio::time::sleep_until(until) => Waited::Late,
    }
}

async fn cancellation(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Question<'_> {
    /// Without the body, which is what somebody asked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("path", &self.path)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantAnswers").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}
