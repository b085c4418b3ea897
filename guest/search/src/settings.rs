//! The component variables of searching, read once for each request.

mod reader;

pub use reader::SettingsError;

use crate::hash::hash;
use reader::Reader;
use std::ops::RangeInclusive;
use waggle_conversation::hex;
use waggle_index::Fusion;
use waggle_index::bounds::DIMENSIONS_MAX;
use waggle_model::Wire;
use waggle_model::transport::UpstreamRequest;
use waggle_platform::Platform;

const EMBEDDING_BATCH_MAX_DEFAULT: usize = 64;
const EMBEDDING_BATCH_MAX: RangeInclusive<usize> = 1..=256;
const EMBEDDING_CACHE_ENTRIES_MAX_DEFAULT: u64 = 100_000;
const EMBEDDING_CACHE_ENTRIES_MAX: RangeInclusive<u64> = 0..=4_000_000;
const RANK_CONSTANT_DEFAULT: f32 = 60.0;
const RANK_CONSTANT: RangeInclusive<f32> = 1.0..=1_000.0;
const WEIGHT_DEFAULT: f32 = 1.0;
const WEIGHT: RangeInclusive<f32> = 0.0..=100.0;
const THRESHOLD_DEFAULT: f32 = 0.6;
const TOP_K_DEFAULT: u32 = 5;
const NEIGHBOURS_DEFAULT: u32 = 1;
const NEIGHBOURS: RangeInclusive<u32> = 0..=5;
const SOURCES_TOKENS_MAX_DEFAULT: u64 = 2_000;
const SOURCES_TOKENS_MAX: RangeInclusive<u64> = 100..=1_000_000;
const ANSWER_CACHE_THRESHOLD_DEFAULT: f32 = 0.95;
const ANSWER_CACHE_TTL_S_DEFAULT: u64 = 86_400;
const ANSWER_CACHE_TTL_S: RangeInclusive<u64> = 1..=31_536_000;
const ANSWER_CACHE_ENTRIES_MAX_DEFAULT: u64 = 10_000;
const ANSWER_CACHE_ENTRIES_MAX: RangeInclusive<u64> = 1..=100_000;
const ANSWER_CACHE_WAIT_MS_DEFAULT: u64 = 2_000;
const ANSWER_CACHE_WAIT_MS: RangeInclusive<u64> = 0..=60_000;
const MODEL_TIMEOUT_MS_DEFAULT: u64 = 60_000;
const MODEL_TIMEOUT_MS: RangeInclusive<u64> = 1..=3_600_000;
const MODEL_PATH_DEFAULT: &str = "/v1";

/// The most results of one search.
pub const RESULTS_MAX: u32 = 50;

/// A model that makes vectors of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingModel {
    /// Its name, as its endpoint knows it.
    pub name: String,
    /// How long its vectors are asked to be, of a model that takes such a wish; else they are as it likes.
    pub dimensions: Option<u32>,
}

/// The models of searching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Models {
    /// `embedding_model` and `embedding_dimensions`; without it only words are searched.
    pub embedding: Option<EmbeddingModel>,
    /// `rerank_model`.
    pub rerank: Option<String>,
}

/// How is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchMode {
    /// By words and by vectors.
    Hybrid,
    /// By words alone.
    Lexical,
    /// By vectors alone.
    Dense,
}

impl SearchMode {
    /// Its name, as in the variable and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Lexical => "lexical",
            Self::Dense => "dense",
        }
    }
}

/// How much each way of searching counts; not both are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of words.
    pub text: f32,
    /// Of vectors.
    pub vector: f32,
}

/// What is done when no source passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It is said.
    Say,
    /// It is said, and the conversation goes to a person.
    HandOver,
}

/// Where the models are, and how to call them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `model_origin` and `model_path`, without a slash at the end.
    base: String,
    /// `model_api_key`; empty when the host adds the key.
    api_key: String,
    /// `model_timeout_ms`.
    timeout_ms: u64,
}

/// The semantic answer cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerCacheSettings {
    /// How alike a question must be to one that was answered, as a cosine.
    pub threshold: f32,
    /// How long an answer is given again, in seconds.
    pub ttl_s: u64,
    /// How many answers are kept; the oldest makes room.
    pub entries_max: u64,
    /// How long a question waits for the answer to its like that a model is just giving, in milliseconds.
    pub wait_ms: u64,
}

/// All of them.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchSettings {
    /// Who embeds, who reranks.
    pub models: Models,
    /// Where they are; `None` where `model_origin` is not set.
    pub endpoint: Option<Endpoint>,
    /// `search_mode`.
    pub mode: SearchMode,
    /// `search_fusion`: what decides over the order of results where both ways are taken.
    pub fusion: Fusion,
    /// `search_text_weight` and `search_vector_weight`.
    pub weights: Weights,
    /// `search_rank_constant`: the constant of [`Fusion::Ranks`].
    pub rank_constant: f32,
    /// `search_threshold`: the least cosine of a source, where there are vectors, from 0 to 1; 0: any.
    pub threshold: f32,
    /// `search_top_k`: how many results a search gives that does not say.
    pub top_k: u32,
    /// `search_neighbours`: how many chunks on each side of a hit are joined to it.
    pub neighbours: u32,
    /// `search_rewrite`: whether follow-up questions are rewritten.
    pub rewrite: bool,
    /// `no_answer`.
    pub no_answer: NoAnswer,
    /// `no_answer_text`; without it there is one in the question's language.
    pub no_answer_text: Option<String>,
    /// `answer_cache` and what begins so; `None` when it is off.
    pub answer_cache: Option<AnswerCacheSettings>,
    /// `sources_tokens_max`: how many tokens of a prompt the sources may have.
    pub sources_tokens_max: u64,
    /// `embedding_batch_max`: how many texts are embedded in one call.
    pub embedding_batch_max: usize,
    /// `embedding_cache_entries_max`: how many vectors of documents are kept for texts that come again; 0: none.
    pub embedding_cache_entries_max: u64,
}

impl Endpoint {
    async fn read<P: Platform>(reader: &Reader<'_, P>) -> Result<Option<Self>, SettingsError> {
        let Some(origin) = reader.text("model_origin").await? else { return Ok(None) };
        let path = reader.text("model_path").await?.unwrap_or_else(|| MODEL_PATH_DEFAULT.to_owned());
        let path = path.trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        Ok(Some(Self {
            base: format!("{}{slash}{path}", origin.trim_end_matches('/')),
            api_key: reader.text("model_api_key").await?.unwrap_or_default(),
            timeout_ms: reader.number("model_timeout_ms", MODEL_TIMEOUT_MS_DEFAULT, MODEL_TIMEOUT_MS).await?,
        }))
    }

    /// A request that posts `body`; `path` begins with a slash.
    pub(crate) fn request(&self, wire: Wire, path: &str, body: Vec<u8>) -> UpstreamRequest {
        UpstreamRequest {
            url: format!("{}{path}", self.base),
            wire,
            api_key: self.api_key.clone(),
            body: Some(body),
            events: false,
            timeout_ms: self.timeout_ms,
            choice: None,
            idempotency_key: String::new(),
        }
    }
}

impl Models {
    async fn read<P: Platform>(reader: &Reader<'_, P>) -> Result<Self, SettingsError> {
        let dimensions = reader.optional_number("embedding_dimensions", 1..=DIMENSIONS_MAX).await?;
        let name = reader.text("embedding_model").await?;
        Ok(Self {
            embedding: name.map(|name| EmbeddingModel { name, dimensions }),
            rerank: reader.text("rerank_model").await?,
        })
    }
}

impl AnswerCacheSettings {
    async fn read<P: Platform>(reader: &Reader<'_, P>) -> Result<Option<Self>, SettingsError> {
        if !reader.choice("answer_cache", false, &ON_OFF).await? {
            return Ok(None);
        }
        let threshold = reader.number("answer_cache_threshold", ANSWER_CACHE_THRESHOLD_DEFAULT, 0.5..=1.0);
        let ttl_s = reader.number("answer_cache_ttl_s", ANSWER_CACHE_TTL_S_DEFAULT, ANSWER_CACHE_TTL_S);
        let entries_max = ANSWER_CACHE_ENTRIES_MAX_DEFAULT;
        let entries_max = reader.number("answer_cache_entries_max", entries_max, ANSWER_CACHE_ENTRIES_MAX);
        let wait_ms =
            reader.number("answer_cache_wait_ms", ANSWER_CACHE_WAIT_MS_DEFAULT, ANSWER_CACHE_WAIT_MS);
        Ok(Some(Self {
            threshold: threshold.await?,
            ttl_s: ttl_s.await?,
            entries_max: entries_max.await?,
            wait_ms: wait_ms.await?,
        }))
    }
}

const ON_OFF: [(&str, bool); 2] = [("on", true), ("off", false)];
const MODES: [(&str, SearchMode); 3] =
    [("hybrid", SearchMode::Hybrid), ("lexical", SearchMode::Lexical), ("dense", SearchMode::Dense)];
const FUSIONS: [(&str, Fusion); 2] = [("scores", Fusion::Scores), ("ranks", Fusion::Ranks)];
const NO_ANSWERS: [(&str, NoAnswer); 2] = [("say", NoAnswer::Say), ("handover", NoAnswer::HandOver)];

async fn weights<P: Platform>(reader: &Reader<'_, P>) -> Result<Weights, SettingsError> {
    const VECTOR_WEIGHT: &str = "search_vector_weight";
    let text = reader.number("search_text_weight", WEIGHT_DEFAULT, WEIGHT).await?;
    let vector = reader.number(VECTOR_WEIGHT, WEIGHT_DEFAULT, WEIGHT).await?;
    if text == 0.0 && vector == 0.0 {
        let expected = "more than 0 where 'search_text_weight' is 0".to_owned();
        return Err(SettingsError::Wrong { variable: VECTOR_WEIGHT, expected, value: "0".to_owned() });
    }
    Ok(Weights { text, vector })
}

impl SearchSettings {
    /// Reads the variables. Those that are not defined, or empty, have their defaults.
    ///
    /// # Errors
    /// A variable cannot be read, or is out of its range.
    pub async fn read<P: Platform>(platform: &P) -> Result<Self, SettingsError> {
        let reader = &Reader { platform };
        let (batch, cache) = (EMBEDDING_BATCH_MAX_DEFAULT, EMBEDDING_CACHE_ENTRIES_MAX_DEFAULT);
        let settings = Self {
            models: Models::read(reader).await?,
            endpoint: Endpoint::read(reader).await?,
            mode: reader.choice("search_mode", SearchMode::Hybrid, &MODES).await?,
            fusion: reader.choice("search_fusion", Fusion::Scores, &FUSIONS).await?,
            weights: weights(reader).await?,
            rank_constant: reader
                .number("search_rank_constant", RANK_CONSTANT_DEFAULT, RANK_CONSTANT)
                .await?,
            threshold: reader.number("search_threshold", THRESHOLD_DEFAULT, 0.0..=1.0).await?,
            top_k: reader.number("search_top_k", TOP_K_DEFAULT, 1..=RESULTS_MAX).await?,
            neighbours: reader.number("search_neighbours", NEIGHBOURS_DEFAULT, NEIGHBOURS).await?,
            rewrite: reader.choice("search_rewrite", true, &ON_OFF).await?,
            no_answer: reader.choice("no_answer", NoAnswer::Say, &NO_ANSWERS).await?,
            no_answer_text: reader.text("no_answer_text").await?,
            answer_cache: AnswerCacheSettings::read(reader).await?,
            sources_tokens_max: reader
                .number("sources_tokens_max", SOURCES_TOKENS_MAX_DEFAULT, SOURCES_TOKENS_MAX)
                .await?,
            embedding_batch_max: reader.number("embedding_batch_max", batch, EMBEDDING_BATCH_MAX).await?,
            embedding_cache_entries_max: reader
                .number("embedding_cache_entries_max", cache, EMBEDDING_CACHE_ENTRIES_MAX)
                .await?,
        };
        let asks = settings.models.embedding.is_some() || settings.models.rerank.is_some();
        if asks && settings.endpoint.is_none() {
            return Err(SettingsError::Missing { variable: "model_origin", hint: "http://127.0.0.1:11434" });
        }
        Ok(settings)
    }

    /// Changes with every setting that another answer could come of.
    pub(crate) fn fingerprint(&self) -> String {
        let told = format!(
            "{:?} {:?} {:?} {:?} {} {} {} {} {}",
            self.models,
            self.mode,
            self.fusion,
            self.weights,
            self.rank_constant,
            self.threshold,
            self.top_k,
            self.neighbours,
            self.sources_tokens_max
        );
        hex(&hash(&[told.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Surroundings;
    use futures::executor::block_on;

    fn read(variables: &[(&'static str, &str)]) -> Result<SearchSettings, SettingsError> {
        let platform = Surroundings::default();
        for (name, value) in variables {
            platform.set(name, value);
        }
        block_on(SearchSettings::read(&platform))
    }

    #[test]
    fn without_variables_words_are_searched() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.models.clone(), settings.endpoint.clone()), (Models::default(), None));
        assert_eq!((settings.mode, settings.top_k, settings.neighbours), (SearchMode::Hybrid, 5, 1));
        assert_eq!(settings.fusion, Fusion::Scores);
        assert_eq!((settings.threshold, settings.rank_constant), (0.6, 60.0));
        assert_eq!(
            (settings.rewrite, settings.answer_cache, settings.no_answer),
            (true, None, NoAnswer::Say)
        );
        assert_eq!(read(&[("search_mode", " "), ("search_top_k", "")]).unwrap(), settings);
    }

    #[test]
    fn variables_are_read() {
        let settings = read(&[
            ("embedding_model", " m "),
            ("embedding_dimensions", "384"),
            ("rerank_model", "r"),
            ("model_origin", "http://a:1/"),
            ("model_path", "/x/"),
            ("search_mode", "dense"),
            ("search_fusion", "ranks"),
            ("search_text_weight", "0"),
            ("search_vector_weight", "0.5"),
            ("search_top_k", "3"),
            ("search_rewrite", "off"),
            ("no_answer", "handover"),
            ("no_answer_text", "Ask us."),
            ("answer_cache", "on"),
            ("answer_cache_threshold", "0.9"),
        ])
        .unwrap();
        let embedding = EmbeddingModel { name: "m".to_owned(), dimensions: Some(384) };
        assert_eq!(settings.models, Models { embedding: Some(embedding), rerank: Some("r".to_owned()) });
        let request = settings.endpoint.clone().unwrap().request(Wire::Chat, "/embeddings", Vec::new());
        assert_eq!((&*request.url, request.timeout_ms), ("http://a:1/x/embeddings", 60_000));
        assert_eq!(settings.weights, Weights { text: 0.0, vector: 0.5 });
        assert_eq!(settings.fusion, Fusion::Ranks);
        assert_eq!((settings.mode, settings.top_k, settings.rewrite), (SearchMode::Dense, 3, false));
        assert_eq!(
            (settings.no_answer, settings.no_answer_text.as_deref()),
            (NoAnswer::HandOver, Some("Ask us."))
        );
        let cache =
            AnswerCacheSettings { threshold: 0.9, ttl_s: 86_400, entries_max: 10_000, wait_ms: 2_000 };
        assert_eq!(settings.answer_cache, Some(cache));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_variable() {
        for (variable, value) in [
            ("embedding_dimensions", "0"),
            ("embedding_dimensions", "4097"),
            ("embedding_batch_max", "0"),
            ("embedding_cache_entries_max", "-1"),
            ("search_mode", "Dense"),
            ("search_fusion", "rank"),
            ("search_text_weight", "-1"),
            ("search_vector_weight", "NaN"),
            ("search_rank_constant", "0"),
            ("search_threshold", "1.5"),
            ("search_threshold", "high"),
            ("search_top_k", "51"),
            ("search_neighbours", "6"),
            ("search_rewrite", "yes"),
            ("no_answer", "sing"),
            ("answer_cache", "1"),
            ("sources_tokens_max", "99"),
        ] {
            let error = read(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(variable) && error.contains(value), "{variable}: {error}");
        }
        for variable in [
            "answer_cache_threshold",
            "answer_cache_ttl_s",
            "answer_cache_entries_max",
            "answer_cache_wait_ms",
        ] {
            let error = read(&[("answer_cache", "on"), (variable, "-7")]).unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
            assert!(read(&[(variable, "-7")]).is_ok(), "what is off is not looked at");
        }
        let both = [("search_text_weight", "0"), ("search_vector_weight", "0")];
        assert!(read(&both).unwrap_err().to_string().contains("search_vector_weight"));
    }

    #[test]
    fn a_model_needs_an_endpoint() {
        for variable in ["embedding_model", "rerank_model"] {
            let error = read(&[(variable, "m")]).unwrap_err();
            assert!(matches!(error, SettingsError::Missing { variable: "model_origin", .. }), "{error}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_not_one_that_is_empty() {
        let platform = Surroundings::default();
        platform.unreadable.set(Some("search_mode"));
        let error = block_on(SearchSettings::read(&platform)).unwrap_err();
        assert!(matches!(error, SettingsError::Unreadable { variable: "search_mode", .. }), "{error}");
    }

    #[test]
    fn the_fingerprint_tells_settings_apart() {
        let plain = read(&[]).unwrap().fingerprint();
        assert_eq!(plain, read(&[("no_answer", "handover")]).unwrap().fingerprint());
        for (variable, value) in [
            ("search_mode", "dense"),
            ("search_fusion", "ranks"),
            ("search_threshold", "0.7"),
            ("search_top_k", "4"),
        ] {
            assert_ne!(plain, read(&[(variable, value)]).unwrap().fingerprint(), "{variable}");
        }
    }
}
