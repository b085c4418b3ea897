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
use super::state::State;
use crate::VectorError;
use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, PoisonError, atomic::Ordering},
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

impl Loaded {
    /// Does what is to be done; whether something was.
    pub(crate) fn keep(&self) -> Result<bool, VectorError> {
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
        while self.merge_step(true)? {}
        for _file in 0..SETTLED_FILES_MAX {
            if !self.compact_step()? {
                break;
            }
        }
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_back()
    }

    /// Writes what would have to be made again when the index is next read, and takes no more changes: whoever still has it
    /// at hand to look after it finds nothing to do. If it fails the index goes on.
    pub(crate) fn retire(&self) -> Result<(), VectorError> {
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_back()?;
        self.close();
        Ok(())
    }

    fn write_back(&self) -> Result<(), VectorError> {
        let has_written = self.write_unwritten()?;
        if has_written || self.writer().appended_bytes > 0 { self.checkpoint_alone() } else { Ok(()) }
    }

    /// One merge, if parts are to be merged.
    pub(crate) fn merge_step(&self, is_at_rest: bool) -> Result<bool, VectorError> {
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot.load_full();
        let deaths = snapshot.view.deaths;
        // Looking at every place of a large index after every change would cost more than it brings.
        let counts_dead = is_at_rest
            || (deaths - self.counted_deaths.load(Ordering::Relaxed)) * UNCOUNTED_SHARE
                > u64::from(snapshot.view.entries.len());
        let shapes: Vec<Shape> =
            snapshot.parts.iter().map(|part| shape(&snapshot, part, counts_dead)).collect();
        let chosen = plan(&shapes, is_at_rest);
        if chosen.is_empty() || self.writer().is_closed {
            if counts_dead {
                self.counted_deaths.store(deaths, Ordering::Relaxed);
            }
            return Ok(false);
        }
        let chosen: Vec<Arc<Part>> = chosen.iter().map(|at| Arc::clone(&snapshot.parts[*at])).collect();
        let entry = |slot| snapshot.view.entry(slot);
        let mut merged = Part::merge(&chosen, entry, &self.config)?;
        let is_written = merged.len() >= SEGMENT_CHUNKS_MIN;
        if is_written {
            self.write(&mut merged)?;
        }
        self.replace(&chosen, merged);
        self.metrics.merges.increment();
        drop(snapshot);
        if is_written {
            self.checkpoint_alone()?;
        }
        Ok(true)
    }

    fn write(&self, part: &mut Part) -> Result<(), VectorError> {
        let number = {
            let mut writer = self.writer();
            writer.next_segment += 1;
            writer.next_segment
        };
        segment::write(&self.folder, number, part).map_err(|error| {
            VectorError::io(&segment::path_of(&self.folder, number).display().to_string(), &error)
        })?;
        part.segment = Some(number);
        Ok(())
    }

    /// Puts a part in the place of those it was made of.
    fn replace(&self, chosen: &[Arc<Part>], merged: Part) {
        let mut writer = self.writer();
        let is_chosen = |part: &Arc<Part>| chosen.iter().any(|one| Arc::ptr_eq(one, part));
        writer.parts.retain(|part| !is_chosen(part));
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

    /// Writes the parts that have no file, as one; whether there were any.
    fn write_unwritten(&self) -> Result<bool, VectorError> {
        let snapshot = self.snapshot.load_full();
        let chosen: Vec<_> = snapshot.parts.iter().filter(|part| part.segment.is_none()).cloned().collect();
        if chosen.is_empty() {
            return Ok(false);
        }
        let entry = |slot| snapshot.view.entry(slot);
        let mut merged = Part::merge(&chosen, entry, &self.config)?;
        if merged.len() > 0 {
            self.write(&mut merged)?;
        }
        self.replace(&chosen, merged);
        Ok(true)
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
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        self.checkpoint_alone()
    }

    /// The same, for one who holds the lock of upkeep.
    fn checkpoint_alone(&self) -> Result<(), VectorError> {
        let (checkpoint, sequence) = {
            let mut writer = self.writer();
            if writer.is_closed {
                return Ok(());
            }
            writer.appended_bytes = 0;
            let segments = writer.parts.iter().filter_map(|part| part.segment).collect();
            let (state, position) = (writer.state.clone(), writer.log.position());
            (Checkpoint { state, position, segments }, self.durability.last())
        };
        // What the checkpoint stands for must be durable before it is.
        self.durability.wait(sequence)?;
        let io = |error: std::io::Error| VectorError::io(&self.folder.display().to_string(), &error);
        checkpoint.write(&self.folder).map_err(io)?;
        segment::remove_others(&self.folder, &checkpoint.segments).map_err(io)?;
        let mut writer = self.writer();
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
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
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
