//! A search, step by step.

use super::found::{FileNames, Found, SearchAnswer};
use super::merge::{Candidate, merge};
use super::neighbours::{Joined, with_neighbours};
use super::plan::{Together, mode_of, plan};
use super::request::SearchRequest;
use crate::embed::Embedder;
use crate::failure::SearchFailure;
use crate::memory::Memory;
use crate::rerank::{DOCUMENTS_MAX, rerank};
use crate::rewrite::{Rewriter, follows_up};
use crate::settings::{SearchSettings, Weights};
use waggle_conversation::Store;
use waggle_index::{Index, Query};
use waggle_model::transport::Upstream;
use waggle_platform::Platform;

/// How many hits a reranker chooses from for each result that is wanted, and at least.
const RERANKED_FACTOR: u32 = 4;
const RERANKED_MIN: u32 = 20;

/// What a search is made with.
#[derive(Debug)]
pub struct Searcher<'a, S, I, U, P> {
    pub(crate) store: &'a S,
    pub(crate) index: &'a I,
    pub(crate) upstream: &'a U,
    pub(crate) platform: &'a P,
    pub(crate) settings: &'a SearchSettings,
    pub(crate) memory: Memory,
}

/// The questions as they are searched for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) queries: Vec<String>,
    pub(crate) rewritten: bool,
}

impl<'a, S: Store, I: Index, U: Upstream, P: Platform> Searcher<'a, S, I, U, P> {
    /// A searcher. It costs nothing until it is asked.
    pub fn new(
        store: &'a S,
        index: &'a I,
        upstream: &'a U,
        platform: &'a P,
        settings: &'a SearchSettings,
    ) -> Self {
        Self { store, index, upstream, platform, settings, memory: Memory::of_instance() }
    }

    /// The same with another memory than the instance's.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// What makes vectors, with the same memory.
    pub fn embedder(&self) -> Embedder<'a, S, U, P> {
        let embedder = Embedder::new(self.store, self.upstream, self.platform, self.settings);
        embedder.with_memory(self.memory.recent.clone())
    }

    /// Searches.
    ///
    /// A reranker or a rewriting model that fails costs the answer its quality, not its existence: the log says so. An
    /// embedding model that fails ends the search: without vectors there is no threshold, and so no telling what is no
    /// answer.
    ///
    /// # Errors
    /// The request is out of its bounds; index, store or embedding model failed.
    pub async fn search<N: FileNames>(
        &self,
        names: &N,
        request: &SearchRequest,
    ) -> Result<SearchAnswer, SearchFailure> {
        request.check()?;
        let asked = self.understand(request).await?;
        self.search_for(names, request, asked).await
    }

    /// The questions of a request, the first one rewritten if it needs to be.
    pub(crate) async fn understand(&self, request: &SearchRequest) -> Result<Asked, SearchFailure> {
        let mut asked = Asked { queries: request.queries.clone(), rewritten: false };
        let Some(first) = asked.queries.first_mut() else { return Ok(asked) };
        let needed = || !request.conversation.is_empty() && follows_up(first);
        if !self.settings.rewrite || !request.rewrite.unwrap_or_else(needed) {
            return Ok(asked);
        }
        let rewriter = Rewriter::read(self.platform, self.settings.endpoint.as_ref()).await?;
        let Some(rewriter) = rewriter else { return Ok(asked) };
        match rewriter.rewrite(self.upstream, first, &request.conversation).await {
            Ok(question) => {
                asked.rewritten = question != *first;
                *first = question;
            }
            Err(reason) => self.platform.log(&format!("a question was not rewritten: {reason}")),
        }
        Ok(asked)
    }

    /// Searches for questions that are understood.
    pub(crate) async fn search_for<N: FileNames>(
        &self,
        names: &N,
        request: &SearchRequest,
        asked: Asked,
    ) -> Result<SearchAnswer, SearchFailure> {
        let can_embed = self.settings.models.embedding.is_some();
        let all = plan(&request.indexes, self.settings.mode, can_embed);
        let mut candidates = Vec::new();
        for together in &all {
            candidates.extend(self.hits(request, &asked.queries, together).await?);
        }
        let mut candidates = self.reranked(request, &asked, merge(candidates)).await;
        candidates.truncate(self.results_max(request) as usize);
        let indexes: Vec<&str> = request.indexes.iter().map(|searched| &*searched.index).collect();
        let neighbours = request.neighbours.unwrap_or(self.settings.neighbours);
        let joined = with_neighbours(self.index, &indexes, candidates, neighbours).await?;
        let results = self.found(names, request, joined).await?;
        let Asked { queries, rewritten } = asked;
        Ok(SearchAnswer { queries, results, mode: mode_of(&all), rewritten })
    }

    fn results_max(&self, request: &SearchRequest) -> u32 {
        request.results_max.unwrap_or(self.settings.top_k)
    }

    fn reranker(&self, request: &SearchRequest) -> Option<&str> {
        self.settings.models.rerank.as_deref().filter(|_| request.ranking.rerank)
    }

    /// The hits of the indexes that are searched together.
    async fn hits(
        &self,
        request: &SearchRequest,
        queries: &[String],
        together: &Together<'_>,
    ) -> Result<Vec<Candidate>, SearchFailure> {
        let vectors: Vec<Option<Vec<f32>>> = match together.embedding {
            Some(model) => {
                let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
                let vectors = self.embedder().with_model(model).embed_queries(&queries).await?;
                vectors.into_iter().map(Some).collect()
            }
            None => vec![None; queries.len()],
        };
        let named = |place: &usize| request.indexes.get(*place).map(|searched| searched.index.as_str());
        let names: Vec<&str> = together.places.iter().filter_map(named).collect();
        let mut candidates = Vec::new();
        for (text, vector) in queries.iter().zip(vectors) {
            let query = self.query(request, together, text, vector);
            for hit in self.index.search(&names, query).await? {
                let place = usize::try_from(hit.index).ok().and_then(|index| together.places.get(index));
                candidates.extend(place.map(|place| Candidate::new(*place, hit)));
            }
        }
        Ok(candidates)
    }

    fn query(
        &self,
        request: &SearchRequest,
        together: &Together<'_>,
        text: &str,
        vector: Option<Vec<f32>>,
    ) -> Query {
        let results = self.results_max(request);
        let limit = match self.reranker(request) {
            Some(_) => (results * RERANKED_FACTOR).clamp(RERANKED_MIN, DOCUMENTS_MAX as u32),
            None => results,
        };
        let threshold = request.ranking.threshold.unwrap_or(self.settings.threshold);
        // Where there is one way only, its weight says nothing, and 0 would take that way, too.
        let both = together.by_words && vector.is_some();
        let weights = request.ranking.weights.unwrap_or(self.settings.weights);
        let Weights { text: text_weight, vector: vector_weight } =
            if both { weights } else { Weights { text: 1.0, vector: 1.0 } };
        Query {
            text: together.by_words.then(|| text.to_owned()),
            vector_score_min: vector.as_ref().and((threshold > 0.0).then_some(threshold)),
            vector,
            filter: request.filter.clone(),
            limit,
            candidates: 0,
            fusion: self.settings.fusion,
            text_weight,
            vector_weight,
            rank_constant: self.settings.rank_constant,
        }
    }

    /// The hits in the order of a reranker, if there is one.
    async fn reranked(
        &self,
        request: &SearchRequest,
        asked: &Asked,
        mut candidates: Vec<Candidate>,
    ) -> Vec<Candidate> {
        let (Some(model), Some(endpoint), Some(query)) =
            (self.reranker(request), self.settings.endpoint.as_ref(), asked.queries.first())
        else {
            return candidates;
        };
        if candidates.len() < 2 {
            return candidates;
        }
        candidates.truncate(DOCUMENTS_MAX);
        let documents: Vec<String> = candidates.iter().map(Candidate::document).collect();
        match rerank(self.upstream, endpoint, model, query, &documents).await {
            Ok(order) => {
                let judged = order.into_iter().filter_map(|(place, score)| {
                    candidates.get(place).map(|candidate| Candidate { score, ..candidate.clone() })
                });
                judged.collect()
            }
            Err(failure) => {
                self.platform.log(&format!("results were not reranked: {failure}"));
                candidates
            }
        }
    }

    async fn found<N: FileNames>(
        &self,
        names: &N,
        request: &SearchRequest,
        joined: Vec<Joined>,
    ) -> Result<Vec<Found>, SearchFailure> {
        if joined.is_empty() {
            return Ok(Vec::new());
        }
        let files: Vec<(&str, &str)> =
            joined.iter().map(|one| (&*one.candidate.hit.group, &*one.candidate.hit.note)).collect();
        let mut filenames = names.names(&files).await?.into_iter();
        let found = |one: Joined| {
            let Joined { candidate: Candidate { place, hit, score }, text, ordinals } = one;
            Found {
                store: request.indexes.get(place).map(|searched| searched.store.clone()).unwrap_or_default(),
                filename: filenames.next().flatten().unwrap_or_else(|| hit.group.clone()),
                file_id: hit.group,
                score,
                attributes: hit.attributes,
                heading: hit.heading,
                chunk: hit.text,
                text,
                ordinals,
                note: hit.note,
            }
        };
        Ok(joined.into_iter().map(found).collect())
    }
}

#[cfg(test)]
mod tests;
