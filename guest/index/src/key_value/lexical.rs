//! Searching by words: BM25 (Robertson and Zaragoza, 2009), with the frequencies of the chunks that the search looks at.

use super::codec::Reader;
use super::ordinals::Ordinals;
use super::top::{Place, Top};
use std::cmp::Ordering;

/// How soon a word that stands often in a chunk counts no more.
const SATURATION: f64 = 1.2;
/// How much a chunk's length counts.
const LENGTH_WEIGHT: f64 = 0.75;

/// What a search by words has seen.
pub(super) struct Lexical {
    /// The question's words in order, each once.
    words: Vec<String>,
    /// In how many chunks each of them stands.
    chunks_with: Vec<u64>,
    chunks: u64,
    /// How many words all chunks have together.
    length: u64,
    found: Vec<Found>,
}

/// A chunk with at least one of the words.
struct Found {
    place: Place,
    length: u64,
    /// Words by their place in the question, and how often each stands here.
    words: Vec<(u32, u32)>,
}

impl Lexical {
    /// A search by these words.
    pub(super) fn new(mut words: Vec<String>) -> Self {
        words.sort_unstable();
        words.dedup();
        let chunks_with = vec![0; words.len()];
        Self { words, chunks_with, chunks: 0, length: 0, found: Vec::new() }
    }

    /// Whether nothing is searched for.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Looks at a page's words, of those chunks that count. `None` if the page cannot be read.
    pub(super) fn scan(&mut self, page: usize, counting: &Ordinals, value: &[u8]) -> Option<()> {
        let mut reader = Reader::new(value)?;
        let mut chunks: Vec<Option<Found>> = Vec::new();
        for _ in 0..reader.number()? {
            let (ordinal, length) = (reader.small()?, reader.number()?);
            let counts = counting.contains(ordinal);
            chunks.push(counts.then(|| Found { place: Place { page, ordinal }, length, words: Vec::new() }));
        }
        let mut wanted = 0;
        for _ in 0..reader.number()? {
            let (word, found) = (reader.text()?, reader.bytes()?);
            while self.words.get(wanted).is_some_and(|next| next.as_str() < word) {
                wanted += 1;
            }
            if self.words.get(wanted).map(|next| next.as_str().cmp(word)) == Some(Ordering::Equal) {
                self.note(wanted, found, &mut chunks)?;
            }
        }
        for chunk in chunks.into_iter().flatten() {
            self.chunks += 1;
            self.length = self.length.saturating_add(chunk.length);
            if !chunk.words.is_empty() {
                self.found.push(chunk);
            }
        }
        reader.is_over().then_some(())
    }

    /// Notes in which of a page's chunks a word stands.
    fn note(&mut self, word: usize, found: &[u8], chunks: &mut [Option<Found>]) -> Option<()> {
        let mut reader = Reader::part(found);
        let with = self.chunks_with.get_mut(word)?;
        while !reader.is_over() {
            let (place, times) = (reader.small()?, reader.small()?);
            if let Some(chunk) = chunks.get_mut(place as usize)? {
                chunk.words.push((u32::try_from(word).ok()?, times));
                *with += 1;
            }
        }
        Some(())
    }

    /// The best so many with their scores, the best first.
    pub(super) fn best(self, count_max: usize) -> Vec<(Place, f32)> {
        let weights: Vec<f64> = self.chunks_with.iter().map(|with| weight(self.chunks, *with)).collect();
        let average = self.length as f64 / self.chunks.max(1) as f64;
        let mut top = Top::new(count_max);
        for found in self.found {
            let length = if average > 0.0 { found.length as f64 / average } else { 1.0 };
            let saturation = SATURATION * (1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * length);
            let score = found.words.iter().map(|(word, times)| {
                let times = f64::from(*times);
                let weight = weights.get(*word as usize).copied().unwrap_or_default();
                weight * times * (SATURATION + 1.0) / (times + saturation)
            });
            top.push(found.place, score.sum::<f64>() as f32);
        }
        top.into_sorted()
    }
}

/// The inverse document frequency of a word that stands in so many of so many chunks: never negative.
fn weight(chunks: u64, with: u64) -> f64 {
    let without = chunks.saturating_sub(with) as f64;
    ((without + 0.5) / (with as f64 + 0.5)).ln_1p()
}
