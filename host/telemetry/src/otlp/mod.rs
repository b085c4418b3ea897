//! The export to a collector of OpenTelemetry: OTLP over HTTP (protobuf) or gRPC, the same for every signal.
//!
//! What is to be sent goes into a queue with a bound; a thread of its own encodes it, up to 512 records at a time, and
//! sends it. Whoever puts something in never waits: without room, it is dropped and counted. A collector that refuses,
//! hangs or is gone costs the requests nothing. The wire is that of `opentelemetry-proto`, the transport hyper's, which
//! is in the program anyway.

mod encode;
mod endpoint;
mod export;
mod keys;
mod process;
mod queue;
mod settings;
mod signal;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
mod transport;

pub use keys::Protocol;
pub use process::Process;
pub use settings::ExportError;

pub(crate) use encode::{any, nanoseconds, pair, resource, scope, text_bytes};
pub(crate) use export::is_exporting;
pub(crate) use keys::Keys;
#[cfg(test)]
pub(crate) use queue::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
pub(crate) use queue::{Counters, FamilyNames, Queue};
pub(crate) use settings::{Environment, Settings, Variables};
pub(crate) use signal::{Signal, SignalNames};

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::watch;

/// The export of one signal. Dropping it ends the export without waiting for what is left.
pub(crate) struct Exporter {
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    ended: Receiver<()>,
    address: String,
}

impl Exporter {
    /// Starts the thread that sends. What it sends is put into the queue.
    ///
    /// # Errors
    /// When there can be no such thread.
    pub(crate) fn start<S: Signal>(settings: Settings) -> Result<(Queue<S::Record>, Self), ExportError> {
        let address = settings.endpoint.to_string();
        let (queue, waiting) = Queue::new(settings.queue_records_max);
        let counters = queue.counters();
        let (stop, stopping) = watch::channel(false);
        let ended = export::spawn::<S>(settings, waiting, stopping)
            .map_err(|source| ExportError::Thread { signal: S::NAMES.signal, source })?;
        Ok((queue, Self { counters, stop, ended, address }))
    }

    /// Where it goes; without what is secret.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Sends what is left, and waits for that at most `patience`; blocks the thread. Whether everything was handed to the
    /// collector or given up by itself in time. What comes later is dropped.
    pub(crate) fn shutdown(&self, patience: Duration) -> bool {
        // Without a receiver the thread has ended already.
        let _ = self.stop.send(true);
        !matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}
