//! Making the folder of an index, and reading an index into memory: the checkpoint, what the log has since, the parts that
//! are on disk, and from the records whatever is in none of them.

use super::checkpoint::{Checkpoint, Summary};
use super::durable::Durability;
use super::loaded::{Loaded, Writer};
use super::log::{self, Log, Position, damaged};
use super::operation;
use super::part::{Content, Part};
use super::segment;
use super::snapshot::{Files, Snapshot};
use super::state::State;
use crate::{EmbeddedConfig, Settings, VectorError, metrics::Metrics};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The first file of a log.
const FIRST_FILE: u32 = 1;
/// Chunks of a part that is made again of their records.
const REBUILT_CHUNKS: usize = 8_192;

fn failed(folder: &Path) -> impl Fn(io::Error) -> VectorError {
    move |error| VectorError::io(&folder.display().to_string(), &error)
}

/// Makes an index in `folder`, which is there whole after a crash or not at all. `beside` is a folder of the same file
/// system that is not there yet.
pub(crate) fn create(folder: &Path, beside: &Path, settings: Settings) -> Result<(), VectorError> {
    let make = || {
        fs::create_dir_all(beside)?;
        log::create(beside, FIRST_FILE)?;
        let position = Position { file: FIRST_FILE, offset: 0 };
        Checkpoint { state: State::new(settings), position, segments: Vec::new() }.write(beside)?;
        fs::rename(beside, folder)?;
        folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    make().map_err(failed(folder))
}

/// What an index has, without reading more of it than needed: its published chunks and stored bytes.
pub(crate) fn summary(folder: &Path) -> Result<(u64, u64), VectorError> {
    let summary = Summary::read(folder)?;
    let numbers = log::numbers_in(folder).map_err(failed(folder))?;
    let end = fs::metadata(log::path_of(folder, summary.position.file)).map(|metadata| metadata.len());
    let is_all = numbers.last() == Some(&summary.position.file)
        && end.is_ok_and(|length| length == summary.position.offset);
    if is_all {
        return Ok((summary.chunks, summary.bytes));
    }
    let replayed = replay(folder)?;
    Ok((replayed.state.view.published_chunks, replayed.state.view.bytes))
}

/// An index as its log says it is.
struct Replayed {
    state: State,
    files: Files,
    segments: Vec<u64>,
    /// Up to where the checkpoint goes, and where the log ends.
    checkpoint: Position,
    end: Position,
}

fn replay(folder: &Path) -> Result<Replayed, VectorError> {
    let checkpoint = Checkpoint::read(folder)?;
    let Checkpoint { mut state, position, segments } = checkpoint;
    let numbers = log::numbers_in(folder).map_err(failed(folder))?;
    let last = numbers.last().copied().unwrap_or_default();
    let mut files = Files::new();
    let mut end = position;
    for number in numbers {
        let file = log::open_file(folder, number).map_err(failed(folder))?;
        files.insert(number, Arc::clone(&file));
        if number < position.file {
            continue;
        }
        let from = if number == position.file { position.offset } else { 0 };
        let vector_bytes = state.view.vector_bytes();
        let offset = log::replay(&file, from, number == last, |payload, offset| {
            let change = operation::read(payload, number, offset, vector_bytes);
            let change = change.map_err(|error| damaged(&file.path, offset.into(), &error.to_string()))?;
            state.apply(&change);
            Ok(())
        })?;
        end = Position { file: number, offset };
    }
    check_files(folder, &state, &files, position, end)?;
    Ok(Replayed { state, files, segments, checkpoint: position, end })
}

/// Whether the files are there that the log must have, and those where chunks are.
fn check_files(
    folder: &Path,
    state: &State,
    files: &Files,
    checkpoint: Position,
    end: Position,
) -> Result<(), VectorError> {
    let replayed = checkpoint.file..=end.file;
    let used = state.file_bytes.iter().filter(|(_, bytes)| **bytes > 0).map(|(number, _)| *number);
    match replayed.chain(used).find(|number| !files.contains_key(number)) {
        Some(missing) => Err(damaged(&log::path_of(folder, missing), 0, "the file is missing")),
        None => Ok(()),
    }
}

/// Reads an index into memory.
///
/// # Errors
/// [`VectorError::Damaged`] if what is the truth cannot be read. What is derived of it is made again.
pub(crate) fn load(
    folder: PathBuf,
    config: Arc<EmbeddedConfig>,
    metrics: Arc<Metrics>,
) -> Result<Loaded, VectorError> {
    let Replayed { mut state, files, segments, checkpoint, end } = replay(&folder)?;
    let Some(current) = files.get(&end.file).cloned() else {
        return Err(damaged(&log::path_of(&folder, end.file), 0, "the file is missing"));
    };
    // What is torn must not stand before what comes next. What is there was perhaps never flushed, and others will be told
    // that it is.
    if end != checkpoint {
        current.file.set_len(end.offset).and_then(|()| current.file.sync_all()).map_err(failed(&folder))?;
    }
    let mut parts = read_parts(&folder, &state, &segments, &config);
    let segment = segments.iter().copied().max().unwrap_or_default();
    let kept: Vec<u64> = parts.iter().filter_map(|part| part.segment).collect();
    segment::remove_others(&folder, &kept).map_err(failed(&folder))?;
    let files = Arc::new(files);
    let bare = Snapshot { view: state.view.clone(), parts: Vec::new(), files: Arc::clone(&files) };
    parts.extend(rebuild(&bare, &parts, &config)?);
    release_unused(&mut state, &parts);
    let durability = Arc::new(Durability::new(Arc::clone(&metrics)));
    let log = Log::open(&folder, end, current, durability);
    let writer = Writer::new(state, parts, files, log, segment, checkpoint);
    Ok(Loaded::new(folder, config, metrics, writer))
}

fn read_parts(folder: &Path, state: &State, segments: &[u64], config: &EmbeddedConfig) -> Vec<Arc<Part>> {
    let mut parts = Vec::new();
    for number in segments {
        match segment::read(folder, *number, state.view.settings.dimensions, config.quantization) {
            Ok(part) => parts.push(Arc::new(part)),
            Err(error) => {
                let file = segment::path_of(folder, *number);
                tracing::warn!(%error, file = %file.display(), "a part of an index is made again of its chunks");
            }
        }
    }
    parts
}

/// Parts of all chunks that are in none of `parts`.
fn rebuild(
    snapshot: &Snapshot,
    parts: &[Arc<Part>],
    config: &EmbeddedConfig,
) -> Result<Vec<Arc<Part>>, VectorError> {
    let mut is_in_part = vec![false; snapshot.view.entries.len() as usize];
    for slot in parts.iter().flat_map(|part| part.slots.iter()) {
        if let Some(place) = is_in_part.get_mut(*slot as usize) {
            *place = true;
        }
    }
    let entries = snapshot.view.entries.iter();
    let missing = entries.filter(|(slot, entry)| entry.is_there() && !is_in_part[*slot as usize]);
    let missing: Vec<u32> = missing.map(|(slot, _)| slot).collect();
    missing.chunks(REBUILT_CHUNKS).map(|slots| rebuild_part(snapshot, slots, config).map(Arc::new)).collect()
}

fn rebuild_part(snapshot: &Snapshot, slots: &[u32], config: &EmbeddedConfig) -> Result<Part, VectorError> {
    let (mut chunks, mut units, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for slot in slots {
        let entry = snapshot.view.entry(*slot);
        chunks.push(snapshot.read_chunk(&entry.located)?);
        units.push(snapshot.read_vector(&entry.located)?);
        groups.push(entry.group);
    }
    let content = Content::build(&chunks, &units, snapshot.view.settings.dimensions, config)?;
    Ok(Part::new(content, slots.to_vec(), groups))
}

/// Slots that neither a chunk nor a part has may be used again.
fn release_unused(state: &mut State, parts: &[Arc<Part>]) {
    let mut is_used = vec![false; state.view.entries.len() as usize];
    for slot in parts.iter().flat_map(|part| part.slots.iter()) {
        if let Some(place) = is_used.get_mut(*slot as usize) {
            *place = true;
        }
    }
    let free: Vec<u32> = (0..).zip(is_used).filter(|(_, is_used)| !is_used).map(|(slot, _)| slot).collect();
    state.release(free);
}
