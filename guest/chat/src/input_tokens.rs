//! `POST /v1/responses/input_tokens`: how many tokens a turn would send to its model. It asks no model and keeps nothing.

use crate::format::Format;
use crate::plan::Counting;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reference::put_in;
use crate::reply::Reply;
use crate::service::Service;
use crate::settings::Settings;
use crate::summary::{Opener, Shown};
use crate::tokens::{TOKENS_BEFORE_THE_ANSWER, Tally, count_said};
use serde::Serialize;
use waggle_conversation::history::{self, History};
use waggle_conversation::window::WindowLimits;
use waggle_conversation::{Store, Viewer};
use waggle_model::request::TurnRequest;
use waggle_model::transport::Upstream;
use waggle_openai::item::{Item, to_raw_items};
use waggle_openai::request::{Continues, CreateResponse};
use waggle_openai::{ApiError, json};

/// The answer.
#[derive(Serialize)]
struct InputTokens {
    object: &'static str,
    input_tokens: u64,
    /// Whether that is an estimate; absent where it is none. OpenAI has no such member.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waggle_estimated: bool,
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn count_input(&self, viewer: &Viewer, body: &[u8]) -> Result<Reply, Problem> {
        let request = CreateResponse::read_to_count(body)?;
        let CreateResponse { mut input, references, continues, parameters, .. } = request;
        Format::read(&parameters.text)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(parameters.model.as_deref())?;
        let counting = Counting::read(&self.platform, &settings, model).await?;
        let instructions = parameters.instructions.as_deref().unwrap_or(&settings.instructions);
        let mut opener = Opener::new(&self.store);
        let held_tokens = opener.check(viewer, "input", &input, &references).await?;
        let said = count_said(&self.platform, counting.model(model), instructions, &input);
        let limits = settings.window.without(input.len(), said.input + held_tokens + said.instructions);
        let History { mut window, beyond, .. } = self.look(viewer, continues, limits).await?;
        let recalled = self.recall(beyond, &mut window).await?;
        let found = self.find_references(viewer, &references, continues, &window).await?;
        put_in(&mut input, &found)?;
        let raw = to_raw_items(&input, self.nonce(), 0)?;
        let before = recalled.items()?;
        let history = before.iter().map(|item| item.get()).chain(window.items());
        let shown = Shown::open(&mut opener, history.collect(), &raw).await?;
        let (history, raw) = (shown.history(), shown.input(&raw));
        let request = TurnRequest {
            model,
            instructions,
            history: history.clone(),
            input: raw,
            parameters: &parameters,
            stream: false,
        };
        // What no turn could send is not counted.
        request.to_body(settings.wire(model))?;
        let all = history.into_iter().chain(raw.iter().map(|item| item.get()));
        let all: Vec<Item<'_>> = all.map(serde_json::from_str).collect::<Result<_, _>>()?;
        let tally = Tally::default().items(&all);
        let tally = tally.instructions(instructions).parameters(&parameters);
        let counted = tally.count(&self.platform, counting.model(model));
        let answer = InputTokens {
            object: "response.input_tokens",
            input_tokens: counted.tokens + TOKENS_BEFORE_THE_ANSWER,
            waggle_estimated: counted.is_estimate,
        };
        let mut out = Vec::new();
        json::push(&mut out, &answer);
        Ok(Reply::json(out))
    }

    /// What a turn would find before it, without taking a place there.
    async fn look(
        &self,
        viewer: &Viewer,
        continues: Continues,
        limits: WindowLimits,
    ) -> Result<History, Problem> {
        let Continues::Conversation(id) = continues else {
            return self.history_of_chain(viewer, continues, limits).await;
        };
        let found = history::of_conversation(&self.store, viewer, id.0, limits).await?;
        found.ok_or_else(|| ApiError::not_found("Conversation", &id.to_string()).into())
    }
}
