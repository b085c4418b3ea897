//! Vectors of texts: from the instance's memory, from the store, or from the embedding model, in this order.
//!
//! `cache.rs` is what the store keeps, `recent.rs` what the instance remembers, `wire.rs` the model's API, `batch.rs` how
//! texts are put into calls, and `vector.rs` what a vector must be.

mod batch;
mod cache;
mod recent;
mod vector;
mod wire;

pub use recent::Recent;
pub use vector::{Unusable, cosine};

use crate::ask::ask;
use crate::failure::SearchFailure;
use crate::key;
use crate::settings::{EmbeddingModel, Endpoint, SearchSettings};
use batch::batches;
use cache::{Lookup, Shelf};
use serde::{Deserialize, Serialize};
use vector::cut;
use waggle_conversation::Store;
use waggle_model::transport::Upstream;
use waggle_model::{ModelFailure, Wire};
use waggle_openai::json;
use waggle_platform::Platform;

/// How many texts are looked up in the store at once, or as many as go into one call of the model.
const LOOKUP_MAX: usize = 64;
/// How many vectors of questions the store keeps.
const QUERIES_KEPT_MAX: u64 = 4_096;
/// What is embedded to learn how long a model's vectors are.
const PROBE: &str = "dimensions";

/// What makes vectors.
#[derive(Debug)]
pub struct Embedder<'a, S, U, P> {
    store: &'a S,
    upstream: &'a U,
    platform: &'a P,
    settings: &'a SearchSettings,
    /// The model of the index that the vectors are for, where it is not the one that is configured, or may not be.
    model: Option<&'a EmbeddingModel>,
    recent: Recent,
}

/// How long a model's vectors are, as it was seen.
#[derive(Serialize, Deserialize)]
struct Measured {
    model: String,
    dimensions: u32,
}

impl<'a, S: Store, U: Upstream, P: Platform> Embedder<'a, S, U, P> {
    /// An embedder for the model that is configured. It costs nothing until it is asked.
    pub fn new(store: &'a S, upstream: &'a U, platform: &'a P, settings: &'a SearchSettings) -> Self {
        Self { store, upstream, platform, settings, model: None, recent: Recent::of_instance() }
    }

    /// The same for an index whose vectors are of `model` and as long as that says, whatever is configured by now.
    ///
    /// How long vectors are *asked* to be only the configured model's variable knows, since not every model takes such a
    /// wish: others are asked for no length, and vectors that come longer than those of the index are cut to them.
    #[must_use]
    pub fn with_model(self, model: &'a EmbeddingModel) -> Self {
        Self { model: Some(model), ..self }
    }

    /// The same with another memory than the instance's.
    #[must_use]
    pub fn with_memory(self, recent: Recent) -> Self {
        Self { recent, ..self }
    }

    /// Vectors of the texts of documents, in their order, each of length 1. Texts that were embedded before come from the
    /// store; each batch that a model has answered is kept before the next is asked for, so what is interrupted goes on
    /// where it was.
    ///
    /// # Errors
    /// There is no model; it failed; what it gave are no vectors, or of other dimensions than were asked for.
    pub async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, SearchFailure> {
        let mut vectors = Vec::with_capacity(texts.len());
        for part in texts.chunks(LOOKUP_MAX.max(self.settings.embedding_batch_max)) {
            vectors.extend(self.embed_from(self.documents(), part).await?);
        }
        self.fitted(vectors)
    }

    /// Vectors of questions. They have a place of their own in the store, where they do not take that of documents, and
    /// the newest are in the instance's memory.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn embed_queries(&self, queries: &[&str]) -> Result<Vec<Vec<f32>>, SearchFailure> {
        let model = &self.asked()?;
        let hashes: Vec<_> = queries.iter().map(|query| cache::text_hash(model, query)).collect();
        let mut vectors: Vec<Option<Vec<f32>>> = hashes.iter().map(|hash| self.recent.get(hash)).collect();
        let missing: Vec<usize> = (0..queries.len()).filter(|place| vectors[*place].is_none()).collect();
        let texts: Vec<&str> = missing.iter().map(|place| queries[*place]).collect();
        let shelf = Shelf { name: "query", entries_max: QUERIES_KEPT_MAX };
        for (place, vector) in missing.into_iter().zip(self.embed_from(shelf, &texts).await?) {
            self.recent.put(&hashes[place], &vector);
            vectors[place] = Some(vector);
        }
        self.fitted(vectors.into_iter().flatten().collect())
    }

    /// How long the vectors are: as is configured, or as those of the index are; else as was seen when the model was first
    /// asked.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn dimensions(&self) -> Result<u32, SearchFailure> {
        let model = &self.asked()?;
        if let Some(dimensions) = self.model.and_then(|model| model.dimensions).or(model.dimensions) {
            return Ok(dimensions);
        }
        let kept = self.store.get(key::EMBEDDING_DIMENSIONS).await?;
        let measured = kept.and_then(|json| serde_json::from_slice::<Measured>(&json).ok());
        if let Some(measured) = measured.filter(|measured| measured.model == model.name) {
            return Ok(measured.dimensions);
        }
        let probe = self.embed_from(self.documents(), &[PROBE]).await?;
        let dimensions = probe.first().map_or(0, |vector| u32::try_from(vector.len()).unwrap_or(u32::MAX));
        let mut value = Vec::new();
        json::push(&mut value, &Measured { model: model.name.clone(), dimensions });
        self.store.set_many(vec![(key::EMBEDDING_DIMENSIONS.to_owned(), value)]).await?;
        Ok(dimensions)
    }

    /// The model, with how long its vectors are asked to be.
    fn asked(&self) -> Result<EmbeddingModel, SearchFailure> {
        let configured = self.settings.models.embedding.as_ref();
        let Some(model) = self.model else {
            return configured.cloned().ok_or(SearchFailure::NoEmbeddingModel);
        };
        let is_same = |configured: &&EmbeddingModel| {
            configured.name == model.name
                && (configured.dimensions.is_none() || configured.dimensions == model.dimensions)
        };
        let unasked = || EmbeddingModel { name: model.name.clone(), dimensions: None };
        Ok(configured.filter(is_same).cloned().unwrap_or_else(unasked))
    }

    /// The vectors as long as those of the index are.
    fn fitted(&self, vectors: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, SearchFailure> {
        match self.model {
            Some(model) => vectors.into_iter().map(|vector| cut(vector, model)).collect(),
            None => Ok(vectors),
        }
    }

    fn endpoint(&self) -> Result<&Endpoint, SearchFailure> {
        self.settings.endpoint.as_ref().ok_or(SearchFailure::NoEmbeddingModel)
    }

    fn documents(&self) -> Shelf {
        Shelf { name: "document", entries_max: self.settings.embedding_cache_entries_max }
    }

    /// Vectors of texts that are looked up at once: what the shelf has, and the model for the others.
    async fn embed_from(&self, shelf: Shelf, texts: &[&str]) -> Result<Vec<Vec<f32>>, SearchFailure> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let model = &self.asked()?;
        let hashes = texts.iter().map(|text| cache::text_hash(model, text)).collect();
        let mut lookup = Lookup::read(self.store, shelf, hashes).await.unwrap_or_else(|(lookup, error)| {
            self.platform.log(&format!("the cache of embeddings: {error}"));
            lookup
        });
        for batch in batches(&lookup.missing(), texts, self.settings.embedding_batch_max) {
            let asked: Vec<&str> = batch.iter().map(|place| texts[*place]).collect();
            let vectors = self.ask_model(model, &asked).await?;
            let pairs = lookup.fill(&batch, vectors, self.platform.random());
            // What cannot be kept is embedded again the next time.
            if let Err(error) = self.keep(pairs).await {
                self.platform.log(&format!("the cache of embeddings: {error}"));
            }
        }
        Ok(lookup.into_vectors())
    }

    async fn keep(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), waggle_conversation::StoreError> {
        if pairs.is_empty() { Ok(()) } else { self.store.set_many(pairs).await }
    }

    async fn ask_model(
        &self,
        model: &EmbeddingModel,
        texts: &[&str],
    ) -> Result<Vec<Vec<f32>>, SearchFailure> {
        let endpoint = self.endpoint()?;
        let send = async |compact: bool| {
            let body = wire::write(model, texts, compact);
            ask(self.upstream, endpoint.request(Wire::Chat, "/embeddings", body)).await
        };
        let answer = match send(true).await {
            // Not every endpoint knows base64.
            Err(failure) if wire::refuses_format(&failure) => send(false).await?,
            answer => answer?,
        };
        let vectors = wire::read(&answer, texts.len())?;
        let unusable = |unusable: Unusable| ModelFailure::NotACompletion(unusable.to_string());
        let checked: Result<Vec<_>, _> =
            vectors.into_iter().map(|vector| vector::checked(vector, model.dimensions)).collect();
        let checked = checked.map_err(unusable)?;
        vector::same_length(&checked).map_err(unusable)?;
        Ok(checked)
    }
}

#[cfg(test)]
mod tests;
