//! What chunks score by the words of a query, as far as they can be among the best; exact.
//!
//! Scores are by BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009), with the same
//! weights in all parts, so that they can be compared. What cannot be among the best is left out as MaxScore does (Turtle and
//! Flood, Query Evaluation: Strategies and Optimizations, 1995), in windows of places whose scores fit into the cache. Words
//! that could lift a chunk over the threshold by themselves are added up for a whole window, one word after the other; the
//! others, which are the frequent ones, are looked up for those chunks only that can still get there.

use super::lexical::{FIELD, INDEXED, Lexical};
use crate::analysis::words;
use std::collections::BTreeSet;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::{TERMINATED, TantivyError, Term};

/// Different words of a query that are looked for; the first ones.
const QUERY_WORDS_MAX: usize = 128;
/// How soon a word that is repeated in a chunk adds nothing more.
const SATURATION: f32 = 1.2;
/// How much the length of a chunk counts.
const LENGTH_SHARE: f32 = 0.75;
/// Places of the first window, which is scored without a threshold; each is twice as large as the one before it.
const FIRST_WINDOW_PLACES: usize = 512;
const WINDOW_PLACES_MAX: usize = 8_192;
/// Places that are looked through together, if there is a score among them.
const GROUP_PLACES: usize = 64;
/// Chunks that have a word are read in blocks of so many.
const BLOCK_CHUNKS: usize = 128;
/// To look a word up for a candidate takes about as long as to add up what it scores in so many chunks; measured.
const LOOKED_UP_COST: usize = 12;
/// Sums of [`QUERY_WORDS_MAX`] numbers in different orders, or of numbers and of their bounds, are rounded differently, but
/// never so far apart.
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

    #[inline]
    fn of(&self, length: u8) -> f32 {
        self.0[usize::from(length)]
    }
}

/// What a word scores at most: the rarer it is, the more.
fn weight(chunks: u64, chunks_with_word: u64) -> f32 {
    let (all, with_word) = (chunks as f64, chunks_with_word as f64);
    let rarity = ((all - with_word + 0.5) / (with_word + 0.5)).ln_1p();
    rarity as f32 * (1.0 + SATURATION)
}

/// What a word scores in a chunk; never more than its weight.
#[inline]
fn score(weight: f32, frequency: u32, norm: f32) -> f32 {
    // Processors convert signed numbers many at a time; no chunk has a word two thousand million times.
    let frequency = frequency as i32 as f32;
    weight * (frequency / (frequency + norm))
}

/// How large the windows of a search are.
#[derive(Clone, Copy, Debug)]
struct Windows {
    first: usize,
    /// At most [`WINDOW_PLACES_MAX`].
    most: usize,
}

/// The words of a query as they are looked for in parts.
pub(crate) struct WordQuery<'a> {
    norms: Norms,
    parts: Vec<QueriedPart<'a>>,
}

struct QueriedPart<'a> {
    lexical: &'a Lexical,
    /// Those of the words that it has, with their weights.
    words: Vec<(f32, TermInfo)>,
}

impl<'a> WordQuery<'a> {
    /// The words of `text` as they are to be looked for in `parts`; none if none of them is there.
    pub(crate) fn new(text: &str, parts: &[&'a Lexical]) -> Result<Option<Self>, TantivyError> {
        let chunks = parts.iter().map(|part| part.len() as u64).sum();
        let mut seen = BTreeSet::new();
        let mut found: Vec<(f32, Vec<Option<TermInfo>>)> = Vec::new();
        for word in words(text) {
            if found.len() == QUERY_WORDS_MAX {
                break;
            }
            let term = Term::from_field_text(FIELD, &word);
            if !seen.insert(word) {
                continue;
            }
            let infos = parts.iter().map(|part| part.postings().get_term_info(&term));
            let infos: Vec<_> = infos.collect::<Result<_, _>>()?;
            let chunks_with_word = infos.iter().flatten().map(|info| u64::from(info.doc_freq)).sum();
            if chunks_with_word > 0 {
                found.push((weight(chunks, chunks_with_word), infos));
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        // In all parts in the same order, so that sums are rounded in the same way: equal chunks have equal scores.
        found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let queried = parts.iter().map(|lexical| QueriedPart { lexical, words: Vec::new() });
        let mut queried: Vec<_> = queried.collect();
        for (weight, infos) in found {
            for (part, info) in queried.iter_mut().zip(infos) {
                part.words.extend(info.map(|info| (weight, info)));
            }
        }
        let words: u64 = parts.iter().map(|part| part.words()).sum();
        Ok(Some(Self { norms: Norms::new(words as f32 / chunks as f32), parts: queried }))
    }

    /// Hands chunks that score no less than the threshold to `take`, each by the number of its part and by its place in it;
    /// `take` returns the threshold from then on, which never falls. Of equal scores it is for `take` to say which is better,
    /// so none of them is left out.
    pub(crate) fn each(&self, take: impl FnMut(usize, u32, f32) -> f32) -> Result<(), TantivyError> {
        self.each_in_windows(Windows { first: FIRST_WINDOW_PLACES, most: WINDOW_PLACES_MAX }, take)
    }

    fn each_in_windows(
        &self,
        windows: Windows,
        mut take: impl FnMut(usize, u32, f32) -> f32,
    ) -> Result<(), TantivyError> {
        let mut threshold = f32::MIN;
        let mut window = Window::new();
        let mut places = windows.first;
        for (number, part) in self.parts.iter().enumerate() {
            let mut search = PartSearch::new(part, &self.norms)?;
            while search.advance(&mut window, places, threshold) {
                for candidate in &window.candidates {
                    if candidate.score >= threshold {
                        threshold = take(number, candidate.place, candidate.score);
                    }
                }
                places = (places * 2).min(windows.most);
            }
        }
        Ok(())
    }
}

/// A chunk that can still be among the best.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    place: u32,
    score: f32,
}

/// Places of a part whose scores are added up together.
struct Window {
    first: u32,
    /// By place from the first on; 0 where none of the words was.
    scores: Box<[f32; WINDOW_PLACES_MAX]>,
    /// Of each group of places, whether one of them may have a score.
    is_touched: [bool; WINDOW_PLACES_MAX / GROUP_PLACES],
    /// In the order of their places.
    candidates: Vec<Candidate>,
}

impl Window {
    fn new() -> Self {
        Self {
            first: 0,
            scores: Box::new([0.0; WINDOW_PLACES_MAX]),
            is_touched: [false; WINDOW_PLACES_MAX / GROUP_PLACES],
            candidates: Vec::new(),
        }
    }

    /// Adds what a word scores in chunks of the window, no more than a block of them, by its frequencies in them. `lengths`
    /// are those of the window's chunks.
    fn add(&mut self, places: &[u32], frequencies: &[u32], weight: f32, lengths: &[u8], norms: &Norms) {
        // In three loops: the one with the division can then be done for several chunks at a time.
        let mut block = [0.0; BLOCK_CHUNKS];
        for (norm, place) in block.iter_mut().zip(places) {
            *norm = norms.of(lengths[(place - self.first) as usize]);
        }
        for (value, frequency) in block.iter_mut().zip(frequencies) {
            let norm = *value;
            *value = score(weight, *frequency, norm);
        }
        for (score, place) in block.iter().zip(places) {
            // The remainder changes nothing; with it the bounds need not be checked.
            let at = (place - self.first) as usize % WINDOW_PLACES_MAX;
            self.scores[at] += score;
            self.is_touched[at / GROUP_PLACES] = true;
        }
    }

    /// How many chunks score as much.
    fn count(&self, least: f32) -> usize {
        let groups = self.scores.as_chunks::<GROUP_PLACES>().0.iter().zip(&self.is_touched);
        let touched = groups.filter(|(_, is_touched)| **is_touched);
        let counts =
            touched.map(|(scores, _)| scores.iter().map(|score| i32::from(*score >= least)).sum::<i32>());
        counts.sum::<i32>() as usize
    }

    /// Those that score as much become candidates; all scores are forgotten.
    fn collect(&mut self, least: f32) {
        self.candidates.clear();
        let groups = self.scores.as_chunks_mut::<GROUP_PLACES>().0.iter_mut().zip(&mut self.is_touched);
        for (first, (scores, is_touched)) in (self.first..).step_by(GROUP_PLACES).zip(groups) {
            if !*is_touched {
                continue;
            }
            *is_touched = false;
            // Eight are compared at once, and mostly passed over.
            for (first, scores) in (first..).step_by(8).zip(scores.as_chunks::<8>().0) {
                if scores.iter().fold(false, |any, score| any | (*score >= least)) {
                    let candidates =
                        (first..).zip(scores).map(|(place, score)| Candidate { place, score: *score });
                    self.candidates.extend(candidates.filter(|candidate| candidate.score >= least));
                }
            }
            scores.fill(0.0);
        }
    }
}

/// Where a search is among the chunks of a part that have a word.
struct Cursor {
    postings: BlockSegmentPostings,
    /// In the block that is read, the next one to be added.
    at: usize,
    weight: f32,
    /// What this word and those after it score at most.
    rest: f32,
}

impl Cursor {
    fn next(&self) -> u32 {
        self.postings.docs().get(self.at).copied().unwrap_or(TERMINATED)
    }

    /// About how many of some places have the word, of so many that the part has.
    fn expected(&self, places: usize, all: usize) -> usize {
        (u64::from(self.postings.doc_freq()) * places as u64).div_ceil(all as u64) as usize
    }

    /// Goes to the first chunk that is not before a place.
    fn seek(&mut self, place: u32) {
        self.at = self.postings.seek(place);
    }

    /// Adds what the word scores in the chunks of a window, of which the next one is the first.
    fn add(&mut self, window: &mut Window, lengths: &[u8], norms: &Norms) {
        let end = window.first + lengths.len() as u32;
        loop {
            let places = self.postings.docs().get(self.at..).unwrap_or_default();
            let frequencies = self.postings.freqs().get(self.at..).unwrap_or_default();
            let is_whole = places.last().is_some_and(|last| *last < end);
            let count = if is_whole { places.len() } else { places.partition_point(|place| *place < end) };
            window.add(&places[..count], frequencies, self.weight, lengths, norms);
            if !is_whole {
                self.at += count;
                return;
            }
            self.postings.advance();
            self.at = 0;
        }
    }

    /// Adds what the word scores in the candidates, and leaves out those that do not score as much then. `lengths` are those
    /// of all chunks.
    fn look_up(&mut self, candidates: &mut Vec<Candidate>, least: f32, lengths: &[u8], norms: &Norms) {
        candidates.retain_mut(|candidate| {
            let at = self.postings.seek(candidate.place);
            if self.postings.doc(at) == candidate.place {
                let norm = norms.of(lengths[candidate.place as usize]);
                candidate.score += score(self.weight, self.postings.freq(at), norm);
            }
            candidate.score >= least
        });
    }
}

/// A search in one part.
struct PartSearch<'a> {
    lengths: &'a [u8],
    norms: &'a Norms,
    /// By weight, the greatest first.
    cursors: Vec<Cursor>,
    /// With the words after so many alone, no chunk is among the best.
    needed: usize,
}

impl<'a> PartSearch<'a> {
    fn new(part: &QueriedPart<'a>, norms: &'a Norms) -> Result<Self, TantivyError> {
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
        Ok(Self { lengths: part.lexical.lengths(), norms, needed: cursors.len(), cursors })
    }

    /// What the words after so many score at most, all together.
    fn rest(&self, words: usize) -> f32 {
        self.cursors.get(words).map_or(0.0, |cursor| cursor.rest)
    }

    /// Finds the candidates of the next window, of so many places, with their scores; whether there was one. All that are
    /// left out score less than the threshold.
    fn advance(&mut self, window: &mut Window, places: usize, threshold: f32) -> bool {
        let least = threshold * ROUNDED_SHARE;
        while self.needed > 0 && self.rest(self.needed - 1) < least {
            self.needed -= 1;
        }
        window.first = self.cursors[..self.needed].iter().map(Cursor::next).min().unwrap_or(TERMINATED);
        let end = self.lengths.len().min(window.first as usize + places);
        // There are none where all words have come to their end.
        let lengths = self.lengths.get(window.first as usize..end).unwrap_or_default();
        if lengths.is_empty() {
            return false;
        }
        for cursor in &mut self.cursors[..self.needed] {
            cursor.add(window, lengths, self.norms);
        }
        // What was not touched is no candidate, even where there is no threshold yet.
        let least_with = |rest: f32| (least - rest).max(f32::MIN_POSITIVE);
        let mut added = self.needed;
        while added < self.cursors.len() {
            let candidates = window.count(least_with(self.rest(added)));
            let cursor = &mut self.cursors[added];
            if cursor.expected(lengths.len(), self.lengths.len()) > candidates * LOOKED_UP_COST {
                break;
            }
            cursor.seek(window.first);
            cursor.add(window, lengths, self.norms);
            added += 1;
        }
        window.collect(least_with(self.rest(added)));
        for at in added..self.cursors.len() {
            let least = least - self.rest(at + 1);
            self.cursors[at].look_up(&mut window.candidates, least, self.lengths, self.norms);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::best::Best;
    use super::*;
    use std::path::Path;
    use tantivy::query::{BooleanQuery, EnableScoring, Query, TermQuery};
    use tantivy::{Directory as _, Index, directory::RamDirectory};

    const USUAL: Windows = Windows { first: FIRST_WINDOW_PLACES, most: WINDOW_PLACES_MAX };

    /// SplitMix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }

        /// The number of a word, which is the rarer the greater it is, as Zipf found.
        fn word(&mut self, words: usize) -> usize {
            let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
            (words as f64).powf(share) as usize
        }

        fn words(&mut self, words: usize, length: usize) -> Vec<usize> {
            (0..length).map(|_| self.word(words)).collect()
        }
    }

    fn text(words: &[usize]) -> String {
        words.iter().map(|word| format!("w{word} ")).collect()
    }

    /// Parts, of each the chunks, of each the words.
    struct Collection {
        chunks: Vec<Vec<Vec<usize>>>,
        parts: Vec<Lexical>,
        /// By part and place: its key, if it may be found.
        keys: Vec<Vec<Option<usize>>>,
    }

    impl Collection {
        fn new(random: &mut Random, sizes: &[usize], words: usize, length_max: usize) -> Self {
            let mut chunk = |_| {
                let length = random.below(length_max + 1);
                random.words(words, length)
            };
            let chunks: Vec<Vec<Vec<usize>>> =
                sizes.iter().map(|size| (0..*size).map(&mut chunk).collect()).collect();
            let build = |chunks: &Vec<Vec<usize>>| {
                let texts: Vec<String> = chunks.iter().map(|words| text(words)).collect();
                Lexical::build(texts.iter().map(|text| ("", text.as_str()))).unwrap()
            };
            let parts = chunks.iter().map(build).collect();
            // Neither in the order of places nor of parts, and one of four is dead.
            let mut keys: Vec<usize> = (0..sizes.iter().sum()).collect();
            (1..keys.len()).for_each(|at| keys.swap(at, random.below(at + 1)));
            let mut keys = keys.into_iter().map(|key| (random.below(4) > 0).then_some(key));
            let keys = sizes.iter().map(|size| keys.by_ref().take(*size).collect()).collect();
            Self { chunks, parts, keys }
        }

        fn parts(&self) -> Vec<&Lexical> {
            self.parts.iter().collect()
        }

        /// The best by looking at every chunk, best first.
        fn expected(&self, query: &[usize], most: usize) -> Vec<(usize, f32)> {
            let all: Vec<&Vec<usize>> = self.chunks.iter().flatten().collect();
            let norms =
                Norms::new(all.iter().map(|chunk| chunk.len()).sum::<usize>() as f32 / all.len() as f32);
            let mut weights: Vec<(f32, usize)> = Vec::new();
            for word in query {
                let with_word = all.iter().filter(|chunk| chunk.contains(word)).count() as u64;
                if with_word > 0 && weights.iter().all(|(_, other)| other != word) {
                    weights.push((weight(all.len() as u64, with_word), *word));
                }
            }
            weights.sort_by(|(one, _), (other, _)| other.total_cmp(one));
            let mut scores = Vec::new();
            for (chunk, key) in all.iter().zip(self.keys.iter().flatten()) {
                let norm = norms.of(FieldNormReader::fieldnorm_to_id(chunk.len() as u32));
                let frequency = |word: usize| chunk.iter().filter(|other| **other == word).count() as u32;
                let parts = weights.iter().map(|(weight, word)| score(*weight, frequency(*word), norm));
                let sum: f32 = parts.sum();
                scores.extend(key.filter(|_| sum > 0.0).map(|key| (key, sum)));
            }
            scores
                .sort_by(|(key, score), (other_key, other)| other.total_cmp(score).then(key.cmp(other_key)));
            scores.truncate(most);
            scores
        }

        /// The best as they are found, best first, and how many were handed on meanwhile.
        fn found(&self, query: &[usize], most: usize, windows: Windows) -> (Vec<(usize, f32)>, usize) {
            let (mut best, mut handed) = (Best::new(most), 0);
            let take = |part: usize, place: u32, score: f32| {
                assert!(score >= best.threshold());
                handed += 1;
                if let Some(key) = self.keys[part][place as usize].filter(|key| best.admits(*key, score)) {
                    best.push(key, score);
                }
                best.threshold()
            };
            if let Some(query) = WordQuery::new(&text(query), &self.parts()).unwrap() {
                query.each_in_windows(windows, take).unwrap();
            }
            (best.into_sorted(), handed)
        }
    }

    #[test]
    fn the_best_are_those_of_looking_at_every_chunk() {
        for seed in 0..40 {
            let mut random = Random(seed);
            let sizes: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(700)).collect();
            let (words, length_max) = (1 + random.below(400), random.below(30));
            let collection = Collection::new(&mut random, &sizes, words, length_max);
            for _ in 0..12 {
                let length = 1 + random.below(12);
                let query = random.words(words + 5, length);
                let most = [1, 2, 10, 50, 2_000][random.below(5)];
                let windows = [(1, 1), (1, 5), (7, 7), (3, 64), (100, 130), (512, 8_192)][random.below(6)];
                let windows = Windows { first: windows.0, most: windows.1 };
                let expected = collection.expected(&query, most);
                let (found, _) = collection.found(&query, most, windows);
                assert_eq!(found, expected, "seed {seed}, {query:?}, {most}, {windows:?}");
            }
        }
    }

    #[test]
    fn parts_of_several_usual_windows_are_searched_as_small_ones() {
        let mut random = Random(1);
        let collection = Collection::new(&mut random, &[2 * WINDOW_PLACES_MAX + 999, 40, 9_000], 3_000, 12);
        for length in 1..=12 {
            let query = random.words(3_000, length);
            let (found, handed) = collection.found(&query, 50, USUAL);
            assert_eq!(found, collection.expected(&query, 50), "{query:?}");
            assert!(handed < 2_500, "{query:?}: {handed}");
        }
    }

    #[test]
    fn words_score_as_tantivy_scores_them() {
        let mut random = Random(2);
        let collection = Collection::new(&mut random, &[2_000], 200, 300);
        let directory = RamDirectory::create();
        for (name, bytes) in collection.parts[0].files().unwrap() {
            directory.atomic_write(Path::new(&name), &bytes).unwrap();
        }
        let searcher = Index::open(directory).unwrap().reader().unwrap().searcher();
        for query in [vec![7], vec![1, 2, 3, 50], random.words(200, 12)] {
            let terms = query.iter().collect::<BTreeSet<_>>().into_iter();
            let terms = terms.map(|word| Term::from_field_text(FIELD, &format!("w{word}")));
            let terms = terms.map(|term| Box::new(TermQuery::new(term, INDEXED)) as Box<dyn Query>);
            let weight = BooleanQuery::union(terms.collect());
            let weight = weight.weight(EnableScoring::enabled_from_searcher(&searcher)).unwrap();
            let mut expected = Vec::new();
            let mut push = |place, score| expected.push((place, score));
            weight.for_each(searcher.segment_reader(0), &mut push).unwrap();
            let mut found = Vec::new();
            let words = WordQuery::new(&text(&query), &collection.parts()).unwrap().unwrap();
            let take = |_part, place, score| {
                found.push((place, score));
                f32::MIN
            };
            words.each(take).unwrap();
            assert_eq!(found.len(), expected.len(), "{query:?}");
            for ((place, score), (expected_place, expected)) in found.into_iter().zip(expected) {
                assert_eq!(place, expected_place);
                assert!((score - expected).abs() < 1e-5 * expected, "{query:?} {place}: {score} {expected}");
            }
        }
    }

    #[test]
    fn frequent_words_alone_bring_no_candidates_over_the_threshold() {
        let text = |place: usize| if [700, 705, 1_900].contains(&place) { "w1 w2" } else { "w1" };
        let part = Lexical::build((0..2_000).map(|place| ("", text(place)))).unwrap();
        let query = WordQuery::new("w1 w2", &[&part]).unwrap().unwrap();
        let mut search = PartSearch::new(&query.parts[0], &query.norms).unwrap();
        let (mut window, frequent) = (Window::new(), weight(2_000, 2_000));
        let mut found = Vec::new();
        while search.advance(&mut window, 64, frequent * 1.01) {
            let places = window.candidates.iter().map(|candidate| candidate.place);
            found.push((window.first, places.collect::<Vec<_>>()));
        }
        assert_eq!(found, [(700, vec![700, 705]), (1_900, vec![1_900])]);
        let mut search = PartSearch::new(&query.parts[0], &query.norms).unwrap();
        let both = frequent + weight(2_000, 3);
        assert!(!search.advance(&mut window, 64, both * 1.01));
    }

    #[test]
    fn the_first_words_of_a_long_query_are_looked_for() {
        let chunks: Vec<String> = (0..QUERY_WORDS_MAX + 20).map(|word| format!("w{word}")).collect();
        let part = Lexical::build(chunks.iter().map(|text| ("", text.as_str()))).unwrap();
        // Words that are repeated or nowhere do not count.
        let query = format!("w0 missing w0 {}", chunks.join(" "));
        let mut found = Vec::new();
        let take = |_part, place, _score| {
            found.push(place as usize);
            f32::MIN
        };
        WordQuery::new(&query, &[&part]).unwrap().unwrap().each(take).unwrap();
        assert_eq!(found, (0..QUERY_WORDS_MAX).collect::<Vec<_>>());
    }
}
