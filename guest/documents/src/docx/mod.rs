//! Word documents (ECMA-376): paragraphs, headings by their styles, lists, tables.

mod body;
mod styles;
mod xml;

use crate::document::Builder;
use crate::error::ExtractError;
use crate::inflate::Budget;
use crate::zip::Archive;
use styles::Styles;

/// Reads a DOCX.
///
/// # Errors
/// [`ExtractError`].
pub(crate) fn read(bytes: &[u8], builder: &mut Builder) -> Result<(), ExtractError> {
    let archive = Archive::open(bytes)?;
    let mut budget = Budget::new(builder.bounds().uncompressed_bytes_max);
    let mut part = |name: &str| part(&archive, name, &mut budget);
    if let Some(core) = part("docProps/core.xml")?
        && let Ok(title) = xml::text_of(&core, "title")
    {
        builder.set_title(&title);
    }
    // Without its styles a document still has its text.
    let styles = part("word/styles.xml")?.map(|text| Styles::read(&text)).unwrap_or_default();
    let name = main_part(&archive);
    let body = part(&name)?.ok_or_else(|| ExtractError::broken("it has no text part (word/document.xml)"))?;
    body::read(&body, &styles, builder)
}

/// Where the text stands: under its usual name, or under that of some web editors.
fn main_part(archive: &Archive<'_>) -> String {
    let usual = "word/document.xml";
    let is_alike = |name: &&str| name.starts_with("word/document") && name.ends_with(".xml");
    let found = archive.names().find(|name| *name == usual).or_else(|| archive.names().find(is_alike));
    found.unwrap_or(usual).to_owned()
}

fn part(archive: &Archive<'_>, name: &str, budget: &mut Budget) -> Result<Option<String>, ExtractError> {
    let Some(bytes) = archive.read(name, budget)? else { return Ok(None) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(ExtractError::broken(format!("its part {name} is not UTF-8"))),
    }
}
