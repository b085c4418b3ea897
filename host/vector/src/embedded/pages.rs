//! Growing lists that are cheap to copy: a copy shares all pages, and a change copies the one page it is in. So a search
//! keeps what it has begun with while writers go on.

use std::sync::Arc;

const PAGE: usize = 1_024;
const WORD_BITS: u32 = u64::BITS;

/// A list by number, where what was never set has the default value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages<T> {
    pages: Vec<Arc<Vec<T>>>,
    len: u32,
}

impl<T: Clone + Default> Pages<T> {
    /// One more than the greatest number that was set.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    pub(crate) fn set(&mut self, index: u32, value: T) {
        let at = index as usize;
        while self.pages.len() <= at / PAGE {
            self.pages.push(Arc::new(vec![T::default(); PAGE]));
        }
        Arc::make_mut(&mut self.pages[at / PAGE])[at % PAGE] = value;
        self.len = self.len.max(index + 1);
    }

    /// All that are set, with their numbers, and some defaults among them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.len).zip(self.pages.iter().flat_map(|page| page.iter()))
    }
}

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Pages<u64>);

impl Bits {
    pub(crate) fn contains(&self, number: u32) -> bool {
        let word = self.0.get(number / WORD_BITS).copied().unwrap_or_default();
        word >> (number % WORD_BITS) & 1 == 1
    }

    pub(crate) fn insert(&mut self, number: u32) {
        let word = self.0.get(number / WORD_BITS).copied().unwrap_or_default();
        self.0.set(number / WORD_BITS, word | 1 << (number % WORD_BITS));
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let word = self.0.get(number / WORD_BITS).copied().unwrap_or_default();
        self.0.set(number / WORD_BITS, word & !(1 << (number % WORD_BITS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_copy_keeps_what_it_had() {
        let mut pages = Pages::<u32>::default();
        pages.set(0, 1);
        pages.set(5_000, 2);
        let copy = pages.clone();
        pages.set(5_000, 3);
        assert_eq!((copy.get(5_000), pages.get(5_000)), (Some(&2), Some(&3)));
        assert_eq!((pages.get(4_999), pages.len()), (Some(&0), 5_001));
        assert_eq!(
            pages.iter().filter(|(_, value)| **value > 0).map(|(at, _)| at).collect::<Vec<_>>(),
            [0, 5_000]
        );
    }

    proptest! {
        #[test]
        fn bits_are_a_set(steps in prop::collection::vec((0_u32..200_000, any::<bool>()), 0..200)) {
            let (mut bits, mut expected) = (Bits::default(), BTreeSet::new());
            for (number, add) in &steps {
                if *add {
                    bits.insert(*number);
                    expected.insert(*number);
                } else {
                    bits.remove(*number);
                    expected.remove(number);
                }
            }
            for (number, _) in steps {
                prop_assert_eq!(bits.contains(number), expected.contains(&number));
            }
        }
    }
}
