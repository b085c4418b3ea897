//! Has deleted values leave the engine's files.
//!
//! A deleted value stays in the journal until the engine begins a new one, and in its table until the table is merged
//! with the one that says it is deleted. So a purge has the engine begin a new journal, which it does when it flushes
//! after 64 MB were written to the old one; flushes what is in memory, which lets the old journals go; and merges all
//! tables into new ones. It has succeeded when none of the journals and tables that could hold such a value is left.

use super::{
    committer::{journal_number, newest_journal},
    engine::Engine,
    record,
};
use crate::{Error, Partition};
use bytes::Bytes;
use fjall::{AbstractTree, Keyspace};
use std::{
    collections::HashSet,
    fs,
    sync::{PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

/// Bytes of one write that only serves to fill the journal.
const FILLER_BYTES: usize = 1024 * 1024;
/// Such writes that surely fill a journal: the engine begins a new one behind 64,000,000 bytes.
const FILLERS: usize = 62;
/// Where the fillers and markers are in the host's own part of the store.
const MARKER_LABEL: &str = "purge";
const POLL_MS: u64 = 5;
/// How long the engine may take to let go of old files, beside the time for merging.
const PURGE_WAIT_MS_MAX: u64 = 60_000;
const TABLES_DIRECTORY: &str = "tables";

impl Engine {
    /// Returns when nothing that was deleted before the call is in a file any more. Calls at the same time share the
    /// work. Blocks.
    pub(super) fn purge(&self) -> Result<(), Error> {
        let wanted = self.database.visible_seqno();
        // The lock guards the work, not data, so a panic of an earlier holder leaves nothing inconsistent.
        let _one_at_a_time = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        if self.purged.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let deleted = self.database.visible_seqno();
        self.begin_new_journal(deleted)?;
        self.merge_tables()?;
        self.purged.store(deleted, Ordering::Release);
        Ok(())
    }

    /// Leaves the journals behind, with all that is deleted by `deleted` written to tables and seen by nobody.
    fn begin_new_journal(&self, deleted: u64) -> Result<(), Error> {
        let io = |source| Error::io(self.path(), source);
        let old = newest_journal(self.path()).map_err(io)?;
        let filler = Bytes::from(vec![0; FILLER_BYTES]);
        for _ in 0..FILLERS {
            self.write_marker(&self.filler, &filler)?;
        }
        self.poll("an old journal is still there", || {
            let is_flushed = |keyspace: &Keyspace| {
                keyspace.tree.get_highest_persisted_seqno().is_some_and(|at| at >= deleted)
            };
            // What somebody still reads as it was before would survive the merge.
            let is_unseen = self.database.supervisor.snapshot_tracker.get_seqno_safe_to_gc() >= deleted;
            let has_old =
                self.numbers_in(self.path(), journal_number)?.into_iter().any(|number| number <= old);
            Ok(is_unseen && !has_old && is_flushed(&self.data) && is_flushed(&self.expiry))
        })
    }

    /// Merges all tables into new ones and waits until the old ones are gone.
    fn merge_tables(&self) -> Result<(), Error> {
        let keyspaces = [&self.data, &self.expiry, &self.filler];
        let merged = keyspaces.map(table_ids);
        for keyspace in keyspaces {
            self.check_open()?;
            keyspace.major_compact().map_err(|error| self.error(error))?;
        }
        self.poll("an old table is still there", || {
            for (keyspace, merged) in keyspaces.iter().zip(&merged) {
                let newest = merged.iter().max().copied().unwrap_or(0);
                let current = table_ids(keyspace);
                let directory = keyspace.path().join(TABLES_DIRECTORY);
                let number = |path: &std::path::Path| path.file_name()?.to_str()?.parse().ok();
                // A table that is being written has a number but is not one of the current ones yet.
                let is_old = |id: &u64| merged.contains(id) || (*id <= newest && !current.contains(id));
                if self.numbers_in(&directory, number)?.iter().any(is_old) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Waits for a condition. Each time it is not met, every keyspace is flushed, which is when the engine looks for
    /// files that it no longer needs.
    fn poll(&self, reason: &'static str, is_met: impl Fn() -> Result<bool, Error>) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_millis(PURGE_WAIT_MS_MAX);
        let mut pause_ms = POLL_MS;
        loop {
            // Something must be there to be flushed, and it must be a value: the engine forgets how far it has
            // flushed when it drops the last deletion.
            for keyspace in [&self.filler, &self.data, &self.expiry] {
                self.write_marker(keyspace, &Bytes::new())?;
                keyspace.rotate_memtable().map_err(|error| self.error(error))?;
            }
            let next = Instant::now() + Duration::from_millis(pause_ms);
            pause_ms *= 2;
            loop {
                if is_met()? {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    return Err(Error::NotPurged { path: self.path().to_path_buf(), reason });
                }
                self.check_open()?;
                thread::sleep(Duration::from_millis(POLL_MS));
                if Instant::now() >= next {
                    break;
                }
            }
        }
    }

    /// Sets one key that is no tenant's, in the form that the keyspace has.
    fn write_marker(&self, keyspace: &Keyspace, value: &Bytes) -> Result<(), Error> {
        let marker = Partition::host(MARKER_LABEL)?.full_key("");
        let mut batch = self.batch();
        if keyspace.name() == self.expiry.name() {
            // In a bucket that never comes.
            batch.insert(keyspace, record::encode(u64::MAX, &marker), Bytes::new());
        } else if keyspace.name() == self.data.name() {
            batch.insert(keyspace, marker, record::encode(record::NEVER, value));
        } else {
            batch.insert(keyspace, marker, value.clone());
        }
        self.check_open()?;
        // Nobody reads it.
        let _ = self.commit(batch)?;
        Ok(())
    }

    fn numbers_in(
        &self,
        directory: &std::path::Path,
        number: impl Fn(&std::path::Path) -> Option<u64>,
    ) -> Result<Vec<u64>, Error> {
        let listed = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>());
        let paths = listed.map_err(|source| Error::io(directory, source))?;
        Ok(paths.iter().filter_map(|path| number(path)).collect())
    }
}

/// The tables that make up a keyspace at this moment.
fn table_ids(keyspace: &Keyspace) -> HashSet<u64> {
    keyspace.tree.current_version().iter_tables().map(|table| table.id()).collect()
}
