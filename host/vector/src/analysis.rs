//! The words of a text, in any mixture of languages; the same for what is stored and for what is searched.
//!
//! Chinese is segmented by jieba in its search mode, by its dictionary alone: a name it does not know becomes single
//! characters in the text and in the question alike, where its statistical model might cut the two differently. Words of
//! other scripts are runs of letters and digits in lower case, those of ASCII letters by their English stem. Scripts that
//! neither use spaces nor have a dictionary here (kana, Thai, …) become pairs of characters.

use frostem::{Algorithm, Stemmer};
use jieba_rs::Jieba;
use std::sync::LazyLock;

/// Bytes of a word; of a longer one the beginning counts.
const WORD_BYTES_MAX: usize = 64;

/// Read when the first Chinese text is met: it takes a moment and some tens of megabytes.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::new(Algorithm::English));

/// How a run of characters is cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// Nothing to be searched for: spaces, punctuation.
    Between,
    /// Words are set apart by what is between them.
    Spaced,
    /// Chinese characters.
    Han,
    /// Words follow each other without anything between them.
    Unspaced,
}

/// The words of `text` in their order, with repetitions. Each has 1 to 64 bytes, all of them letters, digits and marks.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let folded: String = text.chars().map(half_width).flat_map(char::to_lowercase).collect();
    let mut words = Vec::new();
    let mut rest = folded.as_str();
    while let Some(first) = rest.chars().next() {
        let script = script(first);
        let end = rest.find(|character| self::script(character) != script).unwrap_or(rest.len());
        let (run, following) = rest.split_at(end);
        rest = following;
        match script {
            Script::Between => {}
            Script::Spaced => words.push(word(run)),
            Script::Han => words.extend(JIEBA.cut_for_search(run, false).iter().map(|token| cut(token.word))),
            Script::Unspaced => push_pairs(run, &mut words),
        }
    }
    words
}

fn word(run: &str) -> String {
    if run.bytes().all(|byte| byte.is_ascii_lowercase()) {
        cut(&ENGLISH.stem(cut_str(run)))
    } else {
        cut(run)
    }
}

fn cut_str(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_BYTES_MAX)]
}

fn cut(word: &str) -> String {
    cut_str(word).to_owned()
}

fn push_pairs(run: &str, words: &mut Vec<String>) {
    let starts: Vec<usize> = run.char_indices().map(|(start, _character)| start).chain([run.len()]).collect();
    if starts.len() == 2 {
        words.push(run.to_owned());
    }
    words.extend(starts.windows(3).map(|pair| run[pair[0]..pair[2]].to_owned()));
}

/// Letters, digits and signs of full width as those of ASCII.
fn half_width(character: char) -> char {
    match character {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        _ => character,
    }
}

fn script(character: char) -> Script {
    match character {
        '0'..='9' | 'a'..='z' | 'A'..='Z' => Script::Spaced,
        '\0'..='\u{7f}' => Script::Between,
        '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Script::Han,
        // Kana; Thai, Lao; Burmese; Khmer.
        '\u{3041}'..='\u{30ff}'
        | '\u{0e00}'..='\u{0eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}' => Script::Unspaced,
        // A mark belongs to the letter before it.
        '\u{0300}'..='\u{036f}' => Script::Spaced,
        _ if character.is_alphanumeric() => Script::Spaced,
        _ => Script::Between,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text), expected, "{text}");
    }

    #[test]
    fn english_is_found_whatever_its_form() {
        check("Connections, connected!", &["connect", "connect"]);
        check("file_search v2 gpt-4o", &["file", "search", "v2", "gpt", "4o"]);
        check("ＡＢＣ　ｄ", &["abc", "d"]);
        check("  …—  ", &[]);
    }

    #[test]
    fn chinese_is_segmented_and_its_parts_are_found() {
        check("退款政策", &["退款", "政策"]);
        let found = words("中华人民共和国");
        for part in ["中华", "人民", "共和国", "中华人民共和国"] {
            assert!(found.iter().any(|word| word == part), "{part} of {found:?}");
        }
    }

    #[test]
    fn a_mixture_keeps_its_order() {
        check("用Waggle运行agents", &["用", "waggl", "运行", "agent"]);
        check("2024年", &["2024", "年"]);
    }

    #[test]
    fn other_scripts_are_searched_too() {
        check("Müller größe", &["müller", "größe"]);
        check("привет мир", &["привет", "мир"]);
        check("カメラ", &["カメ", "メラ"]);
        check("の", &["の"]);
    }

    proptest! {
        #[test]
        fn words_are_never_empty_nor_too_long(text in "\\PC{0,200}") {
            for word in words(&text) {
                prop_assert!(!word.is_empty());
                prop_assert!(word.len() <= WORD_BYTES_MAX, "{} bytes", word.len());
            }
        }
    }
}
