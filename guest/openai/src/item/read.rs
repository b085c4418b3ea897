//! Reading items as clients send them: each is held to what its kind may hold.

use super::hosted::{HostedCall, HostedKind};
use super::mcp::{OwnMark, REASON_BYTES_MAX, approval_request_id};
use super::part::{Annotation, Detail, Part, TextPart};
use super::{Item, ItemStatus, Phase, Role, ToolOutput};
use crate::error::echo;
use crate::json::Text;
use crate::object::Object;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::fmt;

/// The longest call id or function name, in characters.
const NAME_CHARACTERS_MAX: usize = 256;
/// The most parts of one message's content.
const PARTS_MAX: usize = 256;

/// An element of a turn's input: an item, or the id of one that is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum InputElement<'a> {
    /// An item.
    Item(Item<'a>),
    /// The id of a stored item.
    Reference(Cow<'a, str>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    // Clients send back what they were given; a new id is made here.
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    phase: Option<Phase>,
    #[serde(borrow)]
    call_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    #[serde(borrow)]
    output: Option<Content<'a>>,
    #[serde(borrow)]
    summary: Option<Content<'a>>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
    waggle_fallback: Option<bool>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    // Those of tools that an endpoint runs itself.
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    queries: Option<&'a RawValue>,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    container_id: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    #[serde(borrow)]
    server_label: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    approval_request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    approve: Option<bool>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    waggle: Option<&'a RawValue>,
    #[serde(rename = "created_by")]
    _created_by: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    annotations: Option<Vec<Annotation>>,
    #[serde(borrow)]
    image_url: Option<Text<'a>>,
    detail: Option<Detail>,
    #[serde(borrow)]
    filename: Option<Text<'a>>,
    #[serde(borrow)]
    file_data: Option<Text<'a>>,
    #[serde(borrow)]
    file_url: Option<Text<'a>>,
    file_id: Option<IgnoredAny>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<IgnoredAny>,
}

/// A string, or an array of parts.
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

impl<'a> Content<'a> {
    fn into_parts(self) -> Vec<Part<'a>> {
        match self {
            Self::Text(text) => vec![Part::text(text)],
            Self::Parts(parts) => parts,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of content parts")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Content<'de>, E> {
                Ok(Content::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content<'de>, E> {
                Ok(Content::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Content<'de>, A::Error> {
                let mut parts = Vec::new();
                while let Some(Object(fields)) = sequence.next_element::<Object<PartFields<'de>>>()? {
                    if parts.len() == PARTS_MAX {
                        return Err(A::Error::custom(format!("more than {PARTS_MAX} content parts")));
                    }
                    parts.push(read_part(fields)?);
                }
                Ok(Content::Parts(parts))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

fn read_part<E: Error>(fields: PartFields<'_>) -> Result<Part<'_>, E> {
    match &*fields.kind {
        "input_text" | "output_text" | "text" => {
            let Some(Text(text)) = fields.text else { return Err(E::missing_field("text")) };
            let citations = fields.annotations.into_iter().flatten().filter_map(Annotation::citation);
            Ok(Part::Text(TextPart { text, annotations: citations.collect(), logprobs: Vec::new() }))
        }
        "refusal" => match fields.refusal {
            Some(Text(refusal)) => Ok(Part::Refusal(refusal)),
            None => Err(E::missing_field("refusal")),
        },
        "reasoning_text" | "summary_text" => {
            let is_summary = &*fields.kind == "summary_text";
            let Some(Text(text)) = fields.text else { return Err(E::missing_field("text")) };
            Ok(if is_summary { Part::Summary(text) } else { Part::Reasoning(text) })
        }
        "input_image" => read_image(fields),
        "input_file" => read_file(fields),
        other => Err(E::custom(format!(
            "content parts of type '{}' are not supported; supported are input_text, input_image, input_file, \
             output_text and refusal",
            echo(other)
        ))),
    }
}

fn no_files<E: Error>() -> E {
    E::custom("'file_id' is not supported: this server keeps no files; send the content itself")
}

fn read_image<E: Error>(fields: PartFields<'_>) -> Result<Part<'_>, E> {
    if fields.file_id.is_some() {
        return Err(no_files());
    }
    let Some(Text(url)) = fields.image_url else { return Err(E::missing_field("image_url")) };
    if !["https://", "http://", "data:"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(E::custom("'image_url' must be an https:, http: or data: URL"));
    }
    Ok(Part::Image { url, detail: fields.detail.unwrap_or_default() })
}

fn read_file<E: Error>(fields: PartFields<'_>) -> Result<Part<'_>, E> {
    if fields.file_id.is_some() {
        return Err(no_files());
    }
    let filename = fields.filename.map(|Text(name)| name);
    match (fields.file_data, fields.file_url) {
        (Some(Text(data)), None) => Ok(Part::File { filename, data }),
        (None, Some(Text(url))) if ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) => {
            Ok(Part::FileUrl { filename, url })
        }
        (None, Some(_)) => Err(E::custom("'file_url' must be an https: or http: URL")),
        (Some(_), Some(_)) => Err(E::custom("'file_data' and 'file_url' are both there; keep one")),
        (None, None) => Err(E::missing_field("file_data")),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for InputElement<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(mut fields) = Object::<ItemFields<'_>>::deserialize(deserializer)?;
        let is_reference = match fields.kind.as_deref() {
            Some(kind) => kind == "item_reference",
            None => fields.role.is_none() && fields.content.is_none() && fields.id.is_some(),
        };
        if !is_reference {
            return read_item(fields).map(Self::Item);
        }
        let Text(id) = fields.id.take().ok_or_else(|| D::Error::missing_field("id"))?;
        Ok(Self::Reference(id))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_item(Object::<ItemFields<'_>>::deserialize(deserializer)?.0)
    }
}

fn read_item<E: Error>(fields: ItemFields<'_>) -> Result<Item<'_>, E> {
    if fields.kind.as_deref().and_then(HostedKind::parse).is_some() {
        return read_hosted(fields);
    }
    check_status(fields.status)?;
    match fields.kind.as_deref() {
        None | Some("message") => read_message(fields),
        Some("function_call") => {
            let Some(Text(arguments)) = fields.arguments else { return Err(E::missing_field("arguments")) };
            Ok(Item::FunctionCall {
                call_id: name(fields.call_id, "call_id")?,
                name: name(fields.name, "name")?,
                arguments,
            })
        }
        Some("function_call_output") => {
            let output = match fields.output.ok_or_else(|| E::missing_field("output"))? {
                Content::Text(text) => ToolOutput::Text(text),
                Content::Parts(parts) => {
                    hold(&parts, "function_call_output items", may_be_said_to_a_model)?;
                    ToolOutput::Parts(parts)
                }
            };
            Ok(Item::FunctionCallOutput { call_id: name(fields.call_id, "call_id")?, output })
        }
        Some("reasoning") => read_reasoning(fields),
        Some("compaction") => {
            let Some(Text(encrypted_content)) = fields.encrypted_content else {
                return Err(E::missing_field("encrypted_content"));
            };
            Ok(Item::Compaction { encrypted_content })
        }
        Some(other) => Err(E::custom(format!(
            "items of type '{}' are not supported; supported are message, function_call, function_call_output, \
             reasoning, compaction, mcp_approval_response, those of tools that run on the server (web_search_call, \
             mcp_call and so on) and, as a turn's input, item_reference",
            echo(other)
        ))),
    }
}

/// How an item ended says whoever sends it, in vain; still it is one of three words.
fn check_status<E: Error>(status: Option<&RawValue>) -> Result<(), E> {
    match status.map(|status| serde_json::from_str::<Option<ItemStatus>>(status.get())) {
        Some(Err(_)) => Err(E::custom("'status' must be in_progress, completed or incomplete")),
        _ => Ok(()),
    }
}

fn read_hosted<E: Error>(fields: ItemFields<'_>) -> Result<Item<'_>, E> {
    let kind = fields.kind.as_deref().and_then(HostedKind::parse).ok_or_else(|| E::missing_field("type"))?;
    let literal = |text: &str| to_raw_value(text).map_err(E::custom);
    let text = |text: &Option<Text<'_>>| text.as_deref().map(literal).transpose();
    let (name, arguments) = (text(&fields.name)?, text(&fields.arguments)?);
    let decision = decision(kind, &fields)?;
    if fields.waggle.is_some_and(|mark| serde_json::from_str::<Option<OwnMark<'_>>>(mark.get()).is_err()) {
        return Err(E::custom("'waggle' is this server's own; send it back as it was, or leave it out"));
    }
    let output = match &fields.output {
        None => None,
        Some(Content::Text(text)) => Some(literal(text)?),
        Some(Content::Parts(_)) => return Err(E::custom("'output' of these items must be a string")),
    };
    let status = fields.status.map(|status| serde_json::from_str::<Text<'_>>(status.get())).transpose();
    let status = status.map_err(|_| E::custom("'status' of these items must be a string"))?;
    let call = HostedCall::new(kind, status.map(|status| status.0.into_owned()), |member| {
        let raw = match member {
            "name" => name.as_deref(),
            "arguments" => arguments.as_deref(),
            "output" => output.as_deref(),
            "action" => fields.action,
            "queries" => fields.queries,
            "results" => fields.results,
            "code" => fields.code,
            "container_id" => fields.container_id,
            "outputs" => fields.outputs,
            "server_label" => fields.server_label,
            "error" => fields.error,
            "approval_request_id" => fields.approval_request_id,
            "tools" => fields.tools,
            "waggle" => fields.waggle,
            "approve" => decision.approve.as_deref(),
            "reason" => decision.reason.as_deref(),
            _ => None,
        };
        raw.map(RawValue::get)
    });
    Ok(Item::Hosted(call))
}

/// The members of a decision, as JSON.
#[derive(Default)]
struct Decision {
    approve: Option<Box<RawValue>>,
    reason: Option<Box<RawValue>>,
}

/// Those of an item of that kind: only a decision has them, and it names the question it answers.
fn decision<E: Error>(kind: HostedKind, fields: &ItemFields<'_>) -> Result<Decision, E> {
    if kind != HostedKind::McpApprovalResponse {
        let foreign = [("approve", fields.approve.is_some()), ("reason", fields.reason.is_some())];
        return match foreign.into_iter().find(|(_, is_there)| *is_there) {
            Some((name, _)) => Err(E::custom(format!("only an mcp_approval_response has '{name}'"))),
            None => Ok(Decision::default()),
        };
    }
    let Some(id) = fields.approval_request_id else { return Err(E::missing_field("approval_request_id")) };
    let id = serde_json::from_str::<Text<'_>>(id.get())
        .map_err(|_| E::custom("'approval_request_id' must be a string"))?;
    if approval_request_id(&id).is_none() {
        return Err(E::custom(format!(
            "'approval_request_id' is '{}', which is not the id of an mcp_approval_request (mcpr_…)",
            echo(&id)
        )));
    }
    let approve = fields.approve.ok_or_else(|| E::missing_field("approve"))?;
    if fields.reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(E::custom(format!("'reason' must have at most {REASON_BYTES_MAX} bytes")));
    }
    let reason = fields.reason.as_deref().map(to_raw_value).transpose().map_err(E::custom)?;
    Ok(Decision { approve: Some(to_raw_value(&approve).map_err(E::custom)?), reason })
}

fn may_be_said_to_a_model(part: &Part<'_>) -> bool {
    matches!(
        part,
        Part::Text(_) | Part::Refusal(_) | Part::Image { .. } | Part::File { .. } | Part::FileUrl { .. }
    )
}

/// Refuses parts that an item of that kind cannot hold.
fn hold<E: Error>(parts: &[Part<'_>], kind: &str, may: impl Fn(&Part<'_>) -> bool) -> Result<(), E> {
    if parts.iter().all(may) {
        return Ok(());
    }
    Err(E::custom(format!("{kind} cannot hold a content part of that type")))
}

fn read_reasoning<E: Error>(fields: ItemFields<'_>) -> Result<Item<'_>, E> {
    let summary = fields.summary.ok_or_else(|| E::missing_field("summary"))?.into_parts();
    let content = fields.content.map(Content::into_parts).unwrap_or_default();
    hold(&summary, "the summary of reasoning items", |part| matches!(part, Part::Summary(_)))?;
    hold(&content, "reasoning items", |part| matches!(part, Part::Reasoning(_)))?;
    let encrypted_content = fields.encrypted_content.map(|Text(content)| content);
    Ok(Item::Reasoning { summary, content, encrypted_content })
}

fn read_message<E: Error>(fields: ItemFields<'_>) -> Result<Item<'_>, E> {
    let role = fields.role.ok_or_else(|| E::missing_field("role"))?;
    let role = Role::parse(&role).ok_or_else(|| {
        E::custom(format!(
            "unknown role '{}'; the roles are user, assistant, system and developer",
            echo(&role)
        ))
    })?;
    let parts = fields.content.ok_or_else(|| E::missing_field("content"))?.into_parts();
    match role {
        Role::User => hold(&parts, "messages of a user", may_be_said_to_a_model)?,
        Role::Assistant => hold(&parts, "messages of an assistant", is_words)?,
        Role::System | Role::Developer => hold(&parts, "instructions", is_words)?,
    }
    if role != Role::Assistant {
        return Ok(Item::Message { role, parts, phase: None });
    }
    if fields.waggle_fallback == Some(true) {
        return Ok(Item::Fallback { parts });
    }
    Ok(Item::Message { role, parts, phase: fields.phase })
}

fn is_words(part: &Part<'_>) -> bool {
    matches!(part, Part::Text(_) | Part::Refusal(_))
}

fn name<'a, E: Error>(text: Option<Text<'a>>, field: &'static str) -> Result<Cow<'a, str>, E> {
    let Text(text) = text.ok_or_else(|| E::missing_field(field))?;
    if text.is_empty() || text.len() > NAME_CHARACTERS_MAX {
        return Err(E::custom(format!("'{field}' must have 1 to {NAME_CHARACTERS_MAX} characters")));
    }
    Ok(text)
}
