//! What of a text is found by words. Words of alphabets are lowercased, and English ones are cut to their stem; Chinese,
//! Japanese and Korean, which are searched without knowing where a word ends, become pairs of neighbours.
//!
//! A document has each such character alone as well, so that a question of one character finds it; a question of more
//! is asked by its pairs only, which say more.

mod stem;

/// The longest word in bytes; what is longer is cut. Such words are numbers in disguise, and nobody asks for their end.
pub const WORD_BYTES_MAX: usize = 64;

/// The words of a text that is to be found, each as often as it stands there.
pub fn of_document(text: &str) -> Vec<String> {
    Splitter::split(text, true)
}

/// The words of a question.
pub fn of_query(text: &str) -> Vec<String> {
    Splitter::split(text, false)
}

struct Splitter {
    of_document: bool,
    found: Vec<String>,
    /// The word of an alphabet that has begun.
    word: String,
    /// The last character of the row of unspaced ones that has begun.
    previous: Option<char>,
    /// Whether that character is the row's only one.
    is_alone: bool,
}

impl Splitter {
    fn split(text: &str, of_document: bool) -> Vec<String> {
        let mut splitter =
            Self { of_document, found: Vec::new(), word: String::new(), previous: None, is_alone: false };
        for character in text.chars().map(narrowed) {
            splitter.take(character);
        }
        splitter.end_word();
        splitter.end_row();
        splitter.found
    }

    fn take(&mut self, character: char) {
        if is_mark(character) {
            return;
        }
        if is_unspaced(character) {
            self.end_word();
            self.join(character);
        } else if character.is_alphanumeric() {
            self.end_row();
            for lower in character.to_lowercase().filter(|lower| !is_mark(*lower)) {
                if self.word.len() + lower.len_utf8() <= WORD_BYTES_MAX {
                    self.word.push(lower);
                }
            }
        } else {
            self.end_word();
            self.end_row();
        }
    }

    fn join(&mut self, character: char) {
        if self.of_document {
            self.found.push(character.into());
        }
        self.is_alone = self.previous.is_none();
        if let Some(previous) = self.previous {
            self.found.push([previous, character].iter().collect());
        }
        self.previous = Some(character);
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            stem::shorten(&mut self.word);
            self.found.push(std::mem::take(&mut self.word));
        }
    }

    fn end_row(&mut self) {
        if let Some(last) = self.previous.take()
            && self.is_alone
            && !self.of_document
        {
            self.found.push(last.into());
        }
    }
}

/// Of characters as wide as Chinese ones, those that stand for ASCII.
fn narrowed(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xff01 + 0x21).unwrap_or(character),
        other => other,
    }
}

/// Accents that follow their letter.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}')
}

/// Han, kana and Hangul.
fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{3005}'..='\u{3007}'
        | '\u{3041}'..='\u{3096}'
        | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9d}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_fall_into_words() {
        let check = |text: &str, document: &[&str], query: &[&str]| {
            assert_eq!(of_document(text), document, "{text}");
            assert_eq!(of_query(text), query, "{text}");
        };
        let alike = |text: &str, expected: &[&str]| check(text, expected, expected);
        alike("", &[]);
        alike(" ?!—", &[]);
        alike("The REFUND, please.", &["the", "refund", "please"]);
        alike("refunds refunded refunding", &["refund", "refund", "refund"]);
        alike("iPhone 15-Pro v2.0", &["iphone", "15", "pro", "v2", "0"]);
        alike("Größe ПРИВЕТ café cafe\u{301}", &["größe", "привет", "café", "cafe"]);
        alike("ＡＢＣ１２", &["abc12"]);
        check("退款流程", &["退", "款", "退款", "流", "款流", "程", "流程"], &["退款", "款流", "流程"]);
        check("茶", &["茶"], &["茶"]);
        check("茶,水", &["茶", "水"], &["茶", "水"]);
        check("用API退款", &["用", "api", "退", "款", "退款"], &["用", "api", "退款"]);
        check("데이터", &["데", "이", "데이", "터", "이터"], &["데이", "이터"]);
        check(
            "カート・キー",
            &["カ", "ー", "カー", "ト", "ート", "キ", "ー", "キー"],
            &["カー", "ート", "キー"],
        );
        alike(&"é".repeat(100), &[&"é".repeat(32)]);
    }

    proptest! {
        #[test]
        fn a_document_is_found_by_all_words_of_its_own_text(text in "[a-cA-C0-9 ,.'\u{301}é退款流Ａ]{0,40}") {
            let document = of_document(&text);
            for word in of_query(&text) {
                prop_assert!(document.contains(&word), "{} in {:?}", word, document);
            }
        }

        #[test]
        fn words_are_bounded_and_never_empty(text in any::<String>()) {
            for word in of_document(&text) {
                prop_assert!(!word.is_empty() && word.len() <= WORD_BYTES_MAX);
            }
        }
    }
}
