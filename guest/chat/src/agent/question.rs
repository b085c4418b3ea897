//! Decisions on calls that a person was asked about: which question each answers, and that it is answered once.

use super::toolbox::{Approved, Toolbox};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_conversation::approval::{Claimed, Decided, claim};
use waggle_conversation::window::Window;
use waggle_conversation::{Store, Viewer, conversation, items, response};
use waggle_model::transport::Upstream;
use waggle_openai::item::mcp::{ApprovalRequest, ApprovalResponse};
use waggle_openai::item::{Item, StoredId};
use waggle_openai::request::Continues;
use waggle_openai::{ApiError, ItemId, Nonce};

/// A decision, and what it decides.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The place of its item in the input.
    place: usize,
    id: ItemId,
    approve: bool,
    pub(crate) question: Question,
}

/// What is to be called, if it may.
#[derive(Debug)]
pub(crate) struct Question {
    /// The tool.
    pub(crate) label: String,
    /// What of it.
    pub(crate) function: String,
    arguments: String,
}

#[derive(Deserialize)]
struct OutputView<'a> {
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

fn param(place: usize) -> String {
    format!("input[{place}].approval_request_id")
}

/// 400: there is no such question in what the turn continues.
fn unknown(place: usize, id: ItemId) -> ApiError {
    let message = format!(
        "No mcp_approval_request with id '{id}' stands in what this turn continues. Continue the response that asked, by \
         'previous_response_id' or its 'conversation'; it must be stored."
    );
    ApiError::invalid_param(param(place), "approval_request_not_found", message)
}

/// 400: it was answered before.
fn answered(place: usize, id: ItemId) -> ApiError {
    let message = format!("The mcp_approval_request '{id}' was answered already. Each is answered once.");
    ApiError::invalid_param(param(place), "approval_request_answered", message)
}

impl Decision {
    /// The call that was approved, if it was.
    ///
    /// # Errors
    /// 400: there is no such tool any more.
    pub(crate) fn approved(&self, tools: &Toolbox) -> Result<Option<Approved>, ApiError> {
        if !self.approve {
            return Ok(None);
        }
        let Question { label, function, arguments } = &self.question;
        let Some(tool) = tools.of(label, function) else {
            let message = format!(
                "What the mcp_approval_request '{}' asks for, '{function}' of '{label}', is not there any more.",
                self.id
            );
            return Err(ApiError::invalid_param(param(self.place), "tool_not_found", message));
        };
        Ok(Some(Approved { id: self.id, tool, arguments: arguments.clone() }))
    }
}

/// What the input decides, each question once.
fn said(items: &[Item<'_>]) -> Result<Vec<(usize, ApprovalResponse)>, ApiError> {
    let mut said: Vec<(usize, ApprovalResponse)> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Item::Hosted(call) = item else { continue };
        let Some(decision) = ApprovalResponse::of(call) else { continue };
        let id = decision.approval_request_id;
        if said.iter().any(|(_, known)| known.approval_request_id == id) {
            return Err(answered(place, id));
        }
        said.push((place, decision));
    }
    Ok(said)
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Finds what the input's decisions decide: questions of this server's, in what the turn continues. A question counts as
    /// it stands in the response that asked it, which no client writes.
    ///
    /// # Errors
    /// 400 naming the decision: it answers no such question, or the same one twice; the store's.
    pub(crate) async fn decisions(
        &self,
        viewer: &Viewer,
        items: &[Item<'_>],
        continues: Continues,
        window: &Window,
    ) -> Result<Vec<Decision>, Problem> {
        let mut decisions = Vec::new();
        for (place, ApprovalResponse { approval_request_id: id, approve, .. }) in said(items)? {
            // In boxes, so that turns without decisions, which are most, do not carry their room.
            if !Box::pin(self.stands_in(viewer, id, continues, window)).await? {
                return Err(unknown(place, id).into());
            }
            let object = Box::pin(response::object(&self.store, viewer, id.nonce)).await?;
            let question = object.as_deref().map(|object| Question::find(object, id)).transpose()?.flatten();
            let question = question.ok_or_else(|| unknown(place, id))?;
            decisions.push(Decision { place, id, approve, question });
        }
        Ok(decisions)
    }

    /// Whether the question is a part of what the turn continues.
    async fn stands_in(
        &self,
        viewer: &Viewer,
        id: ItemId,
        continues: Continues,
        window: &Window,
    ) -> Result<bool, Problem> {
        let text = id.to_string();
        let is_it = |item: &str| serde_json::from_str::<StoredId<'_>>(item).is_ok_and(|item| item.id == text);
        match continues {
            Continues::Nothing => Ok(false),
            _ if window.items().any(is_it) => Ok(true),
            // It may be older than what the model sees.
            Continues::Conversation(conversation) => {
                let conversation = conversation::open(&self.store, viewer, conversation.0).await?;
                let Some(conversation) = conversation else { return Ok(false) };
                Ok(items::get(&self.store, &conversation, id).await?.is_some())
            }
            Continues::Response(_) => Ok(false),
        }
    }

    /// Answers the questions for good.
    ///
    /// # Errors
    /// 400: another turn has answered one; the store's.
    pub(crate) async fn claim_decisions(&self, decisions: &[Decision], by: Nonce) -> Result<(), Problem> {
        let decided: Vec<Decided> = decisions
            .iter()
            .map(|Decision { id, approve, .. }| Decided { request: *id, approve: *approve })
            .collect();
        match claim(&self.store, &decided, by, self.platform.now_ms() / 1000).await? {
            Claimed::Ours => Ok(()),
            Claimed::AlreadyBy(id, _) => {
                let place = decisions.iter().find(|known| known.id == id).map_or(0, |known| known.place);
                Err(answered(place, id).into())
            }
        }
    }
}

impl Question {
    /// The one of that id in the output of a response.
    fn find(object: &RawValue, id: ItemId) -> serde_json::Result<Option<Self>> {
        let OutputView { output } = serde_json::from_str(object.get())?;
        let mut questions = output.iter().filter_map(|item| ApprovalRequest::read(item.get()));
        let same = questions.find(|(known, _)| *known == id);
        Ok(same.map(|(_, ApprovalRequest { server_label, name, arguments, .. })| Self {
            label: server_label.into_owned(),
            function: name.into_owned(),
            arguments: arguments.into_owned(),
        }))
    }
}
