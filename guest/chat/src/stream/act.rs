//! A turn whose model calls tools of this server: step by step, what it calls is called, side by side, and told as it happens.
//!
//! What is done is recorded before and after. A run that was interrupted goes through the same steps once more: what is
//! recorded of them is taken as it is, and only what is not is done.

use super::{COMMENT, End, HEARTBEAT_MS, StreamedTurn};
use crate::agent::{
    Acting, Answer, AnyUpstream, Job, Pending, Run, SideBySide, Unbegun, Verdict, make, not_made, outcome,
    outcome_unknown,
};
use crate::heartbeat::Heartbeat;
use crate::knowledge::mark_handover;
use crate::locked::alive;
use crate::output::{Told, read_stored};
use crate::platform::{Platform, Sink};
use crate::prepare::PreparedTurn;
use crate::problem::Problem;
use crate::race::{First, race};
use crate::stream::Begun;
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use waggle_agent::budget::{NOT_MADE, STOP_PAIR};
use waggle_agent::journal::CallAt;
use waggle_conversation::Store;
use waggle_model::ModelFailure;
use waggle_model::reply::FinishReason;
use waggle_model::transport::ChunkSource;
use waggle_openai::item::ItemStatus;
use waggle_tool::wire::{CallError, CallReply};

/// How long the end of an answer is waited for that has said all, in milliseconds: its connection can be used again then.
const DRAIN_MS_MAX: u64 = 50;

/// What is said of calls that an answer was cut off after, or that came after the last step.
const CUT_OFF: &str = "The call was not made: the answer that asked for it was cut off.";
const NO_MORE: &str = "The call was not made: no more tools can be called in this run.";
/// What is said of a call that the run did not wait for, where it may be made again.
const LEFT: &str = "The run ended before the call did.";

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Broken(problem)
    }
}

impl From<ModelFailure> for End {
    fn from(failure: ModelFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<serde_json::Error> for End {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl<S: Store, P: Platform, B: ChunkSource + 'static> StreamedTurn<S, P, B> {
    /// Begins a run. Its model is asked before anything is promised, where nothing is to be done before: until then a
    /// failure still has a status that clients understand and retry.
    pub(crate) async fn begin(
        (store, platform): (S, P),
        mut turn: PreparedTurn,
        run: Run,
        upstream: AnyUpstream<B>,
    ) -> Result<Self, (Box<PreparedTurn>, Unbegun)> {
        let acting = Acting::begin((store.clone(), &platform), turn.nonce(), run, upstream).await;
        let mut acting = match acting {
            Ok(acting) => acting,
            Err(problem) => return Err((Box::new(turn), problem.into())),
        };
        let mut begun = Begun::Unasked;
        if !acting.acts_first() {
            let ticket = turn.ticket().cloned();
            let mut pulse = crate::locked::Pulse::default();
            let asking = acting.ask(&platform, &mut turn, &[]);
            match alive((&store, &platform), ticket.as_ref(), &mut pulse, asking).await {
                Ok(asked) => begun = asked,
                Err(unbegun) => return Err((Box::new(turn), unbegun)),
            }
        }
        Ok(Self::of(store, platform, turn, begun).acting(acting, Told::default()))
    }

    /// As it is, with a run; of whose items these were told before.
    pub(crate) fn acting(mut self, acting: Acting<S, B>, told: Told) -> Self {
        self.acting = Some(Box::new(acting));
        self.heard.output.told = told;
        self
    }

    /// The tools of the run, in the output.
    pub(super) fn offer_tools(&mut self, acting: &Acting<S, B>) -> Result<(), ModelFailure> {
        let tools = &acting.run.tools;
        self.heard.output.offer(Rc::clone(tools));
        acting.run.listed.iter().try_for_each(|label| self.heard.output.tell_list(&tools.list(label)))
    }

    /// Runs it to its end. What of it was not done by then is said so.
    pub(super) async fn act<K: Sink>(&mut self, acting: &mut Acting<S, B>, sink: &mut K) -> End {
        let mut end = self.steps(acting, sink).await.unwrap_or_else(|end| end);
        if !matches!(end, End::Finished(_) | End::Broken(_))
            && let Err(failure) = self.leave_calls()
        {
            end = failure.into();
        }
        self.spent = acting.usage();
        let metadata = &mut self.turn.head.parameters.metadata;
        if let Some(stop) = acting.stop {
            metadata.set(STOP_PAIR, stop.name());
        }
        if acting.handed_over {
            mark_handover(metadata);
        }
        end
    }

    async fn steps<K: Sink>(&mut self, acting: &mut Acting<S, B>, sink: &mut K) -> Result<End, End> {
        self.make_approved(acting, sink).await?;
        let mut is_asked = !matches!(self.begun, Begun::Unasked);
        let mut step = 0;
        // The budget ends it: a step that is the last one calls nothing.
        while !acting.handed_over {
            step += 1;
            self.heard.output.begin_step(step);
            let finish = match acting.answer(step)? {
                Some(answer) => self.restore(acting, &answer)?,
                None => self.hear(acting, std::mem::take(&mut is_asked), sink).await?,
            };
            if !self.work(acting, step, finish, sink).await? {
                acting.record(&self.platform).await?;
                return Ok(End::Finished(finish));
            }
        }
        acting.record(&self.platform).await?;
        Ok(End::Finished(FinishReason::Stop))
    }

    /// Makes the calls that were asked for in a turn before, and are approved in this one.
    async fn make_approved<K: Sink>(&mut self, acting: &mut Acting<S, B>, sink: &mut K) -> Result<(), End> {
        if acting.run.approved.is_empty() {
            return Ok(());
        }
        self.heard.output.begin_step(0);
        for approved in &acting.run.approved {
            self.heard.output.begin_approved(approved)?;
        }
        self.work(acting, 0, FinishReason::Stop, sink).await?;
        Ok(())
    }

    /// Takes what the model answered in a step that is recorded.
    fn restore(&mut self, acting: &mut Acting<S, B>, answer: &Answer) -> Result<FinishReason, End> {
        for (raw, is_whole) in &answer.items {
            if let Some(item) = read_stored(raw)?.item {
                self.heard.output.restore(item, *is_whole)?;
            }
        }
        acting.stop = answer.stop();
        Ok(answer.finish())
    }

    /// Asks the model, unless it was asked already, and listens to its answer.
    async fn hear<K: Sink>(
        &mut self,
        acting: &mut Acting<S, B>,
        is_asked: bool,
        sink: &mut K,
    ) -> Result<FinishReason, End> {
        self.heard.output.tell_all();
        if !is_asked {
            self.hand_on(sink).await?;
            self.ask(acting, sink).await?;
        }
        if let Begun::Answering(opened) = &self.begun {
            self.heard.begin_answer(opened.wire);
        }
        let finish = match self.listen(sink).await {
            End::Finished(finish) => finish,
            end => return Err(end),
        };
        let output = &mut self.heard.output;
        output.finish(finish)?;
        let usage = self.heard.usage.take();
        let usage = usage.unwrap_or_else(|| self.turn.counted_in_step(&self.platform, output));
        let nonce = self.turn.nonce();
        let raw = |(item, is_whole): (&waggle_openai::item::Item<'_>, bool)| {
            item.to_raw(nonce, 0, ItemStatus::Completed).map(|raw| (raw, is_whole))
        };
        let items = output.said_in_step().map(raw).collect::<serde_json::Result<_>>()?;
        acting.note_answer(&Answer::new(items, finish, acting.stop), usage)?;
        Ok(finish)
    }

    /// Asks the model for its next answer. Its client hears meanwhile that the stream is alive.
    async fn ask<K: Sink>(&mut self, acting: &mut Acting<S, B>, sink: &mut K) -> Result<(), End> {
        let platform = self.platform.clone();
        if let Begun::Answering(mut opened) = std::mem::replace(&mut self.begun, Begun::Unasked) {
            // Reading the few bytes that end the answer before lets its connection be used again.
            race(opened.body.next_chunk(), platform.sleep(DRAIN_MS_MAX)).await;
        }
        let output = self.heard.output.to_raw()?;
        let ticket = self.turn.ticket().cloned();
        let mut heartbeat = Heartbeat::new(|| platform.sleep(HEARTBEAT_MS));
        let mut asking = pin!(acting.ask(&platform, &mut self.turn, &output));
        let asked = loop {
            let silent = race(sink.gone(), heartbeat.silence());
            let around = (&self.store, &platform);
            match alive(around, ticket.as_ref(), &mut self.pulse, race(asking.as_mut(), silent)).await {
                First::Left(asked) => break asked,
                First::Right(First::Left(())) => return Err(End::Gone),
                First::Right(First::Right(())) => sink.write(COMMENT.to_vec()).await?,
            }
        };
        self.begun = asked.map_err(|unbegun| match unbegun {
            Unbegun::Model(failure) => End::Failed(failure),
            Unbegun::Problem(problem) => End::Broken(problem),
        })?;
        Ok(())
    }

    /// Does what the model asked for in a step; whether it is to be asked again.
    async fn work<K: Sink>(
        &mut self,
        acting: &mut Acting<S, B>,
        step: u32,
        finish: FinishReason,
        sink: &mut K,
    ) -> Result<bool, End> {
        let pending = self.heard.output.pending();
        let why_not = match (finish, acting.stop) {
            (FinishReason::Stop, None) => None,
            (FinishReason::Stop, Some(_)) => Some(NO_MORE),
            _ => Some(CUT_OFF),
        };
        if let Some(words) = why_not {
            for call in &pending {
                self.end_call(acting, call, &not_made(words.to_owned()))?;
            }
            return Ok(false);
        }
        let has_calls = !pending.is_empty();
        let jobs = self.judge(acting, step, pending)?;
        self.make(acting, jobs.into(), sink).await?;
        Ok(has_calls && !acting.handed_over && !self.heard.output.asks_client())
    }

    /// Which of the calls are made. The others end here, with what is known of them, or why they are not made.
    fn judge(
        &mut self,
        acting: &mut Acting<S, B>,
        step: u32,
        pending: Vec<Pending>,
    ) -> Result<Vec<Job>, End> {
        let mut jobs = Vec::with_capacity(pending.len());
        for (index, pending) in pending.into_iter().enumerate() {
            let call = CallAt { step, index };
            match acting.judge(call, &pending)? {
                Verdict::Make { repeated } => jobs.push(Job { pending, call, repeated }),
                Verdict::Told(reply) => self.end_call(acting, &pending, &reply)?,
            }
        }
        // One that may have been made before is counted already.
        let fresh = jobs.iter().filter(|job| !job.repeated).count();
        let is_past = step < acting.recorded.answered_steps();
        let mut left = if is_past { 0 } else { acting.budget.take_calls(fresh) };
        let mut made = Vec::with_capacity(jobs.len());
        for job in jobs {
            if !job.repeated && left == 0 {
                self.end_call(acting, &job.pending, &not_made(NOT_MADE.to_owned()))?;
                continue;
            }
            left = left.saturating_sub(usize::from(!job.repeated));
            made.push(job);
        }
        Ok(made)
    }

    /// Makes calls side by side, so many at once as may be. What came of each is recorded and told when it comes.
    async fn make<K: Sink>(
        &mut self,
        acting: &mut Acting<S, B>,
        mut waiting: VecDeque<Job>,
        sink: &mut K,
    ) -> Result<(), End> {
        let one_by_one = self.turn.head.parameters.parallel_tool_calls == Some(false);
        let at_most = if one_by_one { 1 } else { acting.run.caps.parallel_max };
        let platform = self.platform.clone();
        let mut heartbeat = Heartbeat::new(|| platform.sleep(HEARTBEAT_MS));
        let mut calls = SideBySide::new();
        loop {
            let starting = at_most.saturating_sub(calls.len()).min(waiting.len());
            let starting: Vec<Job> = waiting.drain(..starting).collect();
            starting.iter().for_each(|job| acting.note_begun(job));
            if starting.is_empty() && calls.len() == 0 {
                // What came last is recorded with what is done next.
                return Ok(self.hand_on(sink).await?);
            }
            acting.record(&platform).await?;
            for job in starting {
                self.turn.acted |= job.pending.tool.offered.side_effects;
                calls.push(Self::call(&platform, acting, job));
            }
            self.hand_on(sink).await?;
            let silent = race(sink.gone(), heartbeat.silence());
            let around = (&self.store, &platform);
            match alive(around, self.turn.ticket(), &mut self.pulse, race(calls.next(), silent)).await {
                First::Left(None) => {}
                First::Left(Some((job, reply))) => {
                    heartbeat.spoke();
                    acting.note_result(job.call, &reply)?;
                    self.end_call(acting, &job.pending, &reply)?;
                }
                First::Right(First::Left(())) => return Err(End::Gone),
                First::Right(First::Right(())) => sink.write(COMMENT.to_vec()).await?,
            }
        }
    }

    /// One call, to be waited for.
    fn call(
        platform: &P,
        acting: &Acting<S, B>,
        job: Job,
    ) -> impl Future<Output = (Job, CallReply)> + use<S, P, B> {
        let (platform, context) = (platform.clone(), Rc::clone(&acting.run.context));
        let key = acting.key(&job);
        let left_ms = acting.budget.left_ms(platform.now_ms());
        async move {
            let reply = make(&platform, &context, &job.pending, (key, job.repeated), left_ms).await;
            (job, reply)
        }
    }

    /// Ends a call by what came of it.
    fn end_call(
        &mut self,
        acting: &mut Acting<S, B>,
        pending: &Pending,
        reply: &CallReply,
    ) -> Result<(), End> {
        acting.handed_over |= reply.handed_over;
        // Of a call that was made before this run was taken up, this says so.
        let is_made = reply.attempts > 0 || reply.error == Some(CallError::OutcomeUnknown);
        self.turn.acted |= pending.tool.offered.side_effects && is_made;
        Ok(self.heard.output.end_tool_call(pending.at, outcome(reply))?)
    }

    /// Ends the calls that the run does not wait for.
    fn leave_calls(&mut self) -> Result<(), ModelFailure> {
        for call in self.heard.output.pending() {
            let reply = if call.tool.is_repeatable() { not_made(LEFT.to_owned()) } else { outcome_unknown() };
            self.heard.output.end_tool_call(call.at, outcome(&reply))?;
        }
        Ok(())
    }
}
