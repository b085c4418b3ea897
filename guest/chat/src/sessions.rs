//! `/v1/sessions`: list, read, delete.

use crate::platform::Platform;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::service::Service;
use crate::session::{SessionSettings, on_behalf_of, session_ended, session_not_found};
use waggle_conversation::conversation::{self, Conversation};
use waggle_conversation::session::{self, Opened, SessionTurn};
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::Upstream;
use waggle_openai::conversation::deleted_json;
use waggle_openai::item::StoredText;
use waggle_openai::list::{LIMIT_DEFAULT, LIMIT_MAX};
use waggle_openai::session::{SessionMessage, SessionObject, list_json};
use waggle_openai::{ApiError, ConversationId, ResponseId, json, percent};

/// What a cursor begins with that is no session's id, where a page ended between two sessions.
const PLACE_PREFIX: &str = "listed_";

/// What a query of these endpoints may say.
#[derive(Debug)]
struct SessionQuery {
    limit: usize,
    user: Option<String>,
    after: Option<String>,
}

fn wrong(param: &str, expected: &str) -> ApiError {
    let message = format!("Invalid value for '{param}': it must be {expected}.");
    ApiError::invalid_param(param, "invalid_value", message)
}

impl SessionQuery {
    fn read(query: &str) -> Result<Self, ApiError> {
        let mut read = Self { limit: LIMIT_DEFAULT, user: None, after: None };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    read.limit =
                        limit.ok_or_else(|| wrong("limit", &format!("an integer from 1 to {LIMIT_MAX}")))?;
                }
                "user" => {
                    let user = percent::decode(value);
                    read.user = Some(user.ok_or_else(|| wrong("user", "the name of a user"))?);
                }
                "after" if !value.is_empty() => read.after = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// A turn as people read it; `None` for one in which nothing was answered in words.
fn message(turn: &SessionTurn) -> Option<SessionMessage> {
    let items = turn.items.items().filter_map(|item| serde_json::from_str::<StoredText>(item).ok());
    let (mut query, mut answer) = (String::new(), None::<String>);
    let mut fallback = false;
    for item in items {
        match item.role.as_deref() {
            Some("user") => query.push_str(&item.text()),
            Some("assistant") => answer.get_or_insert_default().push_str(&item.text()),
            _ => {}
        }
        fallback |= item.fallback;
    }
    Some(SessionMessage {
        seq: turn.seq,
        query,
        answer: answer?,
        fallback,
        response_id: ResponseId(turn.nonce),
        created_at: turn.nonce.unix_ms() / 1000,
    })
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    async fn session(&self, viewer: &Viewer, id: ConversationId) -> Result<Box<Conversation>, Problem> {
        let settings = SessionSettings::read(&self.platform).await?;
        match session::open(&self.store, viewer, id.0, settings.lifetime(&self.platform)).await? {
            Opened::Open(session) => Ok(session),
            Opened::Ended => Err(session_ended(id, settings.ttl_s).into()),
            Opened::Unknown => Err(session_not_found(&id.to_string()).into()),
        }
    }

    pub(crate) async fn get_session(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        query: &str,
    ) -> Result<Reply, Problem> {
        let query = SessionQuery::read(query)?;
        let session = self.session(viewer, id).await?;
        let turns = session::turns(&self.store, &session, query.limit).await?;
        let record = session.record();
        let object = SessionObject {
            session: id,
            object: "session",
            user: session.user().unwrap_or_default(),
            created_at: record.created_at,
            used_at: record.used_at,
            turns: Some(turns.last().map_or(0, |turn| turn.seq)),
            messages: Some(turns.iter().filter_map(message).collect()),
        };
        let mut out = Vec::with_capacity(1024);
        json::push(&mut out, &object);
        Ok(Reply::json(out))
    }

    pub(crate) async fn delete_session(&self, viewer: &Viewer, id: ConversationId) -> Result<Reply, Problem> {
        let session = self.session(viewer, id).await?;
        session::delete(&self.store, &session).await?;
        Ok(Reply::json(deleted_json(id, "session.deleted")))
    }

    pub(crate) async fn list_sessions(&self, viewer: &Viewer, query: &str) -> Result<Reply, Problem> {
        let query = SessionQuery::read(query)?;
        let user = on_behalf_of(viewer, query.user.as_deref())?;
        let settings = SessionSettings::read(&self.platform).await?;
        let after = match &query.after {
            Some(id) => Some(self.listed_under(&user, id).await?),
            None => None,
        };
        let lifetime = settings.lifetime(&self.platform);
        let page = session::list(&self.store, &user, lifetime, after, query.limit).await?;
        let owner = user.owner();
        let object = |session: &session::ListedSession| SessionObject {
            session: ConversationId(session.nonce),
            object: "session",
            user: owner.user().unwrap_or_default(),
            created_at: session.record.created_at,
            used_at: session.record.used_at,
            turns: None,
            messages: None,
        };
        let data: Vec<SessionObject<'_>> = page.sessions.iter().map(object).collect();
        let next = page.next.map(|next| format!("{PLACE_PREFIX}{next}"));
        Ok(Reply::json(list_json(&data, page.has_more, next)))
    }

    /// The number under which a session of the user is listed, or which a cursor names.
    async fn listed_under(&self, user: &Viewer, id: &str) -> Result<u64, Problem> {
        if let Some(place) = id.strip_prefix(PLACE_PREFIX).and_then(|place| place.parse().ok()) {
            return Ok(place);
        }
        let unknown = || wrong("after", "the id of a session of this list");
        let nonce = ConversationId::parse(id).ok_or_else(unknown)?.0;
        let found = conversation::open(&self.store, user, nonce).await?;
        let listed = found.filter(|found| found.record().session).and_then(|found| found.record().listed);
        Ok(listed.ok_or_else(unknown)?)
    }
}
