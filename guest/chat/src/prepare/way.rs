//! Where a turn's answer comes from, once it is known what is said and what came before.

use super::draft::{Basis, Draft};
use super::past::Past;
use super::wishes::Wishes;
use crate::agent::Prompt;
use crate::ask::Course;
use crate::handover::{mark_silent, silence};
use crate::intents::{Intent, told};
use crate::knowledge::{Looked, Turning};
use crate::plan::course;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use crate::summary::Shown;
use waggle_conversation::Store;
use waggle_model::request::TurnRequest;
use waggle_model::transport::Upstream;
use waggle_openai::ResponseId;
use waggle_openai::item::{Item, RawItem};
use waggle_openai::metadata::Metadata;
use waggle_openai::request::Continues;

/// What is said in a turn, and what its model sees of that and of what came before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    /// What is said now.
    pub(super) items: &'a [Item<'a>],
    /// The same, as it will be stored.
    pub(super) input: &'a [RawItem],
    pub(super) shown: &'a Shown<'a>,
}

/// Where a turn's answer comes from.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) course: Course,
    /// What was looked up for it.
    pub(super) looked: Option<Looked>,
    /// The tokens of what its model is shown that was found or recognised for it.
    pub(super) tokens: u64,
}

/// Says in the response's metadata how its answer comes about.
fn mark(metadata: &mut Metadata, looked: Option<&Looked>, intent: Option<&Intent>, silent: bool) {
    if let Some(looked) = looked {
        looked.mark(metadata);
    }
    if let Some(intent) = intent {
        intent.mark(metadata);
    }
    if silent {
        mark_silent(metadata);
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Finds out where a turn's answer comes from, looks up what it is to know, and says so in its metadata.
    ///
    /// # Errors
    /// 400: its model cannot be told what is said, or another turn has decided what this one decides; the search failed; a
    /// variable cannot be read; the store's.
    pub(super) async fn way(
        &self,
        draft: &mut Draft<'_>,
        Basis { settings, counting }: Basis,
        Wishes { decisions, intent, question, tools }: Wishes,
        past: &Past,
        Said { items, input, shown }: Said<'_>,
    ) -> Result<Way, Problem> {
        let (nonce, runs, silent) = (draft.known.nonce, draft.runs(), past.is_silent());
        let instructions = draft.instructions(&settings);
        let (instructions, told_tokens) =
            told(&self.platform, &draft.counted_as, instructions, intent.as_ref());
        let offered = tools.as_ref().map(|tools| tools.told(&draft.parameters));
        let request = TurnRequest {
            model: &draft.model,
            instructions: &instructions,
            history: shown.history(),
            input: shown.input(input),
            parameters: offered.as_ref().unwrap_or(&draft.parameters),
            stream: draft.stream,
        };
        let turning = Turning::new(&request, items, &draft.counted_as, &draft.format, tools.is_some())
            .ahead(draft.ahead);
        let (looked, next) = match question {
            Some(question) => (None, Some(question)),
            None if runs && !silent => self.look_up(turning, past.continuation.ticket()).await?.unzip(),
            None => (None, None),
        };
        let prompt = tools.as_ref().map(|_| Prompt::of(&request, next.as_ref()));
        let (mut course, found_tokens) = match (&past.handover, draft.continues) {
            (Some(mark), Continues::Conversation(id)) => {
                (Box::pin(silence(&self.platform, id, mark)).await, 0)
            }
            _ => course(&settings, counting, items, request, next)?,
        };
        mark(&mut draft.parameters.metadata, looked.as_ref(), intent.as_ref(), silent);
        if runs && !decisions.is_empty() {
            Box::pin(self.claim_decisions(&decisions, nonce)).await?;
        }
        if let (Some(tools), Some(prompt), true) = (tools, prompt, runs) {
            let (of, prompt) = ((ResponseId(nonce), draft.continues), (prompt, &draft.parameters));
            let acting = tools.into_course(&self.platform, course, of, prompt, settings, draft.known.keeping);
            course = Box::pin(acting).await?;
        }
        Ok(Way { course, looked, tokens: found_tokens + told_tokens })
    }
}
