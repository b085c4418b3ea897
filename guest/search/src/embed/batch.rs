//! How texts are put into calls of a model.

use waggle_openai::item::estimate_tokens;

/// The most estimated tokens of one call. A text that has more of its own goes alone.
const BATCH_TOKENS_MAX: u64 = 16_384;

/// The places of texts in groups of at most `texts_max` texts and [`BATCH_TOKENS_MAX`] tokens, in their order.
pub(super) fn batches(places: &[usize], texts: &[&str], texts_max: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut tokens_so_far = 0;
    for place in places {
        let tokens = texts.get(*place).map_or(0, |text| estimate_tokens(text));
        match all.last_mut() {
            Some(batch) if batch.len() < texts_max && tokens_so_far + tokens <= BATCH_TOKENS_MAX => {
                batch.push(*place);
                tokens_so_far += tokens;
            }
            _ => {
                all.push(vec![*place]);
                tokens_so_far = tokens;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lengths: &[usize], texts_max: usize, expected: &[&[usize]]) {
        let texts: Vec<String> = lengths.iter().map(|tokens| "word".repeat(*tokens)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let places: Vec<usize> = (0..texts.len()).collect();
        assert_eq!(batches(&places, &texts, texts_max), expected, "{lengths:?}");
    }

    #[test]
    fn a_batch_is_bounded_by_texts_and_by_tokens() {
        check(&[], 2, &[]);
        check(&[1, 1, 1], 2, &[&[0, 1], &[2]]);
        check(&[16_000, 384, 1], 9, &[&[0, 1], &[2]]);
        check(&[20_000, 1, 20_000], 9, &[&[0], &[1], &[2]]);
    }
}
