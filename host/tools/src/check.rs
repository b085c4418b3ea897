//! What a version has to be: every mistake at once, each with its place.

use crate::{BUILT_IN_NAME, Digest, Function, Kind, Origin, Place, RequestTemplate, Version};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// Bytes of a tool's name.
const NAME_BYTES_MAX: usize = 32;
/// Things one tool can do.
pub(crate) const FUNCTIONS_MAX: usize = 64;
/// Bytes of a function's name.
pub(crate) const FUNCTION_NAME_BYTES_MAX: usize = 48;
/// Bytes of a description.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// Bytes of what an author counts versions by.
const VERSION_BYTES_MAX: usize = 64;
/// Bytes of a schema as JSON.
pub(crate) const SCHEMA_BYTES_MAX: usize = 32 << 10;
/// How deep a schema nests.
const SCHEMA_DEPTH_MAX: usize = 64;
/// Bytes of an address, of a request's path, and of what an MCP server calls something.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Arguments that are placed, and fixed fields, of one request.
const PLACED_MAX: usize = 64;
/// Bytes of the name and of the value of a header field.
const HEADER_BYTES_MAX: usize = 1_024;
/// Mistakes that are told at once.
const MISTAKES_MAX: usize = 100;
/// Methods a request may have.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Fields that belong to the connection or to the host, and those that hold what a tool must not: a credential.
const HEADERS_NEVER: [&str; 15] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// What the host's own fields begin with.
const OWN_HEADER_PREFIX: &str = "waggle-";

/// One mistake and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The steps to it: fields, and indexes as decimal text.
    pub path: Vec<String>,
    /// What is wrong and what is expected.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path.join("."), self.message)
        }
    }
}

/// Mistakes as they are found, at most [`MISTAKES_MAX`].
#[derive(Default)]
pub(crate) struct Mistakes {
    found: Vec<Mistake>,
    /// What the places begin with.
    base: Vec<String>,
}

impl Mistakes {
    pub(crate) fn add(&mut self, path: &[&str], message: impl Into<String>) {
        if self.found.len() < MISTAKES_MAX {
            let steps = self.base.iter().cloned().chain(path.iter().map(|step| (*step).to_owned()));
            self.found.push(Mistake { path: steps.collect(), message: message.into() });
        }
    }

    /// Adds a mistake if there are more than `most`.
    pub(crate) fn count(&mut self, path: &[&str], count: usize, most: usize) {
        if count > most {
            self.add(path, format!("there are {count}; at most {most} are allowed"));
        }
    }

    /// Adds what `check` finds, in places that begin with `path`.
    fn below(&mut self, path: &[&str], check: impl FnOnce(&mut Self)) {
        let length = self.base.len();
        self.base.extend(path.iter().map(|step| (*step).to_owned()));
        check(self);
        self.base.truncate(length);
    }

    #[cfg(test)]
    pub(crate) fn into_vec(self) -> Vec<Mistake> {
        self.found
    }

    pub(crate) fn none_or_all(self) -> Result<(), Vec<Mistake>> {
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }
}

/// Whether a tool may be called so.
///
/// # Errors
/// A sentence that says what a name is.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(format!(
            "a tool's name begins with a letter and has 1 to {NAME_BYTES_MAX} characters of a-z, 0-9, '-' and '_'"
        ));
    }
    if name == BUILT_IN_NAME {
        return Err(format!(
            "`{BUILT_IN_NAME}` is what the built-in tools are called together; choose another name"
        ));
    }
    Ok(())
}

impl Version {
    /// Everything that is wrong with it, whoever wrote it.
    pub(crate) fn check(&self, found: &mut Mistakes) {
        check_text(found, &["description"], &self.description, DESCRIPTION_BYTES_MAX);
        check_text(found, &["version"], &self.version, VERSION_BYTES_MAX);
        if self.digest.parse::<Digest>().is_err() {
            found.add(&["digest"], "a digest is `sha256:` and 64 hexadecimal digits in lower case");
        }
        self.check_kind(found);
        self.grants.check(found);
        self.limits.check(found);
        match self.functions.len() {
            0 => found.add(&["functions"], "there are none; a tool that can do nothing is none"),
            count => found.count(&["functions"], count, FUNCTIONS_MAX),
        }
        let mut names = HashSet::new();
        for (index, function) in self.functions.iter().enumerate().take(FUNCTIONS_MAX) {
            let index = index.to_string();
            found.below(&["functions", &index], |found| function.check(found, &self.kind));
            if !names.insert(&function.name) {
                found.add(&["functions", &index, "name"], format!("there is another `{}`", function.name));
            }
        }
    }

    fn check_kind(&self, found: &mut Mistakes) {
        let (field, address) = match &self.kind {
            Kind::Component => return,
            Kind::Http { base_url } => ("base_url", base_url),
            Kind::Mcp { url } => ("url", url),
        };
        if let Err(message) = check_address(address) {
            found.add(&[field], message);
            return;
        }
        if field == "base_url" && address.ends_with('/') {
            found.add(&[field], "it ends with a slash, with which the paths of the functions begin");
        }
        if let Ok(own) = Origin::of_url(address)
            && !self.grants.outbound.contains(&own.to_string())
        {
            found.add(
                &["grants", "outbound"],
                format!("`{own}`, where the tool itself is, is not among them"),
            );
        }
    }
}

/// An address without what is no part of one: a query, a fragment, a user.
fn check_address(address: &str) -> Result<(), String> {
    Origin::of_url(address).map_err(|error| error.to_string())?;
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(format!("it has {} bytes; at most {ADDRESS_BYTES_MAX} are allowed", address.len()));
    }
    if !address.bytes().all(|byte| byte.is_ascii_graphic()) || address.contains(['?', '#', '\\', '{', '}']) {
        return Err(
            "an address here has visible ASCII characters, and neither a query nor a fragment".to_owned()
        );
    }
    Ok(())
}

/// A text for people and models: within its bound, and without characters that nobody sees and that models read all the
/// same, or that turn a text around.
fn check_text(found: &mut Mistakes, path: &[&str], text: &str, bytes_max: usize) {
    if text.len() > bytes_max {
        found.add(path, format!("it has {} bytes; at most {bytes_max} are allowed", text.len()));
    }
    if let Some(hidden) = text.chars().find(|character| is_hidden(*character)) {
        found.add(path, format!("it holds U+{:04X}, which nobody sees", u32::from(hidden)));
    }
}

fn is_hidden(character: char) -> bool {
    let is_break = matches!(character, '\n' | '\t' | '\r');
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_tag = matches!(character, '\u{e0000}'..='\u{e007f}');
    (character.is_control() && !is_break) || turns || is_tag
}

impl Function {
    fn check(&self, found: &mut Mistakes, kind: &Kind) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let name = &self.name;
        if name.is_empty() || name.len() > FUNCTION_NAME_BYTES_MAX || !name.bytes().all(plain) {
            let message = format!(
                "`{}` is no name: 1 to {FUNCTION_NAME_BYTES_MAX} characters of a-z, A-Z, 0-9, '-' and '_'",
                name.escape_debug()
            );
            found.add(&["name"], message);
        }
        check_text(found, &["description"], &self.description, DESCRIPTION_BYTES_MAX);
        check_schema(found, &["parameters"], &self.parameters);
        if self.parameters.get("type") != Some(&Value::String("object".to_owned())) {
            found.add(
                &["parameters"],
                "arguments are an object: the schema has to say `\"type\": \"object\"`",
            );
        }
        if let Some(output) = &self.output {
            check_schema(found, &["output"], output);
        }
        if let Some(remote) = &self.remote_name {
            check_text(found, &["remote_name"], remote, ADDRESS_BYTES_MAX);
            if !matches!(kind, Kind::Mcp { .. }) {
                found.add(&["remote_name"], "only what an MCP server has is called otherwise there");
            }
        }
        match (kind, &self.request) {
            (Kind::Http { .. }, Some(request)) => {
                found.below(&["request"], |found| request.check(found, &self.parameters));
            }
            (Kind::Http { .. }, None) => found.add(&["request"], "it is missing: how is the call made?"),
            (_, Some(_)) => found.add(&["request"], "only an HTTP tool has one"),
            (_, None) => {}
        }
    }
}

fn check_schema(found: &mut Mistakes, path: &[&str], schema: &Value) {
    if !schema.is_object() {
        return found.add(path, "it is no JSON Schema, which is an object here");
    }
    let bytes = schema.to_string().len();
    if bytes > SCHEMA_BYTES_MAX {
        found.add(path, format!("it has {bytes} bytes; at most {SCHEMA_BYTES_MAX} are allowed"));
    }
    if depth(schema, SCHEMA_DEPTH_MAX) == SCHEMA_DEPTH_MAX {
        found.add(path, format!("it nests {SCHEMA_DEPTH_MAX} deep or deeper"));
    }
}

/// How deep a value nests, `most` if it is that or more.
fn depth(value: &Value, most: usize) -> usize {
    if most == 0 {
        return 0;
    }
    let below = match value {
        Value::Array(items) => items.iter().map(|item| depth(item, most - 1)).max(),
        Value::Object(members) => members.values().map(|member| depth(member, most - 1)).max(),
        _ => return 0,
    };
    1 + below.unwrap_or(0)
}

impl RequestTemplate {
    fn check(&self, found: &mut Mistakes, parameters: &Value) {
        if !METHODS.contains(&self.method.as_str()) {
            found.add(
                &["method"],
                format!("`{}` is none of {}", self.method.escape_debug(), METHODS.join(", ")),
            );
        }
        let known = |argument: &str| parameters["properties"].get(argument).is_some();
        match check_path(&self.path) {
            Err(message) => found.add(&["path"], message),
            Ok(arguments) => {
                for argument in arguments.iter().filter(|argument| !known(argument)) {
                    found.add(&["path"], format!("`{argument}` is none of the properties of `parameters`"));
                }
            }
        }
        found.count(&["arguments"], self.arguments.len(), PLACED_MAX);
        for (index, placed) in self.arguments.iter().enumerate().take(PLACED_MAX) {
            let index = index.to_string();
            if !known(&placed.argument) {
                let message =
                    format!("`{}` is none of the properties of `parameters`", placed.argument.escape_debug());
                found.add(&["arguments", &index, "argument"], message);
            }
            let wrong = match placed.r#in {
                Place::Header => check_header(&placed.name),
                Place::Query => check_query_name(&placed.name),
            };
            if let Err(message) = wrong {
                found.add(&["arguments", &index, "name"], message);
            }
        }
        if let Some(body) = self.body.as_deref().filter(|body| !known(body)) {
            found.add(
                &["body"],
                format!("`{}` is none of the properties of `parameters`", body.escape_debug()),
            );
        }
        found.count(&["headers"], self.headers.len(), PLACED_MAX);
        for (index, (name, value)) in self.headers.iter().enumerate().take(PLACED_MAX) {
            let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let value = if visible && value.len() <= HEADER_BYTES_MAX {
                Ok(())
            } else {
                Err("its value is not visible ASCII")
            };
            if let Err(message) = check_header(name).and(value.map_err(str::to_owned)) {
                found.add(&["headers", &index.to_string()], message);
            }
        }
        if let Some(Err(message)) = self.idempotency_header.as_deref().map(check_header) {
            found.add(&["idempotency_header"], message);
        }
    }
}

/// The arguments that stand in a path.
fn check_path(path: &str) -> Result<Vec<&str>, String> {
    if !path.starts_with('/') || path.len() > ADDRESS_BYTES_MAX {
        return Err(format!("a path begins with a slash and has at most {ADDRESS_BYTES_MAX} bytes"));
    }
    let mut arguments = Vec::new();
    let mut rest = path;
    while let Some(at) = rest.find(['{', '}']) {
        let (fixed, behind) = rest.split_at(at);
        check_fixed(fixed)?;
        let inner = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (argument, after) = inner.ok_or("it has a brace that is not opened or not closed")?;
        if argument.is_empty() || argument.contains('{') {
            return Err("an argument's name stands in braces, as in `/orders/{id}`".to_owned());
        }
        arguments.push(argument);
        rest = after;
    }
    check_fixed(rest)?;
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("it has a segment `.` or `..`".to_owned());
    }
    Ok(arguments)
}

fn check_fixed(fixed: &str) -> Result<(), String> {
    if fixed.bytes().all(|byte| byte.is_ascii_graphic()) && !fixed.contains(['?', '#', '\\']) {
        Ok(())
    } else {
        Err("beside arguments a path has visible ASCII characters, and neither `?` nor `#`".to_owned())
    }
}

fn check_query_name(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= HEADER_BYTES_MAX && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(format!("a name here has 1 to {HEADER_BYTES_MAX} bytes and no control characters"))
    }
}

/// A field (RFC 9110, section 5.6.2) that a tool may set.
fn check_header(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > HEADER_BYTES_MAX || !name.bytes().all(token) {
        return Err(format!("`{}` is not the name of a header field", name.escape_debug()));
    }
    let lower = name.to_ascii_lowercase();
    if HEADERS_NEVER.contains(&lower.as_str()) || lower.starts_with(OWN_HEADER_PREFIX) {
        return Err(format!("`{name}` is the host's to set; a credential is granted as a secret"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
