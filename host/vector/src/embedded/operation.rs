//! The changes of an index as they stand in its log.
//!
//! A chunk's record in a log file is: whether it has a vector, the checksum of its words, their length, the words (number, heading, text, note),
//! and for a chunk with a vector the numbers of that, brought to length 1, and their checksum. So either can be read and
//! checked alone, at a place that is kept in memory.

use super::codec::{Decoder, Encoder, Malformed, SUM_BYTES, sum};
use crate::{Attribute, Chunk};

/// Bytes before the words of a record: a flag, their checksum and length.
pub(crate) const RECORD_HEAD_BYTES: usize = 1 + SUM_BYTES + 4;
const FLAG_VECTOR: u8 = 1;

const KIND_STAGE: u8 = 1;
const KIND_PUBLISH: u8 = 2;
const KIND_DISCARD: u8 = 3;
const KIND_REMOVE: u8 = 4;
const KIND_ATTRIBUTES: u8 = 5;
const KIND_MOVE: u8 = 6;

/// Where a chunk's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) ordinal: u32,
    /// The log file.
    pub(crate) file: u32,
    /// Where the words begin in it.
    pub(crate) offset: u32,
    pub(crate) words_bytes: u32,
    pub(crate) has_vector: bool,
}

/// A change, read from a log.
#[derive(Debug, PartialEq)]
pub(crate) enum Change<'a> {
    /// Chunks of a version, each at its place in the payload that this was read from.
    Stage { group: &'a str, version: u64, chunks: Vec<Located> },
    /// The version is the one that is found.
    Publish { group: &'a str, version: u64, attributes: Vec<Attribute> },
    /// What was staged of the version goes.
    Discard { group: &'a str, version: u64 },
    /// Groups go.
    Remove { groups: Vec<&'a str> },
    /// A published group has other attributes.
    SetAttributes { group: &'a str, attributes: Vec<Attribute> },
    /// Chunks of a version are here now, so that the file where they were can go.
    Move { group: &'a str, version: u64, chunks: Vec<Located> },
}

/// Records of chunks, ready to be appended, with where each begins.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// As in [`Located`], with offsets from the first record on, and no file.
    located: Vec<Located>,
}

impl Records {
    /// `unit_vector`: the chunk's vector, of length 1.
    pub(crate) fn push(&mut self, chunk: &Chunk, unit_vector: Option<&[f32]>) {
        let mut words = Encoder::default();
        words.u32(chunk.ordinal);
        words.text(&chunk.heading);
        words.text(&chunk.text);
        words.text(&chunk.note);
        let mut vector = Encoder::default();
        vector.f32s(unit_vector.unwrap_or_default());
        self.push_raw(chunk.ordinal, &words.bytes, unit_vector.map(|_| vector.bytes.as_slice()));
    }

    /// A record whose parts were read from another place.
    pub(crate) fn push_raw(&mut self, ordinal: u32, words: &[u8], vector: Option<&[u8]>) {
        let mut encoder = Encoder { bytes: std::mem::take(&mut self.bytes) };
        encoder.u8(if vector.is_some() { FLAG_VECTOR } else { 0 });
        encoder.u64(sum(words));
        encoder.count(words.len());
        self.located.push(Located {
            ordinal,
            file: 0,
            offset: u32::try_from(encoder.bytes.len()).unwrap_or(u32::MAX),
            words_bytes: u32::try_from(words.len()).unwrap_or(u32::MAX),
            has_vector: vector.is_some(),
        });
        encoder.bytes.extend_from_slice(words);
        if let Some(vector) = vector {
            encoder.bytes.extend_from_slice(vector);
            encoder.u64(sum(vector));
        }
        self.bytes = encoder.bytes;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.located.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The payload that stages these, and where in it the first record begins.
    pub(crate) fn staging(&self, group: &str, version: u64) -> (Vec<u8>, u32) {
        self.payload(KIND_STAGE, group, version)
    }

    /// The payload that moves these.
    pub(crate) fn moving(&self, group: &str, version: u64) -> (Vec<u8>, u32) {
        self.payload(KIND_MOVE, group, version)
    }

    fn payload(&self, kind: u8, group: &str, version: u64) -> (Vec<u8>, u32) {
        let mut encoder = Encoder::default();
        encoder.u8(kind);
        encoder.text(group);
        encoder.u64(version);
        encoder.count(self.located.len());
        let begins = u32::try_from(encoder.bytes.len()).unwrap_or(u32::MAX);
        encoder.bytes.extend_from_slice(&self.bytes);
        (encoder.bytes, begins)
    }

    /// Where the records are, the first of them at `offset` of `file`.
    pub(crate) fn located(&self, file: u32, offset: u32) -> Vec<Located> {
        self.located.iter().map(|one| Located { file, offset: offset + one.offset, ..*one }).collect()
    }
}

pub(crate) fn publish(group: &str, version: u64, attributes: &[Attribute]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.u8(KIND_PUBLISH);
    encoder.text(group);
    encoder.u64(version);
    encoder.attributes(attributes);
    encoder.bytes
}

pub(crate) fn discard(group: &str, version: u64) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.u8(KIND_DISCARD);
    encoder.text(group);
    encoder.u64(version);
    encoder.bytes
}

pub(crate) fn remove(groups: &[&str]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.u8(KIND_REMOVE);
    encoder.count(groups.len());
    groups.iter().for_each(|group| encoder.text(group));
    encoder.bytes
}

pub(crate) fn set_attributes(group: &str, attributes: &[Attribute]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.u8(KIND_ATTRIBUTES);
    encoder.text(group);
    encoder.attributes(attributes);
    encoder.bytes
}

/// Reads a change from a payload that begins at `offset` of `file`, in an index whose vectors have `vector_bytes` bytes.
pub(crate) fn read(
    payload: &[u8],
    file: u32,
    offset: u32,
    vector_bytes: usize,
) -> Result<Change<'_>, Malformed> {
    let mut decoder = Decoder::new(payload);
    let kind = decoder.u8()?;
    let change = match kind {
        KIND_STAGE | KIND_MOVE => {
            let (group, version) = (decoder.text()?, decoder.u64()?);
            let count = decoder.count(RECORD_HEAD_BYTES)?;
            let records = (0..count).map(|_| read_place(&mut decoder, file, offset, vector_bytes));
            let chunks = records.collect::<Result<_, _>>()?;
            if kind == KIND_STAGE {
                Change::Stage { group, version, chunks }
            } else {
                Change::Move { group, version, chunks }
            }
        }
        KIND_PUBLISH => Change::Publish {
            group: decoder.text()?,
            version: decoder.u64()?,
            attributes: decoder.attributes()?,
        },
        KIND_DISCARD => Change::Discard { group: decoder.text()?, version: decoder.u64()? },
        KIND_REMOVE => {
            let count = decoder.count(4)?;
            Change::Remove { groups: (0..count).map(|_| decoder.text()).collect::<Result<_, _>>()? }
        }
        KIND_ATTRIBUTES => {
            Change::SetAttributes { group: decoder.text()?, attributes: decoder.attributes()? }
        }
        _ => return Err(Malformed),
    };
    decoder.end()?;
    Ok(change)
}

fn read_place(
    decoder: &mut Decoder<'_>,
    file: u32,
    offset: u32,
    vector_bytes: usize,
) -> Result<Located, Malformed> {
    let has_vector = decoder.u8()? == FLAG_VECTOR;
    let _sum = decoder.u64()?;
    let words_bytes = decoder.u32()?;
    let begins = u32::try_from(decoder.position()).map_err(|_large| Malformed)?;
    let words = decoder.bytes(words_bytes as usize)?;
    let ordinal = Decoder::new(words).u32()?;
    if has_vector {
        decoder.bytes(vector_bytes + SUM_BYTES)?;
    }
    Ok(Located {
        ordinal,
        file,
        offset: offset.checked_add(begins).ok_or(Malformed)?,
        words_bytes,
        has_vector,
    })
}

/// The chunk of which these are the words.
pub(crate) fn read_words(words: &[u8]) -> Result<Chunk, Malformed> {
    let mut decoder = Decoder::new(words);
    let chunk = Chunk {
        ordinal: decoder.u32()?,
        heading: decoder.text()?.to_owned(),
        text: decoder.text()?.to_owned(),
        note: decoder.text()?.to_owned(),
        vector: None,
    };
    decoder.end()?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use proptest::prelude::*;

    fn chunk(ordinal: u32) -> Chunk {
        let text = format!("text {ordinal}");
        Chunk { ordinal, heading: "h".into(), text, note: "n".into(), vector: None }
    }

    #[test]
    fn staged_chunks_are_found_at_their_places() {
        let mut records = Records::default();
        records.push(&chunk(4), None);
        records.push(&chunk(7), Some(&[0.6, 0.8]));
        let (payload, begins) = records.staging("group", 9);
        let located = records.located(3, 1_000 + begins);
        let read = read(&payload, 3, 1_000, 8).unwrap();
        assert_eq!(read, Change::Stage { group: "group", version: 9, chunks: located.clone() });
        for (one, ordinal) in located.iter().zip([4, 7]) {
            let start = (one.offset - 1_000) as usize;
            let words = &payload[start..start + one.words_bytes as usize];
            assert_eq!(read_words(words).unwrap(), chunk(ordinal));
            assert_eq!(one.has_vector, ordinal == 7);
        }
    }

    #[test]
    fn changes_are_read_as_they_are_written() {
        let attributes = vec![Attribute { name: "a".into(), value: Value::Number(1.0) }];
        let check = |payload: Vec<u8>, expected: Change<'_>| {
            assert_eq!(read(&payload, 1, 0, 0).unwrap(), expected);
            assert_eq!(read(&payload[..payload.len() - 1], 1, 0, 0), Err(Malformed), "{expected:?}");
        };
        check(
            publish("g", 2, &attributes),
            Change::Publish { group: "g", version: 2, attributes: attributes.clone() },
        );
        check(discard("g", 2), Change::Discard { group: "g", version: 2 });
        check(remove(&["g", "h"]), Change::Remove { groups: vec!["g", "h"] });
        check(
            set_attributes("g", &attributes),
            Change::SetAttributes { group: "g", attributes: attributes.clone() },
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_and_nothing_worse(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, 1, 0, 8);
            let _ = read_words(&bytes);
        }
    }
}
