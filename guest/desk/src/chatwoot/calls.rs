//! How chat and tools are called for one of Chatwoot's conversations.

use super::record::Place;
use crate::problem::Problem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use waggle_model::failure::excerpt;
use waggle_openai::json::push;
use waggle_platform::{NeighbourAnswer, NeighbourCall, Platform};
use waggle_tool::wire::{
    CALL_PATH, CATALOG_PATH, CallReply, CallRequest, Catalog, CatalogRequest, FUNCTION, Offered, Selection,
};

/// The variable that names the tool by which Chatwoot is told things, with its functions.
const TOOL_VARIABLE: &str = "chatwoot_tool";
const TOOL_DEFAULT: &str = "chatwoot";
const SEND_FUNCTION: &str = "send_message";
const STATUS_FUNCTION: &str = "toggle_status";
const CHAT_FUNCTION: &str = "chat";
const TURN_PATH: &str = "/v1/chat";
/// How long chat may be silent, in milliseconds: an agent's tools and models take their time.
const CHAT_TIMEOUT_MS: u64 = 150_000;
/// How long a tool may be.
const TOOL_TIMEOUT_MS: u64 = 60_000;

/// What a session's turn has answered.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Answered {
    pub(super) answer: String,
    pub(super) session: String,
    /// Whether people are to take over, or have.
    #[serde(default)]
    pub(super) handover: bool,
}

/// What became of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Answered(Answered),
    /// Its session is over.
    SessionGone,
    /// There will be no answer, however often it is asked for.
    Refused(u16),
}

/// Calls, for one of Chatwoot's conversations.
pub(super) struct Calls<'a, P> {
    pub(super) platform: &'a P,
    pub(super) place: Place,
}

impl<P: Platform> Calls<'_, P> {
    fn undone(&self, what: &str) -> Problem {
        Problem::undone(format!("chatwoot={} {what}", self.place.name('/')))
    }

    /// A turn of a session, of a new one without it. Under the same key it is made once.
    pub(super) async fn turn(
        &self,
        user: &str,
        session: Option<&str>,
        text: &str,
        key: &str,
    ) -> Result<Turn, Problem> {
        let mut body = json!({"user": user, "query": text});
        if let (Some(session), Some(members)) = (session, body.as_object_mut()) {
            members.insert("session".to_owned(), json!(session));
        }
        let call = chat_call(TURN_PATH, &body);
        let answer = self.platform.call_neighbour_once(call, key).await;
        let answer = answer.map_err(|failure| self.undone(&format!("the turn: {failure}")))?;
        match answer.status {
            200 => self.read(TURN_PATH, &answer).map(Turn::Answered),
            404 if session.is_some() => Ok(Turn::SessionGone),
            408 | 409 | 429 | 500.. => Err(self.refused(TURN_PATH, &answer)),
            status => {
                let line = format!("chatwoot={} a turn was refused: ", self.place.name('/'));
                self.platform.log(&format!("{line}{status} '{}'", excerpt(&answer.body)));
                Ok(Turn::Refused(status))
            }
        }
    }

    /// Hands a session over to Chatwoot's people, or back. One that is gone is neither.
    pub(super) async fn hand_over(&self, session: &str, handed_over: bool) -> Result<(), Problem> {
        let body = if handed_over {
            let reference = format!("chatwoot {}", self.place.name('/'));
            json!({"reason": "Somebody has taken over in Chatwoot.", "reference": reference})
        } else {
            json!({"handed_over": false})
        };
        self.post(&format!("/v1/conversations/{session}/handover"), &body).await
    }

    /// Adds what one of Chatwoot's people wrote to a session.
    pub(super) async fn add(&self, session: &str, text: &str) -> Result<(), Problem> {
        let body = json!({"items": [{"role": "assistant", "content": text}]});
        self.post(&format!("/v1/conversations/{session}/items"), &body).await
    }

    async fn post(&self, path: &str, body: &serde_json::Value) -> Result<(), Problem> {
        let answer = self.platform.call_neighbour(chat_call(path, body)).await;
        let answer = answer.map_err(|failure| self.undone(&format!("{path}: {failure}")))?;
        match answer.status {
            200 | 404 => Ok(()),
            _ => Err(self.refused(path, &answer)),
        }
    }

    /// Says something to the user.
    pub(super) async fn send(&self, content: &str, key: &str) -> Result<(), Problem> {
        let arguments = json!({"account_id": self.place.account, "conversation_id": self.place.conversation,
            "content": content, "message_type": "outgoing"});
        self.tool(SEND_FUNCTION, &arguments, key).await
    }

    /// Gives the conversation to Chatwoot's people.
    pub(super) async fn open(&self, key: &str) -> Result<(), Problem> {
        let arguments = json!({"account_id": self.place.account, "conversation_id": self.place.conversation,
            "status": "open"});
        self.tool(STATUS_FUNCTION, &arguments, key).await
    }

    async fn tool(&self, function: &str, arguments: &serde_json::Value, key: &str) -> Result<(), Problem> {
        let label = self.label().await?;
        let offered = self.offered(&label, function).await?;
        let call = CallRequest {
            label: offered.label,
            function: offered.function,
            digest: offered.digest,
            arguments: arguments.to_string(),
            idempotency_key: format!("{key}-{function}"),
            // Whoever made Chatwoot a channel has approved of its tool.
            approved: true,
            repeated: false,
            response: None,
            conversation: None,
            vector_store_ids: Vec::new(),
        };
        let reply: CallReply = self.ask(CALL_PATH, &call).await?;
        match reply.error {
            None => Ok(()),
            Some(error) => {
                let output = excerpt(reply.output.as_bytes());
                Err(self.undone(&format!("the tool {label}.{function} failed ({error:?}): {output}")))
            }
        }
    }

    async fn label(&self) -> Result<String, Problem> {
        let named = self.platform.variable(TOOL_VARIABLE).await;
        let named = named.map_err(|reason| {
            self.undone(&format!("the variable '{TOOL_VARIABLE}' cannot be read: {reason}"))
        })?;
        Ok(named.filter(|named| !named.is_empty()).unwrap_or_else(|| TOOL_DEFAULT.to_owned()))
    }

    async fn offered(&self, label: &str, function: &str) -> Result<Offered, Problem> {
        let functions = Some(vec![function.to_owned()]);
        let selection = Selection { label: Some(label.to_owned()), server_url: None, functions };
        let catalog: Catalog = self.ask(CATALOG_PATH, &CatalogRequest { select: vec![selection] }).await?;
        let mut tools = catalog.tools.into_iter();
        tools.find(|tool| tool.label == label && tool.function == function).ok_or_else(|| {
            let told = "which the tenant does not have or has not accepted";
            self.undone(&format!("the variable '{TOOL_VARIABLE}' names {label}.{function}, {told}"))
        })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Problem> {
        let call = NeighbourCall::post(FUNCTION, path, bytes(body), TOOL_TIMEOUT_MS);
        let answer = self.platform.call_neighbour(call).await;
        let answer = answer.map_err(|failure| self.undone(&format!("{path}: {failure}")))?;
        if answer.status != 200 {
            return Err(self.refused(path, &answer));
        }
        self.read(path, &answer)
    }

    fn read<T: DeserializeOwned>(&self, path: &str, answer: &NeighbourAnswer) -> Result<T, Problem> {
        let read = serde_json::from_slice(&answer.body);
        read.map_err(|error| self.undone(&format!("{path}: {error}, in '{}'", excerpt(&answer.body))))
    }

    fn refused(&self, path: &str, answer: &NeighbourAnswer) -> Problem {
        self.undone(&format!("{path} answered {}: '{}'", answer.status, excerpt(&answer.body)))
    }
}

fn chat_call<'a>(path: &'a str, body: &serde_json::Value) -> NeighbourCall<'a> {
    NeighbourCall::post(CHAT_FUNCTION, path, bytes(body), CHAT_TIMEOUT_MS)
}

fn bytes(body: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    push(&mut out, body);
    out
}
