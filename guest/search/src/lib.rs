//! From a question to what may be said about it: numbered sources, or an answer that was given before.
//!
//! [`Searcher`] holds what a search is made with: store, index, upstream, platform and [`SearchSettings`]. Its ways in:
//!
//! | call | what it does |
//! |---|---|
//! | [`Searcher::search`] | rewrite, embed, search, threshold, rerank, join neighbours: the results of one question |
//! | [`Searcher::retrieve`] | the same behind the semantic answer cache, with what to say when nothing was found |
//! | [`Searcher::keep_answer`] | stores an answer that a model gave, for questions that are alike |
//! | [`Searcher::frequent`] | the questions that are asked most, to be asked ahead |
//! | [`Embedder::embed`] | vectors of texts, in batches, from the cache where they are there |
//!
//! The modules [`prompt`], [`citations`], [`extract`], [`filter`] and [`dify`] are pure: they know no store and no network.
//! What belongs to whom is the caller's: every index that is named here is searched.

pub mod answer_cache;
mod ask;
pub mod citations;
pub mod dify;
pub mod embed;
pub mod extract;
mod failure;
pub mod filter;
mod hash;
mod key;
mod language;
mod memory;
pub mod prompt;
mod rerank;
pub mod retrieve;
pub mod rewrite;
pub mod search;
pub mod settings;
pub mod small_model;
#[cfg(test)]
mod testing;
pub mod wire;
mod words;

pub use embed::Embedder;
pub use failure::SearchFailure;
pub use language::Language;
pub use memory::Memory;
pub use retrieve::{RetrieveRequest, Retrieved};
pub use search::{FileNames, Found, SearchAnswer, SearchRequest, Searched, Searcher};
pub use settings::{EmbeddingModel, Models, SearchMode, SearchSettings, SettingsError};
