//! The access log: a line for each request that ended, as JSON or for people. Off unless the operator wants it; apart from
//! the log of the process, since it is as long as there are requests.
//!
//! ```text
//! {"time":"2026-01-02T03:04:05.678Z","request":"r-1","client":"192.0.2.7","tenant":"bank","method":"POST","path":"/v1/responses","version":"1.1","route":"/v1/...","function":"chat","status":200,"outcome":"complete","request_bytes":310,"response_bytes":1200,"head_ms":1.250,"duration_ms":843.070,"trace":"4bf92f3577b34da6a3ce929d0e0e4736"}
//! 2026-01-02T03:04:05.678Z 200 843.070ms POST "/v1/responses" tenant=bank function=chat client=192.0.2.7 request=r-1 ...
//! ```
//!
//! What is not known is null in JSON, and left out of the readable form. A path is written without its query, and cut at
//! 1,024 bytes. Nobody who logs waits: lines go through a queue with a bound to a thread, which writes them within a
//! fifth of a second. Those without room are counted, and a line with `dropped` says how many are missing.

mod line;
mod otlp;
mod writer;

use crate::logs::Relay;
use crate::metrics::{Families, Source};
use http::Method;
use serde::Deserialize;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use waggle_measure::Counter;
use waggle_measure::trace::TraceId;
use writer::{Output, Writer};

/// The most lines that wait to be written.
const QUEUE_LINES_MAX: usize = 16_384;
/// The output that is the collector.
const OTLP: &str = "otlp";
/// The most bytes of a path that are kept.
pub const PATH_BYTES_MAX: usize = 1_024;

/// `[telemetry.access_log]`. Every field has a default, by which there is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogConfig {
    /// `off` (the default), `stdout`, `stderr`, `otlp` (with the [logs](crate::logs), to their collector), or the path of
    /// a file.
    pub output: String,
    /// `json` (the default) or `readable`.
    pub format: AccessLogFormat,
    /// Bytes of a file; one that has more becomes `FILE.1`, and so on. 1 MiB to 1 TiB; 256 MiB by default.
    pub file_bytes_max: u64,
    /// Files that are kept, the one that is written to included. 1 to 1,000; 4 by default.
    pub files_max: u32,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    #[default]
    Json,
    Readable,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            output: "off".to_owned(),
            format: AccessLogFormat::default(),
            file_bytes_max: 256 << 20,
            files_max: 4,
        }
    }
}

impl AccessLogConfig {
    /// Whether it goes to the collector of the [logs](crate::logs), without which there is none.
    #[must_use]
    pub fn needs_logs(&self) -> bool {
        self.output == OTLP
    }

    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        if self.output.is_empty() {
            return Err(
                "`access_log.output` is empty; it must be off, stdout, stderr, otlp or a file".to_owned()
            );
        }
        if !(1 << 20..=1 << 40).contains(&self.file_bytes_max) {
            let found = self.file_bytes_max;
            return Err(format!("`access_log.file_bytes_max` is {found}; it must be from 1 MiB to 1 TiB"));
        }
        if !(1..=1_000).contains(&self.files_max) {
            let found = self.files_max;
            return Err(format!("`access_log.files_max` is {found}; it must be from 1 to 1000"));
        }
        Ok(())
    }
}

/// Why there is no access log, though there should be.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    #[error("the access log cannot be written to {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the thread that writes the access log cannot be started: {0}")]
    Thread(io::Error),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole response was sent.
    Complete,
    /// The client went away before.
    Cancelled,
    /// The response broke off: the function or a deadline ended it.
    Broken,
}

/// A request that ended.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// When its head had arrived.
    pub time: SystemTime,
    /// Its id, as in the log of the process.
    pub request: Arc<str>,
    /// The client, as far as proxies are believed.
    pub client: Option<IpAddr>,
    pub tenant: Option<Arc<str>>,
    pub method: Method,
    /// Without the query; [`AccessRecord::path_of`] cuts it.
    pub path: Box<str>,
    /// Of HTTP.
    pub version: &'static str,
    /// As it is written in the manifest.
    pub route: Option<Arc<str>>,
    pub function: Option<Arc<str>>,
    pub status: u16,
    pub outcome: Outcome,
    /// Of the body.
    pub request_bytes: u64,
    /// Of the body.
    pub response_bytes: u64,
    /// Until the head of the response.
    pub head: Duration,
    /// Until its end.
    pub duration: Duration,
    pub trace: Option<TraceId>,
}

impl AccessRecord {
    /// A path as it is kept: cut at [`PATH_BYTES_MAX`].
    #[must_use]
    pub fn path_of(path: &str) -> Box<str> {
        path[..path.floor_char_boundary(PATH_BYTES_MAX)].into()
    }
}

/// Where requests are logged. Cheap to clone; the default one is off.
#[derive(Clone, Default)]
pub struct AccessLog(Option<Arc<Shared>>);

struct Shared {
    records: SyncSender<AccessRecord>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    written: Counter,
    dropped: Counter,
    /// The writer is to end; what is logged then is dropped.
    is_closed: AtomicBool,
    /// Wakes the writer at the end, which otherwise looks at the queue from time to time.
    thread: OnceLock<std::thread::Thread>,
}

impl AccessLog {
    /// Logs nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the log that `config` describes; a relative file is relative to `folder`. None when it is off.
    ///
    /// # Errors
    /// When the file cannot be written to, or the thread cannot be started.
    pub fn start(
        config: &AccessLogConfig,
        folder: &Path,
    ) -> Result<(Self, Option<AccessLogWriter>), AccessLogError> {
        Self::run(config, folder, Relay::of_process())
    }

    /// The same, with the log of a process that may be another.
    pub(crate) fn run(
        config: &AccessLogConfig,
        folder: &Path,
        relay: Relay,
    ) -> Result<(Self, Option<AccessLogWriter>), AccessLogError> {
        let output = match config.output.as_str() {
            "off" => return Ok((Self::off(), None)),
            "stdout" => Output::Stdout,
            "stderr" => Output::Stderr,
            OTLP => Output::Collector(relay),
            file => Output::File {
                path: folder.join(file),
                bytes_max: config.file_bytes_max,
                files_max: config.files_max,
            },
        };
        output.check()?;
        let (records, waiting) = sync_channel(QUEUE_LINES_MAX);
        let counts = Arc::new(Counts::default());
        let (ended, has_ended) = sync_channel(1);
        let writer = Writer::new(output, config.format, waiting, Arc::clone(&counts));
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                writer.run();
                let _ = ended.try_send(());
            })
            .map_err(AccessLogError::Thread)?;
        let _ = counts.thread.set(thread.thread().clone());
        let guard = AccessLogWriter { counts: Arc::clone(&counts), ended: has_ended };
        Ok((Self(Some(Arc::new(Shared { records, counts }))), Some(guard)))
    }

    /// Whether a record would be written; ask before making one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a record to the thread that writes, or counts it as dropped.
    pub fn log(&self, record: AccessRecord) {
        let Some(shared) = &self.0 else { return };
        if shared.counts.is_closed.load(Ordering::Relaxed) || shared.records.try_send(record).is_err() {
            shared.counts.dropped.increment();
        }
    }
}

/// The thread that writes the access log. Dropping it ends the log without waiting for what is left.
pub struct AccessLogWriter {
    counts: Arc<Counts>,
    ended: Receiver<()>,
}

impl AccessLogWriter {
    /// What it counts, for [`Metrics::register`](crate::metrics::Metrics::register).
    #[must_use]
    pub fn source(&self) -> Box<dyn Source> {
        let counts = Arc::clone(&self.counts);
        Box::new(move |families: &mut Families| {
            families
                .counter("waggle_access_log_lines_total", "Lines of the access log, by what became of them")
                .add(&[("outcome", "written")], counts.written.get())
                .add(&[("outcome", "dropped")], counts.dropped.get());
        })
    }

    /// Writes what is left, and waits for that at most `patience`; blocks the thread. Whether it was in time. What is
    /// logged later is dropped.
    #[must_use]
    pub fn shutdown(self, patience: Duration) -> bool {
        self.close();
        !matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }

    fn close(&self) {
        self.counts.is_closed.store(true, Ordering::Relaxed);
        if let Some(thread) = self.counts.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("is_on", &self.is_on()).finish()
    }
}

impl fmt::Debug for AccessLogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogWriter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
