//! What the simulated model says: a pure function of the messages and the asked behaviour.

use crate::behaviour::{Behaviour, BehaviourError, Persona, find_directive};
use crate::request::{Message, Prompt, Role};
use crate::script::{Call, last_output, next_calls};
use crate::shop;
use crate::text;

/// The longest answer in tokens, whatever a request asks for.
pub(crate) const ANSWER_TOKENS_MAX: u32 = 1_000_000;

/// What is said, before it is cut to `max_tokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Tool { name: String, arguments: String },
}

/// A reply with everything the wire formats need to know about it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// Calls that are made at once with that of the reply.
    pub(crate) more: Vec<Call>,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// The reply was cut to the token limit of the request.
    pub(crate) truncated: bool,
}

/// Applies the directives of the application and of the last user message, if there are any, to the behaviour.
pub(crate) fn apply_directives(prompt: &Prompt<'_>, behaviour: &mut Behaviour) -> Result<(), BehaviourError> {
    if prompt.model == shop::MODEL {
        behaviour.persona = Some(Persona::Shop);
    }
    for text in [system_text(prompt), last_user_text(prompt)].into_iter().flatten() {
        if let Some((_, inside)) = find_directive(text) {
            behaviour.apply_directive(&text[inside])?;
        }
    }
    Ok(())
}

/// Decides the answer.
pub(crate) fn answer(prompt: &Prompt<'_>, behaviour: &Behaviour) -> Answer {
    let mut calls = next_calls(prompt, behaviour.obeys_everything).into_iter();
    let mut reply = match calls.next() {
        Some(Call { name, arguments }) => Reply::Tool { name, arguments },
        None => reply(prompt, behaviour),
    };
    let more: Vec<Call> = calls.collect();
    let mut truncated = false;
    let completion_tokens = match &mut reply {
        Reply::Text(text) => {
            let limit = prompt.tokens_max.unwrap_or(ANSWER_TOKENS_MAX).min(ANSWER_TOKENS_MAX);
            let (kept_tokens, kept_bytes) = within(text, limit);
            truncated = kept_bytes < text.len();
            text.truncate(kept_bytes);
            kept_tokens
        }
        Reply::Tool { arguments, .. } => {
            let arguments = more.iter().map(|call| &call.arguments).chain([&*arguments]);
            arguments.map(|arguments| text::tokens(arguments).count() as u64 + 1).sum()
        }
    };
    Answer { reply, more, prompt_tokens: prompt.tokens(), completion_tokens, truncated }
}

/// The tokens and bytes of the longest beginning of a text that has at most `limit` tokens.
fn within(text: &str, limit: u32) -> (u64, usize) {
    let mut count = 0;
    let mut bytes = 0;
    for token in text::tokens(text).take(limit as usize) {
        count += 1;
        bytes += token.len();
    }
    (count, bytes)
}

fn reply(prompt: &Prompt<'_>, behaviour: &Behaviour) -> Reply {
    if behaviour.persona == Some(Persona::Shop) {
        return shop::reply(prompt);
    }
    if let Some(text) = last_output(prompt) {
        return Reply::Text(format!("The tool said: {text}"));
    }
    if let Some(call) = behaviour.tool.as_deref().and_then(tool_call) {
        return call;
    }
    if let Some(count) = behaviour.tokens {
        return Reply::Text(text::generated(behaviour.seed, count.min(ANSWER_TOKENS_MAX)));
    }
    let said = without_directive(last_user_text(prompt).unwrap_or(""));
    if let Some(call) = said.strip_prefix("call tool ").and_then(tool_call) {
        return call;
    }
    if let Some(json) = said.strip_prefix("answer ").filter(|json| is_json(json)) {
        return Reply::Text(json.to_owned());
    }
    name_answer(&said, &prompt.messages).unwrap_or_else(|| Reply::Text(format!("You said: {said}")))
}

/// What the application says: the instructions, or the first message if it is the system's.
fn system_text<'a>(prompt: &'a Prompt<'_>) -> Option<&'a str> {
    let speaks = |role| matches!(role, Role::System | Role::Developer);
    let first = prompt.messages.first().filter(|message| speaks(message.role));
    prompt.instructions.as_deref().or(first.map(|message| &*message.text))
}

fn last_user_text<'a>(prompt: &'a Prompt<'_>) -> Option<&'a str> {
    prompt.messages.iter().rev().find(|message| message.role == Role::User).map(|message| &*message.text)
}

fn without_directive(text: &str) -> std::borrow::Cow<'_, str> {
    match find_directive(text) {
        None => text.into(),
        Some((whole, _)) => {
            let (before, after) = (text[..whole.start].trim_end(), text[whole.end..].trim_start());
            let gap = if before.is_empty() || after.is_empty() { "" } else { " " };
            format!("{before}{gap}{after}").into()
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Reads `NAME {json}`; without arguments they are `{}`.
fn tool_call(text: &str) -> Option<Reply> {
    let text = text.trim();
    let (name, arguments) = text.split_once([' ', '{']).map_or((text, "{}"), |(name, _)| {
        let rest = text[name.len()..].trim();
        (name, if rest.is_empty() { "{}" } else { rest })
    });
    let valid = !name.is_empty() && is_json(arguments);
    valid.then(|| Reply::Tool { name: name.to_owned(), arguments: arguments.to_owned() })
}

/// A longer text is not looked through for the question, so that long inputs stay cheap.
const QUESTION_BYTES_MAX: usize = 400;
const NAME_BYTES_MAX: usize = 80;
const ENGLISH_QUESTIONS: [&str; 4] =
    ["what is my name", "what's my name", "whats my name", "what my name is"];
const CHINESE_QUESTIONS: [&str; 4] = ["我叫什么", "我叫啥", "我的名字是什么", "我的名字叫什么"];
const ENGLISH_STATEMENTS: [&str; 1] = ["my name is "];
const CHINESE_STATEMENTS: [&str; 3] = ["我的名字叫", "我的名字是", "我叫"];

fn name_answer(said: &str, messages: &[Message<'_>]) -> Option<Reply> {
    if said.len() > QUESTION_BYTES_MAX {
        return None;
    }
    let lower = said.to_ascii_lowercase();
    let chinese = CHINESE_QUESTIONS.iter().any(|question| lower.contains(question));
    if !chinese && !ENGLISH_QUESTIONS.iter().any(|question| lower.contains(question)) {
        return None;
    }
    let name = messages
        .iter()
        .rev()
        // A summary of what the user said before is the application's.
        .filter(|message| matches!(message.role, Role::User | Role::System | Role::Developer))
        .find_map(|message| stated_name(&message.text));
    Some(Reply::Text(match (name, chinese) {
        (Some(name), false) => format!("Your name is {name}."),
        (Some(name), true) => format!("你叫{name}。"),
        (None, false) => "I don't know your name yet.".to_owned(),
        (None, true) => "我还不知道你的名字。".to_owned(),
    }))
}

/// The name a text states, as it is written there.
fn stated_name(text: &str) -> Option<&str> {
    // ASCII lowering keeps every byte in its place, so positions hold for both.
    let lower = text.to_ascii_lowercase();
    ENGLISH_STATEMENTS.iter().chain(&CHINESE_STATEMENTS).find_map(|statement| {
        lower.match_indices(statement).find_map(|(at, _)| name_at(&text[at + statement.len()..]))
    })
}

fn name_at(rest: &str) -> Option<&str> {
    let end = rest.find(['.', ',', '!', '?', ';', '\n', '，', '。', '！', '？', '；', '、']);
    let name = &rest[..end.unwrap_or(rest.len())];
    let name = name.split(" and ").next().unwrap_or(name).trim();
    let asks = ["什么", "啥"].iter().any(|word| name.starts_with(word));
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX && !asks).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn prompt<'a>(messages: &[(Role, &'a str)], tokens_max: Option<u32>) -> Prompt<'a> {
        Prompt {
            model: Cow::Borrowed("sim"),
            messages: messages
                .iter()
                .map(|(role, text)| Message { role: *role, text: Cow::Borrowed(*text), calls: 0 })
                .collect(),
            tokens_max,
            ..Prompt::default()
        }
    }

    fn check(messages: &[(Role, &str)], expected: &str) {
        let answer = answer(&prompt(messages, None), &Behaviour::default());
        assert_eq!(answer.reply, Reply::Text(expected.to_owned()), "{messages:?}");
    }

    #[test]
    fn the_default_reply_is_an_echo_of_the_last_user_message() {
        check(&[(Role::User, "hi")], "You said: hi");
        check(&[(Role::User, "a"), (Role::Assistant, "You said: a"), (Role::User, "b")], "You said: b");
        check(&[(Role::System, "be kind")], "You said: ");
        check(&[(Role::User, "hi [sim: seed=1] there")], "You said: hi there");
    }

    #[test]
    fn a_name_said_earlier_is_remembered() {
        const ASK: (Role, &str) = (Role::User, "What is my name?");
        check(&[(Role::User, "Hello! My name is Ada."), (Role::Assistant, "ok"), ASK], "Your name is Ada.");
        check(&[(Role::User, "my name is Ada Lovelace and I like maths"), ASK], "Your name is Ada Lovelace.");
        check(&[(Role::User, "my name is Ada"), (Role::User, "my name is Bo"), ASK], "Your name is Bo.");
        check(&[(Role::User, "My name is Bo. What's my name?")], "Your name is Bo.");
        check(&[(Role::Assistant, "my name is Model"), ASK], "I don't know your name yet.");
        check(&[(Role::User, "Do you know what my name is?")], "I don't know your name yet.");
    }

    #[test]
    fn a_name_said_in_chinese_is_remembered() {
        check(&[(Role::User, "你好，我叫小明。"), (Role::User, "我叫什么？")], "你叫小明。");
        check(&[(Role::User, "我的名字是王芳"), (Role::User, "我叫什么名字？")], "你叫王芳。");
        check(&[(Role::User, "我叫什么？")], "我还不知道你的名字。");
        check(&[(Role::User, "我叫小明"), (Role::User, "What is my name?")], "Your name is 小明.");
    }

    #[test]
    fn a_tool_is_called_when_asked_and_its_result_is_told() {
        fn check_call(text: &str, name: &str, arguments: &str) {
            let expected = Reply::Tool { name: name.to_owned(), arguments: arguments.to_owned() };
            let answer = answer(&prompt(&[(Role::User, text)], None), &Behaviour::default());
            assert_eq!(answer.reply, expected, "{text}");
        }
        check_call(r#"call tool lookup {"id": 7}"#, "lookup", r#"{"id": 7}"#);
        check_call("call tool lookup", "lookup", "{}");
        check_call(r#"call tool lookup{"id":7}"#, "lookup", r#"{"id":7}"#);
        check(&[(Role::User, "call tool lookup {broken")], "You said: call tool lookup {broken");
        check(&[(Role::User, "call tool lookup"), (Role::Tool, "42")], "The tool said: 42");
    }

    #[test]
    fn a_script_is_followed_and_then_the_last_result_is_told() {
        let said = (Role::User, r#"[sim: call f {"a":1} & call g]"#);
        let first = answer(&prompt(&[said], None), &Behaviour::default());
        assert_eq!(first.reply, Reply::Tool { name: "f".to_owned(), arguments: r#"{"a":1}"#.to_owned() });
        assert_eq!(first.more, [Call { name: "g".to_owned(), arguments: "{}".to_owned() }]);
        assert_eq!(first.completion_tokens, 4);
        let mut then = prompt(&[said, (Role::Assistant, ""), (Role::Tool, "42")], None);
        then.messages[1].calls = 2;
        let last = answer(&then, &Behaviour::default());
        assert_eq!((last.reply, last.more), (Reply::Text("The tool said: 42".to_owned()), Vec::new()));
    }

    #[test]
    fn the_application_says_how_it_is_to_be_answered_and_the_user_too() {
        let check = |messages: &[(Role, &str)], model: &'static str, expected: (bool, Option<Persona>)| {
            let mut behaviour = Behaviour::default();
            let prompt = Prompt { model: Cow::Borrowed(model), ..prompt(messages, None) };
            apply_directives(&prompt, &mut behaviour).unwrap();
            assert_eq!((behaviour.obeys_everything, behaviour.persona), expected, "{messages:?}");
        };
        let (system, user) =
            ((Role::System, "Be kind. [sim: persona=shop]"), (Role::User, "x [sim: obey=everything]"));
        check(&[system, user], "sim", (true, Some(Persona::Shop)));
        check(&[user, system], "sim", (true, None));
        check(&[(Role::User, "x")], "shop", (false, Some(Persona::Shop)));
    }

    #[test]
    fn json_is_answered_when_asked_for_and_nothing_else_is() {
        check(&[(Role::User, r#"answer {"city": "Rome"}"#)], r#"{"city": "Rome"}"#);
        check(&[(Role::User, "answer me")], "You said: answer me");
    }

    #[test]
    fn an_answer_is_cut_to_the_limit_of_the_request() {
        let short = answer(&prompt(&[(Role::User, "a b c")], Some(2)), &Behaviour::default());
        assert_eq!(short.reply, Reply::Text("You said:".to_owned()));
        assert!(short.truncated);
        assert_eq!(short.completion_tokens, 2);
        let exact = answer(&prompt(&[(Role::User, "a b c")], Some(5)), &Behaviour::default());
        assert!(!exact.truncated);
    }

    #[test]
    fn the_length_can_be_asked_for() {
        let behaviour = Behaviour { tokens: Some(20), ..Behaviour::default() };
        let answer = answer(&prompt(&[(Role::User, "x")], None), &behaviour);
        assert_eq!(answer.completion_tokens, 20);
    }
}
