//! What can be seen of a question: of a turn's items, or of a chat completion's body.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use waggle_openai::item::{Item, Part, Role, estimate_tokens};
use waggle_openai::json::Text;

/// A question, as far as a tier is chosen by it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Question<'a> {
    /// What the user says now.
    texts: Vec<Cow<'a, str>>,
    /// How many items come before it.
    pub history_items: usize,
    /// Whether there are tools the model may call, or it has called.
    pub tools: bool,
    /// Whether there is an image in it.
    pub image: bool,
    /// Whether the answer has to follow a JSON schema.
    pub schema: bool,
    /// The reasoning effort that is asked for.
    pub effort: Option<Cow<'a, str>>,
    /// Whether it could not be read.
    pub unreadable: bool,
}

impl<'a> Question<'a> {
    /// The question that `input` asks, with `history_items` items before all of it.
    pub fn of_items(input: &'a [Item<'_>], history_items: usize) -> Self {
        let is_question = |item: &Item<'_>| matches!(item, Item::Message { role: Role::User, .. });
        let start = input.len() - input.iter().rev().take_while(|item| is_question(item)).count();
        let (before, now) = input.split_at(start);
        let before_count = before.iter().filter(|item| !is_instructions(item)).count();
        let parts = || {
            now.iter().flat_map(|item| match item {
                Item::Message { parts, .. } => parts.as_slice(),
                _ => &[],
            })
        };
        Self {
            texts: parts().map(|part| Cow::Borrowed(part.words())).filter(|text| !text.is_empty()).collect(),
            image: parts().any(|part| matches!(part, Part::Image { .. })),
            history_items: history_items + before_count,
            tools: matches!(before.last(), Some(Item::FunctionCallOutput { .. })),
            ..Self::default()
        }
    }

    /// The question that the body of a chat completion asks.
    pub fn of_chat(body: &'a [u8]) -> Self {
        let Ok(chat) = serde_json::from_slice::<Chat<'_>>(body) else {
            return Self { unreadable: true, ..Self::default() };
        };
        let is_user = |message: &Message<'_>| &*message.role == "user";
        let asked = chat.messages.iter().rev().take_while(|message| is_user(message)).count();
        let start = chat.messages.len() - asked;
        let instructions = |message: &&Message<'_>| matches!(&*message.role, "system" | "developer");
        let before = chat.messages.iter().take(start);
        let output = chat.messages.last().is_some_and(|last| matches!(&*last.role, "tool" | "function"));
        let unusable = chat.tool_choice.is_some_and(|choice| choice.is_none);
        let offered = [chat.tools, chat.functions].into_iter().flatten().any(|count| count.0 > 0);
        let history_items = before.filter(|message| !instructions(message)).count();
        let image = chat.messages.iter().skip(start).any(|message| message.content.image);
        let now = chat.messages.into_iter().skip(start);
        Self {
            texts: now.flat_map(|message| message.content.texts).collect(),
            history_items,
            tools: output || offered && !unusable,
            image,
            schema: chat
                .response_format
                .is_some_and(|format| format.kind.is_some_and(|Text(kind)| kind == "json_schema")),
            effort: chat.reasoning_effort.map(|Text(effort)| effort),
            unreadable: false,
        }
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    pub(super) fn tokens(&self) -> u64 {
        self.texts().map(estimate_tokens).sum()
    }
}

fn is_instructions(item: &Item<'_>) -> bool {
    matches!(item, Item::Message { role: Role::System | Role::Developer, .. })
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    tools: Option<Count>,
    functions: Option<Count>,
    tool_choice: Option<ToolChoice>,
    #[serde(borrow)]
    response_format: Option<Format<'a>>,
    #[serde(borrow)]
    reasoning_effort: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow, default)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct PartFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

/// How many elements an array has.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<IgnoredAny>::deserialize(deserializer).map(|elements| Self(elements.len()))
    }
}

/// Whether `tool_choice` is the word `none`; the object that names a function is not.
struct ToolChoice {
    is_none: bool,
}

impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&serde_json::value::RawValue>::deserialize(deserializer)?;
        Ok(Self { is_none: raw.get() == "\"none\"" })
    }
}

/// The content of a message: a string, parts, or nothing.
#[derive(Default)]
struct Content<'a> {
    texts: Vec<Cow<'a, str>>,
    image: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or an array of content parts")
    }

    fn visit_unit<E: Error>(self) -> Result<Content<'de>, E> {
        Ok(Content::default())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Content<'de>, E> {
        Ok(Content { texts: vec![Cow::Borrowed(text)], image: false })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Content<'de>, E> {
        Ok(Content { texts: vec![Cow::Owned(text.to_owned())], image: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content<'de>, A::Error> {
        let mut content = Content::default();
        while let Some(part) = parts.next_element::<PartFields<'de>>()? {
            content.image |= part.kind.is_some_and(|kind| kind.contains("image"));
            content.texts.extend(part.text.map(|Text(text)| text));
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_openai::item::Detail;

    fn chat(body: &str) -> Question<'_> {
        Question::of_chat(body.as_bytes())
    }

    #[test]
    fn a_chat_is_seen_from_its_last_answer_on() {
        let question = chat(
            r#"{"messages":[{"role":"system","content":"rules"},{"role":"user","content":"1"},
            {"role":"assistant","content":null},{"role":"user","content":"a\n"},
            {"role":"user","content":[{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"x"}}]}],
            "reasoning_effort":"low","response_format":{"type":"json_schema","json_schema":{}},"tools":[{}]}"#,
        );
        assert_eq!(question.texts, ["a\n", "b"]);
        assert_eq!(question.history_items, 2);
        assert!(question.image && question.schema && question.tools);
        assert_eq!(question.effort.as_deref(), Some("low"));
    }

    fn check_tools(rest: &str, tools: bool) {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"x"}}]{rest}}}"#);
        let question = chat(&body);
        assert_eq!((question.tools, question.unreadable), (tools, false), "{body}");
    }

    #[test]
    fn tools_count_when_they_may_be_called() {
        check_tools("", false);
        check_tools(r#","tools":[]"#, false);
        check_tools(r#","tools":null"#, false);
        check_tools(r#","tools":[{}]"#, true);
        check_tools(r#","functions":[{}]"#, true);
        check_tools(r#","tools":[{}],"tool_choice":"none""#, false);
        check_tools(r#","tools":[{}],"tool_choice":{"type":"function","function":{"name":"f"}}"#, true);
        assert!(chat(r#"{"messages":[{"role":"tool","content":"out"}]}"#).tools);
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        for body in ["", "[]", r#"{"messages":[{"role":"user","content":[3]}]}"#] {
            assert!(chat(body).unreadable, "{body}");
        }
    }

    #[test]
    fn a_turn_is_seen_from_its_last_answer_on() {
        let message =
            |role, text: &'static str| Item::Message { role, parts: vec![Part::text(text)], phase: None };
        let output = Item::FunctionCallOutput { call_id: "c".into(), output: "o".into() };
        let input = [
            message(Role::System, "s"),
            message(Role::Assistant, "a"),
            message(Role::User, "q"),
            message(Role::User, "r"),
        ];
        let question = Question::of_items(&input, 3);
        assert_eq!((question.texts.len(), question.history_items, question.tools), (2, 4, false));
        assert!(Question::of_items(&[output], 1).tools);
        let image = Part::Image { url: "data:,".into(), detail: Detail::Auto };
        let seen = Item::Message { role: Role::User, parts: vec![image, Part::text("q")], phase: None };
        let question = Question::of_items(std::slice::from_ref(&seen), 0);
        assert!(question.image && question.texts == ["q"]);
    }
}
