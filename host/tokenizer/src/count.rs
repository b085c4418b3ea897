//! Counting, within bounds.

use crate::encoding::Encoding;
use crate::vocabulary::ready;

/// How many bytes of all texts of one call are counted; the tokens of the rest are estimated by those. It bounds what
/// one call takes of a thread: some milliseconds.
pub const COUNTED_BYTES_MAX: usize = 256 << 10;
/// A rule of thumb: a token has four bytes.
const BYTES_PER_TOKEN: usize = 4;

/// The tokens of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub tokens: u64,
    /// Whether that is an estimate: the text is longer than what is counted, or the vocabulary is not in memory yet.
    pub is_estimate: bool,
}

/// What can count the tokens of a text.
type Counter<'c> = &'c dyn Fn(&str) -> usize;

/// Counts the tokens of each text, in their order, as text only: what looks like a special token (`<|endoftext|>`) is
/// not one.
///
/// It never waits: until the vocabulary is in memory, which the first call begins, everything is an estimate.
#[must_use]
pub fn count<T: AsRef<str>>(encoding: Encoding, texts: &[T]) -> Vec<Counted> {
    match ready(encoding) {
        Some(tokenizer) => counted(texts, &|text| tokenizer.count(text)),
        None => texts.iter().map(|text| estimate(text.as_ref())).collect(),
    }
}

/// The tokens of a text by its length.
#[must_use]
pub fn estimate(text: &str) -> Counted {
    Counted { tokens: text.len().div_ceil(BYTES_PER_TOKEN) as u64, is_estimate: true }
}

fn counted<T: AsRef<str>>(texts: &[T], count: Counter<'_>) -> Vec<Counted> {
    let mut seen = Seen::default();
    texts.iter().map(|text| seen.count(text.as_ref(), count)).collect()
}

/// What one call has counted.
#[derive(Default)]
struct Seen {
    bytes: usize,
    tokens: usize,
}

impl Seen {
    fn count(&mut self, text: &str, count: Counter<'_>) -> Counted {
        let room = COUNTED_BYTES_MAX - self.bytes;
        let (head, rest) = text.split_at(text.floor_char_boundary(room.min(text.len())));
        let tokens = if head.is_empty() { 0 } else { count(head) };
        self.bytes += head.len();
        self.tokens += tokens;
        Counted { tokens: (tokens + self.like_these(rest.len())) as u64, is_estimate: !rest.is_empty() }
    }

    /// The tokens of so many bytes, if they are like those that were counted. Some bytes were, where any are left.
    fn like_these(&self, bytes: usize) -> usize {
        let product = u128::from(bytes as u64) * u128::from(self.tokens as u64);
        let tokens = product.div_ceil(u128::from(self.bytes.max(1) as u64));
        usize::try_from(tokens).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::unpack;
    use proptest::prelude::*;

    fn exact(tokens: u64) -> Counted {
        Counted { tokens, is_estimate: false }
    }

    fn check(encoding: Encoding, text: &str, tokens: u64) {
        unpack(encoding);
        assert_eq!(count(encoding, &[text]), [exact(tokens)], "{encoding} {text:?}");
    }

    /// From tiktoken's README and tests/test_encoding.py, and OpenAI's cookbook, "How to count tokens with tiktoken".
    #[test]
    fn texts_have_as_many_tokens_as_tiktoken_counts() {
        use Encoding::{Cl100kBase, O200kBase};
        for encoding in [O200kBase, Cl100kBase] {
            check(encoding, "", 0);
            check(encoding, "hello world", 2);
            check(encoding, "tiktoken is great!", 6);
            check(encoding, "antidisestablishmentarianism", 6);
            check(encoding, "2 + 2 = 4", 7);
        }
        check(O200kBase, "お誕生日おめでとう", 8);
        check(Cl100kBase, "お誕生日おめでとう", 9);
        check(Cl100kBase, "rer", 1);
        check(Cl100kBase, "'rer", 2);
        check(Cl100kBase, "today\n ", 3);
        check(Cl100kBase, "today\n \n", 2);
        check(Cl100kBase, "today\n  \n", 2);
        check(Cl100kBase, " \u{85}0", 4);
        check(Cl100kBase, "👍", 3);
    }

    #[test]
    fn each_text_is_counted_by_itself_and_none_is_special() {
        unpack(Encoding::Cl100kBase);
        let counted = count(Encoding::Cl100kBase, &["hello", " world", "<|endoftext|>"]);
        assert_eq!(counted, [exact(1), exact(1), exact(7)]);
    }

    #[test]
    fn what_is_too_long_is_counted_in_part_and_said_to_be_an_estimate() {
        let calls = std::cell::Cell::new(0);
        let by_byte = |text: &str| {
            calls.set(calls.get() + text.len());
            text.len()
        };
        let long = "你".repeat(COUNTED_BYTES_MAX);
        let all = counted(&["ab", &long, "cde"], &by_byte);
        let estimated = |tokens: usize| Counted { tokens: tokens as u64, is_estimate: true };
        assert_eq!(all, [exact(2), estimated(long.len()), estimated(3)]);
        assert!(calls.get() <= COUNTED_BYTES_MAX, "{} bytes were counted", calls.get());
    }

    /// Each would take a naive tokenizer, whose time grows with the square of a word's length, minutes.
    #[test]
    fn hostile_texts_of_ten_mebibytes_are_counted_in_bounded_time() {
        for encoding in [Encoding::O200kBase, Encoding::Cl100kBase] {
            unpack(encoding);
            for character in ["a", " ", "\n", "\0", "你", "😀", "\u{301}", "A'", "1", "a\u{301}'S ", "\n "]
            {
                let text = character.repeat((10 << 20) / character.len());
                let counted = count(encoding, &[&text]);
                assert!(counted[0].is_estimate && counted[0].tokens > 10_000, "{character:?} {counted:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_count_is_never_more_than_the_bytes_and_never_none(text in "\\PC{1,200}") {
            unpack(Encoding::O200kBase);
            let counted = count(Encoding::O200kBase, &[&text]);
            prop_assert!(!counted[0].is_estimate);
            prop_assert!((1..=text.len() as u64).contains(&counted[0].tokens), "{counted:?}");
        }
    }
}
