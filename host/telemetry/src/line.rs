//! Bytes to lines: split, cut to a bound, made printable. Pure; it writes nothing anywhere.

use std::fmt::Write;

/// The most bytes of a line that reach the log; the rest is cut and counted.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// How much memory a buffer holds on to between two lines, in bytes: there are two of them per instance.
const KEPT_BYTES_IDLE: usize = 512;

/// Collects the bytes of one line, whatever pieces they come in.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    /// The beginning of the line, at most [`LINE_BYTES_MAX`] bytes.
    kept: Vec<u8>,
    /// How many bytes came after it.
    cut: u64,
}

impl LineBuffer {
    /// Takes `bytes` in and calls `line` for each line that is complete now.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(Line<'_>)) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(piece);
            if pieces.peek().is_some() {
                self.end(&mut line);
            }
        }
    }

    /// Calls `line` for what has come of a line without an end.
    pub(crate) fn flush(&mut self, mut line: impl FnMut(Line<'_>)) {
        self.end(&mut line);
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX - self.kept.len();
        let (kept, cut) = piece.split_at(piece.len().min(room));
        self.kept.extend_from_slice(kept);
        self.cut += cut.len() as u64;
    }

    fn end(&mut self, line: &mut impl FnMut(Line<'_>)) {
        let bytes =
            if self.cut == 0 { self.kept.strip_suffix(b"\r").unwrap_or(&self.kept) } else { &self.kept };
        // An empty line tells the reader of a log nothing.
        if !bytes.is_empty() {
            line(Line { bytes, cut: self.cut });
        }
        self.kept.clear();
        self.kept.shrink_to(KEPT_BYTES_IDLE);
        self.cut = 0;
    }
}

/// A line as it was written, perhaps cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    bytes: &'a [u8],
    cut: u64,
}

impl Line<'_> {
    /// The line as it can stand in a log: what is not UTF-8 replaced, what a terminal or a log reader would act upon
    /// escaped, and a note of what was cut.
    pub(crate) fn printable(&self) -> String {
        let mut text = String::with_capacity(self.bytes.len());
        for chunk in self.whole_characters().utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_unsafe(character) {
                    text.extend(character.escape_default());
                } else {
                    text.push(character);
                }
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        if self.cut > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, " [{} bytes cut]", self.cut);
        }
        text
    }

    /// The bytes without a character that the cut has split.
    fn whole_characters(&self) -> &[u8] {
        if self.cut == 0 {
            return self.bytes;
        }
        match std::str::from_utf8(self.bytes) {
            Err(error) if error.error_len().is_none() => &self.bytes[..error.valid_up_to()],
            _ => self.bytes,
        }
    }
}

/// Characters that a reader does not see but that change what is seen: controls, line and paragraph separators,
/// direction marks and overrides, zero-width characters.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for piece in pieces {
            buffer.push(piece, |line| lines.push(line.printable()));
        }
        buffer.flush(|line| lines.push(line.printable()));
        lines
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let check = |pieces: &[&[u8]], expected: &[&str]| assert_eq!(lines(pieces), expected);
        check(&[], &[]);
        check(&[b""], &[]);
        check(&[b"one\n"], &["one"]);
        check(&[b"one\ntwo"], &["one", "two"]);
        check(&[b"o", b"n", b"e\nt", b"wo\n"], &["one", "two"]);
        check(&[b"one\r\ntwo\r\n"], &["one", "two"]);
        check(&[b"one\n\n\r\ntwo\n"], &["one", "two"]);
        check(&["ä".as_bytes().split_at(1).0, "ä".as_bytes().split_at(1).1], &["ä"]);
    }

    #[test]
    fn what_is_not_text_is_replaced_and_what_acts_is_escaped() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(lines(&[bytes]), [expected]);
        check(b"a\xffb", "a\u{fffd}b");
        check(b"\x1b[31mred", "\\u{1b}[31mred");
        check(b"a\tb\0c\x07", "a\\tb\\u{0}c\\u{7}");
        check(b"one\rtwo", "one\\rtwo");
        check("a\u{202e}b\u{2028}c\u{85}d".as_bytes(), "a\\u{202e}b\\u{2028}c\\u{85}d");
        check("größer 日本 🐝".as_bytes(), "größer 日本 🐝");
    }

    #[test]
    fn a_line_over_the_bound_is_cut_and_says_how_much() {
        let check = |line: String, expected: String| {
            for size in [1, 7, 4096, line.len().max(1)] {
                let pieces: Vec<&[u8]> = line.as_bytes().chunks(size).collect();
                assert_eq!(lines(&pieces), std::slice::from_ref(&expected), "in pieces of {size}");
            }
        };
        let full = "x".repeat(LINE_BYTES_MAX);
        check(full.clone(), full.clone());
        check(format!("{full}yz\n"), format!("{full} [2 bytes cut]"));
        // The bound falls into a character: none of it is left over.
        let but_one = "x".repeat(LINE_BYTES_MAX - 1);
        check(format!("{but_one}äb"), format!("{but_one} [2 bytes cut]"));
    }

    #[test]
    fn the_line_after_a_cut_one_is_whole() {
        let long = "x".repeat(LINE_BYTES_MAX + 10);
        let found = lines(&[long.as_bytes(), b"\nnext\n"]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], "next");
    }

    proptest! {
        #[test]
        fn no_input_makes_a_line_that_is_long_or_unsafe(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            let mut buffer = LineBuffer::default();
            let mut failed = None;
            buffer.push(&bytes, |line| {
                if line.bytes.len() > LINE_BYTES_MAX || line.printable().chars().any(is_unsafe) {
                    failed = Some(line.printable());
                }
            });
            prop_assert!(failed.is_none(), "{:?}", failed);
            prop_assert!(buffer.kept.capacity() <= 2 * LINE_BYTES_MAX);
        }

        #[test]
        fn the_pieces_make_no_difference(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1..50_usize) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(lines(&pieces), lines(&[&bytes]));
        }
    }
}
