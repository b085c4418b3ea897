//! Text as it may stand in a part of an address: RFC 3986, section 2.

use std::fmt::Write as _;

/// `text`, in which all that is not unreserved is percent-encoded.
pub(crate) fn component(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &str) -> String {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap() as u8;
            out.push(if byte == b'%' { digit() << 4 | digit() } else { byte });
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_is_unreserved_stands_for_itself() {
        assert_eq!(component("aZ0-._~"), "aZ0-._~");
        assert_eq!(component("a b/é?#&=+%"), "a%20b%2F%C3%A9%3F%23%26%3D%2B%25");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(text in any::<String>()) {
            let encoded = component(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            prop_assert_eq!(decoded(&encoded), text);
        }
    }
}
