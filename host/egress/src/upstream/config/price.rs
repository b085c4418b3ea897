//! What tokens cost: exact, in whole millionths of the operator's currency.

use serde::Deserialize;
use std::fmt;
use waggle_money::{MICROS_PER_UNIT, Money};

/// The highest price of a million tokens: a million units of the currency.
const PRICE_MAX: Money = Money::from_micros(1_000_000 * MICROS_PER_UNIT);
/// What a price is the price of, in tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What a million tokens cost: 0 to 1,000,000 units of the operator's currency. Written as [`Money`] is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "Money")]
pub struct Price(Money);

/// Why an amount is no [`Price`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a million tokens cost {0}, and {PRICE_MAX} is the most that they may")]
pub struct PriceError(Money);

impl TryFrom<Money> for Price {
    type Error = PriceError;

    fn try_from(of_a_million: Money) -> Result<Self, PriceError> {
        if of_a_million <= PRICE_MAX { Ok(Self(of_a_million)) } else { Err(PriceError(of_a_million)) }
    }
}

impl Price {
    /// The price of a million tokens, in millionths of the currency: 0 to 10^12.
    #[must_use]
    pub fn micros_per_million(self) -> u64 {
        self.0.micros()
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
        let part = |tokens: u64, price: Price| u128::from(tokens) * u128::from(price.micros_per_million());
        let total = part(input_tokens - cached_input_tokens, self.input)
            + part(cached_input_tokens, self.cached_input)
            + part(output_tokens, self.output);
        u64::try_from(total.div_ceil(TOKENS_PER_PRICE)).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Prices {
    /// As functions read it, in millionths of the currency for a million tokens: `input=250000; cached=25000; output=2000000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [input, cached, output] =
            [self.input, self.cached_input, self.output].map(Price::micros_per_million);
        write!(f, "input={input}; cached={cached}; output={output}")
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
        check("'0.2500000'", 250_000);
    }

    #[test]
    fn what_is_no_price_is_refused_where_it_stands() {
        let check = |value: &str, why: &str| {
            let error = toml::from_str::<Table>(&format!("\nprice = {value}")).err().unwrap().to_string();
            assert!(error.contains("line 2") && error.contains(why), "{error}");
        };
        for value in ["-1", "'0.0000001'", "'1,5'", "'$1'", "inf", "nan", "true", "1e300"] {
            check(value, "at most 6 decimals");
        }
        for value in ["1000000.000001", "1000001", "'99999999'"] {
            check(value, "and 1000000 is the most that they may");
        }
    }

    #[test]
    fn a_cost_is_rounded_up_and_never_overflows() {
        let price = |text: &str| Price::try_from(text.parse::<Money>().unwrap()).unwrap();
        let prices = Prices { input: price("0.25"), cached_input: price("0.025"), output: price("2") };
        assert_eq!(prices.to_string(), "input=250000; cached=25000; output=2000000");
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
