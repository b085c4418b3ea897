//! All that a run's model was asked, kept so that it can be asked again with what was done since.

use super::toolbox::Toolbox;
use crate::ask::{Ask, Plan};
use crate::knowledge::Next;
use crate::problem::Problem;
use crate::settings::Settings;
use std::rc::Rc;
use waggle_agent::budget::Next as Step;
use waggle_agent::offer::for_model;
use waggle_model::request::TurnRequest;
use waggle_model::tier::Choice;
use waggle_openai::Nonce;
use waggle_openai::item::{Item, ItemStatus, Part, RawItem, Role, StoredId};
use waggle_openai::parameters::Parameters;

/// What a run's model is asked.
#[derive(Debug)]
pub(crate) struct Prompt {
    instructions: String,
    history: Vec<String>,
    input: Vec<RawItem>,
    stream: bool,
}

/// Whom a run asks, and how.
#[derive(Debug)]
pub(crate) struct Asking {
    prompt: Prompt,
    /// The settings of the turn, as its client has them.
    parameters: Parameters,
    tools: Rc<Toolbox>,
    settings: Rc<Settings>,
    /// The model that is asked first.
    first: String,
    /// The one that is asked when that one fails or declines.
    next: Option<String>,
    choice: Option<Choice>,
    /// The requests of the first step, until they are sent.
    plan: Option<Plan>,
}

impl Prompt {
    /// The prompt of a turn that is being made ready, with what was looked up for it.
    pub(crate) fn of(request: &TurnRequest<'_>, next: Option<&Next>) -> Self {
        let found = match next {
            Some(Next::Ask { message, .. }) => Some(message.get()),
            _ => None,
        };
        let history = found.into_iter().chain(request.history.iter().copied());
        Self {
            instructions: request.instructions.to_owned(),
            history: history.map(str::to_owned).collect(),
            input: request.input.to_vec(),
            stream: request.stream,
        }
    }

    /// Whether the answers are streamed.
    pub(crate) fn is_streamed(&self) -> bool {
        self.stream
    }
}

/// A message of the application's own, for this step alone.
fn note(text: &str) -> serde_json::Result<RawItem> {
    let item = Item::Message { role: Role::Developer, parts: vec![Part::text(text)], phase: None };
    // It is never stored, so its id names nothing.
    item.to_raw(Nonce::mint(0, 0), 0, ItemStatus::Completed)
}

impl Asking {
    /// `plan` has the requests of the first step.
    pub(crate) fn new(
        (prompt, parameters): (Prompt, Parameters),
        tools: Rc<Toolbox>,
        settings: Rc<Settings>,
        plan: Plan,
    ) -> Self {
        let (first, choice) = (plan.first.model.clone(), plan.choice);
        let next = plan.next.as_ref().map(|next| next.model.clone());
        Self { prompt, parameters, tools, settings, first, next, choice, plan: Some(plan) }
    }

    /// Whether the model's answers are streamed.
    pub(crate) fn streams(&self) -> bool {
        self.prompt.stream
    }

    /// From now on only the model of the large tier is asked.
    pub(crate) fn escalate(&mut self) {
        if let Some(next) = self.next.take() {
            self.first = next;
        }
    }

    /// The requests of a step, under this key, after all that the run has put out; `next` says whether it is the last one.
    ///
    /// # Errors
    /// As those of the first request.
    pub(crate) fn plan(
        &mut self,
        (step, key): (u32, &str),
        output: &[RawItem],
        next: Step,
    ) -> Result<Plan, Problem> {
        let is_first = step == 1 && next == Step::Act && output.iter().all(is_unseen);
        let mut plan = match self.plan.take().filter(|_| is_first) {
            Some(plan) => plan,
            None => self.written(step, output, next)?,
        };
        plan.first.request.idempotency_key = key.to_owned();
        if let Some(next) = &mut plan.next {
            // Another model is another call.
            next.request.idempotency_key = format!("{key}_2");
        }
        Ok(plan)
    }

    fn written(&self, step: u32, output: &[RawItem], next: Step) -> Result<Plan, Problem> {
        let Prompt { instructions, history, input, stream } = &self.prompt;
        let parameters = for_model(&self.parameters, &self.tools.available(), step, next);
        let mut input = input.clone();
        input.extend_from_slice(output);
        if let Step::Answer(stop) = next {
            input.push(note(stop.told())?);
        }
        let ask = |model: &str| -> Result<Ask, Problem> {
            let request = TurnRequest {
                model,
                instructions,
                history: history.iter().map(String::as_str).collect(),
                input: &input,
                parameters: &parameters,
                stream: *stream,
            };
            let body = request.to_body(self.settings.wire(model))?;
            Ok(Ask { model: model.to_owned(), request: self.settings.ask(model, body, *stream) })
        };
        let next = self.next.as_deref().map(ask).transpose()?;
        Ok(Plan { first: ask(&self.first)?, next, choice: self.choice })
    }
}

/// Whether a model is told nothing by the item: what was looked up, or a list of tools.
fn is_unseen(item: &RawItem) -> bool {
    let id = serde_json::from_str::<StoredId<'_>>(item.get());
    id.is_ok_and(|item| ["fs_", "mcpl_"].iter().any(|prefix| item.id.starts_with(prefix)))
}
