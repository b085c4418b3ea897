//! What chunks score by the words of a query, as far as they can be among the best; exact.
//!
//! Scores are by BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009), with the same
//! weights in all parts, so that they can be compared. What cannot be among the best is left out as MaxScore does (Turtle and
//! Flood, Query Evaluation: Strategies and Optimizations, 1995), in windows of places whose scores fit into the cache: those
//! words that could lift a chunk over the threshold by themselves are added up for a whole window, one word after the
//! other; the others, which are mostly the frequent ones, are only looked up for chunks that can still get there.

use super::lexical::{FIELD, INDEXED, Lexical};
use crate::analysis::words;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::{TERMINATED, TantivyError, Term};

/// Different words of a query that are looked for; the first ones.
pub(crate) const QUERY_WORDS_MAX: usize = 128;
/// How soon a word that is repeated in a chunk adds nothing more.
const SATURATION: f32 = 1.2;
/// How much the length of a chunk counts.
const LENGTH_SHARE: f32 = 0.75;
/// Places of a window.
const WINDOW_PLACES: u32 = 16_384;
/// Places that are cleared together.
const GROUP_PLACES: usize = 64;
/// The least sum of bounds, as a share of the threshold, that is looked into: sums of [`QUERY_WORDS_MAX`] numbers that are
/// rounded differently are never so far apart.
const ROUNDED_SHARE: f32 = 0.9999;

/// By how much a chunk's length lessens what its words score, for each length that is told apart.
struct Norms([f32; 256]);

impl Norms {
    fn new(length_average: f32) -> Self {
        let mut norms = [0.0; 256];
        for (norm, id) in norms.iter_mut().zip(0..=u8::MAX) {
            let length = FieldNormReader::id_to_fieldnorm(id) as f32;
            *norm = SATURATION * (1.0 - LENGTH_SHARE + LENGTH_SHARE * length / length_average);
        }
        Self(norms)
    }

    /// Less than 1, whatever the word's frequency in the chunk.
    #[inline]
    fn share(&self, length: u8, frequency: u32) -> f32 {
        let frequency = frequency as i32 as f32;
        frequency / (frequency + self.0[usize::from(length)])
    }
}

/// What a word adds to a chunk's score at most: the rarer it is, the more.
fn weight(chunks: u64, chunks_with_word: u64) -> f32 {
    let (all, with_word) = (chunks as f64, chunks_with_word as f64);
    let rarity = ((all - with_word + 0.5) / (with_word + 0.5)).ln_1p();
    rarity as f32 * (1.0 + SATURATION)
}

/// The words of a query as they are looked for in parts.
pub(crate) struct WordQuery<'a> {
    norms: Norms,
    parts: Vec<QueriedPart<'a>>,
}

/// Where a part has the words of a query.
struct QueriedPart<'a> {
    lexical: &'a Lexical,
    /// With the weight of each; the greatest first.
    words: Vec<(f32, TermInfo)>,
}

impl<'a> WordQuery<'a> {
    /// The words of `text` as they are to be looked for in `parts`; none if none of them is there.
    pub(crate) fn new(text: &str, parts: &[&'a Lexical]) -> Result<Option<Self>, TantivyError> {
        let chunks: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let mut seen: Vec<String> = Vec::new();
        // With the weight of each, and where each part has it.
        let mut found: Vec<(f32, Vec<Option<TermInfo>>)> = Vec::new();
        for word in words(text) {
            if found.len() == QUERY_WORDS_MAX || seen.contains(&word) {
                continue;
            }
            let term = Term::from_field_text(FIELD, &word);
            seen.push(word);
            let infos = parts.iter().map(|part| part.postings().get_term_info(&term));
            let infos = infos.collect::<Result<Vec<_>, _>>()?;
            let chunks_with_word = infos.iter().flatten().map(|info| u64::from(info.doc_freq)).sum();
            if chunks_with_word > 0 {
                found.push((weight(chunks, chunks_with_word), infos));
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        // In all parts in the same order, so that what is rounded is the same as well. Sorting is stable.
        found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut queried: Vec<_> =
            parts.iter().map(|lexical| QueriedPart { lexical, words: Vec::new() }).collect();
        for (weight, infos) in found {
            for (part, info) in queried.iter_mut().zip(infos) {
                part.words.extend(info.map(|info| (weight, info)));
            }
        }
        let words: u64 = parts.iter().map(|part| part.words()).sum();
        Ok(Some(Self { norms: Norms::new(words as f32 / chunks as f32), parts: queried }))
    }

    /// Hands chunks that score no less than the threshold to `take`, by the number of their part and by their place; it
    /// returns the new threshold, which is never less than the one before.
    pub(crate) fn each(&self, mut take: impl FnMut(usize, u32, f32) -> f32) -> Result<(), TantivyError> {
        self.each_in_windows(WINDOW_PLACES, &mut take)
    }

    pub(crate) fn each_in_windows(
        &self,
        window_places: u32,
        take: &mut impl FnMut(usize, u32, f32) -> f32,
    ) -> Result<(), TantivyError> {
        let mut threshold = f32::MIN;
        let mut sums = Sums::new(window_places);
        for (number, part) in self.parts.iter().enumerate() {
            let mut search = PartSearch::new(part, &self.norms)?;
            while search.next_window(&mut sums, threshold) {
                for (place, score) in &sums.candidates {
                    if *score >= threshold {
                        threshold = take(number, *place, *score);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What the chunks of a window score so far.
struct Sums {
    /// The window's first place.
    first: u32,
    /// By place; 0 where there is none of the words.
    scores: Vec<f32>,
    /// Of each group of places, whether one may have a score.
    is_touched: Vec<bool>,
    candidates: Vec<(u32, f32)>,
}

impl Sums {
    fn new(places: u32) -> Self {
        let groups = (places as usize).div_ceil(GROUP_PLACES);
        Self {
            first: 0,
            scores: vec![0.0; groups * GROUP_PLACES],
            is_touched: vec![false; groups],
            candidates: Vec::new(),
        }
    }

    /// Those that score as much become candidates, in the order of their places; all scores are forgotten.
    fn collect(&mut self, least: f32) {
        self.candidates.clear();
        let groups = self.scores.chunks_exact_mut(GROUP_PLACES).zip(&mut self.is_touched);
        for (group, (scores, is_touched)) in groups.enumerate().filter(|(_, (_, is_touched))| **is_touched) {
            *is_touched = false;
            // Without a branch for each, which is what makes it fast.
            if scores.iter().fold(false, |any, score| any | (*score >= least)) {
                let first = self.first + (group * GROUP_PLACES) as u32;
                let found = (first..).zip(scores.iter().copied()).filter(|(_, score)| *score >= least);
                self.candidates.extend(found);
            }
            scores.fill(0.0);
        }
    }
}

/// Where a search is among the chunks of a part that have a word.
struct Cursor {
    postings: BlockSegmentPostings,
    /// The next one, in the block that is read.
    at: usize,
    weight: f32,
    /// What this word and those after it add to a score at most.
    rest: f32,
}

impl Cursor {
    fn next(&self) -> u32 {
        self.postings.docs().get(self.at).copied().unwrap_or(TERMINATED)
    }

    /// Adds what the word scores in the chunks of a window; they are the next ones.
    fn add(&mut self, sums: &mut Sums, end: u32, lengths: &[u8], norms: &Norms) {
        loop {
            let places = &self.postings.docs()[self.at..];
            let is_whole = places.last().is_some_and(|last| *last < end);
            let count = if is_whole { places.len() } else { places.partition_point(|place| *place < end) };
            let frequencies = &self.postings.freqs()[self.at..];
            for (place, frequency) in places[..count].iter().zip(frequencies) {
                let score = self.weight * norms.share(lengths[*place as usize], *frequency);
                let at = (place - sums.first) as usize;
                sums.scores[at] += score;
                sums.is_touched[at / GROUP_PLACES] = true;
            }
            if !is_whole {
                self.at += count;
                return;
            }
            self.postings.advance();
            self.at = 0;
        }
    }

    /// Adds what the word scores in the candidates, and leaves out those that cannot score so much any more.
    fn complete(&mut self, candidates: &mut Vec<(u32, f32)>, least: f32, lengths: &[u8], norms: &Norms) {
        candidates.retain_mut(|(place, score)| {
            let at = self.postings.seek(*place);
            if self.postings.doc(at) == *place {
                *score += self.weight * norms.share(lengths[*place as usize], self.postings.freq(at));
            }
            *score >= least
        });
    }
}

/// A search in one part.
struct PartSearch<'a> {
    lengths: &'a [u8],
    norms: &'a Norms,
    /// Those that add most first.
    cursors: Vec<Cursor>,
    /// So many cursors are added up; with the others alone no chunk comes over the threshold.
    added: usize,
}

impl<'a> PartSearch<'a> {
    fn new(part: &'a QueriedPart<'_>, norms: &'a Norms) -> Result<Self, TantivyError> {
        let mut cursors = Vec::with_capacity(part.words.len());
        for (weight, info) in &part.words {
            let postings = part.lexical.postings().read_block_postings_from_terminfo(info, INDEXED)?;
            cursors.push(Cursor { postings, at: 0, weight: *weight, rest: 0.0 });
        }
        let mut rest = 0.0;
        for cursor in cursors.iter_mut().rev() {
            rest += cursor.weight;
            cursor.rest = rest;
        }
        Ok(Self { lengths: part.lexical.lengths(), norms, added: cursors.len(), cursors })
    }

    /// Finds the candidates of the next window; whether there was one.
    fn next_window(&mut self, sums: &mut Sums, threshold: f32) -> bool {
        let least = threshold * ROUNDED_SHARE;
        while self.added > 0 && self.cursors[self.added - 1].rest < least {
            self.added -= 1;
        }
        let (added, completed) = self.cursors.split_at_mut(self.added);
        let first = added.iter().map(|cursor| cursor.next()).min().unwrap_or(TERMINATED);
        if first == TERMINATED {
            return false;
        }
        sums.first = first;
        let end = first.saturating_add(sums.scores.len() as u32).min(TERMINATED);
        for cursor in added {
            cursor.add(sums, end, self.lengths, self.norms);
        }
        let rest = completed.first().map_or(0.0, |cursor| cursor.rest);
        sums.collect((least - rest).max(f32::MIN_POSITIVE));
        for at in 0..completed.len() {
            let rest = completed.get(at + 1).map_or(0.0, |cursor| cursor.rest);
            completed[at].complete(&mut sums.candidates, least - rest, self.lengths, self.norms);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::best::Best;

    /// A generator by Marsaglia ("Xorshift RNGs", 2003), so that each run is the same.
    struct Random(u64);

    impl Random {
        fn below(&mut self, count: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % count
        }

        /// A word; the first ones are in most chunks, the last ones in few.
        fn word(&mut self) -> String {
            let most = 1 + self.below(60);
            let word = self.below(most);
            format!("{}{}", char::from(b'b' + (word % 20) as u8), "oa".repeat(1 + word / 20))
        }

        fn text(&mut self, words: usize) -> String {
            (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
        }
    }

    type Chunk = (usize, u32);

    /// What each chunk scores, by the definition.
    fn by_definition(query: &str, parts: &[Vec<String>]) -> Vec<(Chunk, f32)> {
        let chunks: Vec<(Chunk, Vec<String>)> = parts
            .iter()
            .enumerate()
            .flat_map(|(part, texts)| {
                texts.iter().zip(0..).map(move |(text, place)| ((part, place), words(text)))
            })
            .collect();
        let all: usize = chunks.iter().map(|(_, words)| words.len()).sum();
        let norms = Norms::new(all as f32 / chunks.len() as f32);
        let mut asked = words(query);
        asked.sort();
        asked.dedup();
        let score = |words: &Vec<String>| {
            // Lengths up to 40 are told apart.
            let length = u8::try_from(words.len()).unwrap();
            let of_word = |word: &String| {
                let with = chunks.iter().filter(|(_, others)| others.contains(word)).count();
                let frequency = words.iter().filter(|other| *other == word).count() as u32;
                weight(chunks.len() as u64, with as u64) * norms.share(length, frequency)
            };
            asked.iter().map(of_word).sum::<f32>()
        };
        let scored = chunks.iter().map(|(chunk, words)| (*chunk, score(words)));
        scored.filter(|(_, score)| *score > 0.0).collect()
    }

    fn best(scored: impl Iterator<Item = (Chunk, f32)>, most: usize) -> Vec<(Chunk, f32)> {
        let mut best = Best::new(most);
        scored.for_each(|(chunk, score)| best.push(chunk, score));
        best.into_sorted()
    }

    fn found(
        query: &str,
        parts: &[Lexical],
        most: usize,
        window_places: u32,
        accepts: impl Fn(Chunk) -> bool,
    ) -> Vec<(Chunk, f32)> {
        let parts: Vec<&Lexical> = parts.iter().collect();
        let Some(query) = WordQuery::new(query, &parts).unwrap() else { return Vec::new() };
        let mut best = Best::new(most);
        let mut take = |part: usize, place: u32, score: f32| {
            if accepts((part, place)) {
                best.push((part, place), score);
            }
            best.threshold()
        };
        query.each_in_windows(window_places, &mut take).unwrap();
        best.into_sorted()
    }

    /// The same chunks in the same order, but for those whose scores are as good as equal.
    fn check_alike(found: &[(Chunk, f32)], expected: &[(Chunk, f32)], told: &str) {
        assert_eq!(found.len(), expected.len(), "{told}");
        let near = |one: f32, other: f32| (one - other).abs() <= 1e-5 * other;
        for ((chunk, score), (other, wanted)) in found.iter().zip(expected) {
            assert!(near(*score, *wanted), "{told}: {chunk:?} {score} {other:?} {wanted}");
        }
        let scores =
            |chunk: Chunk| expected.iter().find(|(other, _)| *other == chunk).map(|(_, score)| *score);
        for (chunk, score) in found {
            let last = expected.last().map_or(0.0, |(_, score)| *score);
            assert!(
                scores(*chunk).map_or(near(*score, last), |wanted| near(*score, wanted)),
                "{told}: {chunk:?}"
            );
        }
    }

    #[test]
    fn what_is_found_is_what_scores_best_by_the_definition() {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for round in 0..12 {
            let mut texts = Vec::new();
            for _ in 0..1 + random.below(3) {
                let (count, words) = (1 + random.below(400), 1 + random.below(40));
                texts.push((0..count).map(|_| random.text(words)).collect::<Vec<_>>());
            }
            let build =
                |texts: &Vec<String>| Lexical::build(texts.iter().map(|text| ("", text.as_str()))).unwrap();
            let parts: Vec<Lexical> = texts.iter().map(build).collect();
            for asked in [1, 2, 5, 12] {
                let query = random.text(asked);
                let all = by_definition(&query, &texts);
                for most in [1, 10, 100] {
                    for window_places in [64, 192, WINDOW_PLACES] {
                        let told = format!(
                            "round {round}, the best {most} by {query:?} in windows of {window_places}"
                        );
                        let some = found(&query, &parts, most, window_places, |_| true);
                        check_alike(&some, &best(all.iter().copied(), most), &told);
                        let odd = |chunk: Chunk| chunk.1 % 3 == 1;
                        let expected = best(all.iter().copied().filter(|(chunk, _)| odd(*chunk)), most);
                        check_alike(&found(&query, &parts, most, window_places, odd), &expected, &told);
                    }
                }
            }
        }
    }

    #[test]
    fn of_equal_chunks_the_first_are_found_however_many_parts_and_windows_there_are() {
        let build = |count: usize| Lexical::build((0..count).map(|_| ("", "a red bird"))).unwrap();
        let parts = [build(70), build(130)];
        for window_places in [64, WINDOW_PLACES] {
            let found = found("red birds", &parts, 80, window_places, |_| true);
            let expected: Vec<Chunk> =
                (0..70).map(|place| (0, place)).chain((0..10).map(|place| (1, place))).collect();
            assert_eq!(found.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>(), expected);
            assert!(
                found.iter().all(|(_, score)| *score == found[0].1),
                "the score is the same in all parts"
            );
        }
    }
}
