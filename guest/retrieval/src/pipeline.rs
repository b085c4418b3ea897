//! What this crate asks of its neighbours: `waggle-documents` cuts files into pieces, `waggle-search` makes vectors of them
//! and finds them again. Nothing else here knows their types.

use crate::attributes::bounded;
use crate::problem::Problem;
use crate::record::{Embedding, File, LastError};
use crate::service::Service;
use crate::settings::Bounds;
use crate::strategy::Strategy;
use serde::{Deserialize, Serialize};
use waggle_conversation::Store;
use waggle_documents::{ChunkRules, ExtractError, Hints, chunk, extract};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_platform::Platform;
use waggle_search::{Embedder, EmbeddingModel, SearchFailure, SearchSettings};

/// The longest note of a chunk, in bytes: the index's bound. Those of headings, texts and chunks are the defaults of
/// [`ChunkRules`].
const NOTE_BYTES_MAX: usize = 1_024;

/// A piece of a file, on its way into the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// The headings it stands under.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) heading: String,
    pub(crate) text: String,
}

impl Piece {
    /// What is embedded of it: a piece is found by its headings as well.
    pub(crate) fn embedded(&self) -> String {
        if self.heading.is_empty() { self.text.clone() } else { format!("{}\n\n{}", self.heading, self.text) }
    }
}

/// The note of a chunk of a file: its name, which results show.
pub(crate) fn note(filename: &str) -> String {
    bounded(filename, NOTE_BYTES_MAX).to_owned()
}

impl From<SearchFailure> for Problem {
    fn from(failure: SearchFailure) -> Self {
        Self { error: Box::new(failure.to_api_error()), log: failure.log() }
    }
}

/// Reads the variables of models and searches.
///
/// # Errors
/// 500: one is wrong.
pub(crate) async fn settings<P: Platform>(platform: &P) -> Result<SearchSettings, Problem> {
    Ok(SearchSettings::read(platform).await.map_err(SearchFailure::from)?)
}

/// The model that embeds an index's chunks; none for one that is searched by words alone.
pub(crate) fn model_of(embedding: &Embedding) -> Option<EmbeddingModel> {
    let dimensions = Some(embedding.dimensions).filter(|dimensions| *dimensions > 0)?;
    Some(EmbeddingModel { name: embedding.model.clone(), dimensions: Some(dimensions) })
}

impl<S: Store, I: Index, U: Upstream, P: Platform> Service<S, I, U, P> {
    /// How long the vectors of the configured model are; 0 without one.
    ///
    /// # Errors
    /// The model's.
    pub(crate) async fn dimensions(&self, settings: &SearchSettings) -> Result<u32, Problem> {
        if settings.models.embedding.is_none() {
            return Ok(0);
        }
        Ok(Embedder::new(&self.store, &self.upstream, &self.platform, settings).dimensions().await?)
    }

    /// Vectors for the pieces of an index, in their order; none for one without vectors.
    ///
    /// # Errors
    /// The model's.
    pub(crate) async fn embed(
        &self,
        settings: &SearchSettings,
        embedding: &Embedding,
        pieces: &[Piece],
    ) -> Result<Vec<Option<Vec<f32>>>, Problem> {
        let Some(model) = model_of(embedding) else { return Ok(vec![None; pieces.len()]) };
        let texts: Vec<String> = pieces.iter().map(Piece::embedded).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embedder = Embedder::new(&self.store, &self.upstream, &self.platform, settings);
        let vectors = embedder.with_model(&model).embed(&texts).await?;
        Ok(vectors.into_iter().map(Some).collect())
    }

    /// The pieces of a file.
    ///
    /// # Errors
    /// Why there are none, for whoever uploaded it.
    pub(crate) fn split(
        &self,
        file: &File,
        bytes: Vec<u8>,
        strategy: Strategy,
        bounds: &Bounds,
        model: &str,
    ) -> Result<Vec<Piece>, LastError> {
        let bounds = waggle_documents::Bounds {
            bytes_max: usize::try_from(bounds.file_bytes_max).unwrap_or(usize::MAX),
            text_bytes_max: bounds.file_text_bytes_max,
            ..waggle_documents::Bounds::default()
        };
        let hints = Hints { media_type: file.media_type.as_deref(), charset: None };
        let document = extract(&bytes, &file.filename, &hints, &bounds).map_err(|error| refused(&error))?;
        // It may be as large as the pieces.
        drop(bytes);
        let rules = ChunkRules {
            tokens_max: strategy.max_chunk_size_tokens,
            overlap_tokens: strategy.chunk_overlap_tokens,
            ..ChunkRules::default()
        };
        let count = |texts: &[&str]| -> Vec<u32> {
            if texts.is_empty() {
                return Vec::new();
            }
            let counts = self.platform.count_tokens(model, texts);
            counts.iter().map(|count| u32::try_from(count.tokens).unwrap_or(u32::MAX)).collect()
        };
        let chunks = chunk(&document, &rules, &count).map_err(|error| invalid(&error.to_string()))?;
        Ok(chunks.into_iter().map(|chunk| Piece { heading: chunk.heading, text: chunk.text }).collect())
    }
}

fn refused(error: &ExtractError) -> LastError {
    let code = if error.is_unsupported() { "unsupported_file" } else { "invalid_file" };
    LastError { code: code.to_owned(), message: error.to_string() }
}

/// What is said of a file that is at fault itself.
pub(crate) fn invalid(message: &str) -> LastError {
    LastError { code: "invalid_file".to_owned(), message: message.to_owned() }
}

/// What is said where the file is not at fault.
pub(crate) fn server_error(message: &str) -> LastError {
    LastError { code: "server_error".to_owned(), message: message.to_owned() }
}
