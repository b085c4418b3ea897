//! From spans of text to lines, in the order in which they are drawn.
//!
//! That order is the one of reading in nearly every file, and the only one that keeps columns apart; sorting by place would
//! not.

use crate::error::ExtractError;
use crate::script::needs_space;

/// How many lines one page may have.
const LINES_MAX: usize = 50_000;
/// Spans whose baselines differ by less than so much of their size are on one line: superscripts, too.
const BASELINE: f64 = 0.5;
/// A span that begins by more than so much of its size before the end of the last is on another line.
const BACK: f64 = 1.0;
/// Gaps between words and between columns, in the size of the font.
const SPACE: f64 = 0.18;
const COLUMN: f64 = 2.0;

/// A piece of text that is drawn at once. Lengths are in points, along and across the direction of the text.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) end: f64,
    /// Of the font.
    pub(super) size: f64,
    pub(super) is_bold: bool,
    /// In quarters of a turn.
    pub(super) direction: u8,
}

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its text, parted where there are gaps as between columns.
    pub(super) cells: Vec<String>,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) end: f64,
    /// Of most of its text.
    pub(super) size: f64,
    /// All of it.
    pub(super) is_bold: bool,
    direction: u8,
    /// How long the text of that size is, in bytes.
    sized: usize,
}

impl Line {
    /// Its whole text.
    pub(super) fn text(&self) -> String {
        self.cells.join(" ")
    }
}

/// The lines of a page.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
}

impl Lines {
    /// Adds what is drawn next.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn push(&mut self, span: Span) -> Result<(), ExtractError> {
        match self.lines.last_mut().filter(|line| continues(line, &span)) {
            Some(line) => join(line, span),
            None if span.text.trim().is_empty() => {}
            None => {
                if self.lines.len() >= LINES_MAX {
                    return Err(ExtractError::TooLarge(format!(
                        "one of its pages has more than {LINES_MAX} lines"
                    )));
                }
                let Span { text, x, y, end, size, is_bold, direction } = span;
                let sized = text.len();
                self.lines.push(Line { cells: vec![text], x, y, end, size, is_bold, direction, sized });
            }
        }
        Ok(())
    }

    /// All lines.
    pub(super) fn finish(self) -> Vec<Line> {
        self.lines
    }
}

fn continues(line: &Line, span: &Span) -> bool {
    let size = line.size.max(span.size);
    line.direction == span.direction
        && (line.y - span.y).abs() < BASELINE * size
        && span.x > line.end - BACK * size
}

fn join(line: &mut Line, span: Span) {
    let gap = span.x - line.end;
    let size = line.size.min(span.size).max(0.1);
    line.end = line.end.max(span.end);
    if span.text.is_empty() {
        return;
    }
    let is_blank = span.text.trim().is_empty();
    if gap > COLUMN * size && !is_blank {
        line.cells.push(String::new());
    }
    if let Some(cell) = line.cells.last_mut() {
        if gap > SPACE * size && needs_space(cell.chars().next_back(), span.text.chars().next()) {
            cell.push(' ');
        }
        cell.push_str(&span.text);
    }
    line.is_bold &= span.is_bold || is_blank;
    if span.text.len() > line.sized {
        line.sized = span.text.len();
        line.size = span.size;
        line.y = span.y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, x: f64, y: f64, end: f64) -> Span {
        Span { text: text.to_owned(), x, y, end, size: 10.0, is_bold: false, direction: 0 }
    }

    #[test]
    fn spans_join_by_where_they_stand() {
        let mut lines = Lines::default();
        for span in [
            span("Wi", 0.0, 100.0, 10.0),
            span("thin", 10.5, 100.0, 30.0),
            span("days", 33.0, 100.0, 50.0),
            span("1", 50.0, 104.0, 53.0),
            span("far", 90.0, 100.0, 110.0),
            span("below", 0.0, 88.0, 30.0),
        ] {
            lines.push(span).unwrap();
        }
        let cells: Vec<Vec<String>> = lines.finish().into_iter().map(|line| line.cells).collect();
        assert_eq!(cells, [vec!["Within days1", "far"], vec!["below"]]);
    }

    #[test]
    fn ideographs_do_not_get_spaces() {
        let mut lines = Lines::default();
        lines.push(span("退货", 0.0, 0.0, 20.0)).unwrap();
        lines.push(span("政策", 23.0, 0.0, 43.0)).unwrap();
        assert_eq!(lines.finish()[0].text(), "退货政策");
    }
}
