//! Holding an instance to a schema.

use crate::decimal::is_multiple;
use crate::{Mismatch, Schema};
use serde_json::{Map, Number, Value};

/// How deep schemas may lead into one another for one instance: a reference may lead to itself.
const DEPTH_MAX: usize = 256;
/// How much work is done for one instance: each schema that is looked at, and each value, name and piece of text that it is
/// compared with, is a step. Alternatives of alternatives multiply.
const STEPS_MAX: usize = 1_000_000;
/// How many bytes of a text are looked at in the time of a step.
const TEXT_BYTES_PER_STEP: usize = 64;

impl Schema {
    /// Holds an instance to the schema.
    ///
    /// # Errors
    /// The first place where it does not fit; or it takes too many steps to tell.
    pub fn check(&self, instance: &Value) -> Result<(), Mismatch<'_>> {
        Checker { schema: self, steps: 0, depth: 0 }.fits(&self.root, instance)
    }
}

struct Checker<'s> {
    schema: &'s Schema,
    steps: usize,
    depth: usize,
}

fn mismatch<'s>(keyword: &'static str) -> Mismatch<'s> {
    Mismatch { keyword, expected: None, path: Vec::new() }
}

fn hold<'s>(keyword: &'static str, holds: bool) -> Result<(), Mismatch<'s>> {
    if holds { Ok(()) } else { Err(mismatch(keyword)) }
}

/// That the limit at `keyword`, if there is one, lets `count` pass.
fn limit<'s>(
    keywords: &Map<String, Value>,
    keyword: &'static str,
    holds: impl Fn(u64) -> bool,
) -> Result<(), Mismatch<'s>> {
    hold(keyword, keywords.get(keyword).and_then(Value::as_u64).is_none_or(holds))
}

impl<'s> Checker<'s> {
    fn fits(&mut self, schema: &'s Value, instance: &Value) -> Result<(), Mismatch<'s>> {
        let Value::Object(keywords) = schema else { return hold("false", schema != &Value::Bool(false)) };
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth == DEPTH_MAX {
            return Err(mismatch("$ref"));
        }
        self.depth += 1;
        let result = self.keywords(keywords, instance);
        self.depth -= 1;
        result.map_err(|mut mismatch| {
            // What lies deeper in the instance was told by the schema there.
            if mismatch.path.is_empty() && mismatch.expected.is_none() {
                mismatch.expected = keywords.get(mismatch.keyword);
            }
            mismatch
        })
    }

    /// The same, one name deeper in the instance.
    fn fits_within(
        &mut self,
        schema: &'s Value,
        instance: &Value,
        name: impl ToString,
    ) -> Result<(), Mismatch<'s>> {
        self.fits(schema, instance).map_err(|mut mismatch| {
            mismatch.path.push(name.to_string());
            mismatch
        })
    }

    fn keywords(&mut self, keywords: &'s Map<String, Value>, instance: &Value) -> Result<(), Mismatch<'s>> {
        if let Some(types) = keywords.get("type") {
            hold("type", is_of(types, instance))?;
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            self.spend(values.len() + weight(instance))?;
            hold("enum", values.iter().any(|value| same(value, instance)))?;
        }
        if let Some(value) = keywords.get("const") {
            self.spend(weight(instance))?;
            hold("const", same(value, instance))?;
        }
        match instance {
            Value::Number(number) => numbers(keywords, number)?,
            Value::String(text) => self.text(keywords, text)?,
            Value::Array(items) => self.array(keywords, items)?,
            Value::Object(properties) => self.object(keywords, properties)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(keywords, instance)
    }

    /// Counts work that is about to be done.
    fn spend(&mut self, steps: usize) -> Result<(), Mismatch<'s>> {
        self.steps = self.steps.saturating_add(steps);
        hold("$ref", self.steps <= STEPS_MAX)
    }

    fn text(&mut self, keywords: &Map<String, Value>, text: &str) -> Result<(), Mismatch<'s>> {
        if ["minLength", "maxLength"].iter().any(|keyword| keywords.contains_key(*keyword)) {
            self.spend(text.len() / TEXT_BYTES_PER_STEP)?;
        }
        let characters = || text.chars().count() as u64;
        limit(keywords, "minLength", |least| characters() >= least)?;
        limit(keywords, "maxLength", |most| characters() <= most)?;
        let pattern = keywords.get("pattern").and_then(Value::as_str);
        let fits = pattern.map(|pattern| self.matches(pattern, text)).transpose()?;
        hold("pattern", fits != Some(false))
    }

    fn matches(&mut self, pattern: &str, text: &str) -> Result<bool, Mismatch<'s>> {
        // A pattern is held against a text in steps of the one for each byte of the other.
        self.spend(1 + text.len().saturating_mul(pattern.len()) / TEXT_BYTES_PER_STEP)?;
        Ok(self.schema.patterns.get(pattern).is_none_or(|pattern| pattern.is_match(text)))
    }

    fn array(&mut self, keywords: &'s Map<String, Value>, items: &[Value]) -> Result<(), Mismatch<'s>> {
        let count = items.len() as u64;
        limit(keywords, "minItems", |least| count >= least)?;
        limit(keywords, "maxItems", |most| count <= most)?;
        let first: &[Value] =
            keywords.get("prefixItems").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let rest = keywords.get("items");
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(rest) {
                self.fits_within(schema, item, index)?;
            }
        }
        if keywords.get("uniqueItems") == Some(&Value::Bool(true)) {
            for (index, item) in items.iter().enumerate() {
                self.steps += index;
                let before = items.iter().take(index);
                hold(
                    "uniqueItems",
                    self.steps <= STEPS_MAX && before.into_iter().all(|other| !same(other, item)),
                )?;
            }
        }
        if let Some(schema) = keywords.get("contains") {
            let found = items.iter().filter(|item| self.fits(schema, item).is_ok()).count() as u64;
            hold("contains", found > 0 || keywords.get("minContains").is_some())?;
            limit(keywords, "minContains", |least| found >= least)?;
            limit(keywords, "maxContains", |most| found <= most)?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        keywords: &'s Map<String, Value>,
        properties: &Map<String, Value>,
    ) -> Result<(), Mismatch<'s>> {
        let count = properties.len() as u64;
        limit(keywords, "minProperties", |least| count >= least)?;
        limit(keywords, "maxProperties", |most| count <= most)?;
        let has_all = |names: &Value| {
            let names = names.as_array().map_or(&[][..], Vec::as_slice);
            names.iter().filter_map(Value::as_str).all(|name| properties.contains_key(name))
        };
        if let Some(names) = keywords.get("required") {
            self.spend(names.as_array().map_or(0, Vec::len))?;
            hold("required", has_all(names))?;
        }
        for (name, needs) in members(keywords, "dependentRequired") {
            self.spend(1 + needs.as_array().map_or(0, Vec::len))?;
            hold("dependentRequired", !properties.contains_key(name) || has_all(needs))?;
        }
        for (name, schema) in members(keywords, "dependentSchemas") {
            self.spend(1)?;
            if properties.contains_key(name) {
                let whole = Value::Object(properties.clone());
                self.spend(weight(&whole))?;
                self.fits(schema, &whole)?;
            }
        }
        for (name, value) in properties {
            if let Some(schema) = keywords.get("propertyNames") {
                self.fits(schema, &Value::String(name.clone())).map_err(|_| mismatch("propertyNames"))?;
            }
            self.property(keywords, name, value)?;
        }
        Ok(())
    }

    fn property(
        &mut self,
        keywords: &'s Map<String, Value>,
        name: &str,
        value: &Value,
    ) -> Result<(), Mismatch<'s>> {
        let mut known = false;
        if let Some(schema) = keywords.get("properties").and_then(|properties| properties.get(name)) {
            known = true;
            self.fits_within(schema, value, name)?;
        }
        for (pattern, schema) in members(keywords, "patternProperties") {
            if self.matches(pattern, name)? {
                known = true;
                self.fits_within(schema, value, name)?;
            }
        }
        match keywords.get("additionalProperties") {
            Some(schema) if !known => match self.fits_within(schema, value, name) {
                Err(mismatch) if mismatch.keyword == "false" => {
                    Err(Mismatch { keyword: "additionalProperties", ..mismatch })
                }
                result => result,
            },
            _ => Ok(()),
        }
    }

    fn combined(&mut self, keywords: &'s Map<String, Value>, instance: &Value) -> Result<(), Mismatch<'s>> {
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            let whole: &'s Schema = self.schema;
            self.fits(whole.target(reference).ok_or_else(|| mismatch("$ref"))?, instance)?;
        }
        for schema in listed(keywords, "allOf") {
            self.fits(schema, instance)?;
        }
        if keywords.contains_key("anyOf") {
            hold(
                "anyOf",
                listed(keywords, "anyOf").iter().any(|schema| self.fits(schema, instance).is_ok()),
            )?;
        }
        if keywords.contains_key("oneOf") {
            let fitting =
                listed(keywords, "oneOf").iter().filter(|schema| self.fits(schema, instance).is_ok());
            hold("oneOf", fitting.count() == 1)?;
        }
        if let Some(schema) = keywords.get("not") {
            hold("not", self.fits(schema, instance).is_err())?;
        }
        if let Some(condition) = keywords.get("if") {
            let branch = if self.fits(condition, instance).is_ok() { "then" } else { "else" };
            if let Some(schema) = keywords.get(branch) {
                self.fits(schema, instance)?;
            }
        }
        // What took too long in an alternative is not told from what does not fit there; the whole does not fit then.
        hold("$ref", self.steps <= STEPS_MAX)
    }
}

/// How much there is of a value, in steps.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / TEXT_BYTES_PER_STEP,
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(properties) => 1 + properties.values().map(weight).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

fn listed<'v>(keywords: &'v Map<String, Value>, keyword: &str) -> &'v [Value] {
    keywords.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members<'v>(
    keywords: &'v Map<String, Value>,
    keyword: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> {
    keywords.get(keyword).and_then(Value::as_object).into_iter().flatten()
}

fn is_of(types: &Value, instance: &Value) -> bool {
    let is = |name: &str| match (name, instance) {
        ("null", Value::Null) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => true,
        ("string", Value::String(_)) | ("array", Value::Array(_)) | ("object", Value::Object(_)) => true,
        ("integer", Value::Number(number)) => is_whole(number),
        _ => false,
    };
    match types {
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        name => name.as_str().is_some_and(is),
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn numbers<'s>(keywords: &Map<String, Value>, number: &Number) -> Result<(), Mismatch<'s>> {
    let Some(value) = number.as_f64() else { return Ok(()) };
    let bound = |keyword: &'static str, holds: fn(f64, f64) -> bool| {
        let bound = keywords.get(keyword).and_then(Value::as_f64);
        hold(keyword, bound.is_none_or(|bound| holds(value, bound)))
    };
    bound("minimum", |value, least| value >= least)?;
    bound("maximum", |value, most| value <= most)?;
    bound("exclusiveMinimum", |value, below| value > below)?;
    bound("exclusiveMaximum", |value, above| value < above)?;
    let of = keywords.get("multipleOf");
    hold("multipleOf", of.and_then(Value::as_number).is_none_or(|of| is_multiple(number, of)))
}

/// Equality as JSON Schema has it: 1 and 1.0 are the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64() && (one.is_f64() || other.is_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}
