//! The bodies of searches, as OpenAI has them and as functions send them to each other.
//!
//! `POST /v1/vector_stores/{id}/search` and `POST /v1/retrieval/search` have one reader, since the second is the first with
//! more fields; which of them a route takes is the route's.

use crate::dify::attributes_json;
use crate::filter;
use crate::retrieve::{RetrieveRequest, Retrieved};
use crate::rewrite::{CONVERSATION_MAX, Said};
use crate::search::{Found, INDEXES_MAX, QUERIES_MAX, Ranking, SearchAnswer, Searched};
use crate::settings::Weights;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use waggle_openai::json::{self, Elements, Fields, Path, Text, Unknown, read_object, read_raw};
use waggle_openai::{ApiError, Whole, error::echo};

/// The longest `prompt_version`, in bytes.
const PROMPT_VERSION_BYTES_MAX: usize = 128;
/// The most sources of an answer that is kept.
const SOURCES_MAX: usize = 50;

/// What fields there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchBodyKind {
    /// OpenAI's.
    VectorStore,
    /// `vector_store_ids`, `conversation`, `answer_cache` (with `counted`, whether the question counts among what is asked
    /// most, `true` unless it is said) and `extractive` (whether an answer in the words of the sources is wanted, as well
    /// `true`) besides.
    Retrieval,
}

/// The body of a search, read.
#[derive(Debug)]
pub struct SearchBody {
    kind: SearchBodyKind,
    /// The vector stores it names; none where the route does.
    pub vector_store_ids: Vec<String>,
    /// The search, but for its indexes, which belong to these vector stores.
    pub request: RetrieveRequest,
    has_query: bool,
}

/// A question, or several.
struct Queries(Vec<String>);

impl<'de> Deserialize<'de> for Queries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QueriesVisitor;
        impl<'de> Visitor<'de> for QueriesVisitor {
            type Value = Queries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of strings")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Queries, E> {
                Ok(Queries(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Queries, A::Error> {
                let mut queries = Vec::new();
                while let Some(query) = sequence.next_element::<String>()? {
                    if queries.len() == QUERIES_MAX {
                        let told = format!("at most {QUERIES_MAX} questions are accepted");
                        return Err(serde::de::Error::custom(told));
                    }
                    queries.push(query);
                }
                Ok(Queries(queries))
            }
        }
        deserializer.deserialize_any(QueriesVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RankingBody<'a> {
    #[serde(borrow)]
    ranker: Option<Text<'a>>,
    score_threshold: Option<f32>,
    #[serde(borrow)]
    hybrid_search: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HybridBody {
    embedding_weight: f32,
    text_weight: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidBody {
    role: RoleBody,
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleBody {
    User,
    Assistant,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCacheBody {
    prompt_version: String,
    counted: Option<bool>,
}

fn ranking(raw: &str) -> Result<Ranking, ApiError> {
    const AT: &str = "ranking_options";
    let body: RankingBody<'_> = read_raw(raw, AT)?;
    let rerank = match body.ranker.as_deref() {
        None | Some("auto") => true,
        Some("none") => false,
        Some(ranker) if ranker.starts_with("default") => true,
        Some(ranker) => {
            let at = format!("{AT}.ranker");
            return Err(json::invalid_value(
                at,
                &format!("it must be 'auto' or 'none', not '{}'", echo(ranker)),
            ));
        }
    };
    let hybrid = body.hybrid_search.filter(|raw| raw.get() != "null");
    let hybrid: Option<HybridBody> =
        hybrid.map(|raw| read_raw(raw.get(), &format!("{AT}.hybrid_search"))).transpose()?;
    let weights = hybrid.map(|body| Weights { text: body.text_weight, vector: body.embedding_weight });
    Ok(Ranking { rerank, threshold: body.score_threshold, weights })
}

/// What is read after the whole of the object is seen, since it is told by another path.
#[derive(Default)]
struct Raw<'a> {
    filters: Option<&'a RawValue>,
    ranking: Option<&'a RawValue>,
    answer_cache: Option<&'a RawValue>,
}

struct Reading<'de> {
    body: SearchBody,
    raw: Raw<'de>,
}

impl<'de> Fields<'de> for Reading<'de> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        let is_retrieval = self.body.kind == SearchBodyKind::Retrieval;
        let request = &mut self.body.request.search;
        match name {
            "query" => {
                request.queries = map.next_value::<Queries>()?.0;
                self.body.has_query = true;
            }
            "filters" => self.raw.filters = map.next_value()?,
            "max_num_results" => {
                let count = map.next_value::<Option<Whole<u32>>>()?;
                request.results_max = count.map(|Whole(count)| count);
            }
            "ranking_options" => self.raw.ranking = map.next_value()?,
            "rewrite_query" => request.rewrite = map.next_value()?,
            "vector_store_ids" if is_retrieval => {
                self.body.vector_store_ids = map.next_value_seed(Elements::new(path, INDEXES_MAX))?;
            }
            "conversation" if is_retrieval => {
                let said: Vec<SaidBody> = map.next_value_seed(Elements::new(path, CONVERSATION_MAX))?;
                let said = said
                    .into_iter()
                    .map(|SaidBody { role, text }| Said { by_user: matches!(role, RoleBody::User), text });
                request.conversation = said.collect();
            }
            "answer_cache" if is_retrieval => self.raw.answer_cache = map.next_value()?,
            "extractive" if is_retrieval => self.body.request.extractive = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl SearchBody {
    /// Reads and checks a body.
    ///
    /// # Errors
    /// 400 naming the field that is wrong, missing or unknown.
    pub fn read(body: &[u8], kind: SearchBodyKind) -> Result<Self, ApiError> {
        let request = RetrieveRequest { extractive: true, ..RetrieveRequest::default() };
        let empty = Self { kind, vector_store_ids: Vec::new(), request, has_query: false };
        let mut reading = Reading { body: empty, raw: Raw::default() };
        read_object(body, &mut reading, Unknown::Refused)?;
        let Reading { mut body, raw } = reading;
        if !body.has_query {
            return Err(ApiError::missing("query"));
        }
        let search = &mut body.request.search;
        if let Some(raw) = raw.filters {
            search.filter = filter::parse(raw, "filters")?;
        }
        if let Some(raw) = raw.ranking.filter(|raw| raw.get() != "null") {
            search.ranking = ranking(raw.get())?;
        }
        if let Some(raw) = raw.answer_cache.filter(|raw| raw.get() != "null") {
            let AnswerCacheBody { prompt_version, counted } = read_raw(raw.get(), "answer_cache")?;
            if prompt_version.len() > PROMPT_VERSION_BYTES_MAX {
                let reason = format!("at most {PROMPT_VERSION_BYTES_MAX} bytes are accepted");
                return Err(json::invalid_value("answer_cache.prompt_version", &reason));
            }
            body.request.prompt_version = Some(prompt_version);
            body.request.uncounted = counted == Some(false);
        }
        // OpenAI's own search rewrites when it is told to, and leaves nothing out unless it is told to.
        if kind == SearchBodyKind::VectorStore {
            let search = &mut body.request.search;
            search.rewrite = Some(search.rewrite.unwrap_or(false));
            search.ranking.threshold = Some(search.ranking.threshold.unwrap_or(0.0));
        }
        body.request.search.check().map_err(|failure| failure.to_api_error())?;
        Ok(body)
    }

    /// The search in these indexes.
    #[must_use]
    pub fn in_indexes(mut self, indexes: Vec<Searched>) -> RetrieveRequest {
        self.request.search.indexes = indexes;
        self.request
    }
}

/// The body of `POST /v1/retrieval/answers`, read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    /// As a search gave it.
    pub answer_key: String,
    /// The answer, with the numbers of its sources.
    pub text: String,
    /// The sources in the order of their numbers, as in the search's `data`.
    pub sources: Vec<Box<RawValue>>,
}

impl AnswerBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 400: it is no such body, or has too many sources.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let read: Self = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("The request body is not as expected: {error}.")))?;
        if read.sources.len() > SOURCES_MAX {
            return Err(json::invalid_value("sources", &format!("at most {SOURCES_MAX} are accepted")));
        }
        Ok(read)
    }
}

#[derive(Serialize)]
struct Content<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Entry<'a> {
    file_id: &'a str,
    filename: &'a str,
    score: f32,
    attributes: serde_json::Map<String, serde_json::Value>,
    content: [Content<'a>; 1],
    vector_store_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    waggle_heading: &'a str,
}

#[derive(Serialize)]
struct Page<'a> {
    object: &'static str,
    search_query: &'a [String],
    data: Vec<Entry<'a>>,
    has_more: bool,
    next_page: Option<&'static str>,
    waggle: Told<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Search(SearchTold),
    Retrieval(RetrievalTold<'a>),
}

#[derive(Serialize)]
struct SearchTold {
    search: &'static str,
    rewritten: bool,
}

#[derive(Serialize)]
struct RetrievalTold<'a> {
    search: &'static str,
    rewritten: bool,
    passed_threshold: bool,
    no_answer: Option<&'a str>,
    handover: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_answer: Option<CachedTold<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_key: Option<&'a str>,
    extractive: Option<ExtractiveTold<'a>>,
}

#[derive(Serialize)]
struct CachedTold<'a> {
    text: &'a str,
    data: &'a [Box<RawValue>],
    age_s: u64,
}

#[derive(Serialize)]
struct ExtractiveTold<'a> {
    text: &'a str,
}

fn entry(found: &Found) -> Entry<'_> {
    Entry {
        file_id: &found.file_id,
        filename: &found.filename,
        score: found.score,
        attributes: attributes_json(&found.attributes),
        content: [Content { r#type: "text", text: &found.text }],
        vector_store_id: &found.store,
        waggle_heading: &found.heading,
    }
}

fn page(answer: &SearchAnswer, waggle: Told<'_>) -> Vec<u8> {
    let page = Page {
        object: "vector_store.search_results.page",
        search_query: &answer.queries,
        data: answer.results.iter().map(entry).collect(),
        has_more: false,
        next_page: None,
        waggle,
    };
    let mut body = Vec::new();
    json::push(&mut body, &page);
    body
}

/// The answer of `POST /v1/vector_stores/{id}/search`.
pub fn search_page(answer: &SearchAnswer) -> Vec<u8> {
    let told = SearchTold { search: answer.mode.name(), rewritten: answer.rewritten };
    page(answer, Told::Search(told))
}

/// The answer of `POST /v1/retrieval/search`.
pub fn retrieval_page(retrieved: &Retrieved) -> Vec<u8> {
    let cached = retrieved.cached.as_ref();
    let told = RetrievalTold {
        search: retrieved.answer.mode.name(),
        rewritten: retrieved.answer.rewritten,
        passed_threshold: retrieved.passed_threshold(),
        no_answer: retrieved.no_answer.as_deref(),
        handover: retrieved.handover,
        cached_answer: cached.map(|cached| CachedTold {
            text: &cached.text,
            data: &cached.data,
            age_s: cached.age_s,
        }),
        answer_key: retrieved.answer_key.as_deref(),
        extractive: retrieved.extractive.as_deref().map(|text| ExtractiveTold { text }),
    };
    page(&retrieved.answer, Told::Retrieval(told))
}

#[cfg(test)]
mod tests;
