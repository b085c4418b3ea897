//! Making a turn ready: from a request body to the request for the model.

use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use crate::settings::Settings;
use waggle_conversation::history::{self, Continuation, History};
use waggle_conversation::turn::FinishedTurn;
use waggle_conversation::window::WindowLimits;
use waggle_conversation::{Store, StoreError, Viewer};
use waggle_model::request::TurnRequest;
use waggle_model::transport::{Upstream, UpstreamRequest};
use waggle_openai::item::{Item, RawItem, estimate_tokens, to_raw_items};
use waggle_openai::request::{Continues, CreateResponse, unknown_previous};
use waggle_openai::response::{ResponseHead, Status, Usage};
use waggle_openai::{ApiError, Nonce, ResponseId};

/// A turn that waits for its answer.
#[derive(Debug)]
pub(crate) struct PreparedTurn {
    /// What its response repeats of the request.
    pub(crate) head: ResponseHead,
    /// Whether the answer is streamed.
    pub(crate) stream: bool,
    /// What is said now, as it will be stored.
    pub(crate) input: Vec<RawItem>,
    /// An estimate of the tokens of `input`.
    input_tokens: u64,
    /// An estimate of the tokens of all that goes to the model.
    prompt_tokens: u64,
    continuation: Continuation,
}

/// How a turn ended, for the record.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// The status.
    pub(crate) status: Status,
    /// What the model said.
    pub(crate) output: &'a [RawItem],
    /// An estimate of its tokens.
    pub(crate) output_tokens: u64,
    /// What the endpoint counted.
    pub(crate) usage: Option<Usage>,
}

impl PreparedTurn {
    /// The nonce of the response.
    pub(crate) fn nonce(&self) -> Nonce {
        self.head.id.0
    }

    /// Commits the turn and returns its response object. Only a turn the model ended itself becomes a part of its
    /// conversation; when it failed or was abandoned, only the response says so.
    pub(crate) async fn commit<S: Store>(
        &self,
        store: &S,
        ending: Ending<'_>,
    ) -> Result<Vec<u8>, StoreError> {
        let counted = Usage {
            input_tokens: self.prompt_tokens,
            output_tokens: ending.output_tokens,
            ..Usage::default()
        };
        let joins = matches!(ending.status, Status::Completed | Status::Incomplete(_));
        let usage = match ending.usage {
            None if ending.output.is_empty() => None,
            usage => Some(usage.unwrap_or(counted)),
        };
        let response = self.head.to_json(&ending.status, ending.output, usage);
        let turn = FinishedTurn {
            nonce: self.nonce(),
            input: &self.input,
            output: ending.output,
            tokens: self.input_tokens + ending.output_tokens,
            continuation: &self.continuation,
            joins,
            response: self.head.parameters.store.then_some(&response),
        };
        turn.commit(store).await?;
        Ok(response)
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Reads and checks the body, reads the history, and writes the request for the model.
    pub(crate) async fn prepare(
        &self,
        viewer: &Viewer,
        body: &[u8],
    ) -> Result<(PreparedTurn, UpstreamRequest), Problem> {
        let CreateResponse { input, continues, stream, parameters } = CreateResponse::read(body)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(parameters.model.as_deref())?.to_owned();
        let nonce = self.nonce();
        let input_tokens: u64 = input.iter().map(Item::tokens).sum();
        let input = to_raw_items(&input, nonce, 0)?;
        let instructions = parameters.instructions.as_deref().unwrap_or(&settings.instructions);
        let fixed_tokens = input_tokens + estimate_tokens(instructions);
        let limits = settings.window.without(input.len(), fixed_tokens);
        let History { window, continuation } = self.history(viewer, continues, limits).await?;
        let request = TurnRequest {
            model: &model,
            instructions,
            history: window.items().collect(),
            input: &input,
            parameters: &parameters,
            stream,
        };
        let request = settings.endpoint.request("/chat/completions", Some(request.to_json()?), stream);
        let prompt_tokens = fixed_tokens + window.tokens();
        let created_at = self.platform.now_ms() / 1000;
        let head = ResponseHead { id: ResponseId(nonce), created_at, model, continues, parameters };
        Ok((PreparedTurn { head, stream, input, input_tokens, prompt_tokens, continuation }, request))
    }

    async fn history(
        &self,
        viewer: &Viewer,
        continues: Continues,
        limits: WindowLimits,
    ) -> Result<History, Problem> {
        let store = &self.store;
        match continues {
            Continues::Nothing => Ok(History::none(viewer, limits)),
            Continues::Response(id) => history::of_response(store, viewer, id.0, limits)
                .await?
                .ok_or_else(|| unknown_previous(&id.to_string()).into()),
            Continues::Conversation(id) => history::of_conversation(store, viewer, id.0, limits)
                .await?
                .ok_or_else(|| ApiError::not_found("Conversation", &id.to_string()).into()),
        }
    }
}
