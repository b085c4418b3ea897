//! Reads the bodies of Chat Completions and Responses requests into one [`Prompt`], borrowing from the body.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What both APIs boil down to.
#[derive(Debug, Default)]
pub(crate) struct Prompt<'a> {
    pub(crate) model: Cow<'a, str>,
    pub(crate) messages: Vec<Message<'a>>,
    pub(crate) instructions: Option<Cow<'a, str>>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) tokens_max: Option<u32>,
    /// The tools that may be called, as they were sent.
    pub(crate) tools: Option<&'a RawValue>,
    /// No tool may be called, whatever was sent.
    pub(crate) calls_nothing: bool,
}

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("We could not parse the JSON body of your request: {0}")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` must not be empty")]
    Empty(&'static str),
    #[error(
        "`{0}` is not supported: the simulated model keeps no conversations; send the whole conversation in `input`"
    )]
    Stateful(&'static str),
}

impl RequestError {
    /// The field to blame, for the `param` of the error answer.
    pub(crate) fn param(&self) -> Option<&'static str> {
        match self {
            Self::Json(_) => None,
            Self::Empty(field) | Self::Stateful(field) => Some(field),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

#[derive(Debug, Clone)]
pub(crate) struct Message<'a> {
    pub(crate) role: Role,
    pub(crate) text: Cow<'a, str>,
    /// How many tools it calls.
    pub(crate) calls: usize,
}

impl Prompt<'_> {
    /// A deterministic estimate, a quarter of the bytes, which is about what tokenizers reach for English text.
    pub(crate) fn tokens(&self) -> u64 {
        const BYTES_PER_TOKEN: usize = 4;
        let messages: usize = self.messages.iter().map(|m| m.text.len().div_ceil(BYTES_PER_TOKEN)).sum();
        let instructions = self.instructions.as_ref().map_or(0, |text| text.len().div_ceil(BYTES_PER_TOKEN));
        (messages + instructions).max(1) as u64
    }
}

#[derive(Deserialize)]
struct ChatBody<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    messages: Vec<ChatMessage<'a>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_choice: Option<&'a RawValue>,
}

/// Whether a choice of tools is that of none.
fn chooses_none(choice: Option<&RawValue>) -> bool {
    choice.is_some_and(|choice| choice.get() == "\"none\"")
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ChatMessage<'a> {
    role: Role,
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(default)]
    tool_calls: Option<Vec<IgnoredAny>>,
}

impl<'a> ChatMessage<'a> {
    fn into_message(self) -> Message<'a> {
        let calls = self.tool_calls.map_or(0, |calls| calls.len());
        Message { role: self.role, text: self.content.0, calls }
    }
}

/// Reads the body of `POST /v1/chat/completions`.
pub(crate) fn parse_chat(body: &[u8]) -> Result<Prompt<'_>, RequestError> {
    let body: ChatBody<'_> = serde_json::from_slice(body)?;
    if body.messages.is_empty() {
        return Err(RequestError::Empty("messages"));
    }
    Ok(Prompt {
        model: body.model,
        messages: body.messages.into_iter().map(ChatMessage::into_message).collect(),
        instructions: None,
        stream: body.stream.unwrap_or(false),
        include_usage: body.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        tokens_max: body.max_completion_tokens.or(body.max_tokens),
        tools: body.tools,
        calls_nothing: chooses_none(body.tool_choice),
    })
}

#[derive(Deserialize)]
struct ResponsesBody<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    input: Input<'a>,
    #[serde(borrow, default)]
    instructions: Text<'a>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    previous_response_id: Option<IgnoredAny>,
    #[serde(default)]
    conversation: Option<IgnoredAny>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_choice: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    output: Text<'a>,
}

/// Reads the body of `POST /v1/responses`.
pub(crate) fn parse_responses(body: &[u8]) -> Result<Prompt<'_>, RequestError> {
    let body: ResponsesBody<'_> = serde_json::from_slice(body)?;
    if body.previous_response_id.is_some() {
        return Err(RequestError::Stateful("previous_response_id"));
    }
    if body.conversation.is_some() {
        return Err(RequestError::Stateful("conversation"));
    }
    let messages: Vec<_> = match body.input {
        Input::Text(text) => vec![Message { role: Role::User, text, calls: 0 }],
        Input::Items(items) => items.into_iter().filter_map(message_of).collect(),
    };
    if messages.is_empty() {
        return Err(RequestError::Empty("input"));
    }
    Ok(Prompt {
        model: body.model,
        messages,
        instructions: (!body.instructions.0.is_empty()).then_some(body.instructions.0),
        stream: body.stream.unwrap_or(false),
        include_usage: true,
        tokens_max: body.max_output_tokens,
        tools: body.tools,
        calls_nothing: chooses_none(body.tool_choice),
    })
}

/// Items that are nothing to the model (reasoning) are left out.
fn message_of(item: Item<'_>) -> Option<Message<'_>> {
    match item.kind.as_deref() {
        None | Some("message") => {
            Some(Message { role: item.role.unwrap_or(Role::User), text: item.content.0, calls: 0 })
        }
        Some("function_call_output") => Some(Message { role: Role::Tool, text: item.output.0, calls: 0 }),
        Some("function_call") => Some(Message { role: Role::Assistant, text: Cow::default(), calls: 1 }),
        Some(_) => None,
    }
}

/// Content that is a string, a list of parts, or null; the texts of the parts are joined.
#[derive(Debug, Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, a list of content parts, or null")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut joined: Cow<'de, str> = Cow::Borrowed("");
        while let Some(part) = parts.next_element::<Part<'de>>()? {
            let Some(text) = part.text else { continue };
            if joined.is_empty() {
                joined = text;
            } else {
                joined.to_mut().push_str(&text);
            }
        }
        Ok(Text(joined))
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

enum Input<'a> {
    Text(Cow<'a, str>),
    Items(Vec<Item<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Input<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list of items")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Input::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Input::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        const ITEMS_MAX: usize = 100_000;
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            if all.len() == ITEMS_MAX {
                return Err(A::Error::custom("more than 100000 items"));
            }
            all.push(item);
        }
        Ok(Input::Items(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(prompt: &Prompt<'_>) -> Vec<(Role, String)> {
        prompt.messages.iter().map(|m| (m.role, m.text.to_string())).collect()
    }

    #[test]
    fn chat_content_may_be_text_parts_or_null() {
        fn check(content: &str, expected: &str) {
            let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
            let prompt = parse_chat(body.as_bytes()).unwrap();
            assert_eq!(texts(&prompt), [(Role::User, expected.to_owned())], "{content}");
        }
        check(r#""hi""#, "hi");
        check(r#""a\nb""#, "a\nb");
        check(r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "ab");
        check(r#"[{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"b"}]"#, "b");
        check("null", "");
    }

    #[test]
    fn responses_input_may_be_text_or_items() {
        fn check(input: &str, expected: &[(Role, &str)]) {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            let prompt = parse_responses(body.as_bytes()).unwrap();
            let expected: Vec<_> = expected.iter().map(|(r, t)| (*r, (*t).to_owned())).collect();
            assert_eq!(texts(&prompt), expected, "{input}");
        }
        check(r#""hi""#, &[(Role::User, "hi")]);
        check(r#"[{"role":"user","content":"hi"}]"#, &[(Role::User, "hi")]);
        check(
            r#"[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]},
                {"type":"function_call","name":"f","arguments":"{}","call_id":"c"},
                {"type":"function_call_output","call_id":"c","output":"42"}]"#,
            &[(Role::User, "a"), (Role::Assistant, ""), (Role::Tool, "42")],
        );
    }

    #[test]
    fn tools_and_calls_are_seen() {
        let prompt = parse_chat(
            br#"{"model":"m","tools":[{"type":"function"}],"tool_choice":"none","messages":[{"role":"user","content":"x"},
                {"role":"assistant","content":null,"tool_calls":[{"id":"a"},{"id":"b"}]}]}"#,
        )
        .unwrap();
        assert_eq!((prompt.messages[0].calls, prompt.messages[1].calls), (0, 2));
        assert_eq!((prompt.tools.unwrap().get(), prompt.calls_nothing), (r#"[{"type":"function"}]"#, true));
        let body = br#"{"model":"m","input":[{"type":"function_call","name":"f"}],"tool_choice":"auto"}"#;
        let prompt = parse_responses(body).unwrap();
        assert_eq!((prompt.messages[0].calls, prompt.calls_nothing), (1, false));
    }

    #[test]
    fn limits_and_streaming_are_read() {
        let prompt = parse_chat(
            br#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":5,
                 "stream_options":{"include_usage":true}}"#,
        )
        .unwrap();
        assert!(prompt.stream && prompt.include_usage);
        assert_eq!(prompt.tokens_max, Some(5));
    }

    #[test]
    fn mistakes_are_refused_with_the_field() {
        fn check(result: Result<Prompt<'_>, RequestError>, expected: &str) {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(parse_chat(b"{"), "could not parse the JSON body");
        check(parse_chat(br#"{"model":"m","messages":[]}"#), "`messages` must not be empty");
        check(parse_chat(br#"{"messages":[]}"#), "missing field `model`");
        check(parse_chat(br#"{"model":"m","messages":[{"role":"king"}]}"#), "unknown variant `king`");
        check(parse_chat(br#"{"model":"m","messages":[{"role":"user","content":7}]}"#), "a string, a list");
        check(parse_responses(br#"{"model":"m","input":[]}"#), "`input` must not be empty");
        check(parse_responses(br#"{"model":"m","input":"x","previous_response_id":"r"}"#), "keeps no");
        check(parse_responses(br#"{"model":"m","input":"x","conversation":{"id":"c"}}"#), "keeps no");
    }

    #[test]
    fn prompt_tokens_are_a_quarter_of_the_bytes_rounded_up() {
        let prompt = parse_chat(
            br#"{"model":"m","messages":[{"role":"system","content":"12345"},{"role":"user","content":"1"}]}"#,
        )
        .unwrap();
        assert_eq!(prompt.tokens(), 3);
    }
}
