//! The words of a text that say what it is about: for answers that are quoted. What a word is, the index says.

use std::collections::HashSet;
use std::sync::LazyLock;
use waggle_index::words::of_query;

/// Only so much of a text is looked at, in bytes.
const BYTES_MAX: usize = 32 << 10;

/// English words that are in nearly every sentence.
const COMMON: &str = "a an and are as at be been but by can could do does did for from had has have how i if in into is it its \
    me my no not of on or our shall should so than that the their them then there these they this those to was we were what \
    when where which who whom whose why will with would you your about please tell";

/// Chinese characters of the same kind: a pair with one of them says nothing of what is asked.
const COMMON_CHINESE: &str = "的了吗呢吧啊是在有和与或不我你他她它们这那哪谁什么怎样如何为个把被要会能请问";

static COMMON_WORDS: LazyLock<HashSet<String>> = LazyLock::new(|| of_query(COMMON).into_iter().collect());

/// The terms of a text: words in small letters without their endings, and pairs of Chinese characters. Common ones are
/// left out.
pub(crate) fn terms(text: &str) -> HashSet<String> {
    let looked_at = text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or(text);
    let says = |word: &String| {
        !COMMON_WORDS.contains(word) && !word.chars().any(|character| COMMON_CHINESE.contains(character))
    };
    of_query(looked_at).into_iter().filter(says).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let mut seen: Vec<String> = terms(text).into_iter().collect();
        seen.sort();
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn terms_say_what_a_text_is_about() {
        check("", &[]);
        check("What is this about?", &[]);
        check("What is the card? Cards!", &["card"]);
        check("如何重置密码?", &["密码", "置密", "重置"]);
        check("PostgreSQL的安装", &["postgresql", "安装"]);
        check("E-4711", &["4711", "e"]);
        assert_eq!(terms("transfers"), terms("Transfer"));
    }
}
