//! How pages are written: numbers of variable length (LEB128), and texts and bytes behind their length. A value begins
//! with the number of the format.

/// What this code writes and reads.
const FORMAT: u8 = 1;

/// A page that is being written.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// An empty page.
    pub(super) fn new() -> Self {
        Self(vec![FORMAT])
    }

    /// Bytes that stand within a page.
    pub(super) fn part() -> Self {
        Self(Vec::new())
    }

    pub(super) fn number(&mut self, number: u64) {
        let mut rest = number;
        while rest >= 0x80 {
            self.0.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn vector(&mut self, vector: &[f32]) {
        for component in vector {
            self.0.extend_from_slice(&component.to_le_bytes());
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A page that is read. Everything answers `None` where the page is not what this code writes.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins a page.
    pub(super) fn new(value: &'a [u8]) -> Option<Self> {
        let (format, rest) = value.split_first()?;
        (*format == FORMAT).then_some(Self(rest))
    }

    /// Begins what [`Writer::part`] wrote.
    pub(super) fn part(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn small(&mut self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A vector as its bytes, four for each dimension.
    pub(super) fn vector(&mut self, dimensions: usize) -> Option<&'a [u8]> {
        self.take(dimensions.checked_mul(size_of::<f32>())?)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Whether all was read.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            numbers in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..300], 0..8),
            text in any::<String>(),
            vector in prop::collection::vec(any::<f32>(), 0..8),
        ) {
            let mut writer = Writer::new();
            numbers.iter().for_each(|number| writer.number(*number));
            writer.bytes(text.as_bytes());
            writer.vector(&vector);
            let page = writer.into_bytes();
            let mut reader = Reader::new(&page).unwrap();
            for number in &numbers {
                prop_assert_eq!(reader.number(), Some(*number));
            }
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            let bytes: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
            prop_assert_eq!(reader.vector(vector.len()), Some(bytes.as_slice()));
            prop_assert!(reader.is_over());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(mut reader) = Reader::new(&bytes) {
                while reader.number().is_some() || reader.text().is_some() {}
            }
        }
    }

    #[test]
    fn what_is_cut_or_of_another_format_is_refused() {
        assert!(Reader::new(&[]).is_none());
        assert!(Reader::new(&[2, 0]).is_none());
        assert!(Reader::part(&[0x80]).number().is_none());
        assert!(Reader::part(&[0xff; 10]).number().is_none());
        assert!(Reader::part(&[3, 1, 2]).bytes().is_none());
        assert!(Reader::part(&[1, 0xff]).text().is_none());
        assert!(Reader::part(&[0; 7]).vector(2).is_none());
        assert!(Reader::part(&[]).vector(usize::MAX).is_none());
    }
}
