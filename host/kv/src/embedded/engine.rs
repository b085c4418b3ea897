//! The engine itself: fjall, with expiry, locks per key and flushing in the background.
//!
//! Two keyspaces share one journal, so one batch changes both atomically: `data` has the records, `expiry` has one
//! empty entry per written key that expires, sorted by when. A third one, `filler`, holds nothing that counts (see
//! `purge`).

use super::{
    EmbeddedOptions,
    batch::{Change, last_of_each_key},
    committer::Committer,
    directory::Directory,
    record,
    stripes::Stripes,
};
use crate::{Clock, Commit, Error, Partition, commit::Progress};
use bytes::Bytes;
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, LsmError, OwnedWriteBatch, Readable, Snapshot,
    config::PartitioningPolicy,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use waggle_measure::Histogram;

/// Entries of the expiry index are rounded up to this, so that a key written often has few of them.
const EXPIRY_BUCKET_MS: u64 = 60_000;

/// Bytes of journals that are kept because a keyspace with few writes has not been written to a table yet; beyond
/// that it is, so that opening the store stays quick.
const SEALED_JOURNALS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// One open engine. The order of the fields is the order in which they end: the committer flushes while the database
/// is there, and the lock on the directory goes last.
pub(super) struct Engine {
    _committer: Committer,
    flushes: Arc<Histogram>,
    progress: Arc<Progress>,
    pub(super) data: Keyspace,
    pub(super) expiry: Keyspace,
    /// What a purge fills the journal through.
    pub(super) filler: Keyspace,
    pub(super) database: Database,
    /// Held by the one purge that is under way.
    pub(super) purging: Mutex<()>,
    /// What was deleted up to this sequence number has left the files.
    pub(super) purged: AtomicU64,
    stripes: Stripes,
    clock: Arc<dyn Clock>,
    is_closed: AtomicBool,
    path: PathBuf,
    _directory: Directory,
}

impl Engine {
    pub(super) fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, Error> {
        let directory = Directory::open(path)?;
        let files = directory.engine_files();
        let (database, [data, expiry, filler]) = without_panic(&files, || open_database(&files, &options))?;
        directory.mark_ready()?;
        // What the engine has found in its journal is durable: it flushes the journal when it opens.
        let progress = Arc::new(Progress::new(database.visible_seqno()));
        let flushes = Arc::new(Histogram::default());
        let committer = Committer::start(&database, &files, &progress, options.before_flush, &flushes)?;
        Ok(Self {
            _committer: committer,
            flushes,
            progress,
            data,
            expiry,
            filler,
            database,
            purging: Mutex::default(),
            purged: AtomicU64::new(0),
            stripes: Stripes::new(),
            clock: options.clock,
            is_closed: AtomicBool::new(false),
            path: files,
            _directory: directory,
        })
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The value that a key has now.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.get_in(&self.database.snapshot(), key, self.now_ms())
    }

    /// The values of several keys at one moment.
    pub(super) fn get_many(
        &self,
        partition: &Partition,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let (snapshot, now_ms) = (self.database.snapshot(), self.now_ms());
        let mut full = partition.prefix().to_vec();
        let prefix_bytes = full.len();
        let read = |key: &String| {
            full.truncate(prefix_bytes);
            full.extend_from_slice(key.as_bytes());
            self.get_in(&snapshot, &full, now_ms)
        };
        keys.iter().map(read).collect()
    }

    fn get_in(&self, snapshot: &Snapshot, key: &[u8], now_ms: u64) -> Result<Option<Bytes>, Error> {
        let found = snapshot.get(&self.data, key).map_err(|error| self.error(error))?;
        let Some(record) = found else { return Ok(None) };
        let is_live = !record::is_expired(self.expires_ms(&record)?, now_ms);
        Ok(is_live.then(|| record::value(record.into())))
    }

    /// Calls `visit` with each live key from `start` on, in order, until it says `false`, the range `start..end` is
    /// through, or `records_max` records were looked at. Returns the last key looked at in the latter case.
    pub(super) fn walk(
        &self,
        start: Vec<u8>,
        end: Vec<u8>,
        records_max: usize,
        mut visit: impl FnMut(&[u8]) -> Result<bool, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let now_ms = self.now_ms();
        let snapshot = self.database.snapshot();
        for (seen, entry) in snapshot.range(&self.data, start..end).enumerate() {
            let (key, record) = entry.into_inner().map_err(|error| self.error(error))?;
            let is_live = !record::is_expired(self.expires_ms(&record)?, now_ms);
            if is_live && !visit(&key)? {
                return Ok(None);
            }
            if seen + 1 == records_max {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(None)
    }

    /// Applies one change.
    pub(super) fn write_one(&self, change: Change) -> Result<Commit, Error> {
        let _guard = self.stripes.lock(&change.key);
        self.apply([change].into_iter())
    }

    /// Applies several changes in one atomic batch; of several to one key the last counts.
    pub(super) fn write_all(&self, changes: Vec<Change>) -> Result<Commit, Error> {
        if changes.is_empty() {
            return self.check_open().map(|()| self.applied());
        }
        let _guards = self.stripes.lock_all(changes.iter().map(|change| change.key.as_ref()));
        self.apply(last_of_each_key(changes).into_iter())
    }

    /// Reads a key and applies what `decide` makes of its value, with no other write of that key in between.
    pub(super) fn update<T>(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<Bytes>) -> Result<(T, Option<Change>), Error>,
    ) -> Result<(T, Option<Commit>), Error> {
        let _guard = self.stripes.lock(key);
        self.check_open()?;
        let (result, change) = decide(self.get(key)?)?;
        let commit = change.map(|change| self.apply([change].into_iter())).transpose()?;
        Ok((result, commit))
    }

    /// Reads some keys at one moment and applies what `decide` makes of their values in one batch, with no other write of
    /// any of them in between.
    pub(super) fn update_many<T>(
        &self,
        keys: &[Bytes],
        decide: impl FnOnce(Vec<Option<Bytes>>) -> Result<(T, Vec<Change>), Error>,
    ) -> Result<(T, Commit), Error> {
        let _guards = self.stripes.lock_all(keys.iter().map(AsRef::as_ref));
        self.check_open()?;
        let (snapshot, now_ms) = (self.database.snapshot(), self.now_ms());
        let found = keys.iter().map(|key| self.get_in(&snapshot, key, now_ms)).collect::<Result<_, _>>()?;
        let (result, changes) = decide(found)?;
        if changes.is_empty() {
            return Ok((result, self.applied()));
        }
        Ok((result, self.apply(last_of_each_key(changes).into_iter())?))
    }

    /// Applies the changes in one batch if each key of `expected` has that value now, with no other write of any of
    /// these keys in between.
    pub(super) fn swap_all(
        &self,
        expected: Vec<(Bytes, Option<Bytes>)>,
        changes: Vec<Change>,
    ) -> Result<Option<Commit>, Error> {
        let keys = expected.iter().map(|(key, _)| key).chain(changes.iter().map(|change| &change.key));
        let _guards = self.stripes.lock_all(keys.map(AsRef::as_ref));
        self.check_open()?;
        let (snapshot, now_ms) = (self.database.snapshot(), self.now_ms());
        for (key, value) in &expected {
            if self.get_in(&snapshot, key, now_ms)? != *value {
                return Ok(None);
            }
        }
        if changes.is_empty() {
            return Ok(Some(self.applied()));
        }
        self.apply(last_of_each_key(changes).into_iter()).map(Some)
    }

    /// Removes entries of the expiry index, whatever they stand for.
    pub(super) fn remove_expiry_entries(&self, entries: &[Bytes]) -> Result<(), Error> {
        self.check_open()?;
        let mut batch = self.batch();
        entries.iter().for_each(|entry| batch.remove(&self.expiry, entry.clone()));
        // Whoever erases waits for all of it at the end.
        let _ = self.commit(batch)?;
        Ok(())
    }

    /// How long its flushes took.
    pub(super) fn flushes(&self) -> &Arc<Histogram> {
        &self.flushes
    }

    /// Where the engine's files are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes up to `entries_max` keys whose entry in the expiry index is due, from bucket `from_ms` on. Returns how
    /// many entries were due, how many keys were deleted, and the bucket of the last.
    pub(super) fn delete_expired(&self, from_ms: u64, entries_max: usize) -> Result<Expired, Error> {
        let now_ms = self.now_ms();
        let (start, end) = (from_ms.to_be_bytes().to_vec(), now_ms.saturating_add(1).to_be_bytes().to_vec());
        if start >= end {
            return Ok(Expired::default());
        }
        let snapshot = self.database.snapshot();
        let mut due = Vec::new();
        for entry in snapshot.range(&self.expiry, start..end).take(entries_max) {
            due.push(Bytes::from(entry.key().map_err(|error| self.error(error))?));
        }
        drop(snapshot);
        let mut expired = Expired { entries: due.len(), ..Expired::default() };
        let keys = due.iter().filter_map(|entry| entry.get(8..));
        let _guards = self.stripes.lock_all(keys);
        self.check_open()?;
        let mut batch = self.batch();
        for entry in due {
            expired.last_bucket_ms = record::expires_ms(&entry).unwrap_or(0);
            let key = entry.slice(8..);
            // The key may have been deleted or written again since; then only the entry of the index goes.
            let found = self.data.get(&key).map_err(|error| self.error(error))?;
            if let Some(record) = found
                && record::is_expired(self.expires_ms(&record)?, now_ms)
            {
                batch.remove(&self.data, key);
                expired.keys += 1;
            }
            batch.remove(&self.expiry, entry);
        }
        if expired.entries > 0 {
            // Nobody waits for it: a sweep that is lost in a power cut is done again.
            let _: Commit = self.commit(batch)?;
        }
        Ok(expired)
    }

    /// Covers every write that a read may have seen.
    pub(super) fn applied(&self) -> Commit {
        Commit::pending(self.progress.clone(), self.database.visible_seqno())
    }

    /// Takes no more writes. When this returns, those that were under way have been applied.
    pub(super) fn refuse_writes(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.wait_for_writers();
    }

    /// Returns when every write that was under way has been applied.
    pub(super) fn wait_for_writers(&self) {
        self.stripes.wait_for_all();
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.progress.check()
    }

    /// The locks of the keys must be held.
    fn apply(&self, changes: impl Iterator<Item = Change>) -> Result<Commit, Error> {
        self.check_open()?;
        let mut batch = self.batch();
        for Change { key, put } in changes {
            let Some(put) = put else {
                batch.remove(&self.data, key);
                continue;
            };
            if put.expires_ms != record::NEVER {
                batch.insert(&self.expiry, expiry_entry(put.expires_ms, &key), Bytes::new());
            }
            batch.insert(&self.data, key, put.record);
        }
        self.commit(batch)
    }

    /// A batch. Committed, it is visible and has its place among the writes, in the journal's buffer; the committer takes it
    /// from there. (Left to itself, a batch hands the buffer to the operating system each time.)
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(None)
    }

    pub(super) fn commit(&self, batch: OwnedWriteBatch) -> Result<Commit, Error> {
        batch.commit().map_err(|error| self.error(error))?;
        let commit = self.applied();
        self.progress.applied();
        Ok(commit)
    }

    pub(super) fn expires_ms(&self, record: &[u8]) -> Result<u64, Error> {
        record::expires_ms(record).ok_or_else(|| self.damaged("a value is shorter than its header"))
    }

    pub(super) fn damaged(&self, reason: &str) -> Error {
        Error::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }

    pub(super) fn error(&self, error: fjall::Error) -> Error {
        engine_error(&self.path, error)
    }
}

/// What one batch of a sweep found.
#[derive(Default)]
pub(super) struct Expired {
    pub(super) entries: usize,
    pub(super) keys: usize,
    pub(super) last_bucket_ms: u64,
}

/// The key in the expiry index: the time, rounded up and big-endian so that it sorts, then the key.
fn expiry_entry(expires_ms: u64, key: &[u8]) -> Bytes {
    let bucket_ms = expires_ms.div_ceil(EXPIRY_BUCKET_MS).saturating_mul(EXPIRY_BUCKET_MS);
    record::encode(bucket_ms, key)
}

fn open_database(files: &Path, options: &EmbeddedOptions) -> Result<(Database, [Keyspace; 3]), Error> {
    let error = |error| engine_error(files, error);
    let builder = Database::builder(files)
        .cache_size(options.cache_bytes)
        .max_journaling_size(SEALED_JOURNALS_BYTES_MAX);
    let database = builder.open().map_err(error)?;
    let settings = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(options.memtable_bytes)
            .index_block_partitioning_policy(parts_below_the_first_level())
            .filter_block_partitioning_policy(parts_below_the_first_level())
    };
    let data = database.keyspace("data", settings).map_err(error)?;
    let expiry = database.keyspace("expiry", settings).map_err(error)?;
    let filler = database.keyspace("filler", settings).map_err(error)?;
    Ok((database, [data, expiry, filler]))
}

/// Index and filter of a table are read in parts of 4 KiB, but for the first level, where they stay in memory. The engine's
/// default keeps those of the next two levels whole: 1.4 MB for a table of 64 MB, read again for each key once the cache
/// does not hold them all, which is from some gigabytes on.
fn parts_below_the_first_level() -> PartitioningPolicy {
    PartitioningPolicy::new([false, true])
}

/// The engine panics over some files that do not hold what they should; for the host that is an error like others.
fn without_panic<T>(path: &Path, open: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(open));
    outcome.unwrap_or_else(|_| {
        Err(Error::Damaged {
            path: path.to_path_buf(),
            reason: "the engine cannot make sense of its files".into(),
        })
    })
}

/// Says in our words what the engine reports.
fn engine_error(path: &Path, error: fjall::Error) -> Error {
    let damaged = |reason: String| Error::Damaged { path: path.to_path_buf(), reason };
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(LsmError::Io(source)) => match source.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                damaged(format!("a file ends early or holds something else: {source}"))
            }
            _ => Error::io(path, source),
        },
        fjall::Error::Locked => Error::Locked { path: path.to_path_buf(), holder: None },
        fjall::Error::Poisoned => Error::Poisoned { reason: "the engine could not write a file".into() },
        fjall::Error::InvalidVersion(found) => damaged(format!("the engine's version file says {found:?}")),
        other => damaged(other.to_string()),
    }
}
