//! The routes: `GET /hello`, `POST /v1/conversations`, `POST /v1/conversations/{id}/items`, `POST /v1/responses`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::PeerError;
use crate::model::{Model, Usage};
use crate::store::{Store, StoredItem};
use crate::stream::stream_turn;

#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) store: Store,
    pub(crate) model: Model,
    ids: Arc<Ids>,
}

/// Ids that no other run of this program makes.
struct Ids {
    started_ns: u64,
    next: AtomicU64,
}

impl Peer {
    pub(crate) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{:016x}{:012x}", self.ids.started_ns, self.ids.next.fetch_add(1, Relaxed))
    }
}

pub(crate) fn router(store: Store, model: Model) -> Router {
    let started_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let ids = Arc::new(Ids { started_ns, next: AtomicU64::new(0) });
    Router::new()
        .route("/hello", get(async || "Hello, Waggle!"))
        .route("/v1/conversations", post(create))
        .route("/v1/conversations/{id}/items", post(add_items))
        .route("/v1/responses", post(respond))
        .with_state(Peer { store, model, ids })
}

async fn create(State(peer): State<Peer>) -> Result<Json<Value>, PeerError> {
    let id = peer.id("conv");
    let conversation =
        json!({"id": id, "object": "conversation", "created_at": unix_seconds(), "metadata": {}});
    peer.store.create(&id, &conversation.to_string()).await?;
    Ok(Json(conversation))
}

#[derive(Deserialize)]
struct NewItems {
    items: Vec<NewItem>,
}

#[derive(Deserialize)]
struct NewItem {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: String,
}

impl Content {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        }
    }
}

async fn add_items(
    State(peer): State<Peer>,
    Path(id): Path<String>,
    Json(new): Json<NewItems>,
) -> Result<Json<Value>, PeerError> {
    let stored: Vec<StoredItem> = new
        .items
        .into_iter()
        .map(|item| StoredItem { id: peer.id("msg"), role: item.role, text: item.content.into_text() })
        .collect();
    peer.store.append(&id, &stored).await?;
    let data: Vec<Value> = stored
        .iter()
        .map(|item| {
            json!({"id": item.id, "type": "message", "status": "completed", "role": item.role,
            "content": [{"type": "input_text", "text": item.text}]})
        })
        .collect();
    let ends = (stored.first().map(|item| &item.id), stored.last().map(|item| &item.id));
    Ok(Json(
        json!({"object": "list", "first_id": ends.0, "last_id": ends.1, "has_more": false, "data": data}),
    ))
}

#[derive(Deserialize)]
pub(crate) struct TurnRequest {
    pub(crate) model: String,
    pub(crate) input: String,
    #[serde(default)]
    pub(crate) conversation: Option<String>,
    #[serde(default)]
    stream: bool,
}

/// The response object; the subset of OpenAI's that all compared servers answer.
#[derive(Serialize)]
pub(crate) struct TurnResponse<'a> {
    pub(crate) id: &'a str,
    pub(crate) object: &'static str,
    pub(crate) created_at: u64,
    pub(crate) status: &'static str,
    pub(crate) error: Option<()>,
    pub(crate) model: &'a str,
    pub(crate) conversation: Option<ConversationRef<'a>>,
    pub(crate) output: Vec<OutputItem<'a>>,
    pub(crate) usage: Option<ResponseUsage>,
}

#[derive(Serialize)]
pub(crate) struct ConversationRef<'a> {
    id: &'a str,
}

#[derive(Serialize)]
pub(crate) struct OutputItem<'a> {
    pub(crate) id: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) status: &'static str,
    pub(crate) role: &'static str,
    pub(crate) content: Vec<OutputPart<'a>>,
}

#[derive(Serialize)]
pub(crate) struct OutputPart<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) text: &'a str,
    pub(crate) annotations: [(); 0],
}

#[derive(Serialize)]
pub(crate) struct ResponseUsage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

/// A turn between its beginning and its end.
pub(crate) struct Turn {
    pub(crate) response_id: String,
    pub(crate) message_id: String,
    pub(crate) created_at: u64,
    pub(crate) request: TurnRequest,
    /// What the user said, as it will be stored.
    pub(crate) said: StoredItem,
}

impl Turn {
    fn begin(peer: &Peer, request: TurnRequest) -> Self {
        let said = StoredItem { id: peer.id("msg"), role: "user".to_owned(), text: request.input.clone() };
        Self {
            response_id: peer.id("resp"),
            message_id: peer.id("msg"),
            created_at: unix_seconds(),
            request,
            said,
        }
    }

    /// The response so far: finished when there is an answer.
    pub(crate) fn response<'a>(&'a self, answer: Option<(&'a str, Usage)>) -> TurnResponse<'a> {
        let output = answer.map(|(text, _)| self.output_item(text, "completed")).into_iter().collect();
        let usage = answer.map(|(_, usage)| ResponseUsage {
            input_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        });
        TurnResponse {
            id: &self.response_id,
            object: "response",
            created_at: self.created_at,
            status: if answer.is_some() { "completed" } else { "in_progress" },
            error: None,
            model: &self.request.model,
            conversation: self.request.conversation.as_deref().map(|id| ConversationRef { id }),
            output,
            usage,
        }
    }

    pub(crate) fn output_item<'a>(&'a self, text: &'a str, status: &'static str) -> OutputItem<'a> {
        let part = OutputPart { kind: "output_text", text, annotations: [] };
        OutputItem { id: &self.message_id, kind: "message", status, role: "assistant", content: vec![part] }
    }

    /// Makes the turn durable and returns the response as it was stored.
    pub(crate) async fn finish(&self, store: &Store, text: &str, usage: Usage) -> Result<Vec<u8>, PeerError> {
        let answered =
            StoredItem { id: self.message_id.clone(), role: "assistant".to_owned(), text: text.to_owned() };
        let response = serde_json::to_vec(&self.response(Some((text, usage))))?;
        let conversation = self.request.conversation.as_deref();
        let items = [self.said.clone(), answered];
        store.finish_turn(conversation, &items, &self.response_id, &response).await?;
        Ok(response)
    }
}

async fn respond(State(peer): State<Peer>, Json(request): Json<TurnRequest>) -> Result<Response, PeerError> {
    let mut window = match &request.conversation {
        Some(id) => peer.store.window(id).await?,
        None => Vec::new(),
    };
    let streams = request.stream;
    let turn = Turn::begin(&peer, request);
    window.push(turn.said.clone());
    if streams {
        return stream_turn(peer, turn, window).await;
    }
    let (text, usage) = peer.model.complete(&turn.request.model, &window).await?;
    let response = turn.finish(&peer.store, &text, usage).await?;
    Ok(([(CONTENT_TYPE, "application/json")], response).into_response())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
