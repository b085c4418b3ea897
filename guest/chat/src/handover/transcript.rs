//! What was said in a conversation, for people who take it over: the newest of it, within bounds.

use serde::{Deserialize, Serialize};
use waggle_openai::item::RawItem;

/// How many items are looked at: the newest.
pub(super) const ITEMS_MAX: usize = 100;
/// How much of one is shown, in characters.
const TEXT_CHARACTERS_MAX: usize = 4_000;
/// How long all of it may be, in bytes of JSON: tools take arguments of 64 KiB, which hold some more than this.
const BYTES_MAX: usize = 40 << 10;

/// Something that was said or done.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// The id of its item.
    id: String,
    /// `user`, `assistant`, or `tool` for what a tool was asked or gave.
    role: &'static str,
    text: String,
}

/// A transcript, oldest line first.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Transcript {
    pub(super) lines: Vec<Line>,
    /// Whether there is more before it.
    pub(super) truncated: bool,
}

/// What is read of an item, whatever it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemText {
    id: String,
    r#type: String,
    role: String,
    content: Vec<PartText>,
    name: String,
    arguments: String,
    output: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PartText {
    r#type: String,
    text: Option<String>,
    refusal: Option<String>,
}

impl PartText {
    /// Its words; of what has none, what it is.
    fn text(&self) -> String {
        let words = self.text.as_ref().or(self.refusal.as_ref());
        words.cloned().unwrap_or_else(|| format!("({})", self.r#type.trim_start_matches("input_")))
    }
}

impl ItemText {
    /// The line of it; `None` for what is nobody's words: what the application says to its model, and what it keeps for
    /// itself.
    fn into_line(self) -> Option<Line> {
        let output = self.output.as_ref().filter(|output| !output.is_null()).map(|output| {
            let text = output.as_str().map(str::to_owned);
            text.unwrap_or_else(|| output.to_string())
        });
        let (role, text) = match (self.r#type.as_str(), self.role.as_str()) {
            ("message" | "", "user") => ("user", self.said()),
            ("message" | "", "assistant") => ("assistant", self.said()),
            ("function_call" | "mcp_call", _) => {
                let gave = output.map(|output| format!(": {output}")).unwrap_or_default();
                ("tool", format!("{}({}){gave}", self.name, self.arguments))
            }
            ("function_call_output", _) => ("tool", output?),
            _ => return None,
        };
        let text: String = text.chars().take(TEXT_CHARACTERS_MAX).collect();
        (!text.is_empty()).then_some(Line { id: self.id, role, text })
    }

    fn said(&self) -> String {
        self.content.iter().map(PartText::text).collect::<Vec<_>>().join("\n")
    }
}

/// The transcript of these items, newest first; `more` says that there are others before them.
pub(super) fn transcript(newest_first: &[RawItem], more: bool) -> Transcript {
    let (mut lines, mut bytes, mut truncated) = (Vec::new(), 0, more);
    for item in newest_first {
        let read: ItemText = serde_json::from_str(item.get()).unwrap_or_default();
        let Some(line) = read.into_line() else { continue };
        bytes += serde_json::to_vec(&line).map_or(0, |line| line.len() + 1);
        if bytes > BYTES_MAX {
            truncated = true;
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    Transcript { lines, truncated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json, value::to_raw_value};

    fn raw(items: &[Value]) -> Vec<RawItem> {
        items.iter().map(|item| to_raw_value(item).unwrap()).collect()
    }

    fn message(role: &str, text: &str) -> Value {
        json!({"id": "msg_1", "type": "message", "role": role, "content": [{"type": "input_text", "text": text}]})
    }

    #[test]
    fn words_and_calls_are_told_oldest_first_and_nothing_else() {
        let items = raw(&[
            json!({"type": "mcp_call", "name": "get_order", "arguments": "{}", "output": "shipped"}),
            json!({"type": "function_call_output", "output": [{"text": "o"}]}),
            json!({"type": "function_call", "name": "f", "arguments": "{\"a\":1}"}),
            json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}),
            json!({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:,"}]}),
            message("developer", "rules"),
            message("assistant", ""),
        ]);
        let found = transcript(&items, false);
        let lines: Vec<_> = found.lines.iter().map(|line| (line.role, line.text.as_str())).collect();
        let expected = [
            ("user", "see\n(image)"),
            ("assistant", "no"),
            ("tool", "f({\"a\":1})"),
            ("tool", "[{\"text\":\"o\"}]"),
            ("tool", "get_order({}): shipped"),
        ];
        assert_eq!((lines.as_slice(), found.truncated), (&expected[..], false));
        assert!(transcript(&items, true).truncated);
    }

    #[test]
    fn the_oldest_is_left_out_of_what_is_too_long() {
        let long = "\"好".repeat(TEXT_CHARACTERS_MAX);
        let items = raw(&vec![message("user", &long); ITEMS_MAX]);
        let found = transcript(&items, false);
        assert!(found.truncated && !found.lines.is_empty());
        assert!(serde_json::to_vec(&found.lines).unwrap().len() <= BYTES_MAX + 1);
        assert!(found.lines.iter().all(|line| line.text.chars().count() == TEXT_CHARACTERS_MAX));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let items = raw(&[json!([1]), json!({"type": "message", "role": "user", "content": "text"})]);
        assert_eq!(transcript(&items, false), Transcript { lines: Vec::new(), truncated: false });
    }
}
