//! One index in memory. Changes are made one after another under a lock that is held for as long as it takes to append to
//! the log and to note what has changed; words are segmented before, and the device is waited for after. Searches and reads
//! use the snapshot that is current when they begin, and take no lock.
//!
//! Everything here blocks its thread: callers see to it that it is one for that.

use super::durable::Durability;
use super::log::{Log, Position};
use super::operation::{self, Records};
use super::part::{Content, Part, units};
use super::snapshot::{Files, Snapshot};
use super::state::State;
use crate::bounds::check_dimensions;
use crate::{Attribute, Chunk, Description, EmbeddedConfig, Group, VectorError, metrics::Metrics};
use arc_swap::ArcSwap;
use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

/// Parts of an index; over it, whoever stages chunks helps to merge.
const PARTS_MAX: usize = 48;

/// See the head of this file.
pub(crate) struct Loaded {
    pub(crate) folder: PathBuf,
    pub(crate) config: Arc<EmbeddedConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
    /// One checkpoint or compaction at a time.
    pub(crate) upkeep: Mutex<()>,
    /// Told with the writer's lock when a merge has ended.
    pub(crate) merged: Condvar,
    /// Whether it waits for the keeper already, to be looked at soon, and when it rests.
    pub(crate) is_queued: AtomicBool,
    pub(crate) is_resting: AtomicBool,
    /// [`super::state::View::deaths`] when it was last counted in which parts they were.
    pub(crate) counted_deaths: AtomicU64,
    memory_bytes: AtomicU64,
}

/// What only one at a time may change.
pub(crate) struct Writer {
    pub(crate) state: State,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) files: Arc<Files>,
    pub(crate) log: Log,
    /// The greatest number of a part's file, and those that no checkpoint names yet.
    segment: u64,
    pub(crate) new_segments: Vec<u64>,
    /// Merges that are under way.
    pub(crate) merging: usize,
    /// Bytes that were appended since the last checkpoint.
    pub(crate) appended_bytes: u64,
    pub(crate) changed_at: Instant,
    /// Set when the index is removed: there are no more changes.
    pub(crate) is_closed: bool,
}

impl Writer {
    /// Of an index that was opened: `position` is where its log ends, `checkpoint` up to where it need not be replayed.
    pub(crate) fn new(
        state: State,
        parts: Vec<Arc<Part>>,
        files: Arc<Files>,
        log: Log,
        segment: u64,
        checkpoint: Position,
    ) -> Self {
        let end = log.position();
        let begins = if checkpoint.file == end.file { checkpoint.offset } else { 0 };
        let appended_bytes = end.offset.saturating_sub(begins);
        Self {
            state,
            parts,
            files,
            log,
            segment,
            new_segments: Vec::new(),
            merging: 0,
            appended_bytes,
            changed_at: Instant::now(),
            is_closed: false,
        }
    }

    /// A number for a part's file that no other of this process has: not even of an index of the same name that was removed,
    /// whose last merge may still be going on.
    pub(crate) fn new_segment(&mut self) -> u64 {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        NUMBERS.fetch_max(self.segment, Ordering::Relaxed);
        self.segment = NUMBERS.fetch_add(1, Ordering::Relaxed) + 1;
        self.new_segments.push(self.segment);
        self.segment
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { view: self.state.view.clone(), parts: self.parts.clone(), files: Arc::clone(&self.files) }
    }

    /// Appends to the log, to a new file of it if need be.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<super::log::Appended, VectorError> {
        self.roll(false)?;
        let appended = self.log.append(payload)?;
        self.appended_bytes += payload.len() as u64;
        self.changed_at = Instant::now();
        Ok(appended)
    }

    pub(crate) fn roll(&mut self, now: bool) -> Result<(), VectorError> {
        if let Some((number, file)) = self.log.roll(now)? {
            Arc::make_mut(&mut self.files).insert(number, file);
        }
        Ok(())
    }
}

impl Loaded {
    pub(crate) fn new(
        folder: PathBuf,
        config: Arc<EmbeddedConfig>,
        metrics: Arc<Metrics>,
        writer: Writer,
    ) -> Self {
        let durability = Arc::clone(&writer.log.durability);
        let loaded = Self {
            folder,
            config,
            metrics,
            durability,
            snapshot: ArcSwap::from_pointee(writer.snapshot()),
            writer: Mutex::new(writer),
            upkeep: Mutex::new(()),
            merged: Condvar::new(),
            is_queued: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
            counted_deaths: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
        };
        loaded.show(&loaded.writer());
        loaded
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches that begin from now on see what the writer has.
    pub(crate) fn show(&self, writer: &Writer) {
        let snapshot = writer.snapshot();
        self.memory_bytes.store(snapshot.memory_bytes(), Ordering::Relaxed);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Bytes in memory, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn describe(&self) -> Description {
        self.snapshot.load().view.described()
    }

    pub(crate) fn staged(&self, group: &str, version: u64) -> u32 {
        self.writer().state.staged_count(group, version)
    }

    pub(crate) fn list_groups(&self, after: Option<&str>, limit: u32) -> Vec<Group> {
        self.writer().state.list(after, limit)
    }

    pub(crate) fn read(&self, group: &str, start: u32, count: u32) -> Result<Vec<Chunk>, VectorError> {
        let (published, snapshot) = {
            let writer = self.writer();
            (writer.state.published(group)?.clone(), self.snapshot.load_full())
        };
        snapshot.read_group(&published, start, count)
    }

    /// There are no more changes, and nothing is written to its folder but what a merge leaves there. Blocks until a
    /// checkpoint that is being written is.
    pub(crate) fn close(&self) {
        let _alone = self.alone();
        self.writer().is_closed = true;
    }

    /// Whether it takes changes, for the one who holds the lock.
    fn open(&self) -> Result<MutexGuard<'_, Writer>, VectorError> {
        let writer = self.writer();
        if writer.is_closed { Err(VectorError::NoSuchIndex) } else { Ok(writer) }
    }

    /// Makes what is to be staged searchable, before the lock is taken: the costly part of staging.
    pub(crate) fn prepare(&self, chunks: &[Chunk]) -> Result<Prepared, VectorError> {
        let settings = self.snapshot.load().view.settings;
        for chunk in chunks {
            if let Some(vector) = &chunk.vector {
                check_dimensions(&format!("chunk {}", chunk.ordinal), vector, settings)?;
            }
        }
        let units = units(chunks);
        let mut records = Records::default();
        for (chunk, unit) in chunks.iter().zip(&units) {
            records.push(chunk, unit.as_deref());
        }
        let content = Content::build(chunks, &units, settings.dimensions, &self.config)?;
        Ok(Prepared { records, content })
    }

    /// Stages what was prepared. Returns the number of the change, to be waited for.
    pub(crate) fn stage(&self, group: &str, version: u64, prepared: Prepared) -> Result<u64, VectorError> {
        if self.snapshot.load().parts.len() >= PARTS_MAX {
            self.merge_step(false)?;
        }
        let Prepared { records, content } = prepared;
        let mut writer = self.open()?;
        writer.state.check_stage(group, version)?;
        if records.is_empty() {
            return Ok(self.durability.last());
        }
        let (payload, begins) = records.staging(group, version);
        let appended = writer.append(&payload)?;
        let located = records.located(appended.file, appended.offset + begins);
        let slots = writer.state.stage(group, version, &located);
        let number = writer.state.names.get(group).copied().unwrap_or(super::state::NO_GROUP);
        let groups = vec![number; slots.len()];
        writer.parts.push(Arc::new(Part::new(content, slots, groups)));
        self.show(&writer);
        Ok(appended.sequence)
    }

    /// Publishes a version. Returns the number of the change.
    pub(crate) fn publish(
        &self,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: &[Attribute],
    ) -> Result<u64, VectorError> {
        let mut writer = self.open()?;
        let is_published = writer.state.check_publish(group, version, chunks)?;
        if is_published && writer.state.published(group).is_ok_and(|now| *now.attributes == *attributes) {
            // Whoever published it may still wait for the device, and so must this caller.
            return Ok(self.durability.last());
        }
        let appended = writer.append(&operation::publish(group, version, attributes))?;
        writer.state.publish(group, version, attributes);
        self.show(&writer);
        Ok(appended.sequence)
    }

    pub(crate) fn discard(&self, group: &str, version: u64) -> Result<u64, VectorError> {
        let mut writer = self.open()?;
        let number = writer.state.names.get(group).copied();
        if !number.is_some_and(|number| writer.state.staged.contains_key(&(number, version))) {
            return Ok(self.durability.last());
        }
        let appended = writer.append(&operation::discard(group, version))?;
        writer.state.discard(group, version);
        self.show(&writer);
        Ok(appended.sequence)
    }

    pub(crate) fn remove(&self, groups: &[String]) -> Result<u64, VectorError> {
        let mut writer = self.open()?;
        let there = |name: &&str| writer.state.names.contains_key(*name);
        let groups: Vec<&str> = groups.iter().map(String::as_str).filter(there).collect();
        if groups.is_empty() {
            return Ok(self.durability.last());
        }
        let appended = writer.append(&operation::remove(&groups))?;
        writer.state.remove(&groups);
        self.show(&writer);
        Ok(appended.sequence)
    }

    pub(crate) fn set_attributes(&self, group: &str, attributes: &[Attribute]) -> Result<u64, VectorError> {
        let mut writer = self.open()?;
        if *writer.state.published(group)?.attributes == *attributes {
            return Ok(self.durability.last());
        }
        let appended = writer.append(&operation::set_attributes(group, attributes))?;
        writer.state.set_attributes(group, attributes);
        self.show(&writer);
        Ok(appended.sequence)
    }
}

/// Chunks that are ready to be staged.
pub(crate) struct Prepared {
    records: Records,
    content: Content,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_can_be_used_by_many_threads() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Loaded>();
    }
}
