//! What stands behind `POST /v1/retrieval/search` and `/v1/retrieval/answers`: a search behind the semantic answer cache,
//! with all that a caller needs to answer by it.

use crate::answer_cache::{
    AnswerCache, AnswerKey, Basis, CacheFailure, CachedAnswer, Claim, Flight, FrequentQuestion,
    TEXT_BYTES_MAX, index_name, most_frequent,
};
use crate::extract::{Passage, extract_answer};
use crate::failure::SearchFailure;
use crate::hash::hash;
use crate::language::Language;
use crate::rewrite::follows_up;
use crate::search::{Asked, FileNames, SearchAnswer, SearchRequest, Searcher};
use crate::settings::{NoAnswer, SearchMode};
use serde_json::value::RawValue;
use waggle_conversation::{Store, hex};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_platform::Platform;

/// A search on behalf of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RetrieveRequest {
    /// The search.
    pub search: SearchRequest,
    /// What the caller's prompt is, as an opaque text that changes with it: answers are kept for one prompt only. `None`:
    /// no answer is looked for that was given before.
    pub prompt_version: Option<String>,
    /// Whether an answer in the words of the sources is wanted.
    pub extractive: bool,
    /// Whether it is left out of what is asked most: it is asked ahead of users, not by one.
    pub uncounted: bool,
}

/// What a question can be answered with.
#[derive(Debug, Clone)]
pub struct Retrieved {
    /// What was found; nothing when there is a cached answer, which has sources of its own.
    pub answer: SearchAnswer,
    /// What is to be said, when nothing was found that passes.
    pub no_answer: Option<String>,
    /// Whether the conversation is to go to a person then.
    pub handover: bool,
    /// The answer that was given to a question like this one.
    pub cached: Option<CachedAnswer>,
    /// Under what an answer by these sources may be kept ([`Searcher::keep_answer`]).
    pub answer_key: Option<String>,
    /// An answer in the words of the sources, for when there is no model.
    pub extractive: Option<String>,
}

impl Retrieved {
    /// Whether there is something to answer with.
    pub fn passed_threshold(&self) -> bool {
        self.cached.is_some() || !self.answer.results.is_empty()
    }
}

/// An answer in the words of what was found.
fn quoted(question: &str, answer: &SearchAnswer) -> Option<String> {
    let passages: Vec<Passage<'_>> =
        answer.results.iter().map(|found| Passage { heading: &found.heading, text: &found.chunk }).collect();
    extract_answer(question, &passages, answer.mode == SearchMode::Lexical)
}

/// A question that may be in the cache.
struct Cacheable {
    vector: Vec<f32>,
    version: String,
    basis: Basis,
    /// Whether its answer may be kept: what was said before in a conversation may be in an answer, and must not be in that
    /// of others.
    may_keep: bool,
}

/// What the cache has for a question.
enum Looked {
    Answer(CachedAnswer),
    /// Nothing; with a key, if the answer to come may be kept.
    Nothing(Option<AnswerKey>),
}

impl<S: Store, I: Index, U: Upstream, P: Platform> Searcher<'_, S, I, U, P> {
    /// Searches for what a question can be answered with; an answer that was given to its like comes first.
    ///
    /// # Errors
    /// As [`Searcher::search`]. The cache fails quietly: then there is none.
    pub async fn retrieve<N: FileNames>(
        &self,
        names: &N,
        request: &RetrieveRequest,
    ) -> Result<Retrieved, SearchFailure> {
        request.search.check()?;
        let asked = self.understand(&request.search).await?;
        let key = match self.look(request, &asked).await? {
            Looked::Answer(cached) => return Ok(self.by_cache(asked, cached)),
            Looked::Nothing(key) => key,
        };
        let answer = self.search_for(names, &request.search, asked).await;
        // Nobody will answer by nothing, so nobody needs to wait for it.
        let key = match (key, &answer) {
            (Some(key), Ok(answer)) if !answer.results.is_empty() => Some(key),
            (Some(key), _) => {
                self.release(&key).await;
                None
            }
            (None, _) => None,
        };
        Ok(self.retrieved(answer?, key, request.extractive))
    }

    fn by_cache(&self, asked: Asked, cached: CachedAnswer) -> Retrieved {
        let Asked { queries, rewritten } = asked;
        // It was found by its vector.
        let mode =
            if self.settings.mode == SearchMode::Lexical { SearchMode::Dense } else { self.settings.mode };
        Retrieved {
            answer: SearchAnswer { queries, results: Vec::new(), mode, rewritten },
            no_answer: None,
            handover: false,
            cached: Some(cached),
            answer_key: None,
            extractive: None,
        }
    }

    fn retrieved(&self, answer: SearchAnswer, key: Option<AnswerKey>, extractive: bool) -> Retrieved {
        let question = answer.queries.first().map(String::as_str).unwrap_or_default();
        let extractive = extractive.then(|| quoted(question, &answer)).flatten();
        let passed = !answer.results.is_empty();
        let say = || match &self.settings.no_answer_text {
            Some(text) => text.clone(),
            None => Language::of(question).no_answer(self.settings.no_answer).to_owned(),
        };
        Retrieved {
            no_answer: (!passed).then(say),
            handover: !passed && self.settings.no_answer == NoAnswer::HandOver,
            cached: None,
            answer_key: key.map(|key| key.to_string()),
            extractive,
            answer,
        }
    }

    fn cache(&self) -> Option<AnswerCache<'_, S, I, P>> {
        let (settings, model) = (self.settings.answer_cache?, self.settings.models.embedding.as_ref()?);
        let name = index_name(model);
        Some(AnswerCache { store: self.store, index: self.index, platform: self.platform, settings, name })
    }

    /// Looks into the cache. What fails in it is logged and costs no more than the answer that might have been there.
    async fn look(&self, request: &RetrieveRequest, asked: &Asked) -> Result<Looked, SearchFailure> {
        let Some(cache) = self.cache() else { return Ok(Looked::Nothing(None)) };
        let [question] = asked.queries.as_slice() else { return Ok(Looked::Nothing(None)) };
        let search = &request.search;
        let stands_alone = search.conversation.is_empty() || asked.rewritten || !follows_up(question);
        let Some(prompt_version) = request.prompt_version.as_deref().filter(|_| stands_alone) else {
            return Ok(Looked::Nothing(None));
        };
        let vectors = self.embedder().embed_queries(&[question]).await?;
        let Some(vector) = vectors.into_iter().next() else { return Ok(Looked::Nothing(None)) };
        let basis = self.basis(search, prompt_version);
        let may_keep = search.conversation.is_empty();
        if !request.uncounted {
            self.memory.counts.note(question);
        }
        let looked = async {
            let version = cache.version(&basis).await?;
            self.look_for(&cache, question, Cacheable { vector, version, basis, may_keep }).await
        };
        let looked = looked.await.unwrap_or_else(|failure: CacheFailure| {
            self.platform.log(&failure.to_string());
            Looked::Nothing(None)
        });
        self.count(matches!(looked, Looked::Nothing(_))).await;
        Ok(looked)
    }

    async fn look_for(
        &self,
        cache: &AnswerCache<'_, S, I, P>,
        question: &str,
        cacheable: Cacheable,
    ) -> Result<Looked, CacheFailure> {
        let Cacheable { vector, version, basis, may_keep } = cacheable;
        if let Some(answer) = cache.find(&version, &vector).await? {
            return Ok(Looked::Answer(answer));
        }
        if !may_keep {
            return Ok(Looked::Nothing(None));
        }
        match cache.claim(question, &version, &basis).await? {
            Claim::Ours(key) => Ok(Looked::Nothing(Some(key))),
            Claim::Crowded => Ok(Looked::Nothing(None)),
            Claim::Others(slot) => Ok(match cache.wait(slot, &version, &vector).await? {
                Some(answer) => Looked::Answer(answer),
                None => Looked::Nothing(None),
            }),
        }
    }

    fn basis(&self, search: &SearchRequest, prompt_version: &str) -> Basis {
        let how = format!(
            "{:?} {:?} {:?} {:?}",
            search.filter, search.results_max, search.ranking, search.neighbours
        );
        let fingerprint = self.settings.fingerprint();
        let asked = hash(&[prompt_version.as_bytes(), fingerprint.as_bytes(), how.as_bytes()]);
        let indexes = search.indexes.iter().map(|searched| searched.index.clone()).collect();
        Basis { asked: hex(&asked), indexes }
    }

    async fn release(&self, key: &AnswerKey) {
        let Some(cache) = self.cache() else { return };
        if let Err(failure) = cache.release(key).await {
            self.platform.log(&failure.to_string());
        }
    }

    async fn count(&self, is_miss: bool) {
        let now_s = self.platform.now_ms() / 1_000;
        if let Err(error) = self.memory.counts.write(self.store, now_s, is_miss).await {
            self.platform.log(&format!("the count of questions: {error}"));
        }
    }

    /// Keeps the answer that a model gave by the sources of [`Retrieved`], for questions like its own. `data` are the
    /// sources in the order of their numbers, as in the search's `data`. The key holds once, and for a minute.
    ///
    /// `false`: it is not kept, since the key does not hold any more, the knowledge has changed meanwhile, the cache was
    /// turned off, or the answer is empty or too long. The caller has nothing to do about any of that.
    ///
    /// # Errors
    /// Store, index or embedding model failed.
    pub async fn keep_answer(
        &self,
        answer_key: &str,
        text: &str,
        data: Vec<Box<RawValue>>,
    ) -> Result<bool, SearchFailure> {
        let (Some(cache), Some(key)) = (self.cache(), AnswerKey::parse(answer_key)) else { return Ok(false) };
        let Some(flight) = cache.held(&key).await? else { return Ok(false) };
        let kept = self.keep_held(&cache, &flight, text, data).await;
        // Whatever came of it: whoever waits for it need not wait any longer.
        cache.release(&key).await?;
        kept
    }

    async fn keep_held(
        &self,
        cache: &AnswerCache<'_, S, I, P>,
        flight: &Flight,
        text: &str,
        data: Vec<Box<RawValue>>,
    ) -> Result<bool, SearchFailure> {
        if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
            return Ok(false);
        }
        let vectors = self.embedder().embed_queries(&[&flight.question]).await?;
        let Some(vector) = vectors.into_iter().next() else { return Ok(false) };
        Ok(cache.keep(flight, vector, text, data).await?)
    }

    /// The questions that are asked most, at most `limit`, so that they can be asked ahead when the knowledge has changed.
    /// Only what is asked while the answer cache is on is counted. What this instance has not written yet is written first;
    /// what others have not is missing.
    ///
    /// # Errors
    /// The store's.
    pub async fn frequent(&self, limit: usize) -> Result<Vec<FrequentQuestion>, SearchFailure> {
        self.count(true).await;
        Ok(most_frequent(self.store, self.platform.now_ms() / 1_000, limit).await?)
    }
}

impl From<CacheFailure> for SearchFailure {
    fn from(failure: CacheFailure) -> Self {
        match failure {
            CacheFailure::Store(error) => Self::Store(error),
            CacheFailure::Index(error) => Self::Index(error),
        }
    }
}

#[cfg(test)]
mod tests;
