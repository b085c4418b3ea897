//! The journal: a line of JSON for each thing that was done, on the disk before it is told.

use crate::orders::Deed;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// The longest journal that is read, in bytes.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) order: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(flatten)]
    pub(crate) deed: Deed,
}

/// Where entries are written, if anywhere.
#[derive(Debug)]
pub(crate) struct Journal(Option<File>);

impl Journal {
    /// Opens a journal with the entries it has. A last line that was cut off was never told to anybody, and is dropped.
    ///
    /// # Errors
    /// The file cannot be opened or read; a line in it is none of ours.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<(Self, Vec<Entry>)> {
        let Some(path) = path else { return Ok((Self(None), Vec::new())) };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() > JOURNAL_BYTES_MAX {
            return Err(io::Error::other(format!("the journal is longer than {JOURNAL_BYTES_MAX} bytes")));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = text.get(..whole).unwrap_or_default().lines();
        let entries = lines.enumerate().map(|(at, line)| {
            serde_json::from_str(line)
                .map_err(|error| io::Error::other(format!("line {} of the journal: {error}", at + 1)))
        });
        let entries = entries.collect::<io::Result<_>>()?;
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self(Some(file)), entries))
    }

    /// Writes an entry; it is on the disk when this returns.
    ///
    /// # Errors
    /// It is not, and may be there in part.
    pub(crate) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()
    }
}
