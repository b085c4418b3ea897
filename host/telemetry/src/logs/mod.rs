//! Logs, exported as OpenTelemetry has it: what the process logs and what functions print goes to a collector by OTLP, over
//! HTTP (protobuf) or gRPC, beside the log on standard error. Whoever logs never waits: without room, the record is
//! dropped and counted.
//!
//! The log of the process ([`crate::init`]) has a relay from its start on, which leads nowhere until [`Logs::start`]
//! connects it. What the export itself logs never comes into it.

mod config;
mod encode;
mod record;
mod relay;

pub use config::{LogsConfig, Severity};
pub(crate) use encode::Records;
pub(crate) use record::{LogRecord, TraceIds};
pub(crate) use relay::Relay;

use crate::metrics::{Families, Source};
use crate::otlp::{Environment, ExportError, Exporter, FamilyNames, Process, Queue, Settings, Signal as _};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What it counts.
const FAMILIES: FamilyNames = FamilyNames {
    total: ("waggle_log_records_total", "Records of the log for the collector, by what became of them"),
    waiting: ("waggle_log_records_waiting", "Records of the log that wait to be sent"),
};

/// The export of logs. Dropping it ends the export without waiting for what is left.
pub struct Logs {
    exporter: Exporter,
    relay: Relay,
    queue: Arc<Queue<LogRecord>>,
}

impl Logs {
    /// Starts the export that `config` and the `OTEL_*` variables of the environment describe, the former first, of all that
    /// is logged from now on. A relative path is relative to `folder`. None without an endpoint in either.
    ///
    /// # Errors
    /// When the configuration cannot be understood, or a file it names cannot be read.
    pub fn start(config: &LogsConfig, folder: &Path, process: &Process) -> Result<Option<Self>, ExportError> {
        let from_environment = |name: &str| std::env::var(name).ok();
        let Some(settings) = resolve(config, folder, process, &from_environment)? else { return Ok(None) };
        Self::run(settings, config.level, Relay::of_process()).map(Some)
    }

    fn run(settings: Settings, least: Severity, relay: Relay) -> Result<Self, ExportError> {
        let (queue, exporter) = Exporter::start::<Records>(settings)?;
        let queue = Arc::new(queue);
        relay.connect(&queue, least);
        Ok(Self { exporter, relay, queue })
    }

    /// Where the records go; without what is secret.
    #[must_use]
    pub fn address(&self) -> &str {
        self.exporter.address()
    }

    /// What it counts, for [`Metrics::register`](crate::metrics::Metrics::register).
    #[must_use]
    pub fn source(&self) -> Box<dyn Source> {
        let counters = self.exporter.counters();
        Box::new(move |families: &mut Families| counters.collect(&FAMILIES, families))
    }

    /// Sends what is left, and waits for that at most `patience`; blocks the thread. Whether everything was handed to the
    /// collector or given up by itself in time. What is logged later is not exported.
    #[must_use]
    pub fn shutdown(self, patience: Duration) -> bool {
        self.relay.disconnect(&self.queue);
        self.exporter.shutdown(patience)
    }
}

/// None when logs are off.
fn resolve(
    config: &LogsConfig,
    folder: &Path,
    process: &Process,
    environment: Environment<'_>,
) -> Result<Option<Settings>, ExportError> {
    Settings::resolve(&Records::NAMES, &config.keys(), process, folder, environment)
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.relay.disconnect(&self.queue);
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("address", &self.address()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
