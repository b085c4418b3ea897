//! Traces, exported as OpenTelemetry has it: OTLP over HTTP (protobuf) or gRPC.
//!
//! Spans that end (`waggle_measure::trace`) go into a queue with a bound; a thread of its own encodes them, up to 512 at a
//! time, and sends them. Whoever ends a span never waits: without room, the span is dropped and counted. A collector that
//! refuses, hangs or is gone costs the requests nothing. The wire is that of `opentelemetry-proto`, the transport hyper's,
//! which is in the program anyway.

mod config;
mod encode;
mod endpoint;
mod export;
mod queue;
mod settings;
mod tls;
mod transport;

pub use config::{Protocol, TracesConfig};
pub use settings::TracesError;

use crate::metrics::{Families, Source};
use queue::{Counters, Queue};
use settings::Settings;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tokio::sync::watch;
use waggle_measure::trace::Tracer;

/// The export of traces. Dropping it ends the export without waiting for what is left.
pub struct Traces {
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    ended: Receiver<()>,
    address: String,
}

impl Traces {
    /// Starts the export that `config` and the `OTEL_*` variables of the environment describe, the former first. A relative
    /// path is relative to `folder`; `version` is that of the program. Without an endpoint in either there are no traces,
    /// and the tracer passes the callers' contexts on.
    ///
    /// # Errors
    /// When the configuration cannot be understood, or a file it names cannot be read.
    pub fn start(
        config: &TracesConfig,
        folder: &Path,
        version: &str,
    ) -> Result<(Tracer, Option<Self>), TracesError> {
        let from_environment = |name: &str| std::env::var(name).ok();
        match Settings::resolve(config, folder, version, &from_environment)? {
            Some(settings) => {
                let (tracer, traces) = Self::run(settings)?;
                Ok((tracer, Some(traces)))
            }
            None => Ok((Tracer::off(), None)),
        }
    }

    fn run(settings: Settings) -> Result<(Tracer, Self), TracesError> {
        let address = settings.endpoint.to_string();
        let sampling = settings.sampling;
        let (queue, waiting) = Queue::new(settings.queue_spans_max);
        let counters = queue.counters();
        let (stop, stopping) = watch::channel(false);
        let ended = export::spawn(settings, waiting, stopping).map_err(TracesError::Thread)?;
        Ok((Tracer::new(queue, sampling), Self { counters, stop, ended, address }))
    }

    /// Where the spans go; without what is secret.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it counts, for [`Metrics::register`](crate::metrics::Metrics::register).
    #[must_use]
    pub fn source(&self) -> Box<dyn Source> {
        let counters = Arc::clone(&self.counters);
        Box::new(move |families: &mut Families| counters.collect(families))
    }

    /// Sends what is left, and waits for that at most `patience`; blocks the thread. Whether everything was handed to the
    /// collector or given up by itself in time. What ends later is dropped.
    #[must_use]
    pub fn shutdown(self, patience: Duration) -> bool {
        // Without a receiver the thread has ended already.
        let _ = self.stop.send(true);
        !matches!(self.ended.recv_timeout(patience), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
