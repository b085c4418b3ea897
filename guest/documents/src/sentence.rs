//! Where sentences end, in Chinese and in languages with spaces.

use crate::script::joins_without_space;
use std::ops::Range;

/// Abbreviations after which a sentence goes on, lower case, without their last period.
const ABBREVIATIONS: [&str; 34] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "cf", "no", "nr", "vol",
    "fig", "eq", "sec", "ch", "p", "pp", "ed", "eds", "al", "approx", "dept", "est", "inc", "ltd", "co",
    "corp", "u.s", "a.m",
];

/// How far it is looked ahead, in characters, and how long the word before a period may be, in bytes.
const LOOK_CHARACTERS_MAX: usize = 16;
const WORD_BYTES_MAX: usize = 24;

/// The sentences of a text, each with the white space after it: together they are the whole text.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if !ends(text, at, character) {
            continue;
        }
        let is_after = |next: &(usize, char)| is_closing(next.1) || is_end(next.1) || next.1.is_whitespace();
        let mut end = at + character.len_utf8();
        while let Some((at, next)) = characters.next_if(is_after) {
            end = at + next.len_utf8();
        }
        found.push(start..end);
        start = end;
    }
    if start < text.len() {
        found.push(start..text.len());
    }
    found
}

fn is_end(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '。' | '！' | '？' | '…' | '｡')
}

fn is_closing(character: char) -> bool {
    matches!(
        character,
        '"' | '\'' | ')' | ']' | '}' | '”' | '’' | '」' | '』' | '）' | '】' | '》' | '〉' | '»'
    )
}

/// Whether a sentence ends with the character at this place.
fn ends(text: &str, at: usize, character: char) -> bool {
    match character {
        '。' | '！' | '？' | '…' | '｡' => true,
        '.' | '!' | '?' => {
            let after = text.get(at + 1..).unwrap_or_default();
            let mut near = after.chars().take(LOOK_CHARACTERS_MAX);
            let next = near.find(|next| !is_closing(*next) && !is_end(*next));
            let is_over = next.is_none_or(|next| next.is_whitespace() || joins_without_space(next));
            is_over && !(character == '.' && goes_on(text, at))
        }
        _ => false,
    }
}

/// The word before a place, and whether it begins its line.
fn word_before(text: &str, at: usize) -> (&str, bool) {
    let mut start = at.saturating_sub(WORD_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let near = text.get(start..at).unwrap_or_default();
    let parting = near.rfind(|character: char| character.is_whitespace() || matches!(character, '(' | '['));
    let after = |place: usize| {
        place + near.get(place..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    };
    let word = near.get(parting.map_or(0, after)..).unwrap_or_default();
    let begins_line = match parting {
        Some(place) => near.as_bytes().get(place) == Some(&b'\n'),
        None => start == 0,
    };
    (word, begins_line)
}

/// Whether the period at a place belongs to an abbreviation, an initial or the number of an item, or what follows begins in
/// lower case.
fn goes_on(text: &str, at: usize) -> bool {
    let (word, begins_line) = word_before(text, at);
    let is_initial = word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_number = (1..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let after = text.get(at + 1..).unwrap_or_default();
    let next = after.chars().take(LOOK_CHARACTERS_MAX).find(|next| !next.is_whitespace());
    ABBREVIATIONS.contains(&word.to_lowercase().as_str())
        || is_initial
        || (is_number && begins_line)
        || next.is_some_and(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(parts: &[&str]) {
        let text = parts.concat();
        let found: Vec<&str> = sentences(&text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, parts);
    }

    #[test]
    fn a_sentence_ends_where_a_reader_sees_it_end() {
        check(&["Returns are free. ", "Are they? ", "Yes!"]);
        check(&["Ask Dr. Smith of A. B. Corp. about e.g. version 1.5.2 of it. ", "He knows."]);
        check(&["“It works.” ", "She left (quickly!). ", "Then..."]);
        check(&["支持七天无理由退货。", "运费谁出？", "“由买家承担。”", "谢谢！！"]);
        check(&["请看 v1.2 说明.", "第二句。 ", "Mixed. ", "中文"]);
        check(&["1. First do this. ", "Then that."]);
        check(&[]);
    }

    proptest! {
        #[test]
        fn sentences_are_the_whole_text(text in "[a-zA-Z0-9 .!?。！？…”)中文\n]{0,200}") {
            let joined: String = sentences(&text).into_iter().map(|range| &text[range]).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
