//! What is left of a file when its format is taken away: blocks of text in their order.

use crate::bounds::Bounds;
use crate::detect::Kind;
use crate::error::ExtractError;

/// What stands between two blocks in [`Document::text`].
pub const BLOCK_SEPARATOR: &str = "\n\n";
/// A heading that is longer is a paragraph in large letters, in bytes.
const HEADING_BYTES_MAX: usize = 300;

/// A file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the file calls itself, else its name without the extension.
    pub title: String,
    /// What the file was read as.
    pub kind: Kind,
    /// Its text, in the order of reading. There is at least one block, and none is empty.
    pub blocks: Vec<Block>,
    /// How many pages it has, where it has pages.
    pub pages: Option<u32>,
}

/// One block of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its text, without white space at its ends.
    pub text: String,
    /// The page it begins on, from 1, where the file has pages.
    pub page: Option<u32>,
    /// Where it begins in [`Document::text`], in bytes.
    pub offset: usize,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A heading, one line.
    Heading {
        /// From 1, the topmost, to 6.
        level: u8,
    },
    /// Running text.
    Paragraph,
    /// A list, one item a line or more, with its markers.
    List,
    /// A table, one row a line, cells with ` | ` between them.
    Table {
        /// Whether the first line names the columns.
        header: bool,
    },
    /// Code, or other text whose line breaks mean something.
    Code,
    /// A question, which is the first line, and its answer.
    QuestionAnswer,
    /// A record of named values, one a line.
    Record,
}

impl Document {
    /// The whole text: all blocks with [`BLOCK_SEPARATOR`] between them. Offsets of blocks and chunks count in it.
    pub fn text(&self) -> String {
        let bytes = self.blocks.last().map_or(0, |last| last.offset + last.text.len());
        let mut text = String::with_capacity(bytes);
        for block in &self.blocks {
            if !text.is_empty() {
                text.push_str(BLOCK_SEPARATOR);
            }
            text.push_str(&block.text);
        }
        text
    }
}

/// Takes blocks and holds them to the bounds.
#[derive(Debug)]
pub(crate) struct Builder {
    bounds: Bounds,
    title: Option<String>,
    blocks: Vec<Block>,
    bytes: usize,
    page: Option<u32>,
}

impl Builder {
    /// A document without blocks.
    pub(crate) fn new(bounds: &Bounds) -> Builder {
        Builder { bounds: *bounds, title: None, blocks: Vec::new(), bytes: 0, page: None }
    }

    /// What the file is held to.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What follows stands on this page.
    pub(crate) fn set_page(&mut self, page: u32) {
        self.page = Some(page);
    }

    /// What the file calls itself; the first one that says something counts.
    pub(crate) fn set_title(&mut self, title: &str) {
        let title = one_line(&cleaned(title));
        if self.title.is_none() && !title.is_empty() {
            self.title = Some(cut(&title, HEADING_BYTES_MAX).to_owned());
        }
    }

    /// Whether there is no block yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds a block; one without text is left out.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(crate) fn push(&mut self, kind: BlockKind, text: &str) -> Result<(), ExtractError> {
        let mut text = trimmed(kind, &cleaned(text));
        if text.is_empty() {
            return Ok(());
        }
        let mut kind = kind;
        if let BlockKind::Heading { .. } = kind {
            text = one_line(&text);
            if text.len() > HEADING_BYTES_MAX {
                kind = BlockKind::Paragraph;
            }
        }
        let offset = if self.blocks.is_empty() { 0 } else { self.bytes + BLOCK_SEPARATOR.len() };
        if self.blocks.len() >= self.bounds.blocks_max {
            return Err(ExtractError::more_than(self.bounds.blocks_max, "paragraphs, tables or records"));
        }
        self.bytes = offset + text.len();
        check_text(self.bytes, &self.bounds)?;
        self.blocks.push(Block { kind, text, page: self.page, offset });
        Ok(())
    }

    /// The document. `name` is the file's.
    ///
    /// # Errors
    /// [`ExtractError::NoText`] without a block.
    pub(crate) fn finish(self, kind: Kind, name: &str, pages: Option<u32>) -> Result<Document, ExtractError> {
        if self.blocks.is_empty() {
            return Err(ExtractError::NoText);
        }
        let title = self.title.unwrap_or_else(|| stem(name).to_owned());
        Ok(Document { title, kind, blocks: self.blocks, pages })
    }
}

/// Holds a length of text to its bound.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn check_text(bytes: usize, bounds: &Bounds) -> Result<(), ExtractError> {
    if bytes > bounds.text_bytes_max {
        return Err(ExtractError::more_than(bounds.text_bytes_max, "bytes of text"));
    }
    Ok(())
}

/// At most so many bytes of a text, whole characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// All white space, line breaks included, as single spaces.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// A file's name without folders and extension.
fn stem(name: &str) -> &str {
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match base.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => base,
    }
}

/// The text without what nobody sees: control characters, zero-width characters, soft hyphens; line ends are `\n`, and spaces
/// of whatever width are spaces.
fn cleaned(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut previous = ' ';
    for character in text.chars() {
        match character {
            '\n' if previous == '\r' => {}
            '\r' | '\n' | '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}' | '\u{85}' => clean.push('\n'),
            '\t' => clean.push('\t'),
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => clean.push(' '),
            '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => {}
            _ if character.is_control() => {}
            _ => clean.push(character),
        }
        previous = character;
    }
    clean
}

/// Without white space at the ends of lines and of the whole; where indentation means something, the first line keeps its own.
fn trimmed(kind: BlockKind, text: &str) -> String {
    let keeps_indentation = matches!(kind, BlockKind::Code);
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let joined = lines.get(first..).unwrap_or_default().join("\n");
    if keeps_indentation { joined } else { joined.trim_start().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(pushes: &[(BlockKind, &str)], bounds: &Bounds) -> Result<Document, ExtractError> {
        let mut builder = Builder::new(bounds);
        for (kind, text) in pushes {
            builder.push(*kind, text)?;
        }
        builder.finish(Kind::PlainText, "folder/name.of.file.txt", None)
    }

    #[test]
    fn offsets_are_those_of_the_whole_text() {
        let pushes = [
            (BlockKind::Heading { level: 1 }, " A\n heading "),
            (BlockKind::Paragraph, " \u{feff}one\r\ntwo\u{0}\u{a0}three "),
            (BlockKind::Paragraph, " \n "),
            (BlockKind::Code, "\n    indented\n"),
        ];
        let document = built(&pushes, &Bounds::default()).unwrap();
        let text = document.text();
        assert_eq!(text, "A heading\n\none\ntwo three\n\n    indented");
        for block in &document.blocks {
            assert!(text[block.offset..].starts_with(&block.text));
        }
        assert_eq!(document.title, "name.of.file");
    }

    #[test]
    fn what_is_over_a_bound_is_refused() {
        let pushes = [(BlockKind::Paragraph, "ab"), (BlockKind::Paragraph, "cd")];
        let check = |bounds: Bounds| built(&pushes, &bounds).map_err(|error| error.code());
        assert!(check(Bounds { text_bytes_max: 6, blocks_max: 2, ..Bounds::default() }).is_ok());
        let text = Bounds { text_bytes_max: 5, ..Bounds::default() };
        assert_eq!(check(text).unwrap_err(), "file_too_large");
        let blocks = Bounds { blocks_max: 1, ..Bounds::default() };
        assert_eq!(check(blocks).unwrap_err(), "file_too_large");
    }

    #[test]
    fn a_document_without_text_is_none() {
        assert_eq!(built(&[], &Bounds::default()), Err(ExtractError::NoText));
    }
}
