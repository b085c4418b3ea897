//! From lines to paragraphs, headings, lists and tables, by how they are set.

mod paragraph;
mod profile;

use super::lines::Line;
use crate::document::{BlockKind, Builder};
use crate::error::ExtractError;
use crate::grid::Grid;
use paragraph::{Paragraph, Part};
use profile::Profile;

/// How many pages are looked at, and at most how many lines of them, before the first is taken apart.
const SAMPLE_PAGES: usize = 40;
const SAMPLE_LINES_MAX: usize = 20_000;
/// So many lines of as many columns, one below the other, are a table.
const TABLE_ROWS_MIN: usize = 3;
/// Lines of a table are not farther apart than so many times their size.
const TABLE_GAP: f64 = 4.0;

/// Takes pages and makes blocks of them.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    builder: &'a mut Builder,
    waiting: Vec<(u32, Vec<Line>)>,
    waiting_lines: usize,
    profile: Option<Profile>,
    paragraph: Option<Paragraph>,
}

impl<'a> Layout<'a> {
    pub(super) fn new(builder: &'a mut Builder) -> Layout<'a> {
        Layout { builder, waiting: Vec::new(), waiting_lines: 0, profile: None, paragraph: None }
    }

    /// Takes the lines of the next page.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn page(&mut self, number: u32, lines: Vec<Line>) -> Result<(), ExtractError> {
        if let Some(profile) = self.profile.take() {
            let emitted = self.emit(&profile, number, lines);
            self.profile = Some(profile);
            return emitted;
        }
        self.waiting_lines += lines.len();
        self.waiting.push((number, lines));
        if self.waiting.len() >= SAMPLE_PAGES || self.waiting_lines >= SAMPLE_LINES_MAX {
            self.emit_waiting()?;
        }
        Ok(())
    }

    /// Ends the last block.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn finish(mut self) -> Result<(), ExtractError> {
        self.emit_waiting()?;
        self.flush()
    }

    fn emit_waiting(&mut self) -> Result<(), ExtractError> {
        let pages = std::mem::take(&mut self.waiting);
        let profile = self.profile.take().unwrap_or_else(|| Profile::of(&pages));
        for (number, lines) in pages {
            self.emit(&profile, number, lines)?;
        }
        self.profile = Some(profile);
        Ok(())
    }

    fn emit(&mut self, profile: &Profile, page: u32, mut lines: Vec<Line>) -> Result<(), ExtractError> {
        // A page of nothing but what stands on every page is a form, not a page with a header.
        if !lines.iter().all(|line| profile.is_repeated(line)) {
            lines.retain(|line| !profile.is_repeated(line));
        }
        let mut rest = lines.as_slice();
        while let Some((line, after)) = rest.split_first() {
            let rows = table_rows(rest);
            if rows >= TABLE_ROWS_MIN {
                let (table, below) = rest.split_at(rows);
                self.table(page, table)?;
                rest = below;
                continue;
            }
            self.line(profile, page, line)?;
            rest = after;
        }
        Ok(())
    }

    fn table(&mut self, page: u32, rows: &[Line]) -> Result<(), ExtractError> {
        self.flush()?;
        self.builder.set_page(page);
        let mut grid = Grid::default();
        grid.set_header();
        for row in rows {
            row.cells.iter().for_each(|cell| grid.cell(cell));
            grid.end_row();
        }
        grid.push(self.builder)
    }

    fn line(&mut self, profile: &Profile, page: u32, line: &Line) -> Result<(), ExtractError> {
        let text = line.text();
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        let part = Part { line, text, page, kind: profile.kind(line, text) };
        if let Some(paragraph) = &mut self.paragraph
            && paragraph.takes(&part, profile.leading)
        {
            paragraph.add(&part);
            return Ok(());
        }
        self.flush()?;
        self.paragraph = Some(Paragraph::new(&part));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExtractError> {
        let Some(paragraph) = self.paragraph.take() else { return Ok(()) };
        self.builder.set_page(paragraph.page);
        let is_title = matches!(paragraph.kind, BlockKind::Heading { level: 1 });
        if is_title && paragraph.page == 1 {
            self.builder.set_title(&paragraph.text);
        }
        self.builder.push(paragraph.kind, &paragraph.text)
    }
}

/// How many of the first lines are rows of one table.
fn table_rows(lines: &[Line]) -> usize {
    let Some(first) = lines.first().filter(|line| line.cells.len() > 1) else { return 0 };
    let follows = |pair: &[Line]| {
        let gap = pair[0].y - pair[1].y;
        pair[1].cells.len() == first.cells.len() && gap > 0.0 && gap < TABLE_GAP * first.size
    };
    1 + lines.windows(2).take_while(|pair| follows(pair)).count()
}
