//! Counters with bounds: the shape of one atomic step over several of them, and what it comes to.

use crate::Error;

/// The largest number a counter holds: 2^53 - 1, because Redis' scripts count in doubles. It stays there.
pub const COUNTER_MAX: u64 = (1 << 53) - 1;
/// Counters that one step may change.
pub const COUNTERS_PER_STEP_MAX: usize = 64;

/// What one step does to one counter: a whole number from 0 to [`COUNTER_MAX`], kept as decimal text, 0 where there is
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterChange {
    /// Each key once in a step.
    pub key: String,
    /// Added whatever becomes of the step. A counter never falls below 0.
    pub correction: i64,
    /// Added if every counter of the step is below its bound once it is corrected, else nothing is added to any.
    pub charge: u64,
    /// The bound; none: this counter never stands in the way.
    pub below: Option<u64>,
    /// When the counter goes away, milliseconds since 1970.
    pub expires_ms: u64,
}

/// What became of a step. The totals are in the order of the changes, as they are after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Everything was charged.
    Charged {
        /// The counters.
        totals: Vec<u64>,
    },
    /// Nothing was charged; corrections were made.
    Refused {
        /// The first counter that is not below its bound.
        first: usize,
        /// The counters.
        totals: Vec<u64>,
    },
}

/// Works out a step from what the counters are, in the order of the changes.
pub(crate) fn step(current: &[u64], changes: &[CounterChange]) -> Counted {
    let corrected = |(value, change): (&u64, &CounterChange)| {
        value.saturating_add_signed(change.correction).min(COUNTER_MAX)
    };
    let mut totals: Vec<u64> = current.iter().zip(changes).map(corrected).collect();
    let is_over = |(total, change): (&u64, &CounterChange)| change.below.is_some_and(|below| *total >= below);
    if let Some(first) = totals.iter().zip(changes).position(is_over) {
        return Counted::Refused { first, totals };
    }
    for (total, change) in totals.iter_mut().zip(changes) {
        *total = total.saturating_add(change.charge).min(COUNTER_MAX);
    }
    Counted::Charged { totals }
}

impl Counted {
    /// The counters as they are after the step.
    #[must_use]
    pub fn totals(&self) -> &[u64] {
        match self {
            Self::Charged { totals } | Self::Refused { totals, .. } => totals,
        }
    }
}

/// Reads a counter's value.
pub(crate) fn parse(key: &str, value: Option<&[u8]>) -> Result<u64, Error> {
    let Some(value) = value else { return Ok(0) };
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.filter(|number| *number <= COUNTER_MAX).ok_or_else(|| Error::NotANumber { key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(correction: i64, charge: u64, below: Option<u64>) -> CounterChange {
        CounterChange { key: String::new(), correction, charge, below, expires_ms: 1 }
    }

    #[test]
    fn a_step_charges_all_counters_or_none() {
        let check = |current: &[u64], changes: &[CounterChange], first: Option<usize>, expected: &[u64]| {
            let counted = step(current, changes);
            let refused = match &counted {
                Counted::Charged { .. } => None,
                Counted::Refused { first, .. } => Some(*first),
            };
            assert_eq!((refused, counted.totals()), (first, expected), "{current:?} {changes:?}");
        };
        check(&[9], &[change(0, 100, Some(10))], None, &[109]);
        check(&[10], &[change(0, 1, Some(10))], Some(0), &[10]);
        check(&[10], &[change(-1, 1, Some(10))], None, &[10]);
        check(&[0, 10], &[change(3, 1, Some(10)), change(-20, 1, Some(0))], Some(1), &[3, 0]);
        check(&[5, 5], &[change(0, 1, None), change(0, 2, None)], None, &[6, 7]);
        check(&[COUNTER_MAX], &[change(i64::MAX, u64::MAX, None)], None, &[COUNTER_MAX]);
        check(&[7], &[change(i64::MIN, 0, Some(1))], None, &[0]);
    }

    #[test]
    fn only_whole_numbers_that_fit_are_counters() {
        let check = |value: &str, expected: Option<u64>| {
            assert_eq!(parse("k", Some(value.as_bytes())).ok(), expected, "{value:?}");
        };
        check("0", Some(0));
        check("9007199254740991", Some(COUNTER_MAX));
        ["9007199254740992", "-1", "", "1.0", "1e3", " 1"].iter().for_each(|wrong| check(wrong, None));
        assert_eq!(parse("k", None).ok(), Some(0));
    }
}
