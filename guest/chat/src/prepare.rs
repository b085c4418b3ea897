//! Making a turn ready: from a request body to the request for the model.

use crate::agent::{Decision, Keeping, Prompt, Tools};
use crate::ask::Course;
use crate::fallback::Reader;
use crate::fit::Fit;
use crate::format::Format;
use crate::handover::{Telling, begun_by, mark_silent, silence};
use crate::intents::{Intent, told};
use crate::knowledge::{Kept, Looked, Next, Turning, is_ahead};
use crate::language::Language;
use crate::locked::{PlatformClock, give_up, wait_ms_max};
use crate::output::Output;
use crate::plan::{Counting, course};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::reference::put_in;
use crate::service::Service;
use crate::settings::Settings;
use crate::summary::{Aside, Opener, Shown};
use crate::tokens::{Tally, count_items, count_said};
use std::cell::Cell;
use waggle_conversation::background::Pair;
use waggle_conversation::history::{self, Continuation, History};
use waggle_conversation::ticket::{Arrival, Ticket, enter};
use waggle_conversation::turn::{CommitError, FinishedTurn};
use waggle_conversation::window::{Window, WindowLimits};
use waggle_conversation::{Store, Viewer, response};
use waggle_model::request::TurnRequest;
use waggle_model::transport::Upstream;
use waggle_openai::item::{Item, RawItem, to_raw_items};
use waggle_openai::metadata::Metadata;
use waggle_openai::parameters::Parameters;
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
    /// Who reads the answer.
    pub(crate) reader: Reader,
    /// The form the answer must have.
    pub(crate) format: Format,
    /// What is said now, as it will be stored.
    pub(crate) input: Vec<RawItem>,
    /// The tokens of `input`.
    pub(crate) input_tokens: u64,
    /// The tokens of all messages that go to the model.
    prompt_tokens: u64,
    /// As which model its tokens are counted.
    counted_as: String,
    pub(crate) continuation: Continuation,
    /// What is to be done beside the turn's answer.
    pub(crate) aside: Option<Aside>,
    /// What was looked up for it.
    pub(crate) looked: Option<Box<Looked>>,
    /// The answer, where it is to be kept for questions that are alike.
    pub(crate) kept: Option<Box<Kept>>,
    /// How old its conversation's record may become before it is written anew.
    pub(crate) renewal_s: u64,
    /// Whether nobody answers it: its conversation is handed over to people.
    pub(crate) silent: bool,
    /// How the answer grew, where it is streamed, for who asks for its events again.
    pub(crate) trace: Option<Vec<u8>>,
    /// Whether something was done for it that changes something outside. Then its conversation is to know, however the turn
    /// ends.
    pub(crate) acted: bool,
}

/// What is known of a turn before it is made ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownTurn<'a> {
    /// The nonce of its response.
    pub(crate) nonce: Nonce,
    /// When it was accepted, in seconds since 1970, if that was before; then it runs in the background and is streamed.
    pub(crate) accepted_at: Option<u64>,
    /// Set when it is wanted no longer, and need not wait for its place in its conversation.
    pub(crate) stop: Option<&'a Cell<bool>>,
    /// Whether it is recorded what is done for it.
    pub(crate) keeping: Keeping,
}

/// A turn that is kept.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Its response object.
    pub(crate) response: Vec<u8>,
    /// Its number in its conversation; none for one that has joined none.
    pub(crate) turn: Option<u64>,
}

/// How a turn ended, for the record.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// The status.
    pub(crate) status: Status,
    /// What the model said.
    pub(crate) output: &'a [RawItem],
    /// Its tokens.
    pub(crate) output_tokens: u64,
    /// What the endpoint counted.
    pub(crate) usage: Option<Usage>,
}

impl<'a> Ending<'a> {
    /// The end of a turn that was answered in the model's place: no model counted anything.
    pub(crate) fn fallback(output: &'a [RawItem]) -> Self {
        Self { status: Status::Completed, output, output_tokens: 0, usage: Some(Usage::default()) }
    }
}

impl PreparedTurn {
    /// The nonce of the response.
    pub(crate) fn nonce(&self) -> Nonce {
        self.head.id.0
    }

    /// The turn's place in its conversation, if it is in one.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        self.continuation.ticket()
    }

    /// Notes the answer, if it is to be kept for questions that are alike. It has come to its end.
    pub(crate) fn keep_answer(&mut self, output: &mut Output) {
        let Some(looked) = self.looked.as_mut().filter(|looked| looked.keepable.is_some()) else { return };
        let Some(text) = output.kept_answer() else { return };
        self.kept = looked.keepable.take().map(|keepable| Box::new(keepable.with(text)));
    }

    /// The tokens of what a model said in this turn.
    pub(crate) fn count<'t, 'i: 't, P: Platform>(
        &self,
        platform: &P,
        said: impl IntoIterator<Item = &'t Item<'i>>,
    ) -> u64 {
        count_items(platform, &self.counted_as, said)
    }

    /// What a step of a run used, where the endpoint has not counted it.
    pub(crate) fn counted_in_step<P: Platform>(&self, platform: &P, output: &Output) -> Usage {
        let (all, said) =
            (self.count(platform, output.items()), self.count(platform, output.items_of_step()));
        let usage = self.counted(platform, said);
        Usage { input_tokens: usage.input_tokens + all.saturating_sub(said), ..usage }
    }

    /// What was used, where the endpoint has not counted it.
    fn counted<P: Platform>(&self, platform: &P, output_tokens: u64) -> Usage {
        let settings = Tally::default().parameters(&self.head.parameters).count(platform, &self.counted_as);
        Usage { input_tokens: self.prompt_tokens + settings.tokens, output_tokens, ..Usage::default() }
    }

    /// Commits the turn. Only a turn the model ended itself becomes a part of its
    /// conversation, or one that has changed something; when another failed or was abandoned, only the response says so.
    pub(crate) async fn commit<S: Store, P: Platform>(
        &self,
        store: &S,
        platform: &P,
        ending: Ending<'_>,
    ) -> Result<Committed, CommitError> {
        self.commit_with(store, platform, ending, |_| Vec::new()).await
    }

    /// As [`commit`](Self::commit), together with what `also` makes of the response object.
    pub(crate) async fn commit_with<S: Store, P: Platform>(
        &self,
        store: &S,
        platform: &P,
        ending: Ending<'_>,
        also: impl FnOnce(&[u8]) -> Vec<Pair>,
    ) -> Result<Committed, CommitError> {
        let joins = self.acted || matches!(ending.status, Status::Completed | Status::Incomplete(_));
        let usage = match ending.usage {
            None if ending.output.is_empty() => None,
            usage => Some(usage.unwrap_or_else(|| self.counted(platform, ending.output_tokens))),
        };
        let now_s = platform.now_ms() / 1000;
        let handover = begun_by(self.looked.as_deref(), self.nonce(), now_s).filter(|_| joins);
        let telling = self.telling().filter(|_| handover.is_some());
        let alone = match telling {
            Some(telling) => Box::pin(telling.begin(platform)).await,
            None => None,
        };
        let response = self.head.to_json_at(&ending.status, ending.output, usage, Some(now_s));
        let turn = FinishedTurn {
            nonce: self.nonce(),
            input: &self.input,
            output: ending.output,
            tokens: self.input_tokens + ending.output_tokens,
            continuation: &self.continuation,
            joins,
            response: self.head.parameters.store.then_some(&response),
            now_ms: platform.now_ms(),
            renewal_s: self.renewal_s,
            handover: handover.as_ref(),
            listed: self.head.background,
            stream: self.trace.as_deref(),
            also: also(&response),
        };
        let turn = turn.commit(store).await?;
        if let Some(telling) = alone {
            Box::pin(telling.run_alone(store, platform)).await;
        }
        Ok(Committed { response, turn })
    }

    /// The telling of the people of its conversation, if it is in one.
    fn telling(&self) -> Option<Telling> {
        let Continues::Conversation(id) = self.head.continues else { return None };
        Some(Telling { id })
    }
}

/// A turn whose wishes are found out.
struct Asking<'a> {
    viewer: &'a Viewer,
    items: &'a [Item<'a>],
    continues: Continues,
    nonce: Nonce,
    language: Language,
    /// Whether it runs now, and is not only accepted.
    runs: bool,
    /// Whether its answer has to be JSON.
    is_json: bool,
}

/// What a turn decides, what its user wants, what is to be asked for it, and the tools it has.
#[derive(Default)]
struct Wishes {
    decisions: Vec<Decision>,
    intent: Option<Intent>,
    question: Option<Next>,
    tools: Option<Tools>,
}

/// Says in the response's metadata how its answer comes about.
fn mark(metadata: &mut Metadata, looked: Option<&Looked>, intent: Option<&Intent>, silent: bool) {
    if let Some(looked) = looked {
        looked.mark(metadata);
    }
    if let Some(intent) = intent {
        intent.mark(metadata);
    }
    if silent {
        mark_silent(metadata);
    }
}

/// 400: all that is said is in the window already.
fn empty_input() -> ApiError {
    let message = "Invalid 'input': it only refers to items the model sees anyway. Add something to be said.";
    ApiError::invalid_param("input", "empty_array", message)
}

/// 400: what it is to continue is still being made.
fn pending_previous(id: ResponseId) -> Problem {
    let message =
        format!("The response '{id}' is not over. Wait until its status says so, then continue it.");
    ApiError::invalid_param("previous_response_id", "previous_response_pending", message).into()
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Checks a request, reads its history, and writes the request for the model. The turn has its place in its
    /// conversation then, which whoever goes on has to settle; where this fails, it is given up.
    pub(crate) async fn prepare(
        &self,
        viewer: &Viewer,
        request: CreateResponse<'_>,
        language: Language,
        known: KnownTurn<'_>,
    ) -> Result<(PreparedTurn, Course), Problem> {
        let mut drawn = None;
        let prepared = self.prepare_drawing(viewer, request, language, known, &mut drawn).await;
        if prepared.is_err() {
            give_up(&self.store, &self.platform, drawn.as_ref()).await;
        }
        prepared
    }

    async fn prepare_drawing(
        &self,
        viewer: &Viewer,
        request: CreateResponse<'_>,
        language: Language,
        known: KnownTurn<'_>,
        drawn: &mut Option<Ticket>,
    ) -> Result<(PreparedTurn, Course), Problem> {
        let KnownTurn { nonce, accepted_at, keeping, .. } = known;
        let CreateResponse { input: mut items, references, continues, stream, background, mut parameters } =
            request;
        let stream = stream || accepted_at.is_some();
        let ahead = is_ahead(viewer, &parameters.metadata);
        parameters.metadata.drop_reserved();
        // One that is accepted for the background is looked up when it runs.
        let runs = !background || accepted_at.is_some();
        let format = Format::read(&parameters.text)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(parameters.model.as_deref())?.to_owned();
        let counting = Counting::read(&self.platform, &settings, &model).await?;
        let counted_as = counting.model(&model).to_owned();
        let mut opener = Opener::new(&self.store);
        let held_tokens = opener.check(viewer, "input", &items, &references).await?;
        let instructions = parameters.instructions.as_deref().unwrap_or(&settings.instructions);
        let mut said = count_said(&self.platform, &counted_as, instructions, &items).and(held_tokens);
        let fit = Fit::new(&settings, &parameters, items.len(), said);
        let History { mut window, continuation, beyond, handover } =
            self.history(viewer, continues, fit.limits(), known).await?;
        *drawn = continuation.ticket().cloned();
        let silent = handover.is_some();
        if !silent {
            fit.check(&window)?;
        }
        let asking =
            Asking { viewer, items: &items, continues, nonce, language, runs, is_json: format.is_json() };
        // Nobody decides, calls a tool or reads the window where nobody answers.
        let Wishes { decisions, intent, question, tools } = if silent {
            Wishes::default()
        } else {
            self.wishes(asking, &parameters, &window, drawn.as_ref()).await?
        };
        let recalled = self.recall(beyond.filter(|_| !silent), &mut window).await?;
        let found = self.find_references(viewer, &references, continues, &window).await?;
        put_in(&mut items, &found)?;
        if items.is_empty() {
            return Err(empty_input().into());
        }
        if !found.is_empty() {
            said.input = count_items(&self.platform, &counted_as, &items) + held_tokens;
        }
        let input = to_raw_items(&items, nonce, 0)?;
        let before = recalled.items()?;
        let history = before.iter().map(|item| item.get()).chain(window.items());
        let shown = Shown::open(&mut opener, history.collect(), &input).await?;
        let (instructions, told_tokens) = told(&self.platform, &counted_as, instructions, intent.as_ref());
        let offered = tools.as_ref().map(|tools| tools.told(&parameters));
        let request = TurnRequest {
            model: &model,
            instructions: &instructions,
            history: shown.history(),
            input: shown.input(&input),
            parameters: offered.as_ref().unwrap_or(&parameters),
            stream,
        };
        let turning = Turning::new(&request, &items, &counted_as, &format, tools.is_some()).ahead(ahead);
        let (looked, next) = match question {
            Some(question) => (None, Some(question)),
            None if runs && !silent => self.look_up(turning, continuation.ticket()).await?.unzip(),
            None => (None, None),
        };
        let prompt = tools.as_ref().map(|_| Prompt::of(&request, next.as_ref()));
        let (mut course, found_tokens) = match (&handover, continues) {
            (Some(mark), Continues::Conversation(id)) => {
                (Box::pin(silence(&self.platform, id, mark)).await, 0)
            }
            _ => course(&settings, counting, &items, request, next)?,
        };
        mark(&mut parameters.metadata, looked.as_ref(), intent.as_ref(), silent);
        let prompt_tokens = said.of_prompt(window.tokens() + recalled.tokens() + found_tokens + told_tokens);
        let aside = recalled.aside(&model);
        let renewal_s = settings.renewal_s;
        if runs && !decisions.is_empty() {
            Box::pin(self.claim_decisions(&decisions, nonce)).await?;
        }
        if let (Some(tools), Some(prompt), true) = (tools, prompt, runs) {
            let (of, prompt) = ((ResponseId(nonce), continues), (prompt, &parameters));
            let acting = tools.into_course(&self.platform, course, of, prompt, settings, keeping);
            course = Box::pin(acting).await?;
        }
        let created_at = accepted_at.unwrap_or_else(|| self.platform.now_ms() / 1000);
        let head =
            ResponseHead { id: ResponseId(nonce), created_at, background, model, continues, parameters };
        let turn = PreparedTurn {
            head,
            stream,
            reader: Reader { language, wants_json: format.is_json() },
            // Nothing fits every form.
            format: if silent { Format::Text } else { format },
            input,
            input_tokens: said.input,
            prompt_tokens,
            counted_as,
            continuation,
            aside,
            looked: looked.map(Box::new),
            kept: None,
            renewal_s,
            silent,
            trace: None,
            acted: false,
        };
        Ok((turn, course))
    }

    async fn wishes(
        &self,
        asking: Asking<'_>,
        parameters: &Parameters,
        window: &Window,
        ticket: Option<&Ticket>,
    ) -> Result<Wishes, Problem> {
        let Asking { viewer, items, continues, nonce, language, runs, is_json } = asking;
        let decisions = self.decisions(viewer, items, continues, window).await?;
        let intent = if runs && decisions.is_empty() {
            self.intent(items, (continues, nonce), language, ticket).await?
        } else {
            None
        };
        // What has to be JSON is a model's, which is told what is missing.
        let question = intent.as_ref().filter(|_| !is_json).and_then(Intent::question);
        let tools = if question.is_some() {
            None
        } else {
            let of_intent = intent.as_ref().map_or(&[][..], Intent::tools);
            self.tools_of(parameters, (&decisions, of_intent), window.items(), ticket).await?
        };
        Ok(Wishes { decisions, intent, question, tools })
    }

    pub(crate) async fn history(
        &self,
        viewer: &Viewer,
        continues: Continues,
        limits: WindowLimits,
        KnownTurn { nonce, stop, .. }: KnownTurn<'_>,
    ) -> Result<History, Problem> {
        let Continues::Conversation(id) = continues else {
            return self.history_of_chain(viewer, continues, limits).await;
        };
        let wait_ms_max = wait_ms_max(&self.platform).await?;
        let arrival = Arrival { conversation: id.0, nonce, limits, wait_ms_max };
        enter(&self.store, &PlatformClock { platform: &self.platform, stop }, viewer, arrival)
            .await?
            .ok_or_else(|| ApiError::not_found("Conversation", &id.to_string()).into())
    }

    /// What came before a turn that continues no conversation.
    pub(crate) async fn history_of_chain(
        &self,
        viewer: &Viewer,
        continues: Continues,
        limits: WindowLimits,
    ) -> Result<History, Problem> {
        let store = &self.store;
        let Continues::Response(id) = continues else { return Ok(History::none(viewer, limits)) };
        match history::of_response(store, viewer, id.0, limits).await? {
            Some(history) => Ok(history),
            None if response::object(store, viewer, id.0).await?.is_some() => Err(pending_previous(id)),
            None => Err(unknown_previous(&id.to_string()).into()),
        }
    }
}
