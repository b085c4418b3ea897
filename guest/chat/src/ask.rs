//! Asking a model, and where a tier was chosen, the next one when the first does not answer.

use crate::agent::Run;
use crate::platform::Platform;
use crate::scout::Verdict;
use waggle_model::reply::Completion;
use waggle_model::responses::Answer;
use waggle_model::tier::Choice;
use waggle_model::transport::{Replayed, Upstream, UpstreamRequest, UpstreamResponse, read_whole};
use waggle_model::{ModelFailure, Wire};
use waggle_openai::metadata::Metadata;
use waggle_openai::response::Usage;

/// The longest whole answer of a model endpoint, in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How much of an answer that reports an error is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// The longest name that is taken from an endpoint for its model, in bytes.
const MODEL_BYTES_MAX: usize = 256;

/// A model, and what is sent to it.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The model.
    pub(crate) model: String,
    /// The request.
    pub(crate) request: UpstreamRequest,
}

/// Whom to ask for one answer.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The model that is asked first.
    pub(crate) first: Ask,
    /// The one that is asked when that one fails or declines.
    pub(crate) next: Option<Ask>,
    /// How the first was chosen, when it was not named.
    pub(crate) choice: Option<Choice>,
}

/// Where a turn's answer comes from.
#[derive(Debug)]
pub(crate) enum Course {
    /// A model is asked.
    Ask(Box<Plan>),
    /// A model is asked, and what it asks for of this server's tools is done, until it answers.
    Act(Box<Run>),
    /// It is known without.
    Say(Box<Completion>),
}

/// A stream of a model's that has begun.
#[derive(Debug)]
pub(crate) struct Opened<B> {
    /// The API whose events they are.
    pub(crate) wire: Wire,
    /// The stream, from its beginning.
    pub(crate) body: Replayed<B>,
}

/// What a model said, whole.
#[derive(Debug)]
pub(crate) enum Whole {
    /// By Chat Completions.
    Completion(Completion),
    /// By Responses.
    Response(Answer),
}

impl Whole {
    /// Its text, and what the endpoint counted.
    pub(crate) fn into_text(self) -> (String, Option<Usage>) {
        match self {
            Self::Completion(completion) => (completion.text, completion.usage),
            Self::Response(answer) => (answer.text(), answer.usage),
        }
    }
}

/// What one model said.
#[derive(Debug)]
pub(crate) struct Said<T> {
    /// The answer.
    pub(crate) answer: T,
    /// The model that gave it, when the endpoint says that it was not the one that was asked.
    pub(crate) model: Option<String>,
    /// What its tokens cost, where the host says so.
    pub(crate) price: Option<String>,
    /// What it is worth; only looked at when there is another model to ask.
    pub(crate) verdict: Verdict,
}

impl<T> Said<T> {
    /// The same, with the answer as `into` makes it.
    pub(crate) fn map<R>(self, into: impl FnOnce(T) -> R) -> Said<R> {
        let Self { answer, model, price, verdict } = self;
        Said { answer: into(answer), model, price, verdict }
    }
}

/// How asking ended.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    /// The answer, or why there is none.
    pub(crate) result: Result<T, ModelFailure>,
    /// The model that gave it, or that was asked last.
    pub(crate) model: String,
    /// Which tier was chosen.
    pub(crate) tier: Option<TierTaken>,
    /// Whether the endpoint said which model that was.
    pub(crate) told: bool,
    /// What its tokens cost, where the host says so.
    pub(crate) price: Option<String>,
}

/// Which tier was chosen, and what came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TierTaken {
    choice: Choice,
    /// Whether the large tier was asked after the small one.
    escalated: bool,
}

impl TierTaken {
    /// Whether the large tier was asked after the small one.
    pub(crate) fn is_escalated(&self) -> bool {
        self.escalated
    }

    /// Says so in a response's metadata.
    pub(crate) fn mark(&self, metadata: &mut Metadata) {
        metadata.set("waggle_tier", self.choice.tier.name());
        metadata.set("waggle_tier_reason", self.choice.reason);
        metadata.set("waggle_escalated", if self.escalated { "true" } else { "false" });
    }
}

impl Plan {
    /// A plan for a model that was named.
    pub(crate) fn named(model: String, request: UpstreamRequest) -> Self {
        Self { first: Ask { model, request }, next: None, choice: None }
    }

    /// Asks. `attempt` makes one call; it is told whether it has to find out what the answer is worth.
    pub(crate) async fn ask<T, P: Platform>(
        self,
        platform: &P,
        attempt: impl AsyncFn(UpstreamRequest, bool) -> Result<Said<T>, ModelFailure>,
    ) -> Asked<T> {
        let Self { mut first, next, choice } = self;
        first.request.choice = choice;
        let tier = |escalated| choice.map(|choice| TierTaken { choice, escalated });
        let one = attempt(first.request, next.is_some()).await;
        let better = |next: Ask| match &one {
            Ok(said) => (said.verdict != Verdict::Answers).then_some(next),
            Err(failure) => failure.escalates().then_some(next),
        };
        let Some(next) = next.and_then(better) else { return asked(one, first.model, tier(false)) };
        if let Err(failure) = &one {
            platform.log(&format!("tier=small model={} {failure}", first.model));
        }
        match (one, attempt(next.request, false).await) {
            // What the small tier said is an answer, if a poor one.
            (Ok(said), Err(failure)) if said.verdict == Verdict::Declines => {
                platform.log(&format!("tier=large model={} {failure}", next.model));
                asked(Ok(said), first.model, tier(true))
            }
            (_, two) => asked(two, next.model, tier(true)),
        }
    }
}

fn asked<T>(result: Result<Said<T>, ModelFailure>, model: String, tier: Option<TierTaken>) -> Asked<T> {
    match result {
        Ok(Said { answer, model: told, price, .. }) => {
            let is_told = told.is_some();
            Asked { result: Ok(answer), model: told.unwrap_or(model), tier, told: is_told, price }
        }
        Err(failure) => Asked { result: Err(failure), model, tier, told: false, price: None },
    }
}

/// Whether the answer is the stream of events that was asked for.
pub(crate) fn is_event_stream<B>(response: &UpstreamResponse<B>) -> bool {
    response.content_type.as_ref().is_some_and(|content_type| content_type.starts_with("text/event-stream"))
}

/// Sends a request and lets only a 200 through.
pub(crate) async fn call<U: Upstream>(
    upstream: &U,
    request: UpstreamRequest,
) -> Result<UpstreamResponse<U::Body>, ModelFailure> {
    let mut response = upstream.send(request).await?;
    if response.status == 200 {
        response.model = response.model.filter(|model| (1..=MODEL_BYTES_MAX).contains(&model.len()));
        return Ok(response);
    }
    let body = read_whole(&mut response.body, ERROR_BYTES_MAX).await.unwrap_or_default();
    Err(ModelFailure::from_status(response.status, &body, response.retry_after.as_deref()))
}
