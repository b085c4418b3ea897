//! `/v1/conversations/{id}/handover`: hand over, look, hand back.

use super::tell::Telling;
use crate::platform::{Platform, QueueFailure, Work};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::service::{Answer, Service, report};
use waggle_conversation::handover::{self, By, Handover, REASON_CHARACTERS_MAX, REFERENCE_CHARACTERS_MAX};
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::Upstream;
use waggle_openai::handover::{HandoverBody, Told, to_json};
use waggle_openai::{ApiError, ConversationId};

/// When people may be told who cannot be now, in seconds, where nobody says.
const RETRY_AFTER_S: u32 = 5;

/// A mark as it is told.
pub(crate) fn mark(mark: &Handover) -> Told<'_> {
    let by = match mark.by {
        By::Model => "model",
        By::Knowledge => "knowledge",
        By::User => "user",
        By::Service => "service",
    };
    let Handover { since, reason, reference, told_at, .. } = mark;
    Told { since: *since, reason, by, reference: reference.as_deref(), told_at: *told_at }
}

/// Who hands over, as the body says, else whoever asks. A user is not taken for a service.
fn by(viewer: &Viewer, named: Option<&str>) -> Result<By, ApiError> {
    match (named, viewer.is_service()) {
        (Some("model"), _) => Ok(By::Model),
        (Some("user"), _) | (None, false) => Ok(By::User),
        (Some("service"), true) | (None, true) => Ok(By::Service),
        _ => {
            let message = "Invalid value for 'by': it must be 'model', 'user' or, for the tenant's own services, 'service'.";
            Err(ApiError::invalid_param("by", "invalid_value", message))
        }
    }
}

/// 503: people cannot be told at the moment; nothing was changed.
fn untold(retry_after_s: Option<u32>, reason: &str) -> Problem {
    let message = "The conversation cannot be handed over at the moment, and was not. Try again later.";
    let error = ApiError {
        retry_after_s: retry_after_s.or(Some(RETRY_AFTER_S)),
        ..ApiError::server(503, "handover_unavailable", message)
    };
    Problem { error: Box::new(error), log: Some(format!("the host's work queue: {reason}")) }
}

impl From<QueueFailure> for Problem {
    fn from(failure: QueueFailure) -> Self {
        match failure {
            QueueFailure::Full(retry_after_s) => untold(Some(retry_after_s), "it is full"),
            QueueFailure::Busy(retry_after_s) => untold(Some(retry_after_s), "it is busy"),
            QueueFailure::Absent => untold(None, "there is none"),
            QueueFailure::Failed(reason) => untold(None, &reason),
        }
    }
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Marks the conversation and has people told, or takes the mark off. Done twice, it is done once.
    pub(crate) async fn hand_over(
        self,
        viewer: &Viewer,
        id: ConversationId,
        body: &[u8],
    ) -> Answer<S, P, U::Body> {
        match self.hand_over_conversation(viewer, id, body).await {
            Ok((reply, None)) => Answer::Reply(reply),
            Ok((reply, Some(telling))) => {
                let Self { store, platform, .. } = self;
                let work = async move { telling.run_alone(&store, &platform).await };
                Answer::Working(Box::new(Answer::Reply(reply)), Work::new(work))
            }
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    /// The reply, and what is to be done beside it where no host takes work.
    async fn hand_over_conversation(
        &self,
        viewer: &Viewer,
        id: ConversationId,
        body: &[u8],
    ) -> Result<(Reply, Option<Telling>), Problem> {
        let body = HandoverBody::read(body, REASON_CHARACTERS_MAX, REFERENCE_CHARACTERS_MAX)?;
        if body.handed_over == Some(false) {
            return Ok((self.hand_back(viewer, id).await?, None));
        }
        let by = by(viewer, body.by.as_deref())?;
        let conversation = self.conversation(viewer, id).await?;
        let telling = Telling { id };
        // The work comes first: what is marked is told of, even if this request dies in between. Work that finds no mark is
        // no work.
        let is_told = conversation.record().handover.as_ref().is_some_and(|mark| mark.told_at.is_some());
        let taken = if is_told { Ok(()) } else { telling.enqueue(&self.platform).await };
        let alone = match taken {
            Ok(()) => None,
            Err(QueueFailure::Absent) => Some(telling),
            Err(failure) => return Err(failure.into()),
        };
        let now_s = self.platform.now_ms() / 1000;
        let reason = body.reason.as_deref().unwrap_or_default();
        let new = Handover::new(self.nonce(), now_s, by, reason).with_reference(body.reference.as_deref());
        let stands = handover::hand_over(&self.store, &conversation, new).await?;
        let stands = stands.ok_or_else(|| ApiError::not_found("Conversation", &id.to_string()))?;
        Ok((Reply::json(to_json(id, Some(mark(&stands)))), alone))
    }

    pub(crate) async fn get_handover(&self, viewer: &Viewer, id: ConversationId) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        Ok(Reply::json(to_json(id, conversation.record().handover.as_ref().map(mark))))
    }

    /// Hands the conversation back: its turns are answered again.
    pub(crate) async fn hand_back(&self, viewer: &Viewer, id: ConversationId) -> Result<Reply, Problem> {
        let conversation = self.conversation(viewer, id).await?;
        handover::hand_back(&self.store, &conversation).await?;
        Ok(Reply::json(to_json(id, None)))
    }
}
