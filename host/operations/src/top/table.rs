//! Columns, rows, their order, and the lines they make, in a terminal and as text alike. Pure.

use super::figures;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use std::cmp::Ordering;

/// Columns that a name takes at most; what is longer is cut.
const NAME_WIDTH_MAX: usize = 32;
/// Between two columns.
const GAP: &str = "  ";

/// How a cell is to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// Nothing happens there.
    Quiet,
    /// Worth a look.
    Warning,
    /// Something is broken.
    Alarm,
}

impl Tone {
    pub(super) fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Quiet => Style::new().add_modifier(Modifier::DIM),
            Self::Warning => Style::new().fg(Color::Yellow),
            Self::Alarm => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// What it is sorted by, largest first; none comes last.
    pub(super) value: Option<f64>,
    pub(super) tone: Tone,
}

impl Cell {
    pub(super) fn new(value: f64, show: impl FnOnce(f64) -> String) -> Self {
        Self::maybe(Some(value), show)
    }

    /// A number that there may not be. Zero is quiet.
    pub(super) fn maybe(value: Option<f64>, show: impl FnOnce(f64) -> String) -> Self {
        let tone = if value.is_none_or(|value| value == 0.0) { Tone::Quiet } else { Tone::Plain };
        Self { text: figures::or_none(value, show), value, tone }
    }

    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// Toned so when it is above zero.
    pub(super) fn toned_above_zero(self, tone: Tone) -> Self {
        if self.value.is_some_and(|value| value > 0.0) { self.toned(tone) } else { self }
    }
}

/// A table: a name for each row, then cells. No text in it is empty or holds a space.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// The names of the columns; the first is what a row is.
    columns: &'static [&'static str],
    rows: Vec<(String, Vec<Cell>)>,
}

impl Table {
    /// Each row has as many cells as there are columns after the first.
    pub(super) fn new(
        columns: &'static [&'static str],
        rows: impl Iterator<Item = (String, Vec<Cell>)>,
    ) -> Self {
        Self { columns, rows: rows.map(|(name, cells)| (word(&name), cells)).collect() }
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Sorts by a column: by name upwards, by a number downwards; rows that are equal by name.
    pub(super) fn sort(&mut self, column: usize) {
        self.rows.sort_by(|(name, cells), (other_name, other_cells)| {
            let value = |cells: &[Cell]| {
                column.checked_sub(1).and_then(|at| cells.get(at)).and_then(|cell| cell.value)
            };
            let by_value = match (value(cells), value(other_cells)) {
                (Some(one), Some(other)) => other.total_cmp(&one),
                (one, other) => other.is_some().cmp(&one.is_some()),
            };
            if by_value == Ordering::Equal { name.cmp(other_name) } else { by_value }
        });
    }

    /// The names of the columns, and up to `rows_max` rows from `from` on, as far as the columns fit into `width`.
    /// `sorted` is the column that is marked, if one is.
    pub(super) fn lines(
        &self,
        from: usize,
        rows_max: usize,
        width: usize,
        sorted: Option<usize>,
    ) -> Vec<Line<'static>> {
        let widths = self.widths(width);
        let head = self.columns.iter().zip(&widths).enumerate().map(|(at, (name, width))| {
            let style = Style::new().add_modifier(Modifier::BOLD);
            let style = if sorted == Some(at) { style.add_modifier(Modifier::REVERSED) } else { style };
            (at, (*name).to_owned(), style, *width)
        });
        let rows = self.rows.iter().skip(from).take(rows_max).map(|(name, cells)| {
            let cells = cells.iter().map(|cell| (cell.text.clone(), cell.tone.style()));
            let all = std::iter::once((name.clone(), Style::new())).chain(cells);
            line(all.zip(&widths).enumerate().map(|(at, ((text, style), width))| (at, text, style, *width)))
        });
        std::iter::once(line(head)).chain(rows).collect()
    }

    /// How wide each column is that fits. All rows count, so that nothing moves when they are scrolled.
    fn widths(&self, width_max: usize) -> Vec<usize> {
        let mut used = 0;
        let mut widths = Vec::with_capacity(self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            let cell = |(name, cells): &(String, Vec<Cell>)| match at.checked_sub(1) {
                None => width_of(name),
                Some(at) => cells.get(at).map_or(0, |cell| width_of(&cell.text)),
            };
            let width = self.rows.iter().map(cell).max().unwrap_or(0).max(width_of(column));
            used += width + if at == 0 { 0 } else { GAP.len() };
            // A name that is cut is better than none.
            if used > width_max && at > 0 {
                break;
            }
            widths.push(width);
        }
        widths
    }
}

/// Cells side by side, the first to the left and all others to the right of their column.
fn line(cells: impl Iterator<Item = (usize, String, Style, usize)>) -> Line<'static> {
    let mut spans = Vec::new();
    for (at, text, style, width) in cells {
        let fill = " ".repeat(width.saturating_sub(width_of(&text)));
        if at == 0 {
            spans.extend([Span::styled(text, style), Span::raw(fill)]);
        } else {
            spans.extend([Span::raw(format!("{GAP}{fill}")), Span::styled(text, style)]);
        }
    }
    Line::from(spans)
}

/// What a text takes in a terminal, where a character of Chinese takes two columns.
fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// A name as one word that fits: nothing in it moves the cursor or breaks a line.
pub(super) fn word(name: &str) -> String {
    let is_bad = |one: char| one.is_control() || one.is_whitespace();
    let mut text: String =
        name.chars().take(NAME_WIDTH_MAX + 1).map(|one| if is_bad(one) { '_' } else { one }).collect();
    if width_of(&text) > NAME_WIDTH_MAX {
        while width_of(&text) >= NAME_WIDTH_MAX {
            text.pop();
        }
        text.push('…');
    }
    if text.is_empty() { figures::NONE.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_that_fits() {
        let check = |name: &str, expected: &str| assert_eq!(word(name), expected, "{name:?}");
        check("bank", "bank");
        check("", "-");
        check("a b\tc\u{1b}[1m\n", "a_b_c_[1m_");
        check(&"x".repeat(32), &"x".repeat(32));
        check(&"x".repeat(33), &format!("{}…", "x".repeat(31)));
        check(&"客".repeat(40), &format!("{}…", "客".repeat(15)));
    }

    fn table() -> Table {
        let row =
            |name: &str, value: Option<f64>| (name.to_owned(), vec![Cell::maybe(value, figures::number)]);
        let rows = [row("客服", Some(1.0)), row("b", None), row("c", Some(20.0)), row("a", Some(1.0))];
        Table::new(&["NAME", "LONG"], rows.into_iter())
    }

    #[test]
    fn rows_are_sorted_by_name_upwards_and_by_numbers_downwards() {
        let check = |column: usize, expected: [&str; 4]| {
            let mut table = table();
            table.sort(column);
            let names: Vec<_> = table.rows.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, expected, "{column}");
        };
        check(0, ["a", "b", "c", "客服"]);
        check(1, ["c", "a", "客服", "b"]);
    }

    #[test]
    fn columns_stand_under_their_names_and_those_without_room_are_left_out() {
        let check = |width: usize, expected: [&str; 3]| {
            let lines: Vec<_> = table().lines(0, 2, width, None).iter().map(Line::to_string).collect();
            assert_eq!(lines, expected, "{width}");
        };
        check(10, ["NAME  LONG", "客服     1", "b        -"]);
        check(9, ["NAME", "客服", "b   "]);
        check(0, ["NAME", "客服", "b   "]);
    }
}
