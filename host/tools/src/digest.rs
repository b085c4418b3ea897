//! What says that two things are the same: SHA-256, written as OCI does.

use ring::digest::{Context, SHA256};
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

const PREFIX: &str = "sha256:";
const BYTES: usize = 32;
/// Hexadecimal digits of a short form.
const SHORT_DIGITS: usize = 32;

/// A SHA-256, written as `sha256:` and 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; BYTES]);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 hexadecimal digits in lower case")]
pub struct DigestError;

impl Digest {
    /// That of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// That of what `parts` are one after the other.
    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut bytes = [0; BYTES];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(BYTES * 2), |mut text, byte| {
            // A String takes whatever is written to it.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first half of the digits, for what nobody gains by forging.
    pub(crate) fn short(&self) -> String {
        let mut text = self.hex();
        text.truncate(SHORT_DIGITS);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(PREFIX).ok_or(DigestError)?.as_bytes();
        if digits.len() != BYTES * 2 {
            return Err(DigestError);
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn digit(byte: u8) -> Result<u8, DigestError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(DigestError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_oci_does_and_read_back() {
        let digest = Digest::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(Digest::of_parts(&[b"a", b"", b"bc"]), digest);
        assert_eq!(digest.short(), &text["sha256:".len()..][..SHORT_DIGITS]);
    }

    #[test]
    fn other_texts_are_none() {
        let right = Digest::of(b"").to_string();
        let wrong = [
            "",
            "sha256:",
            &right[7..],
            &right[..70],
            &format!("{right}0"),
            &right.to_uppercase(),
            &right.replace('e', "g"),
        ];
        for text in wrong {
            assert_eq!(text.parse::<Digest>(), Err(DigestError), "{text}");
        }
    }
}
