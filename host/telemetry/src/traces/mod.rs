//! Traces, exported as OpenTelemetry has it: spans that end (`waggle_measure::trace`) go to a collector by OTLP, over HTTP
//! (protobuf) or gRPC. Whoever ends a span never waits: without room, the span is dropped and counted.

mod config;
mod encode;
mod sampling;

pub use crate::otlp::{ExportError, Protocol};
pub use config::TracesConfig;
pub(crate) use encode::Spans;

use crate::metrics::{Families, Source};
use crate::otlp::{Environment, Exporter, FamilyNames, Process, Queue, Settings, Signal as _, Variables};
use std::fmt;
use std::path::Path;
use std::time::Duration;
use waggle_measure::trace::{FinishedSpan, Sampling, SpanSink, Tracer};

/// What it counts.
const FAMILIES: FamilyNames = FamilyNames {
    total: ("waggle_trace_spans_total", "Spans that ended, by what became of them"),
    waiting: ("waggle_trace_spans_waiting", "Spans that wait to be sent"),
};

/// The export of traces. Dropping it ends the export without waiting for what is left.
pub struct Traces(Exporter);

impl Traces {
    /// Starts the export that `config` and the `OTEL_*` variables of the environment describe, the former first. A relative
    /// path is relative to `folder`. Without an endpoint in either there are no traces, and the tracer passes the callers'
    /// contexts on.
    ///
    /// # Errors
    /// When the configuration cannot be understood, or a file it names cannot be read.
    pub fn start(
        config: &TracesConfig,
        folder: &Path,
        process: &Process,
    ) -> Result<(Tracer, Option<Self>), ExportError> {
        let from_environment = |name: &str| std::env::var(name).ok();
        match resolve(config, folder, process, &from_environment)? {
            Some((settings, sampling)) => {
                let (tracer, traces) = Self::run(settings, sampling)?;
                Ok((tracer, Some(traces)))
            }
            None => Ok((Tracer::off(), None)),
        }
    }

    fn run(settings: Settings, sampling: Sampling) -> Result<(Tracer, Self), ExportError> {
        let (queue, exporter) = Exporter::start::<Spans>(settings)?;
        Ok((Tracer::new(queue, sampling), Self(exporter)))
    }

    /// Where the spans go; without what is secret.
    #[must_use]
    pub fn address(&self) -> &str {
        self.0.address()
    }

    /// What it counts, for [`Metrics::register`](crate::metrics::Metrics::register).
    #[must_use]
    pub fn source(&self) -> Box<dyn Source> {
        let counters = self.0.counters();
        Box::new(move |families: &mut Families| counters.collect(&FAMILIES, families))
    }

    /// Sends what is left, and waits for that at most `patience`; blocks the thread. Whether everything was handed to the
    /// collector or given up by itself in time. What ends later is dropped.
    #[must_use]
    pub fn shutdown(self, patience: Duration) -> bool {
        self.0.shutdown(patience)
    }
}

/// None when traces are off.
fn resolve(
    config: &TracesConfig,
    folder: &Path,
    process: &Process,
    environment: Environment<'_>,
) -> Result<Option<(Settings, Sampling)>, ExportError> {
    let settings = Settings::resolve(&Spans::NAMES, &config.keys(), process, folder, environment)?;
    let Some(settings) = settings else { return Ok(None) };
    Ok(Some((settings, sampling::sampling(config, &Variables(environment))?)))
}

impl SpanSink for Queue<FinishedSpan> {
    fn accept(&self, span: FinishedSpan) {
        // One without room is counted there.
        let _ = self.put(span);
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("address", &self.address()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tests;
