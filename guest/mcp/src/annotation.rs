//! `x-mcp-header`: parameters of a tool that a call repeats as header fields (2026-07-28, "Custom Headers from Tool
//! Parameters").

use crate::header;
use serde_json::Value;
use std::collections::BTreeSet;

const KEY: &str = "x-mcp-header";
/// What the names of such fields begin with.
const FIELD_PREFIX: &str = "mcp-param-";
/// The most of them in one tool; more would make a head that servers refuse.
const ANNOTATIONS_MAX: usize = 32;
/// The longest value that is repeated, in bytes.
const VALUE_BYTES_MAX: usize = 2048;

const SCHEMAS: [&str; 11] = [
    "items",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
];
const LISTS_OF_SCHEMAS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const MAPS_OF_SCHEMAS: [&str; 4] = ["patternProperties", "dependentSchemas", "$defs", "definitions"];

/// A parameter that is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repeated {
    /// The names of the properties that lead to it.
    path: Vec<String>,
    /// The field's name after its prefix.
    name: String,
}

/// All parameters of `schema` that are repeated.
///
/// # Errors
/// An annotation is not as it has to be; the text says which and how. Such a tool is not to be used.
fn repeated(schema: &Value) -> Result<Vec<Repeated>, String> {
    let mut found = Vec::new();
    // Schemas that are still to be looked at, each with the path of `properties` that leads there, if only such do.
    let mut open = vec![(Some(Vec::new()), schema)];
    while let Some((path, schema)) = open.pop() {
        let Some(members) = schema.as_object() else { continue };
        if let Some(name) = members.get(KEY) {
            found.push(annotated(path.as_deref(), name, members.get("type"))?);
        }
        for (keyword, value) in members {
            let below = |value| (None, value);
            match keyword.as_str() {
                "properties" => open.extend(value.as_object().into_iter().flatten().map(|(name, value)| {
                    let path = path.as_ref().map(|path| path.iter().chain([name]).cloned().collect());
                    (path, value)
                })),
                keyword if SCHEMAS.contains(&keyword) => open.push((None, value)),
                keyword if LISTS_OF_SCHEMAS.contains(&keyword) => {
                    open.extend(value.as_array().into_iter().flatten().map(below));
                }
                keyword if MAPS_OF_SCHEMAS.contains(&keyword) => {
                    open.extend(value.as_object().into_iter().flatten().map(|(_, value)| below(value)));
                }
                _ => {}
            }
        }
    }
    are_distinct(&found)?;
    Ok(found)
}

fn annotated(path: Option<&[String]>, name: &Value, kind: Option<&Value>) -> Result<Repeated, String> {
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Err(format!("{KEY} stands where no chain of properties leads"));
    };
    let place = path.join(".");
    let Some(name) = name.as_str().filter(|name| header::is_token(name)) else {
        return Err(format!("{KEY} of '{place}' is no name of a header field"));
    };
    if !matches!(kind.and_then(Value::as_str), Some("string" | "integer" | "boolean")) {
        return Err(format!("{KEY} of '{place}', which is no string, integer or boolean"));
    }
    Ok(Repeated { path: path.to_vec(), name: name.to_ascii_lowercase() })
}

fn are_distinct(found: &[Repeated]) -> Result<(), String> {
    if found.len() > ANNOTATIONS_MAX {
        return Err(format!("more than {ANNOTATIONS_MAX} parameters with {KEY}"));
    }
    let mut names = BTreeSet::new();
    match found.iter().find(|repeated| !names.insert(&repeated.name)) {
        Some(twice) => Err(format!("two parameters with {KEY} '{}'", twice.name)),
        None => Ok(()),
    }
}

/// Why a tool of this schema is not to be used, if so.
pub(crate) fn fault(schema: &Value) -> Option<String> {
    repeated(schema).err()
}

/// The header fields of a call with `arguments`, names in lower case. A value that is absent, null, of another kind than
/// can be repeated, or too long, is left out.
pub(crate) fn fields(schema: &Value, arguments: &Value) -> Vec<(String, String)> {
    let repeated = repeated(schema).unwrap_or_default();
    let fields = repeated.iter().filter_map(|Repeated { path, name }| {
        let value = path.iter().try_fold(arguments, |value, name| value.get(name))?;
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(is_true) => is_true.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let value = header::encode(&text);
        (value.len() <= VALUE_BYTES_MAX).then(|| (format!("{FIELD_PREFIX}{name}"), value))
    });
    fields.collect()
}

/// `schema` without its annotations: what a client of ours would repeat, nobody here would look at. `None` when it has
/// none.
pub(crate) fn without(schema: &str) -> Option<String> {
    if !schema.contains(KEY) {
        return None;
    }
    let mut value: Value = serde_json::from_str(schema).ok()?;
    strip(&mut value);
    Some(value.to_string())
}

fn strip(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    members.remove(KEY);
    for (keyword, value) in members {
        match keyword.as_str() {
            keyword if SCHEMAS.contains(&keyword) => strip(value),
            keyword if LISTS_OF_SCHEMAS.contains(&keyword) => {
                value.as_array_mut().into_iter().flatten().for_each(strip);
            }
            keyword if keyword == "properties" || MAPS_OF_SCHEMAS.contains(&keyword) => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, value)| strip(value));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(properties: &Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    #[test]
    fn annotated_parameters_become_fields() {
        let schema = of(&json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "sure": {"type": "boolean", "x-mcp-header": "Sure"},
            "query": {"type": "string"},
        }));
        let check = |arguments: Value, expected: &[(&str, &str)]| {
            let mut fields = fields(&schema, &arguments);
            fields.sort();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(fields, expected, "{arguments}");
        };
        check(json!({"region": "us-west1", "query": "x"}), &[("mcp-param-region", "us-west1")]);
        check(
            json!({"region": "世", "deep": {"n": 42}, "sure": true}),
            &[("mcp-param-n", "42"), ("mcp-param-region", "=?base64?5LiW?="), ("mcp-param-sure", "true")],
        );
        check(json!({"region": null, "deep": 7, "sure": []}), &[]);
        check(json!({"region": "x".repeat(3000)}), &[]);
    }

    #[test]
    fn a_wrong_annotation_makes_the_tool_unusable() {
        let check = |schema: Value, expected: Option<&str>| {
            let fault = fault(&schema);
            let as_expected = match (&fault, expected) {
                (Some(fault), Some(part)) => fault.contains(part),
                (None, None) => true,
                _ => false,
            };
            assert!(as_expected, "{schema}: {fault:?}");
        };
        let named = |name: Value, kind: &str| of(&json!({"a": {"type": kind, "x-mcp-header": name}}));
        check(named(json!("A"), "string"), None);
        check(named(json!(""), "string"), Some("no name"));
        check(named(json!("a b"), "string"), Some("no name"));
        check(named(json!("a\r\nb"), "string"), Some("no name"));
        check(named(json!(7), "string"), Some("no name"));
        check(named(json!("A"), "number"), Some("no string"));
        check(named(json!("A"), "object"), Some("no string"));
        check(json!({"type": "object", "x-mcp-header": "A"}), Some("no chain"));
        let twice = json!({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}});
        check(of(&twice), Some("two parameters"));
        let items = json!({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}});
        check(of(&items), Some("no chain"));
        check(json!({"anyOf": [named(json!("A"), "string")]}), Some("no chain"));
        check(json!({"$defs": {"x": named(json!("A"), "string")}}), Some("no chain"));
        // Data is no schema, and a parameter may be called anything.
        check(of(&json!({"a": {"default": {"x-mcp-header": 1}}, "x-mcp-header": {"type": "string"}})), None);
    }

    #[test]
    fn annotations_are_taken_out_and_parameters_of_that_name_are_not() {
        let schema = r#"{"properties":{"x-mcp-header":{"type":"string","x-mcp-header":"A"}}}"#;
        let expected = r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#;
        assert_eq!(without(schema).as_deref(), Some(expected));
        assert_eq!(without(r#"{"type":"object"}"#), None);
    }
}
