//! The bodies and objects of `/v1/chat` and `/v1/sessions`.

use crate::error::ApiError;
use crate::id::{ConversationId, ResponseId};
use crate::item::Citation;
use crate::json::{self, Fields, Path, Text, Unknown, read_object};
use crate::metadata::Metadata;
use serde::Serialize;
use serde::de::MapAccess;

/// The body of `POST /v1/chat`.
#[derive(Debug, Default)]
pub struct SessionTurnBody<'a> {
    /// On whose behalf it is asked.
    pub user: Option<Text<'a>>,
    /// What the user says; never empty.
    pub query: Text<'a>,
    /// The session that goes on; none begins one.
    pub session: Option<Text<'a>>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The model, when one is named.
    pub model: Option<Text<'a>>,
    /// The client's own pairs, for the response.
    pub metadata: Option<Metadata>,
}

impl<'de: 'a, 'a> Fields<'de> for SessionTurnBody<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, _path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "user" => self.user = map.next_value()?,
            "query" => self.query = map.next_value()?,
            "session" => self.session = map.next_value()?,
            "stream" => self.stream = map.next_value::<Option<bool>>()?.unwrap_or(false),
            "model" => self.model = map.next_value()?,
            "metadata" => self.metadata = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Serialize)]
struct ResponseBody<'a> {
    input: &'a str,
    conversation: ConversationId,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
}

impl<'a> SessionTurnBody<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 naming the field that is unknown, wrong or missing.
    pub fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        read_object(body, &mut fields, Unknown::Refused)?;
        if fields.query.is_empty() {
            return Err(ApiError::missing("query"));
        }
        Ok(fields)
    }

    /// The same as the body of `POST /v1/responses`.
    pub fn as_response_body(&self, conversation: ConversationId) -> Vec<u8> {
        let body = ResponseBody {
            input: &self.query,
            conversation,
            stream: self.stream,
            model: self.model.as_deref(),
            metadata: self.metadata.as_ref(),
        };
        let mut out = Vec::with_capacity(self.query.len() + 256);
        json::push(&mut out, &body);
        out
    }
}

/// The answer of `POST /v1/chat`.
#[derive(Debug, Serialize)]
pub struct SessionAnswer<'a> {
    /// What was answered.
    pub answer: &'a str,
    /// The turn's number in the session; none when the session was deleted meanwhile.
    pub seq: Option<u64>,
    /// The session.
    pub session: ConversationId,
    /// Whether it was answered in a model's place.
    pub fallback: bool,
    /// What it cites.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// Whether nothing was found to answer from, and somebody else is to take over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub handover: bool,
    /// The response that holds the turn.
    pub response_id: ResponseId,
}

/// A turn in the object of a session.
#[derive(Debug, Serialize)]
pub struct SessionMessage {
    /// Its number.
    pub seq: u64,
    /// What the user said.
    pub query: String,
    /// What was answered.
    pub answer: String,
    /// Whether that was in a model's place.
    pub fallback: bool,
    /// The response that holds the turn.
    pub response_id: ResponseId,
    /// When the turn began, in seconds since 1970.
    pub created_at: u64,
}

/// A session, in a list or by itself.
#[derive(Debug, Serialize)]
pub struct SessionObject<'a> {
    /// Its id, which is its conversation's.
    pub session: ConversationId,
    /// Always `session`.
    pub object: &'static str,
    /// Whose it is.
    pub user: &'a str,
    /// In seconds since 1970.
    pub created_at: u64,
    /// When it was used last, to about a minute, in seconds since 1970.
    pub used_at: u64,
    /// How many turns it has had; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Its last turns, oldest first; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<SessionMessage>>,
}

#[derive(Serialize)]
struct ListJson<'a> {
    object: &'static str,
    data: &'a [SessionObject<'a>],
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// A page of sessions as a list object. `next` stands in the place of the last session's id, where the next page begins
/// somewhere else.
pub fn list_json(data: &[SessionObject<'_>], has_more: bool, next: Option<String>) -> Vec<u8> {
    let id = |session: Option<&SessionObject<'_>>| session.map(|session| session.session.to_string());
    let (first_id, last_id) = (id(data.first()), next.or_else(|| id(data.last())));
    let list = ListJson { object: "list", data, first_id, last_id, has_more };
    let mut out = Vec::with_capacity(128 + 256 * data.len());
    json::push(&mut out, &list);
    out
}
