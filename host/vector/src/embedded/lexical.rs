//! The words of a part: one immutable segment of tantivy in memory. What is dead in it is not removed but skipped, until
//! parts are merged.

use crate::analysis::words;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::fastfield::{AliveBitSet, write_alive_bitset};
use tantivy::fieldnorm::FieldNormReader;
use tantivy::indexer::merge_filtered_segments;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::store::Compressor;
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    BitSet, Directory as _, Index, IndexSettings, InvertedIndexReader, ReloadPolicy, TantivyDocument,
    TantivyError,
};

const FIELD_NAME: &str = "words";
/// What tantivy may use for a segment that is being made; bounds its table of words, not what is put in.
const WRITER_BYTES: usize = 4 * 1024 * 1024;
/// The only field.
pub(crate) const FIELD: Field = Field::from_field_id(0);
/// Of a chunk that has a word, it is kept how often.
pub(crate) const INDEXED: IndexRecordOption = IndexRecordOption::WithFreqs;
const META_FILES: [&str; 2] = ["meta.json", ".managed.json"];

/// See the head of this file.
pub(crate) struct Lexical {
    directory: RamDirectory,
    index: Index,
    postings: Arc<InvertedIndexReader>,
    lengths: Box<[u8]>,
    bytes: usize,
}

fn schema() -> Schema {
    let indexing = TextFieldIndexing::default().set_tokenizer("raw").set_index_option(INDEXED);
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
        let (postings, lengths) = match searcher.segment_readers() {
            [] => (Arc::new(InvertedIndexReader::empty(INDEXED)), FieldNormReader::constant(0, 0)),
            [segment] => (segment.inverted_index(FIELD)?, segment.get_fieldnorms_reader(FIELD)?),
            _ => return Err(TantivyError::InternalError("a part of several segments".to_owned())),
        };
        let lengths: Box<[u8]> = (0..lengths.num_docs()).map(|place| lengths.fieldnorm_id(place)).collect();
        Ok(Self { bytes: directory.total_mem_usage() + lengths.len(), directory, index, postings, lengths })
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
        self.lengths.len()
    }

    /// How many words its chunks have together.
    pub(crate) fn words(&self) -> u64 {
        self.postings.total_num_tokens()
    }

    /// The chunks that have a word, by words.
    pub(crate) fn postings(&self) -> &InvertedIndexReader {
        &self.postings
    }

    /// How many words each chunk has, about: the number of a length as [`FieldNormReader::id_to_fieldnorm`] knows it.
    pub(crate) fn lengths(&self) -> &[u8] {
        &self.lengths
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

#[cfg(test)]
mod tests {
    use super::super::best::Best;
    use super::super::scoring::WordQuery;
    use super::*;

    fn build(texts: &[&str]) -> Lexical {
        Lexical::build(texts.iter().map(|text| ("", *text))).unwrap()
    }

    fn search(query: &str, parts: &[&Lexical]) -> Vec<((usize, u32), f32)> {
        let mut best = Best::new(10);
        let Some(query) = WordQuery::new(query, parts).unwrap() else { return Vec::new() };
        let take = |part: usize, place: u32, score: f32| {
            best.push((part, place), score);
            best.threshold()
        };
        query.each(take).unwrap();
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
}
