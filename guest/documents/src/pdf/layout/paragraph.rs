//! A paragraph, a heading or a list that lines are added to.

use crate::document::BlockKind;
use crate::pdf::lines::Line;
use crate::script::needs_space;

/// Lines that are farther apart than so many times the usual distance are of two paragraphs.
const APART: f64 = 1.3;
/// A line that begins so much further right, in its size, begins a paragraph.
const INDENT: f64 = 1.2;
/// A line that ends so much further left than the next, in its size, ends a paragraph if it ends a sentence.
const SHORT: f64 = 8.0;

/// A line with what is known of it.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) line: &'a Line,
    pub(super) text: &'a str,
    pub(super) page: u32,
    pub(super) kind: BlockKind,
}

/// What is being put together.
#[derive(Debug)]
pub(super) struct Paragraph {
    pub(super) kind: BlockKind,
    pub(super) text: String,
    /// The page it begins on.
    pub(super) page: u32,
    /// The last line of it.
    last: Place,
    /// Where its first line, or its last item, begins.
    start: f64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    page: u32,
    x: f64,
    y: f64,
    end: f64,
    size: f64,
}

fn place(part: &Part<'_>) -> Place {
    let Line { x, y, end, size, .. } = *part.line;
    Place { page: part.page, x, y, end, size }
}

impl Paragraph {
    /// Of its first line.
    pub(super) fn new(part: &Part<'_>) -> Paragraph {
        Paragraph {
            kind: part.kind,
            text: part.text.to_owned(),
            page: part.page,
            last: place(part),
            start: part.line.x,
        }
    }

    fn ends_sentence(&self) -> bool {
        self.text.ends_with([
            '.', '!', '?', '。', '！', '？', '…', ':', '：', ';', '；', '”', '"', '」', '）', ')',
        ])
    }

    /// Whether the line goes on with it. `leading` is the usual distance of lines in their size.
    pub(super) fn takes(&self, part: &Part<'_>, leading: f64) -> bool {
        let (last, next) = (self.last, place(part));
        let is_alike = (last.size - next.size).abs() < 0.1 * last.size.max(next.size);
        let down = last.y - next.y;
        let is_close =
            last.page == next.page && down > 0.0 && down < leading * APART * last.size.max(next.size);
        match (self.kind, part.kind) {
            (BlockKind::Heading { level }, BlockKind::Heading { level: other }) => {
                level == other && is_close && is_alike
            }
            (BlockKind::List, BlockKind::List) => {
                last.page == next.page && down.abs() < 3.0 * leading * last.size
            }
            (BlockKind::List, BlockKind::Paragraph) => {
                is_alike && is_close && (next.x > self.start + 0.3 * next.size || !self.ends_sentence())
            }
            (BlockKind::Paragraph, BlockKind::Paragraph) => {
                let begins = next.x > last.x + INDENT * next.size && last.x <= self.start;
                let is_short = last.end + SHORT * last.size < next.end;
                let is_over = self.ends_sentence() && (begins || is_short);
                // At the end of a column or of a page only the sentence tells.
                let goes_on =
                    if is_close { !is_over } else { down_or_over(last, next) && !self.ends_sentence() };
                is_alike && goes_on
            }
            _ => false,
        }
    }

    /// Adds the line.
    pub(super) fn add(&mut self, part: &Part<'_>) {
        if part.kind == BlockKind::List {
            self.text.push('\n');
            self.start = part.line.x;
        } else if is_hyphenated(&self.text, part.text) {
            self.text.pop();
        } else if needs_space(self.text.chars().next_back(), part.text.chars().next()) {
            self.text.push(' ');
        }
        self.text.push_str(part.text);
        self.last = place(part);
    }
}

/// Whether the next line stands where a text goes on: on the next page, or higher on this one.
fn down_or_over(last: Place, next: Place) -> bool {
    next.page == last.page + 1 || (next.page == last.page && next.y > last.y)
}

/// Whether a word was parted at the end of a line.
fn is_hyphenated(text: &str, next: &str) -> bool {
    let mut before = text.chars().rev();
    before.next() == Some('-')
        && before.next().is_some_and(char::is_lowercase)
        && next.chars().next().is_some_and(char::is_lowercase)
}
