//! Between those who end spans and the thread that sends them: bounded, and never waited for.

use crate::metrics::Families;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::Notify;
use waggle_measure::Counter;
use waggle_measure::trace::{FinishedSpan, SpanSink};

/// The most spans that are sent at once.
pub(super) const BATCH_SPANS_MAX: usize = 512;

/// What became of spans.
#[derive(Debug, Default)]
pub(super) struct Counters {
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

impl Counters {
    pub(super) fn collect(&self, families: &mut Families) {
        let outcomes = [
            ("sent", &self.sent),
            ("rejected", &self.rejected),
            ("undelivered", &self.undelivered),
            ("queue_full", &self.queue_full),
        ];
        let mut spans =
            families.counter("waggle_trace_spans_total", "Spans that ended, by what became of them");
        for (outcome, counter) in outcomes {
            spans.add(&[("outcome", outcome)], counter.get());
        }
        let waiting = self.waiting.load(Ordering::Relaxed);
        families.gauge("waggle_trace_spans_waiting", "Spans that wait to be sent").add(&[], waiting);
    }
}

/// Where spans are put in.
pub(super) struct Queue {
    spans: SyncSender<FinishedSpan>,
    counters: Arc<Counters>,
    full_batch: Arc<Notify>,
}

/// Where they are taken out.
pub(super) struct Waiting {
    spans: Receiver<FinishedSpan>,
    pub(super) counters: Arc<Counters>,
    pub(super) full_batch: Arc<Notify>,
}

impl Queue {
    pub(super) fn new(spans_max: usize) -> (Self, Waiting) {
        let (sender, receiver) = sync_channel(spans_max);
        let (counters, full_batch) = (Arc::new(Counters::default()), Arc::new(Notify::new()));
        let waiting =
            Waiting { spans: receiver, counters: Arc::clone(&counters), full_batch: Arc::clone(&full_batch) };
        (Self { spans: sender, counters, full_batch }, waiting)
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

impl SpanSink for Queue {
    fn accept(&self, span: FinishedSpan) {
        // Counted before it is there, so that whoever takes it out never counts below zero.
        let waiting = self.counters.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if self.spans.try_send(span).is_err() {
            self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counters.queue_full.increment();
        } else if waiting.is_multiple_of(BATCH_SPANS_MAX) {
            self.full_batch.notify_one();
        }
    }
}

impl Waiting {
    /// Takes out what is there, up to a batch.
    pub(super) fn take(&self) -> Vec<FinishedSpan> {
        let batch: Vec<_> = self.spans.try_iter().take(BATCH_SPANS_MAX).collect();
        self.counters.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        batch
    }
}
