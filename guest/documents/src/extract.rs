//! From the bytes of a file to its document: what it is, then the reader of that kind.

use crate::bounds::Bounds;
use crate::detect::{Hints, Kind, detect};
use crate::document::{Builder, Document};
use crate::error::ExtractError;
use crate::{code, comma, docx, encoding, html, json, markdown, pdf, plain};
use std::borrow::Cow;

/// Reads a file. `name` is what its uploader called it.
///
/// # Errors
/// [`ExtractError`], with the reason for the uploader. Any bytes give a document or an error.
pub fn extract(
    bytes: &[u8],
    name: &str,
    hints: &Hints<'_>,
    bounds: &Bounds,
) -> Result<Document, ExtractError> {
    if bytes.len() > bounds.bytes_max {
        return Err(ExtractError::more_than(bounds.bytes_max, "bytes"));
    }
    let kind = detect(bytes, name, hints)?;
    let mut builder = Builder::new(bounds);
    let pages = match kind {
        Kind::Pdf => Some(pdf::read(bytes, &mut builder)?),
        Kind::Docx => {
            docx::read(bytes, &mut builder)?;
            None
        }
        _ => {
            read_text(bytes, kind, hints, &mut builder)?;
            None
        }
    };
    builder.finish(kind, name, pages)
}

fn read_text(bytes: &[u8], kind: Kind, hints: &Hints<'_>, builder: &mut Builder) -> Result<(), ExtractError> {
    // Most of a page is markup; of all other kinds, most is text.
    let bounds = builder.bounds();
    let text_bytes_max = if kind == Kind::Html { bounds.bytes_max } else { bounds.text_bytes_max };
    let text = text(bytes, hints, text_bytes_max)?;
    match kind {
        Kind::Markdown => markdown::read(&text, builder),
        Kind::Html => html::read(&text, builder),
        Kind::Csv => comma::read(&text, builder),
        Kind::JsonLines => json::read_lines(&text, builder),
        Kind::Json => json::read(&text, builder),
        Kind::Code => code::read(&text, builder),
        Kind::PlainText | Kind::Pdf | Kind::Docx => plain::read(&text, builder),
    }
}

fn text<'a>(bytes: &'a [u8], hints: &Hints<'_>, text_bytes_max: usize) -> Result<Cow<'a, str>, ExtractError> {
    encoding::decode(bytes, encoding::of(bytes, hints.told_charset()), text_bytes_max)
}
