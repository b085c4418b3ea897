//! `POST /v1/conversations/{id}/summarize`, by which the host delivers the work of making a conversation's summary. No
//! client reaches it: without the host's field it is no endpoint.

use super::ask::hand_over;
use super::open::Opener;
use super::transcript::{Bounds, transcript};
use super::write::{Material, Written};
use crate::platform::Platform;
use crate::problem::{Problem, internal};
use crate::reply::Reply;
use crate::service::{Answer, Service, report, viewer};
use crate::settings::{Settings, number, text, variable};
use crate::tiers::Tiers;
use std::rc::Rc;
use waggle_conversation::conversation::{self, Conversation};
use waggle_conversation::summary::{self, Batch, Recorded};
use waggle_conversation::window::WindowLimits;
use waggle_conversation::{Store, StoreError, Viewer};
use waggle_model::tier::AUTO;
use waggle_model::transport::Upstream;
use waggle_openai::ConversationId;

/// The variable that says whether conversations are summarised: `on` (the default) or `off`.
const SUMMARY_VARIABLE: &str = "summary";
/// How long a summary may be, in tokens, unless the variable `summary_tokens_max` says otherwise.
const TOKENS_MAX_DEFAULT: u64 = 500;
/// The most that the variable may say.
const TOKENS_MAX: u64 = 10_000;
/// How many calls of a model one delivery makes.
const ROUNDS_MAX: usize = 4;
/// How much one call is shown, in tokens, unless the window is smaller, and in bytes for each of them.
const INPUT_TOKENS_MAX: u64 = 6_000;
const BYTES_PER_TOKEN: u64 = 4;
/// How much of one item is shown, in characters.
const ITEM_CHARACTERS_MAX: usize = 4_000;

/// The conversation whose summary is to be made, if that is what method and path mean.
pub(crate) fn summary_path(method: &str, path: &str) -> Option<ConversationId> {
    let id = path.strip_prefix("/v1/conversations/")?.strip_suffix("/summarize")?;
    ConversationId::parse(id).filter(|_| method == "POST")
}

/// Whether conversations are summarised.
pub(super) async fn summarises<P: Platform>(platform: &P) -> Result<bool, Problem> {
    match variable(platform, SUMMARY_VARIABLE).await?.as_deref().map(str::trim) {
        None | Some("" | "on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => {
            let told = format!("the variable '{SUMMARY_VARIABLE}' must be 'on' or 'off', not '{other}'");
            Err(internal(told))
        }
    }
}

/// The settings of the summaries' making.
struct Making {
    settings: Rc<Settings>,
    tokens_max: u64,
    /// How much one call is shown, in bytes.
    bytes_max: usize,
    /// What a summary leaves to the window: half of it, so that the next is due only when the other half has passed.
    left: WindowLimits,
}

impl Making {
    async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        let settings = Settings::read(platform).await?;
        let tokens_max: u64 = number(platform, "summary_tokens_max", TOKENS_MAX_DEFAULT).await?;
        if !(1..=TOKENS_MAX).contains(&tokens_max) {
            let told =
                format!("the variable 'summary_tokens_max' must be 1 to {TOKENS_MAX}, not {tokens_max}");
            return Err(internal(told));
        }
        let WindowLimits { items_max, tokens_max: window_tokens } = settings.window;
        let bytes_max = INPUT_TOKENS_MAX.min(window_tokens) * BYTES_PER_TOKEN;
        let left = WindowLimits { items_max: items_max / 2, tokens_max: window_tokens / 2 };
        Ok(Self { settings, tokens_max, bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX), left })
    }

    /// The model that is asked: the one that is configured, else that of the small tier, else `turn`, which that of the
    /// turn is.
    async fn model<P: Platform>(&self, platform: &P, turn: &str) -> Result<String, Problem> {
        let named = text(platform, "summary_model", "").await?;
        if !named.is_empty() {
            return Ok(named);
        }
        let tiers = Tiers::read(platform, &self.settings.models).await?;
        let small = tiers.usable().next().filter(|_| tiers.configured || turn == AUTO);
        Ok(small.unwrap_or(turn).to_owned())
    }
}

/// 2xx: the work is done, whatever came of it.
fn done() -> Reply {
    Reply::json(b"{\"object\":\"conversation.summary\",\"done\":true}".to_vec())
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Serves a delivery. The head of the answer ends the work, so it comes when the summary is made.
    pub(crate) async fn deliver_summary(self, user: &[Vec<u8>], id: ConversationId) -> Answer<S, P, U::Body> {
        let made = match viewer(user) {
            Ok(viewer) => self.make_summary(&viewer, id).await,
            Err(problem) => Err(problem),
        };
        Answer::Reply(match made {
            Ok(()) => done(),
            Err(problem) => report(&self.platform, &problem),
        })
    }

    async fn make_summary(&self, viewer: &Viewer, id: ConversationId) -> Result<(), Problem> {
        if !summarises(&self.platform).await? {
            return Ok(());
        }
        let making = Making::read(&self.platform).await?;
        let Some(conversation) = conversation::open(&self.store, viewer, id.0).await? else { return Ok(()) };
        for _ in 0..ROUNDS_MAX {
            // Where there is no record, it was forgotten; the next turn asks for it anew.
            let Some(seen) = summary::open(&self.store, &conversation).await? else { return Ok(()) };
            let due = summary::due(&self.store, &conversation, &seen, making.left).await?;
            let batch = seen.batch(&self.store, &conversation, due, making.bytes_max).await?;
            let Some(batch) = batch else { return Ok(self.settle_summary(&conversation, seen).await?) };
            let more = (batch.through < due).then(|| self.platform.now_ms());
            let made = self.add_to_summary(&making, &seen, &batch).await?;
            let kept = seen.replace(&self.store, &conversation, made, (self.nonce(), more)).await?;
            // Where it was changed meanwhile, what there is now is looked at again.
            if kept.is_some() && more.is_none() {
                return Ok(());
            }
        }
        hand_over(&self.platform, id).await;
        Ok(())
    }

    /// Says of a summary to which there is nothing to add that it is asked for no more.
    async fn settle_summary(&self, conversation: &Conversation, seen: Recorded) -> Result<(), StoreError> {
        let known = &seen.summary;
        let same = (known.through, known.text.clone(), known.tokens);
        seen.replace(&self.store, conversation, same, (self.nonce(), None)).await?;
        Ok(())
    }

    /// The summary with the entries of a batch added: through which it goes, its text and tokens.
    async fn add_to_summary(
        &self,
        making: &Making,
        seen: &Recorded,
        batch: &Batch,
    ) -> Result<(u64, String, u64), Problem> {
        let mut items: Vec<&str> = batch.turns.iter().flat_map(|turn| turn.items()).collect();
        let opened = Opener::new(&self.store).open(items.iter().copied()).await?;
        for (place, item) in &opened {
            if let Some(shown) = items.get_mut(*place) {
                *shown = item.get();
            }
        }
        let bounds = Bounds { item_characters_max: ITEM_CHARACTERS_MAX, bytes_max: making.bytes_max };
        let transcript = transcript(items.into_iter(), bounds)?;
        let before = &seen.summary;
        if transcript.is_empty() {
            return Ok((batch.through, before.text.clone(), before.tokens));
        }
        let material = Material { before: &before.text, transcript: &transcript, instructions: "" };
        let model = making.model(&self.platform, &before.model).await?;
        let written = self.write_summary(&making.settings, &model, material, making.tokens_max).await?;
        let Written { text, tokens, .. } = written;
        Ok((batch.through, text, tokens))
    }
}
