//! Parameters and bodies of an operation as arguments of a function.

use super::ImportError;
use super::reference::References;
use crate::{Place, Placed};
use serde_json::{Map, Value, json};

/// Bytes of an argument's name.
const NAME_BYTES_MAX: usize = 64;
/// What OpenAPI says is described elsewhere and ignored here (section 4.8.12.1 of 3.0).
const HEADERS_IGNORED: [&str; 3] = ["accept", "content-type", "authorization"];

/// The arguments of one function as they are found.
pub(super) struct Arguments {
    path: String,
    properties: Map<String, Value>,
    required: Vec<String>,
    placed: Vec<Placed>,
    body: Option<String>,
    /// What a body says of properties that it does not name.
    additional: Option<Value>,
    /// What stands in the path and was not described yet.
    in_path: Vec<String>,
}

impl Arguments {
    pub(super) fn new(path: &str) -> Self {
        let behind = path.split('{').skip(1);
        let in_path = behind.filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
        Self {
            path: path.to_owned(),
            properties: Map::new(),
            required: Vec::new(),
            placed: Vec::new(),
            body: None,
            additional: None,
            in_path,
        }
    }

    /// Takes a parameter; the inner error says why it cannot be given.
    pub(super) fn parameter<'d>(
        &mut self,
        parameter: &'d Value,
        references: &mut References<'d>,
    ) -> Result<Result<(), String>, ImportError> {
        let name = parameter["name"].as_str().unwrap_or_default();
        let place = match parameter["in"].as_str() {
            Some("path") => None,
            Some("query") => Some(Place::Query),
            Some("header") if HEADERS_IGNORED.contains(&name.to_ascii_lowercase().as_str()) => {
                return Ok(Ok(()));
            }
            Some("header") => Some(Place::Header),
            _ => return Ok(Err("goes into a cookie, and none is sent".to_owned())),
        };
        let Some(schema) = parameter.get("schema") else {
            return Ok(Err("has no schema".to_owned()));
        };
        let mut schema = references.schema(schema)?;
        if let Err(reason) = can_be_written(parameter, &schema, place) {
            return Ok(Err(reason));
        }
        if let (Some(text), Some(members)) = (parameter["description"].as_str(), schema.as_object_mut()) {
            members.insert("description".to_owned(), json!(super::description(text)));
        }
        let argument = self.argument(name, place);
        match place {
            None => {
                if !self.in_path.iter().any(|known| known == name) {
                    return Ok(Err("is not in the path".to_owned()));
                }
                self.in_path.retain(|known| known != name);
                self.path = self.path.replace(&format!("{{{name}}}"), &format!("{{{argument}}}"));
            }
            Some(r#in) => {
                self.placed.push(Placed { argument: argument.clone(), name: name.to_owned(), r#in })
            }
        }
        if place.is_none() || parameter["required"].as_bool().unwrap_or(false) {
            self.required.push(argument.clone());
        }
        self.properties.insert(argument, schema);
        Ok(Ok(()))
    }

    /// Takes a body: its members as arguments, if it is a plain object without a clash, and else as one argument.
    pub(super) fn body<'d>(
        &mut self,
        schema: &'d Value,
        is_required: bool,
        references: &mut References<'d>,
    ) -> Result<(), ImportError> {
        let mut schema = references.schema(schema)?;
        without_read_only(&mut schema);
        match members(&schema, is_required) {
            Some((properties, required)) if properties.keys().all(|name| self.is_free(name)) => {
                self.required.extend(required);
                self.properties.extend(properties);
                self.additional = schema.get("additionalProperties").cloned();
            }
            _ => {
                let argument = self.argument("body", None);
                if is_required {
                    self.required.push(argument.clone());
                }
                self.properties.insert(argument.clone(), if schema.is_object() { schema } else { json!({}) });
                self.body = Some(argument);
            }
        }
        Ok(())
    }

    /// What stands in the path and no parameter describes.
    pub(super) fn missing(&self) -> Vec<String> {
        self.in_path.clone()
    }

    /// The path, what goes elsewhere, what is the body, and the schema of all.
    pub(super) fn finish(self) -> (String, Vec<Placed>, Option<String>, Value) {
        let mut parameters = json!({ "type": "object", "properties": self.properties });
        if !self.required.is_empty() {
            parameters["required"] = json!(self.required);
        }
        // A model that invents an argument is told so, unless the server takes others.
        parameters["additionalProperties"] = self.additional.unwrap_or(Value::Bool(false));
        (self.path, self.placed, self.body, parameters)
    }

    fn is_free(&self, name: &str) -> bool {
        !self.properties.contains_key(name) && fits(name)
    }

    /// A name that models can write and no other argument has.
    fn argument(&self, name: &str, place: Option<Place>) -> String {
        let plain: String = name
            .chars()
            .map(|one| if one.is_ascii_alphanumeric() || "_-.".contains(one) { one } else { '_' })
            .collect();
        let mut plain = if plain.is_empty() { "argument".to_owned() } else { plain };
        plain.truncate(NAME_BYTES_MAX - 8);
        if self.is_free(&plain) {
            return plain;
        }
        let suffix = match place {
            Some(Place::Query) => "query",
            Some(Place::Header) => "header",
            None => "2",
        };
        let named = format!("{plain}_{suffix}");
        if self.is_free(&named) {
            return named;
        }
        // There are fewer parameters than numbers, whatever a document holds: the first free one is near.
        let mut numbers = (3_u32..).map(|number| format!("{plain}_{number}"));
        numbers.find(|name| self.is_free(name)).unwrap_or(named)
    }
}

fn fits(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// Whether a parameter is written as arguments are: a value, or a list of values as OpenAPI has it by default.
fn can_be_written(parameter: &Value, schema: &Value, place: Option<Place>) -> Result<(), String> {
    let style = parameter["style"].as_str();
    let by_default = match place {
        Some(Place::Query) => "form",
        _ => "simple",
    };
    if style.is_some_and(|style| style != by_default) {
        return Err(format!(
            "has the style `{}`, and only `{by_default}` can be written",
            style.unwrap_or_default()
        ));
    }
    if schema["type"] == "object" || schema.get("properties").is_some() {
        return Err("is an object, and only values and lists of values can be written there".to_owned());
    }
    let is_joined = place == Some(Place::Query) && parameter["explode"] == Value::Bool(false);
    if schema["type"] == "array" && is_joined {
        return Err("is a list joined by commas, and lists are written one value after the other".to_owned());
    }
    Ok(())
}

/// The members of a body that is a plain object, and those that are required.
fn members(schema: &Value, is_required: bool) -> Option<(Map<String, Value>, Vec<String>)> {
    let object = schema.as_object()?;
    let combines = ["allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "dependentSchemas"];
    if schema["type"] != "object" || combines.iter().any(|keyword| object.contains_key(*keyword)) {
        return None;
    }
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty())?;
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let required: Vec<String> = required.map(str::to_owned).collect();
    // A body that may be left out, but not in part, is one argument.
    (is_required || required.is_empty()).then(|| (properties.clone(), required))
}

/// What only answers hold is nothing to ask for.
fn without_read_only(schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    let is_read_only = |one: &Value| one["readOnly"] == Value::Bool(true);
    let gone: Vec<String> =
        properties.iter().filter(|(_, one)| is_read_only(one)).map(|(name, _)| name.clone()).collect();
    properties.retain(|name, _| !gone.contains(name));
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !gone.iter().any(|gone| name == gone));
    }
}
