//! PDF (ISO 32000): the text of its pages.
//!
//! A reader of its own, since those there are unpack whatever they are given and panic at what they did not expect; see
//! docs/decisions/0022-documents.md. What is inflated comes out of one budget, what is parsed has a bound, and operators are
//! counted, so that no file costs more than its bounds.

mod cmap;
mod content;
mod encoding;
mod file;
mod filter;
mod font;
mod glyphs;
mod kangxi;
mod layout;
mod lexer;
mod lines;
mod matrix;
mod object;
mod page;
mod recover;
mod text;

use crate::document::Builder;
use crate::error::ExtractError;
use crate::inflate::Budget;
use content::Interpreter;
use file::File;
use layout::Layout;
use lines::Lines;
use text::readable;

/// Titles that programs give and nobody has chosen.
const NO_TITLES: [&str; 4] = ["untitled", "document", "slide 1", "powerpoint presentation"];

/// Reads a PDF; how many pages it has.
///
/// # Errors
/// [`ExtractError`].
pub(crate) fn read(bytes: &[u8], builder: &mut Builder) -> Result<u32, ExtractError> {
    let bounds = *builder.bounds();
    let mut file = File::open(bytes, Budget::new(bounds.uncompressed_bytes_max))?;
    set_title(&mut file, builder)?;
    let mut pages = page::pages(&mut file, bounds.pages_max)?;
    if pages.is_empty() {
        file.recover()?;
        pages = page::pages(&mut file, bounds.pages_max)?;
    }
    if pages.is_empty() {
        return Err(ExtractError::broken("it has no pages"));
    }
    let mut interpreter = Interpreter::new(bounds.text_bytes_max);
    let mut layout = Layout::new(builder);
    for (page, number) in pages.iter().zip(1..) {
        let mut lines = Lines::default();
        interpreter.read(&mut file, page, &mut lines)?;
        layout.page(number, lines.finish())?;
    }
    layout.finish()?;
    Ok(u32::try_from(pages.len()).unwrap_or(u32::MAX))
}

fn set_title(file: &mut File<'_>, builder: &mut Builder) -> Result<(), ExtractError> {
    let Some(information) = file.information()? else { return Ok(()) };
    let title = file.member(&information, "Title")?;
    let title = title.text().map(readable).unwrap_or_default();
    let title = title.strip_prefix("Microsoft Word - ").unwrap_or(&title).trim();
    if !NO_TITLES.contains(&title.to_lowercase().as_str()) {
        builder.set_title(title);
    }
    Ok(())
}
