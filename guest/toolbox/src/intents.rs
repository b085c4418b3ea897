//! `POST /v1/intents/recognise`, and the same for turns of other functions: what is meant, and what to ask for.

use crate::models::Models;
use crate::problem::{Problem, wrong};
use crate::service::{BODY_BYTES_MAX, Service, read, reply_json};
use waggle_conversation::{Store, Viewer, conversation};
use waggle_intent::wire::{INPUT_BYTES_MAX, RecogniseRequest};
use waggle_intent::{IntentFailure, IntentSettings, Recogniser, Said};
use waggle_mcp::Fetch;
use waggle_model::transport::ChunkSource;
use waggle_openai::{ApiError, ConversationId, Nonce};
use waggle_platform::{Platform, Reply, Request, read_json};
use waggle_search::Language;

/// The longest name of a turn, in bytes.
const TURN_BYTES_MAX: usize = 128;

fn check(asked: &RecogniseRequest) -> Result<(), ApiError> {
    if asked.input.trim().is_empty() || asked.input.len() > INPUT_BYTES_MAX {
        return Err(wrong("input", &format!("a text of 1 to {INPUT_BYTES_MAX} bytes")));
    }
    if asked.turn.as_ref().is_some_and(|turn| !(1..=TURN_BYTES_MAX).contains(&turn.len())) {
        return Err(wrong("turn", &format!("a text of 1 to {TURN_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Chinese where it is asked for, English where anything else is.
fn language(tag: &str) -> Language {
    let primary = tag.split(['-', '_']).next().unwrap_or_default();
    if primary.eq_ignore_ascii_case("zh") { Language::Chinese } else { Language::English }
}

fn problem(failure: &IntentFailure) -> Problem {
    Problem { error: Box::new(failure.to_api_error()), log: failure.log() }
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    /// Recognises what was said; `is_turn` where another function asks for a turn, and is told what its model needs.
    pub(crate) async fn recognise<C: ChunkSource>(
        &self,
        viewer: &Viewer,
        request: Request<'_>,
        body: C,
        is_turn: bool,
    ) -> Result<Reply, Problem> {
        let asked: RecogniseRequest = read(&read_json(request, body, BODY_BYTES_MAX).await?)?;
        check(&asked)?;
        let conversation = match asked.conversation.as_deref() {
            Some(id) => Some(self.conversation(viewer, id).await?),
            None => None,
        };
        let settings = IntentSettings::read(&self.platform).await;
        let settings = settings.map_err(|error| problem(&error.into()))?;
        let recogniser = Recogniser {
            store: &self.store,
            upstream: &Models(&self.fetch),
            platform: &self.platform,
            settings: &settings,
            memory: &self.memory.intents,
        };
        let said = Said {
            text: &asked.input,
            conversation,
            language: asked.language.as_deref().map(language),
            turn: asked.turn.as_deref(),
        };
        let seen = recogniser.recognise(said).await.map_err(|failure| problem(&failure))?;
        Ok(if is_turn { reply_json(&seen) } else { reply_json(&seen.recognition) })
    }

    /// The conversation of that id, if the viewer sees it: what it remembers is its owner's.
    async fn conversation(&self, viewer: &Viewer, id: &str) -> Result<Nonce, Problem> {
        let unknown = || ApiError::not_found("Conversation", &waggle_openai::error::echo(id));
        let parsed = ConversationId::parse(id).ok_or_else(unknown)?;
        let found = conversation::open(&self.store, viewer, parsed.0).await?;
        Ok(found.map(|_| parsed.0).ok_or_else(unknown)?)
    }
}
