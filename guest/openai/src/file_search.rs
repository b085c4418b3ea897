//! The tool `file_search`: from which vector stores of the tenant a turn is to be answered, and how they are searched.

use crate::error::ApiError;
use crate::mcp_tool::McpTool;
use crate::tool::Tool;
use serde::ser::{SerializeSeq, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most vector stores of one search.
pub const VECTOR_STORES_MAX: usize = 16;
/// The longest id of a vector store, in bytes.
const ID_BYTES_MAX: usize = 128;
/// The most results that may be asked for.
pub const RESULTS_MAX: u64 = 50;
/// The longest filter, in bytes.
const FILTERS_BYTES_MAX: usize = 16 << 10;
/// The rankers that may be named. There is one; which it is, is the tenant's to configure.
const RANKERS: [&str; 2] = ["auto", "default-2024-11-15"];

/// A search in the tenant's knowledge.
#[derive(Debug, Clone)]
pub struct FileSearch {
    /// Its place among the request's tools.
    pub place: usize,
    /// The vector stores; 1 to [`VECTOR_STORES_MAX`].
    pub vector_store_ids: Vec<String>,
    /// Which files of them, by their attributes: an object, which whoever searches reads.
    pub filters: Option<Box<RawValue>>,
    /// At most so many results, 1 to [`RESULTS_MAX`].
    pub max_num_results: Option<u64>,
    /// How results are ranked.
    pub ranking_options: Option<RankingOptions>,
}

/// How results are ranked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingOptions {
    /// The ranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranker: Option<String>,
    /// From 0 to 1: what scores less is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_threshold: Option<f64>,
    /// What words and what meaning weigh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hybrid_search: Option<HybridSearch>,
}

/// What words and what meaning weigh against each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HybridSearch {
    /// The weight of meaning; 0 or more.
    pub embedding_weight: f64,
    /// The weight of words; 0 or more.
    pub text_weight: f64,
}

impl FileSearch {
    /// Holds each setting to its range.
    ///
    /// # Errors
    /// 400 naming the first one that is out of its range, as `tools[0].max_num_results`.
    pub fn check(&self) -> Result<(), ApiError> {
        let refused = |field: &str, expected: String| {
            let param = format!("tools[{}].{field}", self.place);
            let message = format!("Invalid value for '{param}': it must be {expected}.");
            Err(ApiError::invalid_param(param, "invalid_value", message))
        };
        let count = self.vector_store_ids.len();
        if !(1..=VECTOR_STORES_MAX).contains(&count) {
            return refused("vector_store_ids", format!("an array of 1 to {VECTOR_STORES_MAX} ids"));
        }
        let fits = |id: &String| (1..=ID_BYTES_MAX).contains(&id.len());
        if let Some(place) = self.vector_store_ids.iter().position(|id| !fits(id)) {
            let field = format!("vector_store_ids[{place}]");
            return refused(&field, format!("an id of 1 to {ID_BYTES_MAX} bytes"));
        }
        if self.filters.as_ref().is_some_and(|filters| filters.get().len() > FILTERS_BYTES_MAX) {
            return refused("filters", format!("at most {FILTERS_BYTES_MAX} bytes long"));
        }
        if self.max_num_results.is_some_and(|count| !(1..=RESULTS_MAX).contains(&count)) {
            return refused("max_num_results", format!("an integer from 1 to {RESULTS_MAX}"));
        }
        match self.ranking_options.as_ref().and_then(RankingOptions::wrong) {
            Some((field, expected)) => refused(&format!("ranking_options.{field}"), expected),
            None => Ok(()),
        }
    }
}

impl RankingOptions {
    /// The first setting that is out of its range, and what was expected.
    fn wrong(&self) -> Option<(&'static str, String)> {
        if self.ranker.as_ref().is_some_and(|ranker| !RANKERS.contains(&ranker.as_str())) {
            return Some(("ranker", format!("one of '{}'", RANKERS.join("', '"))));
        }
        if self.score_threshold.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Some(("score_threshold", "a number from 0 to 1".to_owned()));
        }
        let HybridSearch { embedding_weight, text_weight } = self.hybrid_search?;
        let is_weight = |weight: f64| weight.is_finite() && weight >= 0.0;
        let fits =
            is_weight(embedding_weight) && is_weight(text_weight) && embedding_weight + text_weight > 0.0;
        (!fits).then(|| ("hybrid_search", "two weights of at least 0, of which one is more".to_owned()))
    }
}

impl Serialize for FileSearch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("FileSearch", 5)?;
        fields.serialize_field("type", "file_search")?;
        fields.serialize_field("vector_store_ids", &self.vector_store_ids)?;
        fields.serialize_field("filters", &self.filters)?;
        match &self.max_num_results {
            Some(count) => fields.serialize_field("max_num_results", count)?,
            None => fields.skip_field("max_num_results")?,
        }
        match &self.ranking_options {
            Some(options) => fields.serialize_field("ranking_options", options)?,
            None => fields.skip_field("ranking_options")?,
        }
        fields.end()
    }
}

/// The tools of a request as its response repeats them: in the request's order.
#[derive(Debug)]
pub(crate) struct ToolsJson<'a> {
    pub(crate) functions: &'a [Tool],
    pub(crate) file_search: Option<&'a FileSearch>,
    pub(crate) mcp: &'a [McpTool],
}

impl Serialize for ToolsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = self.functions.len() + usize::from(self.file_search.is_some()) + self.mcp.len();
        let mut tools = serializer.serialize_seq(Some(count))?;
        // Functions stand where none of the others does, which know their places.
        let (mut functions, mut mcp) = (self.functions.iter(), self.mcp.iter().peekable());
        let mut file_search = self.file_search;
        for place in 0..count {
            if let Some(search) = file_search.take_if(|search| search.place == place) {
                tools.serialize_element(search)?;
            } else if let Some(tool) = mcp.next_if(|tool| tool.place == place) {
                tools.serialize_element(tool)?;
            } else if let Some(function) = functions.next() {
                tools.serialize_element(function)?;
            }
        }
        // Places that no request has: whoever put them there wants them told all the same.
        file_search.map_or(Ok(()), |search| tools.serialize_element(search))?;
        mcp.try_for_each(|tool| tools.serialize_element(tool))?;
        tools.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::CreateResponse;
    use serde_json::{Value, json};

    fn read(tools: &Value) -> Result<crate::parameters::Parameters, ApiError> {
        let body = json!({"input": "x", "tools": tools}).to_string();
        CreateResponse::read(body.as_bytes()).map(|request| request.parameters)
    }

    fn repeated(tools: &Value) -> Value {
        let parameters = read(tools).unwrap();
        let file_search = parameters.file_search.as_ref();
        let json = ToolsJson { functions: &parameters.tools, file_search, mcp: &parameters.mcp };
        serde_json::to_value(&json).unwrap()
    }

    #[test]
    fn it_is_repeated_as_it_was_sent_and_in_its_place() {
        let function =
            json!({"type": "function", "name": "f", "description": null, "parameters": null, "strict": null});
        let plain = json!({"type": "file_search", "vector_store_ids": ["vs_1"]});
        let mut told = plain.clone();
        told["filters"] = Value::Null;
        let full = json!({"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"],
            "filters": {"type": "eq", "key": "k", "value": 1}, "max_num_results": 50,
            "ranking_options": {"ranker": "auto", "score_threshold": 0.5,
                "hybrid_search": {"embedding_weight": 1.0, "text_weight": 0.0}}});
        assert_eq!(repeated(&json!([plain])), json!([told]));
        assert_eq!(repeated(&json!([full])), json!([full]));
        let mut fraction = full.clone();
        fraction["max_num_results"] = json!(50.0);
        assert_eq!(repeated(&json!([fraction])), json!([full]));
        for tools in [json!([told, function]), json!([function, told]), json!([function, told, function])] {
            assert_eq!(repeated(&tools), tools);
        }
    }

    fn check(field: &str, value: &Value, param: &str, code: &str) {
        let mut tool = json!({"type": "file_search", "vector_store_ids": ["vs_1"]});
        tool[field] = value.clone();
        let error = read(&json!([{"type": "function", "name": "f"}, tool])).unwrap_err();
        assert_eq!(
            (error.status, error.param.as_deref(), error.code),
            (400, Some(param), Some(code)),
            "{error}"
        );
    }

    #[test]
    fn what_is_wrong_with_it_is_named_by_its_place() {
        let at = |field: &str| format!("tools[1].{field}");
        check("vector_store_ids", &json!([]), &at("vector_store_ids"), "invalid_value");
        check("vector_store_ids", &json!(vec!["vs_1"; 17]), &at("vector_store_ids"), "invalid_value");
        check("vector_store_ids", &json!(["vs_1", ""]), &at("vector_store_ids[1]"), "invalid_value");
        check("vector_store_ids", &json!("vs_1"), "tools[1]", "invalid_type");
        check("vector_store_ids", &Value::Null, "tools[1]", "missing_required_parameter");
        check("max_num_results", &json!(0), &at("max_num_results"), "invalid_value");
        check("max_num_results", &json!(51), &at("max_num_results"), "invalid_value");
        check("max_num_results", &json!(1.5), "tools[1]", "invalid_type");
        check("filters", &json!([]), "tools[1]", "invalid_value");
        check("ranking_options", &json!({"ranker": "best"}), &at("ranking_options.ranker"), "invalid_value");
        let threshold = at("ranking_options.score_threshold");
        check("ranking_options", &json!({"score_threshold": 1.1}), &threshold, "invalid_value");
        let weights =
            |one: f64, other: f64| json!({"hybrid_search": {"embedding_weight": one, "text_weight": other}});
        let hybrid = at("ranking_options.hybrid_search");
        check("ranking_options", &weights(0.0, 0.0), &hybrid, "invalid_value");
        check("ranking_options", &weights(-1.0, 2.0), &hybrid, "invalid_value");
        check("ranking_options", &json!({"x": 1}), "tools[1]", "unknown_parameter");
        check("name", &json!("f"), "tools[1]", "unknown_parameter");
        let one = json!({"type": "file_search", "vector_store_ids": ["vs_1"]});
        let error = read(&json!([one, one])).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some("tools[1]"), Some("invalid_value")));
        let foreign = json!([{"type": "function", "name": "f", "vector_store_ids": ["vs_1"]}]);
        assert_eq!(read(&foreign).unwrap_err().code, Some("unknown_parameter"));
    }
}
