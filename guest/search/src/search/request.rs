//! What a search is asked.

use crate::failure::SearchFailure;
use crate::rewrite::{CONVERSATION_MAX, Said};
use crate::settings::{EmbeddingModel, RESULTS_MAX, Weights};
use waggle_index::{FilterNode, bounds};
use waggle_openai::ApiError;

/// The most indexes of one search.
pub const INDEXES_MAX: usize = bounds::SEARCH_INDEXES_MAX;
/// The most questions of one search.
pub const QUERIES_MAX: usize = 8;
/// The longest question, in bytes.
pub const QUERY_BYTES_MAX: usize = bounds::QUERY_TEXT_BYTES_MAX;

/// An index, and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The id of the vector store, for the results.
    pub store: String,
    /// The name of its index.
    pub index: String,
    /// The model its vectors are of and how long they are (`dimensions` is always given); `None` for an index without
    /// vectors.
    pub embedding: Option<EmbeddingModel>,
}

/// How results are ranked, where a request says so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Whether the reranker is asked, if there is one.
    pub rerank: bool,
    /// In place of `search_threshold`, from 0 to 1.
    pub threshold: Option<f32>,
    /// In place of `search_text_weight` and `search_vector_weight`.
    pub weights: Option<Weights>,
}

impl Default for Ranking {
    fn default() -> Self {
        Self { rerank: true, threshold: None, weights: None }
    }
}

/// A search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SearchRequest {
    /// Where, at most [`INDEXES_MAX`]. Whoever names them has seen to it that the caller may read them.
    pub indexes: Vec<Searched>,
    /// For what: 1 to [`QUERIES_MAX`] questions of 1 to [`QUERY_BYTES_MAX`] bytes. What is found for any of them is found.
    pub queries: Vec<String>,
    /// Among which groups; empty: all.
    pub filter: Vec<FilterNode>,
    /// How many results at most, 1 to [`RESULTS_MAX`]; `None`: `search_top_k`.
    pub results_max: Option<u32>,
    /// How they are ranked.
    pub ranking: Ranking,
    /// Whether the question is rewritten; `None`: if it follows up on the conversation.
    pub rewrite: Option<bool>,
    /// What was said before, oldest first, at most [`CONVERSATION_MAX`].
    pub conversation: Vec<Said>,
    /// How many chunks on each side of a hit are joined to it; `None`: `search_neighbours`.
    pub neighbours: Option<u32>,
}

fn wrong(param: &str, expected: &str) -> SearchFailure {
    ApiError::invalid_param(param, "invalid_value", format!("Invalid value for '{param}': {expected}."))
        .into()
}

impl SearchRequest {
    /// Looks whether it is within its bounds.
    ///
    /// # Errors
    /// 400 naming the field that is not.
    pub(crate) fn check(&self) -> Result<(), SearchFailure> {
        if self.queries.is_empty() {
            return Err(ApiError::missing("query").into());
        }
        if self.queries.len() > QUERIES_MAX {
            return Err(wrong("query", &format!("at most {QUERIES_MAX} questions are accepted")));
        }
        if self.queries.iter().any(|query| query.trim().is_empty() || query.len() > QUERY_BYTES_MAX) {
            return Err(wrong("query", &format!("a question must have 1 to {QUERY_BYTES_MAX} bytes")));
        }
        if self.indexes.len() > INDEXES_MAX {
            let expected = format!("at most {INDEXES_MAX} vector stores are searched together");
            return Err(wrong("vector_store_ids", &expected));
        }
        if self.results_max.is_some_and(|results| !(1..=RESULTS_MAX).contains(&results)) {
            return Err(wrong("max_num_results", &format!("it must be an integer from 1 to {RESULTS_MAX}")));
        }
        if self.conversation.len() > CONVERSATION_MAX {
            let expected = format!("at most {CONVERSATION_MAX} messages are accepted");
            return Err(wrong("conversation", &expected));
        }
        self.ranking.check()
    }
}

impl Ranking {
    fn check(&self) -> Result<(), SearchFailure> {
        if self.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err(wrong("ranking_options.score_threshold", "it must be a number from 0 to 1"));
        }
        let Some(Weights { text, vector }) = self.weights else { return Ok(()) };
        let is_weight = |weight: f32| weight.is_finite() && weight >= 0.0;
        if !is_weight(text) || !is_weight(vector) || (text == 0.0 && vector == 0.0) {
            let expected = "both weights must be 0 or more, and one of them more than 0";
            return Err(wrong("ranking_options.hybrid_search", expected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut SearchRequest), param: Option<&str>) {
        let mut request = SearchRequest { queries: vec!["q".to_owned()], ..SearchRequest::default() };
        change(&mut request);
        let error = request.check().err().map(|failure| failure.to_api_error());
        assert_eq!(error.as_ref().and_then(|error| error.param.as_deref()), param, "{error:?}");
        assert!(error.is_none_or(|error| error.status == 400));
    }

    #[test]
    fn a_request_out_of_its_bounds_is_told_by_field() {
        check(|_| {}, None);
        check(|request| request.queries.clear(), Some("query"));
        check(|request| request.queries = vec!["q".to_owned(); QUERIES_MAX + 1], Some("query"));
        check(|request| request.queries = vec![" ".to_owned()], Some("query"));
        check(|request| request.queries = vec!["q".repeat(QUERY_BYTES_MAX + 1)], Some("query"));
        check(|request| request.results_max = Some(0), Some("max_num_results"));
        check(|request| request.results_max = Some(51), Some("max_num_results"));
        check(|request| request.ranking.threshold = Some(1.1), Some("ranking_options.score_threshold"));
        let weights = |text, vector| Some(Weights { text, vector });
        check(|request| request.ranking.weights = weights(0.0, 0.0), Some("ranking_options.hybrid_search"));
        check(|request| request.ranking.weights = weights(-1.0, 1.0), Some("ranking_options.hybrid_search"));
        check(
            |request| request.ranking.weights = weights(f32::NAN, 1.0),
            Some("ranking_options.hybrid_search"),
        );
        check(|request| request.ranking.weights = weights(0.0, 3.0), None);
        let index = Searched { store: "s".to_owned(), index: "i".to_owned(), embedding: None };
        check(|request| request.indexes = vec![index; INDEXES_MAX + 1], Some("vector_store_ids"));
        let said = Said { by_user: true, text: "x".to_owned() };
        check(|request| request.conversation = vec![said; CONVERSATION_MAX + 1], Some("conversation"));
    }
}
