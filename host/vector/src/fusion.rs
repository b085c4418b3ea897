//! Two rankings become one, by their scores or by their ranks; pure.
//!
//! By scores: the convex combination with theoretical minima of Bruch, Gai and Ingber, An Analysis of Fusion Functions for
//! Hybrid Retrieval, TOIS 2023. By ranks: reciprocal rank fusion of Cormack, Clarke and Büttcher, SIGIR 2009.

use crate::{Fusion, Query};
use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

/// How two rankings become one, and how much each counts.
#[derive(Clone, Copy, Debug)]
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
    /// What a query asks for. A way without its text or vector counts nothing.
    #[must_use]
    pub fn of(query: &Query) -> Self {
        Self {
            fusion: query.fusion,
            text: query.text.as_ref().map_or(0.0, |_| query.text_weight),
            vector: query.vector.as_ref().map_or(0.0, |_| query.vector_weight),
            rank_constant: query.rank_constant,
        }
    }
}

/// What either ranking has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fused<Key> {
    /// Which.
    pub key: Key,
    /// By which it is ordered.
    pub score: f32,
    /// Its score in the first ranking, if it is there.
    pub text_score: Option<f32>,
}

/// Both rankings as one, the greatest score first; of equal scores the lesser key. Each ranking is best first, and has a
/// key once; `cosines` has those of all in the ranking by vectors, and of others as far as they are known.
#[must_use]
pub fn fuse<Key: Ord + Copy>(
    text: &[(Key, f32)],
    vector: &[Key],
    cosines: &BTreeMap<Key, f32>,
    weights: Weights,
) -> Vec<Fused<Key>> {
    let mut found: BTreeMap<Key, Found> = BTreeMap::new();
    for ((key, score), rank) in text.iter().zip(1..) {
        found.entry(*key).or_default().text = Some((rank, *score));
    }
    for (key, rank) in vector.iter().zip(1..) {
        found.entry(*key).or_default().vector = Some(rank);
    }
    for (key, found) in &mut found {
        found.cosine = cosines.get(key).copied();
    }
    let farthest = vector.last().and_then(|key| cosines.get(key).copied());
    let scale = Scale::new(&found, farthest, weights);
    let score = |found: &Found| match weights.fusion {
        Fusion::Scores => scale.score(found),
        Fusion::Ranks => by_ranks(found, weights),
    };
    let mut scored: Vec<_> = found
        .into_iter()
        .map(|(key, found)| (score(&found), key, found.text.map(|(_, score)| score)))
        .collect();
    scored.sort_by_key(|(score, key, _)| (Reverse(Total(*score)), *key));
    scored.into_iter().map(|(score, key, text_score)| Fused { key, score, text_score }).collect()
}

/// Where a key was found.
#[derive(Clone, Copy, Default)]
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
    /// What a key counts with whose cosine is not known.
    nearness_unknown: f32,
}

impl Scale {
    fn new<Key>(found: &BTreeMap<Key, Found>, farthest: Option<f32>, weights: Weights) -> Self {
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

/// A number in the order of all numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total(pub(crate) f32);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANKS: Weights = Weights { fusion: Fusion::Ranks, text: 1.0, vector: 1.0, rank_constant: 60.0 };
    const SCORES: Weights = Weights { fusion: Fusion::Scores, ..RANKS };

    fn order(text: &[u32], vector: &[u32], weights: Weights) -> Vec<(u32, f32)> {
        let text: Vec<_> = text.iter().map(|key| (*key, 1.0)).collect();
        fuse(&text, vector, &BTreeMap::new(), weights).into_iter().map(|one| (one.key, one.score)).collect()
    }

    /// By scores: `near` is the ranking by vectors, `known` has cosines of others.
    fn scored(
        text: &[(u32, f32)],
        near: &[(u32, f32)],
        known: &[(u32, f32)],
        weights: Weights,
    ) -> Vec<(u32, f32)> {
        let keys: Vec<u32> = near.iter().map(|(key, _)| *key).collect();
        let cosines = near.iter().chain(known).copied().collect();
        fuse(text, &keys, &cosines, weights).into_iter().map(|one| (one.key, one.score)).collect()
    }

    #[test]
    fn what_both_ways_find_comes_before_what_one_finds() {
        let expected = [(2, 1.0 / 62.0 + 1.0 / 61.0), (1, 1.0 / 61.0), (3, 1.0 / 62.0)];
        assert_eq!(order(&[1, 2], &[2, 3], RANKS), expected);
    }

    #[test]
    fn weights_decide_between_the_ways_and_equal_scores_go_by_key() {
        let check = |text: f32, vector: f32, expected: &[u32]| {
            let ranked = order(&[7], &[5], Weights { text, vector, rank_constant: 0.0, ..RANKS });
            assert_eq!(ranked.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
            let near = [(5, 1.0), (9, -1.0)];
            let ranked = scored(&[(7, 3.0)], &near, &[], Weights { text, vector, ..SCORES });
            let keys = ranked.into_iter().map(|(key, _)| key);
            assert_eq!(keys.filter(|key| *key != 9).collect::<Vec<_>>(), expected);
        };
        check(1.0, 0.5, &[7, 5]);
        check(0.5, 1.0, &[5, 7]);
        check(1.0, 1.0, &[5, 7]);
        check(f32::MAX, f32::MAX, &[5, 7]);
    }

    #[test]
    fn the_words_score_is_kept_and_one_found_by_vectors_alone_has_none() {
        let cosines = BTreeMap::from([(1, 0.5), (2, 0.4)]);
        for weights in [RANKS, SCORES] {
            let fused = fuse(&[(1, 3.5)], &[1, 2], &cosines, weights);
            assert_eq!(fused.iter().map(|one| one.text_score).collect::<Vec<_>>(), [Some(3.5), None]);
        }
    }

    #[test]
    fn scores_are_added_as_parts_of_the_greatest() {
        let text = [(1, 8.0), (2, 4.0)];
        let near = [(2, 0.6), (3, 0.2)];
        // Of 1 no cosine is known, so that of 3 counts, which is the last.
        let expected = [(1, 0.5 + 0.5 * 0.75), (2, 0.25 + 0.5), (3, 0.5 * 0.75)];
        let close = |found: &[(u32, f32)], expected: &[(u32, f32)]| {
            let is_close =
                |(one, other): (&(u32, f32), &(u32, f32))| one.0 == other.0 && (one.1 - other.1).abs() < 1e-6;
            assert!(
                found.len() == expected.len() && found.iter().zip(expected).all(is_close),
                "{found:?}, not {expected:?}"
            );
        };
        close(&scored(&text, &near, &[], SCORES), &expected);
        // Where its cosine is known, that counts.
        let expected = [(2, 0.25 + 0.5), (1, 0.5), (3, 0.5 * 0.75)];
        close(&scored(&text, &near, &[(1, -1.0)], SCORES), &expected);
        let weights = Weights { text: 3.0, ..SCORES };
        let expected = [(1, 0.75), (2, 0.375 + 0.25), (3, 0.25 * 0.75)];
        close(&scored(&text, &near, &[(1, -1.0)], weights), &expected);
    }

    #[test]
    fn vectors_that_tell_nothing_apart_leave_the_order_to_the_words() {
        let text = [(9, 12.0), (4, 11.0), (6, 3.0)];
        let near = [(1, 0.31), (6, 0.309), (2, 0.308), (4, 0.307), (9, 0.306)];
        let keys =
            |weights| scored(&text, &near, &[], weights).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(SCORES), [9, 4, 6, 1, 2]);
        assert_eq!(keys(RANKS)[0], 6, "ranks do not see it");
    }

    #[test]
    fn a_way_that_is_not_taken_or_finds_nothing_leaves_the_other_order() {
        let words_alone = Weights { vector: 0.0, ..SCORES };
        assert_eq!(scored(&[(1, 8.0), (2, 2.0)], &[], &[], words_alone), [(1, 1.0), (2, 0.25)]);
        assert_eq!(scored(&[(1, 8.0), (2, 2.0)], &[], &[], SCORES), [(1, 0.5), (2, 0.125)]);
        let vectors_alone = Weights { text: 0.0, ..SCORES };
        assert_eq!(scored(&[], &[(2, 1.0), (1, 0.0)], &[], vectors_alone), [(2, 1.0), (1, 0.5)]);
        assert_eq!(scored(&[], &[(2, 1.0), (1, 0.0)], &[], SCORES), [(2, 0.5), (1, 0.25)]);
        // A cosine that is known for the threshold's sake counts nothing.
        let known = [(1, -1.0), (2, 1.0)];
        assert_eq!(scored(&[(1, 8.0), (2, 2.0)], &[], &known, words_alone), [(1, 1.0), (2, 0.25)]);
        assert_eq!(scored(&[], &[(1, -1.0)], &[], vectors_alone), [(1, 0.0)]);
        assert_eq!(scored(&[], &[], &[], SCORES), []);
    }

    fn rankings() -> impl Strategy<Value = (BTreeMap<u32, f32>, BTreeMap<u32, f32>)> {
        let texts = prop::collection::btree_map(0u32..30, 0.0f32..40.0, 0..20);
        (texts, prop::collection::btree_map(0u32..30, -1.0f32..=1.0, 0..20))
    }

    fn ranked(scores: &BTreeMap<u32, f32>) -> Vec<(u32, f32)> {
        let mut ranking: Vec<_> = scores.iter().map(|(key, score)| (*key, *score)).collect();
        ranking.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        ranking
    }

    proptest! {
        #[test]
        fn scores_are_from_0_to_1_and_grow_with_both(
            (texts, cosines) in rankings(),
            text in 0.0f32..=f32::MAX,
            vector in 0.0f32..=f32::MAX,
        ) {
            let weights = Weights { text, vector, ..SCORES };
            let (text, near) = (ranked(&texts), ranked(&cosines));
            let fused = scored(&text, &near, &[], weights);
            prop_assert!(fused.iter().all(|(_, score)| (0.0..=1.0).contains(score)), "{fused:?}");
            let is_sorted = fused
                .is_sorted_by(|one, other| one.1 > other.1 || (one.1 == other.1 && one.0 < other.0));
            prop_assert!(is_sorted, "{fused:?}");
            let farthest = near.last().map_or(-1.0, |(_, cosine)| *cosine);
            let of = |key: &u32| {
                (texts.get(key).copied().unwrap_or(0.0), cosines.get(key).copied().unwrap_or(farthest))
            };
            for (one, one_score) in &fused {
                for (other, other_score) in &fused {
                    let (better, worse) = (of(one), of(other));
                    if better.0 >= worse.0 && better.1 >= worse.1 {
                        prop_assert!(one_score >= other_score, "{one} {better:?}, {other} {worse:?}: {fused:?}");
                    }
                }
            }
        }

        #[test]
        fn what_is_best_by_one_way_keeps_its_order_there((texts, _) in rankings()) {
            let text = ranked(&texts);
            let fused = scored(&text, &[], &[], Weights { vector: 0.0, ..SCORES });
            let scores: Vec<f32> = fused.iter().map(|(key, _)| texts[key]).collect();
            // Scores that are next to each other may become one.
            prop_assert!(scores.is_sorted_by(|one, other| *one >= other * (1.0 - 1e-6)), "{scores:?}");
        }
    }
}
