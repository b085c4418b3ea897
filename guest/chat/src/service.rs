//! The function as a whole: a request comes in, an answer goes out.

use crate::agent::Keeping;
use crate::background::{FollowedStream, run_path, wants_stream};
use crate::handover::{Telling, tell_path};
use crate::idempotency::{Doing, OnceStream};
use crate::knowledge::Kept;
use crate::language::Language;
use crate::platform::{Platform, Request, Sink, USER_FIELD, Work, read_json};
use crate::problem::{Problem, internal};
use crate::relay::RelayedStream;
use crate::reply::{Reply, STREAM_HEADERS};
use crate::rights::{EXPORT_HEADERS, Export};
use crate::route::Route;
use crate::session_stream::SessionStream;
use crate::stream::StreamedTurn;
use crate::summary::summary_path;
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::{ChunkSource, Upstream};
use waggle_openai::ApiError;

/// The longest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// The function, with what it stands on.
#[derive(Debug)]
pub struct Service<S, U, P> {
    /// Where conversations and responses are kept.
    pub store: S,
    /// How a model is reached.
    pub upstream: U,
    /// The rest.
    pub platform: P,
}

/// An answer.
#[derive(Debug)]
pub enum Answer<S, P, B> {
    /// One that is whole.
    Reply(Reply),
    /// One that is still to be produced: 200 with [`Streaming::headers`], then whatever
    /// [`Streaming::run`] writes.
    Stream(Streaming<S, P, B>),
    /// An answer, and work to be done beside it and after it, for want of a host that takes it.
    Working(Box<Self>, Work),
}

impl<S, P: Platform, B> Answer<S, P, B> {
    /// A whole answer, which is kept for questions that are alike when its sender has it.
    pub(crate) fn with_kept(reply: Reply, kept: Option<Box<Kept>>, platform: &P) -> Self {
        let Some(kept) = kept else { return Self::Reply(reply) };
        let platform = platform.clone();
        Self::Working(Box::new(Self::Reply(reply)), Work::new(async move { kept.run(&platform).await }))
    }
}

/// An answer that is still to be produced.
#[derive(Debug)]
pub enum Streaming<S, P, B> {
    /// A turn.
    Turn(Box<StreamedTurn<S, P, B>>),
    /// A turn under an idempotency key.
    Once(Box<OnceStream<S, P, B>>),
    /// A chat completion, passed through.
    Relay(Box<RelayedStream<P, B>>),
    /// The events of a response that is made in the background.
    Followed(Box<FollowedStream<S, P>>),
    /// A turn of a session.
    Session(Box<SessionStream<S, P, B>>),
    /// All that is a user's.
    Export(Box<Export<S, P>>),
}

impl<S: Store + Clone, P: Platform + Clone, B: ChunkSource + 'static> Streaming<S, P, B> {
    /// The headers of the answer.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Export(_) => &EXPORT_HEADERS,
            _ => &STREAM_HEADERS,
        }
    }

    /// Produces the answer into `sink`, to its end.
    pub async fn run<K: Sink>(self, sink: K) {
        match self {
            Self::Turn(turn) => turn.run(sink).await,
            Self::Once(once) => Box::pin(once.run(sink)).await,
            Self::Relay(relay) => relay.run(sink).await,
            Self::Followed(followed) => followed.run(sink).await,
            Self::Session(session) => session.run(sink).await,
            Self::Export(export) => Box::pin(export.run(sink)).await,
        }
    }
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Serves one request.
    pub async fn handle<C: ChunkSource>(self, request: Request<'_>, body: C) -> Answer<S, P, U::Body> {
        let (path, query) = request.path_with_query.split_once('?').unwrap_or((request.path_with_query, ""));
        if let Some(delivery) = request.work
            && let Some(id) = run_path(request.method, path)
        {
            return Box::pin(self.deliver(request.user, id, delivery)).await;
        }
        if request.work.is_some()
            && let Some(id) = summary_path(request.method, path)
        {
            return Box::pin(self.deliver_summary(request.user, id)).await;
        }
        if let Some(delivery) = request.work
            && let Some(id) = tell_path(request.method, path)
        {
            let telling = Telling { id };
            return Answer::Reply(Box::pin(telling.deliver(&self.store, &self.platform, delivery)).await);
        }
        let route = match Route::find(request.method, path) {
            Ok(route) => route,
            Err(error) => return Answer::Reply(Reply::from(&error)),
        };
        let viewer = match viewer(request.user) {
            Ok(viewer) => viewer,
            Err(problem) => return Answer::Reply(report(&self.platform, &problem)),
        };
        let body = match read_body(&route, request, body).await {
            Ok(body) => body,
            Err(error) => return Answer::Reply(Reply::from(&error)),
        };
        let language = Language::negotiate(request.accept_language);
        // Whoever serves the request may take all of `self` into a stream, the log included.
        let keys = request.idempotency_key;
        match route {
            Route::CreateResponse if !keys.is_empty() => {
                // In a box, so that requests without a key, which are most, do not carry its room.
                Box::pin(self.once(Doing::response(&body), keys, &viewer, (body, language))).await
            }
            Route::CreateChatCompletion if !keys.is_empty() => {
                Box::pin(self.once(Doing::chat_completion(&body), keys, &viewer, (body, language))).await
            }
            Route::CreateSessionTurn if !keys.is_empty() => {
                Box::pin(self.once(Doing::session_turn(&body), keys, &viewer, (body, language))).await
            }
            Route::CreateResponse => {
                let nonce = self.nonce();
                self.create_response(&viewer, body, language, (nonce, Keeping::Off)).await
            }
            Route::CreateChatCompletion => self.create_chat_completion(body, language).await,
            Route::GetResponse(id) if wants_stream(query) => {
                Box::pin(self.follow_response(&viewer, id, query, request.last_event_id)).await
            }
            Route::CreateSessionTurn => {
                let nonce = self.nonce();
                Box::pin(self.create_session_turn(&viewer, &body, language, (nonce, Keeping::Off))).await
            }
            Route::ExportUser(user) => Box::pin(self.export_user(&viewer, &user)).await,
            Route::HandOver(id) => Box::pin(self.hand_over(&viewer, id, &body)).await,
            route => {
                let served = self.serve(&viewer, route, query, &body).await;
                let served = served.map(Answer::Reply);
                served.unwrap_or_else(|problem| Answer::Reply(report(&self.platform, &problem)))
            }
        }
    }

    async fn serve(&self, viewer: &Viewer, route: Route, query: &str, body: &[u8]) -> Result<Reply, Problem> {
        match route {
            Route::CountInputTokens => self.count_input(viewer, body).await,
            Route::GetResponse(id) => self.get_response(viewer, id).await,
            Route::DeleteResponse(id) => self.delete_response(viewer, id).await,
            Route::CancelResponse(id) => self.cancel_response(viewer, id).await,
            Route::ListInputItems(id) => self.list_input_items(viewer, id, query).await,
            Route::CreateConversation => self.create_conversation(viewer, body).await,
            Route::GetConversation(id) => self.get_conversation(viewer, id).await,
            Route::UpdateConversation(id) => self.update_conversation(viewer, id, body).await,
            Route::DeleteConversation(id) => self.delete_conversation(viewer, id).await,
            Route::ListItems(id) => self.list_items(viewer, id, query).await,
            Route::AddItems(id) => self.add_items(viewer, id, body).await,
            Route::GetItem(id, item) => self.get_item(viewer, id, item).await,
            Route::DeleteItem(id, item) => self.delete_item(viewer, id, item).await,
            Route::PinItem(id, item) => self.pin_item(viewer, id, item).await,
            Route::UnpinItem(id, item) => self.unpin_item(viewer, id, item).await,
            Route::GetHandover(id) => self.get_handover(viewer, id).await,
            Route::HandBack(id) => self.hand_back(viewer, id).await,
            Route::Compact => Box::pin(self.compact(viewer, body)).await,
            Route::ListModels => self.list_models().await,
            Route::GetModel(name) => self.get_model(&name).await,
            Route::ListSessions => self.list_sessions(viewer, query).await,
            Route::GetSession(id) => self.get_session(viewer, id, query).await,
            Route::DeleteSession(id) => self.delete_session(viewer, id).await,
            Route::EraseUser(user) => Box::pin(self.erase_user(viewer, &user)).await,
            Route::CreateEmbedding => self.create_embedding(body).await,
            Route::CreateResponse
            | Route::CreateChatCompletion
            | Route::CreateSessionTurn
            | Route::HandOver(_)
            | Route::ExportUser(_) => Err(internal("a route was served in the wrong place".to_owned())),
        }
    }
}

pub(crate) fn viewer(user: &[Vec<u8>]) -> Result<Viewer, Problem> {
    Viewer::from_field(user)
        .map_err(|error| internal(format!("the field '{USER_FIELD}' is not usable: {error}")))
}

/// Logs what the operator should know of a problem and makes the reply for the caller.
pub(crate) fn report<P: Platform>(platform: &P, problem: &Problem) -> Reply {
    if let Some(line) = &problem.log {
        platform.log(&format!("status={} {line}", problem.error.status));
    }
    Reply::from(&*problem.error)
}

async fn read_body<C: ChunkSource>(
    route: &Route,
    request: Request<'_>,
    body: C,
) -> Result<Vec<u8>, ApiError> {
    if !route.has_body() {
        return Ok(Vec::new());
    }
    read_json(request, body, BODY_BYTES_MAX).await
}
