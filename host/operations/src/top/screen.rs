//! What the terminal shows, what a key changes, and how it is drawn. It touches no terminal: it draws into a frame.

use super::report::{self, COLUMNS, SORTED_BY, TABLES};
use super::table::{Table, Tone};
use super::view::{Reading, View};
use super::{Address, TopError, figures};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::time::{Duration, Instant};

/// Lines of a table that are no rows: its head, and the empty line behind it.
const TABLE_FRAME: usize = 2;
/// Rows that a page is.
const PAGE_ROWS: usize = 10;
const KEYS: &str = "q quit  s sort  p pause  tab next table  up/down scroll";

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    Quit,
}

/// What is shown.
pub(super) struct Screen {
    address: Address,
    interval: Duration,
    before: Option<Reading>,
    view: Option<View>,
    lost: Option<Lost>,
    is_paused: bool,
    /// The table that keys are for.
    focus: usize,
    sorted_by: [usize; TABLES],
    /// The first row that is shown of each table.
    scrolled: [usize; TABLES],
}

/// A host that cannot be read at present.
struct Lost {
    since: Instant,
    reason: String,
}

impl Screen {
    pub(super) fn new(address: &Address, interval: Duration) -> Self {
        Self {
            address: address.clone(),
            interval,
            before: None,
            view: None,
            lost: None,
            is_paused: false,
            focus: 0,
            sorted_by: SORTED_BY,
            scrolled: [0; TABLES],
        }
    }

    /// Takes what the host told, or that it did not. While paused, what is shown stays.
    pub(super) fn take(&mut self, reading: Result<Reading, TopError>, now: Instant) {
        match reading {
            Ok(after) => {
                self.lost = None;
                if let Some(before) = self.before.as_ref().filter(|_| !self.is_paused || self.view.is_none())
                {
                    self.view = Some(View::between(before, &after));
                }
                self.before = Some(after);
            }
            Err(error) => {
                // Rates over the time without it would be of no moment.
                self.before = None;
                let reason = error.to_string();
                let since = self.lost.as_ref().map_or(now, |lost| lost.since);
                self.lost = Some(Lost { since, reason });
            }
        }
    }

    pub(super) fn event(&mut self, event: &Event) -> Next {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            // Whatever else it is, a new size for example, it is drawn after each event.
            _ => Next::Go,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Next {
        let columns = COLUMNS[self.focus];
        let sorted_by = &mut self.sorted_by[self.focus];
        let scrolled = &mut self.scrolled[self.focus];
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Next::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char('s') => *sorted_by = (*sorted_by + 1) % columns,
            KeyCode::Char('S') => *sorted_by = (*sorted_by + columns - 1) % columns,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Tab => self.focus = (self.focus + 1) % TABLES,
            KeyCode::BackTab => self.focus = (self.focus + TABLES - 1) % TABLES,
            // What is past the end is taken back when it is drawn.
            KeyCode::Down | KeyCode::Char('j') => *scrolled = scrolled.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => *scrolled = scrolled.saturating_sub(1),
            KeyCode::PageDown => *scrolled = scrolled.saturating_add(PAGE_ROWS),
            KeyCode::PageUp => *scrolled = scrolled.saturating_sub(PAGE_ROWS),
            KeyCode::End => *scrolled = usize::MAX,
            KeyCode::Home => *scrolled = 0,
            _ => {}
        }
        Next::Go
    }

    /// Draws all of it, the status in the last line.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: Instant) {
        let area = frame.area();
        let Some(rows) = usize::from(area.height).checked_sub(1) else { return };
        let lines = self.body(rows, usize::from(area.width));
        // What is shown of a host that has gone is of the past.
        let style = if self.lost.is_some() { Tone::Quiet.style() } else { Style::new() };
        for (row, line) in (area.y..).zip(&lines) {
            let place = Rect { y: row, height: 1, ..area };
            frame.render_widget(line, place);
            frame.buffer_mut().set_style(place, style);
        }
        let last = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        frame.render_widget(self.status(now), last);
    }

    /// At most `rows` lines.
    fn body(&mut self, rows: usize, width: usize) -> Vec<Line<'static>> {
        let Some(view) = &self.view else {
            return vec![Line::raw(format!("waggle at {}: measuring", self.address))];
        };
        let mut lines = vec![report::title(&view.host, &self.address)];
        lines.extend(report::facts(&view.host));
        lines.push(Line::default());
        let tables = report::tables(view, self.sorted_by);
        let shown =
            shares(rows.saturating_sub(lines.len()), tables.each_ref().map(Table::row_count), self.focus);
        for (at, (table, shown)) in tables.iter().zip(shown).enumerate() {
            let Some(shown) = shown else { continue };
            let scrolled = &mut self.scrolled[at];
            *scrolled = (*scrolled).min(table.row_count().saturating_sub(shown));
            let sorted = (at == self.focus).then_some(self.sorted_by[at]);
            lines.extend(table.lines(*scrolled, shown, width, sorted));
            lines.push(match table.row_count().saturating_sub(*scrolled + shown) {
                0 => Line::default(),
                more => Line::styled(format!("+{more}"), Tone::Quiet.style()),
            });
        }
        lines.truncate(rows);
        lines
    }

    fn status(&self, now: Instant) -> Line<'static> {
        if let Some(Lost { since, reason }) = &self.lost {
            let gone = figures::span(now.saturating_duration_since(*since));
            return Line::styled(
                format!("gone for {gone}, trying on (q quits): {reason}"),
                Tone::Alarm.style(),
            );
        }
        let pace = if self.is_paused {
            Span::styled("paused", Tone::Warning.style())
        } else {
            Span::raw(format!("every {}", figures::seconds(self.interval.as_secs_f64())))
        };
        Line::from(vec![pace, Span::styled(format!("  {KEYS}"), Tone::Quiet.style())])
    }
}

/// How many rows of each table are shown in `lines`; none for a table that has no room for its head. Tables that need less
/// leave it to the others; the one in focus is shown before all others.
fn shares(lines: usize, rows: [usize; TABLES], focus: usize) -> [Option<usize>; TABLES] {
    let mut left = lines;
    let mut shown = [None; TABLES];
    for at in std::iter::once(focus).chain((0..TABLES).filter(|at| *at != focus)) {
        let needed = TABLE_FRAME + rows[at].min(1);
        if let Some(rest) = left.checked_sub(needed) {
            (left, shown[at]) = (rest, Some(rows[at].min(1)));
        }
    }
    let mut has_grown = true;
    while left > 0 && has_grown {
        has_grown = false;
        for (shown, rows) in shown.iter_mut().zip(rows) {
            if let Some(shown) = shown.as_mut().filter(|shown| left > 0 && **shown < rows) {
                (*shown, left, has_grown) = (*shown + 1, left - 1, true);
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests;
