//! Reciprocal rank fusion: two rankings of the same chunks become one (Cormack, Clarke and Büttcher, 2009).

use std::collections::BTreeMap;

/// What each ranking counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of the ranking by words.
    pub text: f32,
    /// Of the ranking by vectors.
    pub vector: f32,
    /// The more it is, the less the first ranks stand out.
    pub rank_constant: f32,
}

/// What either ranking has, each with the sum over both of weight / (rank constant + rank), ranks from 1: the greatest
/// first, those of the same score in their own order. A ranking with weight 0 is left out, and names nothing twice.
pub fn fuse<T: Copy + Ord>(text: &[T], vector: &[T], weights: Weights) -> Vec<(T, f32)> {
    let mut scores: BTreeMap<T, f32> = BTreeMap::new();
    for (ranking, weight) in [(text, weights.text), (vector, weights.vector)] {
        if weight == 0.0 {
            continue;
        }
        let mut rank = 0.0;
        for item in ranking {
            rank += 1.0;
            *scores.entry(*item).or_default() += weight / (weights.rank_constant + rank);
        }
    }
    let mut fused: Vec<(T, f32)> = scores.into_iter().collect();
    fused.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVEN: Weights = Weights { text: 1.0, vector: 1.0, rank_constant: 60.0 };

    #[test]
    fn ranks_of_both_ways_are_added() {
        let check = |text: &[u8], vector: &[u8], weights, expected: &[(u8, f32)]| {
            assert_eq!(fuse(text, vector, weights), expected, "{text:?} {vector:?} {weights:?}");
        };
        let one = |rank: f32| 1.0 / (60.0 + rank);
        check(&[], &[], EVEN, &[]);
        check(&[7], &[], EVEN, &[(7, one(1.0))]);
        check(&[7, 8], &[8], EVEN, &[(8, one(2.0) + one(1.0)), (7, one(1.0))]);
        // The same score: in their own order.
        check(&[9], &[3], EVEN, &[(3, one(1.0)), (9, one(1.0))]);
        let vector_counts = Weights { vector: 3.0, ..EVEN };
        check(&[9], &[3], vector_counts, &[(3, 3.0 / 61.0), (9, one(1.0))]);
        check(&[9], &[3], Weights { text: 0.0, ..EVEN }, &[(3, one(1.0))]);
        let steep = Weights { rank_constant: 0.0, ..EVEN };
        check(&[1, 2], &[], steep, &[(1, 1.0), (2, 0.5)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_what_both_ways_have_first_is_first(
            text in prop::sample::subsequence((0u8..20).collect::<Vec<_>>(), 1..10).prop_shuffle(),
            vector in prop::sample::subsequence((0u8..20).collect::<Vec<_>>(), 1..10).prop_shuffle(),
        ) {
            let fused = fuse(&text, &vector, EVEN);
            let mut items: Vec<u8> = fused.iter().map(|(item, _)| *item).collect();
            prop_assert!(fused.is_sorted_by(|left, right| left.1 >= right.1));
            if text[0] == vector[0] {
                prop_assert_eq!(items[0], text[0]);
            }
            items.sort_unstable();
            let mut expected: Vec<u8> = text.iter().chain(&vector).copied().collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(items, expected);
        }
    }
}
