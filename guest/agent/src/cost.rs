//! What calls of models cost: whole numbers, never a floating-point one.

use serde::{Deserialize, Serialize};

/// Millionths of a millionth in one unit of the currency.
const PER_UNIT: u64 = 1_000_000_000_000;
/// The most decimals an amount is written with.
const DECIMALS_MAX: usize = 12;

/// An amount of the operator's currency, in millionths of a millionth: a price per million tokens, which is in millionths,
/// times a number of tokens. It ends at some 18 million units and stays there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cost(pub u64);

impl Cost {
    /// Reads a decimal number from 0, as `0.05`; `None` for any other text, and for one with more than 12 decimals.
    pub fn parse(text: &str) -> Option<Self> {
        let (units, decimals) =
            text.split_once('.').map_or((text, None), |(units, rest)| (units, Some(rest)));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(units) || decimals.is_some_and(|rest| !is_digits(rest)) {
            return None;
        }
        let decimals = decimals.unwrap_or_default().trim_end_matches('0');
        if decimals.len() > DECIMALS_MAX {
            return None;
        }
        let fraction: u64 = format!("{decimals:0<DECIMALS_MAX$}").parse().ok()?;
        units.parse::<u64>().ok()?.checked_mul(PER_UNIT)?.checked_add(fraction).map(Self)
    }

    /// The two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// What a model's tokens cost, in millionths of the currency per million tokens: the response field `waggle-price`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    /// What it reads.
    pub input: u64,
    /// What it reads from its cache.
    pub cached: u64,
    /// What it writes.
    pub output: u64,
}

/// The tokens of one or several calls of models, and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// All that was read.
    pub input_tokens: u64,
    /// The part of it that came from a model's cache.
    pub cached_tokens: u64,
    /// All that was written.
    pub output_tokens: u64,
    /// The part of it that was reasoning.
    pub reasoning_tokens: u64,
    /// What it cost, as far as prices were known.
    pub cost: Cost,
}

impl Price {
    /// Reads the field's value, `input=N; cached=N; output=N`. Names it does not know are skipped, and of a price that
    /// is not there, nothing is counted; but where `cached` is missing, it is as dear as `input`. `None` where it is no
    /// such value.
    pub fn parse(field: &str) -> Option<Self> {
        let (mut input, mut cached, mut output) = (None::<u64>, None::<u64>, None::<u64>);
        for pair in field.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let price = match name.trim() {
                "input" => &mut input,
                "cached" => &mut cached,
                "output" => &mut output,
                _ => continue,
            };
            *price = Some(value.trim().parse().ok()?);
        }
        let input = input.unwrap_or(0);
        Some(Self { input, cached: cached.unwrap_or(input), output: output.unwrap_or(0) })
    }

    /// What so many tokens cost.
    pub fn of(&self, spent: &Spent) -> Cost {
        let fresh = spent.input_tokens.saturating_sub(spent.cached_tokens);
        let parts = [
            (fresh, self.input),
            (spent.cached_tokens.min(spent.input_tokens), self.cached),
            (spent.output_tokens, self.output),
        ];
        parts.into_iter().fold(Cost(0), |cost, (tokens, price)| cost.plus(Cost(tokens.saturating_mul(price))))
    }
}

impl Spent {
    /// The two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            cost: self.cost.plus(other.cost),
        }
    }

    /// The same tokens at this price.
    #[must_use]
    pub fn at(self, price: Option<Price>) -> Self {
        let cost = price.map_or(Cost(0), |price| price.of(&self));
        Self { cost, ..self }
    }

    /// All tokens.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(PER_UNIT)),
            ("0.05", Some(PER_UNIT / 20)),
            ("12.500", Some(PER_UNIT * 25 / 2)),
            ("0.000000000001", Some(1)),
            ("0.0000000000001", None),
            ("18446745", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("1e3", None),
            ("1 ", None),
        ] {
            assert_eq!(Cost::parse(text), expected.map(Cost), "{text:?}");
        }
    }

    #[test]
    fn a_price_is_read_whatever_stands_beside_it() {
        let price = |input, cached, output| Some(Price { input, cached, output });
        for (field, expected) in [
            ("input=150000; cached=75000; output=600000", price(150_000, 75_000, 600_000)),
            ("output=2;input=1", price(1, 1, 2)),
            ("input=1; currency=USD", price(1, 1, 0)),
            ("", price(0, 0, 0)),
            ("input", None),
            ("input=x", None),
            ("input=-1", None),
            ("output=", None),
        ] {
            assert_eq!(Price::parse(field), expected, "{field:?}");
        }
    }

    #[test]
    fn tokens_cost_what_they_are_worth_and_too_many_no_less_than_all() {
        let price = Price { input: 150_000, cached: 75_000, output: 600_000 };
        let spent = Spent { input_tokens: 1_000, cached_tokens: 200, output_tokens: 100, ..Spent::default() };
        // 800 x 0.15 + 200 x 0.075 + 100 x 0.60, each for a million tokens.
        assert_eq!(spent.at(Some(price)).cost, Cost::parse("0.000195").unwrap());
        assert_eq!(spent.at(None).cost, Cost(0));
        let both = spent.at(Some(price)).plus(spent.at(Some(price)));
        assert_eq!((both.tokens(), both.cost), (2_200, Cost::parse("0.00039").unwrap()));
        let endless = Spent { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Spent::default() };
        assert_eq!(endless.at(Some(price)).plus(endless).cost, Cost(u64::MAX));
        let odd = Spent { input_tokens: 1, cached_tokens: 5, ..Spent::default() };
        assert_eq!(odd.at(Some(price)).cost, Cost(75_000), "no more is cached than was read");
    }
}
