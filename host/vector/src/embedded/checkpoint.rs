//! The state of an index as of a place in its log, so that what is before need not be read again. Written whole beside the
//! one before, then put in its place.

use super::codec::{Decoder, Encoder, Malformed, SUM_BYTES, sum};
use super::log::{Position, damaged};
use super::operation::Located;
use super::state::{Entry, Published, State, count};
use crate::{Settings, VectorError};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

const MAGIC: &[u8; 8] = b"WGLVEC01";
const NAME: &str = "state";
const NEW_NAME: &str = "state.new";
/// The summary that stands before the rest: read alone where that is enough.
const SUMMARY_BYTES: usize = 8 + 4 + 8 * 7;
const NO_VERSION: u8 = 0;
const VERSION: u8 = 1;

/// An index as of a place in its log.
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    /// Everything before is in `state`.
    pub(crate) position: Position,
    /// Derived parts that are on disk, by number.
    pub(crate) segments: Vec<u64>,
}

/// What stands at the beginning of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) settings: Settings,
    pub(crate) position: Position,
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut body = Encoder::default();
        body.count(self.segments.len());
        self.segments.iter().for_each(|segment| body.u64(*segment));
        body.u32(self.state.view.entries.len());
        encode_groups(&self.state, &mut body);
        encode_staged(&self.state, &mut body);
        let mut encoder = Encoder { bytes: MAGIC.to_vec() };
        encoder.u32(self.state.view.settings.dimensions);
        encoder.u64(u64::from(self.position.file));
        encoder.u64(self.position.offset);
        encoder.u64(self.state.view.published_chunks);
        encoder.u64(self.state.view.bytes);
        encoder.u64(self.state.view.revision);
        encoder.u64(body.bytes.len() as u64);
        encoder.u64(sum(&body.bytes));
        let summary_sum = sum(&encoder.bytes);
        encoder.u64(summary_sum);
        encoder.bytes.extend_from_slice(&body.bytes);
        encoder.bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (summary, revision, body_bytes, body_sum) = decode_summary(bytes)?;
        let body = bytes.get(SUMMARY_BYTES + SUM_BYTES..).ok_or(Malformed)?;
        if body.len() as u64 != body_bytes || sum(body) != body_sum {
            return Err(Malformed);
        }
        let mut decoder = Decoder::new(body);
        let segments = decoder.count(8)?;
        let segments = (0..segments).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
        let mut state = State::new(summary.settings);
        state.view.revision = revision;
        state.restore_slots(decoder.u32()?);
        decode_groups(&mut state, &mut decoder)?;
        decode_staged(&mut state, &mut decoder)?;
        decoder.end()?;
        state.restore_free_groups();
        Ok(Self { state, position: summary.position, segments })
    }

    /// Writes it to the folder, so that it is there after a crash, or the one before still is.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join(NEW_NAME);
        let mut file = File::create(&new)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&new, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }

    /// Reads that of a folder.
    ///
    /// # Errors
    /// [`VectorError::Damaged`] if there is none that can be read.
    pub(crate) fn read(folder: &Path) -> Result<Self, VectorError> {
        let path = folder.join(NAME);
        let bytes = fs::read(&path).map_err(|error| missing(&path, &error))?;
        Self::decode(&bytes).map_err(|error| damaged(&path, 0, &error.to_string()))
    }
}

fn missing(path: &Path, error: &io::Error) -> VectorError {
    if error.kind() == io::ErrorKind::NotFound {
        return damaged(path, 0, "the file is missing");
    }
    VectorError::io(&path.display().to_string(), error)
}

impl Summary {
    /// The beginning of a folder's checkpoint.
    ///
    /// # Errors
    /// Those of [`Checkpoint::read`].
    pub(crate) fn read(folder: &Path) -> Result<Self, VectorError> {
        let path = folder.join(NAME);
        let mut bytes = [0; SUMMARY_BYTES + SUM_BYTES];
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut bytes));
        match read {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(missing(&path, &error)),
            _ => {}
        }
        let summary = decode_summary(&bytes).map_err(|error| damaged(&path, 0, &error.to_string()))?;
        Ok(summary.0)
    }
}

/// The summary, the revision, and the length and checksum of what follows.
fn decode_summary(bytes: &[u8]) -> Result<(Summary, u64, u64, u64), Malformed> {
    let head = bytes.get(..SUMMARY_BYTES).ok_or(Malformed)?;
    let mut decoder = Decoder::new(bytes.get(..SUMMARY_BYTES + SUM_BYTES).ok_or(Malformed)?);
    if decoder.bytes(MAGIC.len())? != MAGIC {
        return Err(Malformed);
    }
    let settings = Settings { dimensions: decoder.u32()? };
    let file = u32::try_from(decoder.u64()?).map_err(|_large| Malformed)?;
    let position = Position { file, offset: decoder.u64()? };
    let (chunks, bytes, revision) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
    let (body_bytes, body_sum) = (decoder.u64()?, decoder.u64()?);
    if decoder.u64()? != sum(head) {
        return Err(Malformed);
    }
    Ok((Summary { settings, position, chunks, bytes }, revision, body_bytes, body_sum))
}

fn encode_groups(state: &State, encoder: &mut Encoder) {
    encoder.count(state.names.len());
    for (name, number) in &state.names {
        encoder.text(name);
        encoder.u32(*number);
        let published = state.view.group(*number).and_then(|group| group.published.as_ref());
        let Some(published) = published else {
            encoder.u8(NO_VERSION);
            continue;
        };
        encoder.u8(VERSION);
        encoder.u64(published.version);
        encoder.attributes(&published.attributes);
        encoder.count(published.slots.len());
        published.slots.iter().for_each(|slot| encode_slot(state, *slot, encoder));
    }
}

fn encode_staged(state: &State, encoder: &mut Encoder) {
    encoder.count(state.staged.len());
    for ((group, version), chunks) in &state.staged {
        encoder.u32(*group);
        encoder.u64(*version);
        encoder.count(chunks.len());
        for (ordinal, slot) in chunks {
            encoder.u32(*ordinal);
            encode_slot(state, *slot, encoder);
        }
    }
}

const SLOT_BYTES: usize = 17;

fn encode_slot(state: &State, slot: u32, encoder: &mut Encoder) {
    let located = state.view.entry(slot).located;
    encoder.u32(slot);
    encoder.u32(located.file);
    encoder.u32(located.offset);
    encoder.u32(located.words_bytes);
    encoder.u8(u8::from(located.has_vector));
}

fn decode_slot(
    state: &mut State,
    group: u32,
    ordinal: u32,
    decoder: &mut Decoder<'_>,
) -> Result<u32, Malformed> {
    let slot = decoder.u32()?;
    let located = Located {
        ordinal,
        file: decoder.u32()?,
        offset: decoder.u32()?,
        words_bytes: decoder.u32()?,
        has_vector: decoder.u8()? != 0,
    };
    state.restore_entry(slot, Entry { group, located });
    Ok(slot)
}

fn decode_groups(state: &mut State, decoder: &mut Decoder<'_>) -> Result<(), Malformed> {
    for _ in 0..decoder.count(9)? {
        let (name, number) = (decoder.text()?, decoder.u32()?);
        let published = match decoder.u8()? {
            NO_VERSION => None,
            _ => {
                let (version, attributes) = (decoder.u64()?, decoder.attributes()?);
                let chunks = count(decoder.count(SLOT_BYTES)?);
                let slots = (0..chunks).map(|ordinal| decode_slot(state, number, ordinal, decoder));
                let slots = slots.collect::<Result<_, _>>()?;
                Some(Published { version, attributes: attributes.into(), slots })
            }
        };
        state.restore_group(name, number, published);
    }
    Ok(())
}

fn decode_staged(state: &mut State, decoder: &mut Decoder<'_>) -> Result<(), Malformed> {
    for _ in 0..decoder.count(16)? {
        let (group, version) = (decoder.u32()?, decoder.u64()?);
        for _ in 0..decoder.count(4 + SLOT_BYTES)? {
            let ordinal = decoder.u32()?;
            let slot = decode_slot(state, group, ordinal, decoder)?;
            state.staged.entry((group, version)).or_default().insert(ordinal, slot);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attribute, Value};

    fn located(ordinal: u32) -> Located {
        Located {
            ordinal,
            file: 1,
            offset: 100 * ordinal,
            words_bytes: 50,
            has_vector: ordinal.is_multiple_of(2),
        }
    }

    fn checkpoint() -> Checkpoint {
        let mut state = State::new(Settings { dimensions: 2 });
        let attributes = [Attribute { name: "a".into(), value: Value::Boolean(true) }];
        state.stage("published", 1, &[located(0), located(1)]);
        state.publish("published", 1, &attributes);
        state.stage("published", 2, &[located(0)]);
        state.stage("gone", 1, &[located(0)]);
        state.publish("gone", 1, &[]);
        state.remove(&["gone"]);
        state.stage("staged", 7, &[located(3)]);
        Checkpoint { state, position: Position { file: 1, offset: 9 }, segments: vec![4, 5] }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let written = checkpoint();
        written.write(folder.path()).unwrap();
        let read = Checkpoint::read(folder.path()).unwrap();
        assert_eq!((read.position, &read.segments), (written.position, &written.segments));
        assert_eq!(read.state.view.described(), written.state.view.described());
        assert_eq!(read.state.list(None, 9), written.state.list(None, 9));
        assert_eq!(read.state.staged, written.state.staged);
        for ordinal in 0..2 {
            let slot = written.state.slot("published", 1, ordinal).unwrap();
            assert_eq!(read.state.slot("published", 1, ordinal), Some(slot));
            assert_eq!(read.state.view.entries.get(slot), written.state.view.entries.get(slot));
            assert!(read.state.view.live.contains(slot));
        }
        assert_eq!(read.state.file_bytes, written.state.file_bytes);
        assert_eq!(read.state.view.entries.len(), written.state.view.entries.len());
        let summary = Summary::read(folder.path()).unwrap();
        let described = written.state.view.described();
        assert_eq!((summary.chunks, summary.bytes), (described.chunks, described.bytes));
    }

    #[test]
    fn slots_of_what_is_gone_are_not_given_away_when_it_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = checkpoint();
        let last = written.state.stage("last", 1, &[located(0)])[0];
        written.state.remove(&["last"]);
        written.write(folder.path()).unwrap();
        // A part that keeps its graph still names the slot.
        let mut read = Checkpoint::read(folder.path()).unwrap().state;
        assert!(read.stage("next", 1, &[located(0)])[0] > last);
    }

    #[test]
    fn a_changed_byte_anywhere_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        checkpoint().write(folder.path()).unwrap();
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(Checkpoint::read(folder.path()), Err(VectorError::Damaged(_))), "{at}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Summary::read(folder.path()), Err(VectorError::Damaged(_))));
    }
}
