//! The best of what is pushed, with a bound on how many are kept.

use crate::fusion::Total;
use std::{cmp::Reverse, collections::BinaryHeap};

/// The greatest scores, and of equal ones the lesser keys, in whatever order they come.
#[derive(Debug)]
pub(crate) struct Best<Key> {
    most: usize,
    heap: BinaryHeap<Reverse<(Total, Reverse<Key>)>>,
}

impl<Key: Ord + Copy> Best<Key> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::with_capacity(most) }
    }

    /// Only what scores more, or as much, can be among the best.
    pub(crate) fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse((score, _))) if self.heap.len() >= self.most => score.0,
            _ => f32::MIN,
        }
    }

    /// Whether it would be among the best by now.
    pub(crate) fn admits(&self, key: Key, score: f32) -> bool {
        match self.heap.peek() {
            Some(Reverse(least)) if self.heap.len() >= self.most => (Total(score), Reverse(key)) > *least,
            _ => self.most > 0,
        }
    }

    pub(crate) fn push(&mut self, key: Key, score: f32) {
        let pushed = Reverse((Total(score), Reverse(key)));
        if self.heap.len() < self.most {
            self.heap.push(pushed);
        } else if let Some(mut least) = self.heap.peek_mut()
            && pushed < *least
        {
            *least = pushed;
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<(Key, f32)> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse((score, Reverse(key)))| (key, score.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order() {
        let mut best = Best::new(2);
        assert_eq!(best.threshold(), f32::MIN);
        for (key, score) in [(3, 1.0), (1, 2.0), (2, 1.0), (9, 0.5)] {
            best.push(key, score);
        }
        assert_eq!(best.threshold(), 1.0);
        assert_eq!(best.into_sorted(), [(1, 2.0), (2, 1.0)]);
    }

    #[test]
    fn what_is_admitted_changes_the_best() {
        let mut best = Best::new(2);
        for (key, score) in [(3, 1.0), (5, 2.0)] {
            assert!(best.admits(key, score));
            best.push(key, score);
        }
        for (key, score, is_admitted) in [(2, 1.0, true), (4, 1.0, false), (9, 1.5, true), (1, 0.5, false)] {
            assert_eq!(best.admits(key, score), is_admitted, "{key} {score}");
        }
        assert!(!Best::new(0).admits(1, 1.0));
    }
}
