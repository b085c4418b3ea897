//! Vectors in the store, by the hash of their text.
//!
//! A shelf has a fixed number of slots, so it is bounded by the keys there are. A text's hash leads to a set of four slots,
//! in any of which its vector may lie; where all four hold others, one drawn at random makes room. So nothing has to be
//! counted or swept, a lookup is one read, and while a shelf is half full, about one vector in thirty is lost to that.

use super::recent::TextHash;
use super::vector::normalised;
use crate::hash::{hash, number};
use crate::key;
use crate::settings::EmbeddingModel;
use std::collections::HashSet;
use waggle_conversation::{Store, StoreError};
use waggle_index::bounds::DIMENSIONS_MAX;

/// In how many slots a text's vector may lie.
const WAYS: u64 = 4;

/// Vectors of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shelf {
    pub(super) name: &'static str,
    /// How many slots it has; 0: nothing is kept.
    pub(super) entries_max: u64,
}

/// What stands for a text of a model.
pub(super) fn text_hash(model: &EmbeddingModel, text: &str) -> TextHash {
    let dimensions = model.dimensions.unwrap_or(0).to_le_bytes();
    hash(&[model.name.as_bytes(), &dimensions, text.as_bytes()])
}

impl Shelf {
    /// The slots of a text.
    fn keys(self, hash: &TextHash) -> Vec<String> {
        let Some(sets) = (self.entries_max > 0).then(|| self.entries_max.div_ceil(WAYS)) else {
            return Vec::new();
        };
        let first = number(hash) % sets * WAYS;
        (first..first + WAYS).map(|slot| key::embedding(self.name, slot)).collect()
    }
}

/// A text that is looked for.
struct Wanted {
    hash: TextHash,
    vector: Option<Vec<f32>>,
    /// Its slots that hold nothing.
    free: Vec<String>,
    /// All of its slots.
    keys: Vec<String>,
}

/// Texts that are looked for, each with what was found.
pub(super) struct Lookup {
    texts: Vec<Wanted>,
}

/// The vector that a value holds, if it is that of the text: behind the text's hash its numbers, four bytes each, the least
/// significant first.
fn read(hash: &TextHash, value: &[u8]) -> Option<Vec<f32>> {
    let (text, vector) = value.split_first_chunk::<32>()?;
    let vector = floats(vector).filter(|_| text == hash)?;
    normalised(vector).ok()
}

/// The numbers that bytes hold; `None` when they hold no numbers, or too many.
pub(super) fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    let is_vector = rest.is_empty() && numbers.len() <= DIMENSIONS_MAX as usize;
    is_vector.then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

fn written(hash: &TextHash, vector: &[f32]) -> Vec<u8> {
    hash.iter().copied().chain(vector.iter().flat_map(|number| number.to_le_bytes())).collect()
}

impl Lookup {
    fn new(shelf: Shelf, hashes: Vec<TextHash>) -> Self {
        let wanted = |hash| Wanted { hash, vector: None, free: Vec::new(), keys: shelf.keys(&hash) };
        Self { texts: hashes.into_iter().map(wanted).collect() }
    }

    /// Looks for texts.
    ///
    /// # Errors
    /// The store's, with a lookup that has found nothing.
    pub(super) async fn read<S: Store>(
        store: &S,
        shelf: Shelf,
        hashes: Vec<TextHash>,
    ) -> Result<Self, (Self, StoreError)> {
        let mut lookup = Self::new(shelf, hashes);
        let keys: Vec<String> = lookup.texts.iter().flat_map(|text| text.keys.clone()).collect();
        if keys.is_empty() {
            return Ok(lookup);
        }
        let values = match store.get_many(keys).await {
            Ok(values) => values,
            Err(error) => return Err((lookup, error)),
        };
        let mut values = values.into_iter();
        for text in &mut lookup.texts {
            for key in &text.keys {
                match values.next().flatten() {
                    None => text.free.push(key.clone()),
                    Some(value) => text.vector = text.vector.take().or_else(|| read(&text.hash, &value)),
                }
            }
        }
        Ok(lookup)
    }

    /// The places of texts that were not found, each text once.
    pub(super) fn missing(&self) -> Vec<usize> {
        let mut seen = HashSet::new();
        let missing = self.texts.iter().enumerate().filter(|(_, text)| text.vector.is_none());
        missing.filter(|(_, text)| seen.insert(text.hash)).map(|(place, _)| place).collect()
    }

    /// Takes the vectors of the texts at `places`. Returns what is to be kept of them.
    pub(super) fn fill(
        &mut self,
        places: &[usize],
        vectors: Vec<Vec<f32>>,
        random: u128,
    ) -> Vec<(String, Vec<u8>)> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        let mut taken = HashSet::new();
        for ((turn, place), vector) in places.iter().enumerate().zip(vectors) {
            let Some(hash) = self.texts.get(*place).map(|text| text.hash) else { continue };
            if let Some(key) = self.slot(*place, &taken, random.rotate_right(2 * (turn as u32 % 64))) {
                pairs.push((key.clone(), written(&hash, &vector)));
                taken.insert(key);
            }
            for text in self.texts.iter_mut().filter(|text| text.hash == hash) {
                text.vector = Some(vector.clone());
            }
        }
        pairs
    }

    /// Where the text's vector goes: into a slot that is free, else into one that was not `taken` just now.
    fn slot(&self, place: usize, taken: &HashSet<String>, random: u128) -> Option<String> {
        let text = self.texts.get(place)?;
        let free = text.free.iter().find(|key| !taken.contains(*key));
        let drawn = usize::try_from(random % u128::from(WAYS)).ok().and_then(|way| text.keys.get(way));
        free.or(drawn.filter(|key| !taken.contains(*key))).cloned()
    }

    /// The vectors, in the order of their texts. All of them are there when all that were missing were filled.
    pub(super) fn into_vectors(self) -> Vec<Vec<f32>> {
        self.texts.into_iter().map(|text| text.vector.unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use waggle_conversation::memory::MemoryStore;

    const SHELF: Shelf = Shelf { name: "document", entries_max: 64 };

    fn hashes(texts: &[&str]) -> Vec<TextHash> {
        let model = EmbeddingModel { name: "m".to_owned(), dimensions: None };
        texts.iter().map(|text| text_hash(&model, text)).collect()
    }

    fn look(store: &MemoryStore, shelf: Shelf, texts: &[&str]) -> Lookup {
        block_on(Lookup::read(store, shelf, hashes(texts))).unwrap_or_else(|(lookup, _)| lookup)
    }

    fn keep(store: &MemoryStore, shelf: Shelf, text: &str, vector: &[f32]) {
        let mut lookup = look(store, shelf, &[text]);
        let pairs = lookup.fill(&[0], vec![vector.to_vec()], 5);
        block_on(store.set_many(pairs)).unwrap();
    }

    #[test]
    fn what_was_kept_is_found_by_its_text() {
        let store = MemoryStore::default();
        keep(&store, SHELF, "a", &[0.6, 0.8]);
        let lookup = look(&store, SHELF, &["a", "b", "b"]);
        assert_eq!(lookup.missing(), [1], "each text is missing once");
        assert_eq!(lookup.into_vectors(), [vec![0.6, 0.8], vec![], vec![]]);
        let other = Shelf { name: "query", ..SHELF };
        assert_eq!(look(&store, other, &["a"]).missing(), [0]);
    }

    #[test]
    fn models_and_dimensions_are_told_apart() {
        let model = |name: &str, dimensions| EmbeddingModel { name: name.to_owned(), dimensions };
        let one = text_hash(&model("m", None), "a");
        assert_ne!(one, text_hash(&model("n", None), "a"));
        assert_ne!(one, text_hash(&model("m", Some(4)), "a"));
        assert_ne!(one, text_hash(&model("ma", None), ""));
    }

    #[test]
    fn a_shelf_has_no_more_keys_than_slots() {
        let store = MemoryStore::default();
        for number in 0..500 {
            keep(&store, SHELF, &format!("text {number}"), &[1.0]);
        }
        assert_eq!(store.dump().len(), 64);
        let last = look(&store, SHELF, &["text 499"]);
        assert!(last.missing().is_empty(), "the newest is there");
    }

    #[test]
    fn a_shelf_without_slots_keeps_nothing() {
        let store = MemoryStore::default();
        let shelf = Shelf { entries_max: 0, ..SHELF };
        let mut lookup = look(&store, shelf, &["a"]);
        assert!(lookup.fill(&[0], vec![vec![1.0]], 0).is_empty());
        assert_eq!(lookup.into_vectors(), [vec![1.0]]);
        assert!(store.operations().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let store = MemoryStore::default();
        keep(&store, SHELF, "a", &[0.6, 0.8]);
        let key = store.dump().into_keys().next().unwrap();
        let hash = hashes(&["a"])[0];
        let other = hashes(&["b"])[0];
        for value in [
            Vec::new(),
            hash.to_vec(),
            [hash.as_slice(), &[1, 2, 3]].concat(),
            [hash.as_slice(), &[0; 8]].concat(),
            [hash.as_slice(), &f32::NAN.to_le_bytes()].concat(),
            written(&other, &[1.0]),
            written(&hash, &vec![1.0; DIMENSIONS_MAX as usize + 1]),
        ] {
            store.put(&key, &value);
            assert_eq!(look(&store, SHELF, &["a"]).missing(), [0], "{value:?}");
        }
    }

    #[test]
    fn texts_of_one_batch_do_not_take_each_others_slot() {
        let store = MemoryStore::default();
        let shelf = Shelf { entries_max: 4, ..SHELF };
        let mut lookup = look(&store, shelf, &["a", "b", "c", "d"]);
        let pairs = lookup.fill(&[0, 1, 2, 3], vec![vec![1.0]; 4], 0);
        let keys: HashSet<&String> = pairs.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 4);
    }
}
