//! Reading a schema of a stranger: what cannot be used of it is left out, and the rest holds.

use crate::read::{json, patterns};
use crate::{Schema, SchemaError};
use serde_json::Value;

/// How many parts are left out; a schema with more mistakes is none.
const LEFT_OUT_MAX: usize = 64;

impl Schema {
    /// Reads a schema and leaves out what [`read`](Self::read) would refuse: keywords that are not supported or not as
    /// they should be, references that lead nowhere or elsewhere, patterns that cannot be checked in bounded time.
    ///
    /// # Errors
    /// It is no JSON, no object or boolean, or has more than 64 such parts.
    pub fn read_lenient(text: &str) -> Result<Self, SchemaError> {
        let mut root = json(text)?;
        let mut left_out = 0;
        loop {
            let mistake = match patterns(&root) {
                Ok(patterns) => return Ok(Self { root, patterns }),
                Err(mistake) => mistake,
            };
            left_out += 1;
            if left_out > LEFT_OUT_MAX || !leave_out(&mut root, &mistake.at) {
                return Err(mistake);
            }
        }
    }
}

/// Takes the part at the pointer `at` out of a schema; `false` where there is none.
fn leave_out(root: &mut Value, at: &str) -> bool {
    let Some((parent, name)) = at.rsplit_once('/') else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    // A schema among others keeps its place: what it stands for is known by that, or by its name.
    let is_among_others = parent.rsplit_once('/').is_some_and(|(_, keyword)| {
        matches!(keyword, "properties" | "$defs" | "definitions" | "dependentSchemas")
    });
    match root.pointer_mut(parent) {
        Some(Value::Object(members)) if is_among_others && members.contains_key(&name) => {
            members.insert(name, Value::Bool(true));
            true
        }
        Some(Value::Object(members)) => members.remove(&name).is_some(),
        Some(Value::Array(items)) => match name.parse().ok().and_then(|index: usize| items.get_mut(index)) {
            Some(item) => {
                *item = Value::Bool(true);
                true
            }
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(schema: &Value, fits: &Value, fails: &Value) {
        let read = Schema::read_lenient(&schema.to_string()).unwrap();
        assert_eq!(read.check(fits), Ok(()), "{fits} in {schema}");
        assert!(read.check(fails).is_err(), "{fails} in {schema}");
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_the_rest_holds() {
        let object = |a: Value| json!({"type": "object", "properties": {"a": a}, "required": ["a"]});
        for broken in [
            json!({"type": "text"}),
            json!({"$ref": "https://example.com/schema"}),
            json!({"$ref": "#/nowhere"}),
            json!({"pattern": "(?=x)"}),
            json!({"exclusiveMinimum": true}),
            json!({"items": [{"type": "string"}]}),
            json!({"anyOf": []}),
            json!({"anyOf": [3]}),
            json!({"unevaluatedProperties": false}),
            json!("no schema"),
        ] {
            check(&object(broken), &json!({"a": 1}), &json!({}));
        }
        let others = json!({"properties": {"a": 3, "b": {"type": "string"}}, "additionalProperties": false});
        check(&others, &json!({"a": 1, "b": "x"}), &json!({"c": 1}));
        check(&others, &json!({"a": 1, "b": "x"}), &json!({"b": 1}));
    }

    #[test]
    fn what_is_no_schema_at_all_is_refused() {
        for text in ["", "{", "3", "null", "[]", "\"a\""] {
            assert!(Schema::read_lenient(text).is_err(), "{text}");
        }
        let mistakes: serde_json::Map<String, Value> =
            (0..=LEFT_OUT_MAX).map(|number| (format!("p{number}"), json!({"type": 3}))).collect();
        assert!(Schema::read_lenient(&json!({ "properties": mistakes }).to_string()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_or_go_on(text in "[{}\\[\\]\",:a$#/01]{0,40}") {
            let _schema = Schema::read_lenient(&text);
        }
    }
}
