//! What the retrieval function is asked, and what it answers (`docs/retrieval.md`).

use super::question::{Question, Said};
use super::sources::Source;
use super::stores::Stores;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waggle_openai::file_search::RankingOptions;
use waggle_openai::json;
use waggle_search::citations::CitedFile;

/// What is searched for.
#[derive(Serialize)]
struct SearchBody<'a> {
    vector_store_ids: &'a [String],
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_num_results: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranking_options: Option<&'a RankingOptions>,
    #[serde(skip_serializing_if = "<[Said]>::is_empty")]
    conversation: &'a [Said],
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_cache: Option<AnswerCache<'a>>,
}

#[derive(Serialize)]
struct AnswerCache<'a> {
    prompt_version: &'a str,
    /// `false` where it does not count among what users ask; else it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<bool>,
}

/// The body of a search. With a version of the prompt, an answer that was given before is looked for first; a question that
/// is asked `ahead` of users does not count among theirs.
pub(super) fn search_body(
    stores: &Stores<'_>,
    question: &Question,
    prompt_version: Option<&str>,
    ahead: bool,
) -> Vec<u8> {
    let tool = stores.tool();
    let counted = ahead.then_some(false);
    let body = SearchBody {
        vector_store_ids: stores.ids(),
        query: &question.text,
        filters: tool.and_then(|tool| tool.filters.as_deref()),
        max_num_results: tool.and_then(|tool| tool.max_num_results),
        ranking_options: tool.and_then(|tool| tool.ranking_options.as_ref()),
        conversation: &question.conversation,
        answer_cache: prompt_version.map(|prompt_version| AnswerCache { prompt_version, counted }),
    };
    let mut out = Vec::with_capacity(question.text.len() + 512);
    json::push(&mut out, &body);
    out
}

/// What was found.
#[derive(Debug, Deserialize)]
pub(super) struct SearchReply<'a> {
    pub(super) search_query: Queries,
    #[serde(borrow)]
    pub(super) data: Vec<&'a RawValue>,
    #[serde(borrow)]
    pub(super) waggle: Told<'a>,
}

/// As what it was searched for: one text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Queries {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Queries {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Self::One(query) => vec![query],
            Self::Several(queries) => queries,
        }
    }
}

/// What is said of it besides.
#[derive(Debug, Deserialize)]
pub(super) struct Told<'a> {
    /// Whether anything of it is worth an answer.
    pub(super) passed_threshold: bool,
    /// What is to be said if not.
    #[serde(default)]
    pub(super) no_answer: Option<String>,
    /// Whether somebody else is to take over then.
    #[serde(default)]
    pub(super) handover: bool,
    /// The answer to a question that is alike.
    #[serde(borrow, default)]
    pub(super) cached_answer: Option<CachedAnswer<'a>>,
    /// Under which an answer may be kept.
    #[serde(default)]
    pub(super) answer_key: Option<String>,
    /// An answer in the words of what was found.
    #[serde(default)]
    pub(super) extractive: Option<Extract>,
}

/// An answer that was given before, with what it was given from.
#[derive(Debug, Deserialize)]
pub(super) struct CachedAnswer<'a> {
    pub(super) text: String,
    #[serde(borrow)]
    pub(super) data: Vec<&'a RawValue>,
}

/// An answer in the words of its sources.
#[derive(Debug, Deserialize)]
pub(super) struct Extract {
    pub(super) text: String,
}

/// One of the results.
#[derive(Debug, Deserialize)]
struct ResultBody<'a> {
    file_id: String,
    filename: String,
    score: f64,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    content: Vec<ContentBody>,
    #[serde(default)]
    waggle_heading: String,
}

#[derive(Debug, Deserialize)]
struct ContentBody {
    text: String,
}

/// One of the results as the item of a search has it.
#[derive(Serialize)]
struct ResultJson<'a> {
    attributes: Option<&'a RawValue>,
    file_id: &'a str,
    filename: &'a str,
    score: f64,
    text: &'a str,
}

#[derive(Serialize)]
struct CallJson<'a> {
    status: &'static str,
    queries: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<ResultJson<'a>>>,
}

/// The results, read.
pub(super) struct Results<'a>(Vec<ResultBody<'a>>);

impl<'a> Results<'a> {
    /// # Errors
    /// One of them is not as they are to be.
    pub(super) fn read(data: &[&'a RawValue]) -> serde_json::Result<Self> {
        data.iter().map(|raw| serde_json::from_str(raw.get())).collect::<Result<_, _>>().map(Self)
    }

    /// As sources, in their order.
    pub(super) fn sources(&self) -> Vec<Source> {
        let source = |result: &ResultBody<'_>| Source {
            file: CitedFile { file_id: result.file_id.clone(), filename: result.filename.clone() },
            heading: result.waggle_heading.clone(),
            text: result.text(),
        };
        self.0.iter().map(source).collect()
    }

    /// The members of the item that tells of the search; with the results, where they are wanted.
    pub(super) fn call_json(&self, queries: &[String], sources: &[Source], with_results: bool) -> String {
        let results = with_results.then(|| {
            let pairs = self.0.iter().zip(sources);
            pairs
                .map(|(result, source)| ResultJson {
                    attributes: result.attributes,
                    file_id: &source.file.file_id,
                    filename: &source.file.filename,
                    score: result.score,
                    text: &source.text,
                })
                .collect()
        });
        let call = CallJson { status: "completed", queries, results };
        let mut out = Vec::new();
        json::push(&mut out, &call);
        String::from_utf8(out).unwrap_or_default()
    }
}

impl ResultBody<'_> {
    fn text(&self) -> String {
        self.content.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// An answer that is to be kept.
#[derive(Serialize)]
struct KeepBody<'a> {
    answer_key: &'a str,
    text: &'a str,
    sources: &'a [Box<RawValue>],
}

/// The body by which an answer is kept, with what it was given from.
pub(super) fn keep_body(answer_key: &str, text: &str, sources: &[Box<RawValue>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 512);
    json::push(&mut out, &KeepBody { answer_key, text, sources });
    out
}
