//! The attacks as `bench/tools/attacks` has them: texts with the places they stand in, and requests.

use crate::support::root;
use serde::Deserialize;
use std::fs;

/// Where a text stands when the model reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    User,
    Assistant,
    ToolOutput,
    ToolError,
    Redirect,
    McpOutput,
    McpError,
    McpDescription,
    ComponentOutput,
    Document,
    FileName,
    OrderNote,
}

/// What comes of it, besides what must never happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    Asked,
    Failed,
    Stopped,
    Quiet,
    Refused,
    #[default]
    Harmless,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) text: String,
    pub(crate) places: Vec<Place>,
    pub(crate) expect: Expect,
    #[serde(default)]
    pub(crate) hidden: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) category: String,
    #[serde(default = "responses")]
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

fn responses() -> String {
    "/v1/responses".to_owned()
}

#[derive(Deserialize)]
struct Texts {
    text: Vec<Text>,
}

#[derive(Deserialize)]
struct Requests {
    request: Vec<Request>,
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join("bench/tools/attacks").join(name)).unwrap()
}

pub(crate) fn texts() -> Vec<Text> {
    toml::from_str::<Texts>(&file("texts.toml")).unwrap().text
}

pub(crate) fn requests() -> Vec<Request> {
    toml::from_str::<Requests>(&file("requests.toml")).unwrap().request
}

/// A text with what its placeholders stand for.
pub(crate) fn filled(text: &str, values: &[(&str, String)]) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    let filled = sized(&filled, "{fill:", |size| "x".repeat(size));
    sized(&filled, "{deep:", |size| format!("{}1{}", "{\"a\":".repeat(size), "}".repeat(size)))
}

/// Puts something of a size in the place of `OPEN SIZE }`.
fn sized(text: &str, open: &str, make: impl Fn(usize) -> String) -> String {
    let Some((before, rest)) = text.split_once(open) else { return text.to_owned() };
    let (size, after) = rest.split_once('}').unwrap();
    format!("{before}{}{after}", make(size.parse().unwrap()))
}

#[test]
fn the_cases_are_many_and_each_has_a_name_of_its_own() {
    let (texts, requests) = (texts(), requests());
    let count = texts.iter().map(|text| text.places.len()).sum::<usize>() + requests.len();
    assert!(count >= 100, "{count} cases");
    let mut names: Vec<&str> = texts.iter().map(|text| text.name.as_str()).collect();
    names.extend(requests.iter().map(|request| request.name.as_str()));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    let values = [("sink", "http://sink".to_owned())];
    assert_eq!(filled("a {sink} {fill:3} {deep:2}", &values), "a http://sink xxx {\"a\":{\"a\":1}}");
}
