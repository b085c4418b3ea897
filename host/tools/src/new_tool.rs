//! What is asked for when a tool is added or gets another version, and the version that comes of it.

use crate::check::{Mistake, Mistakes, check_name};
use crate::digest::Digest;
use crate::{Function, Grants, Kind, Limits, Origin, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a tool that is written by hand may say.
const FIELDS: [&str; 13] = [
    "name",
    "description",
    "version",
    "kind",
    "base_url",
    "url",
    "digest",
    "functions",
    "only",
    "overrides",
    "grants",
    "limits",
    "accept",
];

/// A tool to be added, or another version of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTool {
    /// `^[a-z][a-z0-9_-]{0,31}$`, not `waggle`. Of a tool that is there, this is another version.
    pub name: String,
    /// For people and models; at most 4,096 bytes.
    #[serde(default)]
    pub description: String,
    /// As its author counts; at most 64 bytes.
    #[serde(default)]
    pub version: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// Of a component: which, among those that were uploaded. The others' is worked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What an HTTP tool can do. A component and an MCP server say that themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Function>,
    /// The functions meant, of a component or an MCP server; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// What is to be said of functions beyond what they say of themselves, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Override>,
    /// What it may reach. Where an HTTP tool or an MCP server itself is, is added.
    #[serde(default)]
    pub grants: Grants,
    /// What a call may use up.
    #[serde(default)]
    pub limits: Limits,
    /// Whether it runs without being accepted: whoever asks has read what it may do.
    #[serde(default)]
    pub accept: bool,
}

/// What whoever adds a tool knows better than the tool; what is absent stays as the tool says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// For the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a call may change something outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side_effects: Option<bool>,
    /// Whether the same call under the same key does no more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// Whether a person approves each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_approval: Option<bool>,
}

impl Override {
    fn apply(&self, function: &mut Function) {
        if let Some(description) = &self.description {
            function.description.clone_from(description);
        }
        function.side_effects = self.side_effects.unwrap_or(function.side_effects);
        function.idempotent = self.idempotent.unwrap_or(function.idempotent);
        function.needs_approval = self.needs_approval.unwrap_or(function.needs_approval);
    }
}

impl NewTool {
    /// A tool that is written as JSON, by hand: a field that there is not is a mistake.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and where.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let members = value.as_object().ok_or("a tool is an object")?;
        if let Some(unknown) = members.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(format!(
                "unknown field `{}`; there are {}",
                unknown.escape_debug(),
                FIELDS.join(", ")
            ));
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// What can be told to be wrong before anybody was asked what the tool can do.
    pub(crate) fn check(&self) -> Result<(), Vec<Mistake>> {
        let mut found = Mistakes::default();
        if let Err(message) = check_name(&self.name) {
            found.add(&["name"], message);
        }
        match (&self.kind, &self.digest) {
            (Kind::Component, None) => {
                found.add(&["digest"], "it is missing: which of the uploaded components is meant?");
            }
            (Kind::Component, Some(digest)) if digest.parse::<Digest>().is_err() => {
                found.add(&["digest"], "a digest is `sha256:` and 64 hexadecimal digits in lower case");
            }
            (Kind::Http { .. } | Kind::Mcp { .. }, Some(_)) => {
                found.add(&["digest"], "only a component is named by one; leave it out");
            }
            _ => {}
        }
        if !matches!(self.kind, Kind::Http { .. }) && !self.functions.is_empty() {
            found.add(
                &["functions"],
                "a component and an MCP server say themselves what they can do; see `overrides`",
            );
        }
        let (field, address) = match &self.kind {
            Kind::Http { base_url } => ("base_url", Some(base_url)),
            Kind::Mcp { url } => ("url", Some(url)),
            Kind::Component => ("", None),
        };
        if let Some(Err(error)) = address.map(|address| Origin::of_url(address)) {
            found.add(&[field], error.to_string());
        }
        self.grants.check(&mut found);
        self.limits.check(&mut found);
        found.none_or_all()
    }

    /// The version of which `functions` are what it can do: those meant, with what is to be said of them.
    ///
    /// # Errors
    /// Every mistake of it.
    pub(crate) fn into_version(mut self, functions: Vec<Function>) -> Result<Version, Vec<Mistake>> {
        let mut found = Mistakes::default();
        let functions = self.meant(functions, &mut found);
        if let Some(Ok(own)) = self.kind.address().map(Origin::of_url) {
            self.grants.outbound.push(own.to_string());
        }
        self.grants.normalize();
        let digest = match &self.digest {
            Some(digest) => digest.clone(),
            None => digest_of(&self.kind, &functions),
        };
        let version = Version {
            description: self.description,
            version: self.version,
            digest,
            kind: self.kind,
            functions,
            overrides: self.overrides,
            only: self.only,
            grants: self.grants,
            limits: self.limits,
        };
        version.check(&mut found);
        found.none_or_all()?;
        Ok(version)
    }

    /// Of `functions` those meant, in their order, with what is said of them.
    fn meant(&self, functions: Vec<Function>, found: &mut Mistakes) -> Vec<Function> {
        let known = |name: &str| functions.iter().any(|function| function.name == name);
        let have = || functions.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
        for (index, name) in self.only.iter().flatten().enumerate().filter(|(_, name)| !known(name)) {
            let message = format!("there is no function `{}`; there are {}", name.escape_debug(), have());
            found.add(&["only", &index.to_string()], message);
        }
        for name in self.overrides.keys().filter(|name| !known(name)) {
            found.add(&["overrides", name], format!("there is no such function; there are {}", have()));
        }
        let is_meant =
            |function: &Function| self.only.as_ref().is_none_or(|only| only.contains(&function.name));
        let mut meant: Vec<Function> = functions.into_iter().filter(is_meant).collect();
        for function in &mut meant {
            if let Some(said) = self.overrides.get(&function.name) {
                said.apply(function);
            }
        }
        meant
    }

    /// What asks for the same tool again, whatever it can do by now. What was said of functions that are gone is left
    /// out by [`NewTool::without_gone`].
    pub(crate) fn again(name: &str, version: &Version) -> Self {
        let is_component = version.kind == Kind::Component;
        Self {
            name: name.to_owned(),
            description: version.description.clone(),
            version: version.version.clone(),
            kind: version.kind.clone(),
            digest: is_component.then(|| version.digest.clone()),
            functions: Vec::new(),
            only: version.only.clone(),
            overrides: version.overrides.clone(),
            grants: version.grants.clone(),
            limits: version.limits,
            accept: false,
        }
    }

    /// The same, meaning nothing that is not among `functions` any more.
    pub(crate) fn without_gone(mut self, functions: &[Function]) -> Self {
        let known = |name: &String| functions.iter().any(|function| function.name == *name);
        self.overrides.retain(|name, _| known(name));
        if let Some(only) = &mut self.only {
            only.retain(|name| known(name));
        }
        self
    }
}

/// The digest of what is no component: of what it is, and of what it can do.
fn digest_of(kind: &Kind, functions: &[Function]) -> String {
    // Of string keys and JSON only, sorted: it cannot fail, and gives the same for the same.
    Digest::of(&serde_json::to_vec(&(kind, functions)).unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_written_by_hand_has_no_field_that_there_is_not() {
        let check = |text: &str, part: Option<&str>| match (NewTool::parse(text.as_bytes()), part) {
            (Ok(tool), None) => assert_eq!(serde_json::to_value(&tool).unwrap()["kind"], "mcp"),
            (Err(message), Some(part)) => assert!(message.contains(part), "{text}: {message}"),
            (parsed, _) => panic!("{text}: {parsed:?}"),
        };
        check(r#"{"name":"a","kind":"mcp","url":"https://a.test","accept":true}"#, None);
        check(
            r#"{"name":"a","kind":"mcp","url":"https://a.test","grant":{}}"#,
            Some("unknown field `grant`"),
        );
        check(r#"{"name":"a","kind":"mcp","url":"https://a.test","grants":{"outbund":[]}}"#, Some("outbund"));
        check(r#"{"name":"a","kind":"mcp"}"#, Some("url"));
        check(r#"{"name":"a","kind":"shell"}"#, Some("shell"));
        check("[]", Some("an object"));
        check("{", Some("line 1"));
    }

    #[test]
    fn every_field_is_among_those_that_may_be_said() {
        let text = r#"{"name":"a","kind":"http","base_url":"https://a.test","digest":"d","only":[],"functions":[
            {"name":"f","description":"","parameters":{},"side_effects":false,"needs_approval":false}],
            "overrides":{"f":{}}}"#;
        let written = serde_json::to_value(NewTool::parse(text.as_bytes()).unwrap()).unwrap();
        let mut names: Vec<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
        names.push("url");
        names.sort_unstable();
        let mut fields = FIELDS;
        fields.sort_unstable();
        assert_eq!(names, fields);
    }
}
