//! A run that is under way: what it knows of itself, and the asking of its model.

use super::call::{not_made, outcome_unknown, unknown};
use super::prompt::Asking;
use super::run::{Keeping, Run};
use super::toolbox::Pending;
use super::upstream::AnyUpstream;
use crate::ask::Said;
use crate::platform::Platform;
use crate::prepare::PreparedTurn;
use crate::problem::{Problem, internal};
use crate::stream::Begun;
use crate::turn::{complete, open_stream};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::mem::take;
use waggle_agent::arguments;
use waggle_agent::budget::{Budget, Next, Stop};
use waggle_agent::cost::{Price, Spent};
use waggle_agent::journal::{CallAt, Entry, Journal, JournalError};
use waggle_agent::key;
use waggle_agent::recorded::{Decision, Recorded};
use waggle_agent::repeats::{Repeat, Repeats, TOLD};
use waggle_conversation::{Store, StoreError};
use waggle_model::ModelFailure;
use waggle_model::reply::FinishReason;
use waggle_model::transport::{ChunkSource, UpstreamRequest};
use waggle_openai::item::RawItem;
use waggle_openai::response::Usage;
use waggle_openai::{ApiError, Nonce};
use waggle_tool::wire::CallReply;

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Acting<S, B> {
    /// What it may do, and with what.
    pub(crate) run: Run,
    upstream: AnyUpstream<B>,
    journal: Journal<S>,
    /// What was done before it was interrupted, if it was.
    pub(crate) recorded: Recorded,
    /// What it has used.
    pub(crate) budget: Budget,
    /// What it calls again and again.
    pub(crate) repeats: Repeats,
    /// What is recorded with the next moment.
    pub(crate) entry: Entry,
    /// Why the step is its last one, if it is.
    pub(crate) stop: Option<Stop>,
    /// Whether a person has taken over.
    pub(crate) handed_over: bool,
    price: Option<Price>,
    nonce: Nonce,
}

/// Why a run did not begin.
#[derive(Debug)]
pub(crate) enum Unbegun {
    /// Its model did not answer.
    Model(ModelFailure),
    /// It was not asked.
    Problem(Problem),
}

impl From<Problem> for Unbegun {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What a model answered in a step, as it is recorded.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The items as the model said them, with whether each is whole.
    pub(crate) items: Vec<(Box<RawValue>, bool)>,
    finish: Finish,
    /// Whether it was the last step, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Finish {
    Stop,
    Length,
    ContentFilter,
}

impl Answer {
    pub(crate) fn new(items: Vec<(Box<RawValue>, bool)>, finish: FinishReason, stop: Option<Stop>) -> Self {
        let finish = match finish {
            FinishReason::Stop => Finish::Stop,
            FinishReason::Length => Finish::Length,
            FinishReason::ContentFilter => Finish::ContentFilter,
        };
        Self { items, finish, stop: stop.map(|stop| stop.name().to_owned()) }
    }

    /// Why the model stopped.
    pub(crate) fn finish(&self) -> FinishReason {
        match self.finish {
            Finish::Stop => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
            Finish::ContentFilter => FinishReason::ContentFilter,
        }
    }

    /// Why it was the last step, if it was.
    pub(crate) fn stop(&self) -> Option<Stop> {
        let all = [Stop::Steps, Stop::ToolCalls, Stop::Time, Stop::Tokens, Stop::Cost, Stop::Repeated];
        all.into_iter().find(|stop| self.stop.as_deref() == Some(stop.name()))
    }
}

/// A call that is to be made.
#[derive(Debug)]
pub(crate) struct Job {
    /// What is called.
    pub(crate) pending: Pending,
    /// Its place in the run.
    pub(crate) call: CallAt,
    /// Whether it may have been made before.
    pub(crate) repeated: bool,
}

/// What is to be done with a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is made, perhaps again.
    Make { repeated: bool },
    /// It is not, and this is what its model is told.
    Told(CallReply),
}

/// The problem of a journal that cannot be written: nothing more is done then.
pub(crate) fn unrecorded(error: JournalError) -> Problem {
    match error {
        JournalError::Store(error) => error.into(),
        JournalError::Overtaken => {
            let message = "Another run of this response is under way.";
            let error =
                ApiError { status: 409, code: Some("response_running"), ..ApiError::invalid(message) };
            Problem { error: Box::new(error), log: Some("a run was taken up by another".to_owned()) }
        }
        error @ (JournalError::Full | JournalError::TooLong(_)) => internal(error.to_string()),
    }
}

fn unreadable(nonce: Nonce, error: &serde_json::Error) -> Problem {
    let key = format!("the run of {nonce}");
    StoreError::Unreadable { key, reason: error.to_string() }.into()
}

impl<S: Store, B: ChunkSource + 'static> Acting<S, B> {
    /// Begins a run, or takes it up where it was left.
    ///
    /// # Errors
    /// Its journal cannot be read; another has taken it up.
    pub(crate) async fn begin<P: Platform>(
        (store, platform): (S, &P),
        nonce: Nonce,
        run: Run,
        upstream: AnyUpstream<B>,
    ) -> Result<Self, Problem> {
        let now_ms = platform.now_ms();
        let by = || Nonce::mint(now_ms, platform.random());
        let (journal, recorded) = match run.keeping {
            Keeping::Off => (Journal::off(nonce), Recorded::default()),
            Keeping::Fresh => (Journal::begin(store, nonce, by()), Recorded::default()),
            Keeping::Resumed => Journal::take_up(store, nonce, by(), now_ms).await.map_err(unrecorded)?,
        };
        let budget = match recorded.is_empty() {
            true => Budget::new(run.caps, now_ms),
            false => Budget::resumed(run.caps, &recorded, now_ms),
        };
        Ok(Self {
            run,
            upstream,
            journal,
            recorded,
            budget,
            repeats: Repeats::default(),
            entry: Entry::new(),
            stop: None,
            handed_over: false,
            price: None,
            nonce,
        })
    }

    /// What is to be done with a call that the model asked for.
    ///
    /// # Errors
    /// What is recorded of it cannot be read.
    pub(crate) fn judge(&mut self, call: CallAt, pending: &Pending) -> Result<Verdict, Problem> {
        if !pending.tool.is_known {
            return Ok(Verdict::Told(unknown(&pending.tool)));
        }
        if let Err(error) = arguments::check(&pending.arguments) {
            return Ok(Verdict::Told(not_made(error.to_string())));
        }
        let repeat = self.repeats.note(&pending.tool.offered.name, &pending.arguments);
        if repeat == Repeat::Stop {
            self.budget.note_repeated();
        }
        if repeat != Repeat::Make {
            return Ok(Verdict::Told(not_made(TOLD.to_owned())));
        }
        Ok(match self.recorded.decide(call) {
            Decision::Make => Verdict::Make { repeated: false },
            Decision::Repeat => Verdict::Make { repeated: true },
            Decision::Known(result) => Verdict::Told(self.result(result)?),
            Decision::Unknown => Verdict::Told(outcome_unknown()),
        })
    }

    /// Whether something is to be done before its model is asked.
    pub(crate) fn acts_first(&self) -> bool {
        !self.run.approved.is_empty() || !self.recorded.is_empty()
    }

    /// Records what has come up, if anything has.
    ///
    /// # Errors
    /// As [`unrecorded`] tells them.
    pub(crate) async fn record<P: Platform>(&mut self, platform: &P) -> Result<(), Problem> {
        if self.entry.is_empty() {
            return Ok(());
        }
        let entry = take(&mut self.entry);
        self.journal.append(entry, platform.now_ms()).await.map_err(unrecorded)
    }

    /// Asks the model for the next step, after all that the run has put out.
    ///
    /// # Errors
    /// It does not answer; it was not asked.
    pub(crate) async fn ask<P: Platform>(
        &mut self,
        platform: &P,
        turn: &mut PreparedTurn,
        output: &[RawItem],
    ) -> Result<Begun<B>, Unbegun> {
        let next = self.budget.begin_step(platform.now_ms());
        self.stop = match next {
            Next::Act => None,
            Next::Answer(stop) | Next::Over(stop) => Some(stop),
        };
        let step = self.budget.step();
        let key = key::of_model(self.nonce, step);
        let plan = self.run.asking.plan((step, &key), output, next)?;
        self.entry = take(&mut self.entry).asked(step);
        self.record(platform).await?;
        let streams = self.run.asking.streams();
        let attempt = async |request, judged| attempt(&self.upstream, request, judged, streams).await;
        let asked = plan.ask(platform, attempt).await;
        self.price = asked.price.as_deref().and_then(Price::parse);
        if asked.tier.as_ref().is_some_and(crate::ask::TierTaken::is_escalated) {
            Asking::escalate(&mut self.run.asking);
        }
        turn.take_note(asked).map_err(Unbegun::Model)
    }

    /// Counts what a step took, and has it recorded with the next moment.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub(crate) fn note_answer(&mut self, answer: &Answer, usage: Usage) -> Result<(), Problem> {
        let Usage { input_tokens, cached_tokens, output_tokens, reasoning_tokens } = usage;
        let spent =
            Spent { input_tokens, cached_tokens, output_tokens, reasoning_tokens, ..Spent::default() };
        let spent = spent.at(self.price.take());
        self.budget.spend(spent);
        if self.journal.is_on() {
            let step = self.budget.step();
            self.entry = take(&mut self.entry).answered(step, to_raw_value(answer)?, spent);
        }
        Ok(())
    }

    /// What the model answered in that step, if that is recorded.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn answer(&self, step: u32) -> Result<Option<Answer>, Problem> {
        let Some((answer, _)) = self.recorded.answer(step) else { return Ok(None) };
        let answer = serde_json::from_str(answer.get()).map_err(|error| unreadable(self.nonce, &error))?;
        Ok(Some(answer))
    }

    /// What came of a call, as it was recorded.
    ///
    /// # Errors
    /// It cannot be read.
    fn result(&self, result: &RawValue) -> Result<CallReply, Problem> {
        serde_json::from_str(result.get()).map_err(|error| unreadable(self.nonce, &error))
    }

    /// Has what came of a call recorded with the next moment.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn note_result(&mut self, call: CallAt, reply: &CallReply) -> Result<(), Problem> {
        if self.journal.is_on() {
            self.entry = take(&mut self.entry).done(call, to_raw_value(reply)?);
        }
        Ok(())
    }

    /// Has the beginning of a call recorded with the next moment.
    pub(crate) fn note_begun(&mut self, job: &Job) {
        if self.journal.is_on() {
            self.entry = take(&mut self.entry).begun(job.call, job.pending.tool.is_repeatable());
        }
    }

    /// The key of a call.
    pub(crate) fn key(&self, job: &Job) -> String {
        match job.pending.approved {
            Some(id) => key::of_approved(id),
            None => key::of_call(self.nonce, job.call.step, job.call.index),
        }
    }

    /// All that models have read and written for it; `None` where none has.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let spent = self.budget.spent();
        let Spent { input_tokens, cached_tokens, output_tokens, reasoning_tokens, .. } = spent;
        let usage = Usage { input_tokens, cached_tokens, output_tokens, reasoning_tokens };
        (usage != Usage::default()).then_some(usage)
    }

    /// Deletes the journal of a run whose turn is kept. What is left of it after a failure goes with the response.
    pub(crate) async fn forget_journal<P: Platform>(&mut self, platform: &P) {
        let journal = std::mem::replace(&mut self.journal, Journal::off(self.nonce));
        if let Err(error) = journal.forget().await {
            platform.log(&format!("the journal of {} was not deleted: {error}", self.nonce));
        }
    }
}

/// Makes one call of a model.
async fn attempt<B: ChunkSource + 'static>(
    upstream: &AnyUpstream<B>,
    request: UpstreamRequest,
    judged: bool,
    streams: bool,
) -> Result<Said<Begun<B>>, ModelFailure> {
    if streams {
        let said = open_stream(upstream, request, judged).await?;
        return Ok(said.map(Begun::Answering));
    }
    let said = complete(upstream, request, judged).await?;
    Ok(said.map(|whole| Begun::Known(Some(Box::new(whole)))))
}
