//! What a turn wishes besides an answer: what it decides, what its user wants, and which tools it has.

use super::draft::Draft;
use crate::agent::{Decision, Tools};
use crate::intents::Intent;
use crate::knowledge::Next;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use waggle_conversation::ticket::Ticket;
use waggle_conversation::window::Window;
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::Upstream;
use waggle_openai::item::Item;

/// What a turn decides, what its user wants, what is to be asked for it, and the tools it has.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) decisions: Vec<Decision>,
    pub(super) intent: Option<Intent>,
    pub(super) question: Option<Next>,
    pub(super) tools: Option<Tools>,
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Finds a turn's wishes out, and keeps its place meanwhile.
    ///
    /// # Errors
    /// 400: it decides or names what is not there; a variable cannot be read; the tools function does not answer.
    pub(super) async fn wishes(
        &self,
        viewer: &Viewer,
        draft: &Draft<'_>,
        items: &[Item<'_>],
        window: &Window,
        ticket: Option<&Ticket>,
    ) -> Result<Wishes, Problem> {
        let Draft { continues, parameters, format, .. } = draft;
        let decisions = self.decisions(viewer, items, *continues, window).await?;
        let intent = if draft.runs() && decisions.is_empty() {
            self.intent(items, (*continues, draft.known.nonce), draft.language, ticket).await?
        } else {
            None
        };
        // What has to be JSON is a model's, which is told what is missing.
        let question = intent.as_ref().filter(|_| !format.is_json()).and_then(Intent::question);
        let tools = if question.is_some() {
            None
        } else {
            let of_intent = intent.as_ref().map_or(&[][..], Intent::tools);
            self.tools_of(parameters, (&decisions, of_intent), window.items(), ticket).await?
        };
        Ok(Wishes { decisions, intent, question, tools })
    }
}
