//! From tags and text to blocks.

use super::tags::{Role, hides, is_void, role};
use crate::document::{BlockKind, Builder, check_text};
use crate::error::ExtractError;
use crate::grid::Grid;
use html5gum::emitters::callback::CallbackEvent;

/// Names of elements are kept up to this length, in bytes; those that mean anything are shorter.
const NAME_BYTES_MAX: usize = 32;
/// Lists inside of lists are indented up to this depth.
const INDENTS_MAX: usize = 8;

/// Which part of a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    /// Only what is in `<main>`.
    pub(super) is_main_only: bool,
    /// Navigation, footers and what is hidden as well.
    pub(super) is_all: bool,
}

/// A tag whose attributes are being read.
#[derive(Debug, Default)]
struct Tag {
    name: Vec<u8>,
    attribute: Vec<u8>,
    is_hidden: bool,
}

/// An element that is left out, until it ends.
#[derive(Debug)]
struct Skipped {
    name: Vec<u8>,
    depth: usize,
}

pub(super) struct Reader<'a> {
    builder: &'a mut Builder,
    scope: Scope,
    tag: Tag,
    skipped: Option<Skipped>,
    mains: usize,
    text: String,
    title: Option<String>,
    heading: Option<u8>,
    preformatted: usize,
    /// The number of the last item of each list that is open; `None` where items have no numbers.
    lists: Vec<Option<u32>>,
    tables: usize,
    grid: Grid,
    is_in_cell: bool,
    failure: Option<ExtractError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(builder: &'a mut Builder, scope: Scope) -> Reader<'a> {
        Reader {
            builder,
            scope,
            tag: Tag::default(),
            skipped: None,
            mains: 0,
            text: String::new(),
            title: None,
            heading: None,
            preformatted: 0,
            lists: Vec::new(),
            tables: 0,
            grid: Grid::default(),
            is_in_cell: false,
            failure: None,
        }
    }

    /// Takes what the tokenizer has found.
    pub(super) fn take(&mut self, event: CallbackEvent<'_>) {
        if self.failure.is_some() {
            return;
        }
        let taken = match event {
            CallbackEvent::OpenStartTag { name } => {
                let name = name.get(..NAME_BYTES_MAX).unwrap_or(name).to_vec();
                self.tag = Tag { name, ..Tag::default() };
                Ok(())
            }
            CallbackEvent::AttributeName { name } => {
                self.tag.attribute = name.get(..NAME_BYTES_MAX).unwrap_or(name).to_vec();
                self.tag.is_hidden |= name == b"hidden";
                Ok(())
            }
            CallbackEvent::AttributeValue { value } => {
                self.tag.is_hidden |= hides(&self.tag.attribute, value);
                Ok(())
            }
            CallbackEvent::CloseStartTag { self_closing } => self.start(self_closing),
            CallbackEvent::EndTag { name } => self.end(name),
            CallbackEvent::String { value } => self.string(&String::from_utf8_lossy(value)),
            _ => Ok(()),
        };
        self.failure = taken.err();
    }

    /// Ends the last block.
    pub(super) fn finish(mut self) -> Result<(), ExtractError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.tables > 0 {
            self.end_table()?;
        }
        self.lists.clear();
        self.flush()
    }

    fn start(&mut self, is_closed: bool) -> Result<(), ExtractError> {
        let tag = std::mem::take(&mut self.tag);
        if let Some(skipped) = &mut self.skipped {
            skipped.depth += usize::from(skipped.name == tag.name && !is_closed);
            return Ok(());
        }
        let role = role(&tag.name);
        let is_left_out =
            role == Role::Hidden || (!self.scope.is_all && (role == Role::Chrome || tag.is_hidden));
        if is_left_out {
            if !is_closed && !is_void(&tag.name) {
                self.skipped = Some(Skipped { name: tag.name, depth: 1 });
            }
            return Ok(());
        }
        self.begin(role)
    }

    fn begin(&mut self, role: Role) -> Result<(), ExtractError> {
        match role {
            Role::Title => self.title = Some(String::new()),
            Role::Main => self.mains += 1,
            Role::Heading(level) => {
                self.flush_outside()?;
                self.heading = (self.tables == 0 && self.lists.is_empty()).then_some(level);
            }
            Role::Break => self.text.push('\n'),
            Role::Block | Role::Chrome => self.flush_outside()?,
            Role::Preformatted => {
                self.flush_outside()?;
                self.preformatted += 1;
            }
            Role::List(is_numbered) => {
                if self.lists.is_empty() {
                    self.flush_outside()?;
                }
                self.lists.push(is_numbered.then_some(0));
            }
            Role::Item => self.item(),
            Role::Table => {
                if self.tables == 0 {
                    self.flush_outside()?;
                }
                self.tables += 1;
            }
            Role::Row if self.tables == 1 => self.end_row(),
            Role::Cell(is_name) if self.tables == 1 => self.begin_cell(is_name),
            Role::Cell(_) if self.tables > 1 => self.text.push(' '),
            Role::Hidden | Role::Inline | Role::Row | Role::Cell(_) => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &[u8]) -> Result<(), ExtractError> {
        if let Some(skipped) = &mut self.skipped {
            skipped.depth -= usize::from(skipped.name == name);
            if skipped.depth == 0 {
                self.skipped = None;
            }
            return Ok(());
        }
        match role(name) {
            Role::Title => {
                let title = self.title.take().unwrap_or_default();
                self.builder.set_title(&title);
            }
            Role::Main => {
                self.flush_outside()?;
                self.mains = self.mains.saturating_sub(1);
            }
            Role::Block | Role::Heading(_) | Role::Chrome => self.flush_outside()?,
            Role::Preformatted => {
                self.flush_outside()?;
                self.preformatted = self.preformatted.saturating_sub(1);
            }
            Role::List(_) => {
                let was_list = self.lists.len() == 1;
                if was_list && self.tables == 0 {
                    self.flush()?;
                }
                self.lists.pop();
            }
            Role::Table if self.tables == 1 => self.end_table()?,
            Role::Table => self.tables = self.tables.saturating_sub(1),
            Role::Row if self.tables == 1 => self.end_row(),
            Role::Cell(_) if self.tables == 1 => self.end_cell(),
            Role::Hidden | Role::Inline | Role::Break | Role::Item | Role::Row | Role::Cell(_) => {}
        }
        Ok(())
    }

    fn string(&mut self, value: &str) -> Result<(), ExtractError> {
        if self.skipped.is_some() {
            return Ok(());
        }
        if let Some(title) = &mut self.title {
            title.push_str(value);
            return Ok(());
        }
        if self.scope.is_main_only && self.mains == 0 {
            return Ok(());
        }
        if self.preformatted > 0 {
            self.text.push_str(value);
        } else {
            self.flowing(value);
        }
        check_text(self.text.len() + self.grid.bytes(), self.builder.bounds())
    }

    /// Adds text whose white space means one space.
    fn flowing(&mut self, value: &str) {
        for character in value.chars() {
            if !character.is_ascii_whitespace() {
                self.text.push(character);
            } else if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
                self.text.push(' ');
            }
        }
    }

    fn item(&mut self) {
        if self.tables > 0 {
            self.text.push(' ');
            return;
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        let depth = self.lists.len().min(INDENTS_MAX).saturating_sub(1);
        self.text.push_str(&"  ".repeat(depth));
        match self.lists.last_mut() {
            Some(Some(number)) => {
                *number = number.saturating_add(1);
                let number = *number;
                self.text.push_str(&format!("{number}. "));
            }
            _ => self.text.push_str("- "),
        }
    }

    /// Ends a block, unless it is a part of a list or a table.
    fn flush_outside(&mut self) -> Result<(), ExtractError> {
        if self.tables > 0 || !self.lists.is_empty() {
            if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
                self.text.push(' ');
            }
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ExtractError> {
        let text = std::mem::take(&mut self.text);
        let kind = match self.heading.take() {
            Some(level) => BlockKind::Heading { level },
            None if self.preformatted > 0 => BlockKind::Code,
            None if !self.lists.is_empty() => BlockKind::List,
            None => BlockKind::Paragraph,
        };
        self.builder.push(kind, &text)
    }

    fn begin_cell(&mut self, is_name: bool) {
        self.end_cell();
        self.is_in_cell = true;
        if is_name && self.grid.is_first_row() {
            self.grid.set_header();
        }
    }

    fn end_cell(&mut self) {
        let text = std::mem::take(&mut self.text);
        if self.is_in_cell || !text.trim().is_empty() {
            self.grid.cell(&text);
        }
        self.is_in_cell = false;
    }

    fn end_row(&mut self) {
        self.end_cell();
        self.grid.end_row();
    }

    fn end_table(&mut self) -> Result<(), ExtractError> {
        self.end_row();
        self.tables = 0;
        std::mem::take(&mut self.grid).push(self.builder)
    }
}
