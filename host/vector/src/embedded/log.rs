//! The log of an index: files of frames, appended only, each with its checksum. It is the truth; all else can be made of it.
//!
//! A frame is a head of 32 bytes (a mark, the payload's length, how far this file was durable when the frame was written,
//! the checksum of the payload, that of the head) and the payload. A process that ends while it writes leaves a torn frame at
//! the end, which nobody was told of: it is cut off. A frame that cannot be read *below* what a later one says was durable is
//! damage.

use super::codec::{Decoder, sum};
use super::durable::Durability;
use crate::VectorError;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

const MARK: u32 = 0x4756_4c31;
const HEAD_BYTES: usize = 32;
/// A new file is begun when one is longer.
pub(crate) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of one payload: 256 chunks with 4 MiB of text and vectors of 4,096 dimensions, and their heads.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
const PREFIX: &str = "log-";

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

/// One file of the log, for reading what was written to it.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl LogFile {
    /// So many bytes at `offset`.
    pub(crate) fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, VectorError> {
        let mut buffer = vec![0; bytes];
        match self.file.read_exact_at(&mut buffer, offset) {
            Ok(()) => Ok(buffer),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(damaged(&self.path, offset, "the file is too short"))
            }
            Err(error) => Err(VectorError::io(&self.path.display().to_string(), &error)),
        }
    }
}

/// What is wrong, and where.
pub(crate) fn damaged(path: &Path, offset: u64, what: &str) -> VectorError {
    VectorError::Damaged(format!("{}: offset {offset}: {what}", path.display()))
}

pub(crate) fn path_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{PREFIX}{number:08}"))
}

/// The numbers of the log files in a folder, in order.
pub(crate) fn numbers_in(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The end of the log, where changes are appended. What is appended is durable when [`Durability`] says so.
pub(crate) struct Log {
    folder: PathBuf,
    position: Position,
    current: Arc<LogFile>,
    pub(crate) durability: Arc<Durability>,
}

/// Where a payload was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    /// Where its first byte is.
    pub(crate) file: u32,
    pub(crate) offset: u32,
    /// What to wait for until it is durable.
    pub(crate) sequence: u64,
}

impl Log {
    /// Goes on at `position`. What stands behind it in the file was cut off before.
    pub(crate) fn open(
        folder: &Path,
        position: Position,
        current: Arc<LogFile>,
        durability: Arc<Durability>,
    ) -> Self {
        durability.begin(Arc::clone(&current), position.offset);
        Self { folder: folder.to_owned(), position, current, durability }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Appends a payload. Fails without having appended anything.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<Appended, VectorError> {
        self.durability.check()?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(VectorError::Invalid(format!(
                "the change has {} bytes; it may have {PAYLOAD_BYTES_MAX}",
                payload.len()
            )));
        }
        let frame = frame(payload, self.durability.durable_offset());
        let begins = self.position.offset;
        let written = self.current.file.write_all_at(&frame, begins);
        if let Err(error) = written {
            // What was half written must not stand before what comes next.
            if let Err(error) = self.current.file.set_len(begins) {
                self.durability.fail(&error);
            }
            return Err(VectorError::io(&self.current.path.display().to_string(), &error));
        }
        self.position.offset += frame.len() as u64;
        let sequence = self.durability.appended(self.position.offset);
        let offset = u32::try_from(begins).unwrap_or(u32::MAX) + HEAD_BYTES as u32;
        Ok(Appended { file: self.position.file, offset, sequence })
    }

    /// Begins a new file if this one is long enough, or `now`. Returns it with its number.
    pub(crate) fn roll(&mut self, now: bool) -> Result<Option<(u32, Arc<LogFile>)>, VectorError> {
        if self.position.offset == 0 || (!now && self.position.offset < FILE_BYTES_MAX) {
            return Ok(None);
        }
        // A file that another one follows is whole.
        self.durability.wait(self.durability.last())?;
        let number = self.position.file + 1;
        let file = create(&self.folder, number)
            .map_err(|error| VectorError::io(&self.folder.display().to_string(), &error))?;
        self.current = Arc::clone(&file);
        self.position = Position { file: number, offset: 0 };
        self.durability.begin(Arc::clone(&file), 0);
        Ok(Some((number, file)))
    }
}

/// Makes a log file, which is there after a crash.
pub(crate) fn create(folder: &Path, number: u32) -> io::Result<Arc<LogFile>> {
    let path = path_of(folder, number);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(Arc::new(LogFile { path, file }))
}

pub(crate) fn open_file(folder: &Path, number: u32) -> io::Result<Arc<LogFile>> {
    let path = path_of(folder, number);
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    Ok(Arc::new(LogFile { path, file }))
}

fn frame(payload: &[u8], durable_offset: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
    bytes.extend_from_slice(&MARK.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&durable_offset.to_le_bytes());
    bytes.extend_from_slice(&sum(payload).to_le_bytes());
    bytes.extend_from_slice(&sum(&bytes).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame that was read.
struct Frame<'a> {
    durable_offset: u64,
    payload: &'a [u8],
}

fn read_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let head = bytes.get(..HEAD_BYTES)?;
    let mut decoder = Decoder::new(head);
    let (mark, length) = (decoder.u32().ok()?, decoder.u32().ok()?);
    let (durable_offset, payload_sum) = (decoder.u64().ok()?, decoder.u64().ok()?);
    if mark != MARK || decoder.u64().ok()? != sum(&head[..HEAD_BYTES - 8]) {
        return None;
    }
    let payload = bytes.get(HEAD_BYTES..HEAD_BYTES.checked_add(length as usize)?)?;
    (sum(payload) == payload_sum).then_some(Frame { durable_offset, payload })
}

/// Hands every payload of a file from `from` on to `take`, with the offset of its first byte. Returns where the file ends;
/// what is torn behind that is to be cut off.
///
/// # Errors
/// [`VectorError::Damaged`] for what cannot be read and was durable: if it `is_last`, because a later frame says so, else
/// because another file follows.
pub(crate) fn replay(
    file: &LogFile,
    from: u64,
    is_last: bool,
    mut take: impl FnMut(&[u8], u32) -> Result<(), VectorError>,
) -> Result<u64, VectorError> {
    let io = |error: io::Error| VectorError::io(&file.path.display().to_string(), &error);
    let length = file.file.metadata().map_err(io)?.len();
    let Some(bytes) = length.checked_sub(from) else {
        return Err(damaged(&file.path, length, "the file is too short"));
    };
    let bytes = file.read(from, usize::try_from(bytes).unwrap_or(usize::MAX))?;
    let mut at = 0;
    while at < bytes.len() {
        let place = from + at as u64;
        let Some(frame) = read_frame(&bytes[at..]) else {
            if !is_last || was_durable(&bytes[at..], place) {
                return Err(damaged(&file.path, place, "a change cannot be read"));
            }
            return Ok(place);
        };
        let offset = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(HEAD_BYTES as u32);
        take(frame.payload, offset)?;
        at += HEAD_BYTES + frame.payload.len();
    }
    Ok(length)
}

/// Whether a whole frame behind says that what is at `place` was durable.
fn was_durable(bytes: &[u8], place: u64) -> bool {
    let mark = MARK.to_le_bytes();
    let starts = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
    let mut frames = starts.filter_map(|(start, _)| read_frame(&bytes[start..]));
    frames.any(|frame| frame.durable_offset > place)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap() }
        }

        /// Appends payloads, each durable if it says so.
        fn write(&self, payloads: &[(&str, bool)]) -> Vec<u64> {
            let file = create(self.folder.path(), 1).unwrap();
            let durability = Arc::new(Durability::default());
            let at = Position { file: 1, offset: 0 };
            let mut log = Log::open(self.folder.path(), at, file, Arc::clone(&durability));
            payloads
                .iter()
                .map(|(payload, is_durable)| {
                    let begins = log.position().offset;
                    let appended = log.append(payload.as_bytes()).unwrap();
                    if *is_durable {
                        durability.wait(appended.sequence).unwrap();
                    }
                    begins
                })
                .collect()
        }

        fn read(&self, is_last: bool) -> Result<(Vec<String>, u64), VectorError> {
            let file = open_file(self.folder.path(), 1).unwrap();
            let mut payloads = Vec::new();
            let end = replay(&file, 0, is_last, |payload, _| {
                payloads.push(String::from_utf8_lossy(payload).into_owned());
                Ok(())
            })?;
            Ok((payloads, end))
        }

        fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
            let path = path_of(self.folder.path(), 1);
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    }

    #[test]
    fn what_was_appended_is_read_in_its_order() {
        let fixture = Fixture::new();
        fixture.write(&[("one", true), ("", false), ("three", false)]);
        assert_eq!(fixture.read(true).unwrap().0, ["one", "", "three"]);
    }

    #[test]
    fn a_torn_end_is_left_out_wherever_it_is_torn() {
        let fixture = Fixture::new();
        let begins = fixture.write(&[("one", true), ("second", false)])[1];
        let whole = std::fs::read(path_of(fixture.folder.path(), 1)).unwrap();
        for length in begins as usize..whole.len() {
            fixture.change(|bytes| *bytes = whole[..length].to_vec());
            assert_eq!(fixture.read(true).unwrap(), (vec!["one".to_owned()], begins), "{length}");
        }
        let error = fixture.read(false).unwrap_err();
        assert!(matches!(error, VectorError::Damaged(_)), "another file follows: {error}");
    }

    #[test]
    fn damage_below_what_was_durable_names_file_and_offset() {
        let fixture = Fixture::new();
        let begins = fixture.write(&[("one", true), ("two", true), ("three", false)])[1];
        for at in begins as usize..begins as usize + HEAD_BYTES + 3 {
            fixture.change(|bytes| bytes[at] ^= 1);
            let error = fixture.read(true).unwrap_err().to_string();
            assert!(
                error.contains("log-00000001") && error.contains(&format!("offset {begins}")),
                "{at}: {error}"
            );
            fixture.change(|bytes| bytes[at] ^= 1);
        }
        assert_eq!(fixture.read(true).unwrap().0.len(), 3);
    }

    #[test]
    fn what_was_never_durable_is_cut_off_though_more_follows_it() {
        let fixture = Fixture::new();
        let begins = fixture.write(&[("one", true), ("two", false), ("three", false)])[1];
        fixture.change(|bytes| bytes[begins as usize + HEAD_BYTES] ^= 1);
        assert_eq!(fixture.read(true).unwrap(), (vec!["one".to_owned()], begins));
    }
}
