//! A small model for tasks beside the answer: rewriting a question, naming an intent, finding a value. One request, one
//! answer, read whole.

use crate::ask::ask;
use crate::settings::{Endpoint, SettingsError};
use serde_json::value::RawValue;
use waggle_model::reply::read_completion;
use waggle_model::request::TurnRequest;
use waggle_model::responses::read_answer;
use waggle_model::tier::{AUTO, TierTable, TierTableError};
use waggle_model::transport::Upstream;
use waggle_model::{ModelFailure, Wire};
use waggle_openai::Nonce;
use waggle_openai::item::{Item, Part, Role, to_raw_items};
use waggle_openai::parameters::Parameters;
use waggle_platform::Platform;

/// The name that stands for the host's own demonstration, which only repeats what it is told.
const DEMO: &str = "demo";

/// Whom to ask.
#[derive(Debug, PartialEq, Eq)]
pub struct SmallModel<'s> {
    model: String,
    wire: Wire,
    endpoint: &'s Endpoint,
}

/// What is asked.
#[derive(Debug)]
pub struct Task<'t> {
    /// What is to be done.
    pub instructions: &'t str,
    /// With what: words of others, framed by whoever gives them.
    pub material: String,
    /// The form of the answer, as `text.format` of Responses has it; any text where there is none.
    pub format: Option<Box<RawValue>>,
    /// How many tokens the model may write.
    pub output_tokens_max: u64,
}

async fn text<P: Platform>(platform: &P, variable: &'static str) -> Result<String, SettingsError> {
    let unreadable = |reason| SettingsError::Unreadable { variable, reason };
    Ok(platform.variable(variable).await.map_err(unreadable)?.unwrap_or_default().trim().to_owned())
}

/// Whether a list of names, separated by commas, with a `*` for any rest, has `model`.
fn has(list: &str, model: &str) -> bool {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).any(|name| match name.strip_suffix('*') {
        Some(start) => model.starts_with(start),
        None => name == model,
    })
}

/// The model: the one that is configured, else that of the small tier if there are tiers, else that of turns.
async fn model<P: Platform>(platform: &P, variable: &'static str) -> Result<Option<String>, SettingsError> {
    let named = text(platform, variable).await?;
    if !named.is_empty() {
        return Ok(Some(named));
    }
    let tiers = text(platform, "tiers").await?;
    if !tiers.is_empty() {
        let wrong = |error: TierTableError| SettingsError::Wrong {
            variable: "tiers",
            expected: "a table of tiers".to_owned(),
            value: error.to_string(),
        };
        return Ok(Some(TierTable::read(&tiers).map_err(wrong)?.small));
    }
    let model = text(platform, "model").await?;
    Ok((!model.is_empty() && model != DEMO && model != AUTO).then_some(model))
}

impl<'s> SmallModel<'s> {
    /// Whom to ask; `None` where there is no model for it. `variable` names one, if it is set.
    ///
    /// # Errors
    /// A variable cannot be read.
    pub async fn read<P: Platform>(
        platform: &P,
        endpoint: Option<&'s Endpoint>,
        variable: &'static str,
    ) -> Result<Option<Self>, SettingsError> {
        let Some(endpoint) = endpoint else { return Ok(None) };
        let Some(model) = model(platform, variable).await? else { return Ok(None) };
        let by_responses = has(&text(platform, "responses_models").await?, &model);
        let wire = if by_responses { Wire::Responses } else { Wire::Chat };
        Ok(Some(Self { model, wire, endpoint }))
    }

    /// Its name, and by which API it is asked.
    pub fn whom(&self) -> (&str, Wire) {
        (&self.model, self.wire)
    }

    fn body(&self, task: Task<'_>) -> Result<Vec<u8>, String> {
        let said = [Item::Message { role: Role::User, parts: vec![Part::text(task.material)], phase: None }];
        // Nothing of it is stored, so its id is nobody's.
        let input = to_raw_items(&said, Nonce::mint(0, 0), 0).map_err(|error| error.to_string())?;
        let mut parameters =
            Parameters { max_output_tokens: Some(task.output_tokens_max), ..Parameters::default() };
        parameters.text.format = task.format;
        let request = TurnRequest {
            model: &self.model,
            instructions: task.instructions,
            history: Vec::new(),
            input: &input,
            parameters: &parameters,
            stream: false,
        };
        request.to_body(self.wire).map_err(|error| error.to_string())
    }

    async fn answer<U: Upstream>(&self, upstream: &U, body: Vec<u8>) -> Result<String, ModelFailure> {
        let answer = ask(upstream, self.endpoint.request(self.wire, self.wire.path(), body)).await?;
        Ok(match self.wire {
            Wire::Chat => read_completion(&answer)?.text,
            Wire::Responses => read_answer(&answer)?.text(),
        })
    }

    /// What it writes.
    ///
    /// # Errors
    /// Why there is nothing, for the log.
    pub async fn write<U: Upstream>(&self, upstream: &U, task: Task<'_>) -> Result<String, String> {
        let body = self.body(task)?;
        self.answer(upstream, body).await.map_err(|failure| failure.to_string())
    }
}
