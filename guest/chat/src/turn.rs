//! `POST /v1/responses`: a turn, answered whole or begun as a stream.

use crate::agent::{AnyUpstream, Keeping, Run, Unbegun};
use crate::ask::{ANSWER_BYTES_MAX, Asked, Course, Opened, Plan, Said, Whole, call, is_event_stream};
use crate::fallback::Fallback;
use crate::handover::HANDED_OVER;
use crate::language::Language;
use crate::locked::{Pulse, alive, give_up};
use crate::output::Output;
use crate::platform::Platform;
use crate::prepare::{Committed, Ending, KnownTurn, PreparedTurn};
use crate::problem::Problem;
use crate::reply::{Mark, Reply, marked};
use crate::scout::{Verdict, judge, judge_answer, peek};
use crate::service::{Answer, Service, Streaming, report};
use crate::stream::StreamedTurn;
use std::future::Future;
use waggle_conversation::{Store, Viewer};
use waggle_model::failure::excerpt;
use waggle_model::reply::{FinishReason, read_completion};
use waggle_model::responses::read_answer;
use waggle_model::transport::{Upstream, UpstreamRequest, UpstreamResponse, read_whole};
use waggle_model::{ModelFailure, Wire};
use waggle_openai::Nonce;
use waggle_openai::event::EventWriter;
use waggle_openai::request::CreateResponse;
use waggle_openai::response::Status;

/// The status of a response whose model stopped for this reason.
pub(crate) fn status(finish: FinishReason) -> Status {
    match finish {
        FinishReason::Stop => Status::Completed,
        FinishReason::Length => Status::Incomplete("max_output_tokens"),
        FinishReason::ContentFilter => Status::Incomplete("content_filter"),
    }
}

/// A turn that was answered whole, and is kept.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) committed: Committed,
    /// What is said of the answer.
    pub(crate) mark: Mark,
    /// All events of the answer, if it is to be streamed.
    pub(crate) events: Option<Vec<u8>>,
}

impl Answered {
    fn into_reply(self) -> Reply {
        match self.events {
            Some(events) => marked(events, true, self.mark),
            None => marked(self.committed.response, false, self.mark),
        }
    }
}

impl PreparedTurn {
    /// Takes over which model was asked, and how it was chosen.
    pub(crate) fn take_note<T>(&mut self, asked: Asked<T>) -> Result<T, ModelFailure> {
        self.head.model = asked.model;
        if let Some(tier) = asked.tier {
            tier.mark(&mut self.head.parameters.metadata);
        }
        asked.result
    }

    /// Its output before anything is said, with what was looked up for it; the events of that, if it is streamed.
    fn begin_output(&self) -> Result<Output, Problem> {
        let mut output = Output::new(self.nonce(), self.input.len(), self.stream.then(EventWriter::default));
        if let Some(events) = &mut output.events {
            let response = self.head.to_json(&Status::InProgress, &[], None);
            events.response("response.created", &response);
            events.response("response.in_progress", &response);
        }
        if self.silent {
            output.keep_silent();
        }
        if let Some(looked) = &self.looked {
            output.begin_with(looked).map_err(|failure| Problem::from(&failure))?;
        }
        Ok(output)
    }
}

/// All events of an answer that was said whole, with its end.
fn ended_events(output: Output, committed: &Committed) -> Option<Vec<u8>> {
    output.events.map(|mut events| {
        events.response("response.completed", &committed.response);
        events.done();
        events.take()
    })
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    pub(crate) async fn create_response(
        self,
        viewer: &Viewer,
        body: Vec<u8>,
        language: Language,
        (nonce, keeping): (Nonce, Keeping),
    ) -> Answer<S, P, U::Body> {
        let request = match CreateResponse::read(&body) {
            Ok(request) => request,
            Err(error) => return Answer::Reply(Reply::from(&error)),
        };
        if request.background {
            return Box::pin(self.create_background(viewer, &body, request, (language, nonce))).await;
        }
        let known = KnownTurn { nonce, accepted_at: None, stop: None, keeping };
        let (turn, course) = match self.prepare(viewer, request, language, known).await {
            Ok(prepared) => prepared,
            Err(problem) => return Answer::Reply(report(&self.platform, &problem)),
        };
        drop(body);
        let course = match course {
            Course::Ask(plan) if turn.stream => return self.begin_stream(turn, *plan).await,
            Course::Act(run) if turn.stream => return Box::pin(self.begin_acting(turn, *run)).await,
            course => course,
        };
        let (mut turn, answered) = self.answer(turn, course).await;
        let answered = answered.map(Answered::into_reply);
        let reply = self.settled(&turn, answered).await;
        let aside = turn.aside.take().filter(|_| reply.status == 200);
        if let Some(aside) = aside {
            aside.run(&self.store, &self.platform).await;
        }
        Answer::with_kept(reply, turn.take_kept(), &self.platform)
    }

    /// Answers a turn whole: by its model, by what is known without one, or in the model's place.
    pub(crate) async fn answer(
        &self,
        mut turn: PreparedTurn,
        course: Course,
    ) -> (PreparedTurn, Result<Answered, Problem>) {
        let plan = match course {
            Course::Say(known) => {
                let answered = self.finish(&mut turn, Whole::Completion(*known)).await;
                return (turn, answered);
            }
            Course::Act(run) => return Box::pin(self.act(turn, *run)).await,
            Course::Ask(plan) => plan,
        };
        let attempt = async |request, judged| complete(&self.upstream, request, judged).await;
        let asked = self.ask(&turn, plan.ask(&self.platform, attempt)).await;
        let answered = match turn.take_note(asked) {
            Ok(said) => self.finish(&mut turn, said).await,
            Err(failure) => self.fall_back(&mut turn, &failure).await,
        };
        (turn, answered)
    }

    /// Begins a turn whose model may call tools.
    ///
    /// # Errors
    /// The turn, and what became of it where its model did not answer: it is over then.
    pub(crate) async fn begin_run(
        &self,
        turn: PreparedTurn,
        run: Run,
    ) -> Result<StreamedTurn<S, P, U::Body>, (PreparedTurn, Result<Answered, Problem>)> {
        let around = (self.store.clone(), self.platform.clone());
        let begun = StreamedTurn::begin(around, turn, run, AnyUpstream::new(self.upstream.clone())).await;
        match begun {
            Ok(begun) => Ok(begun),
            Err((mut turn, Unbegun::Model(failure))) => {
                let answered = self.fall_back(&mut turn, &failure).await;
                Err((*turn, answered))
            }
            Err((turn, Unbegun::Problem(problem))) => Err((*turn, Err(problem))),
        }
    }

    /// Answers a turn whole whose model may call tools.
    async fn act(&self, turn: PreparedTurn, run: Run) -> (PreparedTurn, Result<Answered, Problem>) {
        match self.begin_run(turn, run).await {
            Ok(begun) => begun.answer_whole().await,
            Err(over) => over,
        }
    }

    /// As [`begin_stream`](Self::begin_stream), of a turn whose model may call tools.
    async fn begin_acting(self, turn: PreparedTurn, run: Run) -> Answer<S, P, U::Body> {
        match self.begin_run(turn, run).await {
            Ok(begun) => Answer::Stream(Streaming::Turn(Box::new(begun))),
            Err((mut turn, answered)) => {
                let reply = self.settled(&turn, answered.map(Answered::into_reply)).await;
                Answer::with_kept(reply, turn.take_kept(), &self.platform)
            }
        }
    }

    /// Waits for the model, and keeps the turn's place in its conversation meanwhile.
    pub(crate) async fn ask<T>(&self, turn: &PreparedTurn, asking: impl Future<Output = T>) -> T {
        alive((&self.store, &self.platform), turn.ticket(), &mut Pulse::default(), asking).await
    }

    /// The reply of a turn, whose place in its conversation is settled by now, or given up.
    async fn settled(&self, turn: &PreparedTurn, answered: Result<Reply, Problem>) -> Reply {
        match answered {
            Ok(reply) => reply,
            Err(problem) => {
                give_up(&self.store, &self.platform, turn.ticket()).await;
                report(&self.platform, &problem)
            }
        }
    }

    /// Keeps what was said as the turn's answer.
    async fn finish(&self, turn: &mut PreparedTurn, said: Whole) -> Result<Answered, Problem> {
        let mut output = turn.begin_output()?;
        let (status, usage) = match said {
            Whole::Completion(completion) => {
                let ended = (status(completion.finish), completion.usage);
                output.complete(completion)?;
                ended
            }
            Whole::Response(answer) => {
                let ended = (status(answer.finish), answer.usage);
                output.complete_answer(answer).map_err(|failure| Problem::from(&failure))?;
                ended
            }
        };
        let status = turn.format.settle(status, &output);
        match &status {
            Status::Failed(error) => {
                self.platform.log(&format!("response={} {}", turn.head.id, error.code));
            }
            Status::Completed => turn.keep_answer(&mut output),
            _ => {}
        }
        let items = output.to_raw()?;
        let output_tokens = turn.count(&self.platform, output.items());
        let ending = Ending { status, output: &items, output_tokens, usage };
        let committed = turn.commit(&self.store, &self.platform, ending).await?;
        let known_as = turn.looked.as_ref().and_then(|looked| looked.known_as);
        let known_as = known_as.or(turn.silent.then_some(HANDED_OVER));
        let events = ended_events(output, &committed);
        Ok(Answered { committed, mark: known_as.map_or(Mark::None, Mark::Known), events })
    }

    /// Keeps the failed response, when responses are kept, and makes the problem of the failure.
    async fn fail(&self, turn: &PreparedTurn, failure: &ModelFailure) -> Problem {
        let status = Status::Failed(failure.to_response_error());
        let ending = Ending { status, output: &[], output_tokens: 0, usage: None };
        if let Err(error) = turn.commit(&self.store, &self.platform, ending).await {
            self.platform.log(&format!("response={} not kept: {error}", turn.head.id));
        }
        let mut problem = Problem::from(failure);
        problem.log = problem.log.map(|log| format!("response={} {log}", turn.head.id));
        problem
    }

    /// Answers in the model's place, and keeps that as the turn's answer; or fails, as the tenant chose.
    pub(crate) async fn fall_back(
        &self,
        turn: &mut PreparedTurn,
        failure: &ModelFailure,
    ) -> Result<Answered, Problem> {
        let Some(fallback) = Fallback::find(&self.platform, failure, turn.reader).await else {
            return Err(self.fail(turn, failure).await);
        };
        self.platform.log(&format!("response={} fallback={} {failure}", turn.head.id, fallback.reason));
        fallback.mark(&mut turn.head.parameters.metadata);
        let mut output = turn.begin_output()?;
        output.fall_back(&fallback.text)?;
        let items = output.to_raw()?;
        let committed = turn.commit(&self.store, &self.platform, Ending::fallback(&items)).await?;
        let events = ended_events(output, &committed);
        Ok(Answered { committed, mark: Mark::Fallback(fallback.reason), events })
    }

    /// Waits for the head of the model's answer before it promises a stream: until then a failure still has a status
    /// that clients understand and retry.
    async fn begin_stream(self, mut turn: PreparedTurn, plan: Plan) -> Answer<S, P, U::Body> {
        let attempt = async |request, judged| open_stream(&self.upstream, request, judged).await;
        let asked = self.ask(&turn, plan.ask(&self.platform, attempt)).await;
        match turn.take_note(asked) {
            Ok(body) => {
                let Self { store, platform, .. } = self;
                let stream = StreamedTurn::new(store, platform, turn, body);
                Answer::Stream(Streaming::Turn(Box::new(stream)))
            }
            Err(failure) => {
                let answered = self.fall_back(&mut turn, &failure).await.map(Answered::into_reply);
                let reply = self.settled(&turn, answered).await;
                Answer::with_kept(reply, turn.take_kept(), &self.platform)
            }
        }
    }
}

/// Asks a model for a whole answer.
pub(crate) async fn complete<U: Upstream>(
    upstream: &U,
    request: UpstreamRequest,
    judged: bool,
) -> Result<Said<Whole>, ModelFailure> {
    let wire = request.wire;
    let mut response = call(upstream, request).await?;
    let body = read_whole(&mut response.body, ANSWER_BYTES_MAX).await?;
    let (answer, verdict) = match wire {
        Wire::Chat => {
            let completion = read_completion(&body)?;
            let verdict = if judged { judge(&completion) } else { Verdict::Answers };
            (Whole::Completion(completion), verdict)
        }
        Wire::Responses => {
            let answer = read_answer(&body)?;
            let verdict = if judged { judge_answer(&answer) } else { Verdict::Answers };
            (Whole::Response(answer), verdict)
        }
    };
    Ok(Said { answer, model: response.model, price: response.price, verdict })
}

/// Asks a model for a stream, and waits until it has begun.
pub(crate) async fn open_stream<U: Upstream>(
    upstream: &U,
    request: UpstreamRequest,
    judged: bool,
) -> Result<Said<Opened<U::Body>>, ModelFailure> {
    let wire = request.wire;
    let mut response = call(upstream, request).await?;
    if !is_event_stream(&response) {
        let body = read_whole(&mut response.body, ANSWER_BYTES_MAX).await?;
        return Err(ModelFailure::NotACompletion(format!("no event stream but '{}'", excerpt(&body))));
    }
    let UpstreamResponse { model, price, body, .. } = response;
    let (body, verdict) = if judged { peek(body, wire).await? } else { (body.into(), Verdict::Answers) };
    Ok(Said { answer: Opened { wire, body }, model, price, verdict })
}
