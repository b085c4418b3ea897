//! What a tenant's functions print, in files of its own: `FOLDER/TENANT.jsonl`, one JSON object per line.
//!
//! ```text
//! {"time":"2026-01-02T03:04:05.678Z","tenant":"bank","function":"chat","instance":7,"request":"r-1","stream":"stdout","line":"hello"}
//! ```
//!
//! `request` is null where it is not known. A line with `dropped` and `reason` in place of `line` says how many are missing
//! there. A file that would grow over its bound becomes `TENANT.jsonl.1`, and so on.
//!
//! Nobody who logs waits for the disk: lines go through a queue with a bound, for each tenant and for all, to one thread.
//! It writes within a second; what it cannot write is counted and told, in the file when that is possible again.

mod queue;
mod record;
mod writer;

pub(crate) use record::{Content, Record, push_string};

use crate::function_log::{LogSource, LogStream};
use queue::{Job, Queue};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use writer::Writer;

/// The most bytes of one tenant that wait to be written, so that none takes the room of the others.
const TENANT_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the process waits for what is not written yet, milliseconds.
const CLOSE_WAIT_MS_MAX: u64 = 5_000;
/// How long [`TenantLogFiles::remove`] and [`TenantLogFiles::flush`] wait for the disk, milliseconds.
const ANSWER_WAIT_MS_MAX: u64 = 10_000;
/// A tenant's id is part of a file's name; it is no longer than this.
const TENANT_BYTES_MAX: usize = 64;

/// How much is kept of a tenant's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFileSizes {
    /// Bytes of a file. A single line that is longer has a file to itself.
    pub bytes_max: u64,
    /// Files of a tenant, the one that is written to included; at least 1.
    pub files_max: u32,
}

impl Default for LogFileSizes {
    fn default() -> Self {
        Self { bytes_max: 64 * 1024 * 1024, files_max: 2 }
    }
}

/// Why there are no log files.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    #[error("the folder of the tenants' log files, {}, cannot be made: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("the thread that writes the tenants' log files cannot be started: {0}")]
    Thread(io::Error),
    #[error("{tenant:?} is no tenant id, so it has no log file")]
    Tenant { tenant: String },
    #[error("the log files of {tenant} cannot be removed: {source}")]
    Remove { tenant: String, source: io::Error },
}

/// The log files of all tenants. Dropping it writes what is not written yet, and what is logged later is lost: it goes
/// last, after the functions.
pub struct TenantLogFiles {
    folder: PathBuf,
    queue: Arc<Queue>,
    /// The files somebody logs to, so that all functions of a tenant share one.
    files: Mutex<HashMap<Arc<str>, Weak<TenantLogFile>>>,
}

/// The log file of one tenant, for [`FunctionLog::with_file`](crate::FunctionLog::with_file).
pub struct TenantLogFile {
    tenant: Arc<str>,
    queue: Arc<Queue>,
    queued_bytes: AtomicUsize,
    /// Lines that were not written, and nobody was told yet.
    lost: AtomicU64,
    /// The tenant's files have been deleted: what still comes is not written.
    removed: AtomicBool,
}

impl TenantLogFiles {
    /// Files below `folder`, which is made if it is absent, of the default sizes.
    ///
    /// # Errors
    /// When the folder cannot be made or the thread that writes cannot be started.
    pub fn new(folder: PathBuf) -> Result<Arc<Self>, LogFileError> {
        Self::with_sizes(folder, LogFileSizes::default())
    }

    /// Files below `folder` of these sizes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_sizes(folder: PathBuf, sizes: LogFileSizes) -> Result<Arc<Self>, LogFileError> {
        make_folder(&folder).map_err(|source| LogFileError::Folder { path: folder.clone(), source })?;
        let queue = Arc::new(Queue::default());
        let writer = Writer { folder: folder.clone(), sizes, failed: None };
        let theirs = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("tenant-logs".to_owned())
            .spawn(move || writer.run(&theirs))
            .map_err(LogFileError::Thread)?;
        Ok(Arc::new(Self { folder, queue, files: Mutex::default() }))
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a tenant: the same for all who ask while somebody holds it. It comes into being with its first line.
    ///
    /// # Errors
    /// When `tenant` is not 1 to 64 of `a-z 0-9 - _`, which is what a file's name is made of here.
    pub fn file(&self, tenant: &str) -> Result<Arc<TenantLogFile>, LogFileError> {
        check_tenant(tenant)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(tenant).and_then(Weak::upgrade) {
            return Ok(file);
        }
        if files.len() == files.capacity() {
            // Before the map grows: those that nobody holds any more need no room.
            files.retain(|_, file| file.strong_count() > 0);
        }
        let file = Arc::new(TenantLogFile {
            tenant: tenant.into(),
            queue: Arc::clone(&self.queue),
            queued_bytes: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            removed: AtomicBool::new(false),
        });
        files.insert(Arc::clone(&file.tenant), Arc::downgrade(&file));
        Ok(file)
    }

    /// Deletes all files of a tenant and says how many there were. What is logged by those who still hold
    /// [`Self::file`]'s is dropped from now on; whoever asks for it anew begins a new file. Blocks for as long as the disk
    /// takes, ten seconds at most.
    ///
    /// # Errors
    /// When a file cannot be deleted, or not in time.
    pub fn remove(&self, tenant: &str) -> Result<usize, LogFileError> {
        check_tenant(tenant)?;
        let file = self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        if let Some(file) = file.and_then(|file| file.upgrade()) {
            file.removed.store(true, Ordering::Release);
        }
        let (sender, answer) = sync_channel(1);
        let asked = self.queue.push_urgent(Job::Remove(tenant.into(), sender));
        answer_of(asked, &answer)
            .and_then(|removed| removed)
            .map_err(|source| LogFileError::Remove { tenant: tenant.to_owned(), source })
    }

    /// Waits until all that was logged before is written; ten seconds at most. Whether it is.
    #[must_use]
    pub fn flush(&self) -> bool {
        let (sender, answer) = sync_channel(1);
        let asked = self.queue.push_urgent(Job::Flush(sender));
        answer_of(asked, &answer).is_ok()
    }
}

impl Drop for TenantLogFiles {
    fn drop(&mut self) {
        self.queue.close(Duration::from_millis(CLOSE_WAIT_MS_MAX));
    }
}

impl TenantLogFile {
    /// Hands a record to the thread that writes, or counts it as lost.
    pub(crate) fn log(
        self: &Arc<Self>,
        source: &LogSource,
        stream: LogStream,
        request: Option<Arc<str>>,
        content: Content,
    ) {
        if self.removed.load(Ordering::Acquire) {
            return;
        }
        let record = Record {
            file: Arc::clone(self),
            time: SystemTime::now(),
            function: Arc::clone(&source.function),
            instance: source.instance,
            request,
            stream,
            content,
        };
        let bytes = record.bytes();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > TENANT_QUEUE_BYTES_MAX
            || !self.queue.push(record)
        {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn answer_of<T>(asked: bool, answer: &Receiver<T>) -> io::Result<T> {
    if !asked {
        return Err(io::Error::other("the log files are closed"));
    }
    let patience = Duration::from_millis(ANSWER_WAIT_MS_MAX);
    answer.recv_timeout(patience).map_err(|_| io::Error::other("the disk does not answer"))
}

fn check_tenant(tenant: &str) -> Result<(), LogFileError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if (1..=TENANT_BYTES_MAX).contains(&tenant.len()) && tenant.bytes().all(allowed) {
        return Ok(());
    }
    Err(LogFileError::Tenant { tenant: tenant.to_owned() })
}

/// Makes the folder, readable for nobody else if it is new.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

impl std::fmt::Debug for TenantLogFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantLogFile").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
