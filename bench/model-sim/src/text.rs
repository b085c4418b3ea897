//! Splits texts into tokens, and makes texts of a given length. Both are deterministic.

/// The bytes after which a token ends even without a blank.
const TOKEN_BYTES_MAX: usize = 12;
/// From here on a character is a token of its own: CJK and what lies above it.
const WIDE_FROM: char = '\u{2e80}';

/// The tokens of a text, in order; joined they are the text. A word is a token together with the blank before it.
pub(crate) struct Tokens<'a> {
    rest: &'a str,
}

pub(crate) fn tokens(text: &str) -> Tokens<'_> {
    Tokens { rest: text }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (token, rest) = self.rest.split_at(token_length(self.rest));
        self.rest = rest;
        Some(token)
    }
}

/// The bytes of the first token of a text that is not empty.
pub(crate) fn token_length(text: &str) -> usize {
    let mut has_word = false;
    for (at, character) in text.char_indices() {
        let blank = character.is_whitespace();
        let wide = character >= WIDE_FROM;
        let full = at >= TOKEN_BYTES_MAX;
        if at > 0 && (full || (has_word && (blank || wide))) {
            return at;
        }
        if wide {
            return at + character.len_utf8();
        }
        has_word |= !blank;
    }
    text.len()
}

const WORDS: [&str; 32] = [
    "the", "order", "was", "shipped", "from", "our", "nearest", "store", "and", "will", "reach", "you", "on",
    "Monday", "please", "keep", "receipt", "for", "returns", "within", "thirty", "days", "thank", "your",
    "patience", "we", "have", "checked", "account", "it", "is", "fine",
];

/// The word number `index` of the text that `seed` makes; without the blank before it.
pub(crate) fn word(seed: u64, index: u64) -> &'static str {
    let drawn = mix(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    WORDS[(drawn % WORDS.len() as u64) as usize]
}

/// A text of exactly `count` tokens.
pub(crate) fn generated(seed: u64, count: u32) -> String {
    const BYTES_PER_WORD: usize = 6;
    let mut text = String::with_capacity(count as usize * BYTES_PER_WORD);
    for index in 0..u64::from(count) {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(word(seed, index));
    }
    text
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): spreads any number over all 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_join_to_the_text() {
        fn check(text: &str, expected: &[&str]) {
            let found: Vec<_> = tokens(text).collect();
            assert_eq!(found, expected, "{text}");
            assert_eq!(found.concat(), text);
        }
        check("", &[]);
        check("hi", &["hi"]);
        check("You said: hi", &["You", " said:", " hi"]);
        check("你好 ok", &["你", "好", " ok"]);
        check("a你", &["a", "你"]);
        check("abcdefghijklmnop", &["abcdefghijkl", "mnop"]);
        check("  \n x", &["  \n x"]);
        check("x ", &["x", " "]);
    }

    #[test]
    fn a_generated_text_has_the_asked_length_and_depends_on_the_seed() {
        for count in [0, 1, 2, 20, 1_000] {
            assert_eq!(tokens(&generated(7, count)).count(), count as usize);
        }
        assert_eq!(generated(7, 50), generated(7, 50));
        assert_ne!(generated(7, 50), generated(8, 50));
    }
}
