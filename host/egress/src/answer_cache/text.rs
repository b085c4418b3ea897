//! What a user wrote, brought to one form: width, case, composition and white space.

use icu_normalizer::ComposingNormalizerBorrowed;

/// The block of half-width and full-width forms: all that the width mapping of PRECIS changes, but for U+3000, which is
/// white space.
const WIDTH_FORMS: std::ops::RangeInclusive<char> = '\u{FF00}'..='\u{FFEF}';

/// `text` with full-width and half-width characters at their usual width, in lower case, in NFC, trimmed, and with one
/// space for each run of white space.
///
/// The first three are the steps of UsernameCaseMapped (RFC 8265, section 3.3.2). Of the compatibility mappings of NFKC it
/// has those of width only, as others change what is meant: NFKC makes 10³ and 103 the same.
pub(crate) fn normalised(text: &str) -> String {
    if text.is_ascii() {
        return spaced(&text.to_ascii_lowercase());
    }
    let mut lower = String::with_capacity(text.len());
    for c in with_usual_width(text).chars() {
        lower.extend(c.to_lowercase());
    }
    spaced(&ComposingNormalizerBorrowed::new_nfc().normalize(&lower))
}

/// Maps the runs of characters that have a width of their own, each run as a whole so that marks find their letters.
fn with_usual_width(text: &str) -> String {
    let compatible = ComposingNormalizerBorrowed::new_nfkc();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c| WIDTH_FORMS.contains(&c)) {
        let (before, forms) = rest.split_at(start);
        let end = forms.find(|c| !WIDTH_FORMS.contains(&c)).unwrap_or(forms.len());
        let (forms, after) = forms.split_at(end);
        out.push_str(before);
        out.push_str(&compatible.normalize(forms));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_change_the_question_is_taken_away() {
        fn check(text: &str, expected: &str) {
            assert_eq!(normalised(text), expected, "{text:?}");
        }
        check("", "");
        check("  Where is\n\tmy   ORDER? ", "where is my order?");
        check("你好，世界！", "你好,世界!");
        check("你好,世界!", "你好,世界!");
        check("　订单　ＡＢＣ１２３ ", "订单 abc123");
        check("ｶﾞｲﾄﾞ", "ガイド");
        check("e\u{301}tat", "état");
        check("ÉTAT", "état");
        check("İ", "i\u{307}");
        check("ΣΑΣ", "σασ");
        check("\u{a0}a\u{2003}b\u{85}", "a b");
    }

    #[test]
    fn what_may_change_the_question_stays() {
        fn check(one: &str, other: &str) {
            assert_ne!(normalised(one), normalised(other), "{one:?} {other:?}");
        }
        check("is it open?", "is it open");
        check("ab", "a b");
        check("10³", "103");
        check("2ⁿ", "2n");
        check("H₂O", "H2O");
        check("1½", "11/2");
        check("①", "1");
        check("1.5", "15");
        check("resume", "résumé");
        check("a\u{200d}b", "ab");
    }

    proptest! {
        #[test]
        fn what_is_normalised_stays_as_it_is(text in "\\PC{0,40}|[a-zＡ-ｚ \u{ff9e}\u{301}ｶ]{0,20}") {
            let once = normalised(&text);
            prop_assert_eq!(normalised(&once), once);
        }

        #[test]
        fn white_space_and_case_of_ascii_never_matter(words in proptest::collection::vec("[a-z0-9?.,]{1,6}", 0..6)) {
            let plain = words.join(" ");
            let spread = format!("\n {} \t", words.join(" \r\n ")).to_uppercase();
            prop_assert_eq!(normalised(&spread), plain);
        }
    }
}
