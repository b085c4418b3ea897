//! `POST /v1/responses` with `background`: checked as any other, kept, handed to the host's queue, answered at once.

use super::follow::FollowedStream;
use crate::agent::Keeping;
use crate::format::Format;
use crate::language::Language;
use crate::plan::Counting;
use crate::platform::{Delivery, Platform, QueueFailure, Work};
use crate::prepare::KnownTurn;
use crate::problem::{Problem, internal};
use crate::reference::put_in;
use crate::reply::Reply;
use crate::service::{Answer, Service, Streaming, report};
use crate::settings::Settings;
use crate::summary::Opener;
use crate::tokens::count_items;
use waggle_conversation::background::{self, Batch, Belonging, Phase, Queued, State};
use waggle_conversation::window::{Window, WindowLimits};
use waggle_conversation::{Store, Viewer, conversation};
use waggle_model::transport::Upstream;
use waggle_openai::event::EventWriter;
use waggle_openai::item::{RawItem, to_raw_items};
use waggle_openai::request::{Continues, CreateResponse};
use waggle_openai::response::{ResponseHead, Status};
use waggle_openai::{ApiError, ConversationId, Nonce, ResponseId};

/// How long a request may take to hand its response over, in seconds.
const HAND_OVER_S_MAX: u64 = 15;

/// A response that is accepted.
struct Accepted {
    head: ResponseHead,
    input: Vec<RawItem>,
    tokens: u64,
    belonging: Belonging,
}

/// 429: the tenant's queue is full.
fn queue_full(retry_after_s: u32) -> ApiError {
    let message =
        "As many background responses of yours are waiting as may. Try again later, or without 'background'.";
    let limited = ApiError::rate_limited(Some(retry_after_s), message);
    ApiError { code: Some("background_queue_full"), ..limited }
}

/// 503: the queue does not work.
fn unavailable(retry_after_s: Option<u32>, reason: &str) -> Problem {
    let message =
        "Background responses are not accepted at the moment. Try again later, or without 'background'.";
    let error = ApiError { retry_after_s, ..ApiError::server(503, "background_unavailable", message) };
    Problem { error: Box::new(error), log: Some(format!("the host's work queue: {reason}")) }
}

/// The events a response begins with, and their number.
pub(super) fn announced(object: &[u8], kinds: &[&str], first: u64) -> Result<Batch, Problem> {
    let mut events = EventWriter::starting_at(first);
    for kind in kinds {
        events.response(kind, object);
    }
    let count = events.next_number().saturating_sub(first);
    let text = String::from_utf8(events.take()).map_err(|error| internal(error.to_string()))?;
    Ok(Batch { first, count, text, last: false })
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Accepts the response and answers: with its object, or with its events as they come.
    pub(crate) async fn create_background(
        self,
        viewer: &Viewer,
        body: &[u8],
        request: CreateResponse<'_>,
        (language, nonce): (Language, Nonce),
    ) -> Answer<S, P, U::Body> {
        let stream = request.stream;
        let accepted = self.accept(viewer, body, request, (language, nonce)).await;
        let (id, object) = match accepted {
            Ok(accepted) => accepted,
            Err(problem) => return Answer::Reply(report(&self.platform, &problem)),
        };
        let queued = self.hand_over_response(id).await;
        let Self { store, upstream, platform } = self;
        let answer = if stream {
            let followed = FollowedStream::from_the_beginning(store.clone(), platform.clone(), id);
            Answer::Stream(Streaming::Followed(Box::new(followed)))
        } else {
            Answer::Reply(Reply::json(object))
        };
        match queued {
            Ok(true) => answer,
            Ok(false) => {
                let (service, viewer) = (Service { store, upstream, platform }, viewer.clone());
                let work = async move { service.run_alone(&viewer, id).await };
                Answer::Working(Box::new(answer), Work::new(work))
            }
            Err(problem) => Answer::Reply(report(&platform, &problem)),
        }
    }

    /// Checks and keeps the response: its id and its object.
    async fn accept(
        &self,
        viewer: &Viewer,
        body: &[u8],
        request: CreateResponse<'_>,
        (language, nonce): (Language, Nonce),
    ) -> Result<(ResponseId, Vec<u8>), Problem> {
        let accepted = match request.continues {
            // The turn takes its place in the conversation when it runs.
            Continues::Conversation(id) => self.accept_in(viewer, request, id, nonce).await?,
            _ => {
                let known = KnownTurn { nonce, accepted_at: None, stop: None, keeping: Keeping::Off };
                let (turn, _) = self.prepare(viewer, request, language, known).await?;
                let belonging = turn.continuation.belonging();
                Accepted { tokens: turn.input_tokens, head: turn.head, input: turn.input, belonging }
            }
        };
        let Accepted { head, input, tokens, belonging } = accepted;
        let object = head.to_json(&Status::Queued, &[], None);
        let state = State {
            state: Phase::Queued,
            attempt: 0,
            until_ms: 0,
            created_at: head.created_at,
            language: language.tag().to_owned(),
            last: false,
        };
        let events = announced(&object, &["response.created", "response.queued"], 0)?;
        let queued = Queued {
            nonce: head.id.0,
            belonging,
            object: &object,
            input: &input,
            tokens,
            request: body,
            state,
            events,
        };
        queued.create(&self.store).await?;
        Ok((head.id, object))
    }

    async fn accept_in(
        &self,
        viewer: &Viewer,
        request: CreateResponse<'_>,
        id: ConversationId,
        nonce: Nonce,
    ) -> Result<Accepted, Problem> {
        let CreateResponse { mut input, references, continues, background, mut parameters, .. } = request;
        parameters.metadata.drop_reserved();
        Format::read(&parameters.text)?;
        let held_tokens = Opener::new(&self.store).check(viewer, "input", &input, &references).await?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(parameters.model.as_deref())?.to_owned();
        let conversation = conversation::open(&self.store, viewer, id.0).await?;
        let conversation =
            conversation.ok_or_else(|| ApiError::not_found("Conversation", &id.to_string()))?;
        // What the window will show is known when the turn runs; until then all that is named is its input.
        let nothing = Window::new(WindowLimits { items_max: 0, tokens_max: 0 });
        let found = self.find_references(viewer, &references, continues, &nothing).await?;
        put_in(&mut input, &found)?;
        let counting = Counting::read(&self.platform, &settings, &model).await?;
        let created_at = self.platform.now_ms() / 1000;
        Ok(Accepted {
            tokens: count_items(&self.platform, counting.model(&model), &input) + held_tokens,
            input: to_raw_items(&input, nonce, 0)?,
            head: ResponseHead {
                id: ResponseId(nonce),
                created_at,
                background,
                model,
                continues,
                parameters,
            },
            belonging: conversation.belonging(),
        })
    }

    /// Hands the response to the host's queue; `false` where there is none.
    async fn enqueue(&self, id: ResponseId) -> Result<bool, Problem> {
        match self.platform.enqueue(&format!("/v1/responses/{id}/run")).await {
            Ok(()) => Ok(true),
            Err(QueueFailure::Absent) => Ok(false),
            Err(QueueFailure::Full(retry_after_s)) => Err(queue_full(retry_after_s).into()),
            Err(QueueFailure::Busy(retry_after_s)) => Err(unavailable(Some(retry_after_s), "it is busy")),
            Err(QueueFailure::Failed(reason)) => Err(unavailable(None, &reason)),
        }
    }

    /// Hands a response over once more that nobody has begun for so long that its request may have died before it was
    /// handed over. One that is handed over twice is run once.
    ///
    /// # Errors
    /// The queue takes nothing; the store's.
    pub(crate) async fn hand_over_again(&self, id: ResponseId) -> Result<(), Problem> {
        let Some(seen) = background::state(&self.store, id.0).await? else { return Ok(()) };
        let waits_s = (self.platform.now_ms() / 1000).saturating_sub(seen.state.created_at);
        if seen.state.state == Phase::Queued && waits_s >= HAND_OVER_S_MAX {
            self.enqueue(id).await?;
        }
        Ok(())
    }

    /// Hands the response over, as [`enqueue`](Self::enqueue) does. A response that is refused leaves nothing
    /// behind.
    async fn hand_over_response(&self, id: ResponseId) -> Result<bool, Problem> {
        let problem = match self.enqueue(id).await {
            Ok(taken) => return Ok(taken),
            Err(problem) => problem,
        };
        if let Err(error) = background::remove(&self.store, id.0).await {
            self.platform.log(&format!("response={id} not taken back: {error}"));
        }
        Err(problem)
    }
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Runs a response without a queue: once.
    async fn run_alone(&self, viewer: &Viewer, id: ResponseId) {
        if let Err(problem) = self.run_response(viewer, id, Delivery { last: true }).await {
            let _logged = report(&self.platform, &problem);
        }
    }
}
