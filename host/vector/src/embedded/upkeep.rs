//! What is done for an index in the background: merging parts, writing them to files, checkpoints, and giving back the
//! space of what is gone. All of it can be left undone without harm, and a crash at any moment leaves what was before or
//! what comes after.

use super::checkpoint::Checkpoint;
use super::loaded::Loaded;
use super::log;
use super::merging::{Shape, plan};
use super::operation::{Located, Records};
use super::part::Part;
use super::segment;
use super::snapshot::Snapshot;
use super::state::{State, View};
use crate::VectorError;
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// An index rests when nothing was changed for so long.
pub(crate) const REST: Duration = Duration::from_secs(5);
/// Parts with fewer chunks are made of the log again when the index is read: that takes less than a second.
const SEGMENT_CHUNKS_MIN: usize = 2_048;
/// A checkpoint is written when so much was appended since the last, or as much as the checkpoint takes.
const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024;
const CHECKPOINT_BYTES_PER_SLOT: u64 = 24;
/// Files of the log with less are not worth moving what is left in them.
const COMPACTED_BYTES_MIN: u64 = 1024 * 1024;
/// Files of the log that are compacted in one go, at most.
const SETTLED_FILES_MAX: usize = 1_000;
/// What is dead in parts is counted anew when of so many slots one has died since.
const UNCOUNTED_SHARE: u64 = 16;
/// Chunks and bytes that are moved under one lock.
const MOVED_CHUNKS: usize = 256;
const MOVED_BYTES: usize = 4 * 1024 * 1024;

/// Parts that are being merged, by nobody else until this is dropped.
struct Chosen<'a> {
    loaded: &'a Loaded,
    parts: Vec<Arc<Part>>,
    view: View,
}

impl Drop for Chosen<'_> {
    fn drop(&mut self) {
        let mut writer = self.loaded.writer();
        self.parts.iter().for_each(|part| part.is_merging.store(false, Ordering::Release));
        writer.merging -= 1;
        self.loaded.merged.notify_all();
    }
}

impl Loaded {
    /// Does what is to be done; whether something was.
    pub(crate) fn keep(&self) -> Result<bool, VectorError> {
        match self.keep_open() {
            // What has been removed meanwhile cannot be looked after, and need not.
            Err(_) if self.writer().is_closed => Ok(false),
            outcome => outcome,
        }
    }

    fn keep_open(&self) -> Result<bool, VectorError> {
        let is_at_rest = self.writer().changed_at.elapsed() >= REST;
        let mut has_done = false;
        while self.merge_step(is_at_rest)? {
            has_done = true;
        }
        has_done |= self.checkpoint_if_due()?;
        has_done |= self.compact_step()?;
        Ok(has_done)
    }

    /// Whether another look, once it rests, may find something to do.
    pub(crate) fn may_rest(&self) -> bool {
        self.snapshot.load().parts.len() > 1
    }

    /// Does all that will be done in time at once: merges what is worth it at rest, and writes it.
    pub(crate) fn settle(&self) -> Result<(), VectorError> {
        loop {
            while self.merge_step(true)? {}
            let writer = self.writer();
            if writer.merging == 0 {
                break;
            }
            drop(self.merged.wait(writer).unwrap_or_else(PoisonError::into_inner));
        }
        for _file in 0..SETTLED_FILES_MAX {
            if !self.compact_step()? {
                break;
            }
        }
        let _alone = self.alone();
        self.write_back()
    }

    /// One checkpoint or compaction at a time, and none once the index is closed.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more changes, and writes what would have to be made again when the index is next read. False if it cannot
    /// be now; if it fails, the index goes on.
    pub(crate) fn retire(&self) -> Result<bool, VectorError> {
        let _alone = self.alone();
        {
            let mut writer = self.writer();
            if writer.merging > 0 || writer.is_closed {
                return Ok(false);
            }
            writer.is_closed = true;
        }
        let written = self.write_back();
        if written.is_err() {
            self.writer().is_closed = false;
        }
        written.map(|()| true)
    }

    /// Writes the parts that have no file, as one, and a checkpoint that names it.
    fn write_back(&self) -> Result<(), VectorError> {
        let unwritten =
            self.choose(|parts| (0..parts.len()).filter(|at| parts[*at].segment.is_none()).collect());
        let has_written = !unwritten.parts.is_empty();
        if has_written {
            self.merge(unwritten, 1)?;
        }
        if has_written || self.writer().appended_bytes > 0 { self.checkpoint_alone() } else { Ok(()) }
    }

    /// One merge, if parts are to be merged.
    pub(crate) fn merge_step(&self, is_at_rest: bool) -> Result<bool, VectorError> {
        let snapshot = self.snapshot.load_full();
        let deaths = snapshot.view.deaths;
        // Looking at every place of a large index after every change would cost more than it brings.
        let uncounted = deaths.saturating_sub(self.counted_deaths.load(Ordering::Relaxed));
        let counts_dead = is_at_rest || uncounted * UNCOUNTED_SHARE > u64::from(snapshot.view.entries.len());
        if self.writer().is_closed {
            return Ok(false);
        }
        let chosen = self.choose(|parts| {
            let shapes: Vec<Shape> = parts.iter().map(|part| shape(&snapshot, part, counts_dead)).collect();
            plan(&shapes, is_at_rest)
        });
        drop(snapshot);
        if chosen.parts.is_empty() {
            if counts_dead {
                self.counted_deaths.store(deaths, Ordering::Relaxed);
            }
            return Ok(false);
        }
        if self.merge(chosen, SEGMENT_CHUNKS_MIN)? {
            self.checkpoint()?;
        }
        Ok(true)
    }

    /// Takes parts that nobody else merges.
    fn choose(&self, choice: impl FnOnce(&[Arc<Part>]) -> Vec<usize>) -> Chosen<'_> {
        let mut writer = self.writer();
        let free = writer.parts.iter().filter(|part| !part.is_merging.load(Ordering::Acquire));
        let free: Vec<Arc<Part>> = free.cloned().collect();
        let parts: Vec<Arc<Part>> = choice(&free).into_iter().map(|at| Arc::clone(&free[at])).collect();
        parts.iter().for_each(|part| part.is_merging.store(true, Ordering::Release));
        writer.merging += 1;
        Chosen { loaded: self, parts, view: writer.state.view.clone() }
    }

    /// Puts one part in the place of several; whether it was written to a file, as one of `written_chunks_min` or more is.
    fn merge(&self, chosen: Chosen<'_>, written_chunks_min: usize) -> Result<bool, VectorError> {
        let mut merged = Part::merge(&chosen.parts, |slot| chosen.view.entry(slot), &self.config)?;
        let is_written = merged.len() >= written_chunks_min;
        if is_written {
            let number = self.writer().new_segment();
            segment::write(&self.folder, number, &merged).map_err(|error| {
                VectorError::io(&segment::path_of(&self.folder, number).display().to_string(), &error)
            })?;
            merged.segment = Some(number);
        }
        self.replace(&chosen.parts, merged);
        self.metrics.merges.increment();
        Ok(is_written)
    }

    fn replace(&self, chosen: &[Arc<Part>], merged: Part) {
        let mut writer = self.writer();
        let is_chosen = |part: &Arc<Part>| chosen.iter().any(|one| Arc::ptr_eq(one, part));
        writer.parts.retain(|part| !is_chosen(part));
        writer.new_segments.retain(|number| !chosen.iter().any(|part| part.segment == Some(*number)));
        let mut kept: Vec<u32> = merged.slots.to_vec();
        kept.sort_unstable();
        let slots = chosen.iter().flat_map(|part| part.slots.iter().copied());
        let gone: Vec<u32> = slots.filter(|slot| kept.binary_search(slot).is_err()).collect();
        writer.state.release(gone);
        if merged.len() > 0 {
            // The large ones first: what they find raises the bar for the others.
            writer.parts.push(Arc::new(merged));
            writer.parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        }
        self.show(&writer);
    }

    fn checkpoint_if_due(&self) -> Result<bool, VectorError> {
        let is_due = {
            let writer = self.writer();
            let size = u64::from(writer.state.view.entries.len()) * CHECKPOINT_BYTES_PER_SLOT;
            writer.appended_bytes >= CHECKPOINT_BYTES.max(size)
        };
        if is_due {
            self.checkpoint()?;
        }
        Ok(is_due)
    }

    /// Writes the state and removes the files that nothing needs any more.
    pub(crate) fn checkpoint(&self) -> Result<(), VectorError> {
        let _alone = self.alone();
        if self.writer().is_closed { Ok(()) } else { self.checkpoint_alone() }
    }

    /// The same, for one who holds the lock of upkeep.
    fn checkpoint_alone(&self) -> Result<(), VectorError> {
        let (checkpoint, sequence) = {
            let mut writer = self.writer();
            writer.appended_bytes = 0;
            let segments = writer.parts.iter().filter_map(|part| part.segment).collect();
            let (state, position) = (writer.state.clone(), writer.log.position());
            (Checkpoint { state, position, segments }, self.durability.last())
        };
        // What the checkpoint stands for must be durable before it is.
        self.durability.wait(sequence)?;
        let io = |error: std::io::Error| VectorError::io(&self.folder.display().to_string(), &error);
        checkpoint.write(&self.folder).map_err(io)?;
        let mut writer = self.writer();
        // Those that are being written are not in any checkpoint yet.
        let kept = checkpoint.segments.iter().chain(&writer.new_segments).copied().collect::<Vec<_>>();
        segment::remove_others(&self.folder, &kept).map_err(io)?;
        writer.new_segments.retain(|number| !checkpoint.segments.contains(number));
        let needed = &checkpoint.state.file_bytes;
        let is_needed = |number: u32| {
            number >= checkpoint.position.file || needed.get(&number).is_some_and(|bytes| *bytes > 0)
        };
        let gone: Vec<u32> = writer.files.keys().copied().filter(|number| !is_needed(*number)).collect();
        for number in gone {
            Arc::make_mut(&mut writer.files).remove(&number);
            writer.state.file_bytes.remove(&number);
            fs::remove_file(log::path_of(&self.folder, number)).map_err(io)?;
        }
        self.show(&writer);
        Ok(())
    }

    /// Moves what is left in a file of which most is gone to the end of the log, so that the file can go.
    fn compact_step(&self) -> Result<bool, VectorError> {
        let _alone = self.alone();
        let Some(number) = self.compacted_file()? else { return Ok(false) };
        let snapshot = self.snapshot.load_full();
        let chunks = chunks_in(&self.writer().state, number);
        for ((group, version), chunks) in chunks {
            self.relocate(&snapshot, &group, version, &chunks)?;
        }
        drop(snapshot);
        self.checkpoint_alone()?;
        Ok(true)
    }

    /// A file of the log of which less than half is needed, and that is not appended to any more.
    fn compacted_file(&self) -> Result<Option<u32>, VectorError> {
        let mut writer = self.writer();
        if writer.is_closed {
            return Ok(None);
        }
        for (number, file) in writer.files.as_ref().clone() {
            let length = file.file.metadata().map_or(0, |metadata| metadata.len());
            let needed = writer.state.file_bytes.get(&number).copied().unwrap_or_default();
            if length < COMPACTED_BYTES_MIN || needed * 2 >= length {
                continue;
            }
            if number == writer.log.position().file {
                writer.roll(true)?;
                self.show(&writer);
            }
            return Ok(Some(number));
        }
        Ok(None)
    }

    fn relocate(
        &self,
        snapshot: &Snapshot,
        group: &str,
        version: u64,
        chunks: &[Located],
    ) -> Result<(), VectorError> {
        let mut rest = chunks;
        while !rest.is_empty() {
            let mut records = Records::default();
            let mut taken = 0;
            while taken < rest.len().min(MOVED_CHUNKS) && records.bytes() < MOVED_BYTES {
                let raw = snapshot.read_raw(&rest[taken])?;
                records.push_raw(rest[taken].ordinal, &raw.words, raw.vector.as_deref());
                taken += 1;
            }
            let (now, later) = rest.split_at(taken);
            self.move_records(group, version, now, &records)?;
            rest = later;
        }
        Ok(())
    }

    fn move_records(
        &self,
        group: &str,
        version: u64,
        chunks: &[Located],
        records: &Records,
    ) -> Result<(), VectorError> {
        let mut writer = self.writer();
        let is_unchanged = |located: &Located| {
            let slot = writer.state.slot(group, version, located.ordinal);
            slot.is_some_and(|slot| writer.state.view.entry(slot).located == *located)
        };
        // If one of them was staged anew meanwhile, the others wait for the next time.
        if writer.is_closed || !chunks.iter().all(is_unchanged) {
            return Ok(());
        }
        let (payload, begins) = records.moving(group, version);
        let appended = writer.append(&payload)?;
        let located = records.located(appended.file, appended.offset + begins);
        writer.state.relocate(group, version, &located);
        self.show(&writer);
        Ok(())
    }

    /// When it has rested for long enough, if nothing is changed.
    pub(crate) fn rests_at(&self) -> Instant {
        self.writer().changed_at + REST
    }
}

fn shape(snapshot: &Snapshot, part: &Part, counts_dead: bool) -> Shape {
    if !counts_dead {
        return Shape { places: part.len(), there: part.len() };
    }
    let is_there = |slot: &&u32| snapshot.view.entry(**slot).is_there();
    Shape { places: part.len(), there: part.slots.iter().filter(is_there).count() }
}

/// The chunks whose records are in a file, by group and version.
fn chunks_in(state: &State, file: u32) -> BTreeMap<(String, u64), Vec<Located>> {
    let mut chunks: BTreeMap<(String, u64), Vec<Located>> = BTreeMap::new();
    let mut add = |name: &str, version: u64, slot: u32| {
        let located = state.view.entry(slot).located;
        if located.file == file {
            chunks.entry((name.to_owned(), version)).or_default().push(located);
        }
    };
    for group in state.names.values().filter_map(|number| state.view.group(*number)) {
        if let Some(published) = &group.published {
            published.slots.iter().for_each(|slot| add(&group.name, published.version, *slot));
        }
    }
    for ((number, version), staged) in &state.staged {
        if let Some(group) = state.view.group(*number) {
            staged.values().for_each(|slot| add(&group.name, *version, *slot));
        }
    }
    chunks
}
