//! What a turn asks of the knowledge: what the user said last, and what was said before it.

use serde::Serialize;
use waggle_openai::item::{Item, Part, Role};
use waggle_search::search::QUERY_BYTES_MAX;

/// How much of what was said before is told, so that a question that refers to it can be understood: so many messages, and
/// so many characters of each.
const MESSAGES_MAX: usize = 10;
const MESSAGE_CHARACTERS_MAX: usize = 1_000;

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Said {
    role: Role,
    text: String,
}

/// A question to the knowledge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// What the user said last.
    pub(crate) text: String,
    /// What was said before, oldest first.
    pub(crate) conversation: Vec<Said>,
    /// Whether nothing but words of a user are in the turn, and no instructions before it: then an answer that was given
    /// to somebody else may be the answer to it.
    pub(crate) is_plain: bool,
    /// Whether it is all there is: nothing was said before it, nor with it. Only the answer to such a question tells nothing
    /// of who asked it.
    pub(crate) stands_alone: bool,
}

fn clipped(text: &str, characters_max: usize) -> &str {
    text.char_indices().nth(characters_max).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// What an item says, of a user and of an assistant. What was said in a model's place was no answer.
fn said(item: &Item<'_>) -> Option<(Role, String)> {
    let Item::Message { role: role @ (Role::User | Role::Assistant), parts, .. } = item else { return None };
    let words: Vec<&str> = parts.iter().map(Part::words).filter(|words| !words.trim().is_empty()).collect();
    (!words.is_empty()).then(|| (*role, words.join("\n")))
}

fn is_in_words(item: &Item<'_>) -> bool {
    let is_text = |part: &Part<'_>| matches!(part, Part::Text(_));
    matches!(item, Item::Message { role: Role::User, parts, .. } if parts.iter().all(is_text))
}

/// Whether a stored item is a message of instructions. Within a text, quotes stand otherwise.
fn is_instructions(item: &str) -> bool {
    ["\"role\":\"developer\"", "\"role\":\"system\""].iter().any(|role| item.contains(role))
}

impl Question {
    /// The question of a turn that says `input` after `history`, each item of which is as it is stored. `None` where no
    /// user has said anything in words.
    ///
    /// # Errors
    /// A stored item cannot be read.
    pub(crate) fn of(input: &[Item<'_>], history: &[&str]) -> serde_json::Result<Option<Self>> {
        let mut newest_first = Vec::new();
        for item in input.iter().rev() {
            newest_first.extend(said(item));
        }
        // As many as may be told, and the question, of which nothing may be among the input.
        for item in history.iter().rev() {
            let is_enough =
                newest_first.len() > MESSAGES_MAX && newest_first.iter().any(|(role, _)| *role == Role::User);
            if is_enough {
                break;
            }
            newest_first.extend(said(&serde_json::from_str(item)?));
        }
        let Some(last) = newest_first.iter().position(|(role, _)| *role == Role::User) else {
            return Ok(None);
        };
        let asked = newest_first.iter().skip(last).take_while(|(role, _)| *role == Role::User).count();
        let words = newest_first.iter().skip(last).take(asked).rev().map(|(_, text)| text.as_str());
        let text = words.collect::<Vec<_>>().join("\n");
        let before = newest_first.iter().skip(last + asked).take(MESSAGES_MAX);
        let mut conversation: Vec<Said> = before
            .map(|(role, text)| Said { role: *role, text: clipped(text, MESSAGE_CHARACTERS_MAX).to_owned() })
            .collect();
        conversation.reverse();
        let is_plain = input.iter().all(is_in_words) && !history.iter().any(|item| is_instructions(item));
        let stands_alone = is_plain && history.is_empty() && input.len() == 1;
        // More of it is not searched for.
        let text = text.trim();
        let text = text.get(..text.floor_char_boundary(QUERY_BYTES_MAX)).unwrap_or_default().to_owned();
        Ok(Some(Self { text, conversation, is_plain, stands_alone }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn question(input: &Value, history: &[Value]) -> Option<Question> {
        let text = input.to_string();
        let items: Vec<Item<'_>> = serde_json::from_str(&text).unwrap();
        let history: Vec<String> = history.iter().map(Value::to_string).collect();
        let history: Vec<&str> = history.iter().map(String::as_str).collect();
        Question::of(&items, &history).unwrap()
    }

    fn user(text: &str) -> Value {
        json!({"role": "user", "content": text})
    }

    fn check(input: &Value, history: &[Value], text: &str, before: &[&str], stands_alone: bool) {
        let question = question(input, history).unwrap();
        let told: Vec<&str> = question.conversation.iter().map(|said| said.text.as_str()).collect();
        assert_eq!(
            (question.text.as_str(), told.as_slice(), question.stands_alone),
            (text, before, stands_alone),
            "{input}"
        );
    }

    #[test]
    fn the_question_is_what_the_user_said_last() {
        let answer = |text: &str| json!({"role": "assistant", "content": text});
        let fallback = json!({"role": "assistant", "content": "busy", "waggle_fallback": true});
        let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "c", "output": "o"});
        check(&json!([user("q")]), &[], "q", &[], true);
        check(&json!([user("q")]), &[user("a"), answer("b")], "q", &["a", "b"], false);
        check(&json!([user("q")]), &[user("a"), fallback], "a\nq", &[], false);
        check(&json!([user("a"), user("b")]), &[], "a\nb", &[], false);
        check(&json!([{"role": "developer", "content": "rules"}, user("q")]), &[], "q", &[], false);
        // A turn that brings what a function returned goes on with the question before.
        check(&json!([output]), &[answer("b"), user("q"), call], "q", &["b"], false);
        let image = json!({"role": "user", "content": [{"type": "input_text", "text": "what is it"},
            {"type": "input_image", "image_url": "data:,"}]});
        check(&json!([image]), &[], "what is it", &[], false);
        assert_eq!(question(&json!([answer("a")]), &[]), None);
        assert_eq!(question(&json!([user(" ")]), &[]), None);
    }

    #[test]
    fn only_the_plain_words_of_users_may_be_answered_as_somebody_elses() {
        let check = |input: Value, history: &[Value], is_plain: bool| {
            assert_eq!(question(&input, history).unwrap().is_plain, is_plain, "{input} {history:?}");
        };
        let rules = json!({"role": "developer", "content": "rules"});
        let quoted = user("\"role\":\"developer\"");
        let image = json!({"role": "user", "content": [{"type": "input_text", "text": "what is it"},
            {"type": "input_image", "image_url": "data:,"}]});
        check(json!([user("q")]), &[], true);
        check(
            json!([user("q"), user("r")]),
            &[user("a"), json!({"role": "assistant", "content": "b"})],
            true,
        );
        check(json!([quoted]), std::slice::from_ref(&quoted), true);
        check(json!([rules, user("q")]), &[], false);
        check(json!([user("q")]), &[rules], false);
        check(json!([image]), &[], false);
    }

    #[test]
    fn long_words_and_long_conversations_are_clipped() {
        let long = "巴".repeat(QUERY_BYTES_MAX);
        let history: Vec<Value> = (0..30)
            .map(|number| json!({"role": "assistant", "content": format!("{number}{long}")}))
            .collect();
        let question = question(&json!([user(&long)]), &history).unwrap();
        assert_eq!(question.text.len(), QUERY_BYTES_MAX / 3 * 3, "no more than may be searched for");
        assert_eq!(question.conversation.len(), MESSAGES_MAX);
        assert!(question.conversation[0].text.starts_with("20"), "the newest, oldest first");
        assert!(question.conversation.iter().all(|said| said.text.chars().count() == MESSAGE_CHARACTERS_MAX));
    }
}
