//! Where the events of a background response go: into the store, in batches, as long as its runner may run.

use super::{BATCH_BYTES_MAX, EVENTS_BYTES_MAX, FLUSH_MS, LEASE_MS, LOOK_MS};
use crate::platform::{Gone, Platform, Sink, Stopped};
use std::cell::Cell;
use std::rc::Rc;
use waggle_conversation::background::{self, Batch, Found, Pair, Phase, Recorded, State};
use waggle_conversation::{Store, StoreError};
use waggle_openai::ResponseId;

/// Why a run may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody cancelled the response.
    Cancelled,
    /// It was deleted, or another has it, or nobody knows: the store failed.
    Lost,
    /// It has more events than are kept.
    TooLong,
}

/// A runner's hold on a response.
#[derive(Debug)]
pub(super) struct Keeper<S, P> {
    pub(super) store: S,
    pub(super) platform: P,
    pub(super) id: ResponseId,
    pub(super) recorded: Recorded,
    pub(super) stop: Option<Stop>,
}

impl<S: Store, P: Platform> Keeper<S, P> {
    /// Looks whether the run may go on, and says that it does.
    pub(super) async fn look(&mut self) -> Option<Stop> {
        if self.stop.is_none() {
            self.stop = self.looked().await.unwrap_or_else(|error| {
                self.platform.log(&format!("response={} {error}", self.id));
                Some(Stop::Lost)
            });
        }
        self.stop
    }

    async fn looked(&mut self) -> Result<Option<Stop>, StoreError> {
        let Some(seen) = background::state(&self.store, self.id.0).await? else {
            // Deleted; so is what was written while it was.
            background::remove(&self.store, self.id.0).await?;
            return Ok(Some(Stop::Lost));
        };
        if seen != self.recorded {
            let mine = seen.state.attempt == self.recorded.state.attempt;
            let phase = seen.state.state;
            self.recorded = seen;
            match phase {
                Phase::Cancelling if mine => return Ok(Some(Stop::Cancelled)),
                // Somebody has noted that nobody is called again.
                Phase::Running if mine => {}
                _ => return Ok(Some(Stop::Lost)),
            }
        }
        let now_ms = self.platform.now_ms();
        if self.recorded.state.until_ms.saturating_sub(now_ms) < LEASE_MS / 2 {
            return self.renew().await;
        }
        Ok(None)
    }

    async fn renew(&mut self) -> Result<Option<Stop>, StoreError> {
        let until_ms = self.platform.now_ms() + LEASE_MS;
        let next = State { until_ms, ..self.recorded.state.clone() };
        match background::change(&self.store, self.id.0, &self.recorded, next).await? {
            Some(recorded) => self.recorded = recorded,
            // Cancelled or lost in this moment: the next look says which.
            None if until_ms > self.recorded.state.until_ms => {}
            None => return Ok(Some(Stop::Lost)),
        }
        Ok(None)
    }

    /// Returns when the run may not go on.
    pub(super) async fn watch(&mut self) -> Stop {
        loop {
            if let Some(stop) = self.look().await {
                return stop;
            }
            self.platform.sleep(LOOK_MS).await;
        }
    }

    /// Makes sure that nobody else has the response, whether it is to be cancelled or not.
    pub(super) async fn hold(&mut self) -> bool {
        if self.stop == Some(Stop::Lost) {
            return false;
        }
        let told = self.stop;
        self.stop = None;
        let looked = self.look().await;
        self.stop = told.or(looked);
        if looked == Some(Stop::Lost) {
            return false;
        }
        match self.renew().await {
            Ok(None) => true,
            Ok(Some(_)) | Err(_) => false,
        }
    }

    /// Says that the response is over. One that was deleted meanwhile stays deleted.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        let id = self.id.0;
        for _ in 0..super::CHANGES_MAX {
            let Some(seen) = background::state(&self.store, id).await? else {
                return background::remove(&self.store, id).await;
            };
            let next = State { state: Phase::Finished, until_ms: 0, ..seen.state.clone() };
            if background::change(&self.store, id, &seen, next).await?.is_some() {
                return background::forget_request(&self.store, id).await;
            }
        }
        Ok(())
    }
}

/// The sink of a turn that runs in the background.
#[derive(Debug)]
pub(super) struct RecordSink<S, P> {
    keeper: Keeper<S, P>,
    /// The number of the next batch.
    number: u64,
    /// The number of the first event in `buffer`.
    first: u64,
    count: u64,
    buffer: Vec<u8>,
    bytes: usize,
    flushed_ms: u64,
    committed: Rc<Cell<bool>>,
}

/// How many events a text has: each ends with an empty line, and none holds one.
fn events_in(text: &[u8]) -> u64 {
    text.windows(2).filter(|pair| *pair == b"\n\n").count() as u64
}

impl<S: Store, P: Platform> RecordSink<S, P> {
    /// A sink whose first batch is written at `at`; `committed` will say whether the turn was.
    pub(super) fn new(keeper: Keeper<S, P>, at: Found, committed: Rc<Cell<bool>>) -> Self {
        Self {
            keeper,
            number: at.number,
            first: at.begins,
            count: 0,
            buffer: Vec::new(),
            bytes: 0,
            // So that the first piece of the answer is written at once.
            flushed_ms: 0,
            committed,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        // Comments keep a connection alive; there is none.
        if bytes.starts_with(b"event:") {
            self.count += events_in(bytes);
            self.buffer.extend_from_slice(bytes);
            self.bytes += bytes.len();
        }
    }

    fn batch(&mut self, last: bool) -> Batch {
        let text = String::from_utf8(std::mem::take(&mut self.buffer)).unwrap_or_default();
        let batch = Batch { first: self.first, count: self.count, text, last };
        (self.first, self.count) = (batch.end(), 0);
        self.number += 1;
        batch
    }

    fn is_due(&self) -> bool {
        let waited_ms = self.keeper.platform.now_ms().saturating_sub(self.flushed_ms);
        self.count > 0 && (waited_ms >= FLUSH_MS || self.buffer.len() >= BATCH_BYTES_MAX)
    }

    /// Writes what there is, if the run may go on.
    async fn flush(&mut self) -> Option<Stop> {
        if let Some(stop) = self.keeper.look().await {
            return Some(stop);
        }
        let number = self.number;
        let pair = self.batch(false).pair(self.keeper.id.0, number);
        self.flushed_ms = self.keeper.platform.now_ms();
        if let Err(error) = background::write(&self.keeper.store, pair).await {
            self.keeper.platform.log(&format!("response={} {error}", self.keeper.id));
            self.keeper.stop = Some(Stop::Lost);
        }
        self.keeper.stop
    }
}

impl<S: Store, P: Platform> Sink for RecordSink<S, P> {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        if self.bytes + bytes.len() > EVENTS_BYTES_MAX {
            self.keeper.stop.get_or_insert(Stop::TooLong);
            return Err(Gone);
        }
        self.push(&bytes);
        if self.is_due() && self.flush().await.is_some() {
            return Err(Gone);
        }
        Ok(())
    }

    async fn gone(&mut self) {
        loop {
            self.keeper.platform.sleep(LOOK_MS).await;
            let stop = if self.is_due() { self.flush().await } else { self.keeper.look().await };
            if stop.is_some() {
                return;
            }
        }
    }

    fn is_record(&self) -> bool {
        true
    }

    fn stopped(&self) -> Stopped {
        match self.keeper.stop {
            Some(Stop::TooLong) => Stopped::TooLong,
            _ => Stopped::Left,
        }
    }

    async fn may_commit(&mut self) -> bool {
        self.keeper.hold().await
    }

    fn last(&mut self, events: Vec<u8>) -> Vec<Pair> {
        self.push(&events);
        let number = self.number;
        vec![self.batch(true).pair(self.keeper.id.0, number)]
    }

    async fn settled(&mut self) {
        self.committed.set(true);
        // Whoever finds the response over, by its record, sees to the rest.
        if let Err(error) = self.keeper.finish().await {
            self.keeper.platform.log(&format!("response={} {error}", self.keeper.id));
        }
    }
}
