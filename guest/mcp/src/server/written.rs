//! What is served, as the protocol writes it.

use super::Settings;
use super::answer::Refusal;
use super::shape::{
    Contents, PromptText, ServedPrompt, ServedResource, ServedResult, ServedTemplate, ServedTool,
};
use crate::annotation;
use crate::message::code;
use crate::version::Version;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::borrow::Cow;

/// `value` as JSON.
pub(super) fn raw<W: Serialize>(value: &W) -> Result<Box<RawValue>, Refusal> {
    to_raw_value(value).map_err(|_| Refusal::new(code::INTERNAL_ERROR, "the result cannot be written"))
}

/// Who the server is.
pub(super) fn server(settings: &Settings) -> Value {
    json!({"name": settings.name, "version": settings.version})
}

/// A tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenTool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    description: &'a str,
    input_schema: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<&'a RawValue>,
    annotations: Annotations,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    read_only_hint: bool,
    idempotent_hint: bool,
}

impl<'a> WrittenTool<'a> {
    pub(super) fn of(tool: &'a ServedTool, version: Version) -> Self {
        let has_structure = |schema: &&RawValue| version.is_stateless() || is_of_object(schema);
        Self {
            name: &tool.name,
            title: tool.title.as_deref(),
            description: &tool.description,
            input_schema: input_schema(&tool.input_schema),
            output_schema: tool.output_schema.as_deref().filter(has_structure),
            annotations: Annotations { read_only_hint: tool.read_only, idempotent_hint: tool.idempotent },
        }
    }
}

/// Whether a schema says at its root that it is of an object: clients before 2026-07-28 know no other results.
fn is_of_object(schema: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Root<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Option<Cow<'a, str>>,
    }
    let root: Result<Root<'_>, _> = serde_json::from_str(schema.get());
    root.is_ok_and(|root| root.kind.as_deref() == Some("object"))
}

/// The schema of arguments. Clients refuse a whole list over one that does not say that it is of an object.
fn input_schema(schema: &RawValue) -> Cow<'_, RawValue> {
    let stripped = annotation::without(schema.get()).and_then(|text| RawValue::from_string(text).ok());
    let schema = stripped.map_or(Cow::Borrowed(schema), Cow::Owned);
    if is_of_object(&schema) {
        return schema;
    }
    let mut value: Value = serde_json::from_str(schema.get()).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.insert("type".to_owned(), "object".into());
    } else {
        value = json!({"type": "object"});
    }
    to_raw_value(&value).map_or(schema, Cow::Owned)
}

/// The result of a call.
pub(super) fn called(result: &ServedResult, version: Version) -> impl Serialize + '_ {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Called<'a> {
        content: [TextContent<'a>; 1],
        #[serde(skip_serializing_if = "Option::is_none")]
        structured_content: Option<&'a RawValue>,
        is_error: bool,
    }
    let is_known = |structured: &&RawValue| version.is_stateless() || structured.get().starts_with('{');
    Called {
        content: [TextContent::of(&result.text)],
        structured_content: result.structured.as_deref().filter(is_known),
        is_error: result.is_error,
    }
}

#[derive(Debug, Serialize)]
struct TextContent<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl<'a> TextContent<'a> {
    fn of(text: &'a str) -> Self {
        Self { r#type: "text", text }
    }
}

/// A resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenResource<'a> {
    uri: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl<'a> WrittenResource<'a> {
    pub(super) fn of(resource: &'a ServedResource) -> Self {
        Self {
            uri: &resource.uri,
            name: &resource.name,
            description: resource.description.as_deref(),
            mime_type: resource.mime_type.as_deref(),
            size: resource.size,
        }
    }
}

/// A kind of address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenTemplate<'a> {
    uri_template: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
}

impl<'a> WrittenTemplate<'a> {
    pub(super) fn of(template: &'a ServedTemplate) -> Self {
        Self {
            uri_template: &template.uri_template,
            name: &template.name,
            description: template.description.as_deref(),
            mime_type: template.mime_type.as_deref(),
        }
    }
}

/// What a resource holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenContents<'a> {
    uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
}

impl<'a> WrittenContents<'a> {
    pub(super) fn of(contents: &'a Contents) -> Self {
        match contents {
            Contents::Text { uri, mime_type, text } => {
                Self { uri, mime_type: mime_type.as_deref(), text: Some(text), blob: None }
            }
            Contents::Bytes { uri, mime_type, bytes } => {
                Self { uri, mime_type: mime_type.as_deref(), text: None, blob: Some(STANDARD.encode(bytes)) }
            }
        }
    }
}

/// A prompt of a list.
#[derive(Debug, Serialize)]
pub(super) struct WrittenPrompt<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<WrittenArgument<'a>>,
}

#[derive(Debug, Serialize)]
struct WrittenArgument<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    required: bool,
}

impl<'a> WrittenPrompt<'a> {
    pub(super) fn of(prompt: &'a ServedPrompt) -> Self {
        let arguments = prompt.arguments.iter().map(|argument| WrittenArgument {
            name: &argument.name,
            description: argument.description.as_deref(),
            required: argument.required,
        });
        Self {
            name: &prompt.name,
            title: prompt.title.as_deref(),
            description: prompt.description.as_deref(),
            arguments: arguments.collect(),
        }
    }
}

/// A prompt, filled in.
pub(super) fn prompt(prompt: &PromptText) -> impl Serialize + '_ {
    #[derive(Serialize)]
    struct Filled<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        messages: Vec<Message<'a>>,
    }
    #[derive(Serialize)]
    struct Message<'a> {
        role: &'static str,
        content: TextContent<'a>,
    }
    let messages = prompt.messages.iter().map(|message| Message {
        role: if message.by_assistant { "assistant" } else { "user" },
        content: TextContent::of(&message.text),
    });
    Filled { description: prompt.description.as_deref(), messages: messages.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_arguments_always_says_that_it_is_of_an_object() {
        let check = |schema: &str, expected: &str| {
            let schema = RawValue::from_string(schema.to_owned()).unwrap();
            assert_eq!(input_schema(&schema).get(), expected);
        };
        check(r#"{"type":"object","a":1}"#, r#"{"type":"object","a":1}"#);
        check(r#"{"properties":{}}"#, r#"{"properties":{},"type":"object"}"#);
        check(r#"{"type":["object","null"]}"#, r#"{"type":"object"}"#);
        check("true", r#"{"type":"object"}"#);
        check(
            r#"{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string"}},"type":"object"}"#,
        );
    }

    #[test]
    fn clients_that_know_only_objects_are_shown_no_other_result() {
        let result = |structured: &str| ServedResult {
            text: "x".to_owned(),
            structured: Some(RawValue::from_string(structured.to_owned()).unwrap()),
            is_error: false,
        };
        let check = |structured: &str, version, expected: bool| {
            let written = serde_json::to_value(called(&result(structured), version)).unwrap();
            assert_eq!(written.get("structuredContent").is_some(), expected, "{structured} {version}");
        };
        check("{}", Version::June2025, true);
        check("[]", Version::June2025, false);
        check("[]", Version::July2026, true);
    }
}
