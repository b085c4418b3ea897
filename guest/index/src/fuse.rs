//! Two rankings become one, by their scores or by their ranks; pure.
//!
//! By scores: the convex combination with theoretical minima of Bruch, Gai and Ingber, An Analysis of Fusion Functions for
//! Hybrid Retrieval, TOIS 2023. By ranks: reciprocal rank fusion of Cormack, Clarke and Büttcher, SIGIR 2009.

use crate::{Fusion, Query, bounds};
use std::collections::BTreeMap;

/// How two rankings become one, and how much each counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// By what.
    pub fusion: Fusion,
    /// Of the ranking by words; 0 where words are not searched.
    pub text: f32,
    /// Of the ranking by vectors; 0 where vectors are not searched.
    pub vector: f32,
    /// Added to each rank.
    pub rank_constant: f32,
}

impl Weights {
    /// What a query asks for. A way that it does not take counts nothing.
    pub fn of(query: &Query) -> Self {
        Self {
            fusion: query.fusion,
            text: bounds::taken_text(query).map_or(0.0, |_| query.text_weight),
            vector: bounds::taken_vector(query).map_or(0.0, |_| query.vector_weight),
            rank_constant: query.rank_constant,
        }
    }
}

/// What either ranking has, each with its score: the greatest first, those of the same score in their own order. Each
/// ranking is best first, and names nothing twice; one with weight 0 is left out. `cosines` has those of all in the
/// ranking by vectors, and of others as far as they are known.
pub fn fuse<T: Copy + Ord>(
    text: &[(T, f32)],
    vector: &[T],
    cosines: &BTreeMap<T, f32>,
    weights: Weights,
) -> Vec<(T, f32)> {
    let text = if weights.text > 0.0 { text } else { &[] };
    let vector = if weights.vector > 0.0 { vector } else { &[] };
    let mut found: BTreeMap<T, Found> = BTreeMap::new();
    for ((item, score), rank) in text.iter().zip(1..) {
        found.entry(*item).or_default().text = Some((rank, *score));
    }
    for (item, rank) in vector.iter().zip(1..) {
        found.entry(*item).or_default().vector = Some(rank);
    }
    for (item, found) in &mut found {
        found.cosine = cosines.get(item).copied();
    }
    let farthest = vector.last().and_then(|item| cosines.get(item).copied());
    let scale = Scale::new(&found, farthest, weights);
    let score = |found: &Found| match weights.fusion {
        Fusion::Scores => scale.score(found),
        Fusion::Ranks => by_ranks(found, weights),
    };
    let mut fused: Vec<(T, f32)> = found.iter().map(|(item, found)| (*item, score(found))).collect();
    fused.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    fused
}

/// Where something was found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    /// Its rank by words, from 1, and its score there.
    text: Option<(usize, f32)>,
    /// Its rank by vectors, from 1.
    vector: Option<usize>,
    cosine: Option<f32>,
}

/// The sum over both rankings of weight / (constant + rank).
fn by_ranks(found: &Found, weights: Weights) -> f32 {
    let part = |rank: Option<usize>, weight: f32| match rank {
        Some(rank) => weight / (weights.rank_constant + rank as f32),
        None => 0.0,
    };
    part(found.text.map(|(rank, _)| rank), weights.text) + part(found.vector, weights.vector)
}

/// What scores are measured by.
struct Scale {
    /// What the greatest score by words counts, and by vectors; together 1.
    shares: (f32, f32),
    text_max: f32,
    /// The greatest cosine, from its least possible value on.
    nearness_max: f32,
    /// What counts where no cosine is known.
    nearness_unknown: f32,
}

impl Scale {
    fn new<T>(found: &BTreeMap<T, Found>, farthest: Option<f32>, weights: Weights) -> Self {
        let texts = found.values().filter_map(|found| found.text).map(|(_, score)| score);
        let cosines = found.values().filter_map(|found| found.cosine);
        Self {
            shares: (share(weights.text, weights.vector), share(weights.vector, weights.text)),
            text_max: texts.fold(0.0, f32::max),
            nearness_max: cosines.map(nearness).fold(0.0, f32::max),
            nearness_unknown: farthest.map_or(0.0, nearness),
        }
    }

    fn score(&self, found: &Found) -> f32 {
        let text = found.text.map_or(0.0, |(_, score)| part(score, self.text_max));
        let near = part(found.cosine.map_or(self.nearness_unknown, nearness), self.nearness_max);
        // Rounding may lead past what both together can be.
        (self.shares.0 * text + self.shares.1 * near).min(1.0)
    }
}

/// How far a cosine is above the least there can be: from 0 to 2.
fn nearness(cosine: f32) -> f32 {
    (cosine + 1.0).clamp(0.0, 2.0)
}

/// A weight's part of two, without a sum that could be past all numbers.
fn share(weight: f32, other: f32) -> f32 {
    if weight > 0.0 { 1.0 / (1.0 + other / weight) } else { 0.0 }
}

/// A score's part of the greatest.
fn part(score: f32, max: f32) -> f32 {
    if max > 0.0 { (score / max).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVEN: Weights = Weights { fusion: Fusion::Ranks, text: 1.0, vector: 1.0, rank_constant: 60.0 };
    const SCORES: Weights = Weights { fusion: Fusion::Scores, ..EVEN };

    fn by_ranks_alone(text: &[u8], vector: &[u8], weights: Weights) -> Vec<(u8, f32)> {
        let text: Vec<(u8, f32)> = text.iter().map(|item| (*item, 1.0)).collect();
        fuse(&text, vector, &BTreeMap::new(), weights)
    }

    /// `near` is the ranking by vectors, `known` has cosines of others.
    fn scored(
        text: &[(u8, f32)],
        near: &[(u8, f32)],
        known: &[(u8, f32)],
        weights: Weights,
    ) -> Vec<(u8, f32)> {
        let items: Vec<u8> = near.iter().map(|(item, _)| *item).collect();
        fuse(text, &items, &near.iter().chain(known).copied().collect(), weights)
    }

    #[test]
    fn ranks_of_both_ways_are_added() {
        let check = |text: &[u8], vector: &[u8], weights, expected: &[(u8, f32)]| {
            assert_eq!(by_ranks_alone(text, vector, weights), expected, "{text:?} {vector:?} {weights:?}");
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

    #[test]
    fn scores_of_both_ways_are_added_as_parts_of_the_greatest() {
        let check = |known: &[(u8, f32)], weights: Weights, expected: &[(u8, f32)]| {
            let found = scored(&[(1, 8.0), (2, 4.0)], &[(2, 1.0), (3, 0.0)], known, weights);
            assert_eq!(found, expected, "{known:?} {weights:?}");
        };
        // Of 1 no cosine is known, so that of 3 counts, which is the last.
        check(&[], SCORES, &[(1, 0.75), (2, 0.75), (3, 0.25)]);
        check(&[(1, -1.0)], SCORES, &[(2, 0.75), (1, 0.5), (3, 0.25)]);
        check(&[(1, -1.0)], Weights { text: 3.0, ..SCORES }, &[(1, 0.75), (2, 0.625), (3, 0.125)]);
        check(
            &[],
            Weights { text: f32::MAX, vector: f32::MAX, ..SCORES },
            &[(1, 0.75), (2, 0.75), (3, 0.25)],
        );
        check(&[(1, -1.0)], Weights { vector: 0.0, ..SCORES }, &[(1, 1.0), (2, 0.5)]);
        check(&[], Weights { text: 0.0, ..SCORES }, &[(2, 1.0), (3, 0.5)]);
        // A way that has found nothing adds nothing.
        assert_eq!(scored(&[(1, 8.0), (2, 4.0)], &[], &[], SCORES), [(1, 0.5), (2, 0.25)]);
        assert_eq!(scored(&[], &[(1, -1.0)], &[], SCORES), [(1, 0.0)]);
        assert_eq!(scored(&[], &[], &[], SCORES), []);
    }

    #[test]
    fn vectors_that_tell_nothing_apart_leave_the_order_to_the_words() {
        let text = [(9, 12.0), (4, 11.0), (6, 3.0)];
        let near = [(1, 0.31), (6, 0.309), (2, 0.308), (4, 0.307), (9, 0.306)];
        let items = |weights| {
            scored(&text, &near, &[], weights).into_iter().map(|(item, _)| item).collect::<Vec<_>>()
        };
        assert_eq!(items(SCORES), [9, 4, 6, 1, 2]);
        assert_eq!(items(EVEN)[0], 6, "ranks do not see it");
    }

    fn ranked(scores: &BTreeMap<u8, f32>) -> Vec<(u8, f32)> {
        let mut ranking: Vec<(u8, f32)> = scores.iter().map(|(item, score)| (*item, *score)).collect();
        ranking.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        ranking
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_what_both_ways_have_first_is_first(
            text in prop::sample::subsequence((0u8..20).collect::<Vec<_>>(), 1..10).prop_shuffle(),
            vector in prop::sample::subsequence((0u8..20).collect::<Vec<_>>(), 1..10).prop_shuffle(),
        ) {
            let fused = by_ranks_alone(&text, &vector, EVEN);
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

        #[test]
        fn scores_are_from_0_to_1_and_grow_with_both(
            texts in prop::collection::btree_map(0u8..30, 0.0f32..40.0, 0..20),
            cosines in prop::collection::btree_map(0u8..30, -1.0f32..=1.0, 0..20),
            text in f32::MIN_POSITIVE..=f32::MAX,
            vector in f32::MIN_POSITIVE..=f32::MAX,
        ) {
            let near = ranked(&cosines);
            let fused = scored(&ranked(&texts), &near, &[], Weights { text, vector, ..SCORES });
            prop_assert!(fused.iter().all(|(_, score)| (0.0..=1.0).contains(score)), "{fused:?}");
            let is_sorted = fused
                .is_sorted_by(|left, right| left.1 > right.1 || (left.1 == right.1 && left.0 < right.0));
            prop_assert!(is_sorted, "{fused:?}");
            let farthest = near.last().map_or(-1.0, |(_, cosine)| *cosine);
            let of = |item: &u8| {
                (texts.get(item).copied().unwrap_or(0.0), cosines.get(item).copied().unwrap_or(farthest))
            };
            for (left, left_score) in &fused {
                for (right, right_score) in &fused {
                    let (better, worse) = (of(left), of(right));
                    if better.0 >= worse.0 && better.1 >= worse.1 {
                        prop_assert!(left_score >= right_score, "{better:?} {worse:?}: {fused:?}");
                    }
                }
            }
        }
    }
}
