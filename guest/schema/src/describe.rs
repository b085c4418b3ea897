//! A mismatch in words: where it is, what was expected, what was found. Whoever reads it is often a model that is to
//! write its arguments again, so it is short and repeats little of a long value.

use crate::Mismatch;
use serde_json::{Map, Value};

/// How many values of a list are named.
const LISTED_MAX: usize = 12;
/// How many characters of a value are shown.
const SHOWN_CHARACTERS_MAX: usize = 60;

impl Mismatch<'_> {
    /// Says what does not fit of `instance`, which is the one that was checked, in one sentence without its full stop.
    pub fn describe(&self, instance: &Value) -> String {
        let pointer = self.pointer();
        let found = instance.pointer(&pointer);
        let place =
            if pointer.is_empty() { "the whole".to_owned() } else { format!("'{}'", shortened(&pointer)) };
        match self.keyword {
            "additionalProperties" => format!("at {place}: there is no property of this name"),
            "required" => format!("at {place}: {}", missing(self.expected, found)),
            keyword => {
                let found = found.map_or_else(|| "nothing".to_owned(), shown);
                format!("at {place}: expected {}, found {found}", expected(keyword, self.expected))
            }
        }
    }
}

fn missing(required: Option<&Value>, found: Option<&Value>) -> String {
    let empty = Map::new();
    let present = found.and_then(Value::as_object).unwrap_or(&empty);
    let names = required.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names = names.iter().filter_map(Value::as_str).filter(|name| !present.contains_key(*name));
    let names: Vec<String> = names.take(LISTED_MAX).map(|name| format!("'{}'", shortened(name))).collect();
    format!("expected the properties that are required, found none of {}", names.join(", "))
}

/// What a keyword wants.
fn expected(keyword: &str, value: Option<&Value>) -> String {
    let shown = || value.map(shown).unwrap_or_default();
    match keyword {
        "type" => value.map_or_else(String::new, types),
        "enum" => {
            let values = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let more = if values.len() > LISTED_MAX { ", …" } else { "" };
            format!("one of {}{more}", joined(values.iter().take(LISTED_MAX)))
        }
        "const" => shown(),
        "minimum" => format!("at least {}", shown()),
        "maximum" => format!("at most {}", shown()),
        "exclusiveMinimum" => format!("more than {}", shown()),
        "exclusiveMaximum" => format!("less than {}", shown()),
        "multipleOf" => format!("a multiple of {}", shown()),
        "minLength" => format!("at least {} characters", shown()),
        "maxLength" => format!("at most {} characters", shown()),
        "minItems" => format!("at least {} items", shown()),
        "maxItems" => format!("at most {} items", shown()),
        "minProperties" => format!("at least {} properties", shown()),
        "maxProperties" => format!("at most {} properties", shown()),
        "pattern" => format!("text of the pattern {}", shown()),
        "uniqueItems" => "items of which no two are the same".to_owned(),
        "anyOf" => "what fits at least one of the alternatives".to_owned(),
        "oneOf" => "what fits exactly one of the alternatives".to_owned(),
        "not" => "what the schema does not exclude".to_owned(),
        "false" => "nothing at all".to_owned(),
        "$ref" => "what can be checked in bounded time".to_owned(),
        keyword => format!("what '{keyword}' says"),
    }
}

fn types(value: &Value) -> String {
    let of = |name: &Value| match name.as_str().unwrap_or_default() {
        name @ ("array" | "object" | "integer") => format!("an {name}"),
        "null" => "null".to_owned(),
        name => format!("a {name}"),
    };
    match value {
        Value::Array(names) => names.iter().map(of).collect::<Vec<_>>().join(" or "),
        name => of(name),
    }
}

fn joined<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    values.map(bare).collect::<Vec<_>>().join(", ")
}

/// A value with its type.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        value => bare(value),
    }
}

/// A value as JSON, shortened.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shortened(text)),
        value => shortened(&value.to_string()),
    }
}

fn shortened(text: &str) -> String {
    let visible = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut short: String = text.chars().take(SHOWN_CHARACTERS_MAX).map(visible).collect();
    if text.chars().nth(SHOWN_CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use crate::Schema;
    use serde_json::{Value, json};

    fn check(schema: &Value, instance: &Value, expected: &str) {
        let schema = Schema::read(&schema.to_string()).unwrap();
        let mismatch = schema.check(instance).unwrap_err();
        assert_eq!(mismatch.describe(instance), expected);
    }

    #[test]
    fn a_mismatch_says_where_what_was_expected_and_what_was_found() {
        let order = json!({"type": "object", "properties": {"id": {"type": "integer", "minimum": 1},
            "state": {"enum": ["open", "closed", null]}, "lines": {"type": "array", "maxItems": 2,
            "items": {"type": ["string", "null"], "maxLength": 3}}}, "required": ["id"],
            "additionalProperties": false});
        check(&order, &json!([]), "at the whole: expected an object, found an array of 0");
        check(
            &order,
            &json!({}),
            "at the whole: expected the properties that are required, found none of 'id'",
        );
        check(&order, &json!({"id": "1"}), "at '/id': expected an integer, found \"1\"");
        check(&order, &json!({"id": 0}), "at '/id': expected at least 1, found 0");
        check(
            &order,
            &json!({"id": 1, "state": "lost"}),
            "at '/state': expected one of \"open\", \"closed\", null, found \"lost\"",
        );
        check(
            &order,
            &json!({"id": 1, "lines": ["a", 2]}),
            "at '/lines/1': expected a string or null, found 2",
        );
        check(
            &order,
            &json!({"id": 1, "lines": ["abcd"]}),
            "at '/lines/0': expected at most 3 characters, found \"abcd\"",
        );
        check(&order, &json!({"id": 1, "x/y": 1}), "at '/x~1y': there is no property of this name");
        check(&json!(false), &json!(1), "at the whole: expected nothing at all, found 1");
    }

    #[test]
    fn what_is_repeated_of_a_value_is_short_and_visible() {
        let schema = Schema::read(r#"{"properties":{"a":{"const":1}}}"#).unwrap();
        let instance = json!({"a": format!("\u{1b}[2J{}", "x".repeat(10_000))});
        let told = schema.check(&instance).unwrap_err().describe(&instance);
        assert!(told.len() < 200 && !told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn a_reference_tells_what_its_target_wants() {
        let schema = json!({"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "null"}}});
        check(&schema, &json!({"a": true}), "at '/a': expected null, found true");
    }
}
