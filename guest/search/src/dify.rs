//! Dify's external knowledge API: `POST /retrieval`. Shapes and their conversion; routes and credentials are the caller's.

use crate::filter::{Nodes, value, values, wrong};
use crate::search::{Found, Ranking, SearchRequest, Searched};
use crate::settings::RESULTS_MAX;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};
use waggle_index::{Attributes, Comparison, FilterNode, Value};
use waggle_openai::{ApiError, Whole, json};

/// The most conditions of a request.
const CONDITIONS_MAX: usize = 32;
/// The most names of one condition.
const NAMES_MAX: usize = 8;

/// The credential is not of the form `Bearer …`.
pub const CREDENTIAL_MALFORMED: u32 = 1001;
/// The credential is not accepted.
pub const CREDENTIAL_REFUSED: u32 = 1002;
/// There is no such knowledge.
pub const KNOWLEDGE_UNKNOWN: u32 = 2001;
/// Dify has no numbers for the rest; these are the statuses' own.
const REQUEST_WRONG: u32 = 400;
const SERVER_FAILED: u32 = 500;

#[derive(Deserialize)]
struct Body {
    knowledge_id: String,
    query: String,
    #[serde(default)]
    retrieval_setting: Setting,
    #[serde(default)]
    metadata_condition: Option<Conditions>,
}

#[derive(Default, Deserialize)]
struct Setting {
    #[serde(default, deserialize_with = "top_k")]
    top_k: Option<u32>,
    score_threshold: Option<f32>,
}

/// Says which field is wrong: nothing else does, in a body that is read whole.
fn top_k<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let read = Option::<Whole<u32>>::deserialize(deserializer);
    let read = read.map_err(|error| D::Error::custom(format!("'retrieval_setting.top_k': {error}")))?;
    Ok(read.map(|Whole(results)| results))
}

#[derive(Deserialize)]
struct Conditions {
    #[serde(default)]
    logical_operator: Option<String>,
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    name: Names,
    comparison_operator: String,
    #[serde(default)]
    value: Json,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

/// A request, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// Whose knowledge: the id of a vector store.
    pub knowledge_id: String,
    /// The search, but for its indexes.
    pub request: SearchRequest,
}

impl Retrieval {
    /// Reads a request's body.
    ///
    /// # Errors
    /// 400 naming the field.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = serde_json::from_slice(body).map_err(|error| {
            ApiError::invalid(format!("The request body is not as Dify sends it: {error}."))
        })?;
        let Setting { top_k, score_threshold } = body.retrieval_setting;
        let filter = match &body.metadata_condition {
            Some(conditions) => filter(conditions)?,
            None => Vec::new(),
        };
        let request = SearchRequest {
            queries: vec![body.query],
            filter,
            results_max: top_k.map(|results| results.clamp(1, RESULTS_MAX)),
            ranking: Ranking { threshold: score_threshold, ..Ranking::default() },
            rewrite: Some(false),
            ..SearchRequest::default()
        };
        Ok(Self { knowledge_id: body.knowledge_id, request })
    }

    /// The search in these indexes.
    #[must_use]
    pub fn in_indexes(self, indexes: Vec<Searched>) -> SearchRequest {
        SearchRequest { indexes, ..self.request }
    }
}

fn filter(conditions: &Conditions) -> Result<Vec<FilterNode>, ApiError> {
    const AT: &str = "metadata_condition.conditions";
    let all = conditions.conditions.as_deref().unwrap_or_default();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    if all.len() > CONDITIONS_MAX {
        return Err(wrong(AT, &format!("at most {CONDITIONS_MAX} conditions are accepted")));
    }
    let mut nodes = Nodes::default();
    let mut parts = Vec::with_capacity(all.len());
    for (place, one) in all.iter().enumerate() {
        parts.push(condition(&mut nodes, one, &format!("{AT}[{place}]"))?);
    }
    let root = match conditions.logical_operator.as_deref() {
        None | Some("" | "and") => FilterNode::All(parts),
        Some("or") => FilterNode::Any(parts),
        Some(_) => return Err(wrong("metadata_condition.logical_operator", "it must be 'and' or 'or'")),
    };
    nodes.push(root, AT)?;
    Ok(nodes.into_vec())
}

fn condition(nodes: &mut Nodes, condition: &Condition, at: &str) -> Result<u32, ApiError> {
    let names = match &condition.name {
        Names::One(name) => std::slice::from_ref(name),
        Names::Many(names) => names.as_slice(),
    };
    let at_name = format!("{at}.name");
    if !(1..=NAMES_MAX).contains(&names.len()) {
        return Err(wrong(&at_name, &format!("1 to {NAMES_MAX} names are accepted")));
    }
    let (comparison, values) = compared(condition, at)?;
    let mut parts = Vec::with_capacity(names.len());
    for name in names {
        parts.push(nodes.compare(name, comparison, values.clone(), &at_name)?);
    }
    // Of several names any may fit; to be none of them, all must.
    let node = match comparison {
        Comparison::NotEqual | Comparison::NotOneOf => FilterNode::All(parts),
        _ => FilterNode::Any(parts),
    };
    nodes.push(node, at)
}

fn compared(condition: &Condition, at: &str) -> Result<(Comparison, Vec<Value>), ApiError> {
    let at_value = format!("{at}.value");
    let comparison = match condition.comparison_operator.as_str() {
        "is" | "=" => Comparison::Equal,
        "is not" | "≠" | "!=" => Comparison::NotEqual,
        ">" | "after" => Comparison::Greater,
        "<" | "before" => Comparison::Less,
        "≥" | ">=" => Comparison::GreaterOrEqual,
        "≤" | "<=" => Comparison::LessOrEqual,
        "in" => Comparison::OneOf,
        "not in" => Comparison::NotOneOf,
        _ => {
            let expected = "of Dify's operators, 'is', 'is not', 'in', 'not in', '=', '≠', '>', '<', '≥', '≤', 'before' and \
                            'after' are supported";
            return Err(wrong(&format!("{at}.comparison_operator"), expected));
        }
    };
    let given = &condition.value;
    if matches!(comparison, Comparison::OneOf | Comparison::NotOneOf) {
        return Ok((comparison, values(given, &at_value)?));
    }
    let value = value(given, &at_value)?;
    // Dify's form sends numbers as texts; with these operators only numbers are meant.
    let number = match (&value, condition.comparison_operator.as_str()) {
        (Value::Text(text), "=" | "≠" | "!=" | ">" | "<" | "≥" | ">=" | "≤" | "<=") => {
            text.trim().parse().ok()
        }
        _ => None,
    };
    let number = number.filter(|number: &f64| number.is_finite()).map(Value::Number);
    Ok((comparison, vec![number.unwrap_or(value)]))
}

#[derive(Serialize)]
struct Records<'a> {
    records: Vec<Record<'a>>,
}

#[derive(Serialize)]
struct Record<'a> {
    content: &'a str,
    score: f32,
    title: &'a str,
    metadata: Map<String, Json>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: u32,
    error_msg: &'a str,
}

/// Attributes as JSON.
pub(crate) fn attributes_json(attributes: &Attributes) -> Map<String, Json> {
    let json = |value: &Value| match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Number(number) => Json::from(*number),
        Value::Boolean(truth) => Json::from(*truth),
    };
    attributes.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

/// The body of an answer: results as Dify's records. Their metadata is the file's attributes, with its id and the headings.
pub fn records(results: &[Found]) -> Vec<u8> {
    let metadata = |found: &Found| {
        let mut metadata = attributes_json(&found.attributes);
        metadata.insert("file_id".to_owned(), found.file_id.as_str().into());
        if !found.heading.is_empty() {
            metadata.insert("heading".to_owned(), found.heading.as_str().into());
        }
        metadata
    };
    let records = results.iter().map(|found| Record {
        content: &found.text,
        score: found.score,
        title: &found.filename,
        metadata: metadata(found),
    });
    let mut body = Vec::new();
    json::push(&mut body, &Records { records: records.collect() });
    body
}

/// The body of a refusal, by one of the numbers above.
pub fn refusal(error_code: u32, error_msg: &str) -> Vec<u8> {
    let mut body = Vec::new();
    json::push(&mut body, &ErrorBody { error_code, error_msg });
    body
}

/// The body of an error as Dify reads it: 2001 where there is no such knowledge, else by its status.
pub fn refusal_of(error: &ApiError) -> Vec<u8> {
    let code = match error.status {
        401 | 403 => CREDENTIAL_REFUSED,
        404 => KNOWLEDGE_UNKNOWN,
        400..500 => REQUEST_WRONG,
        _ => SERVER_FAILED,
    };
    refusal(code, &error.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::found;

    fn read(metadata_condition: &str) -> Result<Retrieval, ApiError> {
        let body = format!(
            r#"{{"knowledge_id":"vs_1","query":"q","retrieval_setting":{{"top_k":2,"score_threshold":0.5}},
                "metadata_condition":{metadata_condition}}}"#
        );
        Retrieval::read(body.as_bytes())
    }

    #[test]
    fn a_request_becomes_a_search() {
        let retrieval = read("null").unwrap();
        assert_eq!(retrieval.knowledge_id, "vs_1");
        let request = retrieval.request;
        assert_eq!((request.queries.as_slice(), request.results_max), (["q".to_owned()].as_slice(), Some(2)));
        assert_eq!((request.ranking.threshold, request.filter.len()), (Some(0.5), 0));
        let bare = Retrieval::read(br#"{"knowledge_id":"vs_1","query":"q"}"#).unwrap();
        assert_eq!((bare.request.results_max, bare.request.ranking.threshold), (None, None));
        let many = Retrieval::read(br#"{"knowledge_id":"v","query":"q","retrieval_setting":{"top_k":500}}"#)
            .unwrap();
        assert_eq!(many.request.results_max, Some(RESULTS_MAX));
        let setting = |top_k: &str| {
            let body = format!(
                r#"{{"knowledge_id":"v","query":"q","retrieval_setting":{{"top_k":{top_k},"score_threshold":0}}}}"#
            );
            Retrieval::read(body.as_bytes())
        };
        for (top_k, expected) in [("7.0", Some(7)), ("1e1", Some(10)), ("null", None)] {
            assert_eq!(setting(top_k).unwrap().request.results_max, expected, "{top_k}");
        }
        for top_k in ["7.5", "-1", "4294967296.0", "\"7\""] {
            let error = setting(top_k).unwrap_err();
            assert!(error.message.contains("'retrieval_setting.top_k'"), "{top_k}: {error}");
        }
        for body in ["", "{}", "[]", r#"{"knowledge_id":1,"query":"q"}"#] {
            assert_eq!(Retrieval::read(body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
    }

    fn check(name: &str, operator: &str, value: &str, comparison: Comparison, expected: &Value) {
        let conditions = format!(
            r#"{{"conditions":[{{"name":{name},"comparison_operator":"{operator}","value":{value}}}]}}"#
        );
        let filter = read(&conditions).unwrap().request.filter;
        let FilterNode::Compare { comparison: seen, values, .. } = &filter[0] else { panic!("{filter:?}") };
        assert_eq!((*seen, values), (comparison, &vec![expected.clone()]), "{operator}");
    }

    #[test]
    fn conditions_become_a_filter() {
        let (text, number) = (|text: &str| Value::Text(text.to_owned()), Value::Number);
        check(r#""a""#, "is", r#""x""#, Comparison::Equal, &text("x"));
        check(r#""a""#, "is", r#""5""#, Comparison::Equal, &text("5"));
        check(r#"["a"]"#, "is not", r#""x""#, Comparison::NotEqual, &text("x"));
        check(r#"["a"]"#, "=", r#""5""#, Comparison::Equal, &number(5.0));
        check(r#"["a"]"#, "≥", "2", Comparison::GreaterOrEqual, &number(2.0));
        check(r#"["a"]"#, "≤", r#""2.5""#, Comparison::LessOrEqual, &number(2.5));
        check(r#"["a"]"#, "before", r#""2026-01-01""#, Comparison::Less, &text("2026-01-01"));
        check(r#"["a"]"#, "in", r#"["x"]"#, Comparison::OneOf, &text("x"));
        let two = r#"{"logical_operator":"or","conditions":[
            {"name":["a","b"],"comparison_operator":"is","value":"x"},
            {"name":["c","d"],"comparison_operator":"is not","value":"y"}]}"#;
        let filter = read(two).unwrap().request.filter;
        assert_eq!(filter[2], FilterNode::Any(vec![0, 1]));
        assert_eq!(filter[5], FilterNode::All(vec![3, 4]));
        assert_eq!(filter[6], FilterNode::Any(vec![2, 5]));
    }

    #[test]
    fn a_condition_that_cannot_be_kept_is_refused_by_its_place() {
        for (conditions, param) in [
            (
                r#"{"conditions":[{"name":"a","comparison_operator":"contains","value":"x"}]}"#,
                "metadata_condition.conditions[0].comparison_operator",
            ),
            (
                r#"{"conditions":[{"name":"a","comparison_operator":"is"}]}"#,
                "metadata_condition.conditions[0].value",
            ),
            (
                r#"{"conditions":[{"name":[],"comparison_operator":"is","value":"x"}]}"#,
                "metadata_condition.conditions[0].name",
            ),
            (
                r#"{"logical_operator":"xor","conditions":[{"name":"a","comparison_operator":"is","value":"x"}]}"#,
                "metadata_condition.logical_operator",
            ),
        ] {
            let error = read(conditions).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{error}");
        }
    }

    #[test]
    fn results_become_records() {
        let attributes =
            vec![("year".to_owned(), Value::Number(2026.0)), ("ok".to_owned(), Value::Boolean(true))];
        let results = [Found { attributes, heading: "H".to_owned(), ..found("file-1", "text", 0.5) }];
        let body: Json = serde_json::from_slice(&records(&results)).unwrap();
        let metadata = serde_json::json!({"year": 2026.0, "ok": true, "file_id": "file-1", "heading": "H"});
        let expected = serde_json::json!({"records": [
            {"content": "text", "score": 0.5, "title": "file-1.md", "metadata": metadata}]});
        assert_eq!(body, expected);
        assert_eq!(records(&[]), br#"{"records":[]}"#);
    }

    #[test]
    fn errors_have_difys_numbers() {
        let body = refusal_of(&ApiError::not_found("Vector store", "vs_1"));
        assert!(body.starts_with(br#"{"error_code":2001,"error_msg":"#));
        let body = refusal_of(&ApiError::server(500, "x", "m"));
        assert_eq!(body, br#"{"error_code":500,"error_msg":"m"}"#);
    }
}
