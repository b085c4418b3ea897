//! A set of chunk numbers, kept as ranges: a group's chunks mostly stand in a row.

use serde::{Deserialize, Serialize};

/// Chunk numbers as ranges from a first to a last one, in order, that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ordinals(Vec<[u32; 2]>);

impl Ordinals {
    /// The set of numbers that come in order, none twice.
    pub(super) fn of_sorted(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<[u32; 2]> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some([_, last]) if last.saturating_add(1) == number => *last = number,
                _ => ranges.push([number, number]),
            }
        }
        Self(ranges)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, number: u32) -> bool {
        let after = self.0.partition_point(|[_, last]| *last < number);
        self.0.get(after).is_some_and(|[first, _]| *first <= number)
    }

    /// The least number in it.
    pub(super) fn first(&self) -> Option<u32> {
        self.0.first().map(|[first, _]| *first)
    }

    /// Whether any number from `first` to `last` is in it.
    pub(super) fn meets(&self, first: u32, last: u32) -> bool {
        let after = self.0.partition_point(|[_, end]| *end < first);
        self.0.get(after).is_some_and(|[start, _]| *start <= last)
    }

    /// Takes the numbers of another set out.
    pub(super) fn remove(&mut self, other: &Self) {
        let mut kept = Vec::with_capacity(self.0.len());
        for [first, last] in std::mem::take(&mut self.0) {
            let mut first = first;
            let after = other.0.partition_point(|[_, end]| *end < first);
            let mut is_over = false;
            for [start, end] in other.0.iter().skip(after).take_while(|[start, _]| *start <= last) {
                if *start > first {
                    kept.push([first, *start - 1]);
                }
                first = end.saturating_add(1);
                is_over = first > last;
            }
            if !is_over {
                kept.push([first, last]);
            }
        }
        self.0 = kept;
    }
}

/// How far several sets reach that have no number in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// So many numbers from 0 on are there without a gap.
    pub(super) whole: u32,
    /// Whether there are others beyond the first gap.
    pub(super) has_more: bool,
}

impl Reach {
    /// Of these sets together.
    pub(super) fn of<'a>(sets: impl Iterator<Item = &'a Ordinals>) -> Self {
        let mut ranges: Vec<[u32; 2]> = sets.flat_map(|set| set.0.iter().copied()).collect();
        ranges.sort_unstable();
        let mut whole = 0;
        for [first, last] in ranges {
            if first != whole {
                return Self { whole, has_more: true };
            }
            whole = last.saturating_add(1);
        }
        Self { whole, has_more: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers() -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0u32..40, 0..30)
    }

    fn set(numbers: &BTreeSet<u32>) -> Ordinals {
        Ordinals::of_sorted(numbers.iter().copied())
    }

    proptest! {
        #[test]
        fn it_is_a_set(left in numbers(), right in numbers(), first in 0u32..40, more in 0u32..40) {
            let mut rest = set(&left);
            rest.remove(&set(&right));
            let expected: BTreeSet<u32> = left.difference(&right).copied().collect();
            for number in 0..45 {
                prop_assert_eq!(rest.contains(number), expected.contains(&number), "{}", number);
            }
            prop_assert_eq!(&rest, &set(&expected));
            prop_assert_eq!(rest.is_empty(), expected.is_empty());
            prop_assert_eq!(rest.first(), expected.first().copied());
            let last = first + more;
            prop_assert_eq!(rest.meets(first, last), expected.range(first..=last).next().is_some());
        }

        #[test]
        fn it_reaches_to_the_first_gap(left in numbers(), right in numbers()) {
            let right: BTreeSet<u32> = right.difference(&left).copied().collect();
            let all: BTreeSet<u32> = left.union(&right).copied().collect();
            let whole = (0..).find(|number| !all.contains(number)).unwrap();
            let has_more = all.len() > whole as usize;
            let sets = [set(&left), set(&right)];
            prop_assert_eq!(Reach::of(sets.iter()), Reach { whole, has_more });
        }
    }
}
