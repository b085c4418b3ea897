//! A body against its schema: every mistake at once, each in its place.
//!
//! The schema is the one in the OpenAPI document, so that what is documented and what is taken cannot differ. Only the
//! keywords our own types produce are known; a test makes sure that there are no others.

use crate::problem::{MISTAKES_MAX, Mistake, step};
use serde_json::{Map, Value};

/// The keywords that are checked.
#[cfg(test)]
pub(crate) const KEYWORDS: [&str; 14] = [
    "$ref",
    "oneOf",
    "type",
    "enum",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
    "items",
    "maxItems",
    "minimum",
    "maximum",
    "maxLength",
];

/// All mistakes of `value`, at most [`MISTAKES_MAX`] and one. `schemas` holds what `$ref` points to, by name.
pub(crate) fn check(schemas: &Value, schema: &Value, value: &Value) -> Vec<Mistake> {
    let mut checker = Checker { schemas, mistakes: Vec::new() };
    checker.value(schema, value, "");
    checker.mistakes
}

struct Checker<'a> {
    schemas: &'a Value,
    mistakes: Vec<Mistake>,
}

impl Checker<'_> {
    fn mistake(&mut self, pointer: &str, detail: String) {
        if self.mistakes.len() <= MISTAKES_MAX {
            self.mistakes.push(Mistake::at(pointer, detail));
        }
    }

    fn value(&mut self, schema: &Value, value: &Value, pointer: &str) {
        let schemas = self.schemas;
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.value(&schemas[name], value, pointer);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            // The only choice our types have is between a shape and nothing.
            match choices.iter().find(|choice| choice["type"] != "null") {
                Some(_) if value.is_null() => {}
                Some(choice) => self.value(choice, value, pointer),
                None => {}
            }
            return;
        }
        if !self.kind(&schema["type"], value, pointer) {
            return;
        }
        match value {
            Value::Object(object) => self.object(schema, object, pointer),
            Value::Array(items) => self.array(schema, items, pointer),
            Value::String(text) => self.text(schema, text, pointer),
            Value::Number(number) => self.number(schema, number, pointer),
            Value::Bool(_) | Value::Null => {}
        }
    }

    /// Whether `value` is of one of the types. An absent `type` allows all.
    fn kind(&mut self, types: &Value, value: &Value, pointer: &str) -> bool {
        let allowed: Vec<&str> = match types {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        if allowed.iter().any(|name| is_of(value, name)) {
            return true;
        }
        let expected: Vec<&str> = allowed.iter().map(|name| in_words(name)).collect();
        let found = in_words(name_of(value));
        self.mistake(pointer, format!("expected {}, found {found}", expected.join(" or ")));
        false
    }

    fn object(&mut self, schema: &Value, object: &Map<String, Value>, pointer: &str) {
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        for (name, value) in object {
            let place = format!("{pointer}{}", step(name));
            match (known.get(name), &schema["additionalProperties"]) {
                (Some(schema), _) | (None, schema @ Value::Object(_)) => self.value(schema, value, &place),
                (None, Value::Bool(false)) => self.mistake(&place, unknown(known)),
                (None, _) => {}
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                self.mistake(&format!("{pointer}{}", step(name)), "is missing".to_owned());
            }
        }
        let (least, most) = (schema["minProperties"].as_u64(), schema["maxProperties"].as_u64());
        let count = object.len() as u64;
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let names: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
            let fields =
                if names.is_empty() { "fields".to_owned() } else { format!("of {}", names.join(", ")) };
            self.mistake(pointer, format!("has {count} {fields}; expected {}", range(least, most)));
        }
    }

    fn array(&mut self, schema: &Value, items: &[Value], pointer: &str) {
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| items.len() as u64 > *most) {
            self.mistake(pointer, format!("has {} items; at most {most} are allowed", items.len()));
        }
        for (index, item) in items.iter().enumerate() {
            self.value(&schema["items"], item, &format!("{pointer}/{index}"));
        }
    }

    fn text(&mut self, schema: &Value, text: &str, pointer: &str) {
        if let Some(choices) = schema["enum"].as_array()
            && !choices.iter().any(|choice| choice == text)
        {
            let names: Vec<String> =
                choices.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect();
            self.mistake(pointer, format!("expected {}", names.join(" or ")));
        }
        let length = text.chars().count();
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length as u64 > *most) {
            self.mistake(pointer, format!("has {length} characters; at most {most} are allowed"));
        }
    }

    fn number(&mut self, schema: &Value, number: &serde_json::Number, pointer: &str) {
        let (least, most) = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
        let below = match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => least.is_some_and(|least| value < least),
            (None, Some(_)) => least.is_some(),
            (None, None) => true,
        };
        if below || number.as_u64().is_some_and(|value| most.is_some_and(|most| value > most)) {
            self.mistake(pointer, format!("{number} is out of bounds; expected {}", range(least, most)));
        }
    }
}

fn unknown(known: &Map<String, Value>) -> String {
    let names: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
    match names.is_empty() {
        true => "unknown field; none are expected here".to_owned(),
        false => format!("unknown field; expected one of {}", names.join(", ")),
    }
}

fn range(least: Option<u64>, most: Option<u64>) -> String {
    match (least, most) {
        (Some(least), Some(most)) if least == most => format!("exactly {least}"),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("{least} or more"),
        (None, Some(most)) => format!("{most} or less"),
        (None, None) => "another one".to_owned(),
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match (kind, value) {
        ("integer", Value::Number(number)) => number.is_u64() || number.is_i64(),
        ("number", Value::Number(_)) => true,
        _ => kind == name_of(value),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn in_words(kind: &str) -> &'static str {
    match kind {
        "null" => "null",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a string",
        "array" => "an array",
        _ => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(value: Value) -> Vec<(String, String)> {
        let schemas = json!({
            "Inner": { "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
                       "properties": { "a": { "type": "string", "maxLength": 3 }, "b": { "type": "string" } } }
        });
        let schema = json!({
            "type": "object", "required": ["id"], "additionalProperties": false,
            "properties": {
                "id": { "type": "string" },
                "count": { "type": ["integer", "null"], "minimum": 1, "maximum": 5 },
                "kind": { "oneOf": [{ "type": "null" }, { "type": "string", "enum": ["x", "y"] }] },
                "inner": { "$ref": "#/components/schemas/Inner" },
                "list": { "type": "array", "maxItems": 2, "items": { "type": "string" } },
                "map": { "type": "object", "additionalProperties": { "type": ["string", "null"] } }
            }
        });
        let mistakes = check(&schemas, &schema, &value);
        mistakes.into_iter().map(|one| (one.pointer.unwrap(), one.detail)).collect()
    }

    #[test]
    fn what_fits_has_no_mistakes() {
        assert_eq!(told(json!({ "id": "a" })), []);
        let full = json!({ "id": "a", "count": null, "kind": null, "inner": { "a": "äöü" }, "list": ["", ""],
                           "map": { "x": null, "y": "z" } });
        assert_eq!(told(full), []);
    }

    #[test]
    fn each_mistake_is_told_where_it_stands() {
        #[track_caller]
        fn check(extra: Value, pointer: &str, part: &str) {
            let mut value = json!({ "id": "a" });
            value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let told = told(value);
            assert!(told.len() == 1 && told[0].0 == pointer && told[0].1.contains(part), "{told:?}");
        }
        check(json!({ "id": 1 }), "/id", "expected a string, found a number");
        check(json!({ "cuont": 1 }), "/cuont", "unknown field; expected one of `count`");
        check(json!({ "a/b~": 1 }), "/a~1b~0", "unknown field");
        check(json!({ "count": 0 }), "/count", "0 is out of bounds; expected 1 to 5");
        check(json!({ "count": -1 }), "/count", "-1 is out of bounds");
        check(json!({ "count": 6 }), "/count", "1 to 5");
        check(json!({ "count": 1.5 }), "/count", "expected a whole number or null, found a number");
        check(json!({ "kind": "z" }), "/kind", "expected `x` or `y`");
        check(json!({ "inner": {} }), "/inner", "has 0 of `a`, `b`; expected exactly 1");
        check(json!({ "inner": { "a": "1234" } }), "/inner/a", "has 4 characters; at most 3");
        check(json!({ "inner": null }), "/inner", "expected an object, found null");
        check(json!({ "list": ["", 1] }), "/list/1", "expected a string");
        check(json!({ "list": ["", "", ""] }), "/list", "at most 2");
        check(json!({ "map": { "x": [] } }), "/map/x", "expected a string or null, found an array");
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_their_number_is_bounded() {
        let told_together = told(json!({ "count": 9, "list": 3 }));
        let pointers: Vec<&str> = told_together.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/count", "/list", "/id"]);
        assert!(told(json!([])).iter().all(|(pointer, _)| pointer.is_empty()));
        let many: Map<String, Value> = (0..1_000).map(|n| (n.to_string(), Value::Null)).collect();
        assert_eq!(told(Value::Object(many)).len(), MISTAKES_MAX + 1);
    }

    #[test]
    fn no_value_is_repeated() {
        let told = told(json!({ "id": ["canary"], "kind": "canary", "inner": { "a": "canary" } }));
        assert!(told.len() == 3 && !told.iter().any(|(_, detail)| detail.contains("canary")), "{told:?}");
    }
}
