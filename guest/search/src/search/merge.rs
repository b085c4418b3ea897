//! Hits of several searches, put together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use waggle_index::Hit;

/// So great is the BM25 score that counts as one half.
const TEXT_SCORE_HALF: f32 = 8.0;

/// A hit, and which of the request's indexes it is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// The index's place in the request.
    pub(super) place: usize,
    pub(super) hit: Hit,
    /// What is shown, from 0 to 1.
    pub(super) score: f32,
}

impl Candidate {
    pub(super) fn new(place: usize, hit: Hit) -> Self {
        let score = match (hit.vector_score, hit.text_score) {
            (Some(cosine), _) => cosine.clamp(0.0, 1.0),
            (None, Some(text)) if text > 0.0 => text / (text + TEXT_SCORE_HALF),
            _ => 0.0,
        };
        Self { place, hit, score }
    }

    /// What a reranker reads.
    pub(super) fn document(&self) -> String {
        match self.hit.heading.as_str() {
            "" => self.hit.text.clone(),
            heading => format!("{heading}\n{}", self.hit.text),
        }
    }
}

/// Each chunk once, by the search that ranked it highest; the first at the beginning. Of equals, the order is always the
/// same.
pub(super) fn merge(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut places: HashMap<(usize, String, u32), usize> = HashMap::new();
    let mut merged: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let chunk = (candidate.place, candidate.hit.group.clone(), candidate.hit.ordinal);
        match places.entry(chunk) {
            Entry::Vacant(vacant) => {
                vacant.insert(merged.len());
                merged.push(candidate);
            }
            Entry::Occupied(occupied) => {
                if let Some(known) = merged.get_mut(*occupied.get()) {
                    known.score = known.score.max(candidate.score);
                    known.hit.score = known.hit.score.max(candidate.hit.score);
                }
            }
        }
    }
    merged.sort_by(|one, other| {
        let by_rank = other.hit.score.total_cmp(&one.hit.score);
        let by_score = || other.score.total_cmp(&one.score);
        let by_name = || {
            (one.place, &one.hit.group, one.hit.ordinal).cmp(&(
                other.place,
                &other.hit.group,
                other.hit.ordinal,
            ))
        };
        by_rank.then_with(by_score).then_with(by_name)
    });
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hit;

    fn check(hits: &[(usize, &str, u32, f32)], expected: &[(usize, &str, u32)]) {
        let candidates = hits.iter().map(|(place, group, ordinal, score)| {
            Candidate::new(*place, Hit { score: *score, ..hit(group, *ordinal, "t") })
        });
        let merged = merge(candidates.collect());
        let seen: Vec<(usize, &str, u32)> =
            merged.iter().map(|one| (one.place, one.hit.group.as_str(), one.hit.ordinal)).collect();
        assert_eq!(seen, expected, "{hits:?}");
    }

    #[test]
    fn each_chunk_is_there_once_and_the_best_first() {
        check(&[], &[]);
        check(&[(0, "a", 1, 0.1), (0, "b", 1, 0.2)], &[(0, "b", 1), (0, "a", 1)]);
        check(&[(0, "a", 1, 0.1), (0, "b", 1, 0.2), (0, "a", 1, 0.3)], &[(0, "a", 1), (0, "b", 1)]);
        check(&[(1, "a", 1, 0.1), (0, "a", 1, 0.1)], &[(0, "a", 1), (1, "a", 1)]);
        check(&[(0, "a", 2, 0.1), (0, "a", 1, 0.1)], &[(0, "a", 1), (0, "a", 2)]);
    }

    #[test]
    fn what_is_shown_is_between_0_and_1() {
        let score = |vector_score, text_score| {
            Candidate::new(0, Hit { vector_score, text_score, ..hit("a", 0, "t") }).score
        };
        assert_eq!(score(Some(0.7), Some(20.0)), 0.7);
        assert_eq!(score(Some(-0.2), None), 0.0);
        assert_eq!(score(Some(1.1), None), 1.0);
        assert_eq!(score(None, Some(8.0)), 0.5);
        assert_eq!(score(None, Some(0.0)), 0.0);
        assert_eq!(score(None, None), 0.0);
    }
}
