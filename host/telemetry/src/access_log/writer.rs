//! The thread that writes the access log. It keeps no file open between two batches, so one that somebody moves or deletes
//! is simply begun anew.

use super::{AccessLogError, AccessLogFormat, AccessRecord, Counts, QUEUE_LINES_MAX, line, otlp};
use crate::logs::Relay;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

/// How long lines wait for others to be written with. The thread looks by itself: whoever logs wakes nobody.
const GATHER: Duration = Duration::from_millis(200);
/// How long they wait to be handed on to the export, which gathers by itself: so short that a fifth of a second of a busy
/// host does not come into its queue at once.
const HAND_ON: Duration = Duration::from_millis(20);
/// How many bytes are written at once.
const CHUNK_BYTES: usize = 256 << 10;
/// How often a failing disk is told of.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

/// Where lines go.
pub(super) enum Output {
    Stdout,
    Stderr,
    File {
        path: PathBuf,
        bytes_max: u64,
        files_max: u32,
    },
    /// To the collector, with the other records of the log.
    Collector(Relay),
}

pub(super) struct Writer {
    output: Output,
    format: AccessLogFormat,
    waiting: Receiver<AccessRecord>,
    counts: Arc<Counts>,
    /// How many of the dropped lines a line has told.
    told: u64,
    failed: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        output: Output,
        format: AccessLogFormat,
        waiting: Receiver<AccessRecord>,
        counts: Arc<Counts>,
    ) -> Self {
        Self { output, format, waiting, counts, told: 0, failed: None }
    }

    /// Writes until the log is closed and empty.
    pub(super) fn run(mut self) {
        let pause = if matches!(self.output, Output::Collector(_)) { HAND_ON } else { GATHER };
        loop {
            // Read before the queue: what was put in before the end is written.
            let is_last = self.counts.is_closed.load(Ordering::Relaxed);
            while self.write_some() {}
            if is_last {
                return;
            }
            std::thread::park_timeout(pause);
        }
    }

    /// Writes a chunk of what waits; whether there may be more.
    fn write_some(&mut self) -> bool {
        if let Output::Collector(relay) = &self.output {
            hand_on(&self.waiting, relay, &self.counts);
            return false;
        }
        let mut text = String::new();
        let mut lines = 0;
        while text.len() < CHUNK_BYTES && lines < QUEUE_LINES_MAX as u64 {
            let Ok(record) = self.waiting.try_recv() else { break };
            line::write(&mut text, self.format, &record);
            lines += 1;
        }
        let dropped = self.counts.dropped.get();
        if dropped > self.told {
            line::write_dropped(&mut text, self.format, SystemTime::now(), dropped - self.told);
        }
        if text.is_empty() {
            return false;
        }
        match self.output.write(&text) {
            Ok(()) => {
                self.counts.written.add(lines);
                self.told = dropped;
            }
            Err(error) => {
                self.counts.dropped.add(lines);
                self.tell_failure(&error);
            }
        }
        lines > 0
    }

    fn tell_failure(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.failed.is_none_or(|failed| now.duration_since(failed) >= FAILURE_PAUSE) {
            self.failed = Some(now);
            tracing::warn!(target: "telemetry", %error, "the access log cannot be written; lines are lost");
        }
    }
}

/// Puts all that waits into the queue of the export.
fn hand_on(waiting: &Receiver<AccessRecord>, relay: &Relay, counts: &Counts) {
    for record in waiting.try_iter().take(QUEUE_LINES_MAX) {
        if relay.put(otlp::record(record)) {
            counts.written.increment();
        } else {
            counts.dropped.increment();
        }
    }
}

impl Output {
    /// Finds out at start whether it can be written to.
    pub(super) fn check(&self) -> Result<(), AccessLogError> {
        match self {
            Self::Stdout | Self::Stderr | Self::Collector(_) => Ok(()),
            Self::File { path, .. } => {
                open(path).map(drop).map_err(|source| AccessLogError::File { path: path.clone(), source })
            }
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(text.as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Self::File { path, bytes_max, files_max } => append(path, *bytes_max, *files_max, text),
            // It has no lines.
            Self::Collector(_) => Ok(()),
        }
    }
}

/// Appends whole lines, to a new file where the old one would grow too large.
fn append(path: &Path, bytes_max: u64, files_max: u32, text: &str) -> io::Result<()> {
    let mut file = open(path)?;
    let mut length = file.metadata()?.len();
    if length > 0 && length + text.len() as u64 > bytes_max {
        rotate(path, files_max)?;
        file = open(path)?;
        length = 0;
    }
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        // What did get there would run into the next line.
        let _ = file.set_len(length);
    }
    written
}

/// Opens a file to append to, readable for nobody else if it is new.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Moves each file to the next number and lets go of the oldest.
fn rotate(path: &Path, files_max: u32) -> io::Result<()> {
    let last = files_max.max(1) - 1;
    if last == 0 {
        return fs::remove_file(path);
    }
    for number in (0..last).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_full_gives_way_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        for number in 0..5 {
            append(&path, 12, 3, &format!("line {number}\n")).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("access.log").as_deref(), Some("line 4\n"));
        assert_eq!(read("access.log.1").as_deref(), Some("line 3\n"));
        assert_eq!(read("access.log.2").as_deref(), Some("line 2\n"));
        assert_eq!(read("access.log.3"), None);
    }

    #[test]
    fn with_one_file_only_it_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        append(&path, 12, 1, "first\n").unwrap();
        append(&path, 12, 1, "second\n").unwrap();
        append(&path, 12, 1, "third\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
