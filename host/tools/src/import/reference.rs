//! References of a document, followed; schemas of OpenAPI as JSON Schemas that stand for themselves.

use super::ImportError;
use serde_json::{Map, Value, json};

/// Values of all schemas of one import.
const VALUES_MAX: usize = 50_000;
/// How deep schemas are unfolded; what is deeper may be anything.
const DEPTH_MAX: usize = 24;
/// References from one to the next.
const HOPS_MAX: usize = 32;
/// What a model does not need to call something, or what is OpenAPI's and not JSON Schema's.
const LEFT_OUT: [&str; 8] =
    ["discriminator", "xml", "externalDocs", "example", "examples", "nullable", "deprecated", "$schema"];

/// A document, and how much of it was unfolded.
pub(super) struct References<'d> {
    document: &'d Value,
    values: usize,
}

impl<'d> References<'d> {
    pub(super) fn new(document: &'d Value) -> Self {
        Self { document, values: 0 }
    }

    /// What `value` is, if it is a reference, and else itself.
    pub(super) fn resolve(&self, value: &'d Value) -> Result<&'d Value, ImportError> {
        let mut value = value;
        for _ in 0..HOPS_MAX {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
            value = self.target(reference)?;
        }
        Err(ImportError::Reference(value["$ref"].as_str().unwrap_or_default().to_owned()))
    }

    fn target(&self, reference: &str) -> Result<&'d Value, ImportError> {
        let lost = || ImportError::Reference(reference.to_owned());
        let pointer = reference.strip_prefix('#').ok_or_else(lost)?;
        // References are URIs, whose fragments may be escaped; names of schemas with a space or a slash are.
        self.document.pointer(&unescaped(pointer)).ok_or_else(lost)
    }

    /// A schema without references.
    pub(super) fn schema(&mut self, schema: &'d Value) -> Result<Value, ImportError> {
        self.unfold(schema, &mut Vec::new(), 0)
    }

    /// `open` are the references that this stands within: one of them again is a cycle, and may be anything there.
    fn unfold(
        &mut self,
        schema: &'d Value,
        open: &mut Vec<&'d str>,
        depth: usize,
    ) -> Result<Value, ImportError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(ImportError::Unfolds(VALUES_MAX));
        }
        let Some(members) = schema.as_object() else { return Ok(schema.clone()) };
        if depth > DEPTH_MAX {
            return Ok(json!({}));
        }
        let mut out = match members.get("$ref").and_then(Value::as_str) {
            None => Map::new(),
            Some(reference) if open.contains(&reference) => return Ok(json!({})),
            Some(reference) => {
                let target = self.target(reference)?;
                open.push(reference);
                let unfolded = self.unfold(target, open, depth + 1)?;
                open.pop();
                match unfolded {
                    Value::Object(members) => members,
                    other => return Ok(other),
                }
            }
        };
        for (keyword, value) in members.iter().filter(|(keyword, _)| is_kept(keyword)) {
            let value = self.keyword(keyword, value, open, depth)?;
            out.insert(keyword.clone(), value);
        }
        translate(members, &mut out);
        Ok(Value::Object(out))
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &'d Value,
        open: &mut Vec<&'d str>,
        depth: usize,
    ) -> Result<Value, ImportError> {
        match (keyword, value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(all),
            ) => {
                let mut out = Map::new();
                for (name, schema) in all {
                    out.insert(name.clone(), self.unfold(schema, open, depth + 1)?);
                }
                Ok(Value::Object(out))
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(all)) => {
                let all: Result<Vec<Value>, ImportError> =
                    all.iter().map(|schema| self.unfold(schema, open, depth + 1)).collect();
                Ok(Value::Array(all?))
            }
            (
                "items"
                | "additionalProperties"
                | "not"
                | "contains"
                | "propertyNames"
                | "if"
                | "then"
                | "else",
                Value::Object(_),
            ) => self.unfold(value, open, depth + 1),
            _ => {
                self.values += 1;
                Ok(value.clone())
            }
        }
    }
}

fn is_kept(keyword: &str) -> bool {
    keyword != "$ref" && !keyword.starts_with("x-") && !LEFT_OUT.contains(&keyword)
}

/// What OpenAPI 3.0 says otherwise than JSON Schema: `nullable`, and bounds that are excluded by a flag.
fn translate(members: &Map<String, Value>, out: &mut Map<String, Value>) {
    if members.get("nullable") == Some(&Value::Bool(true)) {
        if let Some(kind @ Value::String(_)) = out.get("type").cloned() {
            out.insert("type".to_owned(), json!([kind, "null"]));
        }
        if let Some(Value::Array(values)) = out.get_mut("enum")
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
    }
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match out.get(flag) {
            Some(Value::Bool(true)) => match out.remove(bound) {
                Some(value) => drop(out.insert(flag.to_owned(), value)),
                None => drop(out.remove(flag)),
            },
            Some(Value::Bool(false)) => drop(out.remove(flag)),
            _ => {}
        }
    }
}

/// `%XX` resolved; what is no escape stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_no_text| text.to_owned())
}
