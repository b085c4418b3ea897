//! An index at one moment: what a search reads, whatever writers do meanwhile.

use super::codec::{SUM_BYTES, f32s, sum};
use super::log::{LogFile, damaged};
use super::operation::{Located, read_words};
use super::part::Part;
use super::state::{Published, View};
use crate::{Chunk, VectorError};
use std::{collections::BTreeMap, sync::Arc};

/// The files of a log that can be read, by number.
pub(crate) type Files = BTreeMap<u32, Arc<LogFile>>;

/// See the head of this file.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) view: View,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) files: Arc<Files>,
}

/// What was read of a chunk's record.
pub(crate) struct RawRecord {
    pub(crate) words: Vec<u8>,
    pub(crate) vector: Option<Vec<u8>>,
}

impl Snapshot {
    fn file(&self, located: &Located) -> Result<&LogFile, VectorError> {
        let file = self.files.get(&located.file).map(Arc::as_ref);
        file.ok_or_else(|| VectorError::Damaged(format!("log file {} is missing", located.file)))
    }

    /// A chunk without its vector.
    pub(crate) fn read_chunk(&self, located: &Located) -> Result<Chunk, VectorError> {
        let words = self.read_raw_words(located)?;
        let file = self.file(located)?;
        read_words(&words).map_err(|error| damaged(&file.path, located.offset.into(), &error.to_string()))
    }

    fn read_raw_words(&self, located: &Located) -> Result<Vec<u8>, VectorError> {
        // The checksum and the length stand before.
        const HEAD_BYTES: u64 = SUM_BYTES as u64 + 4;
        let file = self.file(located)?;
        let begins = u64::from(located.offset).saturating_sub(HEAD_BYTES);
        let mut bytes = file.read(begins, HEAD_BYTES as usize + located.words_bytes as usize)?;
        let words = bytes.split_off(HEAD_BYTES as usize);
        if bytes[..SUM_BYTES] != sum(&words).to_le_bytes() {
            return Err(damaged(&file.path, located.offset.into(), "a chunk's words cannot be read"));
        }
        Ok(words)
    }

    /// A chunk's vector, of length 1.
    pub(crate) fn read_vector(&self, located: &Located) -> Result<Option<Vec<f32>>, VectorError> {
        Ok(self.read_raw_vector(located)?.map(|bytes| f32s(&bytes)))
    }

    fn read_raw_vector(&self, located: &Located) -> Result<Option<Vec<u8>>, VectorError> {
        if !located.has_vector {
            return Ok(None);
        }
        let file = self.file(located)?;
        let begins = u64::from(located.offset) + u64::from(located.words_bytes);
        let mut vector = file.read(begins, self.view.vector_bytes() + SUM_BYTES)?;
        let expected = vector.split_off(self.view.vector_bytes());
        if expected != sum(&vector).to_le_bytes() {
            return Err(damaged(&file.path, begins, "a chunk's vector cannot be read"));
        }
        Ok(Some(vector))
    }

    /// A whole record, as it stands in the file.
    pub(crate) fn read_raw(&self, located: &Located) -> Result<RawRecord, VectorError> {
        Ok(RawRecord { words: self.read_raw_words(located)?, vector: self.read_raw_vector(located)? })
    }

    /// Chunks of a published version.
    pub(crate) fn read_group(
        &self,
        published: &Published,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, VectorError> {
        let slots = published.slots.iter().skip(start as usize).take(count as usize);
        slots.map(|slot| self.read_chunk(&self.view.entry(*slot).located)).collect()
    }

    /// Bytes in memory, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        const SLOT_BYTES: u64 = 32;
        const GROUP_BYTES: u64 = 512;
        let parts: usize = self.parts.iter().map(|part| part.bytes()).sum();
        let groups = u64::from(self.view.groups.len());
        parts as u64 + u64::from(self.view.entries.len()) * SLOT_BYTES + groups * GROUP_BYTES
    }
}
