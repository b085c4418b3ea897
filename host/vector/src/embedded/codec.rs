//! Numbers and texts as bytes, little-endian, and back. What is read is never trusted: lengths are held against what is
//! there.

use crate::{Attribute, Value};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a checksum.
pub(crate) const SUM_BYTES: usize = 8;

/// The checksum of all files.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Less is there than is said to be, or something that is never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is written there makes no sense")]
pub(crate) struct Malformed;

/// Bytes that are being written.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn u8(&mut self, number: u8) {
        self.bytes.push(number);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn f32s(&mut self, numbers: &[f32]) {
        self.bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// The number of entries that follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn attributes(&mut self, attributes: &[Attribute]) {
        self.count(attributes.len());
        for attribute in attributes {
            self.text(&attribute.name);
            match &attribute.value {
                Value::Text(text) => {
                    self.u8(0);
                    self.text(text);
                }
                Value::Number(number) => {
                    self.u8(1);
                    self.u64(number.to_bits());
                }
                Value::Boolean(boolean) => {
                    self.u8(2);
                    self.u8(u8::from(*boolean));
                }
            }
        }
    }
}

/// Bytes that are being read.
#[derive(Clone, Debug)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_wrong| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The number of entries that follow, each of at least `entry_bytes` bytes.
    pub(crate) fn count(&mut self, entry_bytes: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        let left = self.bytes.len() - self.at;
        if count.saturating_mul(entry_bytes) <= left { Ok(count) } else { Err(Malformed) }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.count(1)?;
        std::str::from_utf8(self.bytes(bytes)?).map_err(|_wrong| Malformed)
    }

    pub(crate) fn attributes(&mut self) -> Result<Vec<Attribute>, Malformed> {
        const LEAST_BYTES: usize = 6;
        let count = self.count(LEAST_BYTES)?;
        (0..count).map(|_| self.attribute()).collect()
    }

    fn attribute(&mut self) -> Result<Attribute, Malformed> {
        let name = self.text()?.to_owned();
        let value = match self.u8()? {
            0 => Value::Text(self.text()?.to_owned()),
            1 => Value::Number(f64::from_bits(self.u64()?)),
            2 => Value::Boolean(self.u8()? != 0),
            _ => return Err(Malformed),
        };
        Ok(Attribute { name, value })
    }

    /// Fails if anything is left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(Malformed) }
    }
}

/// Numbers that were written by [`Encoder::f32s`].
pub(crate) fn f32s(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _rest) = bytes.as_chunks::<4>();
    numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            ".{0,20}".prop_map(Value::Text),
            any::<i32>().prop_map(|number| Value::Number(number.into())),
            any::<bool>().prop_map(Value::Boolean),
        ]
    }

    proptest! {
        #[test]
        fn attributes_are_read_as_they_are_written(list in prop::collection::vec((".{0,9}", value()), 0..9)) {
            let list: Vec<_> = list.into_iter().map(|(name, value)| Attribute { name, value }).collect();
            let mut encoder = Encoder::default();
            encoder.attributes(&list);
            let mut decoder = Decoder::new(&encoder.bytes);
            prop_assert_eq!(decoder.attributes().unwrap(), list);
            prop_assert_eq!(decoder.end(), Ok(()));
        }

        #[test]
        fn arbitrary_bytes_are_an_error_and_nothing_worse(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::new(&bytes).attributes();
            let _ = Decoder::new(&bytes).text();
        }
    }
}
