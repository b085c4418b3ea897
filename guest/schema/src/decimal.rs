//! Whether a number is a multiple of another, exactly, as people write them: 0.3 is three times 0.1.

use serde_json::Number;

/// A number that is not negative: `digits` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// The magnitude of a number; the shortest decimal that means it, where it is kept as a binary one.
    fn of(number: &Number) -> Option<Self> {
        let text = number.to_string();
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        Some(Self { digits, exponent: exponent.parse::<i32>().ok()?.checked_sub(places)? })
    }
}

/// Ten to the power of `exponent`, modulo `modulus`, which is below 2^64.
fn power_of_ten(mut exponent: u32, modulus: u128) -> u128 {
    let (mut power, mut base) = (1 % modulus, 10 % modulus);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    power
}

/// Whether `value` is a whole number of times `of`, which is above 0.
pub(crate) fn is_multiple(value: &Number, of: &Number) -> bool {
    let (Some(value), Some(of)) = (Decimal::of(value), Decimal::of(of)) else { return false };
    if value.digits == 0 || of.digits == 0 {
        return value.digits == 0;
    }
    let (digits, modulus) = (u128::from(value.digits), u128::from(of.digits));
    match u32::try_from(value.exponent - of.exponent) {
        Ok(places) => (digits % modulus * power_of_ten(places, modulus)).is_multiple_of(modulus),
        // More than all digits there are is more than the value.
        Err(_) => {
            let scale = 10_u128.checked_pow((of.exponent - value.exponent).unsigned_abs());
            scale
                .and_then(|scale| modulus.checked_mul(scale))
                .is_some_and(|modulus| digits.is_multiple_of(modulus))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: &str, multiples: &[&str], others: &[&str]) {
        let number = |text: &str| serde_json::from_str::<Number>(text).unwrap();
        let cases = multiples.iter().map(|text| (text, true)).chain(others.iter().map(|text| (text, false)));
        for (text, expected) in cases {
            assert_eq!(is_multiple(&number(text), &number(of)), expected, "{text} of {of}");
        }
    }

    #[test]
    fn a_multiple_is_told_exactly_however_large_it_is() {
        check(
            "0.1",
            &["0.3", "-0.3", "2", "0", "1e300", "123456789012.3"],
            &["0.25", "1e-9", "123456789012.34"],
        );
        check(
            "3",
            &["9", "9.0", "-3", "3000000000000", "18446744073709551615"],
            &["10", "3000000000001", "3.5"],
        );
        check("0.01", &["19.99", "1000000000.01"], &["1000000000.001", "19.999"]);
        check("2.5", &["5", "7.5", "1e9"], &["1", "1000000000.5"]);
        check("1e20", &["1e20", "3e22", "0"], &["1e19", "5"]);
        check("1e-300", &["1e-300", "7"], &["1e-301"]);
    }
}
