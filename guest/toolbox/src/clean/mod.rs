//! What a tool gives, made fit for a model: within its bound, of characters that are seen, and with links only to where
//! they may lead. It says nothing of what the text means: that it is data and no instruction, chat tells the model.

mod characters;
mod escapes;
mod links;

pub(crate) use characters::clean_text;
pub(crate) use links::Links;

use characters::clean_json;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// What stands where a text was cut.
const CUT_MARK: &str = "…[cut]";

/// How often a text is gone through: what is taken out may make JSON of what was none.
const PASSES_MAX: usize = 4;

/// Cleans what a tool gave. JSON stays JSON, in its order and with its numbers.
pub(crate) fn clean(output: &str, links: &Links) -> String {
    let mut cleaned = pass(output, links);
    for _ in 1..PASSES_MAX {
        let next = pass(&cleaned, links);
        if next == cleaned {
            break;
        }
        cleaned = next;
    }
    cleaned
}

fn pass(output: &str, links: &Links) -> String {
    let mut seen = clean_json(output);
    let is_json =
        seen.trim_start().starts_with(['{', '[', '"']) && serde_json::from_str::<IgnoredAny>(&seen).is_ok();
    if !is_json {
        return links.keep_approved(clean_text(output), false);
    }
    if seen.contains('\\') {
        // What joins was an escape until now.
        seen = clean_json(&escapes::clean_escapes(&seen));
    }
    links.keep_approved(seen, true)
}

/// The beginning of `text`, at most `bytes_max` bytes of it, and a mark if that is not all.
pub(crate) fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let mut end = bytes_max.saturating_sub(CUT_MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let beginning = text.get(..end).unwrap_or_default();
    Cow::Owned(format!("{beginning}{CUT_MARK}"))
}

#[cfg(test)]
mod tests {
    use super::characters::is_hidden;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn approved(hosts: &[&str]) -> Links {
        Links::approved(hosts.iter().map(|host| (*host).to_owned()))
    }

    #[test]
    fn json_stays_json_whatever_is_taken_out_of_it() {
        let text =
            "{\"b\\u202e\":\"x\\u0000y\u{e0041}\",\"a\":[\"https://evil.example/x?\\\"q\\\"\",1.0e300]}";
        let cleaned = clean(text, &approved(&[]));
        let read: Value = serde_json::from_str(&cleaned).unwrap();
        assert_eq!(read, json!({"b": "xy", "a": ["[link removed]\"q\"", 1.0e300]}), "{cleaned}");
        assert!(cleaned.find("\"b\"").unwrap() < cleaned.find("\"a\"").unwrap());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        for bytes_max in 10..20 {
            let short = cut("ééééééééééééééééééééé", bytes_max);
            assert!(short.len() <= bytes_max && short.ends_with(CUT_MARK), "{short}");
        }
    }

    /// Text as attackers write it: mostly of what is to be found.
    fn any_text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("https:".to_owned()),
            Just("//".to_owned()),
            Just("\\/".to_owned()),
            Just("www.".to_owned()),
            Just("evil.example".to_owned()),
            Just("good.example".to_owned()),
            Just("\\u200b".to_owned()),
            Just("\u{200b}".to_owned()),
            Just("\\ud83d".to_owned()),
            any::<char>().prop_map(String::from),
            "[ \"(\\[\\]){}:@/\\\\]",
        ];
        prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any_text()) {
            for links in [Links::all(), approved(&["good.example"])] {
                let cleaned = clean(&text, &links);
                prop_assert!(!cleaned.chars().any(is_hidden), "{:?} of {:?}", cleaned, text);
            }
        }

        #[test]
        fn cleaning_twice_is_cleaning_once(text in any_text()) {
            let links = approved(&["good.example"]);
            let once = clean(&text, &links);
            prop_assert_eq!(clean(&once, &links), once);
        }

        #[test]
        fn json_of_any_text_stays_json(text in any_text()) {
            let cleaned = clean(&json!({"a": text}).to_string(), &approved(&["good.example"]));
            prop_assert!(serde_json::from_str::<Value>(&cleaned).is_ok(), "{:?} of {:?}", cleaned, text);
        }

        #[test]
        fn no_link_to_elsewhere_is_left(text in any_text()) {
            let cleaned = clean(&text, &approved(&["good.example"])).to_ascii_lowercase();
            prop_assert!(!cleaned.contains("https://evil.example"), "{:?} of {:?}", cleaned, text);
            prop_assert!(!cleaned.contains("https:\\/\\/evil.example"), "{:?} of {:?}", cleaned, text);
        }
    }
}
