//! The first step of Porter's stemmer (1980): plurals, `-ed` and `-ing`. The later steps, which join `universe` and
//! `university`, are left out.

/// What is shorter is left as it is.
const LETTERS_MIN: usize = 4;

/// Cuts a word of lower-case ASCII letters to its stem; leaves every other.
pub(super) fn shorten(word: &mut String) {
    if word.len() < LETTERS_MIN || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return;
    }
    cut_plural(word);
    cut_tense(word);
    if let Some(stem) = word.strip_suffix('y')
        && has_vowel(stem.as_bytes())
    {
        replace_end(word, 1, "i");
    }
}

/// Puts `end` in the place of so many last letters.
fn replace_end(word: &mut String, letters: usize, end: &str) {
    word.truncate(word.len().saturating_sub(letters));
    word.push_str(end);
}

fn cut_plural(word: &mut String) {
    if word.ends_with("sses") || word.ends_with("ies") {
        replace_end(word, 2, "");
    } else if word.ends_with('s') && !word.ends_with("ss") {
        replace_end(word, 1, "");
    }
}

fn cut_tense(word: &mut String) {
    if let Some(stem) = word.strip_suffix("eed") {
        if syllables(stem.as_bytes()) > 0 {
            replace_end(word, 1, "");
        }
        return;
    }
    let stem = word.strip_suffix("ed").or_else(|| word.strip_suffix("ing"));
    let Some(letters) = stem.filter(|stem| has_vowel(stem.as_bytes())).map(str::len) else { return };
    word.truncate(letters);
    let bytes = word.as_bytes();
    if ["at", "bl", "iz"].iter().any(|end| word.ends_with(end)) || is_short(bytes) {
        word.push('e');
    } else if ends_double(bytes) && !matches!(bytes.last(), Some(b'l' | b's' | b'z')) {
        word.pop();
    }
}

fn is_vowel(word: &[u8], place: usize) -> bool {
    match word.get(place) {
        Some(b'a' | b'e' | b'i' | b'o' | b'u') => true,
        Some(b'y') => place > 0 && !is_vowel(word, place - 1),
        _ => false,
    }
}

fn has_vowel(word: &[u8]) -> bool {
    (0..word.len()).any(|place| is_vowel(word, place))
}

/// How often a consonant follows a vowel: Porter's measure.
fn syllables(word: &[u8]) -> usize {
    (1..word.len()).filter(|place| is_vowel(word, place - 1) && !is_vowel(word, *place)).count()
}

fn ends_double(word: &[u8]) -> bool {
    let [.., one, other] = word else { return false };
    one == other && !is_vowel(word, word.len() - 1)
}

/// One syllable that ends in a consonant, a vowel and a consonant other than `w`, `x` and `y`: it has lost an `e`.
fn is_short(word: &[u8]) -> bool {
    let count = word.len();
    count >= 3
        && syllables(word) == 1
        && !is_vowel(word, count - 3)
        && is_vowel(word, count - 2)
        && !is_vowel(word, count - 1)
        && !matches!(word.last(), Some(b'w' | b'x' | b'y'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_in_the_paper() {
        let check = |word: &str, expected: &str| {
            let mut stem = word.to_owned();
            shorten(&mut stem);
            assert_eq!(stem, expected, "{word}");
        };
        for (word, expected) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("caress", "caress"),
            ("cats", "cat"),
            ("feed", "feed"),
            ("agreed", "agree"),
            ("plastered", "plaster"),
            ("bled", "bled"),
            ("motoring", "motor"),
            ("sing", "sing"),
            ("conflated", "conflate"),
            ("troubled", "trouble"),
            ("sized", "size"),
            ("hopping", "hop"),
            ("tanned", "tan"),
            ("falling", "fall"),
            ("hissing", "hiss"),
            ("failing", "fail"),
            ("filing", "file"),
            ("happy", "happi"),
            ("sky", "sky"),
            ("skies", "ski"),
            ("refunded", "refund"),
            ("is", "is"),
            ("v2s", "v2s"),
            ("größes", "größes"),
        ] {
            check(word, expected);
        }
    }

    #[test]
    fn a_long_row_of_one_letter_is_no_burden() {
        let mut word = "y".repeat(super::super::WORD_BYTES_MAX);
        shorten(&mut word);
        assert!(!word.is_empty());
    }
}
