//! Draws a diagnostic as rustc draws its own: message, place, the line with carets, help. Plain text unless asked
//! for colour; control characters of the source never reach the terminal.

use std::fmt::{self, Write};

use unicode_width::UnicodeWidthChar;

use super::{Diagnostic, Location, Severity};

/// Longer lines are cut around the mistake, so that one generated line cannot fill the screen.
const SOURCE_LINE_CHARS_MAX: usize = 160;
/// Characters kept before the mistake in a line that is cut.
const CUT_LINE_LEAD_CHARS: usize = 60;
const TAB_COLUMNS: usize = 4;

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[1;34m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// Where the drawing goes and whether it is coloured.
pub(super) struct Painter<'a, W: Write> {
    out: &'a mut W,
    colour: bool,
}

impl<'a, W: Write> Painter<'a, W> {
    pub(super) fn new(out: &'a mut W, colour: bool) -> Self {
        Self { out, colour }
    }

    pub(super) fn diagnostic(&mut self, diagnostic: &Diagnostic) -> fmt::Result {
        let (word, paint) = match diagnostic.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        self.painted(paint, word)?;
        self.painted(BOLD, &format!(": {}", printable(&diagnostic.message)))?;
        let gutter = gutter_width(diagnostic);
        if let Some(location) = &diagnostic.location {
            self.snippet(gutter, paint, location)?;
        }
        for (label, location) in &diagnostic.related {
            self.out.write_char('\n')?;
            self.note(gutter, "note", label)?;
            self.snippet(gutter, BLUE, location)?;
        }
        if let Some(help) = &diagnostic.help {
            self.out.write_char('\n')?;
            self.note(gutter, "help", help)?;
        }
        Ok(())
    }

    /// ` --> file:line:column` and the marked line.
    fn snippet(&mut self, gutter: usize, paint: &str, location: &Location) -> fmt::Result {
        let (text, lead_columns, mark_columns) = window(location);
        let space = " ".repeat(gutter);
        write!(self.out, "\n{space}")?;
        self.painted(BLUE, "-->")?;
        let file = printable(&location.file);
        write!(self.out, " {file}:{}:{}\n{space} ", location.line, location.column)?;
        self.painted(BLUE, "|")?;
        self.out.write_char('\n')?;
        self.painted(BLUE, &format!("{:>gutter$} |", location.line))?;
        if !text.is_empty() {
            write!(self.out, " {text}")?;
        }
        write!(self.out, "\n{space} ")?;
        self.painted(BLUE, "|")?;
        write!(self.out, " {}", " ".repeat(lead_columns))?;
        self.painted(paint, &"^".repeat(mark_columns))
    }

    fn note(&mut self, gutter: usize, word: &str, text: &str) -> fmt::Result {
        let space = " ".repeat(gutter);
        write!(self.out, "{space} ")?;
        self.painted(BLUE, "=")?;
        self.out.write_char(' ')?;
        self.painted(BOLD, word)?;
        self.out.write_str(": ")?;
        for (index, line) in text.lines().enumerate() {
            if index > 0 {
                write!(self.out, "\n{space}   {}", " ".repeat(word.len() + 2))?;
            }
            self.out.write_str(&printable(line))?;
        }
        Ok(())
    }

    fn painted(&mut self, paint: &str, text: &str) -> fmt::Result {
        if self.colour { write!(self.out, "{paint}{text}{RESET}") } else { self.out.write_str(text) }
    }
}

/// Columns for the line numbers of one diagnostic.
fn gutter_width(diagnostic: &Diagnostic) -> usize {
    let places = diagnostic.location.iter().chain(diagnostic.related.iter().map(|(_, location)| location));
    places.map(|location| location.line).max().unwrap_or(0).max(1).ilog10() as usize + 1
}

/// The part of the line to show, the columns before the carets, and the number of carets.
fn window(location: &Location) -> (String, usize, usize) {
    let before = location.column.saturating_sub(1);
    let is_long = location.source_line.chars().nth(SOURCE_LINE_CHARS_MAX).is_some();
    let skipped = if is_long { before.saturating_sub(CUT_LINE_LEAD_CHARS) } else { 0 };
    let mut text = String::new();
    let (mut lead_columns, mut mark_columns) = (0, 0);
    if skipped > 0 {
        text.push('…');
        lead_columns += 1;
    }
    let shown = location.source_line.chars().enumerate().skip(skipped).take(SOURCE_LINE_CHARS_MAX);
    for (index, character) in shown {
        let columns = push_printable(&mut text, character);
        if index < before {
            lead_columns += columns;
        } else if index < before + location.marked_chars {
            mark_columns += columns;
        }
    }
    if location.source_line.chars().nth(skipped + SOURCE_LINE_CHARS_MAX).is_some() {
        text.push('…');
    }
    (text.trim_end().to_owned(), lead_columns, mark_columns.max(1))
}

/// Adds `character` as it may be shown and returns the columns it takes.
fn push_printable(text: &mut String, character: char) -> usize {
    if character == '\t' {
        text.push_str(&" ".repeat(TAB_COLUMNS));
        return TAB_COLUMNS;
    }
    let character = if is_hidden(character) { '\u{fffd}' } else { character };
    text.push(character);
    character.width().unwrap_or(1)
}

/// Control characters and those that reorder text could make a terminal show something else than the file holds.
fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}
