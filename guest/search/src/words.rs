//! The words of a text that say what it is about: for answers that are quoted, not for the index, which has its own.

use std::collections::HashSet;

/// Only so much of a text is looked at, in characters.
const CHARACTERS_MAX: usize = 20_000;

/// English words that are in nearly every sentence.
const COMMON: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "do", "does", "did", "for", "from",
    "had", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or",
    "our", "shall", "should", "so", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "to", "was", "we", "were", "what", "when", "where", "which", "who", "whom", "whose", "why", "will", "with",
    "would", "you", "your", "about", "please", "tell",
];

/// Chinese characters of the same kind: a pair with one of them says nothing of what is asked.
const COMMON_CHINESE: &str = "的了吗呢吧啊是在有和与或不我你他她它们这那哪谁什么怎样如何为个把被要会能请问";

pub(crate) fn is_chinese(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Words that differ in their endings only are one.
fn stem(word: &str) -> &str {
    let ascii = word.is_ascii();
    for ending in ["ies", "ing", "ed", "es", "s"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| ascii && stem.len() >= 3) {
            return stem;
        }
    }
    match word.strip_suffix(['e', 'y']).filter(|stem| ascii && stem.len() >= 3) {
        Some(stem) => stem,
        None => word,
    }
}

/// The terms of a text: words in small letters without their endings, and pairs of Chinese characters. Common ones are
/// left out.
pub(crate) fn terms(text: &str) -> HashSet<String> {
    let mut terms = HashSet::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    let mut end_word = |word: &mut String| {
        if !word.is_empty() && !COMMON.contains(&word.as_str()) {
            terms.insert(stem(word).to_owned());
        }
        word.clear();
    };
    let mut pairs = Vec::new();
    for character in text.chars().take(CHARACTERS_MAX) {
        if is_chinese(character) {
            end_word(&mut word);
            let is_common = COMMON_CHINESE.contains(character);
            if let Some(before) = before.filter(|_| !is_common) {
                pairs.push(String::from_iter([before, character]));
            }
            before = (!is_common).then_some(character);
        } else {
            before = None;
            if character.is_alphanumeric() {
                word.extend(character.to_lowercase());
            } else {
                end_word(&mut word);
            }
        }
    }
    end_word(&mut word);
    terms.extend(pairs);
    terms
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
        check("What is the fee? Fees!", &["fee"]);
        check("Transfers, transferring, transferred", &["transfer", "transferr"]);
        check("如何重置密码?", &["密码", "置密", "重置"]);
        check("PostgreSQL的安装", &["postgresql", "安装"]);
        check("E-4711", &["4711", "e"]);
    }
}
