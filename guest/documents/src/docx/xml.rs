//! The little of XML that documents need. Entities are those of XML itself; none is defined, so none can grow.

use crate::error::ExtractError;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// How deep elements may be inside of each other.
pub(super) const DEPTH_MAX: usize = 4_000;

pub(super) fn reader(text: &str) -> Reader<&[u8]> {
    Reader::from_str(text.trim_start_matches('\u{feff}'))
}

/// The next event.
///
/// # Errors
/// [`ExtractError::Broken`] with the place.
pub(super) fn next<'a>(reader: &mut Reader<&'a [u8]>) -> Result<Event<'a>, ExtractError> {
    reader.read_event().map_err(|error| {
        let position = reader.error_position();
        ExtractError::broken(format!("its XML is wrong at byte {position} ({error})"))
    })
}

/// An attribute by its local name, as it is written.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    let mut found = attributes.with_checks(false).flatten();
    let attribute = found.find(|attribute| attribute.key.local_name().into_inner() == name)?;
    Some(attribute.value.into_owned())
}

/// What a reference stands for: a character, or one of XML's five entities.
pub(super) fn resolved(reference: &BytesRef<'_>) -> Option<char> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Some(character);
    }
    match reference.borrow().into_inner().as_ref() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// The text of the first element of this local name.
///
/// # Errors
/// [`ExtractError::Broken`].
pub(super) fn text_of(xml: &str, name: &str) -> Result<String, ExtractError> {
    let mut reader = reader(xml);
    let (mut text, mut is_inside) = (String::new(), false);
    loop {
        match next(&mut reader)? {
            Event::Start(element) => is_inside |= element.local_name().into_inner() == name,
            Event::End(element) if element.local_name().into_inner() == name => return Ok(text),
            Event::Text(part) if is_inside => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if is_inside => text.extend(resolved(&reference)),
            Event::Eof => return Ok(text),
            _ => {}
        }
    }
}
