//! The thread that sends: batches, attempts, and the end.

use super::queue::Waiting;
use super::settings::Settings;
use super::signal::{Signal, SignalNames};
use super::transport::{Collector, Failure};
use bytes::Bytes;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::watch;

/// How long records wait for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);
/// How often a batch is tried; then its records are given up.
const ATTEMPTS_MAX: u32 = 5;
/// The wait before the second attempt; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

thread_local! {
    static IS_EXPORTING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a thread that sends. What is logged on it, be it by us, by hyper or by rustls, must not be exported:
/// each export would bring forth the next.
pub(crate) fn is_exporting() -> bool {
    IS_EXPORTING.get()
}

/// Starts the thread. What is returned says when it has ended: by a message, or because the other end is gone.
pub(super) fn spawn<S: Signal>(
    settings: Settings,
    waiting: Waiting<S::Record>,
    stopping: watch::Receiver<bool>,
) -> io::Result<Receiver<()>> {
    // A runtime of its own: a host whose threads are all busy still sends, and sending takes nothing from requests. Names
    // are looked up on further threads of it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(|| IS_EXPORTING.set(true))
        .build()?;
    let (ended, has_ended) = sync_channel(1);
    let export = Export::<S> { collector: Collector::new(settings), waiting, stopping, is_down: false };
    std::thread::Builder::new().name(S::NAMES.signal.to_owned()).spawn(move || {
        IS_EXPORTING.set(true);
        runtime.block_on(export.run(&ended));
        runtime.shutdown_background();
    })?;
    Ok(has_ended)
}

struct Export<S: Signal> {
    collector: Collector,
    waiting: Waiting<S::Record>,
    stopping: watch::Receiver<bool>,
    /// The last batch was not taken, and the log has said so.
    is_down: bool,
}

impl<S: Signal> Export<S> {
    async fn run(mut self, ended: &SyncSender<()>) {
        loop {
            tokio::select! {
                () = self.waiting.full_batch.notified() => {}
                () = tokio::time::sleep(GATHER) => {}
                () = stop(&mut self.stopping) => {}
            }
            let is_last = *self.stopping.borrow();
            loop {
                let batch = self.waiting.take::<S>();
                if batch.is_empty() {
                    break;
                }
                let count = batch.len() as u64;
                let encoded = Bytes::from(S::encode(batch, &self.collector.settings().resource));
                self.deliver(&encoded, count).await;
            }
            if is_last {
                break;
            }
        }
        let _ = ended.try_send(());
    }

    async fn deliver(&mut self, batch: &Bytes, count: u64) {
        let SignalNames { signal, records, .. } = S::NAMES;
        let counters = Arc::clone(&self.waiting.counters);
        match self.attempts(batch).await {
            Ok(answer) => {
                let rejected = S::rejected(&answer).min(count);
                counters.sent.add(count - rejected);
                counters.rejected.add(rejected);
                if self.is_down {
                    self.is_down = false;
                    tracing::info!(target: "telemetry", "the collector of {signal} takes {records} again");
                }
            }
            Err(reason) => {
                counters.undelivered.add(count);
                // Once, until it is well again: it may be gone for days.
                if !self.is_down {
                    self.is_down = true;
                    let endpoint = &self.collector.settings().endpoint;
                    tracing::warn!(target: "telemetry", %endpoint, %reason, "the collector takes no {signal}; \
                        {records} are dropped until it does");
                }
            }
        }
    }

    /// Sends a batch, more than once where that helps. What the collector answered.
    async fn attempts(&mut self, batch: &Bytes) -> Result<Bytes, String> {
        // One that was down a moment ago is asked once only, so that what waits is not kept for long.
        let attempts_max = if self.is_down { 1 } else { ATTEMPTS_MAX };
        let mut pause = PAUSE_FIRST;
        let mut attempt = 1;
        loop {
            let (reason, after) = match self.collector.send(batch).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Never { reason }) => return Err(reason),
                Err(Failure::Later { reason, after }) => (reason, after),
            };
            if attempt >= attempts_max || *self.stopping.borrow() {
                return Err(reason);
            }
            tokio::select! {
                () = tokio::time::sleep(after.unwrap_or(pause)) => {}
                () = stop(&mut self.stopping) => {}
            }
            attempt += 1;
            pause *= 2;
        }
    }
}

/// Waits for the stop, or for the end of whoever could give it.
async fn stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}
