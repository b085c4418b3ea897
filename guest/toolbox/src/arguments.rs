//! Arguments as a model has written them: JSON, an object, within bounds, as the schema says.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use waggle_schema::Schema;

/// The longest arguments, in bytes.
pub(crate) const ARGUMENTS_BYTES_MAX: usize = 64 << 10;
/// How deep they may be nested.
pub(crate) const DEPTH_MAX: usize = 32;

/// Reads arguments and holds them to the schema `parameters`. Nothing at all stands for an empty object.
///
/// # Errors
/// What is wrong with them, for the model: where, what was expected, what was found.
pub(crate) fn read(arguments: &str, parameters: &RawValue) -> Result<Map<String, Value>, String> {
    let object = read_object(arguments)?;
    let value = Value::Object(object);
    // A schema that is none holds nothing: who accepted the tool has seen it.
    if let Ok(schema) = Schema::read_lenient(parameters.get()) {
        let mismatch = schema.check(&value).map_err(|mismatch| mismatch.describe(&value));
        mismatch.map_err(|told| format!("The arguments do not fit the schema of this tool {told}."))?;
    }
    match value {
        Value::Object(object) => Ok(object),
        _ => Ok(Map::new()),
    }
}

fn read_object(arguments: &str) -> Result<Map<String, Value>, String> {
    if arguments.len() > ARGUMENTS_BYTES_MAX {
        return Err(format!("The arguments are longer than {ARGUMENTS_BYTES_MAX} bytes."));
    }
    if arguments.trim().is_empty() {
        return Ok(Map::new());
    }
    if depth_of(arguments) > DEPTH_MAX {
        return Err(format!("The arguments are nested deeper than {DEPTH_MAX}."));
    }
    match serde_json::from_str(arguments) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("The arguments are to be one JSON object.".to_owned()),
        Err(error) => Err(format!("The arguments are no JSON: {error}.")),
    }
}

/// How deep brackets are nested in a text of JSON.
fn depth_of(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(arguments: &str, schema: &Value, expected: Result<Value, &str>) {
        let schema = serde_json::value::to_raw_value(schema).unwrap();
        let read = read(arguments, &schema).map(Value::Object);
        assert_eq!(
            read.as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|told| *told),
            "{arguments}"
        );
    }

    #[test]
    fn arguments_are_an_object_as_the_schema_says() {
        let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]});
        check(r#"{"id": 7}"#, &schema, Ok(json!({"id": 7})));
        check(
            r#"{"id": "7"}"#,
            &schema,
            Err(
                "The arguments do not fit the schema of this tool at '/id': expected an integer, found \"7\".",
            ),
        );
        check("[1]", &schema, Err("The arguments are to be one JSON object."));
        check("", &json!({}), Ok(json!({})));
        check("{}", &json!("no schema"), Ok(json!({})));
        let unread = read("{", &serde_json::value::to_raw_value(&schema).unwrap()).unwrap_err();
        assert!(unread.starts_with("The arguments are no JSON: "), "{unread}");
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_not_read() {
        let deep = |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels) + "1", "}".repeat(levels));
        assert!(read_object(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(
            read_object(&deep(DEPTH_MAX + 1)).unwrap_err(),
            "The arguments are nested deeper than 32."
        );
        assert!(read_object(&deep(10_000)).is_err());
        assert!(read_object(&format!("{{\"a\":\"{}\"}}", "[\\\"".repeat(100))).is_ok());
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(ARGUMENTS_BYTES_MAX));
        assert_eq!(read_object(&long).unwrap_err(), "The arguments are longer than 65536 bytes.");
    }
}
