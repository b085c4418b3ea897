//! Styles: which of them make a paragraph a heading, a title, or code.

use super::xml;
use quick_xml::events::{BytesStart, Event};
use std::collections::HashMap;

/// How many styles may stand on each other.
const BASES_MAX: usize = 16;
/// How many styles are read.
const STYLES_MAX: usize = 10_000;

/// What a style makes of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The document's title.
    Title,
    /// A heading of this level, from 1.
    Heading(u8),
    /// Code.
    Code,
}

/// The styles of a document, by their ids.
#[derive(Debug, Default)]
pub(super) struct Styles {
    by_id: HashMap<String, Definition>,
}

#[derive(Debug, Default)]
struct Definition {
    name: String,
    base: Option<String>,
    outline: Option<u8>,
}

impl Styles {
    /// Reads `word/styles.xml`, up to where it is wrong.
    pub(super) fn read(text: &str) -> Styles {
        let mut reader = xml::reader(text);
        let mut styles = Styles::default();
        let mut id = None;
        while styles.by_id.len() < STYLES_MAX {
            match xml::next(&mut reader) {
                Ok(Event::Start(element)) if element.local_name().into_inner() == "style" => {
                    id = xml::attribute(&element, "styleId");
                }
                Ok(Event::Start(element) | Event::Empty(element)) => {
                    if let Some(id) = &id {
                        styles.by_id.entry(id.clone()).or_default().take(&element);
                    }
                }
                Ok(Event::End(element)) if element.local_name().into_inner() == "style" => id = None,
                Ok(Event::Eof) | Err(_) => break,
                Ok(_) => {}
            }
        }
        styles
    }

    /// What the style of this id makes of a paragraph.
    pub(super) fn style(&self, id: &str) -> Option<Style> {
        let mut id = id;
        for _ in 0..BASES_MAX {
            let definition = self.by_id.get(id);
            let name = definition.map_or("", |definition| definition.name.as_str());
            // Word's own styles have their English names in every language; their ids are translated.
            let found = by_name(name).or_else(|| by_name(id));
            let outline = || definition?.outline.map(|level| Style::Heading(level + 1));
            if let Some(style) = found.or_else(outline) {
                return Some(style);
            }
            id = definition?.base.as_deref()?;
        }
        None
    }
}

impl Definition {
    fn take(&mut self, element: &BytesStart<'_>) {
        let value = || xml::attribute(element, "val");
        match element.local_name().into_inner() {
            "name" => self.name = value().unwrap_or_default(),
            "basedOn" => self.base = value(),
            "outlineLvl" => self.outline = outline(value()),
            _ => {}
        }
    }
}

/// A level of the outline, from 0; 9 is running text.
pub(super) fn outline(value: Option<String>) -> Option<u8> {
    value?.parse().ok().filter(|level| *level < 9)
}

fn by_name(name: &str) -> Option<Style> {
    let name = name.to_ascii_lowercase().replace(' ', "");
    if name == "title" {
        return Some(Style::Title);
    }
    if name.contains("code") || name == "htmlpreformatted" || name == "macrotext" {
        return Some(Style::Code);
    }
    let level = name.strip_prefix("heading").or_else(|| name.strip_prefix("标题"))?;
    level.parse().ok().filter(|level| (1..=9).contains(level)).map(Style::Heading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_known_by_name_by_base_and_by_outline() {
        let styles = Styles::read(
            r#"<w:styles><w:style w:styleId="1"><w:name w:val="heading 2"/></w:style>
            <w:style w:styleId="mine"><w:name w:val="Mine"/><w:basedOn w:val="1"/></w:style>
            <w:style w:styleId="o"><w:name w:val="O"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>
            <w:style w:styleId="loop"><w:basedOn w:val="loop"/></w:style>"#,
        );
        let check = |id, expected| assert_eq!(styles.style(id), expected, "{id}");
        check("1", Some(Style::Heading(2)));
        check("mine", Some(Style::Heading(2)));
        check("o", Some(Style::Heading(1)));
        check("loop", None);
        check("Heading3", Some(Style::Heading(3)));
        check("Title", Some(Style::Title));
        check("unknown", None);
    }
}
