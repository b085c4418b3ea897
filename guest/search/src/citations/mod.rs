//! Citations: a model writes `[1]` where it says what source 1 says; a client reads the text without the marker, and an
//! annotation at that place.
//!
//! The text may come in pieces, cut anywhere: what comes out does not depend on where. Markers are `[1]`, `[1, 2]`, `[1][2]`,
//! and the same in `【】` and `［］`, as models write them. A number that no source has is taken out with its marker: what
//! nobody said must not look like a quotation. Nothing is looked for in code, and a link (`[1](…)`) is one. Spaces before a marker
//! go with it where the sentence ends there.

mod code;
mod marker;

use code::Code;
use marker::{Marker, Step};
use serde::Serialize;

/// The most whitespace that is held back until it is known what follows.
const HELD_CHARACTERS_MAX: usize = 64;

/// A file that may be cited, by its place among the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CitedFile {
    /// Its id.
    pub file_id: String,
    /// Its name.
    pub filename: String,
}

/// OpenAI's `file_citation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Annotation {
    /// Always `file_citation`.
    pub r#type: &'static str,
    /// The file that says so.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// Before which character of the text it stands, in characters (Unicode code points) from its beginning.
    pub index: usize,
}

/// What a piece of a model's text becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cited {
    /// The text that goes on to the client.
    pub text: String,
    /// What it cites; their places count from the beginning of the whole text.
    pub annotations: Vec<Annotation>,
}

/// What is held back.
#[derive(Debug, Default)]
enum Held {
    /// Nothing but perhaps spaces.
    #[default]
    Nothing,
    /// What may become a marker.
    Open(Marker),
    /// A marker that is whole; one character more tells whether it is a link.
    Closed(Marker),
}

/// Reads a model's text and takes the markers out.
#[derive(Debug)]
pub struct Citations {
    files: Vec<CitedFile>,
    /// How many characters have gone on.
    written: usize,
    /// Spaces before what is held.
    before: String,
    /// What stood behind a marker that was taken out: spaces, and signs that part markers. `None`: none was, just now.
    after: Option<String>,
    held: Held,
    code: Code,
    /// Which sources were cited, by their places.
    cited: Vec<bool>,
    /// Where the last annotations stand, and of which files, so that each is there once.
    last: (usize, Vec<usize>),
}

impl Citations {
    /// A reader for answers from these sources; the first one's number is 1.
    pub fn new(files: Vec<CitedFile>) -> Self {
        let cited = vec![false; files.len()];
        Self {
            files,
            written: 0,
            before: String::new(),
            after: None,
            held: Held::Nothing,
            code: Code::default(),
            cited,
            last: (0, Vec::new()),
        }
    }

    /// Takes a piece of the text.
    pub fn feed(&mut self, piece: &str) -> Cited {
        let mut out = Cited::default();
        for character in piece.chars() {
            self.take(character, &mut out);
        }
        out
    }

    /// The text is over: what was still held back.
    pub fn end(&mut self) -> Cited {
        let mut out = Cited::default();
        match std::mem::take(&mut self.held) {
            Held::Nothing => {}
            Held::Open(marker) => self.give_back(&marker, &mut out),
            Held::Closed(marker) => self.accept(&marker, &mut out),
        }
        self.settle(None, &mut out);
        self.write_before(&mut out);
        out
    }

    /// Which sources were cited so far, by their places from 0.
    pub fn cited(&self) -> Vec<usize> {
        self.cited.iter().enumerate().filter(|(_, cited)| **cited).map(|(place, _)| place).collect()
    }

    fn take(&mut self, character: char, out: &mut Cited) {
        match std::mem::take(&mut self.held) {
            Held::Nothing => self.plain(character, out),
            Held::Open(mut marker) => match marker.take(character) {
                Step::More => self.held = Held::Open(marker),
                Step::Whole => self.held = Held::Closed(marker),
                Step::NotOne => {
                    self.give_back(&marker, out);
                    self.plain(character, out);
                }
            },
            Held::Closed(marker) if character == '(' && marker.may_be_link() => {
                self.give_back(&marker, out);
                self.plain(character, out);
            }
            Held::Closed(marker) => {
                self.accept(&marker, out);
                self.plain(character, out);
            }
        }
    }

    /// A character that stands in no marker, but may begin one.
    fn plain(&mut self, character: char, out: &mut Cited) {
        if !self.code.is_inside()
            && let Some(marker) = Marker::begin(character)
        {
            self.held = Held::Open(marker);
            return;
        }
        if let Some(after) = &mut self.after {
            let parts = character == ' ' || is_sign(character);
            if parts && after.chars().count() < HELD_CHARACTERS_MAX {
                after.push(character);
                return;
            }
            self.settle(Some(character), out);
        }
        if character == ' ' && self.before.len() < HELD_CHARACTERS_MAX {
            self.before.push(character);
            return;
        }
        self.write_before(out);
        self.code.take(character);
        self.write(character, out);
    }

    /// What was held is no marker: it goes on as it came.
    fn give_back(&mut self, marker: &Marker, out: &mut Cited) {
        self.settle(marker.text().chars().next(), out);
        self.write_before(out);
        for character in marker.text().chars() {
            self.code.take(character);
            self.write(character, out);
        }
    }

    /// What was held is a marker: it goes, and what it cites is noted.
    fn accept(&mut self, marker: &Marker, out: &mut Cited) {
        if self.last.0 != self.written {
            self.last = (self.written, Vec::new());
        }
        for number in marker.numbers() {
            let Some(place) = number.checked_sub(1) else { continue };
            let Some(file) = self.files.get(place) else { continue };
            if let Some(cited) = self.cited.get_mut(place) {
                *cited = true;
            }
            if self.last.1.iter().any(|known| self.files.get(*known).is_some_and(|known| known == file)) {
                continue;
            }
            self.last.1.push(place);
            let CitedFile { file_id, filename } = file.clone();
            out.annotations.push(Annotation {
                r#type: "file_citation",
                file_id,
                filename,
                index: self.written,
            });
        }
        self.after = Some(String::new());
    }

    /// A marker was taken out and `next` follows, or nothing: decides which of the spaces and signs around it stay.
    fn settle(&mut self, next: Option<char>, out: &mut Cited) {
        let Some(after) = self.after.take() else { return };
        let before = std::mem::take(&mut self.before);
        let ends = next.is_none_or(|next| next.is_whitespace() || is_closing(next));
        let is_space = after.chars().all(|character| character == ' ');
        let kept = match (is_space, ends) {
            // A comma behind the marker belongs to the sentence; the space before the marker to neither.
            (false, true) => after.trim_end_matches(' '),
            (false, false) => after.as_str(),
            (true, true) => "",
            (true, false) if after.is_empty() => before.as_str(),
            (true, false) => after.as_str(),
        };
        for character in kept.chars() {
            self.code.take(character);
            self.write(character, out);
        }
    }

    fn write_before(&mut self, out: &mut Cited) {
        for character in std::mem::take(&mut self.before).chars() {
            self.code.take(character);
            self.write(character, out);
        }
    }

    fn write(&mut self, character: char, out: &mut Cited) {
        out.text.push(character);
        self.written += 1;
    }
}

/// Whether a character parts numbers, or markers: commas and semicolons, those of Chinese included.
fn is_sign(character: char) -> bool {
    matches!(character, ',' | ';' | '\u{3001}' | '\u{ff0c}' | '\u{ff1b}')
}

/// Whether a character ends a sentence or a part of one, so that no space belongs before it.
fn is_closing(character: char) -> bool {
    const CHINESE: &str = "\u{3002}\u{ff01}\u{ff1f}\u{ff1a}\u{ff09}\u{300d}\u{201d}";
    is_sign(character)
        || matches!(character, '.' | '!' | '?' | ':' | ')' | ']' | '}')
        || CHINESE.contains(character)
}

/// The whole of a text at once.
pub fn cite(files: Vec<CitedFile>, text: &str) -> Cited {
    let mut citations = Citations::new(files);
    let mut cited = citations.feed(text);
    let end = citations.end();
    cited.text.push_str(&end.text);
    cited.annotations.extend(end.annotations);
    cited
}

#[cfg(test)]
mod tests;
