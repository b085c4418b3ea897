//! What came before a turn: its place in its conversation, the window, and what is recalled of what lies beyond.

use super::draft::{Draft, KnownTurn};
use super::wishes::Wishes;
use crate::fit::Fit;
use crate::locked::{PlatformClock, wait_ms_max};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use crate::summary::Recalled;
use waggle_conversation::handover::Handover;
use waggle_conversation::history::{self, Continuation, History};
use waggle_conversation::ticket::{Arrival, Ticket, enter};
use waggle_conversation::window::{Window, WindowLimits};
use waggle_conversation::{Store, Viewer, response};
use waggle_model::transport::Upstream;
use waggle_openai::item::Item;
use waggle_openai::request::{Continues, unknown_previous};
use waggle_openai::{ApiError, ResponseId};

/// What came before a turn.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) window: Window,
    /// What stands before the window.
    pub(super) recalled: Recalled,
    pub(super) continuation: Continuation,
    /// Set where the conversation is handed over to people.
    pub(super) handover: Option<Handover>,
}

impl Past {
    /// Whether nobody answers: the conversation is handed over to people.
    pub(super) fn is_silent(&self) -> bool {
        self.handover.is_some()
    }
}

/// 400: what it is to continue is still being made.
fn pending_previous(id: ResponseId) -> Problem {
    let message =
        format!("The response '{id}' is not over. Wait until its status says so, then continue it.");
    ApiError::invalid_param("previous_response_id", "previous_response_pending", message).into()
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Takes the turn's place, which is noted in `drawn`, reads what came before it, and finds out its wishes.
    ///
    /// # Errors
    /// 400: there is nothing of that id, or it does not fit; as those of [`wishes`](Self::wishes); the store's.
    pub(super) async fn past(
        &self,
        viewer: &Viewer,
        draft: &Draft<'_>,
        items: &[Item<'_>],
        fit: Fit,
        drawn: &mut Option<Ticket>,
    ) -> Result<(Past, Wishes), Problem> {
        let History { mut window, continuation, beyond, handover } =
            self.history(viewer, draft.continues, fit.limits(), draft.known).await?;
        *drawn = continuation.ticket().cloned();
        let silent = handover.is_some();
        // Nobody decides, calls a tool or reads the window where nobody answers.
        let wishes = if silent {
            Wishes::default()
        } else {
            fit.check(&window)?;
            self.wishes(viewer, draft, items, &window, continuation.ticket()).await?
        };
        let recalled = self.recall(beyond.filter(|_| !silent), &mut window).await?;
        Ok((Past { window, recalled, continuation, handover }, wishes))
    }

    /// What came before a turn, with its place in the conversation if it continues one.
    pub(crate) async fn history(
        &self,
        viewer: &Viewer,
        continues: Continues,
        limits: WindowLimits,
        KnownTurn { nonce, stop, .. }: KnownTurn<'_>,
    ) -> Result<History, Problem> {
        let Continues::Conversation(id) = continues else {
            return self.history_of_chain(viewer, continues, limits).await;
        };
        let wait_ms_max = wait_ms_max(&self.platform).await?;
        let arrival = Arrival { conversation: id.0, nonce, limits, wait_ms_max };
        enter(&self.store, &PlatformClock { platform: &self.platform, stop }, viewer, arrival)
            .await?
            .ok_or_else(|| ApiError::not_found("Conversation", &id.to_string()).into())
    }

    /// What came before a turn that continues no conversation.
    pub(crate) async fn history_of_chain(
        &self,
        viewer: &Viewer,
        continues: Continues,
        limits: WindowLimits,
    ) -> Result<History, Problem> {
        let store = &self.store;
        let Continues::Response(id) = continues else { return Ok(History::none(viewer, limits)) };
        match history::of_response(store, viewer, id.0, limits).await? {
            Some(history) => Ok(history),
            None if response::object(store, viewer, id.0).await?.is_some() => Err(pending_previous(id)),
            None => Err(unknown_previous(&id.to_string()).into()),
        }
    }
}
