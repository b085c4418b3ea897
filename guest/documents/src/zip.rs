//! ZIP archives, as far as a DOCX needs them: the central directory, entries that are stored or deflated.
//!
//! Read here rather than by a crate, which would bring writing, encryption and a dozen of dependencies: what is needed is
//! small, and every length in it is held against the file.

use crate::error::ExtractError;
use crate::inflate::Budget;

/// How many entries an archive may have.
const ENTRIES_MAX: usize = 10_000;
/// The end of the central directory, and the longest comment after it, in bytes.
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: usize = 65_535;
/// An entry that inflates to more than so many times its size, and to more than so many bytes, is a bomb and not a document.
const RATIO_MAX: usize = 200;
const RATIO_BYTES_MIN: usize = 1 << 20;

/// An archive whose directory has been read.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    is_encrypted: bool,
    method: u16,
    packed: usize,
    unpacked: usize,
    offset: usize,
}

fn damaged() -> ExtractError {
    ExtractError::broken("it is a ZIP archive that is cut off or damaged")
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let digits = bytes.get(at..at.checked_add(length)?)?;
    Some(digits.iter().rev().fold(0usize, |number, digit| number << 8 | usize::from(*digit)))
}

impl<'a> Archive<'a> {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`ExtractError::Broken`], [`ExtractError::TooLarge`].
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Archive<'a>, ExtractError> {
        let end = find_end(bytes).ok_or_else(damaged)?;
        let count = number(bytes, end + 10, 2).ok_or_else(damaged)?;
        if count > ENTRIES_MAX {
            return Err(ExtractError::more_than(ENTRIES_MAX, "parts"));
        }
        let mut at = number(bytes, end + 16, 4).ok_or_else(damaged)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let (entry, next) = read_entry(bytes, at).ok_or_else(damaged)?;
            entries.push(entry);
            at = next;
        }
        Ok(Archive { bytes, entries })
    }

    /// The names of its entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// An entry's content; `None` where there is no such entry.
    ///
    /// # Errors
    /// [`ExtractError::Encrypted`], [`ExtractError::TooLarge`], [`ExtractError::Broken`].
    pub(crate) fn read(&self, name: &str, budget: &mut Budget) -> Result<Option<Vec<u8>>, ExtractError> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else { return Ok(None) };
        if entry.is_encrypted {
            return Err(ExtractError::Encrypted);
        }
        let packed = self.packed(entry).ok_or_else(damaged)?;
        if entry.unpacked > RATIO_BYTES_MIN && entry.unpacked / RATIO_MAX > packed.len() {
            return Err(ExtractError::TooLarge(format!(
                "its part {name} is packed more than {RATIO_MAX} times, as no document is"
            )));
        }
        match entry.method {
            0 => {
                budget.take(packed.len())?;
                Ok(Some(packed.to_vec()))
            }
            8 => {
                let unpacked = budget.inflate_exact(packed, entry.unpacked)?;
                unpacked
                    .map(Some)
                    .ok_or_else(|| ExtractError::broken(format!("its part {name} cannot be unpacked")))
            }
            _ => Err(ExtractError::broken(format!(
                "its part {name} is packed in a way that no Word document is"
            ))),
        }
    }

    /// The bytes of an entry as they stand in the file, behind its own header.
    fn packed(&self, entry: &Entry) -> Option<&'a [u8]> {
        let header = self.bytes.get(entry.offset..)?;
        if !header.starts_with(b"PK\x03\x04") {
            return None;
        }
        let start = 30 + number(header, 26, 2)? + number(header, 28, 2)?;
        header.get(start..start.checked_add(entry.packed)?)
    }
}

/// The last end of a central directory, searched from the end of the file.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    let first = last.saturating_sub(COMMENT_BYTES_MAX);
    (first..=last).rev().find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(b"PK\x05\x06")))
}

fn read_entry(bytes: &[u8], at: usize) -> Option<(Entry, usize)> {
    let header = bytes.get(at..)?;
    if !header.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name, extra, comment) = (number(header, 28, 2)?, number(header, 30, 2)?, number(header, 32, 2)?);
    let entry = Entry {
        name: String::from_utf8_lossy(header.get(46..46 + name)?).replace('\\', "/"),
        is_encrypted: number(header, 8, 2)? & 1 == 1,
        method: number(header, 10, 2)? as u16,
        packed: number(header, 20, 4)?,
        unpacked: number(header, 24, 4)?,
        offset: number(header, 42, 4)?,
    };
    Some((entry, at + 46 + name + extra + comment))
}
