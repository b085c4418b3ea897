//! Messages of OpenAI's Chat Completions and Responses as messages of OpenTelemetry: `[{"role", "parts": [{"type", …}]}]`,
//! each attribute a text of JSON that is whole, however much of what was said had room in it.

use super::redact::{json_text_bytes, redacted};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use waggle_measure::trace::CONTENT_BYTES_MAX;

/// Larger bodies are not looked at.
const BODY_BYTES_MAX: usize = 4 << 20;
/// With less room for its text, a part is left out.
const TEXT_BYTES_MIN: usize = 16;
/// The most bytes of a role, a name or an id.
const NAME_BYTES_MAX: usize = 128;
/// What is around the parts of a message, its role apart, the comma behind it included.
const MESSAGE_FRAME_BYTES: usize = r#"{"parts":[],"role":""},"#.len();
/// The brackets of a list.
const LIST_FRAME_BYTES: usize = 2;

/// What a model was asked.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// What it was told to do: parts, as JSON.
    pub(crate) system: Option<String>,
    /// The messages, as JSON; where there is no room for all, the last ones.
    pub(crate) messages: Option<String>,
    /// How many messages before these are not there.
    pub(crate) left_out: usize,
}

/// Reads the body of a call to a model. Nothing where it is none that is known, or over 4 MiB.
pub(crate) fn asked(body: &[u8]) -> Asked {
    if body.len() > BODY_BYTES_MAX {
        return Asked::default();
    }
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return Asked::default() };
    let list = match body.get("messages").or_else(|| body.get("input")) {
        Some(Value::Array(list)) => Cow::Borrowed(&list[..]),
        Some(Value::String(text)) => Cow::Owned(vec![json!({ "role": "user", "content": text })]),
        _ => return Asked::default(),
    };
    let first = list.iter().take_while(|message| is_instruction(message)).count();
    let (instructions, rest) = list.split_at(first);
    let mut room = CONTENT_BYTES_MAX - LIST_FRAME_BYTES;
    let apart = body.get("instructions").into_iter().map(|text| parts(text, &mut room));
    let mut system: Vec<Value> = apart.flatten().collect();
    for message in instructions {
        system.extend(parts(&message["content"], &mut room));
    }
    let (messages, left_out) = last_of(rest);
    let list = |list: Vec<Value>| (!list.is_empty()).then(|| Value::Array(list).to_string());
    Asked { system: list(system), messages: list(messages), left_out }
}

fn is_instruction(message: &Value) -> bool {
    matches!(message["role"].as_str(), Some("system" | "developer"))
}

/// The last messages, as many as have room, and how many have none.
fn last_of(list: &[Value]) -> (Vec<Value>, usize) {
    let mut room = CONTENT_BYTES_MAX - LIST_FRAME_BYTES;
    let mut kept: Vec<Value> = list.iter().rev().map_while(|one| message(one, &mut room)).collect();
    kept.reverse();
    let left_out = list.len() - kept.len();
    (kept, left_out)
}

/// One message of Chat Completions, or one item of Responses. None where there is no room for it.
fn message(from: &Value, room: &mut usize) -> Option<Value> {
    let kind = from["type"].as_str().unwrap_or("message");
    let role = match (kind, from["role"].as_str()) {
        (_, Some(role)) => role,
        ("function_call_output", None) => "tool",
        (_, None) => "assistant",
    };
    let role = redacted(role, NAME_BYTES_MAX);
    *room = room.checked_sub(MESSAGE_FRAME_BYTES + json_text_bytes(&role))?;
    let parts = match kind {
        "message" if role == "tool" => tool_answer(&from["tool_call_id"], &from["content"], room),
        "message" => {
            let mut parts = parts(&from["content"], room);
            let calls = from["tool_calls"].as_array().into_iter().flatten();
            parts.extend(calls.map_while(|call| tool_call(&call["id"], &call["function"], room)));
            parts
        }
        "function_call" => tool_call(&from["call_id"], from, room).into_iter().collect(),
        "function_call_output" => tool_answer(&from["call_id"], &from["output"], room),
        other => part(&[("type", other)], None, room).into_iter().collect(),
    };
    let is_there = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let said_something = is_there(&from["content"]) || is_there(&from["tool_calls"]) || kind != "message";
    (!parts.is_empty() || !said_something).then(|| json!({ "role": role, "parts": parts }))
}

/// What stands in `content`: a text, or a list of parts of which those with a text are told with it and others by their kind.
fn parts(content: &Value, room: &mut usize) -> Vec<Value> {
    match content {
        Value::String(text) => self::text(text, room).into_iter().collect(),
        Value::Array(list) => list.iter().map_while(|one| content_part(one, room)).collect(),
        _ => Vec::new(),
    }
}

fn content_part(from: &Value, room: &mut usize) -> Option<Value> {
    match from["text"].as_str().or_else(|| from["refusal"].as_str()) {
        Some(text) => self::text(text, room),
        None => part(&[("type", from["type"].as_str().unwrap_or("unknown"))], None, room),
    }
}

/// A part that is a text.
pub(super) fn text(text: &str, room: &mut usize) -> Option<Value> {
    part(&[("type", "text")], Some(("content", text)), room)
}

/// A part that calls a tool: `name` and `arguments` of `function`.
fn tool_call(id: &Value, function: &Value, room: &mut usize) -> Option<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    call(&text(id), &text(&function["name"]), &text(&function["arguments"]), room)
}

/// A part that calls a tool.
pub(super) fn call(id: &str, name: &str, arguments: &str, room: &mut usize) -> Option<Value> {
    let arguments = plain(arguments);
    part(&[("type", "tool_call"), ("id", id), ("name", name)], Some(("arguments", &arguments)), room)
}

fn tool_answer(id: &Value, content: &Value, room: &mut usize) -> Vec<Value> {
    let id = id.as_str().unwrap_or_default();
    let text = match content {
        Value::String(text) => plain(text),
        other => Cow::Owned(other.to_string()),
    };
    let names = [("type", "tool_call_response"), ("id", id)];
    part(&names, Some(("response", &text)), room).into_iter().collect()
}

/// A text of JSON without escapes behind which something could hide.
fn plain(text: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => Cow::Owned(value.to_string()),
        _ => Cow::Borrowed(text),
    }
}

/// A part with these short members and perhaps one long one. None where there is no room for it.
fn part(
    names: &[(&'static str, &str)],
    long: Option<(&'static str, &str)>,
    room: &mut usize,
) -> Option<Value> {
    let short = names.iter().map(|(name, value)| (*name, redacted(value, NAME_BYTES_MAX)));
    let all = short.chain(long.map(|(name, _)| (name, String::new())));
    let mut part: Map<String, Value> = all.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let frame_bytes = Value::Object(part.clone()).to_string().len() + ",".len();
    let text_bytes_min = if long.is_some() { TEXT_BYTES_MIN } else { 0 };
    let left = room.checked_sub(frame_bytes).filter(|left| *left >= text_bytes_min)?;
    *room = left;
    if let Some((name, text)) = long {
        let text = redacted(text, left);
        *room = left.saturating_sub(json_text_bytes(&text));
        part.insert(name.to_owned(), text.into());
    }
    Some(Value::Object(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> (Value, Value, usize) {
        let asked = asked(body.to_string().as_bytes());
        let value =
            |text: Option<String>| text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        (value(asked.system), value(asked.messages), asked.left_out)
    }

    #[test]
    fn messages_of_both_apis_are_told_in_one_way() {
        let chat = json!({ "model": "m", "messages": [
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": [{ "type": "text", "text": "Mail a@b.example" }, { "type": "image_url",
                "image_url": { "url": "data:image/png;base64,AAAA" } }] },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "call_1", "type": "function",
                "function": { "name": "send", "arguments": "{\"to\": \"a\\u0040b.example\"}" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "sent to +49 30 1234567" }
        ] });
        let responses = json!({ "model": "m", "instructions": "Be kind.", "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "Mail a@b.example" },
                { "type": "image_url", "image_url": "https://a.example/x" }] },
            { "type": "function_call", "call_id": "call_1", "name": "send", "arguments": "{\"to\":\"a@b.example\"}" },
            { "type": "function_call_output", "call_id": "call_1", "output": "sent to +49 30 1234567" }
        ] });
        let expected = json!([
            { "role": "user", "parts": [{ "type": "text", "content": "Mail [email]" }, { "type": "image_url" }] },
            { "role": "assistant", "parts": [{ "type": "tool_call", "id": "call_1", "name": "send",
                "arguments": "{\"to\":\"[email]\"}" }] },
            { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "call_1", "response": "sent to [phone]" }] }
        ]);
        for body in [chat, responses] {
            let (system, messages, left_out) = read(&body);
            assert_eq!(system, json!([{ "type": "text", "content": "Be kind." }]), "{body}");
            assert_eq!((messages, left_out), (expected.clone(), 0), "{body}");
        }
        let (system, messages, _) = read(&json!({ "input": "hi" }));
        assert_eq!(system, Value::Null);
        assert_eq!(messages, json!([{ "role": "user", "parts": [{ "type": "text", "content": "hi" }] }]));
    }

    #[test]
    fn a_message_without_content_hides_none_before_it() {
        for empty in [json!({ "content": null, "tool_calls": [] }), json!({ "content": [] })] {
            let mut silent = json!({ "role": "assistant" });
            silent.as_object_mut().unwrap().extend(empty.as_object().unwrap().clone());
            let (_, messages, left_out) =
                read(&json!({ "messages": [{ "role": "user", "content": "hi" }, silent] }));
            assert_eq!((messages.as_array().unwrap().len(), left_out), (2, 0), "{messages}");
        }
    }

    #[test]
    fn what_is_no_call_says_nothing() {
        for body in ["", "[]", "{}", "{\"messages\":3}", "{\"messages\":[]}", "\u{0}"] {
            assert_eq!(asked(body.as_bytes()), Asked::default(), "{body}");
        }
        let large = format!("{{\"input\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
        assert_eq!(asked(large.as_bytes()), Asked::default());
    }

    #[test]
    fn of_a_long_conversation_the_end_is_told_and_it_stays_json() {
        let said =
            |number: usize| json!({ "role": "user", "content": format!("{number} {}", "\"ü".repeat(300)) });
        for count in [1, 10, 40, 400] {
            let list: Vec<Value> = (0..count).map(said).collect();
            let asked = asked(json!({ "messages": list }).to_string().as_bytes());
            let text = asked.messages.unwrap();
            assert!(text.len() <= CONTENT_BYTES_MAX, "{}", text.len());
            let kept: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(kept.len() + asked.left_out, count);
            let last = kept.last().unwrap()["parts"][0]["content"].as_str().unwrap().to_owned();
            assert!(last.starts_with(&format!("{} ", count - 1)), "{last}");
            assert_eq!(asked.left_out > 0, count > 20, "{count}: {}", asked.left_out);
        }
    }

    #[test]
    fn no_length_breaks_the_json_or_its_bound() {
        for bytes in (CONTENT_BYTES_MAX - 200..CONTENT_BYTES_MAX + 200).step_by(7) {
            for unit in ["x", "\"", "\u{1}", "你"] {
                let content = unit.repeat(bytes / json_text_bytes(unit));
                let body = json!({ "messages": [{ "role": "user", "content": "before" },
                    { "role": "user", "content": content }] });
                let text = asked(body.to_string().as_bytes()).messages.unwrap();
                assert!(text.len() <= CONTENT_BYTES_MAX, "{unit:?} {bytes}: {}", text.len());
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{unit:?} {bytes}");
            }
        }
    }
}
