//! Whole numbers as JSON Schema knows them: `778.0` and `7.78e2` are the number that `778` is.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// The greatest number up to which all whole ones are exact where they are written with a fraction.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A whole number of 0 or more, however it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<N>(pub N);

struct WholeVisitor<N>(PhantomData<N>);

impl<'de, N: TryFrom<u64>> Deserialize<'de> for Whole<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(PhantomData))
    }
}

impl<N: TryFrom<u64>> Visitor<'_> for WholeVisitor<N> {
    type Value = Whole<N>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number within its bounds")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Whole<N>, E> {
        match N::try_from(value) {
            Ok(number) => Ok(Whole(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Whole<N>, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Whole<N>, E> {
        if value.fract() != 0.0 {
            return Err(E::invalid_type(Unexpected::Float(value), &self));
        }
        if !(0.0..=EXACT_MAX).contains(&value) {
            return Err(E::invalid_value(Unexpected::Float(value), &self));
        }
        self.visit_u64(value as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        days: Option<Whole<u32>>,
    }

    fn check(number: &str, expected: Result<Option<u32>, &str>) {
        let read = serde_json::from_str::<Example>(&format!("{{\"days\":{number}}}"));
        let read =
            read.map(|example| example.days.map(|Whole(days)| days)).map_err(|error| error.to_string());
        match (read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{number}"),
            (Err(read), Err(expected)) => assert!(read.starts_with(expected), "{number}: {read}"),
            (read, _) => panic!("{number}: {read:?}"),
        }
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (number, expected) in
            [("778", 778), ("778.0", 778), ("1e2", 100), ("7.78E2", 778), ("0", 0), ("-0.0", 0)]
        {
            check(number, Ok(Some(expected)));
        }
        check("4294967295.0", Ok(Some(u32::MAX)));
        check("null", Ok(None));
        assert_eq!(serde_json::from_str::<Whole<u64>>("9007199254740992.0").unwrap(), Whole(1 << 53));
        assert_eq!(serde_json::from_str::<Whole<u64>>("18446744073709551615").unwrap(), Whole(u64::MAX));
    }

    #[test]
    fn what_is_not_whole_or_out_of_bounds_is_refused() {
        for number in ["778.5", "1e-2", "\"778\"", "true", "[]", "{}"] {
            check(number, Err("invalid type"));
        }
        for number in ["-1", "-1.0", "4294967296", "4294967296.0", "1e300", "18446744073709551616"] {
            check(number, Err("invalid value"));
        }
        assert!(serde_json::from_str::<Whole<u64>>("9007199254740994.0").is_err());
        assert!(serde_json::from_str::<Whole<u8>>("256.0").is_err());
    }
}
