//! Amounts of money: whole millionths of the operator's currency, never a floating-point number. Whoever has budgets and
//! whoever has prices read and count them alike.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Millionths in one unit of the currency.
pub const MICROS_PER_UNIT: u64 = 1_000_000;
/// The most decimals an amount is written with.
const DECIMALS_MAX: usize = 6;

/// An amount of the operator's currency, whatever that is, in millionths.
///
/// It is written as decimal text (`"12.5"`) or as a number (`12.5`), with at most six decimals, and given back as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no amount of money; write a decimal number from 0 with at most {DECIMALS_MAX} decimals, such as \"12.50\""
)]
pub struct MoneyError {
    text: String,
}

impl Money {
    /// An amount in millionths.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The amount in millionths.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| MoneyError { text: text.chars().take(64).collect() })
    }
}

fn parse(text: &str) -> Option<u64> {
    let (units, decimals) = text.split_once('.').map_or((text, None), |(units, rest)| (units, Some(rest)));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(units) || decimals.is_some_and(|rest| !is_digits(rest)) {
        return None;
    }
    let decimals = decimals.unwrap_or_default().trim_end_matches('0');
    if decimals.len() > DECIMALS_MAX {
        return None;
    }
    let micros: u64 = format!("{decimals:0<DECIMALS_MAX$}").parse().ok()?;
    units.parse::<u64>().ok()?.checked_mul(MICROS_PER_UNIT)?.checked_add(micros)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, micros) = (self.0 / MICROS_PER_UNIT, self.0 % MICROS_PER_UNIT);
        if micros == 0 {
            return write!(f, "{units}");
        }
        let decimals = format!("{micros:06}");
        write!(f, "{units}.{}", decimals.trim_end_matches('0'))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an amount of money, such as \"12.50\" or 12.5, with at most {DECIMALS_MAX} decimals")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Money, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Money, E> {
        self.visit_str(&units.to_string())
    }

    /// The shortest decimal that means this number is what was written.
    fn visit_f64<E: de::Error>(self, units: f64) -> Result<Money, E> {
        self.visit_str(&units.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_exactly_and_written_shortly() {
        let check = |json: &str, micros: u64, written: &str| {
            let money: Money = serde_json::from_str(json).unwrap();
            assert_eq!((money.micros(), money.to_string().as_str()), (micros, written), "{json}");
            let again: Money = serde_json::from_str(&serde_json::to_string(&money).unwrap()).unwrap();
            assert_eq!(again, money, "{json}");
        };
        check("\"12.50\"", 12_500_000, "12.5");
        check("12.5", 12_500_000, "12.5");
        check("12", 12_000_000, "12");
        check("0.1", 100_000, "0.1");
        check("0.000001", 1, "0.000001");
        check("1e-6", 1, "0.000001");
        check("\"0\"", 0, "0");
        check("\"007.1000000000\"", 7_100_000, "7.1");
        check("1000000000", 1_000_000_000_000_000, "1000000000");
        check("\"18446744073709.551615\"", u64::MAX, "18446744073709.551615");
    }

    #[test]
    fn what_is_no_amount_is_refused_with_an_example() {
        for wrong in [
            "\"\"",
            "\"-1\"",
            "-1",
            "-0.5",
            "\"1,5\"",
            "\".5\"",
            "\"5.\"",
            "\"1e3\"",
            "\"0.0000001\"",
            "1e-7",
            "\" 1\"",
            "\"٣\"",
            "\"1.2.3\"",
            "\"18446744073709.551616\"",
            "1e300",
        ] {
            let error = serde_json::from_str::<Money>(wrong).unwrap_err().to_string();
            assert!(error.contains("is no amount of money") && error.contains("12.50"), "{wrong}: {error}");
        }
        assert!(serde_json::from_str::<Money>("true").unwrap_err().to_string().contains("12.50"));
        let long = "9".repeat(10_000).parse::<Money>().unwrap_err();
        assert!(long.to_string().len() < 250);
    }
}
