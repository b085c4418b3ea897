//! Between those who tell and the thread that sends: bounded, and never waited for.

use super::signal::Signal;
use crate::metrics::Families;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::Notify;
use waggle_measure::Counter;

/// The most records that are sent at once.
pub(crate) const BATCH_RECORDS_MAX: usize = 512;
/// About the most bytes that are sent at once; collectors take 4 MiB over gRPC unless told otherwise.
pub(crate) const BATCH_BYTES_MAX: usize = 2 << 20;

/// What became of records.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The collector took them.
    pub(super) sent: Counter,
    /// The collector took the batch, but not these.
    pub(super) rejected: Counter,
    /// They could not be delivered in time.
    pub(super) undelivered: Counter,
    /// There was no room for them.
    pub(super) queue_full: Counter,
    waiting: AtomicUsize,
}

/// The names of two families, each with what it means.
pub(crate) struct FamilyNames {
    pub(crate) total: (&'static str, &'static str),
    pub(crate) waiting: (&'static str, &'static str),
}

impl Counters {
    pub(crate) fn collect(&self, names: &FamilyNames, families: &mut Families) {
        let outcomes = [
            ("sent", &self.sent),
            ("rejected", &self.rejected),
            ("undelivered", &self.undelivered),
            ("queue_full", &self.queue_full),
        ];
        let (name, help) = names.total;
        let mut records = families.counter(name, help);
        for (outcome, counter) in outcomes {
            records.add(&[("outcome", outcome)], counter.get());
        }
        let (name, help) = names.waiting;
        families.gauge(name, help).add(&[], self.waiting.load(Ordering::Relaxed));
    }
}

/// Where records are put in.
pub(crate) struct Queue<R> {
    records: SyncSender<R>,
    counters: Arc<Counters>,
    full_batch: Arc<Notify>,
}

/// Where they are taken out.
pub(super) struct Waiting<R> {
    records: Receiver<R>,
    /// The first of the next batch, for which the last one had no room.
    left: Option<R>,
    pub(super) counters: Arc<Counters>,
    pub(super) full_batch: Arc<Notify>,
}

impl<R> Queue<R> {
    pub(super) fn new(records_max: usize) -> (Self, Waiting<R>) {
        let (sender, records) = sync_channel(records_max);
        let (counters, full_batch) = (Arc::new(Counters::default()), Arc::new(Notify::new()));
        let waiting = Waiting {
            records,
            left: None,
            counters: Arc::clone(&counters),
            full_batch: Arc::clone(&full_batch),
        };
        (Self { records: sender, counters, full_batch }, waiting)
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Puts a record in, or counts that it had no room. Whether it is in.
    pub(crate) fn put(&self, record: R) -> bool {
        // Counted before it is there, so that whoever takes it out never counts below zero.
        let waiting = self.counters.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if self.records.try_send(record).is_err() {
            self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counters.queue_full.increment();
            return false;
        }
        if waiting.is_multiple_of(BATCH_RECORDS_MAX) {
            self.full_batch.notify_one();
        }
        true
    }
}

impl<R> Waiting<R> {
    /// Takes out what is there, up to a batch.
    pub(super) fn take<S: Signal<Record = R>>(&mut self) -> Vec<R> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_RECORDS_MAX
            && let Some(record) = self.left.take().or_else(|| self.records.try_recv().ok())
        {
            bytes += S::bytes(&record);
            if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
                self.left = Some(record);
                break;
            }
            batch.push(record);
        }
        self.counters.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        batch
    }
}
