//! `POST /v1/responses/compact`: what was said, made into the user's messages and one compaction item.

use super::open::Opener;
use super::shown::Shown;
use super::transcript::{Bounds, transcript};
use super::write::Material;
use crate::agent::Keeping;
use crate::plan::Counting;
use crate::platform::Platform;
use crate::prepare::KnownTurn;
use crate::problem::{Problem, internal};
use crate::reference::put_in;
use crate::reply::Reply;
use crate::service::{BODY_BYTES_MAX, Service};
use crate::settings::Settings;
use crate::tokens::count_said;
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_conversation::compaction::key_or_new;
use waggle_conversation::history::History;
use waggle_conversation::{Store, Viewer};
use waggle_model::transport::Upstream;
use waggle_openai::compact::{CompactRequest, to_json};
use waggle_openai::item::{Item, ItemStatus, to_raw_items};
use waggle_openai::{ApiError, ResponseId};

/// How long what stands for a compacted conversation may be, in tokens.
const TOKENS_MAX: u64 = 2_000;
/// All of what is compacted is shown to the model: it goes whole when a response is created, too.
const BOUNDS: Bounds = Bounds { item_characters_max: usize::MAX, bytes_max: 2 * BODY_BYTES_MAX };

#[derive(Deserialize)]
struct RoleView<'a> {
    #[serde(borrow)]
    role: Option<&'a str>,
}

fn is_said_by_user(item: &str) -> bool {
    serde_json::from_str::<RoleView<'_>>(item).is_ok_and(|item| item.role == Some("user"))
}

/// 400: nothing in it can be summarised.
fn nothing_said() -> ApiError {
    let message = "Invalid 'input': nothing is said in it that could be compacted.";
    ApiError::invalid_param("input", "empty_array", message)
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    pub(crate) async fn compact(&self, viewer: &Viewer, body: &[u8]) -> Result<Reply, Problem> {
        let CompactRequest { input: mut items, references, continues, parameters } =
            CompactRequest::read(body)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(parameters.model.as_deref())?;
        let mut opener = Opener::new(&self.store);
        let held_tokens = opener.check(viewer, "input", &items, &references).await?;
        let instructions = parameters.instructions.as_deref().unwrap_or(&settings.instructions);
        let counting = Counting::read(&self.platform, &settings, model).await?;
        let tokens = count_said(&self.platform, counting.model(model), instructions, &items);
        let limits = settings.window.without(items.len(), tokens.input + held_tokens + tokens.instructions);
        let nonce = self.nonce();
        let known = KnownTurn { nonce, accepted_at: None, stop: None, keeping: Keeping::Off };
        let History { window, continuation, .. } = self.history(viewer, continues, limits, known).await?;
        let found = self.find_references(viewer, &references, continues, &window).await?;
        put_in(&mut items, &found)?;
        let input = to_raw_items(&items, nonce, 0)?;
        let said: Vec<&str> = window.items().chain(input.iter().map(|item| item.get())).collect();
        let shown = Shown::open(&mut opener, said.clone(), &[]).await?;
        let transcript = transcript(shown.history().into_iter(), BOUNDS)?;
        if transcript.is_empty() {
            return Err(nothing_said().into());
        }
        let material = Material { before: "", transcript: &transcript, instructions };
        let written = self.write_summary(&settings, model, material, TOKENS_MAX).await?;
        let (store, platform) = (&self.store, &self.platform);
        let random = || [platform.random(), platform.random()];
        let key = key_or_new(store, random()).await?;
        let sealed = key.seal(continuation.owner(), &written.text, random());
        let encrypted_content = sealed.map_err(|error| internal(error.to_string()))?.into();
        let compaction = Item::Compaction { encrypted_content };
        let kept = said.into_iter().filter(|item| is_said_by_user(item));
        let mut output =
            kept.map(|item| RawValue::from_string(item.to_owned())).collect::<Result<Vec<_>, _>>()?;
        output.push(compaction.to_raw(nonce, items.len(), ItemStatus::Completed)?);
        let created_at = platform.now_ms() / 1000;
        Ok(Reply::json(to_json(ResponseId(nonce), created_at, &output, written.usage)))
    }
}
