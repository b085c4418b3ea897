//! Looking a turn's question up, and what becomes of it.

use super::FUNCTION;
use super::failure::{refused, unanswered, unreadable};
use super::keep::Keepable;
use super::question::Question;
use super::sources::{Source, show};
use super::stores::{Stores, answers_itself};
use super::wire::{Queries, Results, SearchReply, Told, search_body};
use crate::format::Format;
use crate::locked::{Pulse, alive};
use crate::platform::{NeighbourCall, Platform};
use crate::problem::Problem;
use crate::service::Service;
use crate::settings::number;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::rc::Rc;
use waggle_conversation::ticket::Ticket;
use waggle_conversation::{Store, Viewer};
use waggle_model::reply::{Completion, FinishReason};
use waggle_model::request::TurnRequest;
use waggle_model::transport::Upstream;
use waggle_openai::item::{HostedCall, HostedKind, Item, RawItem};
use waggle_openai::metadata::Metadata;
use waggle_openai::response::Usage;
use waggle_search::citations::CitedFile;

const PATH: &str = "/v1/retrieval/search";
/// How long a search may be silent, in milliseconds: it may ask a model to understand the question.
const TIMEOUT_MS: u64 = 30_000;
/// How many tokens of sources a model is shown, unless the variable `sources_tokens_max` says otherwise.
const SOURCES_TOKENS_MAX_DEFAULT: u64 = 2_000;
/// The pair of a response's metadata that says what its answer is, when no model gave it.
const ANSWER_PAIR: &str = "waggle_answer";

/// The pair of a request's metadata by which a service says that it asks ahead of users, and its value.
const AHEAD_PAIR: (&str, &str) = ("waggle_ahead", "true");

/// What an answer is: one that was given before, the words of the sources, that there is none, and that somebody else is to
/// take over then.
const CACHED: &str = "cached";
const EXTRACTED: &str = "extracted";
const NONE: &str = "none";
pub(crate) const HANDOVER: &str = "handover";

/// A turn that is being made ready.
#[derive(Debug)]
pub(crate) struct Turning<'a> {
    /// What its model would be asked.
    request: &'a TurnRequest<'a>,
    /// What is said now.
    items: &'a [Item<'a>],
    /// As which model tokens are counted.
    counted_as: &'a str,
    /// Whether the answer has to be JSON: then it is a model's, and cites nothing.
    is_json: bool,
    /// Whether its model has tools of this server's, which may know what the sources do not.
    acts: bool,
    /// Whether it is asked ahead of users.
    ahead: bool,
}

impl<'a> Turning<'a> {
    pub(crate) fn new(
        request: &'a TurnRequest<'a>,
        items: &'a [Item<'a>],
        counted_as: &'a str,
        format: &Format,
        acts: bool,
    ) -> Self {
        Self { request, items, counted_as, is_json: format.is_json(), acts, ahead: false }
    }

    /// The same turn, and whether it is asked ahead of users: then it does not count among what they ask.
    pub(crate) fn ahead(self, ahead: bool) -> Self {
        Self { ahead, ..self }
    }
}

/// Whether a request says that it is asked ahead of users, which services alone may say.
pub(crate) fn is_ahead(viewer: &Viewer, metadata: &Metadata) -> bool {
    let (key, value) = AHEAD_PAIR;
    viewer.is_service() && metadata.get(key) == Some(value)
}

/// What is looked up for it.
struct Looking<'a> {
    turn: Turning<'a>,
    stores: Stores<'a>,
    question: Question,
}

/// What the turn's output tells of it, and its answer may cite.
#[derive(Debug)]
pub(crate) struct Looked {
    /// The item that tells of it.
    pub(crate) call: HostedCall<'static>,
    /// What the answer cites by number; `None` where its numbers mean nothing.
    pub(crate) sources: Option<Rc<[CitedFile]>>,
    /// By what the answer may be kept.
    pub(crate) keepable: Option<Keepable>,
    /// What the answer is, when no model gives it.
    pub(crate) known_as: Option<&'static str>,
}

/// What is to be done then.
#[derive(Debug)]
pub(crate) enum Next {
    /// The model is asked, and shown this message of so many tokens.
    Ask { message: RawItem, tokens: u64 },
    /// This is the answer.
    Say(Box<Completion>),
}

/// Says in a response's metadata that somebody else takes over.
pub(crate) fn mark_handover(metadata: &mut Metadata) {
    metadata.set(ANSWER_PAIR, HANDOVER);
}

impl Looked {
    /// Says in a response's metadata what its answer is, when no model gave it.
    pub(crate) fn mark(&self, metadata: &mut Metadata) {
        if let Some(known_as) = self.known_as {
            metadata.set(ANSWER_PAIR, known_as);
        }
    }
}

/// An answer that no model gave.
pub(crate) fn say(text: String) -> Next {
    Next::Say(Box::new(unasked(text)))
}

/// What a model would have said, of an answer that none gave.
pub(crate) fn unasked(text: String) -> Completion {
    Completion {
        reasoning: String::new(),
        text,
        logprobs: Vec::new(),
        annotations: Vec::new(),
        refusal: String::new(),
        tool_calls: Vec::new(),
        finish: FinishReason::Stop,
        usage: Some(Usage::default()),
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Looks a turn's question up, where the turn is to be answered from knowledge and asks something, and keeps its place
    /// meanwhile.
    ///
    /// # Errors
    /// The search was refused, or failed: the turn is not answered without.
    pub(crate) async fn look_up(
        &self,
        turn: Turning<'_>,
        ticket: Option<&Ticket>,
    ) -> Result<Option<(Looked, Next)>, Problem> {
        let Some(stores) = Stores::of(&self.platform, turn.request.parameters).await? else {
            return Ok(None);
        };
        let Some(question) = Question::of(turn.items, &turn.request.history)? else { return Ok(None) };
        // In a box, so that turns without knowledge, which are most, do not carry its room.
        let looking = Box::pin(Looking { turn, stores, question }.look(&self.platform));
        alive((&self.store, &self.platform), ticket, &mut Pulse::default(), looking).await.map(Some)
    }
}

impl Looking<'_> {
    async fn look<P: Platform>(self, platform: &P) -> Result<(Looked, Next), Problem> {
        let version = self.is_general().then(|| self.prompt_version());
        let body = search_body(&self.stores, &self.question, version.as_deref(), self.turn.ahead);
        let call = NeighbourCall::post(FUNCTION, PATH, body, TIMEOUT_MS);
        let answer = platform.call_neighbour(call).await.map_err(|failure| unanswered(&failure))?;
        if answer.status != 200 {
            return Err(refused(&self.stores, &answer));
        }
        let wrong = |error: serde_json::Error| unreadable(&error, &answer.body);
        let SearchReply { search_query, data, waggle } =
            serde_json::from_slice(&answer.body).map_err(wrong)?;
        let data = match &waggle.cached_answer {
            Some(cached) if !self.turn.is_json => cached.data.clone(),
            _ => data,
        };
        let results = Results::read(&data).map_err(wrong)?;
        let sources = results.sources();
        let call = self.call(search_query, &results, &sources)?;
        self.decide(platform, (call, sources, data), waggle).await
    }

    /// Whether an answer to it may be one that was given before: a text that depends on nothing but the question. What
    /// tools and images say, it would not know.
    fn is_general(&self) -> bool {
        !self.turn.is_json && self.turn.request.parameters.tools.is_empty() && self.question.is_plain
    }

    /// A name for all that makes two answers to one question differ.
    fn prompt_version(&self) -> String {
        let parameters = self.turn.request.parameters;
        let tokens = parameters.max_output_tokens.map(|tokens| tokens.to_string());
        let temperature = parameters.temperature.map(|number| number.to_string());
        let texts = [
            Some(self.turn.request.model),
            Some(self.turn.request.instructions),
            parameters.text.verbosity.as_deref(),
            parameters.reasoning.effort.as_deref(),
            tokens.as_deref(),
            temperature.as_deref(),
        ];
        let mut hash = Sha256::new();
        for text in texts.map(Option::unwrap_or_default) {
            // With its length, so that two texts are not taken for other two.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().iter().fold(String::with_capacity(64), |mut out, byte| {
            let _infallible = write!(out, "{byte:02x}");
            out
        })
    }

    /// The item that tells of it.
    fn call(
        &self,
        queries: Queries,
        results: &Results<'_>,
        sources: &[Source],
    ) -> serde_json::Result<HostedCall<'static>> {
        let with_results = self.turn.request.parameters.include.search_results;
        let json = results.call_json(&queries.into_list(), sources, with_results);
        HostedCall::read(HostedKind::FileSearch, &json)
    }

    async fn decide<P: Platform>(
        self,
        platform: &P,
        (call, mut sources, data): (HostedCall<'static>, Vec<Source>, Vec<&RawValue>),
        told: Told<'_>,
    ) -> Result<(Looked, Next), Problem> {
        let key = told.answer_key.filter(|_| self.is_general() && told.cached_answer.is_none());
        let mut keepable = key.map(Keepable::new);
        let mut looked = |sources: Vec<Source>, known_as| Looked {
            call: call.clone(),
            sources: (!self.turn.is_json).then(|| sources.into_iter().map(|source| source.file).collect()),
            keepable: keepable.take(),
            known_as,
        };
        if !self.turn.is_json && !self.turn.acts {
            if let Some(cached) = told.cached_answer {
                return Ok((looked(sources, Some(CACHED)), say(cached.text)));
            }
            if let (false, Some(text)) = (told.passed_threshold, told.no_answer) {
                let known_as = if told.handover { HANDOVER } else { NONE };
                return Ok((looked(Vec::new(), Some(known_as)), say(text)));
            }
            if let Some(extract) = told.extractive.filter(|_| told.passed_threshold)
                && answers_itself(platform).await?
            {
                return Ok((looked(sources, Some(EXTRACTED)), say(extract.text)));
            }
        }
        if !told.passed_threshold {
            sources.clear();
        }
        let tokens_max = number(platform, "sources_tokens_max", SOURCES_TOKENS_MAX_DEFAULT).await?;
        let shown = show(platform, self.turn.counted_as, &sources, tokens_max, !self.turn.is_json)?;
        sources.truncate(shown.count);
        let mut looked = looked(sources, None);
        if let Some(keepable) = looked.keepable.as_mut().filter(|_| self.question.stands_alone) {
            keepable.sources = data.into_iter().take(shown.count).map(|raw| raw.to_owned()).collect();
        }
        let next = Next::Ask { message: shown.message, tokens: shown.tokens };
        Ok((looked, next))
    }
}
