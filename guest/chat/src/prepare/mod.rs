//! Making a turn ready: from a request body to the request for the model.
//!
//! `draft.rs` is what the request and the tenant's settings say of it; `past.rs` takes its place and reads what came before
//! it, `wishes.rs` finds out what else it wants, and `way.rs` where its answer comes from; `turn.rs` is what comes of all
//! that.

mod draft;
mod past;
mod turn;
mod way;
mod wishes;

pub(crate) use draft::KnownTurn;
pub(crate) use turn::{Committed, Ending, PreparedTurn};

use crate::ask::Course;
use crate::fit::Fit;
use crate::language::Language;
use crate::locked::give_up;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reference::put_in;
use crate::service::Service;
use crate::summary::{Opener, Shown};
use crate::tokens::{count_items, count_said};
use draft::Input;
use waggle_conversation::ticket::Ticket;
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::Upstream;
use waggle_openai::ApiError;
use waggle_openai::item::to_raw_items;
use waggle_openai::request::CreateResponse;
use way::{Said, Way};

/// 400: all that is said is in the window already.
fn empty_input() -> ApiError {
    let message = "Invalid 'input': it only refers to items the model sees anyway. Add something to be said.";
    ApiError::invalid_param("input", "empty_array", message)
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Checks a request, reads its history, and writes the request for the model. The turn has its place in its
    /// conversation then, which whoever goes on has to settle; where this fails, it is given up.
    pub(crate) async fn prepare(
        &self,
        viewer: &Viewer,
        request: CreateResponse<'_>,
        language: Language,
        known: KnownTurn<'_>,
    ) -> Result<(PreparedTurn, Course), Problem> {
        let mut drawn = None;
        let prepared = self.prepare_drawing(viewer, request, language, known, &mut drawn).await;
        if prepared.is_err() {
            give_up(&self.store, &self.platform, drawn.as_ref()).await;
        }
        prepared
    }

    async fn prepare_drawing(
        &self,
        viewer: &Viewer,
        mut request: CreateResponse<'_>,
        language: Language,
        known: KnownTurn<'_>,
        drawn: &mut Option<Ticket>,
    ) -> Result<(PreparedTurn, Course), Problem> {
        let mut items = std::mem::take(&mut request.input);
        let references = std::mem::take(&mut request.references);
        let (mut draft, basis) = self.draft(viewer, request, language, known).await?;
        let mut opener = Opener::new(&self.store);
        let held_tokens = opener.check(viewer, "input", &items, &references).await?;
        let instructions = draft.instructions(&basis.settings);
        let mut tokens = count_said(&self.platform, &draft.counted_as, instructions, &items).and(held_tokens);
        let fit = Fit::new(&basis.settings, &draft.parameters, items.len(), tokens);
        let (past, wishes) = self.past(viewer, &draft, &items, fit, drawn).await?;
        let found = self.find_references(viewer, &references, draft.continues, &past.window).await?;
        put_in(&mut items, &found)?;
        if items.is_empty() {
            return Err(empty_input().into());
        }
        if !found.is_empty() {
            tokens.input = count_items(&self.platform, &draft.counted_as, &items) + held_tokens;
        }
        let input = to_raw_items(&items, known.nonce, 0)?;
        let before = past.recalled.items()?;
        let history = before.iter().map(|item| item.get()).chain(past.window.items());
        let shown = Shown::open(&mut opener, history.collect(), &input).await?;
        let said = Said { items: &items, input: &input, shown: &shown };
        let Way { course, looked, tokens: shown_tokens } =
            self.way(&mut draft, basis, wishes, &past, said).await?;
        let input = Input { items: input, tokens };
        let created_at = known.accepted_at.unwrap_or_else(|| self.platform.now_ms() / 1000);
        Ok((draft.into_turn(past, input, (looked, shown_tokens), created_at), course))
    }
}
