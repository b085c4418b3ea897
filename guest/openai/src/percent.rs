//! Text as it may stand in a part of an address: RFC 3986, section 2.

use std::fmt::Write as _;

/// `text`, in which all that is not unreserved is percent-encoded.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A text without percent-encoding; `None` when it is none, or not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit =
            |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        out.push(if byte == b'%' { digit(bytes.next())? << 4 | digit(bytes.next())? } else { byte });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_unreserved_stands_for_itself() {
        assert_eq!(encode("aZ0-._~"), "aZ0-._~");
        assert_eq!(encode("ada-1_2.~"), "ada-1_2.~");
        assert_eq!(encode("a b/é?#&=+%"), "a%20b%2F%C3%A9%3F%23%26%3D%2B%25");
        assert_eq!(encode("a@b/c?d=e&f"), "a%40b%2Fc%3Fd%3De%26f");
    }

    #[test]
    fn what_is_no_encoding_is_not_read() {
        for text in ["%", "%a", "%zz", "%ff"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            prop_assert_eq!(decode(&encoded), Some(text));
        }
    }
}
