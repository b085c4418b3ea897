//! CMaps (Adobe Technical Note 5014): how long codes are, and which characters they stand for.

use super::lexer::{Lexer, Token};
use super::object::Object;
use super::text::utf16;
use std::collections::HashMap;

/// How many codes and ranges of codes one CMap may have.
const ENTRIES_MAX: usize = 70_000;
/// How many operands one operator may have.
const OPERANDS_MAX: usize = 100_000;
/// How many bytes one code may stand for, as UTF-16; some stand for a ligature.
const TEXT_BYTES_MAX: usize = 64;

/// A CMap.
#[derive(Debug, Default)]
pub(super) struct CMap {
    /// Lengths in bytes, and the first and last code of each range of codes.
    spaces: Vec<(usize, u32, u32)>,
    characters: HashMap<u32, String>,
    /// Codes whose characters follow each other: first, last, the first's character.
    ranges: Vec<(u32, u32, u32)>,
}

fn code(object: &Object) -> Option<(usize, u32)> {
    let bytes = object.text().filter(|bytes| (1..=4).contains(&bytes.len()))?;
    Some((bytes.len(), bytes.iter().fold(0, |code, byte| code << 8 | u32::from(*byte))))
}

fn text(object: &Object) -> Option<String> {
    let bytes = object.text()?;
    let text = if bytes.len() == 1 {
        bytes.iter().map(|byte| char::from(*byte)).collect()
    } else {
        utf16(bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes))
    };
    (!text.is_empty() && text != "\0").then_some(text)
}

impl CMap {
    /// Reads a CMap, as far as it can be understood.
    pub(super) fn read(data: &[u8]) -> CMap {
        let mut cmap = CMap::default();
        let mut lexer = Lexer::content(data);
        let mut operands = Vec::new();
        while let Some(token) = lexer.token() {
            match token {
                Token::Operand(operand) if operands.len() < OPERANDS_MAX => operands.push(operand),
                Token::Operand(_) => {}
                Token::Operator(operator) => {
                    match operator {
                        b"endcodespacerange" => cmap.take_spaces(&operands),
                        b"endbfchar" => cmap.take_characters(&operands),
                        b"endbfrange" => cmap.take_ranges(&operands),
                        _ => {}
                    }
                    operands.clear();
                }
            }
        }
        cmap.ranges.sort_unstable();
        cmap
    }

    fn has_room(&self) -> bool {
        self.spaces.len() + self.characters.len() + self.ranges.len() < ENTRIES_MAX
    }

    fn take_spaces(&mut self, operands: &[Object]) {
        for pair in operands.chunks_exact(2) {
            if let (Some((length, first)), Some((_, last))) = (code(&pair[0]), code(&pair[1]))
                && self.spaces.len() < 256
            {
                self.spaces.push((length, first, last));
            }
        }
    }

    fn take_characters(&mut self, operands: &[Object]) {
        for pair in operands.chunks_exact(2) {
            if let (Some((_, code)), Some(text)) = (code(&pair[0]), text(&pair[1]))
                && self.has_room()
            {
                self.characters.insert(code, text);
            }
        }
    }

    fn take_ranges(&mut self, operands: &[Object]) {
        for triple in operands.chunks_exact(3) {
            let (Some((_, first)), Some((_, last))) = (code(&triple[0]), code(&triple[1])) else { continue };
            if let Some(texts) = triple[2].array() {
                for (code, object) in (first..=last).zip(texts.iter()) {
                    if let Some(text) = text(object)
                        && self.has_room()
                    {
                        self.characters.insert(code, text);
                    }
                }
            } else if let Some(text) = text(&triple[2])
                && self.has_room()
            {
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(character), None) => self.ranges.push((first, last, character as u32)),
                    // Of several characters the last one counts up; such ranges are of one code in practice.
                    _ => {
                        self.characters.insert(first, text);
                    }
                }
            }
        }
    }

    /// The code that bytes begin with, and how long it is; a byte of no range is a code of the shortest length there is.
    pub(super) fn next_code(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let mut code = 0;
        for (length, byte) in (1..=4).zip(bytes) {
            code = code << 8 | u32::from(*byte);
            let is_in = |space: &&(usize, u32, u32)| space.0 == length && (space.1..=space.2).contains(&code);
            if self.spaces.iter().any(|space| is_in(&space)) {
                return Some((code, length));
            }
        }
        let length = self.spaces.iter().map(|space| space.0).min().unwrap_or(2).min(bytes.len());
        let code = bytes.get(..length)?.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
        (length > 0).then_some((code, length))
    }

    /// Whether it says how long codes are.
    pub(super) fn has_spaces(&self) -> bool {
        !self.spaces.is_empty()
    }

    /// What a code stands for.
    pub(super) fn text(&self, code: u32, out: &mut String) -> bool {
        if let Some(text) = self.characters.get(&code) {
            out.push_str(text);
            return true;
        }
        let place = self.ranges.partition_point(|range| range.0 <= code);
        let range = place.checked_sub(1).and_then(|place| self.ranges.get(place));
        let character = range
            .filter(|range| code <= range.1)
            .and_then(|(first, _, character)| char::from_u32(character.checked_add(code - first)?));
        out.extend(character.filter(|character| *character != '\0'));
        character.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_characters_by_single_by_range_and_by_list() {
        let cmap = CMap::read(
            b"1 begincodespacerange <00> <80> <8140> <FEFE> endcodespacerange
              2 beginbfchar <01> <0041> <02> <00660069> endbfchar
              2 beginbfrange <10> <12> <4E00> <8140> <8141> [<0061> <D83DDE00>] endbfrange",
        );
        let text = |code| {
            let mut text = String::new();
            let is_known = cmap.text(code, &mut text);
            (is_known, text)
        };
        assert_eq!(text(1), (true, "A".to_owned()));
        assert_eq!(text(2), (true, "fi".to_owned()));
        assert_eq!(text(0x12), (true, "丂".to_owned()));
        assert_eq!(text(0x8141), (true, "😀".to_owned()));
        assert_eq!(text(0x13), (false, String::new()));
        assert_eq!(cmap.next_code(&[0x41, 0x42]), Some((0x41, 1)));
        assert_eq!(cmap.next_code(&[0x81, 0x42]), Some((0x8142, 2)));
        assert_eq!(cmap.next_code(&[0xff]), Some((0xff, 1)));
        assert_eq!(cmap.next_code(&[]), None);
    }

    #[test]
    fn a_range_of_four_thousand_million_codes_is_one_entry() {
        let cmap = CMap::read(b"1 beginbfrange <00000000> <FFFFFFFF> <0000> endbfrange");
        assert!(!cmap.text(0xffff_ffff, &mut String::new()));
    }
}
