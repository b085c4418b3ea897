//! What a search finds.

use crate::settings::SearchMode;
use std::future::Future;
use waggle_conversation::StoreError;
use waggle_index::Attributes;

/// A result: a chunk that was found, with its neighbours.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The id of its vector store.
    pub store: String,
    /// The id of its file: the name of its group.
    pub file_id: String,
    /// The file's name; its id where it has none.
    pub filename: String,
    /// From 0 to 1: the reranker's relevance where one was asked; else the cosine to the question where there are vectors;
    /// else a measure of the words, which can be compared within one answer only. Results are in the order of their
    /// relevance, which by both ways together need not be that of the cosine.
    pub score: f32,
    /// The file's attributes.
    pub attributes: Attributes,
    /// The headings it stands under.
    pub heading: String,
    /// The chunk's own text.
    pub chunk: String,
    /// The text with that of its neighbours.
    pub text: String,
    /// The numbers of the first and the last chunk of the text.
    pub ordinals: (u32, u32),
    /// The chunk's note.
    pub note: String,
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchAnswer {
    /// The questions as they were searched for.
    pub queries: Vec<String>,
    /// What was found, the most relevant first; their places are the numbers of the sources, less 1.
    pub results: Vec<Found>,
    /// How was searched in fact: without vectors it is [`SearchMode::Lexical`], whatever was configured.
    pub mode: SearchMode,
    /// Whether the question was rewritten.
    pub rewritten: bool,
}

/// What knows the names of files.
pub trait FileNames {
    /// The names of files, each given by its id and the note of the chunk that was found; in their order, `None` where a
    /// file has none.
    ///
    /// # Errors
    /// The store's.
    fn names(&self, files: &[(&str, &str)]) -> impl Future<Output = Result<Vec<Option<String>>, StoreError>>;
}

/// For chunks whose notes are the names of their files.
#[derive(Debug, Clone, Copy, Default)]
pub struct NamesFromNotes;

impl FileNames for NamesFromNotes {
    async fn names(&self, files: &[(&str, &str)]) -> Result<Vec<Option<String>>, StoreError> {
        Ok(files.iter().map(|(_, note)| Some((*note).to_owned()).filter(|name| !name.is_empty())).collect())
    }
}
