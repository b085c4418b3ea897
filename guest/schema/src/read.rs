//! Reading a schema: every keyword has the form it must have, every reference leads somewhere.

use crate::{Schema, SchemaError, escaped, target};
use regex_lite::{Regex, RegexBuilder};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// The most patterns of one schema.
const PATTERNS_MAX: usize = 64;
/// The most memory that one of them may take when it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 64 << 10;

/// What is not here: see the top of the module.
const UNSUPPORTED: [&str; 5] =
    ["unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "dependencies"];
const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "integer", "string"];

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// It is no JSON, no schema, or uses what is not supported.
    pub fn read(text: &str) -> Result<Self, SchemaError> {
        let root = json(text)?;
        let patterns = patterns(&root)?;
        Ok(Self { root, patterns })
    }
}

pub(crate) fn json(text: &str) -> Result<Value, SchemaError> {
    let no_json = |error: serde_json::Error| SchemaError { at: String::new(), reason: error.to_string() };
    serde_json::from_str(text).map_err(no_json)
}

/// Reads all of a schema and compiles its patterns.
pub(crate) fn patterns(root: &Value) -> Result<HashMap<String, Regex>, SchemaError> {
    let mut reader = Reader { root, patterns: HashMap::new(), seen: HashSet::new(), referred: Vec::new() };
    reader.schema(root, &mut String::new())?;
    // Most of them were read where they stand.
    while let Some((schema, mut at)) = reader.referred.pop() {
        reader.schema(schema, &mut at)?;
    }
    Ok(reader.patterns)
}

struct Reader<'v> {
    root: &'v Value,
    patterns: HashMap<String, Regex>,
    /// The schemas that were read, by their places in memory: a reference may lead back to one.
    seen: HashSet<*const Value>,
    /// Where references lead, to be read when all else is: one after another they may go deeper than the stack.
    referred: Vec<(&'v Value, String)>,
}

fn wrong(at: &str, expected: &str) -> SchemaError {
    SchemaError { at: at.to_owned(), reason: format!("it must be {expected}") }
}

impl<'v> Reader<'v> {
    fn schema(&mut self, schema: &'v Value, at: &mut String) -> Result<(), SchemaError> {
        if !self.seen.insert(std::ptr::from_ref(schema)) {
            return Ok(());
        }
        let Value::Object(keywords) = schema else {
            return if schema.is_boolean() { Ok(()) } else { Err(wrong(at, "an object or a boolean")) };
        };
        for (keyword, value) in keywords {
            self.within(keyword, at, |reader, at| reader.keyword(keyword, value, at))?;
        }
        Ok(())
    }

    fn within(
        &mut self,
        name: &str,
        at: &mut String,
        read: impl FnOnce(&mut Self, &mut String) -> Result<(), SchemaError>,
    ) -> Result<(), SchemaError> {
        let length = at.len();
        at.push('/');
        at.push_str(&escaped(name));
        read(self, at)?;
        at.truncate(length);
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &'v Value, at: &mut String) -> Result<(), SchemaError> {
        match keyword {
            "additionalProperties"
            | "items"
            | "contains"
            | "not"
            | "if"
            | "then"
            | "else"
            | "propertyNames" => self.schema(value, at),
            "properties" | "$defs" | "definitions" | "dependentSchemas" => {
                self.schemas(object(value, at)?, at)
            }
            "patternProperties" => {
                for pattern in object(value, at)?.keys() {
                    self.within(pattern, at, |reader, at| reader.pattern(pattern, at))?;
                }
                self.schemas(object(value, at)?, at)
            }
            "prefixItems" | "anyOf" | "oneOf" | "allOf" => {
                let Some(schemas) = value.as_array().filter(|schemas| !schemas.is_empty()) else {
                    return Err(wrong(at, "an array of schemas"));
                };
                for (index, schema) in schemas.iter().enumerate() {
                    self.within(&index.to_string(), at, |reader, at| reader.schema(schema, at))?;
                }
                Ok(())
            }
            "$ref" => self.reference(value, at),
            // References below it would start from there.
            "$id" if at != "/$id" => {
                Err(SchemaError { at: at.clone(), reason: "it may stand at the root only".into() })
            }
            "pattern" => match value.as_str() {
                Some(pattern) => self.pattern(pattern, at),
                None => Err(wrong(at, "a string")),
            },
            unsupported if UNSUPPORTED.contains(&unsupported) => {
                Err(SchemaError { at: at.clone(), reason: "this keyword is not supported".into() })
            }
            _ => plain(keyword, value, at),
        }
    }

    fn schemas(&mut self, schemas: &'v Map<String, Value>, at: &mut String) -> Result<(), SchemaError> {
        for (name, schema) in schemas {
            self.within(name, at, |reader, at| reader.schema(schema, at))?;
        }
        Ok(())
    }

    fn reference(&mut self, value: &'v Value, at: &str) -> Result<(), SchemaError> {
        let expected = "a reference into this schema, as '#/$defs/name'";
        let reference = value.as_str().ok_or_else(|| wrong(at, expected))?;
        let found = target(self.root, reference).ok_or_else(|| wrong(at, expected))?;
        self.referred.push((found, reference.trim_start_matches('#').to_owned()));
        Ok(())
    }

    fn pattern(&mut self, pattern: &str, at: &str) -> Result<(), SchemaError> {
        let refused = |error: regex_lite::Error| SchemaError {
            at: at.to_owned(),
            reason: format!("it is no pattern that can be checked in bounded time: {error}"),
        };
        if self.patterns.len() >= PATTERNS_MAX && !self.patterns.contains_key(pattern) {
            let reason = format!("there are more than {PATTERNS_MAX} patterns");
            return Err(SchemaError { at: at.to_owned(), reason });
        }
        let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().map_err(refused)?;
        self.patterns.insert(pattern.to_owned(), compiled);
        Ok(())
    }
}

fn object<'v>(value: &'v Value, at: &str) -> Result<&'v Map<String, Value>, SchemaError> {
    value.as_object().ok_or_else(|| wrong(at, "an object"))
}

fn is_names(value: &Value) -> bool {
    value.as_array().is_some_and(|names| names.iter().all(Value::is_string))
}

fn is_type(value: &Value) -> bool {
    value.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// Keywords that hold no schema.
fn plain(keyword: &str, value: &Value, at: &str) -> Result<(), SchemaError> {
    let (right, expected) = match keyword {
        "type" => {
            let several =
                value.as_array().is_some_and(|types| !types.is_empty() && types.iter().all(is_type));
            (several || is_type(value), "the name of a type, or an array of them")
        }
        "enum" => (value.is_array(), "an array"),
        "required" => (is_names(value), "an array of names"),
        "dependentRequired" => {
            (value.as_object().is_some_and(|all| all.values().all(is_names)), "an object of arrays of names")
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => (value.is_number(), "a number"),
        "multipleOf" => (value.as_f64().is_some_and(|number| number > 0.0), "a number above 0"),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties"
        | "minContains" | "maxContains" => (value.is_u64(), "an integer of at least 0"),
        "uniqueItems" => (value.is_boolean(), "a boolean"),
        _ => return Ok(()),
    };
    if right { Ok(()) } else { Err(wrong(at, expected)) }
}
