//! Likeness by words alone: what is said in an example's own words needs no model.

use crate::catalogue::Catalogue;
use std::collections::HashMap;

/// Only so many characters are looked at.
const CHARACTERS_MAX: usize = 2_000;
/// How alike a text must be to an example, from 0 to 1, to be taken for it.
const ALIKE_MIN: f64 = 0.92;
/// Texts that are shorter than this, in characters, are alike only when they are the same: one letter says too much there.
const ALIKE_CHARACTERS_MIN: usize = 8;

/// The half-width form of a character.
fn half_width(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        '\u{3000}' => ' ',
        other => other,
    }
}

/// The text in half-width characters.
pub(crate) fn half(text: &str) -> String {
    text.chars().map(half_width).collect()
}

/// The words of a text in small letters, one space between them, without marks.
pub(crate) fn plain(text: &str) -> String {
    let text = text.chars().take(CHARACTERS_MAX).map(half_width).flat_map(char::to_lowercase);
    let mut plain = String::new();
    let mut gap = false;
    for character in text {
        // An apostrophe stands within a word.
        if matches!(character, '\'' | '\u{2019}') {
            continue;
        }
        if !character.is_alphanumeric() {
            gap = true;
            continue;
        }
        if gap && !plain.is_empty() {
            plain.push(' ');
        }
        gap = false;
        plain.push(character);
    }
    plain
}

fn pairs(text: &str) -> HashMap<(char, char), usize> {
    let mut pairs = HashMap::new();
    for pair in text.chars().zip(text.chars().skip(1)) {
        *pairs.entry(pair).or_insert(0) += 1;
    }
    pairs
}

/// How many pairs of characters two texts have in common, from 0 to 1 (Dice's coefficient).
fn alike(one: &HashMap<(char, char), usize>, other: &HashMap<(char, char), usize>) -> f64 {
    let sum = one.values().sum::<usize>() + other.values().sum::<usize>();
    if sum == 0 {
        return 0.0;
    }
    let common: usize =
        one.iter().map(|(pair, count)| (*count).min(other.get(pair).copied().unwrap_or(0))).sum();
    2.0 * common as f64 / sum as f64
}

/// The intent one of whose examples the text is, or nearly is, and how alike they are; `None` where two intents have such
/// an example.
pub(crate) fn find(catalogue: &Catalogue, text: &str) -> Option<(usize, f64)> {
    let text = plain(text);
    if let Some(place) = catalogue.by_words().get(&text) {
        return Some((*place, 1.0));
    }
    let length = text.chars().count();
    if length < ALIKE_CHARACTERS_MIN {
        return None;
    }
    let of_text = pairs(&text);
    let mut best: Option<(usize, f64)> = None;
    for (example, place) in catalogue.by_words() {
        let other = example.chars().count();
        if other.abs_diff(length) * 5 > length.max(other) {
            continue;
        }
        let likeness = alike(&of_text, &pairs(example));
        if likeness < ALIKE_MIN {
            continue;
        }
        match best {
            Some((known, _)) if known != *place => return None,
            Some((_, known)) if known >= likeness => {}
            _ => best = Some((*place, likeness)),
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn words_are_what_is_left_of_a_text() {
        for (text, expected) in [
            ("  Where's my   ORDER?! ", "wheres my order"),
            ("我的订单,在哪里?", "我的订单 在哪里"),
            ("Ａ１　Ｂ", "a1 b"),
            ("…", ""),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn what_is_said_in_an_examples_words_is_found() {
        let text = json!([{"name": "track", "examples": ["Where is my order?", "查一下订单"]},
            {"name": "cancel", "examples": ["Please cancel my order right now", "Hi"]}]);
        let catalogue = Catalogue::read(&text.to_string()).unwrap();
        let check = |said: &str, expected: Option<usize>| {
            assert_eq!(find(&catalogue, said).map(|(place, _)| place), expected, "{said}");
        };
        check("where is my order", Some(0));
        check("查一下订单。", Some(0));
        check("Please cancel my orders right now", Some(1));
        check("hi!", Some(1));
        check("ho", None);
        check("Where is my hat?", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn the_words_of_words_are_the_same(text in "\\PC{0,80}") {
            let once = plain(&text);
            prop_assert_eq!(plain(&once), once);
        }
    }
}
