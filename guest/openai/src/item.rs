//! Items: what clients send as input, what is stored, what a model produced.
//!
//! An item is normalised once, when it comes in, and written as JSON once, with its id; from then on it is spliced
//! raw into records, lists and responses. [`StoredItem`] is the view by which a stored one is passed to a model.

use crate::id::{ItemId, ItemKind, Nonce};
use crate::json::Text;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::fmt;

/// An item as it is stored and answered: its JSON object, with its id.
pub type RawItem = Box<RawValue>;

/// The longest call id or function name, in characters.
const NAME_CHARACTERS_MAX: usize = 256;
/// The most parts of one message's content.
const PARTS_MAX: usize = 256;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The end user.
    User,
    /// The model.
    Assistant,
    /// The application's own instructions.
    System,
    /// OpenAI's newer name for the application's own instructions.
    Developer,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "system" => Self::System,
            "developer" => Self::Developer,
            _ => return None,
        })
    }
}

/// A piece of a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether this is the model refusing to answer.
    pub refusal: bool,
}

impl<'a> Part<'a> {
    /// A piece of text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into(), refusal: false }
    }
}

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is being produced.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut off.
    Incomplete,
}

/// An item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// Something said.
    Message {
        /// Who said it.
        role: Role,
        /// What was said.
        parts: Vec<Part<'a>>,
    },
    /// What the assistant said in place of a model that failed. Models do not get to see it.
    Fallback {
        /// What was said.
        parts: Vec<Part<'a>>,
    },
    /// The model asks for a function to be called.
    FunctionCall {
        /// Names this call, so that its output can refer to it.
        call_id: Cow<'a, str>,
        /// The function.
        name: Cow<'a, str>,
        /// Its arguments: JSON as the model wrote it.
        arguments: Cow<'a, str>,
    },
    /// What a function returned.
    FunctionCallOutput {
        /// The call it answers.
        call_id: Cow<'a, str>,
        /// What it returned.
        output: Cow<'a, str>,
    },
}

#[derive(Serialize)]
struct MessageJson<'a> {
    id: ItemId,
    r#type: &'static str,
    status: ItemStatus,
    role: Role,
    content: Vec<PartJson<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waggle_fallback: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PartJson<'a> {
    InputText { text: &'a str },
    OutputText { text: &'a str, annotations: [(); 0], logprobs: [(); 0] },
    Refusal { refusal: &'a str },
}

#[derive(Serialize)]
struct CallJson<'a> {
    id: ItemId,
    r#type: &'static str,
    status: ItemStatus,
    call_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

impl Item<'_> {
    /// What kind of item this is.
    pub fn kind(&self) -> ItemKind {
        match self {
            Self::Message { .. } | Self::Fallback { .. } => ItemKind::Message,
            Self::FunctionCall { .. } => ItemKind::FunctionCall,
            Self::FunctionCallOutput { .. } => ItemKind::FunctionCallOutput,
        }
    }

    /// An estimate of the tokens a model counts for it.
    pub fn tokens(&self) -> u64 {
        const TOKENS_AROUND_AN_ITEM: u64 = 4;
        let text = match self {
            Self::Fallback { .. } => return 0,
            Self::Message { parts, .. } => parts.iter().map(|part| estimate_tokens(&part.text)).sum(),
            Self::FunctionCall { name, arguments, .. } => estimate_tokens(name) + estimate_tokens(arguments),
            Self::FunctionCallOutput { output, .. } => estimate_tokens(output),
        };
        text + TOKENS_AROUND_AN_ITEM
    }

    /// Writes the item as it is stored and answered.
    ///
    /// # Errors
    /// None in practice: these types always serialise.
    pub fn to_raw(&self, nonce: Nonce, index: usize, status: ItemStatus) -> serde_json::Result<RawItem> {
        let id = ItemId { kind: self.kind(), nonce, index };
        let call = |r#type, call_id| CallJson {
            id,
            r#type,
            status,
            call_id,
            name: None,
            arguments: None,
            output: None,
        };
        let message = |role, parts: &[Part<'_>], waggle_fallback| {
            let content = parts.iter().map(|part| part_json(role, part)).collect();
            to_raw_value(&MessageJson { id, r#type: "message", status, role, content, waggle_fallback })
        };
        match self {
            Self::Message { role, parts } => message(*role, parts, false),
            Self::Fallback { parts } => message(Role::Assistant, parts, true),
            Self::FunctionCall { call_id, name, arguments } => to_raw_value(&CallJson {
                name: Some(name),
                arguments: Some(arguments),
                ..call("function_call", call_id)
            }),
            Self::FunctionCallOutput { call_id, output } => {
                to_raw_value(&CallJson { output: Some(output), ..call("function_call_output", call_id) })
            }
        }
    }
}

fn part_json<'a>(role: Role, part: &'a Part<'_>) -> PartJson<'a> {
    match role {
        _ if part.refusal => PartJson::Refusal { refusal: &part.text },
        Role::Assistant => PartJson::OutputText { text: &part.text, annotations: [], logprobs: [] },
        _ => PartJson::InputText { text: &part.text },
    }
}

/// Writes the items of one commit, numbered from `first_index`.
///
/// # Errors
/// None in practice: these types always serialise.
pub fn to_raw_items(
    items: &[Item<'_>],
    nonce: Nonce,
    first_index: usize,
) -> serde_json::Result<Vec<RawItem>> {
    (first_index..).zip(items).map(|(index, item)| item.to_raw(nonce, index, ItemStatus::Completed)).collect()
}

/// An estimate of the tokens in `text`: a quarter of its bytes, but one for each character of the scripts that models
/// split into single characters (Chinese, Japanese, Korean and what stands near them in Unicode).
///
/// It is an estimate: real tokenizers differ by model, and this one needs no vocabulary.
pub fn estimate_tokens(text: &str) -> u64 {
    const FIRST_WIDE_CHARACTER: char = '\u{2e80}';
    if text.is_ascii() {
        return text.len().div_ceil(4) as u64;
    }
    let wide = text.chars().filter(|character| *character >= FIRST_WIDE_CHARACTER);
    let (count, bytes) =
        wide.fold((0, 0), |(count, bytes), character| (count + 1, bytes + character.len_utf8()));
    (count + (text.len() - bytes).div_ceil(4)) as u64
}

/// A stored item, as far as a model must see it. Texts stay JSON string literals, to be spliced into a request.
#[derive(Debug, Deserialize)]
pub struct StoredItem<'a> {
    /// `message`, `function_call` or `function_call_output`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Who speaks, when it is a message.
    pub role: Option<&'a str>,
    /// The parts of a message.
    #[serde(borrow, default)]
    pub content: Vec<StoredPart<'a>>,
    /// Whether it is an [`Item::Fallback`].
    #[serde(rename = "waggle_fallback", default)]
    pub fallback: bool,
    /// The call, for the two function kinds.
    #[serde(borrow)]
    pub call_id: Option<&'a RawValue>,
    /// The function that is called.
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    /// The arguments of the call.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    /// What the function returned.
    #[serde(borrow)]
    pub output: Option<&'a RawValue>,
}

/// A part of a stored message: one of the two is there.
#[derive(Debug, Deserialize)]
pub struct StoredPart<'a> {
    /// The text.
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    /// The refusal.
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
}

/// A stored item's text, for whoever shows it to people: nothing for a call of a function or its output.
#[derive(Debug, Deserialize)]
pub struct StoredText {
    /// Who speaks, when it is a message.
    pub role: Option<String>,
    /// The parts of a message.
    #[serde(default)]
    pub content: Vec<StoredTextPart>,
    /// Whether it is an [`Item::Fallback`].
    #[serde(rename = "waggle_fallback", default)]
    pub fallback: bool,
}

/// A part of a stored message, as text.
#[derive(Debug, Deserialize)]
pub struct StoredTextPart {
    /// The text.
    #[serde(default)]
    pub text: String,
    /// The refusal.
    #[serde(default)]
    pub refusal: String,
}

impl StoredText {
    /// All of it as one text.
    pub fn text(&self) -> String {
        self.content.iter().flat_map(|part| [part.text.as_str(), part.refusal.as_str()]).collect()
    }
}

/// Only the id of a stored item.
#[derive(Debug, Deserialize)]
pub struct StoredId<'a> {
    /// The id.
    pub id: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    call_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    #[serde(borrow)]
    output: Option<Content<'a>>,
    waggle_fallback: Option<bool>,
    // Clients send back what they were given; a new id is made here.
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
    #[serde(rename = "phase")]
    _phase: Option<IgnoredAny>,
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
    #[serde(rename = "annotations")]
    _annotations: Option<IgnoredAny>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<IgnoredAny>,
}

/// A string, or an array of parts.
struct Content<'a>(Vec<Part<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of content parts")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Content<'de>, E> {
                Ok(Content(vec![Part::text(text)]))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content<'de>, E> {
                Ok(Content(vec![Part::text(text.to_owned())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Content<'de>, A::Error> {
                let mut parts = Vec::new();
                while let Some(fields) = sequence.next_element::<PartFields<'de>>()? {
                    if parts.len() == PARTS_MAX {
                        return Err(A::Error::custom(format!("more than {PARTS_MAX} content parts")));
                    }
                    parts.push(read_part(fields)?);
                }
                Ok(Content(parts))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

fn read_part<E: Error>(fields: PartFields<'_>) -> Result<Part<'_>, E> {
    match &*fields.kind {
        "input_text" | "output_text" => {
            let Text(text) = fields.text.ok_or_else(|| E::missing_field("text"))?;
            Ok(Part::text(text))
        }
        "refusal" => {
            let Text(text) = fields.refusal.ok_or_else(|| E::missing_field("refusal"))?;
            Ok(Part { text, refusal: true })
        }
        other => Err(E::custom(format!(
            "content parts of type '{}' are not supported; supported are input_text, output_text and refusal",
            crate::error::echo(other)
        ))),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = ItemFields::deserialize(deserializer)?;
        match fields.kind.as_deref() {
            None | Some("message") => read_message(fields),
            Some("function_call") => Ok(Item::FunctionCall {
                call_id: name(fields.call_id, "call_id")?,
                name: name(fields.name, "name")?,
                arguments: fields.arguments.ok_or_else(|| D::Error::missing_field("arguments"))?.0,
            }),
            Some("function_call_output") => Ok(Item::FunctionCallOutput {
                call_id: name(fields.call_id, "call_id")?,
                output: joined(fields.output.ok_or_else(|| D::Error::missing_field("output"))?.0),
            }),
            Some(other) => Err(D::Error::custom(format!(
                "items of type '{}' are not supported; supported are message, function_call and \
                 function_call_output",
                crate::error::echo(other)
            ))),
        }
    }
}

fn read_message<E: Error>(fields: ItemFields<'_>) -> Result<Item<'_>, E> {
    let role = fields.role.ok_or_else(|| E::missing_field("role"))?;
    let role = Role::parse(&role).ok_or_else(|| {
        E::custom(format!(
            "unknown role '{}'; the roles are user, assistant, system and developer",
            crate::error::echo(&role)
        ))
    })?;
    let Content(parts) = fields.content.ok_or_else(|| E::missing_field("content"))?;
    if role == Role::Assistant && fields.waggle_fallback == Some(true) {
        return Ok(Item::Fallback { parts });
    }
    Ok(Item::Message { role, parts })
}

fn name<'a, E: Error>(text: Option<Text<'a>>, field: &'static str) -> Result<Cow<'a, str>, E> {
    let Text(text) = text.ok_or_else(|| E::missing_field(field))?;
    if text.is_empty() || text.len() > NAME_CHARACTERS_MAX {
        return Err(E::custom(format!("'{field}' must have 1 to {NAME_CHARACTERS_MAX} characters")));
    }
    Ok(text)
}

fn joined(mut parts: Vec<Part<'_>>) -> Cow<'_, str> {
    if parts.len() == 1 {
        return parts.pop().map(|part| part.text).unwrap_or_default();
    }
    Cow::Owned(parts.iter().map(|part| &*part.text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(json: &str) -> String {
        let item: Item<'_> = serde_json::from_str(json).unwrap();
        let raw = item.to_raw(Nonce::mint(0, 0), 7, ItemStatus::Completed).unwrap();
        raw.get().replace(Nonce::mint(0, 0).as_str(), "N")
    }

    #[test]
    fn items_are_normalised_and_numbered() {
        let user = r#"{"id":"msg_N007","type":"message","status":"completed","role":"user","content":[{"type":"input_text","text":"h\"i"}]}"#;
        assert_eq!(stored(r#"{"role":"user","content":"h\"i"}"#), user);
        assert_eq!(
            stored(
                r#"{"type":"message","id":"mine","role":"user","content":[{"type":"input_text","text":"h\"i"}]}"#
            ),
            user
        );
        assert_eq!(
            stored(r#"{"role":"assistant","content":"a"}"#),
            r#"{"id":"msg_N007","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]}"#
        );
        assert_eq!(
            stored(r#"{"type":"function_call","call_id":"c","name":"n","arguments":"{}"}"#),
            r#"{"id":"fc_N007","type":"function_call","status":"completed","call_id":"c","name":"n","arguments":"{}"}"#
        );
        assert_eq!(
            stored(
                r#"{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"o"}]}"#
            ),
            r#"{"id":"fco_N007","type":"function_call_output","status":"completed","call_id":"c","output":"o"}"#
        );
    }

    #[test]
    fn a_stored_item_is_an_item_a_client_may_send_back() {
        let raw = Item::Message { role: Role::Assistant, parts: vec![Part::text("é\n")] }
            .to_raw(Nonce::mint(9, 9), 0, ItemStatus::Completed)
            .unwrap();
        let again: Item<'_> = serde_json::from_str(raw.get()).unwrap();
        assert_eq!(again, Item::Message { role: Role::Assistant, parts: vec![Part::text("é\n")] });
        let view: StoredItem<'_> = serde_json::from_str(raw.get()).unwrap();
        assert_eq!((view.kind, view.role), ("message", Some("assistant")));
        assert_eq!(view.content[0].text.unwrap().get(), r#""é\n""#);
    }

    #[test]
    fn what_was_said_for_a_model_is_marked_and_stays_so_when_it_is_sent_back() {
        let fallback = Item::Fallback { parts: vec![Part::text("busy")] };
        let raw = fallback.to_raw(Nonce::mint(9, 9), 0, ItemStatus::Completed).unwrap();
        assert!(raw.get().ends_with(r#""waggle_fallback":true}"#), "{raw}");
        assert_eq!(serde_json::from_str::<Item<'_>>(raw.get()).unwrap(), fallback);
        assert!(serde_json::from_str::<StoredItem<'_>>(raw.get()).unwrap().fallback);
        let users = r#"{"role":"user","content":"x","waggle_fallback":true}"#;
        assert!(stored(users).ends_with("]}"), "only what an assistant says can be one");
    }

    #[test]
    fn tokens_are_estimated_by_script() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("hello"), 2);
        assert_eq!(estimate_tokens("你好世界"), 4);
        assert_eq!(estimate_tokens("hi 你好"), 3);
        assert_eq!(estimate_tokens("ééé"), 2);
    }
}
