//! Whom to ask for a turn's answer, and by which requests.

use crate::ask::{Ask, Course, Plan};
use crate::knowledge::Next;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::settings::Settings;
use crate::tiers::Tiers;
use std::borrow::Cow;
use waggle_model::Wire;
use waggle_model::request::TurnRequest;
use waggle_model::tier::{AUTO, Question};
use waggle_openai::ApiError;
use waggle_openai::item::{Item, Part, ToolOutput};
use waggle_openai::parameters::Parameters;
use waggle_openai::tool::ToolChoice;

/// Refuses what a model that is asked by that API cannot be told.
fn can_be_said(items: &[Item<'_>], wire: Wire) -> Result<(), ApiError> {
    let by_url = |item: &Item<'_>| match item {
        Item::Message { parts, .. } | Item::FunctionCallOutput { output: ToolOutput::Parts(parts), .. } => {
            parts.iter().any(|part| matches!(part, Part::FileUrl { .. }))
        }
        _ => false,
    };
    match items.iter().position(by_url) {
        Some(place) if wire == Wire::Chat => {
            let message = "'file_url' is not supported by this model: Chat Completions, by which it is asked, takes files \
                           only as 'file_data'.";
            Err(ApiError::invalid_param(format!("input[{place}]"), "invalid_value", message))
        }
        _ => Ok(()),
    }
}

/// What the tokens of a turn are counted by, and the tiers it may be asked of.
#[derive(Debug)]
pub(crate) struct Counting(Option<Tiers>);

impl Counting {
    /// Reads the tiers, where the model is not named.
    pub(crate) async fn read<P: Platform>(
        platform: &P,
        settings: &Settings,
        model: &str,
    ) -> Result<Self, Problem> {
        Ok(Self(match model {
            AUTO => Some(Tiers::read(platform, &settings.models).await?),
            _ => None,
        }))
    }

    /// As which model the tokens are counted of a turn that names `model`. Which tier answers is known after the window
    /// is, so it is always the small one's.
    pub(crate) fn model<'m>(&'m self, model: &'m str) -> &'m str {
        self.0.as_ref().map_or(model, Tiers::small)
    }
}

/// What a tier is chosen by.
fn question<'a>(items: &'a [Item<'_>], history_items: usize, parameters: &'a Parameters) -> Question<'a> {
    let mut question = Question::of_items(items, history_items);
    let format = parameters.text.read_format().ok().flatten();
    question.tools |= !parameters.tools.is_empty() && !matches!(parameters.tool_choice, ToolChoice::None);
    question.schema = format.is_some_and(|format| format.schema.is_some());
    question.effort = parameters.reasoning.effort.as_deref().map(Cow::Borrowed);
    question
}

/// Where a turn's answer comes from: what is known of it without a model, else a model, which is shown what was found. With
/// the tokens of that.
pub(crate) fn course(
    settings: &Settings,
    counting: Counting,
    items: &[Item<'_>],
    request: TurnRequest<'_>,
    next: Option<Next>,
) -> Result<(Course, u64), Problem> {
    let (message, tokens) = match next {
        None => return Ok((Course::Ask(Box::new(plan(settings, counting, items, request)?)), 0)),
        Some(Next::Say(known)) => return Ok((Course::Say(known), 0)),
        Some(Next::Ask { message, tokens }) => (message, tokens),
    };
    // Where a summary would stand: after the instructions.
    let history = std::iter::once(message.get()).chain(request.history.iter().copied()).collect();
    let request = TurnRequest { history, ..request };
    Ok((Course::Ask(Box::new(plan(settings, counting, items, request)?)), tokens))
}

/// Whom to ask, and by which requests: the model that is named, or those of the tiers.
pub(crate) fn plan(
    settings: &Settings,
    Counting(tiers): Counting,
    items: &[Item<'_>],
    request: TurnRequest<'_>,
) -> Result<Plan, Problem> {
    let question = || question(items, request.history.len(), request.parameters);
    let picked = tiers.as_ref().map(|tiers| tiers.pick(&question())).transpose()?;
    let ask = |request: &TurnRequest<'_>| -> Result<Ask, Problem> {
        let wire = settings.wire(request.model);
        can_be_said(items, wire)?;
        let body = request.to_body(wire)?;
        let request_made = settings.ask(request.model, body, request.stream);
        Ok(Ask { model: request.model.to_owned(), request: request_made })
    };
    let model = picked.as_ref().map_or(request.model, |picked| picked.model);
    let request = TurnRequest { model, ..request };
    let first = ask(&request)?;
    let next = picked.as_ref().and_then(|picked| picked.next);
    // One that cannot be told it is not asked.
    let next = next.filter(|model| can_be_said(items, settings.wire(model)).is_ok());
    let next = next.map(|model| ask(&TurnRequest { model, ..request })).transpose()?;
    Ok(Plan { first, next, choice: picked.as_ref().map(|picked| picked.choice) })
}
