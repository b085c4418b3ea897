//! `Idempotency-Key`: what came with the same key is done once, and answered alike for 24 hours.
//!
//! `docs/decisions/0011-idempotency.md` says which failures let the key go. The line is drawn where a model may have been
//! paid: [`Watched`] sees every call. A turn that was interrupted is not begun again, unless it was a run of the agent: that
//! one goes on from its journal.

use crate::agent::Keeping;
use crate::language::Language;
use crate::locked::Pulse;
use crate::platform::{Platform, Sink};
use crate::problem::Problem;
use crate::replay::events;
use crate::reply::{Reply, STREAM_HEADERS};
use crate::service::{Answer, Service, Streaming, report};
use crate::session::on_behalf_of;
use crate::stream::StreamedTurn;
use serde_json::value::RawValue;
use std::cell::Cell;
use std::rc::Rc;
use waggle_conversation::idempotency::{Claim, Claimed, Kept, Once, claim, take_up};
use waggle_conversation::{Owner, Store, Viewer, response};
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};
use waggle_openai::chat::ChatRequest;
use waggle_openai::event::DONE;
use waggle_openai::members::Members;
use waggle_openai::request::CreateResponse;
use waggle_openai::session::SessionTurnBody;
use waggle_openai::{ApiError, Nonce, ResponseId};

/// The field, as an error names it.
const FIELD: &str = "Idempotency-Key";
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Says that an answer was given before.
const REPLAYED_FIELD: &str = "idempotency-replayed";
/// How long a request waits for one with its key that is being served, in milliseconds.
const WAIT_MS_MAX: u64 = 10_000;
const PAUSE_MS_MIN: u64 = 50;
const PAUSE_MS_MAX: u64 = 250;
const RETRY_AFTER_S: u32 = 1;

/// What is done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// A turn, which may be streamed, and may be stored.
    Response { stream: bool, stored: bool, background: bool },
    /// A chat completion.
    ChatCompletion,
    /// A session's turn.
    SessionTurn,
}

/// A model endpoint, and whether it may have done work that is to be paid.
#[derive(Debug, Clone)]
pub(crate) struct Watched<U> {
    upstream: U,
    paid: Rc<Cell<bool>>,
}

impl<U: Upstream> Upstream for Watched<U> {
    type Body = U::Body;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<U::Body>, TransportFailure> {
        let sent = self.upstream.send(request).await;
        let paid = match &sent {
            Ok(response) => response.status == 200,
            // Whoever was not reached has done nothing; of all others nobody knows.
            Err(
                TransportFailure::Unreachable(_) | TransportFailure::Denied(_) | TransportFailure::Busy(_),
            ) => false,
            Err(TransportFailure::TimedOut(_) | TransportFailure::Cut(_) | TransportFailure::Ended(_)) => {
                true
            }
        };
        self.paid.set(self.paid.get() || paid);
        sent
    }
}

/// A streamed turn under a key.
#[derive(Debug)]
pub struct OnceStream<S, P, B> {
    store: S,
    platform: P,
    claim: Claim,
    pulse: Pulse,
    turn: Box<StreamedTurn<S, P, B>>,
}

impl<S: Store, P: Platform, B: ChunkSource + 'static> OnceStream<S, P, B> {
    /// Produces the stream. Its response, which is stored, is what the key stands for afterwards.
    pub(crate) async fn run<K: Sink>(self, sink: K) {
        let Self { store, platform, claim, mut pulse, turn } = self;
        let beat = async || beat(&store, &platform, &claim).await;
        pulse.during(&platform, beat, turn.run(sink)).await;
    }
}

async fn beat<S: Store, P: Platform>(store: &S, platform: &P, claim: &Claim) {
    if let Err(error) = claim.beat(store, platform.now_ms()).await {
        platform.log(&format!("an idempotency key could not be held: {error}"));
    }
}

fn key(values: &[Vec<u8>]) -> Result<&[u8], ApiError> {
    let wrong = || {
        let message =
            format!("'{FIELD}' must be one value of 1 to {KEY_BYTES_MAX} visible ASCII characters.");
        ApiError::invalid_param(FIELD, "invalid_idempotency_key", message)
    };
    let [value] = values else { return Err(wrong()) };
    let fits = (1..=KEY_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    if fits { Ok(value) } else { Err(wrong()) }
}

impl Doing {
    /// What a turn's body asks for.
    ///
    /// # Errors
    /// The body is wrong, or asks for a stream that nothing could be made of again.
    pub(crate) fn response(body: &[u8]) -> Result<Self, ApiError> {
        let request = CreateResponse::read(body)?;
        let (stream, stored) = (request.stream, request.parameters.store);
        if stream && !stored {
            let message =
                format!("'{FIELD}' with 'stream' needs the response to be stored: leave out 'store'.");
            return Err(ApiError::unsupported(FIELD, message));
        }
        Ok(Self::Response { stream, stored, background: request.background })
    }

    /// What a chat completion's body asks for.
    ///
    /// # Errors
    /// The body is wrong, or asks for a stream, which is not kept.
    pub(crate) fn chat_completion(body: &[u8]) -> Result<Self, ApiError> {
        if ChatRequest::read(body)?.stream {
            let message = format!(
                "'{FIELD}' is not supported for a streamed chat completion. Leave out 'stream', or use /v1/responses."
            );
            return Err(ApiError::unsupported(FIELD, message));
        }
        Ok(Self::ChatCompletion)
    }

    /// What a session's turn asks for.
    ///
    /// # Errors
    /// The body is wrong, or asks for a stream, which is not kept.
    pub(crate) fn session_turn(body: &[u8]) -> Result<Self, ApiError> {
        if SessionTurnBody::read(body)?.stream {
            let message =
                format!("'{FIELD}' is not supported for a streamed turn of a session. Leave out 'stream'.");
            return Err(ApiError::unsupported(FIELD, message));
        }
        Ok(Self::SessionTurn)
    }

    /// Whose data the answer holds: a service may have a session's turn for one of its users.
    fn owner(self, viewer: &Viewer, body: &[u8]) -> Owner {
        if self != Self::SessionTurn {
            return viewer.owner();
        }
        // A body that names nobody is refused when it is done.
        let body = SessionTurnBody::read(body).ok();
        let user = body.and_then(|body| on_behalf_of(viewer, body.user.as_deref()).ok());
        user.unwrap_or_else(|| viewer.clone()).owner()
    }

    fn route(self) -> &'static str {
        match self {
            Self::Response { .. } => "POST /v1/responses",
            Self::ChatCompletion => "POST /v1/chat/completions",
            Self::SessionTurn => "POST /v1/chat",
        }
    }

    fn streams(self) -> bool {
        matches!(self, Self::Response { stream: true, .. })
    }

    /// Whether its events are kept as they were sent, and may still be coming.
    fn is_followed(self) -> bool {
        matches!(self, Self::Response { stream: true, background: true, .. })
    }
}

/// How a claim went.
enum Turnout {
    Ours(Claim),
    /// It was begun before, for this response, and goes on where it was interrupted.
    Resumed(Claim, Nonce),
    Reply(Reply),
    /// The events of this response, which was made in the background, or still is.
    Follow(ResponseId),
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Serves a request that came with a key.
    pub(crate) async fn once(
        self,
        doing: Result<Doing, ApiError>,
        keys: &[Vec<u8>],
        viewer: &Viewer,
        (body, language): (Vec<u8>, Language),
    ) -> Answer<S, P, U::Body> {
        let nonce = self.nonce();
        let turnout = match (doing, key(keys)) {
            (Ok(doing), Ok(key)) => {
                self.turnout(doing, viewer, key, &body, nonce).await.map(|turnout| (doing, turnout))
            }
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        };
        match turnout {
            Ok((doing, Turnout::Ours(claim))) => {
                self.run_claimed(doing, claim, viewer, (body, language), (nonce, Keeping::Fresh)).await
            }
            Ok((doing, Turnout::Resumed(claim, nonce))) => {
                self.run_claimed(doing, claim, viewer, (body, language), (nonce, Keeping::Resumed)).await
            }
            Ok((_, Turnout::Reply(reply))) => Answer::Reply(reply),
            Ok((_, Turnout::Follow(id))) => self.follow_from_the_beginning(id),
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    /// Claims the key, or waits for what becomes of it.
    async fn turnout(
        &self,
        doing: Doing,
        viewer: &Viewer,
        key: &[u8],
        body: &[u8],
        nonce: Nonce,
    ) -> Result<Turnout, Problem> {
        let (mut waited_ms, mut pause_ms, mut is_looked_at) = (0, PAUSE_MS_MIN, false);
        let of = doing.owner(viewer, body);
        loop {
            let once =
                Once { route: doing.route(), key, body, of: &of, nonce, now_ms: self.platform.now_ms() };
            match claim(&self.store, viewer, once).await? {
                Claimed::Ours(claim) => return Ok(Turnout::Ours(claim)),
                Claimed::Answered(kept) => return Ok(Turnout::Reply(again(kept))),
                Claimed::Stored(response) if doing.is_followed() => {
                    self.hand_over_again(ResponseId(response)).await?;
                    return Ok(Turnout::Follow(ResponseId(response)));
                }
                Claimed::Stored(response) => {
                    return self.stored(doing, viewer, ResponseId(response)).await.map(Turnout::Reply);
                }
                Claimed::Interrupted => {
                    if let Some((claim, response)) = take_up(&self.store, viewer, once).await? {
                        return Ok(Turnout::Resumed(claim, response));
                    }
                    // Another may just have taken it up: then it is found to be running.
                    if std::mem::replace(&mut is_looked_at, true) {
                        return Err(interrupted().into());
                    }
                }
                Claimed::OtherRequest => return Err(reused().into()),
                Claimed::Running if waited_ms >= WAIT_MS_MAX => return Err(in_use().into()),
                Claimed::Running => {}
            }
            self.platform.sleep(pause_ms).await;
            waited_ms += pause_ms;
            pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
        }
    }

    /// The answer of a turn whose response is stored.
    async fn stored(&self, doing: Doing, viewer: &Viewer, id: ResponseId) -> Result<Reply, Problem> {
        if matches!(doing, Doing::Response { background: true, .. }) {
            self.hand_over_again(id).await?;
        }
        if doing == Doing::SessionTurn {
            // Its host died before it had kept the answer.
            let mut reply = self.session_turn_again(viewer, id).await?.ok_or_else(interrupted)?;
            reply.headers.push((REPLAYED_FIELD, "true".to_owned()));
            return Ok(reply);
        }
        let Some(stored) = response::streamed(&self.store, viewer, id.0).await? else {
            return Err(interrupted().into());
        };
        let mut reply = Reply::json(Vec::new());
        if !doing.streams() {
            reply.body = String::from(Box::<str>::from(stored.object)).into_bytes();
        } else {
            // Whoever left in the middle never had an end that could be told again.
            if is_cancelled(&stored.object)? {
                return Err(interrupted().into());
            }
            reply.body = [events(&stored)?.text.as_bytes(), DONE].concat();
            reply.headers = STREAM_HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        }
        reply.headers.push((REPLAYED_FIELD, "true".to_owned()));
        Ok(reply)
    }

    async fn run_claimed(
        self,
        doing: Doing,
        claim: Claim,
        viewer: &Viewer,
        (body, language): (Vec<u8>, Language),
        attempt: (Nonce, Keeping),
    ) -> Answer<S, P, U::Body> {
        let Self { store, upstream, platform } = self;
        let paid = Rc::new(Cell::new(false));
        let upstream = Watched { upstream, paid: Rc::clone(&paid) };
        let inner = Service { store: store.clone(), upstream, platform: platform.clone() };
        let running = async {
            match doing {
                Doing::Response { .. } => inner.create_response(viewer, body, language, attempt).await,
                Doing::ChatCompletion => inner.create_chat_completion(body, language).await,
                Doing::SessionTurn => inner.create_session_turn(viewer, &body, language, attempt).await,
            }
        };
        let mut pulse = Pulse::default();
        let beat = async || beat(&store, &platform, &claim).await;
        match pulse.during(&platform, beat, running).await {
            Answer::Reply(mut reply) => {
                settle((&store, &platform), &claim, doing, &mut reply, paid.get()).await;
                Answer::Reply(reply)
            }
            Answer::Working(answer, work) => match *answer {
                Answer::Reply(mut reply) => {
                    settle((&store, &platform), &claim, doing, &mut reply, paid.get()).await;
                    Answer::Working(Box::new(Answer::Reply(reply)), work)
                }
                answer => Answer::Working(Box::new(answer), work),
            },
            Answer::Stream(Streaming::Turn(turn)) => {
                let stream = OnceStream { store, platform, claim, pulse, turn };
                Answer::Stream(Streaming::Once(Box::new(stream)))
            }
            other => other,
        }
    }
}

/// Keeps an answer, or lets the key go.
async fn settle<S: Store, P: Platform>(
    (store, platform): (&S, &P),
    claim: &Claim,
    doing: Doing,
    reply: &mut Reply,
    paid: bool,
) {
    let failed = reply.status >= 400;
    let settled = match doing {
        // The response itself is what the key stands for, and it was committed with the turn.
        Doing::Response { stored: true, .. } if !failed => return,
        _ if failed && !paid => claim.release(store).await,
        _ => claim.keep(store, reply.status, &reply.body).await,
    };
    if failed && paid {
        no_retry(reply);
    }
    if let Err(error) = settled {
        platform.log(&format!("what was answered under an idempotency key was not kept: {error}"));
    }
}

/// OpenAI's SDKs repeat after 409, 429 and 5xx, which would only bring the same again.
fn no_retry(reply: &mut Reply) {
    reply.headers.retain(|(name, _)| !matches!(*name, "retry-after" | "x-should-retry"));
    reply.headers.push(("x-should-retry", "false".to_owned()));
}

fn again(kept: Kept) -> Reply {
    let body = String::from(Box::<str>::from(kept.body)).into_bytes();
    let mut reply = Reply { status: kept.status, ..Reply::json(body) };
    if reply.status >= 400 {
        no_retry(&mut reply);
    }
    reply.headers.push((REPLAYED_FIELD, "true".to_owned()));
    reply
}

fn is_cancelled(object: &RawValue) -> serde_json::Result<bool> {
    Ok(Members::read(object.get().as_bytes())?.get("status") == Some("\"cancelled\""))
}

fn reused() -> ApiError {
    let message = format!("This '{FIELD}' was used with another body. Use a new key for a new request.");
    ApiError::rejected(422, Some("idempotency_key_reused"), message)
}

fn in_use() -> ApiError {
    let message = format!("A request with this '{FIELD}' is still being served. Ask again for its answer.");
    ApiError {
        retry_after_s: Some(RETRY_AFTER_S),
        ..ApiError::rejected(409, Some("idempotency_key_in_use"), message)
    }
}

fn interrupted() -> ApiError {
    let message = format!(
        "The request with this '{FIELD}' was interrupted and has no answer, or its response was deleted. The model is not \
         asked again under the same key: use a new key to begin anew."
    );
    ApiError::rejected(422, Some("idempotency_interrupted"), message)
}
