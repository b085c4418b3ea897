//! Reciprocal rank fusion of two rankings; pure. Cormack, Clarke and Büttcher, SIGIR 2009.

use std::{cmp::Reverse, collections::BTreeMap};

/// How much each ranking counts.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// That by words.
    pub text: f32,
    /// That by vectors.
    pub vector: f32,
    /// Added to each rank.
    pub rank_constant: f32,
}

/// What either ranking has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fused<Key> {
    /// Which.
    pub key: Key,
    /// The sum over both rankings of weight / (constant + rank).
    pub score: f32,
    /// Its score in the first ranking, if it is there.
    pub text_score: Option<f32>,
}

/// Both rankings as one, the greatest score first; of equal scores the lesser key. Each ranking is best first, and has a
/// key once.
#[must_use]
pub fn fuse<Key: Ord + Copy>(text: &[(Key, f32)], vector: &[Key], weights: Weights) -> Vec<Fused<Key>> {
    let mut fused: BTreeMap<Key, Fused<Key>> = BTreeMap::new();
    let mut add = |key: Key, rank: usize, weight: f32, text_score: Option<f32>| {
        let score = weight / (weights.rank_constant + rank as f32);
        let entry = fused.entry(key).or_insert(Fused { key, score: 0.0, text_score: None });
        entry.score += score;
        entry.text_score = entry.text_score.or(text_score);
    };
    for ((key, score), rank) in text.iter().zip(1..) {
        add(*key, rank, weights.text, Some(*score));
    }
    for (key, rank) in vector.iter().zip(1..) {
        add(*key, rank, weights.vector, None);
    }
    let mut fused: Vec<_> = fused.into_values().collect();
    fused.sort_by_key(|one| (Reverse(Total(one.score)), one.key));
    fused
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
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &[u32], vector: &[u32], weights: Weights) -> Vec<(u32, f32)> {
        let text: Vec<_> = text.iter().map(|key| (*key, 1.0)).collect();
        fuse(&text, vector, weights).into_iter().map(|one| (one.key, one.score)).collect()
    }

    #[test]
    fn what_both_ways_find_comes_before_what_one_finds() {
        let weights = Weights { text: 1.0, vector: 1.0, rank_constant: 60.0 };
        let expected = [(2, 1.0 / 62.0 + 1.0 / 61.0), (1, 1.0 / 61.0), (3, 1.0 / 62.0)];
        assert_eq!(order(&[1, 2], &[2, 3], weights), expected);
    }

    #[test]
    fn weights_decide_between_the_ways_and_equal_scores_go_by_key() {
        let check = |text: f32, vector: f32, expected: &[u32]| {
            let ranked = order(&[7], &[5], Weights { text, vector, rank_constant: 0.0 });
            assert_eq!(ranked.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
        };
        check(1.0, 0.5, &[7, 5]);
        check(0.5, 1.0, &[5, 7]);
        check(1.0, 1.0, &[5, 7]);
    }

    #[test]
    fn the_words_score_is_kept_and_one_found_by_vectors_alone_has_none() {
        let weights = Weights { text: 1.0, vector: 1.0, rank_constant: 60.0 };
        let fused = fuse(&[(1, 3.5)], &[1, 2], weights);
        assert_eq!(fused.iter().map(|one| one.text_score).collect::<Vec<_>>(), [Some(3.5), None]);
    }
}
