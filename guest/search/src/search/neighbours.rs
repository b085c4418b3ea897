//! The chunks around a hit, joined to it: an answer often stands a sentence after the words that were searched for.
//!
//! No chunk is in two results: a hit that lies in an earlier one's neighbourhood is shown there. Chunks under another
//! heading are about something else and are left out, and what chunks repeat of each other is there once.

use super::merge::Candidate;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use waggle_index::{Chunk, Hit, Index, IndexError};

/// Only so many results are looked around for.
const JOINED_MAX: usize = 10;
/// The longest text that two chunks may share, in bytes.
const OVERLAP_BYTES_MAX: usize = 8 << 10;
/// Less than that is no overlap but chance.
const OVERLAP_BYTES_MIN: usize = 12;
/// In so many places it is looked whether a chunk's beginning goes on to the end of the one before: texts that repeat
/// themselves have it in many.
const OVERLAP_ATTEMPTS_MAX: usize = 64;

/// A hit with its neighbours.
#[derive(Debug, PartialEq)]
pub(super) struct Joined {
    pub(super) candidate: Candidate,
    pub(super) text: String,
    pub(super) ordinals: (u32, u32),
}

/// Which chunk, of which index and group.
type Place = (usize, String, u32);

/// The hits that become results of their own, each with the chunks around it that no earlier one has.
fn spans(candidates: Vec<Candidate>, neighbours: u32) -> Vec<(Candidate, RangeInclusive<u32>)> {
    let mut taken: HashSet<Place> = HashSet::new();
    let mut all = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let Candidate { place, hit, .. } = &candidate;
        let at = |ordinal| (*place, hit.group.clone(), ordinal);
        if taken.contains(&at(hit.ordinal)) {
            continue;
        }
        let neighbours = if all.len() < JOINED_MAX { neighbours } else { 0 };
        let is_free = |ordinal: &u32| !taken.contains(&at(*ordinal));
        let last = hit.chunks.saturating_sub(1).max(hit.ordinal);
        let before = (hit.ordinal.saturating_sub(neighbours)..hit.ordinal).rev().take_while(is_free);
        let after = (hit.ordinal + 1..=hit.ordinal.saturating_add(neighbours).min(last)).take_while(is_free);
        let span = before.last().unwrap_or(hit.ordinal)..=after.last().unwrap_or(hit.ordinal);
        taken.extend(span.clone().map(at));
        all.push((candidate, span));
    }
    all
}

/// How many bytes at the end of `one` are the beginning of `other`.
fn overlap(one: &str, other: &str) -> usize {
    if other.len() < OVERLAP_BYTES_MIN {
        return 0;
    }
    let head = other.get(..other.ceil_char_boundary(OVERLAP_BYTES_MIN)).unwrap_or(other);
    let mut from = one.ceil_char_boundary(one.len().saturating_sub(OVERLAP_BYTES_MAX));
    for _ in 0..OVERLAP_ATTEMPTS_MAX {
        let Some(found) = one.get(from..).and_then(|end| end.find(head)) else { return 0 };
        let end = one.get(from + found..).unwrap_or_default();
        if other.starts_with(end) {
            return end.len();
        }
        from += found + head.chars().next().map_or(1, char::len_utf8);
    }
    0
}

/// The chunks of the span as one text, with the numbers of its first and last; only those under the hit's heading that
/// are next to each other.
fn join(hit: &Hit, chunks: &[Chunk]) -> Option<(String, (u32, u32))> {
    let middle = chunks.iter().position(|chunk| chunk.ordinal == hit.ordinal)?;
    // The group may have been published anew since it was searched: then these are not the neighbours.
    if chunks.get(middle).is_none_or(|chunk| chunk.text != hit.text) {
        return None;
    }
    let belongs = |chunk: &&Chunk| chunk.heading == hit.heading;
    let before = chunks.iter().take(middle).rev().take_while(belongs).count();
    let after = chunks.iter().skip(middle + 1).take_while(belongs).count();
    let joined: Vec<&Chunk> = chunks.iter().skip(middle - before).take(before + 1 + after).collect();
    let mut text = String::new();
    for chunk in &joined {
        let shared = overlap(&text, &chunk.text);
        if shared == 0 && !text.is_empty() {
            text.push('\n');
        }
        text.push_str(chunk.text.get(shared..).unwrap_or_default());
    }
    let ordinals = (joined.first()?.ordinal, joined.last()?.ordinal);
    Some((text, ordinals))
}

/// Joins to each hit up to `neighbours` chunks on each side. `names` are those of the request's indexes.
///
/// # Errors
/// The index's; not those of groups that have gone since.
pub(super) async fn with_neighbours<I: Index>(
    index: &I,
    names: &[&str],
    candidates: Vec<Candidate>,
    neighbours: u32,
) -> Result<Vec<Joined>, IndexError> {
    let mut all = Vec::with_capacity(candidates.len());
    for (candidate, span) in spans(candidates, neighbours) {
        let hit = &candidate.hit;
        let count = span.end() - span.start() + 1;
        let name = names.get(candidate.place).copied().unwrap_or_default();
        let chunks = match count {
            1 => Vec::new(),
            _ => match index.read(name, &hit.group, *span.start(), count).await {
                Ok(chunks) => chunks,
                Err(IndexError::NoSuchGroup | IndexError::NoSuchIndex) => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        let alone = || (hit.text.clone(), (hit.ordinal, hit.ordinal));
        let (text, ordinals) = join(hit, &chunks).unwrap_or_else(alone);
        all.push(Joined { candidate, text, ordinals });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hit;
    use proptest::prelude::*;

    fn candidate(group: &str, ordinal: u32, chunks: u32) -> Candidate {
        Candidate::new(0, Hit { chunks, ..hit(group, ordinal, "t") })
    }

    fn check(hits: &[(&str, u32, u32)], neighbours: u32, expected: &[(&str, u32, u32)]) {
        let candidates = hits.iter().map(|(group, ordinal, chunks)| candidate(group, *ordinal, *chunks));
        let all = spans(candidates.collect(), neighbours);
        let seen: Vec<(&str, u32, u32)> =
            all.iter().map(|(one, span)| (one.hit.group.as_str(), *span.start(), *span.end())).collect();
        assert_eq!(seen, expected, "{hits:?} {neighbours}");
    }

    #[test]
    fn no_chunk_is_in_two_results() {
        check(&[("a", 5, 9)], 0, &[("a", 5, 5)]);
        check(&[("a", 5, 9)], 1, &[("a", 4, 6)]);
        check(&[("a", 0, 1)], 2, &[("a", 0, 0)]);
        check(&[("a", 8, 9), ("a", 0, 9)], 2, &[("a", 6, 8), ("a", 0, 2)]);
        check(&[("a", 5, 9), ("a", 6, 9)], 1, &[("a", 4, 6)]);
        check(&[("a", 5, 9), ("a", 7, 9)], 1, &[("a", 4, 6), ("a", 7, 8)]);
        check(&[("a", 5, 9), ("b", 6, 9)], 1, &[("a", 4, 6), ("b", 5, 7)]);
    }

    fn chunk(ordinal: u32, heading: &str, text: &str) -> Chunk {
        let (heading, text) = (heading.to_owned(), text.to_owned());
        Chunk { ordinal, heading, text, note: String::new(), vector: None }
    }

    #[test]
    fn what_chunks_repeat_is_there_once() {
        let shared = "The second sentence stands in both.";
        let one = format!("The first one. {shared}");
        let other = format!("{shared} The third.");
        let hit = hit("a", 1, &other);
        let joined = join(&hit, &[chunk(0, "", &one), chunk(1, "", &other), chunk(2, "", "More.")]);
        let text = format!("The first one. {shared} The third.\nMore.");
        assert_eq!(joined, Some((text, (0, 2))));
        assert_eq!(overlap("ends with a", "a begins"), 0, "a letter is no overlap");
        assert_eq!(overlap("一二三四五六", "三四五六七"), 12);
    }

    #[test]
    fn another_heading_ends_the_neighbourhood() {
        let hit = Hit { heading: "H".to_owned(), ..hit("a", 2, "c") };
        let chunks = [chunk(0, "H", "a"), chunk(1, "G", "b"), chunk(2, "H", "c"), chunk(3, "H", "d")];
        assert_eq!(join(&hit, &chunks), Some(("c\nd".to_owned(), (2, 3))));
    }

    #[test]
    fn a_group_that_has_changed_gives_no_neighbours() {
        let hit = hit("a", 1, "old");
        assert_eq!(join(&hit, &[chunk(0, "", "x"), chunk(1, "", "new")]), None);
        assert_eq!(join(&hit, &[chunk(0, "", "x")]), None);
    }

    proptest! {
        #[test]
        fn an_overlap_is_both_end_and_beginning(one in "[ab]{0,40}", other in "[ab]{0,40}") {
            let shared = overlap(&one, &other);
            prop_assert!(one.ends_with(&other[..shared]));
            prop_assert!(shared == 0 || shared >= OVERLAP_BYTES_MIN);
            let longer = (shared + 1).max(OVERLAP_BYTES_MIN)..=one.len().min(other.len());
            prop_assert!(longer.into_iter().all(|length| !one.ends_with(&other[..length])));
        }
    }
}
