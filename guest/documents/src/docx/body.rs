//! The text part of a Word document.

use super::styles::{Style, Styles, outline};
use super::xml;
use crate::document::{BlockKind, Builder, check_text};
use crate::error::ExtractError;
use crate::grid::Grid;
use quick_xml::events::{BytesStart, Event};

/// Headings are no deeper than HTML's.
const LEVEL_MAX: u8 = 6;

/// Reads `word/document.xml`.
///
/// # Errors
/// [`ExtractError`].
pub(super) fn read(text: &str, styles: &Styles, builder: &mut Builder) -> Result<(), ExtractError> {
    let mut events = xml::reader(text);
    let mut body = Body::new(styles, builder);
    loop {
        match xml::next(&mut events)? {
            Event::Start(element) => body.start(&element, true)?,
            Event::Empty(element) => body.start(&element, false)?,
            Event::End(element) => body.end(element.local_name().into_inner())?,
            Event::Text(part) if body.is_text() => body.paragraph.text.push_str(&part.xml10_content()),
            Event::CData(part) if body.is_text() => body.paragraph.text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if body.is_text() => {
                body.paragraph.text.extend(xml::resolved(&reference))
            }
            Event::Eof => return body.finish(),
            _ => {}
        }
        body.check()?;
    }
}

#[derive(Debug, Default)]
struct Paragraph {
    text: String,
    style: Option<Style>,
    /// How deep it is in a list.
    item: Option<usize>,
}

struct Body<'a> {
    styles: &'a Styles,
    builder: &'a mut Builder,
    paragraph: Paragraph,
    /// Items that follow each other.
    list: String,
    /// Lines of code that follow each other.
    code: String,
    depth: usize,
    /// The depth of the element that is left out.
    skipped: Option<usize>,
    is_in_text: bool,
    tables: usize,
    grid: Grid,
    /// What the cell has so far.
    cell: String,
}

impl<'a> Body<'a> {
    fn new(styles: &'a Styles, builder: &'a mut Builder) -> Body<'a> {
        Body {
            styles,
            builder,
            paragraph: Paragraph::default(),
            list: String::new(),
            code: String::new(),
            depth: 0,
            skipped: None,
            is_in_text: false,
            tables: 0,
            grid: Grid::default(),
            cell: String::new(),
        }
    }

    /// Holds what is gathered to its bound.
    fn check(&self) -> Result<(), ExtractError> {
        check_text(self.paragraph.text.len() + self.list.len() + self.code.len(), self.builder.bounds())
    }

    fn is_text(&self) -> bool {
        self.is_in_text && self.skipped.is_none()
    }

    fn start(&mut self, element: &BytesStart<'_>, has_end: bool) -> Result<(), ExtractError> {
        let name = element.local_name().into_inner();
        self.depth += usize::from(has_end);
        if self.depth > xml::DEPTH_MAX {
            return Err(ExtractError::broken("its elements are nested too deep"));
        }
        if self.skipped.is_some() {
            return Ok(());
        }
        // Deleted text, and the second version of what newer programs draw.
        if has_end && matches!(name, "del" | "moveFrom" | "Fallback") {
            self.skipped = Some(self.depth);
            return Ok(());
        }
        let value = || xml::attribute(element, "val");
        match name {
            "t" => self.is_in_text = has_end,
            "tab" => self.paragraph.text.push(' '),
            "br" | "cr" => self.paragraph.text.push('\n'),
            "noBreakHyphen" => self.paragraph.text.push('-'),
            "pStyle" => self.paragraph.style = value().and_then(|id| self.styles.style(&id)),
            "outlineLvl" if self.paragraph.style.is_none() => {
                self.paragraph.style = outline(value()).map(|level| Style::Heading(level + 1));
            }
            "numPr" => self.paragraph.item = Some(0),
            "ilvl" => {
                self.paragraph.item = value().and_then(|level| level.parse().ok()).or(self.paragraph.item)
            }
            "tbl" if has_end => self.begin_table()?,
            "tblHeader" if self.tables == 1 => self.grid.set_header(),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), ExtractError> {
        let depth = self.depth;
        self.depth = depth.saturating_sub(1);
        if let Some(skipped) = self.skipped {
            if skipped == depth {
                self.skipped = None;
            }
            return Ok(());
        }
        match name {
            "t" => self.is_in_text = false,
            "p" => self.end_paragraph()?,
            "tc" if self.tables == 1 => {
                let cell = std::mem::take(&mut self.cell);
                self.grid.cell(&cell);
                check_text(self.grid.bytes(), self.builder.bounds())?;
            }
            "tr" if self.tables == 1 => {
                // Word's tables say of few rows that they are headers; the first row of nearly all is one.
                self.grid.set_header();
                self.grid.end_row();
            }
            "tbl" => self.end_table()?,
            _ => {}
        }
        Ok(())
    }

    fn begin_table(&mut self) -> Result<(), ExtractError> {
        if self.tables == 0 {
            self.flush()?;
        }
        self.tables += 1;
        Ok(())
    }

    fn end_table(&mut self) -> Result<(), ExtractError> {
        self.tables = self.tables.saturating_sub(1);
        if self.tables == 0 {
            std::mem::take(&mut self.grid).push(self.builder)?;
        }
        Ok(())
    }

    fn end_paragraph(&mut self) -> Result<(), ExtractError> {
        let Paragraph { text, style, item } = std::mem::take(&mut self.paragraph);
        if text.trim().is_empty() {
            return Ok(());
        }
        if self.tables > 0 {
            self.cell.push_str(&text);
            self.cell.push(' ');
            return check_text(self.cell.len() + self.grid.bytes(), self.builder.bounds());
        }
        match (style, item) {
            (Some(Style::Title), _) => {
                self.flush()?;
                self.builder.set_title(&text);
                self.builder.push(BlockKind::Heading { level: 1 }, &text)
            }
            (Some(Style::Heading(level)), _) => {
                self.flush()?;
                self.builder.push(BlockKind::Heading { level: level.min(LEVEL_MAX) }, &text)
            }
            (Some(Style::Code), _) => {
                self.flush_list()?;
                self.code.push_str(&text);
                self.code.push('\n');
                Ok(())
            }
            (None, Some(depth)) => {
                self.flush_code()?;
                let indent = "  ".repeat(depth.min(8));
                self.list.push_str(&format!("{indent}- {}\n", text.trim()));
                Ok(())
            }
            (None, None) => {
                self.flush()?;
                self.builder.push(BlockKind::Paragraph, &text)
            }
        }
    }

    fn flush_list(&mut self) -> Result<(), ExtractError> {
        self.builder.push(BlockKind::List, &std::mem::take(&mut self.list))
    }

    fn flush_code(&mut self) -> Result<(), ExtractError> {
        self.builder.push(BlockKind::Code, &std::mem::take(&mut self.code))
    }

    fn flush(&mut self) -> Result<(), ExtractError> {
        self.flush_list()?;
        self.flush_code()
    }

    fn finish(mut self) -> Result<(), ExtractError> {
        if self.depth > 0 {
            return Err(ExtractError::broken("its text part is cut off"));
        }
        self.flush()
    }
}
