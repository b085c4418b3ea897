//! A streamed turn: the model's chunks in, the response's events out, one write for each chunk.

use crate::ask::Opened;
use crate::fallback::Fallback;
use crate::heartbeat::Heartbeat;
use crate::locked::{Pulse, alive, give_up};
use crate::output::Output;
use crate::platform::{Gone, Platform, Sink, Stopped};
use crate::prepare::{Committed, Ending, PreparedTurn};
use crate::problem::Problem;
use crate::race::{First, race};
use crate::scout::DONE;
use crate::turn::status;
use std::future::Future;
use std::pin::pin;
use waggle_conversation::Store;
use waggle_model::reply::{Completion, FinishReason, read_chunk};
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
}

/// How a turn stands when its stream begins.
#[derive(Debug)]
pub(crate) enum Begun<B> {
    /// The model has begun to answer.
    Answering(Opened<B>),
    /// Its answer is known without a model; it is taken when it is said.
    Known(Option<Box<Completion>>),
    /// It failed.
    Failed(ModelFailure),
    /// Nobody wants its answer any more.
    Unwanted,
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
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Heard {
    /// Nothing yet, of a turn whose next event has the number `next`.
    fn nothing(turn: &PreparedTurn, wire: Wire, next: u64) -> Self {
        let mut output = Output::new(turn.nonce(), turn.input.len(), Some(EventWriter::starting_at(next)));
        if turn.silent {
            output.keep_silent();
        }
        Self { wire, parser: wire.parser(), output, finish: None, usage: None, done: false }
    }

    /// Takes an answer that is known without a model.
    fn known(&mut self, known: Completion) -> End {
        let finish = known.finish;
        self.usage = known.usage;
        match self.output.complete(known) {
            Ok(()) => End::Finished(finish),
            Err(error) => End::Failed(ModelFailure::NotACompletion(error.to_string())),
        }
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

impl<S: Store, P: Platform, B: ChunkSource> StreamedTurn<S, P, B> {
    pub(crate) fn new(store: S, platform: P, turn: PreparedTurn, opened: Opened<B>) -> Self {
        let (heard, begun) = (Heard::nothing(&turn, opened.wire, 0), Begun::Answering(opened));
        Self { store, platform, turn, begun, announced: false, heard, pulse: Pulse::default() }
    }

    /// A turn whose first events, those before the number `next`, were written already.
    pub(crate) fn continuing(store: S, platform: P, turn: PreparedTurn, begun: Begun<B>, next: u64) -> Self {
        let wire = if let Begun::Answering(opened) = &begun { opened.wire } else { Wire::default() };
        let heard = Heard::nothing(&turn, wire, next);
        Self { store, platform, turn, begun, announced: true, heard, pulse: Pulse::default() }
    }

    /// Produces the whole stream. The turn is committed before its last event is written.
    pub(crate) async fn run<K: Sink>(mut self, mut sink: K) {
        let response = self.turn.head.to_json(&Status::InProgress, &[], None);
        if let Some(events) = self.heard.output.events.as_mut().filter(|_| !self.announced) {
            events.response("response.created", &response);
            events.response("response.in_progress", &response);
        }
        let looked_up =
            self.turn.looked.as_ref().map_or(Ok(()), |looked| self.heard.output.begin_with(looked));
        let end = match (looked_up, self.hand_on(&mut sink).await) {
            (Err(failure), _) => End::Failed(failure),
            (Ok(()), Ok(())) => self.listen(&mut sink).await,
            (Ok(()), Err(gone)) => gone.into(),
        };
        let finished = matches!(end, End::Finished(_));
        let end = self.fall_back(end).await;
        let settled = self.settle(end, &mut sink).await;
        if settled.is_err() {
            give_up(&self.store, &self.platform, self.turn.ticket()).await;
        }
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
        if let Some(kept) = self.turn.kept.take() {
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
            Begun::Unwanted | Begun::Known(_) => return Err(End::Gone),
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
        if !self.heard.output.is_empty() {
            return end;
        }
        let found = Fallback::find(&self.platform, failure, self.turn.reader).await;
        let Some(fallback) = found else { return end };
        let head = &mut self.turn.head;
        self.platform.log(&format!("response={} fallback={} {failure}", head.id, fallback.reason));
        fallback.mark(&mut head.parameters.metadata);
        match self.heard.output.fall_back(&fallback.text) {
            Ok(()) => End::FellBack,
            Err(_) => end,
        }
    }

    async fn settle<K: Sink>(&mut self, end: End, sink: &mut K) -> Result<(), Problem> {
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
            End::Gone => match sink.stopped() {
                Stopped::Left => ("response.incomplete", Status::Cancelled),
                Stopped::TooLong => ("response.failed", Status::Failed(too_long().to_response_error())),
            },
        };
        let items = self.heard.output.to_raw()?;
        let output_tokens = self.turn.count(&self.platform, self.heard.output.items());
        let ending = match end {
            End::FellBack => Ending::fallback(&items),
            _ => Ending { status, output: &items, output_tokens, usage: self.heard.usage },
        };
        if sink.is_record() {
            return self.settle_record(kind, ending, sink).await;
        }
        self.turn.trace = self.heard.output.trace.take();
        let Committed { response, turn } = self.turn.commit(&self.store, &self.platform, ending).await?;
        sink.committed(turn);
        if matches!(end, End::Gone) {
            return Ok(());
        }
        if let Some(events) = &mut self.heard.output.events {
            events.response(kind, &response);
            events.done();
        }
        let _gone = self.hand_on(sink).await;
        Ok(())
    }

    /// Commits the turn together with its last events.
    async fn settle_record<K: Sink>(
        &mut self,
        kind: &str,
        ending: Ending<'_>,
        sink: &mut K,
    ) -> Result<(), Problem> {
        if !sink.may_commit().await {
            give_up(&self.store, &self.platform, self.turn.ticket()).await;
            return Ok(());
        }
        let events = &mut self.heard.output.events;
        let also = |response: &[u8]| {
            let events = events.as_mut().map(|events| {
                events.response(kind, response);
                events.take()
            });
            sink.last(events.unwrap_or_default())
        };
        self.turn.commit_with(&self.store, &self.platform, ending, also).await?;
        sink.settled().await;
        Ok(())
    }
}

fn too_long() -> ModelFailure {
    ModelFailure::TooLong("more events than are kept".to_owned())
}
