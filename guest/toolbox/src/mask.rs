//! Secrets in what the audit log keeps of a call: by the name of an argument, and by the look of a value.

use serde_json::Value;

/// What stands where a secret was.
const MASKED: &str = "[masked]";
/// Parts of names that say that the value is a secret, in lower case without separators.
const NAMES: [&str; 20] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "authorization",
    "apikey",
    "privatekey",
    "credential",
    "cookie",
    "session",
    "card",
    "cvv",
    "cvc",
    "iban",
    "ssn",
    "socialsecurity",
    "accountnumber",
    "otp",
];
/// Names that say so, whole: as parts they stand in too many others.
const WHOLE_NAMES: [&str; 3] = ["pin", "auth", "tan"];
/// The fewest digits of what may be the number of a card (ISO/IEC 7812), and the most.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// From so many digits on a number is masked, whatever it is.
const DIGITS_MASKED_MIN: usize = 16;
/// What keys of interfaces begin with, and tokens.
const KEY_BEGINNINGS: [&str; 8] = ["sk-", "pk-", "rk-", "ghp_", "github_pat_", "xoxb-", "xoxp-", "eyJ"];
/// From so many bytes on what begins so is a key.
const KEY_BYTES_MIN: usize = 16;
/// The deepest value that is looked at; what is deeper is masked whole.
const DEPTH_MAX: usize = 32;
/// The most names of one's own.
const OWN_NAMES_MAX: usize = 64;

/// What is masked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask {
    own_names: Vec<String>,
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|character| character.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

impl Mask {
    /// What is always masked, and arguments whose names hold one of these, which stand there by commas.
    pub(crate) fn with_names(names: &str) -> Self {
        let names = names.split(',').map(plain).filter(|name| !name.is_empty());
        Self { own_names: names.take(OWN_NAMES_MAX).collect() }
    }

    /// `text`, masked: as JSON if it is that.
    pub(crate) fn apply(&self, text: &str) -> String {
        match serde_json::from_str::<Value>(text) {
            Ok(mut value @ (Value::Object(_) | Value::Array(_))) => {
                self.value(&mut value, 0);
                value.to_string()
            }
            _ => masked_text(text),
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        let name = plain(name);
        WHOLE_NAMES.contains(&name.as_str())
            || NAMES.iter().any(|part| name.contains(part))
            || self.own_names.iter().any(|part| name.contains(part.as_str()))
    }

    fn value(&self, value: &mut Value, depth: usize) {
        match value {
            Value::Object(_) | Value::Array(_) if depth == DEPTH_MAX => *value = Value::from(MASKED),
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    // What is there is told, and that there is nothing.
                    if self.is_secret(name) && !member.is_null() {
                        *member = Value::from(MASKED);
                    } else {
                        self.value(member, depth + 1);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, depth + 1)),
            Value::String(text) => *text = masked_text(text),
            Value::Number(number) => {
                let text = number.to_string();
                if masked_text(&text) != text {
                    *value = Value::from(MASKED);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// A text without the numbers of cards, without long numbers, and without what looks like a key.
fn masked_text(text: &str) -> String {
    let without_numbers = masked_numbers(text);
    let mut masked = String::with_capacity(without_numbers.len());
    for word in without_numbers.split_inclusive(|character: char| !is_of_key(character)) {
        let key = word.trim_end_matches(|character: char| !is_of_key(character));
        if key.len() >= KEY_BYTES_MIN && KEY_BEGINNINGS.iter().any(|beginning| key.starts_with(beginning)) {
            masked.push_str(MASKED);
            masked.push_str(word.get(key.len()..).unwrap_or_default());
        } else {
            masked.push_str(word);
        }
    }
    masked
}

fn is_of_key(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '+' | '/' | '=')
}

/// Masks rows of digits, which single spaces and hyphens may part.
fn masked_numbers(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, row) = rest.split_at(start);
        let end = end_of_row(row);
        let (row, behind) = row.split_at(end);
        masked.push_str(before);
        masked.push_str(if is_secret_number(row) { MASKED } else { row });
        rest = behind;
    }
    masked.push_str(rest);
    masked
}

/// Where a row of digits ends that `text` begins with.
fn end_of_row(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    while let Some(byte) = bytes.get(end) {
        let goes_on = matches!(byte, b' ' | b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !byte.is_ascii_digit() && !goes_on {
            break;
        }
        end += 1;
    }
    end
}

fn is_secret_number(row: &str) -> bool {
    let digits: Vec<u8> = row.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    let is_card = CARD_DIGITS.contains(&digits.len()) && luhn(&digits);
    let longest = row.split([' ', '-']).map(str::len).max().unwrap_or_default();
    is_card || longest >= DIGITS_MASKED_MIN
}

/// Whether the last digit is the one that the others ask for (ISO/IEC 7812-1, annex B).
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Mask::with_names("Kunden-Nr, ,fax").apply(text), expected, "{text}");
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        check(
            r#"{"a":{"apiKey":"x","Access-Token":["y"],"new_password":7,"pin":"1234"},"spinner":"z","token":null}"#,
            r#"{"a":{"Access-Token":"[masked]","apiKey":"[masked]","new_password":"[masked]","pin":"[masked]"},"spinner":"z","token":null}"#,
        );
        check(
            r#"{"kunden_nr":"A7","Fax":"1","order":"A7"}"#,
            r#"{"Fax":"[masked]","kunden_nr":"[masked]","order":"A7"}"#,
        );
    }

    #[test]
    fn secrets_are_known_by_their_look() {
        check(
            r#"["4111 1111 1111 1111","4111-1111-1111-1112","order 4111111111111"]"#,
            r#"["[masked]","4111-1111-1111-1112","order 4111111111111"]"#,
        );
        check("pay with 4111111111111111.", "pay with [masked].");
        check("[4111111111111111, 12345678901234567]", r#"["[masked]","[masked]"]"#);
        check("key sk-abcdefghijklmnop, and sk-1", "key [masked], and sk-1");
        check("Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "Bearer [masked]");
        check("order 2024-11-22 0001 of 3", "order 2024-11-22 0001 of 3");
        check("", "");
    }

    proptest! {
        #[test]
        fn no_number_of_a_card_is_left(digits in prop::collection::vec(0u8..10, 12..19), behind in "[a-z ]{0,3}") {
            let digit = (0..10).find(|last| {
                let mut all = digits.clone();
                all.push(*last);
                luhn(&all)
            });
            let number: String = digits.iter().chain(&digit).map(ToString::to_string).collect();
            let masked = Mask::default().apply(&format!("x{number}{behind}"));
            prop_assert!(!masked.contains(&number), "{}", masked);
        }

        #[test]
        fn masking_twice_is_masking_once(text in "[0-9a-z \\-\\[\\]{}\",:=]{0,60}") {
            let once = Mask::default().apply(&text);
            prop_assert_eq!(Mask::default().apply(&once), once);
        }
    }
}
