//! One request, written in a line, as a tool of one function.

use super::{ImportError, Imported, description, function_name};
use crate::{Function, Origin, Place, Placed, RequestTemplate};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// The types an argument may have.
const TYPES: [&str; 6] = ["string", "integer", "number", "boolean", "array", "object"];

/// An argument of a declared request: `NAME`, `NAME:TYPE`, and with `?` behind the name if it may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is called.
    pub name: String,
    /// A type of JSON Schema; `string` where none is said.
    pub kind: String,
    /// Whether it has to be there.
    pub is_required: bool,
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, kind) = text.split_once(':').unwrap_or((text, "string"));
        let (name, is_required) = name.strip_suffix('?').map_or((name, true), |name| (name, false));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err("an argument's name has 1 to 64 letters, digits, '-', '_' and '.'".to_owned());
        }
        if !TYPES.contains(&kind) {
            return Err(format!("`{kind}` is no type; expected one of {}", TYPES.join(", ")));
        }
        Ok(Self { name: name.to_owned(), kind: kind.to_owned(), is_required })
    }
}

/// The tool that makes the request of `line`: a method and an address, with `{argument}` in the path and, after a `?`,
/// `name={argument}` for each that goes into the query. `arguments` says of what type they are; those that stand neither
/// in the path nor in the query go into the body's object.
///
/// # Errors
/// [`ImportError::Line`] says what is wrong with it.
pub fn declared(line: &str, name: &str, text: &str, arguments: &[Argument]) -> Result<Imported, ImportError> {
    let wrong = |reason: &str| ImportError::Line { line: line.to_owned(), reason: reason.to_owned() };
    let (method, address) =
        line.trim().split_once(' ').ok_or_else(|| wrong("the method or the address is missing"))?;
    let address = address.trim();
    let origin = Origin::of_url(address).map_err(|error| wrong(&error.to_string()))?;
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    let path_at = address.find("://").and_then(|at| Some(at + 3 + address[at + 3..].find('/')?));
    let path = path_at.map_or("/", |at| &address[at..]);
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut add = |name: &str| {
        let said = arguments.iter().find(|argument| argument.name == name);
        let (kind, is_required) =
            said.map_or(("string", true), |said| (said.kind.as_str(), said.is_required));
        if is_required {
            required.push(name.to_owned());
        }
        properties.insert(name.to_owned(), json!({ "type": kind }));
    };
    placeholders(path).into_iter().for_each(&mut add);
    let placed =
        in_query(query).ok_or_else(|| wrong("after the `?` stand pairs such as `status={status}`"))?;
    placed.iter().map(|one| one.argument.as_str()).for_each(&mut add);
    let method = method.to_ascii_uppercase();
    let side_effects = method != "GET";
    let known: Vec<String> = placeholders(path).into_iter().map(str::to_owned).collect();
    for argument in arguments {
        let is_placed =
            known.contains(&argument.name) || placed.iter().any(|one| one.argument == argument.name);
        if !is_placed && !side_effects {
            return Err(wrong(&format!(
                "the argument `{}` stands neither in the path nor in the query",
                argument.name
            )));
        }
        if !is_placed {
            add(&argument.name);
        }
    }
    let mut parameters = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        parameters["required"] = Value::from(required);
    }
    let function = Function {
        name: function_name(name),
        description: description(text),
        parameters,
        output: None,
        side_effects,
        idempotent: false,
        needs_approval: side_effects,
        request: Some(RequestTemplate {
            method,
            path: path.to_owned(),
            arguments: placed,
            body: None,
            headers: Vec::new(),
            idempotency_header: None,
        }),
        remote_name: None,
    };
    Ok(Imported {
        title: description(text),
        version: String::new(),
        base_url: origin.to_string(),
        functions: vec![function],
        notes: Vec::new(),
    })
}

/// The arguments that go into the query; `None` where it says anything else.
fn in_query(query: &str) -> Option<Vec<Placed>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let argument = value.strip_prefix('{')?.strip_suffix('}')?;
            Some(Placed { argument: argument.to_owned(), name: name.to_owned(), r#in: Place::Query })
        })
        .collect()
}

fn placeholders(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}
