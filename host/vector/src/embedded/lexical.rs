//! The words of a part: one immutable segment of tantivy in memory, scored by BM25. What is dead in it is not removed but
//! skipped, until parts are merged.

use crate::analysis::words;
use crate::fusion::Total;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::fastfield::{AliveBitSet, write_alive_bitset};
use tantivy::indexer::merge_filtered_segments;
use tantivy::query::{Bm25StatisticsProvider, BooleanQuery, EnableScoring, Query, TermQuery, Weight};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::store::Compressor;
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    BitSet, Directory as _, Index, IndexSettings, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
};

/// Different words of a query that are looked for; the first ones.
pub(crate) const QUERY_WORDS_MAX: usize = 128;
const FIELD_NAME: &str = "words";
/// What tantivy may use for a segment that is being made; bounds its table of words, not what is put in.
const WRITER_BYTES: usize = 4 * 1024 * 1024;
const FIELD: Field = Field::from_field_id(0);
const META_FILES: [&str; 2] = ["meta.json", ".managed.json"];

/// See the head of this file.
pub(crate) struct Lexical {
    directory: RamDirectory,
    searcher: Searcher,
    index: Index,
    bytes: usize,
    words: u64,
}

fn schema() -> Schema {
    let indexing =
        TextFieldIndexing::default().set_tokenizer("raw").set_index_option(IndexRecordOption::WithFreqs);
    let mut schema = Schema::builder();
    schema.add_text_field(FIELD_NAME, TextOptions::default().set_indexing_options(indexing));
    schema.build()
}

fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::None,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// The words of one chunk as tantivy takes them.
fn document(heading: &str, text: &str) -> TantivyDocument {
    let words = words(heading).into_iter().chain(words(text));
    let tokens = words.enumerate().map(|(position, text)| Token {
        offset_from: 0,
        offset_to: 0,
        position,
        text,
        position_length: 1,
    });
    let mut document = TantivyDocument::default();
    let tokens = tokens.collect();
    document.add_pre_tokenized_text(FIELD, PreTokenizedString { text: String::new(), tokens });
    document
}

impl Lexical {
    /// The words of chunks, each given by its headings and text, in the order of their places.
    pub(crate) fn build<'a>(chunks: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, TantivyError> {
        let directory = RamDirectory::create();
        let builder = Index::builder().schema(schema()).settings(settings());
        let mut writer = builder.single_segment_index_writer(directory.clone(), WRITER_BYTES)?;
        for (heading, text) in chunks {
            writer.add_document(document(heading, text))?;
        }
        Self::open(directory, writer.finalize()?)
    }

    fn open(directory: RamDirectory, index: Index) -> Result<Self, TantivyError> {
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(0);
        let searcher = reader.try_into()?.searcher();
        let words = searcher.total_num_tokens(FIELD)?;
        Ok(Self { bytes: directory.total_mem_usage(), directory, searcher, index, words })
    }

    /// The words of several parts one after another, of each the places that it keeps.
    pub(crate) fn merge(parts: &[(&Self, &[bool])]) -> Result<Self, TantivyError> {
        let (mut segments, mut kept) = (Vec::new(), Vec::new());
        for (part, keep) in parts {
            // What has nothing to keep would be refused.
            if !keep.contains(&true) {
                continue;
            }
            segments.extend(part.index.searchable_segments()?);
            kept.push(alive(keep)?);
        }
        if segments.is_empty() {
            return Self::build(std::iter::empty());
        }
        let directory = RamDirectory::create();
        let index = merge_filtered_segments(&segments, settings(), kept, directory.clone())?;
        Self::open(directory, index)
    }

    /// Its files, by name.
    pub(crate) fn files(&self) -> Result<Vec<(String, Vec<u8>)>, TantivyError> {
        let listed = self.index.directory().list_managed_files();
        let unlisted = META_FILES.into_iter().map(PathBuf::from).filter(|path| !listed.contains(path));
        let unlisted: Vec<PathBuf> = unlisted.collect();
        let mut files = Vec::new();
        for path in unlisted.into_iter().chain(listed) {
            if self.directory.exists(&path)? {
                let name = path.to_string_lossy().into_owned();
                files.push((name, self.directory.atomic_read(&path)?));
            }
        }
        Ok(files)
    }

    /// Of files that [`Lexical::files`] gave.
    pub(crate) fn from_files(files: &[(String, Vec<u8>)]) -> Result<Self, TantivyError> {
        let directory = RamDirectory::create();
        for (name, bytes) in files {
            directory.atomic_write(Path::new(name), bytes)?;
        }
        let index = Index::open(directory.clone())?;
        Self::open(directory, index)
    }

    /// How many chunks it has, dead ones too.
    pub(crate) fn len(&self) -> usize {
        self.searcher.segment_readers().iter().map(|reader| reader.max_doc() as usize).sum()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Which places stay, if not all do.
fn alive(keep: &[bool]) -> Result<Option<AliveBitSet>, TantivyError> {
    if !keep.contains(&false) {
        return Ok(None);
    }
    let places = u32::try_from(keep.len()).unwrap_or(u32::MAX);
    let mut bits = BitSet::with_max_value(places);
    for (place, _) in (0..places).zip(keep).filter(|(_, keep)| **keep) {
        bits.insert(place);
    }
    let mut bytes = Vec::new();
    write_alive_bitset(&bits, &mut bytes)?;
    Ok(Some(AliveBitSet::open(OwnedBytes::new(bytes))))
}

/// What is looked for in all parts, with the same weights, so that scores can be compared.
pub(crate) struct WordQuery {
    weight: Box<dyn Weight>,
}

/// How often words are, in all parts together.
struct Statistics {
    chunks: u64,
    words: u64,
    frequencies: BTreeMap<Vec<u8>, u64>,
}

impl Bm25StatisticsProvider for Statistics {
    fn total_num_tokens(&self, _field: Field) -> tantivy::Result<u64> {
        Ok(self.words)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.chunks)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        Ok(self.frequencies.get(term.serialized_value_bytes()).copied().unwrap_or_default())
    }
}

impl WordQuery {
    /// The words of `text` as they are to be looked for in `parts`; none if none of them is there.
    pub(crate) fn new(text: &str, parts: &[&Lexical]) -> Result<Option<Self>, TantivyError> {
        let Some(first) = parts.first() else { return Ok(None) };
        let mut terms: Vec<Term> = Vec::new();
        let mut statistics = Statistics { chunks: 0, words: 0, frequencies: BTreeMap::new() };
        for word in words(text) {
            let term = Term::from_field_text(FIELD, &word);
            if terms.len() == QUERY_WORDS_MAX || terms.contains(&term) {
                continue;
            }
            let mut frequency = 0;
            for part in parts {
                frequency += part.searcher.doc_freq(&term)?;
            }
            if frequency > 0 {
                statistics.frequencies.insert(term.serialized_value_bytes().to_vec(), frequency);
                terms.push(term);
            }
        }
        if terms.is_empty() {
            return Ok(None);
        }
        statistics.chunks = parts.iter().map(|part| part.len() as u64).sum();
        statistics.words = parts.iter().map(|part| part.words).sum();
        let queries = terms
            .into_iter()
            .map(|term| Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>);
        let query = BooleanQuery::union(queries.collect());
        let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, &first.searcher);
        Ok(Some(Self { weight: query.weight(scoring)? }))
    }

    /// Hands chunks of a part that score more than the threshold to `take`, which returns the new threshold.
    pub(crate) fn each(
        &self,
        part: &Lexical,
        threshold: f32,
        mut take: impl FnMut(u32, f32) -> f32,
    ) -> Result<(), TantivyError> {
        let mut threshold = threshold;
        for reader in part.searcher.segment_readers() {
            self.weight.for_each_pruning(threshold, reader, &mut |place, score| {
                threshold = take(place, score);
                threshold
            })?;
        }
        Ok(())
    }
}

/// The best of what is pushed: the greatest scores, and of equal ones the lesser keys.
#[derive(Debug)]
pub(crate) struct Best<Key> {
    most: usize,
    heap: std::collections::BinaryHeap<Reverse<(Total, Reverse<Key>)>>,
}

impl<Key: Ord + Copy> Best<Key> {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, heap: std::collections::BinaryHeap::with_capacity(most + 1) }
    }

    /// Only what scores more, or as much, can be among the best.
    pub(crate) fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Reverse((score, _))) if self.heap.len() >= self.most => score.0,
            _ => f32::MIN,
        }
    }

    pub(crate) fn push(&mut self, key: Key, score: f32) {
        self.heap.push(Reverse((Total(score), Reverse(key))));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<(Key, f32)> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse((score, Reverse(key)))| (key, score.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(texts: &[&str]) -> Lexical {
        Lexical::build(texts.iter().map(|text| ("", *text))).unwrap()
    }

    fn search(query: &str, parts: &[&Lexical]) -> Vec<((usize, u32), f32)> {
        let mut best = Best::new(10);
        let Some(query) = WordQuery::new(query, parts).unwrap() else { return Vec::new() };
        for (at, part) in parts.iter().enumerate() {
            let threshold = best.threshold();
            let take = |place: u32, score: f32| {
                best.push((at, place), score);
                best.threshold()
            };
            query.each(part, threshold, take).unwrap();
        }
        best.into_sorted()
    }

    fn places(found: &[((usize, u32), f32)]) -> Vec<(usize, u32)> {
        found.iter().map(|(place, _)| *place).collect()
    }

    #[test]
    fn rare_words_weigh_more_and_headings_count() {
        let chunks = [("", "the cat sat"), ("dogs", "the mat"), ("", "the the the"), ("", "")];
        let part = Lexical::build(chunks.into_iter()).unwrap();
        assert_eq!(part.len(), 4);
        let found = search("the dog", &[&part]);
        assert_eq!(found[0].0, (0, 1), "{found:?}");
        assert_eq!(found.len(), 3);
        assert!(search("nothing of it", &[&part]).is_empty());
        assert!(search("…", &[&part]).is_empty());
    }

    #[test]
    fn parts_are_scored_as_if_they_were_one() {
        let texts = ["one fish", "two fish fish", "red bird", "blue fish in the sea", "a bird"];
        let whole = build(&texts);
        let parts = [build(&texts[..2]), build(&texts[2..])];
        let expected: Vec<f32> = search("fish bird", &[&whole]).into_iter().map(|(_, score)| score).collect();
        let found = search("fish bird", &[&parts[0], &parts[1]]);
        let scores: Vec<f32> = found.iter().map(|(_, score)| *score).collect();
        assert_eq!(scores, expected);
        let merged = Lexical::merge(&[(&parts[0], &[true; 2]), (&parts[1], &[true; 3])]).unwrap();
        assert_eq!(search("fish bird", &[&merged]), search("fish bird", &[&whole]));
    }

    #[test]
    fn merging_leaves_out_what_is_not_kept() {
        let parts = [build(&["a fish", "b fish"]), build(&["c fish", "d fish"]), build(&["e fish"])];
        let merged =
            Lexical::merge(&[(&parts[0], &[false, true]), (&parts[1], &[true, true]), (&parts[2], &[false])]);
        let merged = merged.unwrap();
        assert_eq!(merged.len(), 3);
        assert_eq!(places(&search("b", &[&merged])), [(0, 0)]);
        assert_eq!(places(&search("d", &[&merged])), [(0, 2)]);
        assert!(search("e", &[&merged]).is_empty());
        let empty = Lexical::merge(&[(&parts[2], &[false])]).unwrap();
        assert_eq!(empty.len(), 0);
        assert!(search("fish", &[&empty]).is_empty());
    }

    #[test]
    fn files_make_the_same_index_again() {
        let part = build(&["one fish", "two birds", "三条鱼"]);
        let again = Lexical::from_files(&part.files().unwrap()).unwrap();
        for query in ["fish", "bird", "鱼", "one two"] {
            assert_eq!(search(query, &[&again]), search(query, &[&part]), "{query}");
        }
        assert!(Lexical::from_files(&[]).is_err());
    }

    #[test]
    fn the_best_are_kept_in_order() {
        let mut best = Best::new(2);
        assert_eq!(best.threshold(), f32::MIN);
        for (key, score) in [(3, 1.0), (1, 2.0), (2, 1.0), (9, 0.5)] {
            best.push(key, score);
        }
        assert_eq!(best.threshold(), 1.0);
        assert_eq!(best.into_sorted(), [(1, 2.0), (2, 1.0)]);
    }
}
