//! Header fields that repeat what stands in the body, for whoever routes by them without reading it: the encoding of
//! 2026-07-28, "Value Encoding".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// `value` as a header field's: itself, if that is visible ASCII without space at its ends, else in base64.
pub(crate) fn encode(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim() == value;
    if is_plain && !(value.starts_with(PREFIX) && value.ends_with(SUFFIX)) {
        return value.to_owned();
    }
    format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(value))
}

/// What a header field's value says; `None` when it says nothing that [`encode`] could have written.
pub(crate) fn decode(value: &str) -> Option<String> {
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return None;
    }
    match value.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) {
        Some(encoded) => STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
        None => Some(value.to_owned()),
    }
}

/// Whether `name` can be a part of a header field's name (RFC 9110, section 5.6.2).
pub(crate) fn is_token(name: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_encoded_as_the_specification_has_it() {
        let check = |value: &str, expected: &str| {
            assert_eq!(encode(value), expected);
            assert_eq!(decode(expected).as_deref(), Some(value));
        };
        check("us-west1", "us-west1");
        check("", "");
        check("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?=");
        check(" padded ", "=?base64?IHBhZGRlZCA=?=");
        check("line1\nline2", "=?base64?bGluZTEKbGluZTI=?=");
        check("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
    }

    #[test]
    fn what_cannot_have_been_encoded_says_nothing() {
        for value in ["=?base64?*?=", "=?base64?QQ?=", "=?base64?QR==?=", "=?base64?/w==?=", "é", "a\r\nb"] {
            assert_eq!(decode(value), None, "{value}");
        }
    }

    #[test]
    fn names_of_fields_are_told_from_others() {
        for (name, expected) in
            [("Region", true), ("a-b_c.1", true), ("", false), ("a b", false), ("é", false), ("a:", false)]
        {
            assert_eq!(is_token(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back_and_is_safe_in_a_header(value in any::<String>()) {
            let encoded = encode(&value);
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(decode(&encoded), Some(value));
        }
    }
}
