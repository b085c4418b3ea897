//! The words of a question, and what they say of how hard it is.

use super::keywords::{GREETINGS, HARD, SIMPLE};

/// The first character of the scripts without spaces between words (Chinese, Japanese and what stands near them).
const FIRST_WIDE_CHARACTER: char = '\u{2e80}';
/// The letters of Latin scripts end here.
const FIRST_FOREIGN_CHARACTER: char = '\u{0250}';
/// A text is of a script this table does not know when more than one letter in so many is.
const FOREIGN_LETTERS_ONE_IN: usize = 2;

/// The words of a question.
pub(super) struct Words {
    /// In small letters, with one space between words.
    text: String,
    letters: usize,
    foreign: usize,
}

/// A text in small letters, white space as one space, and the apostrophe as it is typed.
pub(super) fn plain(text: &str, characters_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(4 * characters_max));
    push_plain(&mut out, text, characters_max);
    out
}

/// Returns how many characters were looked at.
fn push_plain(out: &mut String, text: &str, characters_max: usize) -> usize {
    let mut looked_at = 0;
    for character in text.chars().take(characters_max) {
        looked_at += 1;
        match character {
            '\u{2019}' => out.push('\''),
            character if character.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            character => out.extend(character.to_lowercase()),
        }
    }
    looked_at
}

fn is_wide(character: char) -> bool {
    character >= FIRST_WIDE_CHARACTER
}

/// Whether a word goes on over the border between these two characters.
fn joined(before: Option<char>, after: Option<char>) -> bool {
    let in_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() && !is_wide(character))
    };
    in_word(before) && in_word(after)
}

/// Whether `keyword` stands in `text` as words of it; both plain.
fn holds(text: &str, keyword: &str) -> bool {
    let (keyword, any_rest) = match keyword.strip_suffix('*') {
        Some(start) => (start, true),
        None => (keyword, false),
    };
    text.match_indices(keyword).any(|(at, found)| {
        let (before, after) = text.split_at(at);
        let after = after.get(found.len()..).unwrap_or_default();
        !joined(before.chars().next_back(), found.chars().next())
            && (any_rest || !joined(found.chars().next_back(), after.chars().next()))
    })
}

impl Words {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>, characters_max: usize) -> Self {
        let mut text = String::new();
        let mut left = characters_max;
        for more in texts {
            if !text.is_empty() {
                text.push(' ');
            }
            left -= push_plain(&mut text, more, left);
        }
        let (mut letters, mut foreign) = (0, 0);
        for character in text.chars().filter(|character| character.is_alphabetic()) {
            letters += 1;
            foreign += usize::from(!is_wide(character) && character >= FIRST_FOREIGN_CHARACTER);
        }
        Self { text, letters, foreign }
    }

    /// Whether the tables know words of the script the question is written in.
    pub(super) fn are_known(&self) -> bool {
        self.foreign * FOREIGN_LETTERS_ONE_IN <= self.letters
    }

    /// Whether the question holds `keyword`.
    pub(super) fn hold(&self, keyword: &str) -> bool {
        holds(&self.text, keyword)
    }

    /// Whether it holds a word of the table.
    pub(super) fn are_hard(&self) -> bool {
        let found = |text: &str| HARD.iter().any(|keyword| holds(text, keyword));
        if !found(&self.text) {
            return false;
        }
        // Only now, which is seldom: what remains without the words that only look hard?
        let rest = SIMPLE.iter().fold(self.text.clone(), |text, simple| text.replace(simple, " "));
        found(&rest)
    }

    /// Whether there is nothing in it but greetings.
    pub(super) fn is_greeting(&self) -> bool {
        let phrases = self
            .text
            .split(|character: char| !character.is_alphanumeric() && !matches!(character, ' ' | '\''));
        let mut phrases = phrases.map(str::trim).filter(|phrase| !phrase.is_empty()).peekable();
        phrases.peek().is_some() && phrases.all(|phrase| GREETINGS.contains(&phrase))
    }

    /// How many question marks it has; several in a row are one.
    pub(super) fn question_marks(&self) -> usize {
        let mut last = ' ';
        let mark = |character: char| matches!(character, '?' | '\u{ff1f}');
        let first = |character: &char| {
            let begins = mark(*character) && !mark(last);
            last = *character;
            begins
        };
        self.text.chars().filter(first).count()
    }
}

/// Whether there is program text in it: a fence, or two lines that look like one.
pub(super) fn looks_like_code(text: &str) -> bool {
    const LINES_MIN: usize = 2;
    const LINES_MAX: usize = 400;
    if text.contains("```") {
        return true;
    }
    let looks = |line: &&str| {
        let line = line.trim();
        line.ends_with(['{', '}', ';'])
            || [
                "def ", "fn ", "class ", "import ", "#include", "SELECT ", "select ", "public ", "const ",
                "return ",
            ]
            .iter()
            .any(|start| line.starts_with(start) && line.contains(['(', ')', '=', '<', '*', ';']))
    };
    text.lines().take(LINES_MAX).filter(looks).take(LINES_MIN).count() == LINES_MIN
}
