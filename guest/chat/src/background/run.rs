//! `POST /v1/responses/{id}/run`, by which the host delivers the work of running a background response. No client
//! reaches it: without the host's field it is no endpoint.

use super::CHANGES_MAX;
use super::cancel::{Unrun, interrupted, is_over};
use super::create::announced;
use super::record::{Keeper, RecordSink, Stop};
use crate::agent::{Acting, AnyUpstream, Keeping, Run, Unbegun};
use crate::ask::{Course, Whole};
use crate::language::Language;
use crate::locked::{Pulse, alive, give_up};
use crate::output::Told;
use crate::platform::{Delivery, Platform};
use crate::prepare::{KnownTurn, PreparedTurn};
use crate::problem::{Problem, internal};
use crate::race::{First, race};
use crate::reply::Reply;
use crate::service::{Answer, Service, report, viewer};
use crate::settings::number;
use crate::stream::{Begun, StreamedTurn};
use crate::turn::open_stream;
use serde::Deserialize;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use waggle_conversation::background::{self, Found, Phase, Recorded, State};
use waggle_conversation::{Store, StoreError, Viewer, response};
use waggle_model::transport::Upstream;
use waggle_openai::request::CreateResponse;
use waggle_openai::response::{ResponseError, Status};
use waggle_openai::{ApiError, ResponseId};

/// How often a turn is begun, unless the variable `background_attempts_max` says otherwise.
const ATTEMPTS_MAX_DEFAULT: u32 = 2;

/// How often a delivery looks whether another's runner lives, in milliseconds.
const LEASE_LOOK_MS: u64 = 250;

/// The response that is to be run, if that is what method and path mean.
pub(crate) fn run_path(method: &str, path: &str) -> Option<ResponseId> {
    let id = path.strip_prefix("/v1/responses/")?.strip_suffix("/run")?;
    ResponseId::parse(id).filter(|_| method == "POST")
}

/// Why a turn was not kept.
struct Unkept {
    problem: Problem,
    /// Whether its model was asked.
    asked: bool,
}

impl From<Problem> for Unkept {
    fn from(problem: Problem) -> Self {
        Self { problem, asked: false }
    }
}

/// What is to be done about a response.
enum Task {
    /// Nothing: it is over, or was deleted.
    Nothing,
    /// To run it: the caller holds it.
    Run(Recorded),
    /// To end it: the caller holds it.
    End(Recorded, Unrun),
}

/// 2xx: the work is done, whatever came of it.
fn done() -> Reply {
    Reply::json(b"{\"object\":\"response.run\",\"done\":true}".to_vec())
}

/// What an event tells of an item.
#[derive(Deserialize)]
struct ItemEvent {
    r#type: String,
    output_index: Option<usize>,
}

/// Which items those who follow the response were told of before, by the events that come before `at`.
async fn told<S: Store>(store: &S, id: ResponseId, at: Found) -> Result<Told, StoreError> {
    let mut told = Told::default();
    for number in 0..at.number {
        let Some(batch) = background::batch(store, id.0, number).await? else { continue };
        let events = batch.text.lines().filter_map(|line| line.strip_prefix("data: "));
        for event in events.filter(|event| event.starts_with("{\"type\":\"response.output_item.")) {
            let Ok(ItemEvent { r#type, output_index: Some(place) }) = serde_json::from_str(event) else {
                continue;
            };
            match r#type.as_str() {
                "response.output_item.added" => told.added.insert(place),
                "response.output_item.done" => told.done.insert(place),
                _ => false,
            };
        }
    }
    Ok(told)
}

/// 409: the host is to come again when the other run is over.
fn busy() -> Problem {
    let error = ApiError::invalid("Another run of this response is under way.");
    ApiError { status: 409, code: Some("response_running"), ..error }.into()
}

/// What a response says whose turn could not be begun.
fn refused(error: &ApiError) -> Unrun {
    let code = match error.status {
        429 => "rate_limit_exceeded",
        409 => "server_error",
        400..500 => "invalid_prompt",
        _ => "server_error",
    };
    Unrun::Failed(ResponseError { code, message: error.message.clone() })
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// Serves a delivery. The head of the answer ends the work, so it comes when the run is over.
    pub(crate) async fn deliver(
        self,
        user: &[Vec<u8>],
        id: ResponseId,
        delivery: Delivery,
    ) -> Answer<S, P, U::Body> {
        let ran = match viewer(user) {
            Ok(viewer) => self.run_response(&viewer, id, delivery).await,
            Err(problem) => Err(problem),
        };
        Answer::Reply(ran.unwrap_or_else(|problem| report(&self.platform, &problem)))
    }

    /// Waits until a runner that may have died with its host is taken for dead, or has ended. The host delivers again
    /// soon after a restart, and not often, so a refusal would use its deliveries up.
    ///
    /// # Errors
    /// 409: the runner lives.
    async fn outlive(&self, id: ResponseId, seen: &Recorded, delivery: Delivery) -> Result<(), Problem> {
        loop {
            self.platform.sleep(LEASE_LOOK_MS).await;
            let now = background::state(&self.store, id.0).await?;
            let Some(now) = now.filter(|now| now.state.state != Phase::Finished) else { return Ok(()) };
            let renewed = now.state.until_ms > seen.state.until_ms;
            if renewed {
                if delivery.last {
                    // From now on all depends on that runner, and nobody looks after it.
                    let next = State { last: true, ..now.state.clone() };
                    background::change(&self.store, id.0, &now, next).await?;
                }
                return Err(busy());
            }
            if now.state.until_ms <= self.platform.now_ms() {
                return Ok(());
            }
        }
    }

    /// Finds out what is to be done, and takes hold of the response for it.
    async fn take(&self, viewer: &Viewer, id: ResponseId, delivery: Delivery) -> Result<Task, Problem> {
        for _ in 0..CHANGES_MAX {
            let Some(object) = response::object(&self.store, viewer, id.0).await? else {
                return Ok(Task::Nothing);
            };
            let Some(seen) = background::state(&self.store, id.0).await? else { return Ok(Task::Nothing) };
            let phase = seen.state.state;
            if phase == Phase::Finished {
                return Ok(Task::Nothing);
            }
            if seen.state.until_ms > self.platform.now_ms() {
                self.outlive(id, &seen, delivery).await?;
                continue;
            }
            if is_over(&object) {
                // Its runner ended between the commit and saying so.
                self.settle_state(id, seen).await?;
                return Ok(Task::Nothing);
            }
            let next = if phase == Phase::Cancelling { phase } else { Phase::Running };
            let Some(held) = self.hold(id, &seen, next, delivery.last).await? else { continue };
            let attempts_max =
                number(&self.platform, "background_attempts_max", ATTEMPTS_MAX_DEFAULT).await?;
            return Ok(match phase {
                Phase::Cancelling => Task::End(held, Unrun::Cancelled),
                Phase::Running if seen.state.attempt >= attempts_max => Task::End(held, interrupted()),
                _ => Task::Run(held),
            });
        }
        Err(busy())
    }

    /// Runs a response, unless it is over or another does.
    pub(super) async fn run_response(
        &self,
        viewer: &Viewer,
        id: ResponseId,
        delivery: Delivery,
    ) -> Result<Reply, Problem> {
        match self.take(viewer, id, delivery).await? {
            Task::Nothing => {}
            Task::End(held, ending) => self.end_unrun(viewer, id, held, &ending).await?,
            Task::Run(held) => self.run_held(viewer, id, held, delivery).await?,
        }
        Ok(done())
    }

    async fn run_held(
        &self,
        viewer: &Viewer,
        id: ResponseId,
        held: Recorded,
        delivery: Delivery,
    ) -> Result<(), Problem> {
        let Err(Unkept { problem, asked }) = self.run_turn(viewer, id, &held).await else { return Ok(()) };
        let Some(seen) = background::state(&self.store, id.0).await? else { return Ok(()) };
        if seen.state.attempt != held.state.attempt {
            return Err(problem);
        }
        if seen.state.state == Phase::Cancelling {
            return self.end_unrun(viewer, id, seen, &Unrun::Cancelled).await;
        }
        // What may go better later is left to the next delivery. A turn whose model was asked counts as begun: it is like
        // one whose runner died.
        if !delivery.last && matches!(problem.error.status, 409 | 429 | 500..) {
            let (state, attempt) = match asked {
                true => (Phase::Running, held.state.attempt),
                false => (Phase::Queued, held.state.attempt.saturating_sub(1)),
            };
            let next = State { state, attempt, until_ms: 0, ..seen.state.clone() };
            background::change(&self.store, id.0, &seen, next).await?;
            return Err(problem);
        }
        let _logged = report(&self.platform, &problem);
        self.end_unrun(viewer, id, seen, &refused(&problem.error)).await
    }

    /// Runs the turn. A model that fails is an answer like any other; an error says that there was no turn.
    async fn run_turn(&self, viewer: &Viewer, id: ResponseId, held: &Recorded) -> Result<(), Unkept> {
        let body = background::request(&self.store, id.0).await.map_err(Problem::from)?;
        let body = body.ok_or_else(|| internal(format!("response={id} its request is gone")))?;
        let stop = Cell::new(false);
        let accepted_at = Some(held.state.created_at);
        // A run may have been begun by an attempt that did not count.
        let known = KnownTurn { nonce: id.0, accepted_at, stop: Some(&stop), keeping: Keeping::Resumed };
        let language = Language::negotiate(Some(&held.state.language));
        let request = CreateResponse::read(&body).map_err(Problem::from)?;
        let (store, platform) = (self.store.clone(), self.platform.clone());
        let mut keeper = Keeper { store, platform, id, recorded: held.clone(), stop: None };
        let (mut turn, course) = {
            // It may wait for others in its conversation, for longer than a runner is taken to be alive that says nothing.
            let mut preparing = pin!(self.prepare(viewer, request, language, known));
            match race(preparing.as_mut(), keeper.watch()).await {
                First::Left(prepared) => prepared?,
                First::Right(_) => {
                    stop.set(true);
                    preparing.await?
                }
            }
        };
        drop(body);
        if keeper.stop == Some(Stop::Lost) {
            give_up(&self.store, &self.platform, turn.ticket()).await;
            // Another's, deleted, or not to be read just now: whoever asked for the run finds out which.
            return Err(internal(format!("response={id} its run was lost")).into());
        }
        let at = match self.announce(&turn).await {
            Ok(at) => at,
            Err(problem) => {
                give_up(&self.store, &self.platform, turn.ticket()).await;
                return Err(problem.into());
            }
        };
        let asked = keeper.stop.is_none();
        let (acting, begun) = match self.begin(&mut turn, course, &mut keeper).await {
            Ok(begun) => begun,
            Err(problem) => {
                give_up(&self.store, &self.platform, turn.ticket()).await;
                return Err(Unkept { problem, asked: false });
            }
        };
        let committed = Rc::new(Cell::new(false));
        let sink = RecordSink::new(keeper, at, Rc::clone(&committed));
        let (store, platform) = (self.store.clone(), self.platform.clone());
        let mut streamed = StreamedTurn::continuing(store, platform, turn, begun, at.begins);
        if let Some(acting) = acting {
            let told = match acting.recorded.is_empty() {
                true => Told::default(),
                false => told(&self.store, id, at).await.map_err(Problem::from)?,
            };
            streamed = streamed.acting(acting, told);
        }
        Box::pin(streamed.run(sink)).await;
        let kept = committed.get();
        if kept {
            Ok(())
        } else {
            Err(Unkept { problem: internal(format!("response={id} not kept")), asked })
        }
    }

    /// Says that the response is in progress; where its next events go.
    async fn announce(&self, turn: &PreparedTurn) -> Result<Found, Problem> {
        let nonce = turn.nonce();
        let at = background::end(&self.store, nonce).await?;
        let object = turn.head.to_json(&Status::InProgress, &[], None);
        let batch = announced(&object, &["response.in_progress"], at.begins)?;
        let next = Found { number: at.number + 1, begins: batch.end() };
        background::put(&self.store, nonce, &object, batch.pair(nonce, at.number)).await?;
        Ok(next)
    }

    /// Asks the model, if it is to be asked, as long as the run may go on.
    ///
    /// # Errors
    /// What was done before cannot be read, or is another's by now.
    async fn begin(
        &self,
        turn: &mut PreparedTurn,
        course: Course,
        keeper: &mut Keeper<S, P>,
    ) -> Result<(Option<Acting<S, U::Body>>, Begun<U::Body>), Problem> {
        let plan = match course {
            _ if keeper.stop.is_some() => return Ok((None, Begun::Unwanted)),
            Course::Say(known) => {
                return Ok((None, Begun::Known(Some(Box::new(Whole::Completion(*known))))));
            }
            Course::Act(run) => return Box::pin(self.begin_run_under(keeper, turn, *run)).await,
            Course::Ask(plan) => plan,
        };
        let attempt = async |request, judged| open_stream(&self.upstream, request, judged).await;
        let asking = race(plan.ask(&self.platform, attempt), keeper.watch());
        let begun = match self.ask(turn, asking).await {
            First::Left(asked) => match turn.take_note(asked) {
                Ok(body) => Begun::Answering(body),
                Err(failure) => Begun::Failed(failure),
            },
            First::Right(_) => Begun::Unwanted,
        };
        Ok((None, begun))
    }

    /// The same, of a turn whose model may call tools.
    async fn begin_run_under(
        &self,
        keeper: &mut Keeper<S, P>,
        turn: &mut PreparedTurn,
        run: Run,
    ) -> Result<(Option<Acting<S, U::Body>>, Begun<U::Body>), Problem> {
        let upstream = AnyUpstream::new(self.upstream.clone());
        let around = (self.store.clone(), &self.platform);
        let mut acting = Acting::begin(around, turn.nonce(), run, upstream).await?;
        if acting.acts_first() {
            return Ok((Some(acting), Begun::Unasked));
        }
        let ticket = turn.ticket().cloned();
        let asking = race(acting.ask(&self.platform, turn, &[]), keeper.watch());
        let around = (&self.store, &self.platform);
        let begun = match alive(around, ticket.as_ref(), &mut Pulse::default(), asking).await {
            First::Left(Ok(begun)) => begun,
            First::Left(Err(Unbegun::Model(failure))) => Begun::Failed(failure),
            First::Left(Err(Unbegun::Problem(problem))) => return Err(problem),
            First::Right(_) => Begun::Unwanted,
        };
        Ok((Some(acting), begun))
    }
}
