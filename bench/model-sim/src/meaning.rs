//! What the simulated model takes a text to be about: the words in it. A text is a sum of vectors, one for each of its
//! words, so that texts with words in common are alike, and all is the same on every machine.

use crate::text::mix;

/// How many places of a vector a word has. Two words share one seldom enough from some hundred dimensions on.
const PLACES: u64 = 8;
/// What a word of up to this many letters counts, beside 1 of a longer one: it is most likely an article or the like.
const SHORT_LETTERS_MAX: usize = 3;
const SHORT_WEIGHT: f32 = 0.25;
/// From here on a character is a word of its own: CJK and what lies above it.
const WIDE_FROM: char = '\u{2e80}';

fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}

/// A vector of length 1 in which no direction is preferred.
fn unit_vector(seed: u64, dimensions: usize) -> Vec<f32> {
    const STEPS: f64 = (1_u64 << 32) as f64;
    let numbers: Vec<f64> = (1..=dimensions as u64)
        .map(|index| (mix(seed ^ mix(index)) >> 32) as f64 / STEPS * 2.0 - 1.0)
        .collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    numbers.into_iter().map(|number| (number / length) as f32).collect()
}

/// Adds a word.
fn add(vector: &mut [f32], word: u64, weight: f32) {
    let dimensions = vector.len() as u64;
    for place in 1..=PLACES {
        let drawn = mix(word ^ mix(place));
        let sign = if drawn >> 63 == 0 { weight } else { -weight };
        if let Some(number) = vector.get_mut((drawn % dimensions.max(1)) as usize) {
            *number += sign;
        }
    }
}

/// The vector brought to length 1; one without a direction is drawn by `seed`.
fn normalised(mut vector: Vec<f32>, seed: u64) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length <= f32::EPSILON {
        return unit_vector(seed, vector.len());
    }
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

/// Calls `take` with each word of a text, in lower case and without the s of a plural, and what it counts. Of wide
/// characters each counts, and more together with the one before.
fn for_each_word(text: &str, mut take: impl FnMut(&str, f32)) {
    let lower = text.to_lowercase();
    for part in lower.split(|character: char| !character.is_alphanumeric()) {
        let mut narrow = String::new();
        let mut before = None;
        for character in part.chars() {
            if character < WIDE_FROM {
                narrow.push(character);
                continue;
            }
            take(character.encode_utf8(&mut [0; 4]), SHORT_WEIGHT);
            if let Some(before) = before.replace(character) {
                take(&String::from_iter([before, character]), 1.0);
            }
        }
        let letters = narrow.chars().count();
        if letters > SHORT_LETTERS_MAX {
            take(narrow.strip_suffix('s').unwrap_or(&narrow), 1.0);
        } else if letters > 0 {
            take(&narrow, SHORT_WEIGHT);
        }
    }
}

/// The vector of a text, of length 1.
pub(crate) fn of_text(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    for_each_word(text, |word, weight| add(&mut vector, hash(word), weight));
    normalised(vector, hash(text))
}

/// The vector of a text given as tokens, of length 1.
pub(crate) fn of_tokens(tokens: &[u64], dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimensions];
    for token in tokens {
        add(&mut vector, mix(*token), 1.0);
    }
    normalised(vector, tokens.iter().fold(1, |hash, token| mix(hash ^ token)))
}

/// How alike two vectors of length 1 are, from -1 to 1.
pub(crate) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> f32 {
        cosine(&of_text(one, 256), &of_text(other, 256))
    }

    #[test]
    fn texts_with_words_in_common_are_alike() {
        let question = "How long do refunds take?";
        let answer = "A refund takes five days. Refunds go back to the card.";
        assert!(alike(question, answer) > 0.3, "{}", alike(question, answer));
        assert!(alike(question, "Parcels leave the warehouse on Monday.") < 0.2);
        assert!(alike("退款需要多久？", "退款需要五个工作日。") > 0.4);
        assert!(alike("退款需要多久？", "包裹星期一发出。") < 0.2);
        assert!(alike("Bears DANCE", "bear dance!") > 0.99);
    }

    #[test]
    fn every_text_has_a_direction() {
        for text in ["", "?!", "a", "a b c", "蜂"] {
            for dimensions in [1, 2, 64] {
                let vector = of_text(text, dimensions);
                let length = cosine(&vector, &vector);
                assert!(
                    vector.len() == dimensions && (length - 1.0).abs() < 1e-4,
                    "{text} {dimensions}: {length}"
                );
            }
        }
        assert_ne!(of_text("?", 64), of_text("!", 64));
        assert_eq!(of_tokens(&[1, 2], 8), of_tokens(&[1, 2], 8));
    }
}
