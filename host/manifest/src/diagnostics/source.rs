//! A source file and the places in it: byte spans to lines and columns.

use std::ops::Range;
use std::sync::Arc;

/// A named text, kept so that later mistakes (a missing file, an unset variable) can still point into it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: Arc<str>,
    text: Arc<str>,
    /// Byte offset at which each line starts; always holds at least the first line's 0.
    line_starts: Arc<[usize]>,
}

impl SourceFile {
    /// Wraps `text` under the name that diagnostics show, usually the path as the user wrote it.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1))
            .collect();
        Self { name: name.into(), text, line_starts }
    }

    /// The name shown in diagnostics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The 0-based number of the line that holds byte `offset`.
    pub(crate) fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Turns a byte span into a place a person can find. A span outside the text, or one that cuts a character in
    /// two, is moved to the nearest place that exists.
    pub fn locate(&self, span: Range<usize>) -> Location {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end).max(start);
        let line_index = self.line_index(start);
        let line_start = self.line_starts.get(line_index).copied().unwrap_or(0);
        let rest = self.text.get(line_start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("");
        let line = line.strip_suffix('\r').unwrap_or(line);
        let in_line = |offset: usize| (offset - line_start).min(line.len());
        let before = line.get(..in_line(start)).unwrap_or("");
        let marked = line.get(in_line(start)..in_line(end)).unwrap_or("");
        Location {
            file: self.name.clone(),
            line: line_index + 1,
            column: before.chars().count() + 1,
            span: start..end,
            source_line: line.to_owned(),
            marked_chars: marked.chars().count().max(1),
        }
    }
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file's name as given when it was read.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1, in characters.
    pub column: usize,
    /// Bytes of the file's text.
    pub span: Range<usize>,
    /// The text of the first line of the span, without its end of line.
    pub source_line: String,
    /// How many characters of `source_line`, from `column` on, belong to the span; at least 1.
    pub marked_chars: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_become_lines_and_columns_in_characters() {
        let check = |text: &str, span: Range<usize>, expected: (usize, usize, &str, usize)| {
            let location = SourceFile::new("f", text).locate(span);
            let found =
                (location.line, location.column, location.source_line.as_str(), location.marked_chars);
            assert_eq!(found, expected, "{text:?}");
        };
        check("", 0..0, (1, 1, "", 1));
        check("", 5..9, (1, 1, "", 1));
        check("abc\ndef\n", 4..7, (2, 1, "def", 3));
        check("abc\r\ndef", 1..4, (1, 2, "abc", 2));
        check("abc\ndef", 3..3, (1, 4, "abc", 1));
        check("abc\n", 4..4, (2, 1, "", 1));
        check("ä = \"ö\"", 5..9, (1, 5, "ä = \"ö\"", 3));
        // A span that cuts a character in two is widened to whole characters.
        check("äö", 1..3, (1, 1, "äö", 2));
        check("a\nb\nc", 0..5, (1, 1, "a", 1));
    }
}
