//! A streamed turn: the model's chunks in, the response's events out, one write for each chunk.

mod act;

use crate::agent::Acting;
use crate::ask::{Opened, Whole};
use crate::fallback::Fallback;
use crate::heartbeat::Heartbeat;
use crate::knowledge::HANDOVER;
use crate::locked::{Pulse, alive, give_up};
use crate::output::Output;
use crate::platform::{Gone, Platform, Sink, Stopped};
use crate::prepare::{Committed, Ending, PreparedTurn};
use crate::problem::{Problem, internal};
use crate::race::{First, race};
use crate::reply::Mark;
use crate::scout::DONE;
use crate::turn::{Answered, status};
use std::future::{Future, pending};
use std::pin::pin;
use waggle_conversation::Store;
use waggle_model::reply::{FinishReason, read_chunk};
use waggle_model::responses::read_event;
use waggle_model::sse::SseParser;
use waggle_model::transport::{ChunkSource, TransportFailure};
use waggle_model::{ModelFailure, Wire};
use waggle_openai::event::EventWriter;
use waggle_openai::response::{Status, Usage};

/// An event stream's way of saying nothing.
const COMMENT: &[u8] = b":\n\n";

/// After how long a silence of the model its client hears that the stream is alive, in milliseconds.
const HEARTBEAT_MS: u64 = 10_000;

/// A turn whose answer is being streamed.
#[derive(Debug)]
pub struct StreamedTurn<S, P, B> {
    store: S,
    platform: P,
    turn: PreparedTurn,
    begun: Begun<B>,
    /// Whether those who follow have its first events already.
    announced: bool,
    heard: Heard,
    pulse: Pulse,
    /// The run, of a turn whose model may call tools of this server.
    acting: Option<Box<Acting<S, B>>>,
    /// What models have read and written for the run.
    spent: Option<Usage>,
    /// Why a text was said in the model's place, if one was.
    fell_back: Option<&'static str>,
}

/// How a turn stands when its stream begins.
#[derive(Debug)]
pub(crate) enum Begun<B> {
    /// The model has begun to answer.
    Answering(Opened<B>),
    /// Its answer is known as a whole; it is taken when it is said.
    Known(Option<Box<Whole>>),
    /// It failed.
    Failed(ModelFailure),
    /// Nobody wants its answer any more.
    Unwanted,
    /// Its model is to be asked.
    Unasked,
}

/// What was heard from the model so far.
#[derive(Debug)]
struct Heard {
    wire: Wire,
    parser: SseParser,
    output: Output,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
    done: bool,
}

/// How listening to the model ended.
enum End {
    /// The model said all it wanted.
    Finished(FinishReason),
    /// It failed.
    Failed(ModelFailure),
    /// It failed before it said anything, and something was said in its place.
    FellBack,
    /// The client went away.
    Gone,
    /// What was done could not be recorded, so nothing more may be done, and the turn is not kept.
    Broken(Problem),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Heard {
    /// Nothing yet, of a turn whose next event has the number `next`.
    fn nothing(turn: &PreparedTurn, wire: Wire, next: u64) -> Self {
        let events = turn.stream.then(|| EventWriter::starting_at(next));
        let mut output = Output::new(turn.nonce(), turn.input.len(), events);
        if turn.silent {
            output.keep_silent();
        }
        Self { wire, parser: wire.parser(), output, finish: None, usage: None, done: false }
    }

    /// Another answer begins, by that API.
    fn begin_answer(&mut self, wire: Wire) {
        (self.wire, self.parser) = (wire, wire.parser());
        (self.finish, self.usage, self.done) = (None, None, false);
    }

    /// Takes an answer that is known as a whole.
    fn known(&mut self, known: Whole) -> End {
        let (finish, taken) = match known {
            Whole::Completion(known) => {
                let finish = known.finish;
                self.usage = known.usage;
                let taken = self.output.complete(known);
                (finish, taken.map_err(|error| ModelFailure::NotACompletion(error.to_string())))
            }
            Whole::Response(known) => {
                let finish = known.finish;
                self.usage = known.usage;
                (finish, self.output.complete_answer(known))
            }
        };
        taken.map_or_else(End::Failed, |()| End::Finished(finish))
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<(), ModelFailure> {
        self.parser.push(chunk);
        while let Some(event) =
            self.parser.next_event().map_err(|long| ModelFailure::TooLong(long.to_string()))?
        {
            self.event(&event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &[u8]) -> Result<(), ModelFailure> {
        if self.done || event == DONE {
            self.done = true;
            return Ok(());
        }
        if self.wire == Wire::Responses {
            return self.response_event(event);
        }
        let chunk = read_chunk(event)?;
        self.finish = chunk.finish.or(self.finish);
        self.usage = chunk.usage.or(self.usage);
        self.output.chunk(chunk)
    }

    fn response_event(&mut self, event: &[u8]) -> Result<(), ModelFailure> {
        // Some endpoints keep a connection alive by events without data.
        if event.trim_ascii().is_empty() {
            return Ok(());
        }
        if let Some((finish, usage)) = self.output.event(read_event(event)?)? {
            self.finish = Some(finish);
            self.usage = usage;
            self.done = true;
        }
        Ok(())
    }

    /// How the end of the stream is to be taken: a model that gave no reason for stopping, nor said that it was done,
    /// was cut off. By Responses, only its last event says so.
    fn end(&mut self, failure: Option<ModelFailure>) -> End {
        if let Some(event) = self.parser.trailing() {
            match self.wire {
                Wire::Chat => self.done |= event == DONE,
                Wire::Responses => {
                    if let Err(failure) = self.event(&event) {
                        return End::Failed(failure);
                    }
                }
            }
        }
        match self.finish {
            Some(finish) => End::Finished(finish),
            None if self.done && self.wire == Wire::Chat => End::Finished(FinishReason::Stop),
            None => End::Failed(failure.unwrap_or(ModelFailure::Cut)),
        }
    }
}

impl<S: Store, P: Platform, B: ChunkSource + 'static> StreamedTurn<S, P, B> {
    pub(crate) fn new(store: S, platform: P, turn: PreparedTurn, opened: Opened<B>) -> Self {
        Self::of(store, platform, turn, Begun::Answering(opened))
    }

    fn of(store: S, platform: P, turn: PreparedTurn, begun: Begun<B>) -> Self {
        let announced = !turn.stream;
        Self { announced, ..Self::continuing(store, platform, turn, begun, 0) }
    }

    /// A turn whose first events, those before the number `next`, were written already.
    pub(crate) fn continuing(store: S, platform: P, turn: PreparedTurn, begun: Begun<B>, next: u64) -> Self {
        let wire = if let Begun::Answering(opened) = &begun { opened.wire } else { Wire::default() };
        let heard = Heard::nothing(&turn, wire, next);
        Self {
            store,
            platform,
            turn,
            begun,
            announced: true,
            heard,
            pulse: Pulse::default(),
            acting: None,
            spent: None,
            fell_back: None,
        }
    }

    /// Produces the turn for somebody who reads nothing of it before its end.
    pub(crate) async fn answer_whole(mut self) -> (PreparedTurn, Result<Answered, Problem>) {
        let (_, settled) = Box::pin(self.play(&mut Nobody)).await;
        let known_as = self.acting.as_ref().is_some_and(|acting| acting.handed_over).then_some(HANDOVER);
        let mark = match (self.fell_back, known_as) {
            (Some(reason), _) => Mark::Fallback(reason),
            (None, Some(known_as)) => Mark::Known(known_as),
            (None, None) => Mark::None,
        };
        let answered = settled.and_then(|committed| {
            let committed = committed.ok_or_else(|| internal("a turn was not kept".to_owned()))?;
            Ok(Answered { committed, mark, events: None })
        });
        (self.turn, answered)
    }

    /// Produces the whole stream. The turn is committed before its last event is written.
    pub(crate) async fn run<K: Sink>(mut self, mut sink: K) {
        let (finished, settled) = self.play(&mut sink).await;
        let aside = self.turn.aside.take().filter(|_| finished && settled.is_ok());
        if let Err(problem) = &settled {
            let (id, line) = (self.turn.head.id, problem.log.as_deref().unwrap_or_default());
            self.platform.log(&format!("response={id} {line}"));
        }
        // What is wrong with one run is no event of a response that may be run again.
        if let Err(problem) = settled
            && !sink.is_record()
            && let Some(events) = &mut self.heard.output.events
        {
            events.error(problem.error.code.unwrap_or("server_error"), &problem.error.message);
            events.done();
            let _gone = self.hand_on(&mut sink).await;
        }
        if let Some(aside) = aside {
            aside.run(&self.store, &self.platform).await;
        }
        drop(sink);
        if let Some(kept) = self.turn.take_kept() {
            kept.run(&self.platform).await;
        }
        if finished {
            // The client has everything. Reading the few bytes that end the model's answer lets its connection be
            // used again.
            if let Begun::Answering(opened) = &mut self.begun {
                let _end = opened.body.next_chunk().await;
            }
        }
    }

    /// Produces all of it up to the turn's last event, before which it is committed: whether the model came to its end, and
    /// what was kept.
    async fn play<K: Sink>(&mut self, sink: &mut K) -> (bool, Result<Option<Committed>, Problem>) {
        let response = self.turn.head.to_json(&Status::InProgress, &[], None);
        if let Some(events) = self.heard.output.events.as_mut().filter(|_| !self.announced) {
            events.response("response.created", &response);
            events.response("response.in_progress", &response);
        }
        let mut acting = self.acting.take();
        let begun = self.begin_output(acting.as_deref());
        let end = match (begun, self.hand_on(sink).await) {
            (Err(failure), _) => End::Failed(failure),
            (Ok(()), Err(gone)) => gone.into(),
            (Ok(()), Ok(())) => match &mut acting {
                None => self.listen(sink).await,
                // In a box, so that turns without tools, which are most, do not carry its room.
                Some(acting) => Box::pin(self.act(acting, sink)).await,
            },
        };
        let finished = matches!(end, End::Finished(_));
        let end = self.fall_back(end).await;
        let settled = self.settle(end, sink).await;
        if settled.is_err() {
            give_up(&self.store, &self.platform, self.turn.ticket()).await;
        }
        if let (Some(acting), Ok(Some(_))) = (&mut acting, &settled) {
            acting.forget_journal(&self.platform).await;
        }
        self.acting = acting;
        (finished, settled)
    }

    /// What stands in the output before anything is said: what was looked up, and what tools there are.
    fn begin_output(&mut self, acting: Option<&Acting<S, B>>) -> Result<(), ModelFailure> {
        if let Some(looked) = &self.turn.looked {
            self.heard.output.begin_with(looked)?;
        }
        acting.map_or(Ok(()), |acting| self.offer_tools(acting))
    }

    /// Writes the events that have come up.
    async fn hand_on<K: Sink>(&mut self, sink: &mut K) -> Result<(), Gone> {
        let events = self.heard.output.events.as_mut().map(EventWriter::take).unwrap_or_default();
        if events.is_empty() {
            return Ok(());
        }
        let around = (&self.store, &self.platform);
        alive(around, self.turn.ticket(), &mut self.pulse, sink.write(events)).await
    }

    async fn listen<K: Sink>(&mut self, sink: &mut K) -> End {
        if let Begun::Known(known) = &mut self.begun
            && let Some(known) = known.take()
        {
            return self.heard.known(*known);
        }
        // One timer for the stream's silences, not one for each piece of it.
        let platform = self.platform.clone();
        let mut heartbeat = Heartbeat::new(|| platform.sleep(HEARTBEAT_MS));
        loop {
            let chunk = match self.next_piece(sink, &mut heartbeat).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return self.heard.end(None),
                Ok(Err(failure)) => return self.broken(failure, sink).await,
                Err(end) => return end,
            };
            heartbeat.spoke();
            let heard = self.heard.chunk(&chunk);
            // What is done is written together with what the end brings.
            if !self.heard.done
                && let Err(gone) = self.hand_on(sink).await
            {
                return gone.into();
            }
            match heard {
                Err(failure) => return End::Failed(failure),
                Ok(()) if self.heard.done => return self.heard.end(None),
                Ok(()) => {}
            }
        }
    }

    /// Waits for the model's next piece. Its client hears meanwhile that the stream is alive, and those who wait in the
    /// same conversation that the turn is.
    async fn next_piece<K: Sink, F: Future<Output = ()>, M: Fn() -> F>(
        &mut self,
        sink: &mut K,
        heartbeat: &mut Heartbeat<F, M>,
    ) -> Result<Result<Option<Vec<u8>>, TransportFailure>, End> {
        let Self { store, platform, turn, begun, pulse, .. } = self;
        let body = match begun {
            Begun::Answering(opened) => &mut opened.body,
            Begun::Failed(failure) => return Err(End::Failed(failure.clone())),
            Begun::Unwanted | Begun::Unasked | Begun::Known(_) => return Err(End::Gone),
        };
        let around = (&*store, &*platform);
        // The wait for a piece outlives a heartbeat: what is given up in the middle may have had a piece in hand.
        let mut next = pin!(body.next_chunk());
        loop {
            let silent = race(sink.gone(), heartbeat.silence());
            match alive(around, turn.ticket(), pulse, race(next.as_mut(), silent)).await {
                First::Left(chunk) => return Ok(chunk),
                First::Right(First::Left(())) => return Err(End::Gone),
                First::Right(First::Right(())) => sink.write(COMMENT.to_vec()).await?,
            }
        }
    }

    /// A host that ends its calls when the client goes away looks like a model that breaks off. A comment, which
    /// clients skip, tells the two apart.
    async fn broken<K: Sink>(&mut self, failure: TransportFailure, sink: &mut K) -> End {
        match self.heard.end(Some(failure.into())) {
            End::Failed(failure) => match sink.write(COMMENT.to_vec()).await {
                Ok(()) => End::Failed(failure),
                Err(gone) => gone.into(),
            },
            end => end,
        }
    }

    /// Says a text in the place of a model that failed before it said anything, if the tenant chose so.
    async fn fall_back(&mut self, end: End) -> End {
        let End::Failed(failure) = &end else { return end };
        // Whoever reads that something is wrong must not take it for what was done before.
        if !self.heard.output.is_empty() || self.turn.acted {
            return end;
        }
        let found = Fallback::find(&self.platform, failure, self.turn.reader).await;
        let Some(fallback) = found else { return end };
        let head = &mut self.turn.head;
        self.platform.log(&format!("response={} fallback={} {failure}", head.id, fallback.reason));
        fallback.mark(&mut head.parameters.metadata);
        match self.heard.output.fall_back(&fallback.text) {
            Ok(()) => {
                self.fell_back = Some(fallback.reason);
                End::FellBack
            }
            Err(_) => end,
        }
    }

    async fn settle<K: Sink>(&mut self, end: End, sink: &mut K) -> Result<Option<Committed>, Problem> {
        let (kind, status) = match &end {
            End::Finished(finish) => {
                self.heard.output.finish(*finish)?;
                let status = self.turn.format.settle(status(*finish), &self.heard.output);
                if let Status::Failed(error) = &status {
                    self.platform.log(&format!("response={} {}", self.turn.head.id, error.code));
                }
                match status {
                    Status::Completed => {
                        self.turn.keep_answer(&mut self.heard.output);
                        ("response.completed", status)
                    }
                    Status::Failed(_) => ("response.failed", status),
                    _ => ("response.incomplete", status),
                }
            }
            End::Failed(failure) => {
                self.platform.log(&format!("response={} {failure}", self.turn.head.id));
                ("response.failed", Status::Failed(failure.to_response_error()))
            }
            End::FellBack => ("response.completed", Status::Completed),
            End::Broken(problem) => return Err(problem.clone()),
            End::Gone => match sink.stopped() {
                Stopped::Left => ("response.incomplete", Status::Cancelled),
                Stopped::TooLong => ("response.failed", Status::Failed(too_long().to_response_error())),
            },
        };
        let items = self.heard.output.to_raw()?;
        let output_tokens = self.turn.count(&self.platform, self.heard.output.items());
        let usage = self.spent.or(self.heard.usage);
        let ending = match (&end, self.spent) {
            (End::FellBack, None) => Ending::fallback(&items),
            _ => Ending { status, output: &items, output_tokens, usage },
        };
        if sink.is_record() {
            return self.settle_record(kind, ending, sink).await;
        }
        // That of a run would not lead to its output: its calls are told otherwise than a model says them.
        self.turn.trace = self.heard.output.trace.take().filter(|_| self.spent.is_none());
        let committed = self.turn.commit(&self.store, &self.platform, ending).await?;
        sink.committed(committed.turn);
        if matches!(end, End::Gone) {
            return Ok(Some(committed));
        }
        if let Some(events) = &mut self.heard.output.events {
            events.response(kind, &committed.response);
            events.done();
        }
        let _gone = self.hand_on(sink).await;
        Ok(Some(committed))
    }

    /// Commits the turn together with its last events.
    async fn settle_record<K: Sink>(
        &mut self,
        kind: &str,
        ending: Ending<'_>,
        sink: &mut K,
    ) -> Result<Option<Committed>, Problem> {
        if !sink.may_commit().await {
            give_up(&self.store, &self.platform, self.turn.ticket()).await;
            return Ok(None);
        }
        let events = &mut self.heard.output.events;
        let also = |response: &[u8]| {
            let events = events.as_mut().map(|events| {
                events.response(kind, response);
                events.take()
            });
            sink.last(events.unwrap_or_default())
        };
        let committed = self.turn.commit_with(&self.store, &self.platform, ending, also).await?;
        sink.settled().await;
        Ok(Some(committed))
    }
}

/// Who reads nothing of an answer before its end.
struct Nobody;

impl Sink for Nobody {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        drop(bytes);
        Ok(())
    }

    async fn gone(&mut self) {
        pending().await
    }
}

fn too_long() -> ModelFailure {
    ModelFailure::TooLong("more events than are kept".to_owned())
}
