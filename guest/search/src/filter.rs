//! OpenAI's filters of attributes: `{"type": "eq", "key": …, "value": …}`, and `and` and `or` of such.

use serde_json::Value as Json;
use serde_json::value::RawValue;
use waggle_index::bounds::{
    ATTRIBUTE_NAME_BYTES_MAX as NAME_BYTES_MAX, ATTRIBUTE_TEXT_BYTES_MAX as TEXT_BYTES_MAX,
    FILTER_NODES_MAX as NODES_MAX, FILTER_VALUES_MAX as VALUES_MAX,
};
use waggle_index::{Comparison, FilterNode, Value};
use waggle_openai::ApiError;
use waggle_openai::error::echo;

/// How deep compounds may stand in each other.
const DEPTH_MAX: usize = 16;

/// A filter as nodes, the last of which is its root.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Vec<FilterNode>);

/// A mistake at a place of the filter.
pub(crate) fn wrong(at: &str, expected: &str) -> ApiError {
    let at = echo(at);
    let message = format!("Invalid value for '{at}': {expected}.");
    ApiError::invalid_param(at, "invalid_value", message)
}

impl Nodes {
    pub(crate) fn push(&mut self, node: FilterNode, at: &str) -> Result<u32, ApiError> {
        if self.0.len() == NODES_MAX {
            return Err(wrong(at, &format!("a filter has at most {NODES_MAX} parts")));
        }
        let place = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(node);
        Ok(place)
    }

    /// A comparison, within its bounds.
    pub(crate) fn compare(
        &mut self,
        attribute: &str,
        comparison: Comparison,
        values: Vec<Value>,
        at: &str,
    ) -> Result<u32, ApiError> {
        if attribute.is_empty() || attribute.len() > NAME_BYTES_MAX {
            return Err(wrong(at, &format!("the name of an attribute has 1 to {NAME_BYTES_MAX} bytes")));
        }
        if values.len() > VALUES_MAX {
            return Err(wrong(at, &format!("at most {VALUES_MAX} values are accepted")));
        }
        self.push(FilterNode::Compare { attribute: attribute.to_owned(), comparison, values }, at)
    }

    pub(crate) fn into_vec(self) -> Vec<FilterNode> {
        self.0
    }
}

/// A value that attributes are compared with.
pub(crate) fn value(json: &Json, at: &str) -> Result<Value, ApiError> {
    match json {
        Json::String(text) if text.len() <= TEXT_BYTES_MAX => Ok(Value::Text(text.clone())),
        Json::String(_) => Err(wrong(at, &format!("a text has at most {TEXT_BYTES_MAX} bytes"))),
        Json::Bool(truth) => Ok(Value::Boolean(*truth)),
        Json::Number(number) => {
            number.as_f64().map(Value::Number).ok_or_else(|| wrong(at, "it is no number"))
        }
        Json::Null | Json::Array(_) | Json::Object(_) => {
            Err(wrong(at, "it must be a string, a number or a boolean"))
        }
    }
}

/// The values of an array.
pub(crate) fn values(json: &Json, at: &str) -> Result<Vec<Value>, ApiError> {
    let elements = json.as_array().filter(|elements| (1..=VALUES_MAX).contains(&elements.len()));
    let expected = || wrong(at, &format!("it must be an array of 1 to {VALUES_MAX} values"));
    let elements = elements.ok_or_else(expected)?;
    elements.iter().enumerate().map(|(place, element)| value(element, &format!("{at}[{place}]"))).collect()
}

fn comparison(kind: &str) -> Option<Comparison> {
    Some(match kind {
        "eq" => Comparison::Equal,
        "ne" => Comparison::NotEqual,
        "gt" => Comparison::Greater,
        "gte" => Comparison::GreaterOrEqual,
        "lt" => Comparison::Less,
        "lte" => Comparison::LessOrEqual,
        "in" => Comparison::OneOf,
        "nin" => Comparison::NotOneOf,
        _ => return None,
    })
}

fn check_keys(object: &serde_json::Map<String, Json>, known: &[&str], at: &str) -> Result<(), ApiError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(ApiError::invalid_param(
            format!("{at}.{}", echo(key)),
            "unknown_parameter",
            format!("Unknown parameter: '{at}.{}'.", echo(key)),
        )),
        None => Ok(()),
    }
}

fn node(nodes: &mut Nodes, json: &Json, at: &str, depth: usize) -> Result<u32, ApiError> {
    let Json::Object(object) = json else { return Err(wrong(at, "it must be an object")) };
    let kind = object.get("type").and_then(Json::as_str).unwrap_or_default();
    if let Some(comparison) = comparison(kind) {
        check_keys(object, &["type", "key", "value"], at)?;
        return compared(nodes, object, comparison, at);
    }
    if kind != "and" && kind != "or" {
        let expected = "it must be 'eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'and' or 'or'";
        return Err(wrong(&format!("{at}.type"), expected));
    }
    check_keys(object, &["type", "filters"], at)?;
    if depth == DEPTH_MAX {
        return Err(wrong(at, &format!("filters stand at most {DEPTH_MAX} deep in each other")));
    }
    let at_filters = format!("{at}.filters");
    let filters = object.get("filters").and_then(Json::as_array).filter(|filters| !filters.is_empty());
    let filters = filters.ok_or_else(|| wrong(&at_filters, "it must be an array of filters"))?;
    let mut parts = Vec::with_capacity(filters.len().min(NODES_MAX));
    for (place, filter) in filters.iter().enumerate() {
        parts.push(node(nodes, filter, &format!("{at_filters}[{place}]"), depth + 1)?);
    }
    nodes.push(if kind == "and" { FilterNode::All(parts) } else { FilterNode::Any(parts) }, at)
}

fn compared(
    nodes: &mut Nodes,
    object: &serde_json::Map<String, Json>,
    comparison: Comparison,
    at: &str,
) -> Result<u32, ApiError> {
    use Comparison::{Equal, NotEqual, NotOneOf, OneOf};
    let (at_key, at_value) = (format!("{at}.key"), format!("{at}.value"));
    let key = object.get("key").and_then(Json::as_str);
    let key = key.ok_or_else(|| wrong(&at_key, "it must be the name of an attribute"))?;
    let given = object.get("value").ok_or_else(|| ApiError::missing(&at_value))?;
    let values = match comparison {
        OneOf | NotOneOf => values(given, &at_value)?,
        _ => vec![value(given, &at_value)?],
    };
    let has_order = !matches!(values.first(), Some(Value::Boolean(_)));
    if !matches!(comparison, Equal | NotEqual | OneOf | NotOneOf) && !has_order {
        return Err(wrong(&at_value, "neither of true and false is greater"));
    }
    nodes.compare(key, comparison, values, &at_key)
}

/// Reads a filter that stands in the field `at` of a request. `null` and nothing at all are no filter.
///
/// # Errors
/// 400 naming the place, as in `filters.filters[1].value`.
pub fn parse(raw: &RawValue, at: &str) -> Result<Vec<FilterNode>, ApiError> {
    let json: Json = serde_json::from_str(raw.get()).map_err(|error| wrong(at, &error.to_string()))?;
    if json.is_null() {
        return Ok(Vec::new());
    }
    let mut nodes = Nodes::default();
    node(&mut nodes, &json, at, 0)?;
    Ok(nodes.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<Vec<FilterNode>, ApiError> {
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        parse(&raw, "filters")
    }

    fn compare(attribute: &str, comparison: Comparison, values: Vec<Value>) -> FilterNode {
        FilterNode::Compare { attribute: attribute.to_owned(), comparison, values }
    }

    #[test]
    fn every_comparison_is_read() {
        let check = |json: &str, comparison, values| {
            assert_eq!(read(json), Ok(vec![compare("k", comparison, values)]), "{json}");
        };
        let text = |text: &str| Value::Text(text.to_owned());
        check(r#"{"type":"eq","key":"k","value":"a"}"#, Comparison::Equal, vec![text("a")]);
        check(r#"{"type":"ne","key":"k","value":true}"#, Comparison::NotEqual, vec![Value::Boolean(true)]);
        check(r#"{"type":"gt","key":"k","value":1}"#, Comparison::Greater, vec![Value::Number(1.0)]);
        check(
            r#"{"type":"gte","key":"k","value":1.5}"#,
            Comparison::GreaterOrEqual,
            vec![Value::Number(1.5)],
        );
        check(r#"{"type":"lt","key":"k","value":"2026"}"#, Comparison::Less, vec![text("2026")]);
        check(r#"{"type":"lte","key":"k","value":-1}"#, Comparison::LessOrEqual, vec![Value::Number(-1.0)]);
        check(
            r#"{"type":"in","key":"k","value":["a",1]}"#,
            Comparison::OneOf,
            vec![text("a"), Value::Number(1.0)],
        );
        check(r#"{"type":"nin","key":"k","value":["a"]}"#, Comparison::NotOneOf, vec![text("a")]);
        assert_eq!(read("null"), Ok(vec![]));
    }

    #[test]
    fn a_compound_stands_behind_its_parts() {
        let nodes = read(
            r#"{"type":"and","filters":[{"type":"eq","key":"a","value":1},
                {"type":"or","filters":[{"type":"eq","key":"b","value":2},{"type":"eq","key":"c","value":3}]}]}"#,
        );
        let equal = |key: &str, number| compare(key, Comparison::Equal, vec![Value::Number(number)]);
        let expected = vec![
            equal("a", 1.0),
            equal("b", 2.0),
            equal("c", 3.0),
            FilterNode::Any(vec![1, 2]),
            FilterNode::All(vec![0, 3]),
        ];
        assert_eq!(nodes, Ok(expected));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let deep = |depth| {
            let begin = r#"{"type":"and","filters":["#.repeat(depth);
            format!(r#"{begin}{{"type":"eq","key":"k","value":1}}{}"#, "]}".repeat(depth))
        };
        let many = vec![r#"{"type":"eq","key":"k","value":1}"#; NODES_MAX].join(",");
        for (json, param) in [
            ("3", "filters"),
            ("{}", "filters.type"),
            (r#"{"type":"like","key":"k","value":1}"#, "filters.type"),
            (r#"{"type":"eq","value":1}"#, "filters.key"),
            (r#"{"type":"eq","key":"","value":1}"#, "filters.key"),
            (r#"{"type":"eq","key":"k"}"#, "filters.value"),
            (r#"{"type":"eq","key":"k","value":null}"#, "filters.value"),
            (r#"{"type":"eq","key":"k","value":[1]}"#, "filters.value"),
            (r#"{"type":"gt","key":"k","value":true}"#, "filters.value"),
            (r#"{"type":"in","key":"k","value":1}"#, "filters.value"),
            (r#"{"type":"in","key":"k","value":[]}"#, "filters.value"),
            (r#"{"type":"in","key":"k","value":[1,{}]}"#, "filters.value[1]"),
            (r#"{"type":"eq","key":"k","value":1,"x":1}"#, "filters.x"),
            (r#"{"type":"and"}"#, "filters.filters"),
            (r#"{"type":"and","filters":[]}"#, "filters.filters"),
            (
                r#"{"type":"or","filters":[{"type":"eq","key":"k","value":1},{"type":"x"}]}"#,
                "filters.filters[1].type",
            ),
            (&*format!(r#"{{"type":"and","filters":[{many}]}}"#), "filters"),
            (&*format!(r#"{{"type":"eq","key":"{}","value":1}}"#, "k".repeat(65)), "filters.key"),
            (&*format!(r#"{{"type":"eq","key":"k","value":"{}"}}"#, "v".repeat(513)), "filters.value"),
        ] {
            let error = read(json).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{json:.90}: {error}");
        }
        assert!(read(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(read(&deep(DEPTH_MAX + 1)).unwrap_err().code, Some("invalid_value"));
    }

    fn any_filter() -> impl Strategy<Value = String> {
        let leaf = ("[a-c]{1,3}", 0i64..9)
            .prop_map(|(key, value)| format!(r#"{{"type":"gte","key":"{key}","value":{value}}}"#));
        leaf.prop_recursive(4, 40, 4, |inner| {
            (prop::collection::vec(inner, 1..4), any::<bool>()).prop_map(|(parts, all)| {
                let kind = if all { "and" } else { "or" };
                format!(r#"{{"type":"{kind}","filters":[{}]}}"#, parts.join(","))
            })
        })
    }

    proptest! {
        #[test]
        fn nodes_refer_to_earlier_ones_each_to_its_own(json in any_filter()) {
            let nodes = read(&json).unwrap();
            let mut referred = vec![0; nodes.len()];
            for (place, node) in nodes.iter().enumerate() {
                if let FilterNode::All(parts) | FilterNode::Any(parts) = node {
                    for part in parts {
                        prop_assert!((*part as usize) < place);
                        referred[*part as usize] += 1;
                    }
                }
            }
            let root = referred.pop();
            prop_assert_eq!(root, Some(0));
            prop_assert!(referred.iter().all(|count| *count == 1));
        }
    }
}
