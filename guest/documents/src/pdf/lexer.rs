//! Reads objects and operators from bytes (ISO 32000, 7.2).

use super::object::{Dictionary, Object};
use std::collections::HashMap;
use std::rc::Rc;

/// How deep arrays and dictionaries may be inside of each other.
const DEPTH_MAX: usize = 64;
/// How many objects one object may consist of.
const OBJECTS_MAX: usize = 200_000;
/// An operator that is longer is none, in bytes.
const OPERATOR_BYTES_MAX: usize = 32;

/// A place in bytes.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
    /// Whether `1 0 R` is a reference; in content streams it is two numbers and an operator.
    has_references: bool,
}

/// What stands in a content stream.
#[derive(Debug)]
pub(super) enum Token<'a> {
    Operand(Object),
    Operator(&'a [u8]),
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !is_delimiter(byte)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

impl<'a> Lexer<'a> {
    /// At a place of a file.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Lexer<'a> {
        Lexer { bytes, at, left: OBJECTS_MAX, has_references: true }
    }

    /// At the beginning of a content stream or of a CMap.
    pub(super) fn content(bytes: &'a [u8]) -> Lexer<'a> {
        Lexer { bytes, at: 0, left: OBJECTS_MAX, has_references: false }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn jump(&mut self, at: usize) {
        self.at = at;
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Goes past white space and comments.
    pub(super) fn skip_space(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'%' {
                let line = self.rest();
                self.at += line.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(line.len());
            } else if is_space(byte) {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// Goes past the word if it stands here.
    pub(super) fn skip_word(&mut self, word: &[u8]) -> bool {
        self.skip_space();
        let is_here = self.rest().starts_with(word);
        self.at += if is_here { word.len() } else { 0 };
        is_here
    }

    /// A whole number without a sign; one that is too large for this machine is its largest.
    pub(super) fn integer(&mut self) -> Option<usize> {
        self.skip_space();
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = self.rest().get(..digits).filter(|digits| (1..=10).contains(&digits.len()))?;
        self.at += digits;
        let number = text.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// The next object of a file; `None` where none begins here or it is too large.
    pub(super) fn object(&mut self) -> Option<Object> {
        self.left = OBJECTS_MAX;
        self.nested(0)
    }

    /// The next operand or operator; `None` at the end.
    pub(super) fn token(&mut self) -> Option<Token<'a>> {
        loop {
            self.skip_space();
            let byte = self.peek()?;
            let begins_object = matches!(byte, b'/' | b'(' | b'<' | b'[' | b'+' | b'-' | b'.' | b'0'..=b'9');
            if begins_object {
                let before = self.at;
                if let Some(object) = self.object() {
                    return Some(Token::Operand(object));
                }
                self.at = self.at.max(before + 1);
            } else if is_regular(byte) {
                let word = self.word();
                if word.len() <= OPERATOR_BYTES_MAX {
                    return Some(Token::Operator(word));
                }
            } else {
                self.at += 1;
            }
        }
    }

    fn word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| is_regular(**byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn nested(&mut self, depth: usize) -> Option<Object> {
        self.skip_space();
        self.left = self.left.checked_sub(1)?;
        if depth > DEPTH_MAX {
            self.left = 0;
            return None;
        }
        match self.peek()? {
            b'/' => Some(Object::Name(self.name())),
            b'(' => Some(Object::Text(Rc::new(self.literal()))),
            b'<' if self.rest().starts_with(b"<<") => self.dictionary(depth),
            b'<' => Some(Object::Text(Rc::new(self.hexadecimal()))),
            b'[' => self.array(depth),
            b'+' | b'-' | b'.' | b'0'..=b'9' => Some(self.number_or_reference()),
            byte if is_regular(byte) && matches!(self.word(), b"true" | b"false" | b"null") => {
                Some(Object::Null)
            }
            _ => None,
        }
    }

    fn name(&mut self) -> Rc<str> {
        self.at += 1;
        let mut name = Vec::new();
        let word = self.word();
        let mut bytes = word.iter().copied();
        while let Some(byte) = bytes.next() {
            let mut ahead = bytes.clone();
            let code =
                (byte == b'#').then(|| Some(digit(ahead.next()?)? << 4 | digit(ahead.next()?)?)).flatten();
            if code.is_some() {
                bytes = ahead;
            }
            name.push(code.unwrap_or(byte));
        }
        String::from_utf8_lossy(&name).into()
    }

    /// A string in parentheses, which may hold pairs of them.
    fn literal(&mut self) -> Vec<u8> {
        self.at += 1;
        let (mut text, mut depth) = (Vec::new(), 1usize);
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => self.escape(&mut text),
                b'(' => {
                    depth += 1;
                    text.push(byte);
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                    text.push(byte);
                }
                _ => text.push(byte),
            }
        }
        text
    }

    fn escape(&mut self, text: &mut Vec<u8>) {
        let Some(byte) = self.peek() else { return };
        self.at += 1;
        match byte {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'b' | b'f' => {}
            b'\n' => {}
            b'\r' => self.at += usize::from(self.peek() == Some(b'\n')),
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(next @ b'0'..=b'7') = self.peek() else { break };
                    code = code * 8 + u32::from(next - b'0');
                    self.at += 1;
                }
                text.push(code as u8);
            }
            _ => text.push(byte),
        }
    }

    fn hexadecimal(&mut self) -> Vec<u8> {
        self.at += 1;
        let rest = self.rest();
        let end = rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len());
        self.at += (end + 1).min(rest.len());
        let mut digits = rest.get(..end).unwrap_or_default().iter().filter_map(|byte| digit(*byte));
        let mut text = Vec::new();
        while let Some(high) = digits.next() {
            text.push(high << 4 | digits.next().unwrap_or(0));
        }
        text
    }

    fn array(&mut self, depth: usize) -> Option<Object> {
        self.at += 1;
        let mut array = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None => break,
                Some(b']') => {
                    self.at += 1;
                    break;
                }
                Some(_) => {
                    let before = self.at;
                    match self.nested(depth + 1) {
                        Some(object) => array.push(object),
                        None if self.left == 0 => return None,
                        None => self.at = self.at.max(before + 1),
                    }
                }
            }
        }
        Some(Object::Array(Rc::new(array)))
    }

    fn dictionary(&mut self, depth: usize) -> Option<Object> {
        self.at += 2;
        let mut dictionary = HashMap::new();
        loop {
            self.skip_space();
            match self.peek() {
                None => break,
                Some(b'>') => {
                    self.at += if self.rest().starts_with(b">>") { 2 } else { 1 };
                    break;
                }
                Some(b'/') => {
                    let name = self.name();
                    self.skip_space();
                    if self.peek() == Some(b'>') {
                        continue;
                    }
                    let before = self.at;
                    match self.nested(depth + 1) {
                        Some(object) => {
                            dictionary.insert(name, object);
                        }
                        None if self.left == 0 => return None,
                        None => self.at = self.at.max(before + 1),
                    }
                }
                Some(byte) if is_regular(byte) => {
                    // A dictionary that was never closed ends where its object does.
                    if self.rest().starts_with(b"endobj") || self.rest().starts_with(b"stream") {
                        break;
                    }
                    self.word();
                }
                Some(_) => self.at += 1,
            }
        }
        Some(Object::Dictionary(Rc::new(Dictionary(dictionary))))
    }

    fn number_or_reference(&mut self) -> Object {
        let word = self.word();
        let number = number(word);
        if !self.has_references || !word.iter().all(u8::is_ascii_digit) {
            return Object::Number(number);
        }
        let after = self.at;
        if self.integer().is_some() {
            self.skip_space();
            let follows = self.bytes.get(self.at + 1).is_none_or(|byte| !is_regular(*byte));
            if self.peek() == Some(b'R') && follows && number <= f64::from(u32::MAX) {
                self.at += 1;
                return Object::Reference(number as u32);
            }
        }
        self.at = after;
        Object::Number(number)
    }
}

/// A number as writers of PDFs have been seen to write it: `-.5`, `1.`, `--3`, `0.0.1`.
fn number(word: &[u8]) -> f64 {
    let mut text = String::with_capacity(word.len());
    for byte in word {
        match byte {
            b'-' if text.is_empty() => text.push('-'),
            b'.' if !text.contains('.') => text.push('.'),
            b'0'..=b'9' => text.push(char::from(*byte)),
            b'+' | b'-' if text.is_empty() || text == "-" => {}
            _ => break,
        }
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> String {
        format!("{:?}", Lexer::new(text, 0).object())
    }

    #[test]
    fn objects_are_read_as_the_standard_writes_them() {
        let check = |text: &[u8], expected: &str| assert_eq!(parsed(text), expected);
        check(b" % comment\n 12", "Some(Number(12.0))");
        check(b"-.5", "Some(Number(-0.5))");
        check(b"--3", "Some(Number(-3.0))");
        check(b"7 0 R", "Some(Reference(7))");
        check(b"/A#20B", "Some(Name(\"A B\"))");
        check(b"(a\\(b\\051(c)\\\n\\101)", "Some(Text([97, 40, 98, 41, 40, 99, 41, 65]))");
        check(b"<48 4>", "Some(Text([72, 64]))");
        check(b"[1 0 R 2 true]", "Some(Array([Reference(1), Number(2.0), Null]))");
        check(b"endobj", "None");
        assert!(parsed(b"<</A 1/B[2]").starts_with("Some(Dictionary("));
    }

    #[test]
    fn what_is_nested_too_deep_or_too_large_is_no_object() {
        assert_eq!(parsed(&b"[".repeat(100_000)), "None");
        assert_eq!(parsed(&b"<</A".repeat(100_000)), "None");
        let mut long = b"[".to_vec();
        long.extend(b"1 ".repeat(OBJECTS_MAX + 1));
        assert_eq!(parsed(&long), "None");
    }

    #[test]
    fn a_content_stream_is_operands_and_operators() {
        let mut lexer = Lexer::content(b"BT /F1 12 Tf [(a)-250(b)]TJ T* ) ET");
        let mut found = Vec::new();
        while let Some(token) = lexer.token() {
            if let Token::Operator(operator) = token {
                found.push(String::from_utf8_lossy(operator).into_owned());
            }
        }
        assert_eq!(found, ["BT", "Tf", "TJ", "T*", "ET"]);
    }
}
