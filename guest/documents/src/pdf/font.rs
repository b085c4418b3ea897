//! Fonts, as far as text needs them: which characters codes stand for, and how wide they are.

use super::cmap::CMap;
use super::encoding::{Base, Legacy};
use super::file::File;
use super::glyphs;
use super::object::{Dictionary, Object};
use crate::error::ExtractError;
use std::collections::HashMap;
use std::rc::Rc;

/// How many widths one font may tell.
const WIDTHS_MAX: usize = 70_000;

/// How many entries a list of differences from an encoding may have.
const DIFFERENCES_MAX: usize = 1_024;

/// A font.
#[derive(Debug)]
pub(super) struct Font {
    codes: Codes,
    /// What its producer says that codes stand for; counts before anything else.
    to_unicode: Option<CMap>,
    widths: Widths,
    /// From the units of its widths to the size of the font.
    scale: f64,
    pub(super) is_bold: bool,
}

#[derive(Debug)]
enum Codes {
    /// A byte each.
    Bytes(Vec<Option<String>>),
    /// As a known CMap has them.
    Legacy(Legacy),
    /// As a CMap of the file has them, else two bytes each.
    Wide(Option<CMap>),
}

#[derive(Debug)]
enum Widths {
    /// By how letters look in most fonts, where the font says nothing.
    Guessed,
    Bytes {
        first: u32,
        widths: Vec<f64>,
        missing: f64,
    },
    Wide {
        single: HashMap<u32, f64>,
        ranges: Vec<(u32, u32, f64)>,
        default: f64,
    },
    /// Half of an em for a byte, an em for more.
    Half,
}

/// A character of a string that is shown.
#[derive(Debug)]
pub(super) struct Glyph<'a> {
    /// What it stands for; nothing where that is not known.
    pub(super) text: &'a str,
    /// In the size of the font.
    pub(super) width: f64,
    /// Whether it is the space that word spacing applies to.
    pub(super) is_space: bool,
}

impl Font {
    /// Reads a font.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn load(file: &mut File<'_>, font: &Dictionary) -> Result<Font, ExtractError> {
        let to_unicode = match file.member(font, "ToUnicode")?.stream() {
            Some(stream) => Some(CMap::read(&file.data(&stream)?)),
            None => None,
        };
        let name = font.get("BaseFont").name().map(|name| name.to_lowercase()).unwrap_or_default();
        let is_named_bold =
            ["bold", "black", "heavy", "demi", "simhei", "heiti"].iter().any(|part| name.contains(part));
        if font.is("Subtype", "Type0") {
            let (codes, widths) = composite(file, font)?;
            return Ok(Font { codes, to_unicode, widths, scale: 0.001, is_bold: is_named_bold });
        }
        let descriptor = file.member(font, "FontDescriptor")?.dictionary().unwrap_or_default();
        let weight = file.member(&descriptor, "FontWeight")?.number().unwrap_or(0.0);
        let scale = match file.member(font, "FontMatrix")?.array() {
            Some(matrix) if font.is("Subtype", "Type3") => {
                matrix.first().and_then(Object::number).map_or(0.001, f64::abs)
            }
            _ => 0.001,
        };
        let codes = Codes::Bytes(simple(file, font)?);
        let widths = simple_widths(file, font, &descriptor)?;
        Ok(Font { codes, to_unicode, widths, scale, is_bold: is_named_bold || weight >= 600.0 })
    }

    /// Calls for each character of a string.
    pub(super) fn each(&self, bytes: &[u8], mut take: impl FnMut(Glyph<'_>)) {
        let mut rest = bytes;
        let mut text = String::new();
        while !rest.is_empty() {
            let (code, length) = self.next_code(rest);
            let (bytes, after) = rest.split_at(length.clamp(1, rest.len()));
            rest = after;
            text.clear();
            let is_told = self.to_unicode.as_ref().is_some_and(|cmap| cmap.text(code, &mut text));
            if !is_told {
                self.own_text(code, bytes, &mut text);
            }
            let width = self.width(code, bytes, &text);
            take(Glyph { text: &text, width, is_space: code == 32 && bytes.len() == 1 });
        }
    }

    fn next_code(&self, bytes: &[u8]) -> (u32, usize) {
        let number = |length: usize| {
            let code = bytes.get(..length).unwrap_or(bytes);
            code.iter().fold(0, |code, byte| code << 8 | u32::from(*byte))
        };
        match &self.codes {
            Codes::Bytes(_) => (number(1), 1),
            Codes::Legacy(legacy) => {
                let length = legacy.length(bytes);
                (number(length), length)
            }
            Codes::Wide(Some(cmap)) if cmap.has_spaces() => cmap.next_code(bytes).unwrap_or((0, 1)),
            Codes::Wide(_) => (number(2), 2),
        }
    }

    fn own_text(&self, code: u32, bytes: &[u8], text: &mut String) {
        match &self.codes {
            Codes::Bytes(table) => {
                let known = table.get(code as usize).and_then(Option::as_ref);
                text.push_str(known.map_or("", String::as_str));
            }
            Codes::Legacy(legacy) => {
                legacy.text(bytes, text);
            }
            Codes::Wide(_) => {}
        }
    }

    fn width(&self, code: u32, bytes: &[u8], text: &str) -> f64 {
        match &self.widths {
            Widths::Guessed => guessed(text),
            Widths::Half => {
                if bytes.len() > 1 {
                    1.0
                } else {
                    0.5
                }
            }
            Widths::Bytes { first, widths, missing } => {
                let place = code.checked_sub(*first).map(|place| place as usize);
                place.and_then(|place| widths.get(place)).unwrap_or(missing) * self.scale
            }
            Widths::Wide { single, ranges, default } => {
                let in_range = || {
                    let place = ranges.partition_point(|range| range.0 <= code).checked_sub(1)?;
                    ranges.get(place).filter(|range| code <= range.1).map(|range| range.2)
                };
                single.get(&code).copied().or_else(in_range).unwrap_or(*default) * self.scale
            }
        }
    }
}

/// About how wide a character is in a font of no known widths.
fn guessed(text: &str) -> f64 {
    let width = |character: char| match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | ' ' | '.' | ',' | ';' | ':' | '!' | '|' | '\'' | '(' | ')' => {
            0.278
        }
        'm' | 'M' | 'w' | 'W' | '@' | '%' => 0.833,
        'A'..='Z' => 0.667,
        _ if crate::script::joins_without_space(character) => 1.0,
        _ => 0.53,
    };
    if text.is_empty() { 0.5 } else { text.chars().map(width).sum() }
}

fn simple(file: &mut File<'_>, font: &Dictionary) -> Result<Vec<Option<String>>, ExtractError> {
    let is_true_type = font.is("Subtype", "TrueType");
    let default = if is_true_type { Base::Windows } else { Base::Standard };
    let encoding = file.member(font, "Encoding")?;
    let named = |object: &Object| object.name().and_then(|name| Base::by_name(name));
    let (base, differences) = match (&encoding, encoding.dictionary()) {
        (_, Some(dictionary)) => {
            let base = named(&file.member(&dictionary, "BaseEncoding")?).unwrap_or(default);
            (base, file.member(&dictionary, "Differences")?.array())
        }
        (encoding, None) => (named(encoding).unwrap_or(default), None),
    };
    let mut table: Vec<Option<String>> = (0..=255).map(|byte| base.text(byte)).collect();
    let mut code = 0;
    for object in differences.unwrap_or_default().iter().take(DIFFERENCES_MAX) {
        match object {
            Object::Number(number) => code = *number as usize,
            Object::Name(name) => {
                if let Some(entry) = table.get_mut(code) {
                    *entry = glyphs::text(name);
                }
                code = code.saturating_add(1);
            }
            _ => {}
        }
    }
    Ok(table)
}

fn simple_widths(
    file: &mut File<'_>,
    font: &Dictionary,
    descriptor: &Rc<Dictionary>,
) -> Result<Widths, ExtractError> {
    let Some(array) = file.member(font, "Widths")?.array() else { return Ok(Widths::Guessed) };
    let first = file.member(font, "FirstChar")?.count().unwrap_or(0) as u32;
    let mut widths = Vec::new();
    for object in array.iter().take(256) {
        widths.push(file.resolve(object)?.number().unwrap_or(0.0));
    }
    let missing = file.member(descriptor, "MissingWidth")?.number().unwrap_or(0.0);
    Ok(Widths::Bytes { first, widths, missing })
}

fn composite(file: &mut File<'_>, font: &Dictionary) -> Result<(Codes, Widths), ExtractError> {
    let encoding = file.member(font, "Encoding")?;
    if let Some(legacy) = encoding.name().and_then(|name| Legacy::by_name(name)) {
        return Ok((Codes::Legacy(legacy), Widths::Half));
    }
    let cmap = match encoding.stream() {
        Some(stream) => Some(CMap::read(&file.data(&stream)?)),
        None => None,
    };
    let descendants = file.member(font, "DescendantFonts")?.array().unwrap_or_default();
    let descendant = match descendants.first() {
        Some(descendant) => file.dictionary(descendant)?.unwrap_or_default(),
        None => Rc::default(),
    };
    let default = file.member(&descendant, "DW")?.number().unwrap_or(1_000.0);
    let array = file.member(&descendant, "W")?.array().unwrap_or_default();
    Ok((Codes::Wide(cmap), wide_widths(file, &array, default)?))
}

/// Widths as `first [width …]` and `first last width`.
fn wide_widths(file: &mut File<'_>, array: &[Object], default: f64) -> Result<Widths, ExtractError> {
    let (mut single, mut ranges) = (HashMap::new(), Vec::new());
    let mut at = 0;
    while let Some(first) = array.get(at).and_then(Object::count) {
        let second = file.resolve(array.get(at + 1).unwrap_or(&Object::Null))?;
        if let Some(widths) = second.array() {
            for (place, width) in widths.iter().enumerate() {
                if single.len() < WIDTHS_MAX {
                    let code = (first as u32).wrapping_add(place as u32);
                    single.insert(code, file.resolve(width)?.number().unwrap_or(default));
                }
            }
            at += 2;
        } else {
            let width = array.get(at + 2).and_then(Object::number).unwrap_or(default);
            if ranges.len() < WIDTHS_MAX {
                ranges.push((first as u32, second.count().unwrap_or(0) as u32, width));
            }
            at += 3;
        }
    }
    ranges.sort_by_key(|range| range.0);
    Ok(Widths::Wide { single, ranges, default })
}
