//! The words of a text, for an index without a dictionary and for marking what was found.
//!
//! Chinese and Japanese are taken as single characters and pairs of neighbours: pairs find words of any length without
//! knowing them, and single characters find questions of one. Everything else is a word from one space or punctuation mark
//! to the next, in lower case, English ones by their stems.

use crate::script::is_ideographic;
use crate::stem::stem;
use std::ops::Range;

/// A word that is longer is cut off, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it is compared by.
    pub term: String,
    /// Where it stands in the text, in bytes.
    pub bytes: Range<usize>,
}

/// The words of a text, in the order in which they begin. Of each ideograph there is a word, and of each two neighbours one
/// more.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let end = at + character.len_utf8();
        if is_ideographic(character) {
            words.push(Word { term: character.to_string(), bytes: at..end });
            if let Some((next_at, next)) =
                characters.peek().copied().filter(|(_, next)| is_ideographic(*next))
            {
                let bytes = at..next_at + next.len_utf8();
                words.push(Word { term: String::from_iter([character, next]), bytes });
            }
        } else if character.is_alphanumeric() {
            let mut end = end;
            let is_inside = |next: &(usize, char)| next.1.is_alphanumeric() && !is_ideographic(next.1);
            while let Some((at, next)) = characters.next_if(is_inside) {
                end = at + next.len_utf8();
            }
            words.push(Word { term: term(text.get(at..end).unwrap_or_default()), bytes: at..end });
        }
    }
    words
}

fn term(word: &str) -> String {
    let lower = crate::document::cut(word, WORD_BYTES_MAX).to_lowercase();
    stem(&lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.term).collect()
    }

    #[test]
    fn each_script_has_its_own_words() {
        assert_eq!(terms("Returns, refunded!"), ["return", "refund"]);
        assert_eq!(terms("退货政策"), ["退", "退货", "货", "货政", "政", "政策", "策"]);
        assert_eq!(terms("iPhone15手机"), ["iphone15", "手", "手机", "机"]);
        assert_eq!(terms("ÄRGER über"), ["ärger", "über"]);
        assert!(terms(" ,.。！").is_empty());
    }

    proptest! {
        #[test]
        fn words_stand_where_they_say(text in "\\PC{0,100}") {
            for word in words(&text) {
                let slice = &text[word.bytes.clone()];
                prop_assert!(!word.term.is_empty());
                prop_assert!(slice.chars().all(char::is_alphanumeric) || slice.chars().all(is_ideographic));
            }
        }
    }
}
