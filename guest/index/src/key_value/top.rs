//! The best of many, without keeping the others.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Where a chunk is: the page of the search that has it, by its place, and the chunk's number. Their order decides between
/// chunks of the same score, so that an answer is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) page: usize,
    pub(super) ordinal: u32,
}

#[derive(Debug, Clone, Copy)]
struct Scored {
    score: f32,
    place: Place,
}

impl Ord for Scored {
    /// The better one is less, so that the worst one is on top of the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scored {}

/// The best so many.
pub(super) struct Top {
    count_max: usize,
    heap: BinaryHeap<Scored>,
}

impl Top {
    /// Keeps so many.
    pub(super) fn new(count_max: usize) -> Self {
        Self { count_max, heap: BinaryHeap::with_capacity(count_max + 1) }
    }

    /// Keeps this one if it is among the best.
    pub(super) fn push(&mut self, place: Place, score: f32) {
        self.heap.push(Scored { score, place });
        if self.heap.len() > self.count_max {
            self.heap.pop();
        }
    }

    /// The best first.
    pub(super) fn into_sorted(self) -> Vec<(Place, f32)> {
        self.heap.into_sorted_vec().into_iter().map(|scored| (scored.place, scored.score)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_what_sorting_would(scores in prop::collection::vec(0i8..6, 0..30), count_max in 0usize..8) {
            let mut top = Top::new(count_max);
            let mut all = Vec::new();
            for (ordinal, score) in scores.iter().enumerate() {
                let place = Place { page: 0, ordinal: u32::try_from(ordinal).unwrap() };
                top.push(place, f32::from(*score));
                all.push((place, f32::from(*score)));
            }
            all.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
            all.truncate(count_max);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
