//! The thread that writes the files. It keeps none open between two batches: so there is no bound on tenants, and a file
//! that somebody moves or deletes is simply begun anew.

use super::queue::{Job, Queue};
use super::record::{self, Record};
use super::{LogFileSizes, TenantLogFile};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// The end of a file's name, after the tenant's id and before the number of an older file.
const EXTENSION: &str = ".jsonl";

/// How often a failing disk is told of.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Writer {
    pub(super) folder: PathBuf,
    pub(super) sizes: LogFileSizes,
    /// When the log was last told that a file cannot be written.
    pub(super) failed: Option<Instant>,
}

/// What is to be written for one tenant.
type Batch = HashMap<Arc<str>, (Arc<TenantLogFile>, Vec<Record>)>;

impl Writer {
    /// Writes until the queue is closed.
    pub(super) fn run(mut self, queue: &Queue) {
        while let Some(jobs) = queue.take() {
            let mut batch = Batch::new();
            for job in jobs {
                match job {
                    Job::Write(record) => self.add(&mut batch, record),
                    Job::Remove(tenant, done) => {
                        batch.remove(&tenant);
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(remove(&self.folder, &tenant));
                    }
                    Job::Flush(done) => {
                        self.write(std::mem::take(&mut batch));
                        let _ = done.send(());
                    }
                }
            }
            self.write(batch);
        }
        queue.end();
    }

    fn add(&self, batch: &mut Batch, record: Record) {
        let file = Arc::clone(&record.file);
        file.queued_bytes.fetch_sub(record.bytes(), Ordering::Relaxed);
        if !file.removed.load(Ordering::Acquire) {
            let tenant = Arc::clone(&file.tenant);
            batch.entry(tenant).or_insert_with(|| (file, Vec::new())).1.push(record);
        }
    }

    fn write(&mut self, batch: Batch) {
        for (file, records) in batch.into_values() {
            let lost_before = file.lost.swap(0, Ordering::Relaxed);
            let written = append(&self.folder, self.sizes, &file.tenant, &records, lost_before);
            if let Err((error, unwritten)) = written {
                file.lost.fetch_add(unwritten, Ordering::Relaxed);
                self.tell_failure(&file.tenant, &error);
            }
        }
    }

    fn tell_failure(&mut self, tenant: &str, error: &io::Error) {
        let now = Instant::now();
        if self.failed.is_none_or(|failed| now.duration_since(failed) >= FAILURE_PAUSE) {
            self.failed = Some(now);
            let path = path(&self.folder, tenant, 0);
            tracing::warn!(path = %path.display(), %error, "the log file of a tenant cannot be written; lines are lost");
        }
    }
}

/// Appends records to the tenant's file, and begins a new one where it would grow too large.
///
/// # Errors
/// With the number of lines that are not in the file.
fn append(
    folder: &Path,
    sizes: LogFileSizes,
    tenant: &str,
    records: &[Record],
    lost: u64,
) -> Result<(), (io::Error, u64)> {
    let mut unwritten = records.len() as u64 + lost;
    let mut text = String::new();
    if lost > 0 {
        record::write_lost(&mut text, SystemTime::now(), tenant, lost);
    }
    let failed = |unwritten| move |error| (error, unwritten);
    let mut open = Open::new(folder, tenant).map_err(failed(unwritten))?;
    let mut complete = text.len();
    let mut count = lost;
    for record in records {
        record.write(&mut text);
        let before = open.length + complete as u64;
        if before > 0 && open.length + text.len() as u64 > sizes.bytes_max {
            open.append(text.get(..complete).unwrap_or_default()).map_err(failed(unwritten))?;
            unwritten -= count;
            rotate(folder, tenant, sizes.files_max).map_err(failed(unwritten))?;
            open = Open::new(folder, tenant).map_err(failed(unwritten))?;
            text.drain(..complete);
            count = 0;
        }
        complete = text.len();
        count += 1;
    }
    open.append(&text).map_err(failed(unwritten))
}

/// A file that is being appended to.
struct Open {
    file: File,
    length: u64,
}

impl Open {
    /// Opens the newest file of a tenant, readable for nobody else, and mends a line that a crash has left without an end.
    fn new(folder: &Path, tenant: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path(folder, tenant, 0))?;
        let length = file.metadata()?.len();
        let mut open = Self { file: file.try_clone()?, length };
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                open.append("\n")?;
            }
        }
        Ok(open)
    }

    /// Appends all of `text` or nothing.
    fn append(&mut self, text: &str) -> io::Result<()> {
        let written = self.file.write_all(text.as_bytes());
        match written {
            Ok(()) => self.length += text.len() as u64,
            // What did get there would run into the next line. If it cannot be taken back, `new` will mend it.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }
}

/// Moves each file to the next number and lets go of the oldest, so that `files_max - 1` are left and none is number 0.
fn rotate(folder: &Path, tenant: &str, files_max: u32) -> io::Result<()> {
    let last = files_max.max(1) - 1;
    if last == 0 {
        return absent_is_fine(fs::remove_file(path(folder, tenant, 0)));
    }
    for number in (0..last).rev() {
        absent_is_fine(fs::rename(path(folder, tenant, number), path(folder, tenant, number + 1)))?;
    }
    Ok(())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Deletes all files of a tenant, also those of a time when more of them were kept.
fn remove(folder: &Path, tenant: &str) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| belongs_to(name, tenant)) {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a file is one of the tenant's: `bank.jsonl`, `bank.jsonl.1`.
fn belongs_to(name: &str, tenant: &str) -> bool {
    let number = name.strip_prefix(tenant).and_then(|rest| rest.strip_prefix(EXTENSION));
    match number.map(|number| number.strip_prefix('.').ok_or(number)) {
        Some(Ok(number)) => !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        Some(Err(rest)) => rest.is_empty(),
        None => false,
    }
}

fn path(folder: &Path, tenant: &str, number: u32) -> PathBuf {
    match number {
        0 => folder.join(format!("{tenant}{EXTENSION}")),
        _ => folder.join(format!("{tenant}{EXTENSION}.{number}")),
    }
}
