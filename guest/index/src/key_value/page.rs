//! Pages: chunks of one call of `stage`, packed into values of a bounded size. A page has up to three values, so that a
//! search by words reads no vectors, one by vectors no words, and either only the texts it answers with. What they
//! hold stands in `kv-schemas/README.md`.

use super::codec::{Reader, Writer};
use super::ordinals::Ordinals;
use crate::{Chunk, words};
use std::collections::BTreeMap;

/// A page takes no further chunk that would let one of its values grow beyond this. One chunk alone can be more: at most
/// some 250 KiB.
pub(crate) const PAGE_BYTES_MAX: usize = 64 * 1_024;

/// A page as it is stored.
pub(super) struct Written {
    pub(super) ordinals: Ordinals,
    pub(super) words: Vec<u8>,
    /// None if no chunk has a vector.
    pub(super) vectors: Option<Vec<u8>>,
    pub(super) texts: Vec<u8>,
}

/// What a chunk adds to the page it is put into.
struct Prepared {
    chunk: Chunk,
    /// How often each word stands in it.
    words: BTreeMap<String, u32>,
    /// How many words stand in it.
    length: u64,
}

/// About how much the values of a page take.
#[derive(Clone, Copy, Default)]
struct Sizes {
    words: usize,
    vectors: usize,
    texts: usize,
}

impl Prepared {
    fn new(chunk: Chunk) -> Self {
        let mut words: BTreeMap<String, u32> = BTreeMap::new();
        let mut length = 0;
        for text in [&chunk.heading, &chunk.text] {
            for word in words::of_document(text) {
                *words.entry(word).or_default() += 1;
                length += 1;
            }
        }
        Self { chunk, words, length }
    }

    fn sizes(&self) -> Sizes {
        /// The lengths and numbers beside a word, and beside a text.
        const OVERHEAD: usize = 4;
        Sizes {
            words: self.words.keys().map(|word| word.len() + OVERHEAD).sum(),
            vectors: self.chunk.vector.as_ref().map_or(0, |vector| size_of::<f32>() * vector.len()),
            texts: self.chunk.heading.len() + self.chunk.text.len() + self.chunk.note.len() + 4 * OVERHEAD,
        }
    }
}

impl Sizes {
    fn and(self, other: Self) -> Self {
        Self {
            words: self.words + other.words,
            vectors: self.vectors + other.vectors,
            texts: self.texts + other.texts,
        }
    }

    fn fits(self) -> bool {
        [self.words, self.vectors, self.texts].iter().all(|size| *size <= PAGE_BYTES_MAX)
    }
}

/// Packs chunks into pages. Of two chunks of one number, the later one counts.
pub(super) fn pack(chunks: Vec<Chunk>) -> Vec<Written> {
    let chunks: BTreeMap<u32, Chunk> = chunks.into_iter().map(|chunk| (chunk.ordinal, chunk)).collect();
    let mut pages = Vec::new();
    let mut open: Vec<Prepared> = Vec::new();
    let mut sizes = Sizes::default();
    for chunk in chunks.into_values().map(Prepared::new) {
        let added = chunk.sizes();
        if !open.is_empty() && !sizes.and(added).fits() {
            pages.push(write(&std::mem::take(&mut open)));
            sizes = Sizes::default();
        }
        sizes = sizes.and(added);
        open.push(chunk);
    }
    if !open.is_empty() {
        pages.push(write(&open));
    }
    pages
}

fn write(chunks: &[Prepared]) -> Written {
    Written {
        ordinals: Ordinals::of_sorted(chunks.iter().map(|one| one.chunk.ordinal)),
        words: write_words(chunks),
        vectors: write_vectors(chunks),
        texts: write_texts(chunks),
    }
}

/// The chunks with their lengths in words; then the words in order, each with the chunks it stands in, by their place in
/// the page, and how often.
fn write_words(chunks: &[Prepared]) -> Vec<u8> {
    let mut page = Writer::new();
    page.number(chunks.len() as u64);
    let mut words: BTreeMap<&str, Writer> = BTreeMap::new();
    for (place, one) in chunks.iter().enumerate() {
        page.number(one.chunk.ordinal.into());
        page.number(one.length);
        for (word, times) in &one.words {
            let found = words.entry(word).or_insert_with(Writer::part);
            found.number(place as u64);
            found.number((*times).into());
        }
    }
    page.number(words.len() as u64);
    for (word, found) in words {
        page.bytes(word.as_bytes());
        page.bytes(&found.into_bytes());
    }
    page.into_bytes()
}

/// The dimensions, then each chunk that has a vector with it, of length 1.
fn write_vectors(chunks: &[Prepared]) -> Option<Vec<u8>> {
    let with_vector =
        || chunks.iter().filter_map(|one| Some((one.chunk.ordinal, one.chunk.vector.as_deref()?)));
    let (_, first) = with_vector().next()?;
    let mut page = Writer::new();
    page.number(first.len() as u64);
    page.number(with_vector().count() as u64);
    for (ordinal, vector) in with_vector() {
        page.number(ordinal.into());
        page.vector(&normalized(vector));
    }
    Some(page.into_bytes())
}

fn write_texts(chunks: &[Prepared]) -> Vec<u8> {
    let mut page = Writer::new();
    page.number(chunks.len() as u64);
    for Prepared { chunk, .. } in chunks {
        page.number(chunk.ordinal.into());
        for text in [&chunk.heading, &chunk.text, &chunk.note] {
            page.bytes(text.as_bytes());
        }
    }
    page.into_bytes()
}

/// The vector of the same direction whose length is 1.
pub(super) fn normalized(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|component| f64::from(*component).powi(2)).sum::<f64>().sqrt();
    if length == 0.0 {
        return vector.to_vec();
    }
    vector.iter().map(|component| (f64::from(*component) / length) as f32).collect()
}

/// Hands each chunk of a page of texts on, without its vector. `None` if the page cannot be read.
pub(super) fn read_texts(value: &[u8], mut take: impl FnMut(Chunk)) -> Option<()> {
    let mut page = Reader::new(value)?;
    for _ in 0..page.number()? {
        let ordinal = page.small()?;
        let (heading, text, note) = (page.text()?, page.text()?, page.text()?);
        let [heading, text, note] = [heading, text, note].map(str::to_owned);
        take(Chunk { ordinal, heading, text, note, vector: None });
    }
    page.is_over().then_some(())
}
