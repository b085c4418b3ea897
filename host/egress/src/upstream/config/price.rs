//! What tokens cost: exact, in whole millionths of the operator's currency.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// How many decimals a price may have.
const DECIMALS_MAX: usize = 6;
/// How many parts the unit of the currency has: ten to the power of [`DECIMALS_MAX`].
const MICROS_PER_UNIT: u64 = 1_000_000;
/// The highest price of a million tokens, in units of the currency.
const UNITS_MAX: u64 = 1_000_000;
/// What a price is the price of, in tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What a million tokens cost, in millionths of the operator's currency: 0 to 10^12.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

/// Why a text is no [`Price`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a price is a number from 0 to 1000000 with up to 6 decimals, such as \"0.25\"")]
pub struct PriceError;

impl Price {
    /// Reads a decimal number, such as `0.25`: digits, with up to six more after a point.
    ///
    /// # Errors
    /// When it is something else, or higher than 1,000,000.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(units) || !is_number(decimals) || decimals.len() > DECIMALS_MAX {
            return Err(PriceError);
        }
        let units: u64 = units.parse().map_err(|_| PriceError)?;
        let micros: u64 = format!("{decimals:0<DECIMALS_MAX$}").parse().map_err(|_| PriceError)?;
        let total = units.checked_mul(MICROS_PER_UNIT).and_then(|all| all.checked_add(micros));
        total.filter(|total| *total <= UNITS_MAX * MICROS_PER_UNIT).map(Self).ok_or(PriceError)
    }

    /// The price of a million tokens, in millionths of the currency.
    #[must_use]
    pub fn micros_per_million(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PriceVisitor)
    }
}

struct PriceVisitor;

impl PriceVisitor {
    fn read<E: de::Error>(text: &str, found: Unexpected<'_>) -> Result<Price, E> {
        Price::parse(text).map_err(|_| E::invalid_value(found, &Self))
    }
}

impl Visitor<'_> for PriceVisitor {
    type Value = Price;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a price from 0 to 1000000 with up to 6 decimals, such as \"0.25\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Price, E> {
        Self::read(text, Unexpected::Str(text))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Price, E> {
        Self::read(&number.to_string(), Unexpected::Signed(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Price, E> {
        Self::read(&number.to_string(), Unexpected::Unsigned(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Price, E> {
        // Rust writes the shortest decimal that reads as the same number: what stands in the file.
        Self::read(&number.to_string(), Unexpected::Float(number))
    }
}

/// What a model costs. Nothing, where nothing is configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prices {
    /// Of tokens that are read.
    pub input: Price,
    /// Of tokens that are read from the upstream's cache.
    pub cached_input: Price,
    /// Of tokens that are written.
    pub output: Price,
}

impl Prices {
    /// Whether every token is free, as where no price is configured.
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// What a call costs, in millionths of the currency, rounded up. `cached_input_tokens` are a part of `input_tokens`,
    /// as in the `usage` of OpenAI's API; more than that do not count.
    #[must_use]
    pub fn cost_micros(&self, input_tokens: u64, cached_input_tokens: u64, output_tokens: u64) -> u64 {
        let cached_input_tokens = cached_input_tokens.min(input_tokens);
        let part = |tokens: u64, price: Price| u128::from(tokens) * u128::from(price.0);
        let total = part(input_tokens - cached_input_tokens, self.input)
            + part(cached_input_tokens, self.cached_input)
            + part(output_tokens, self.output);
        u64::try_from(total.div_ceil(TOKENS_PER_PRICE)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Table {
        price: Price,
    }

    #[test]
    fn a_price_is_read_exactly_from_text_and_number() {
        let check = |value: &str, micros: u64| {
            let table: Table = toml::from_str(&format!("price = {value}")).unwrap();
            assert_eq!(table.price.micros_per_million(), micros, "{value}");
        };
        check("'0.25'", 250_000);
        check("0.25", 250_000);
        check("0.1", 100_000);
        check("0.000001", 1);
        check("'0.000001'", 1);
        check("'10'", 10_000_000);
        check("10", 10_000_000);
        check("10.0", 10_000_000);
        check("0", 0);
        check("1000000", 1_000_000_000_000);
    }

    #[test]
    fn what_is_no_price_is_refused_where_it_stands() {
        let check = |value: &str| {
            let error = toml::from_str::<Table>(&format!("\nprice = {value}")).err().unwrap().to_string();
            assert!(error.contains("line 2") && error.contains("up to 6 decimals"), "{error}");
        };
        for value in ["-1", "-0.5", "'0.0000001'", "1e-7", "1000000.1", "1000001", "''", "'.5'", "'5.'"] {
            check(value);
        }
        for value in ["'1,5'", "'1e3'", "'$1'", "inf", "nan", "true", "'99999999999999999999'", "1e300"] {
            check(value);
        }
    }

    #[test]
    fn a_cost_is_rounded_up_and_never_overflows() {
        let price = |text: &str| Price::parse(text).unwrap();
        let prices = Prices { input: price("0.25"), cached_input: price("0.025"), output: price("2") };
        assert_eq!(prices.cost_micros(1_000_000, 0, 0), 250_000);
        assert_eq!(prices.cost_micros(1_000, 400, 100), 150 + 10 + 200);
        assert_eq!(prices.cost_micros(1, 0, 0), 1);
        assert_eq!(prices.cost_micros(1, 5, 0), 1);
        assert_eq!(prices.cost_micros(0, 0, 0), 0);
        let dear = Prices { output: price("1000000"), ..Prices::default() };
        assert_eq!(dear.cost_micros(0, 0, u64::MAX), u64::MAX);
        assert!(Prices::default().is_free() && !dear.is_free());
        assert_eq!(Prices::default().cost_micros(u64::MAX, 7, u64::MAX), 0);
    }
}
