//! Numbers as decimal digits, for ids and keys: these are written too often for the formatter.

/// The digits of the largest number.
const DIGITS_MAX: usize = 20;

/// A number as decimal digits.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    bytes: [u8; DIGITS_MAX],
    start: usize,
}

impl Digits {
    /// `number`, with zeros before it where it has less than `width` digits, at most 20.
    pub fn new(number: u64, width: usize) -> Self {
        let (mut bytes, mut rest, mut used) = ([b'0'; DIGITS_MAX], number, 0);
        for byte in bytes.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *byte += (rest % 10) as u8;
            rest /= 10;
            used += 1;
        }
        Self { bytes, start: DIGITS_MAX - used.max(width.clamp(1, DIGITS_MAX)) }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        // Only digits ever enter, so the fallback is never taken.
        self.bytes.get(self.start..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_what_the_formatter_writes(number in any::<u64>(), shift in 0u32..64, width in 0usize..=20) {
            let number = number >> shift;
            let (digits, expected) = (Digits::new(number, width), format!("{number:0width$}"));
            prop_assert_eq!(digits.as_str(), expected);
        }
    }

    #[test]
    fn none_and_the_largest_have_digits_too() {
        assert_eq!(Digits::new(0, 0).as_str(), "0");
        assert_eq!(Digits::new(0, 3).as_str(), "000");
        assert_eq!(Digits::new(u64::MAX, 3).as_str(), u64::MAX.to_string());
    }
}
