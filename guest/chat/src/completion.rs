//! `POST /v1/chat/completions`: checked, passed on, and passed back; nothing is stored.

use crate::ask::{Ask, Asked, Plan, Said, call, is_event_stream};
use crate::catalog::whole_object;
use crate::fallback::{Fallback, Reader};
use crate::language::Language;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::relay::RelayedStream;
use crate::reply::{Mark, Reply, marked};
use crate::scout::{Verdict, judge, peek};
use crate::service::{Answer, Service, Streaming, report};
use crate::settings::Settings;
use crate::tiers::Tiers;
use serde::Serialize;
use waggle_conversation::Store;
use waggle_model::reply::read_completion;
use waggle_model::splice::{Patch, with_model};
use waggle_model::tier::{AUTO, Question};
use waggle_model::transport::{Replayed, Upstream, UpstreamRequest};
use waggle_model::{ModelFailure, Wire};
use waggle_openai::chat::ChatRequest;
use waggle_openai::error::echo;
use waggle_openai::event::DONE;
use waggle_openai::metadata::Metadata;
use waggle_openai::{ApiError, Nonce, json};

/// The member that holds what a response's metadata would say.
const MEMBER: &str = "waggle_metadata";

/// What an endpoint answered.
enum Started<B> {
    Whole(Vec<u8>),
    Stream(Replayed<B>),
}

/// What a completion of our own says of itself.
#[derive(Debug)]
pub(crate) struct CompletionHead {
    pub(crate) nonce: Nonce,
    /// In seconds since 1970.
    pub(crate) created: u64,
    /// The model that was asked.
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// What is said of tiers.
    pub(crate) metadata: Metadata,
}

#[derive(Serialize)]
struct CompletionJson<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [ChoiceJson<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageJson>,
    waggle_metadata: &'a Metadata,
}

#[derive(Serialize)]
struct ChoiceJson<'a> {
    index: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<MessageJson<'a>>,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct MessageJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<()>,
}

#[derive(Serialize)]
struct UsageJson {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl CompletionHead {
    fn new<P: Platform>(platform: &P, model: String, stream: bool) -> Self {
        let now_ms = platform.now_ms();
        let nonce = Nonce::mint(now_ms, platform.random());
        Self { nonce, created: now_ms / 1000, model, stream, metadata: Metadata::default() }
    }

    fn object<'a>(
        &'a self,
        object: &'static str,
        metadata: &'a Metadata,
        choice: ChoiceJson<'a>,
    ) -> CompletionJson<'a> {
        CompletionJson {
            id: format!("chatcmpl-{}", self.nonce),
            object,
            created: self.created,
            model: &self.model,
            choices: [choice],
            usage: None,
            waggle_metadata: metadata,
        }
    }

    /// What is changed in an answer that is passed back: the model, when the endpoint has `told` which one it was, and
    /// what is to be said of tiers.
    fn patch(&self, told: bool) -> Patch {
        let mut metadata = Vec::new();
        json::push(&mut metadata, &self.metadata);
        Patch {
            model: told.then(|| self.model.clone()),
            member: (self.metadata != Metadata::default()).then_some((MEMBER, metadata)),
        }
    }

    /// The body of a completion that is `fallback`: one object, or the events of a stream.
    pub(crate) fn fallback_body(&self, fallback: &Fallback) -> Vec<u8> {
        let mut metadata = self.metadata.clone();
        fallback.mark(&mut metadata);
        let text = Some(fallback.text.as_str());
        let message = MessageJson { role: Some("assistant"), content: text, refusal: None };
        let choice = |message, delta, finish_reason| ChoiceJson {
            index: 0,
            message,
            delta,
            logprobs: (),
            finish_reason,
        };
        let mut out = Vec::with_capacity(512);
        if !self.stream {
            let whole = CompletionJson {
                usage: Some(UsageJson { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }),
                ..self.object("chat.completion", &metadata, choice(Some(message), None, Some("stop")))
            };
            json::push(&mut out, &whole);
            return out;
        }
        let end = MessageJson { role: None, content: None, refusal: None };
        for (delta, finish_reason) in [(message, None), (end, Some("stop"))] {
            let chunk =
                self.object("chat.completion.chunk", &metadata, choice(None, Some(delta), finish_reason));
            out.extend_from_slice(b"data: ");
            json::push(&mut out, &chunk);
            out.extend_from_slice(b"\n\n");
        }
        out.extend_from_slice(DONE);
        out
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn create_chat_completion(
        self,
        body: Vec<u8>,
        language: Language,
    ) -> Answer<S, P, U::Body> {
        let (plan, chat) = match self.plan_chat(body).await {
            Ok(planned) => planned,
            Err(problem) => return Answer::Reply(report(&self.platform, &problem)),
        };
        let reader = Reader { language, wants_json: chat.wants_json };
        let attempt = async |request, judged| self.start_chat(request, chat.stream, judged).await;
        let Asked { result, model, tier, told, .. } = plan.ask(&self.platform, attempt).await;
        let mut head = CompletionHead::new(&self.platform, model, chat.stream);
        if let Some(tier) = tier {
            tier.mark(&mut head.metadata);
        }
        match result {
            Ok(Started::Whole(body)) => Answer::Reply(Reply::json(head.patch(told).apply(body))),
            Ok(Started::Stream(body)) => {
                let patch = head.patch(told);
                let relay = RelayedStream::new(self.platform, body, patch, head, reader);
                Answer::Stream(Streaming::Relay(Box::new(relay)))
            }
            Err(failure) => Answer::Reply(self.failed_chat(&head, &failure, reader).await),
        }
    }

    async fn failed_chat(&self, head: &CompletionHead, failure: &ModelFailure, reader: Reader) -> Reply {
        let Some(fallback) = Fallback::find(&self.platform, failure, reader).await else {
            return report(&self.platform, &Problem::from(failure));
        };
        self.platform.log(&format!("fallback={} {failure}", fallback.reason));
        marked(head.fallback_body(&fallback), head.stream, Mark::Fallback(fallback.reason))
    }

    async fn plan_chat(&self, body: Vec<u8>) -> Result<(Plan, ChatRequest), Problem> {
        let chat = ChatRequest::read(&body)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(chat.model.as_deref())?;
        if let Some(field) = chat.other_models.as_deref().filter(|_| !settings.models.is_any()) {
            return Err(other_models(field).into());
        }
        let request = |body| settings.endpoint.request(Wire::Chat.path(), Some(body), chat.stream);
        if model != AUTO {
            by_chat(&settings, model)?;
            let model = model.to_owned();
            let request = request(chat.forwarded(body, &model));
            return Ok((Plan::named(model, request), chat));
        }
        let tiers = Tiers::read(&self.platform, &settings.models).await?;
        let picked = tiers.pick(&Question::of_chat(&body))?;
        by_chat(&settings, picked.model)?;
        let ask =
            |body, model: &str| Ask { model: model.to_owned(), request: request(with_model(body, model)) };
        let next = picked.next.filter(|next| settings.wire(next) == Wire::Chat);
        let next = next.map(|next| ask(body.clone(), next));
        let plan = Plan { first: ask(body, picked.model), next, choice: Some(picked.choice) };
        Ok((plan, chat))
    }

    async fn start_chat(
        &self,
        request: UpstreamRequest,
        stream: bool,
        judged: bool,
    ) -> Result<Said<Started<U::Body>>, ModelFailure> {
        let mut response = call(&self.upstream, request).await?;
        let (model, price) = (response.model.take(), response.price.take());
        let (answer, verdict) = if stream && is_event_stream(&response) {
            let (body, verdict) = if judged {
                peek(response.body, Wire::Chat).await?
            } else {
                (response.body.into(), Verdict::Answers)
            };
            (Started::Stream(body), verdict)
        } else {
            let body = whole_object(response).await?;
            let verdict = if judged { judge(&read_completion(&body)?) } else { Verdict::Answers };
            (Started::Whole(body), verdict)
        };
        Ok(Said { answer, model, price, verdict })
    }
}

/// Refuses a model that is asked by Responses: a chat completion is passed on as it is, and not translated.
fn by_chat(settings: &Settings, model: &str) -> Result<(), ApiError> {
    if settings.wire(model) == Wire::Chat {
        return Ok(());
    }
    let message = format!(
        "The model `{}` is asked by the Responses API here (responses_models). Use /v1/responses, or another model.",
        echo(model)
    );
    Err(ApiError::invalid_param("model", "unsupported_api", message))
}

pub(crate) fn other_models(field: &str) -> ApiError {
    let field = echo(field);
    let message =
        format!("'{field}' is not supported: only 'model' may say which model is used. Leave it out.");
    ApiError::unsupported(field, message)
}
