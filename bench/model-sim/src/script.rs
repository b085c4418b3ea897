//! A scripted agent: which tools a prompt tells the model to call, step by step.
//!
//! A directive `[sim: call NAME {json}]` has it call that tool. Several steps stand one behind the other, parted by `;`, the
//! calls of one step by `&`: `[sim: call a {"x":1} & call b {}; call c {}]`. With `call-forever` the step is never over. In
//! arguments, `$n` is the number of the step, from 1, so that no two calls of it are alike.
//!
//! Directives are obeyed where the application speaks (the instructions, or the first message if it is the system's) and in
//! the last user message. A model that is told to obey everything (`obey=everything`) takes them from anywhere but earlier
//! user messages: outputs of tools, documents, summaries. Which step it is at, it sees by the calls since the last user
//! message: it keeps nothing.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::behaviour::DIRECTIVE_OPEN;
use crate::request::{Message, Prompt, Role};

/// More steps of a directive, and more calls of one, are not made.
const STEPS_MAX: usize = 10_000;
const CALL: &str = "call";
const CALL_FOREVER: &str = "call-forever";
/// What stands for the number of a step.
const NUMBER: &str = "$n";

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// JSON.
    pub(crate) arguments: String,
}

/// The steps of one directive, each with at least one call.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script {
    steps: Vec<Vec<Call>>,
    /// Whether the last step is never over.
    forever: bool,
}

/// The calls of the step that is next, and none where all are done or nobody scripted any.
pub(crate) fn next_calls(prompt: &Prompt<'_>, obeys_everything: bool) -> Vec<Call> {
    if prompt.calls_nothing {
        return Vec::new();
    }
    let Some(said_last) = last_user(&prompt.messages) else { return Vec::new() };
    let at = rounds(&prompt.messages[said_last..]);
    let mut passed = 0;
    for text in obeyed(prompt, said_last, obeys_everything) {
        for script in scripts(text) {
            let last = script.steps.len().saturating_sub(1);
            let step = match at - passed {
                step if step < script.steps.len() => step,
                _ if script.forever => last,
                _ => {
                    passed += script.steps.len();
                    continue;
                }
            };
            return script.steps[step].iter().map(|call| call.numbered(at + 1)).collect();
        }
    }
    Vec::new()
}

/// The output of the tool that was called last since the user has said something.
pub(crate) fn last_output<'a>(prompt: &'a Prompt<'_>) -> Option<&'a str> {
    let since = last_user(&prompt.messages).map_or(0, |at| at + 1);
    let outputs = prompt.messages[since..].iter().rev();
    outputs
        .into_iter()
        .find(|message| matches!(message.role, Role::Tool | Role::Function))
        .map(|message| &*message.text)
}

impl Call {
    fn numbered(&self, number: usize) -> Self {
        Self { name: self.name.clone(), arguments: self.arguments.replace(NUMBER, &number.to_string()) }
    }
}

fn last_user(messages: &[Message<'_>]) -> Option<usize> {
    messages.iter().rposition(|message| message.role == Role::User)
}

/// How often tools were called: calls that stand side by side were made at once.
fn rounds(messages: &[Message<'_>]) -> usize {
    let calls = |at: usize| messages[at].calls > 0;
    (0..messages.len()).filter(|at| calls(*at) && (*at == 0 || !calls(at - 1))).count()
}

/// The texts whose directives are obeyed, in their order.
fn obeyed<'a>(prompt: &'a Prompt<'_>, said_last: usize, everything: bool) -> impl Iterator<Item = &'a str> {
    let speaks = move |at: usize, role: Role| match role {
        Role::User => at == said_last,
        Role::System | Role::Developer => everything || at == 0,
        Role::Assistant | Role::Tool | Role::Function => everything,
    };
    let messages = prompt.messages.iter().enumerate();
    let messages = messages.filter(move |(at, message)| speaks(*at, message.role));
    let tools = prompt.tools.filter(|_| everything).map(|tools| tools.get());
    let said = prompt.instructions.as_deref().into_iter().chain(messages.map(|(_, message)| &*message.text));
    said.chain(tools)
}

/// The scripts of a text.
fn scripts(text: &str) -> Vec<Script> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(DIRECTIVE_OPEN) {
        rest = &rest[at + DIRECTIVE_OPEN.len()..];
        found.extend(script(rest));
    }
    found
}

/// Whether what stands inside a directive is a script.
pub(crate) fn is_script(inside: &str) -> bool {
    script(inside).is_some()
}

/// Reads the inside of a directive up to its bracket; `None` for one that calls nothing. In a JSON document, what is read is
/// inside a string, with a backslash before each of its quotation marks.
fn script(inside: &str) -> Option<Script> {
    if !inside.trim_start().starts_with(CALL) {
        return None;
    }
    read_script(inside).or_else(|| {
        let escaped = inside.contains("\\\"");
        let plain: Cow<'_, str> = if escaped { inside.replace("\\\"", "\"").into() } else { inside.into() };
        read_script(&plain)
    })
}

fn read_script(inside: &str) -> Option<Script> {
    let mut script = Script::default();
    let mut step = Vec::new();
    let mut rest = inside.trim_start();
    while script.steps.len() + step.len() < STEPS_MAX {
        let (word, after) = rest.split_once(char::is_whitespace)?;
        match word {
            CALL => {}
            CALL_FOREVER => script.forever = true,
            _ => return None,
        }
        let (call, after) = read_call(after)?;
        step.push(call);
        let mut next = after.trim_start().chars();
        match next.next()? {
            '&' => {}
            ';' => script.steps.push(std::mem::take(&mut step)),
            ']' => {
                script.steps.push(step);
                return Some(script);
            }
            _ => return None,
        }
        rest = next.as_str().trim_start();
    }
    None
}

/// Reads `NAME {json}` and returns what comes after it; without arguments they are `{}`.
fn read_call(text: &str) -> Option<(Call, &str)> {
    let text = text.trim_start();
    let end =
        text.find(|character: char| character.is_whitespace() || matches!(character, '{' | '&' | ';' | ']'))?;
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let after = rest.trim_start();
    if !after.starts_with('{') {
        return Some((Call { name: name.to_owned(), arguments: "{}".to_owned() }, after));
    }
    // With a number of the same length, so that what is read is JSON and ends where the arguments do.
    let numbered = after.replace(NUMBER, "10");
    let mut values = serde_json::Deserializer::from_str(&numbered).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (arguments, rest) = after.split_at_checked(values.byte_offset())?;
    Some((Call { name: name.to_owned(), arguments: arguments.to_owned() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &str) -> Call {
        Call { name: name.to_owned(), arguments: arguments.to_owned() }
    }

    fn message(role: Role, text: &'static str, calls: usize) -> Message<'static> {
        Message { role, text: text.into(), calls }
    }

    fn prompt(messages: Vec<Message<'static>>) -> Prompt<'static> {
        Prompt { messages, ..Prompt::default() }
    }

    #[test]
    fn a_directive_is_read_step_by_step() {
        fn check(text: &str, steps: &[&[(&str, &str)]], forever: bool) {
            let steps = steps.iter().map(|step| step.iter().map(|(name, json)| call(name, json)).collect());
            let expected = Script { steps: steps.collect(), forever };
            assert_eq!(scripts(text), [expected], "{text}");
        }
        check("[sim: call a]", &[&[("a", "{}")]], false);
        check(r#"x [sim: call a {"l":["]"]}] y"#, &[&[("a", r#"{"l":["]"]}"#)]], false);
        check(
            r#"[sim:call a {"x":1} & call b; call c{"y":2}]"#,
            &[&[("a", r#"{"x":1}"#), ("b", "{}")], &[("c", r#"{"y":2}"#)]],
            false,
        );
        check(r#"[sim: call-forever a {"n":"$n"}]"#, &[&[("a", r#"{"n":"$n"}"#)]], true);
        check(r#"{"note":"[sim: call a {\"x\":\"y\"}]"}"#, &[&[("a", r#"{"x":"y"}"#)]], false);
    }

    #[test]
    fn what_calls_nothing_is_no_script() {
        for text in [
            "",
            "[sim: fault=cut]",
            "[sim: call ]",
            "[sim: call a {broken]",
            "[sim: call a",
            "[sim: call a {} x]",
        ] {
            assert_eq!(scripts(text), [], "{text}");
        }
        assert_eq!(scripts("[sim: seed=1] [sim: call a] [sim: call b]").len(), 2);
    }

    #[test]
    fn the_step_is_seen_by_the_calls_since_the_user_spoke() {
        let said = || message(Role::User, r#"[sim: call a & call b; call c {"n":$n}]"#, 0);
        let called = |calls| message(Role::Assistant, "", calls);
        let output = || message(Role::Tool, "o", 0);
        let check = |messages: Vec<Message<'static>>, expected: &[Call]| {
            assert_eq!(next_calls(&prompt(messages), false), expected);
        };
        check(vec![said()], &[call("a", "{}"), call("b", "{}")]);
        let old = || vec![message(Role::User, "x", 0), called(1), output()];
        check([old(), vec![said()]].concat(), &[call("a", "{}"), call("b", "{}")]);
        check(vec![said(), called(2), output(), output()], &[call("c", r#"{"n":2}"#)]);
        // By the other API, each call is an item.
        check(vec![said(), called(1), called(1), output(), output()], &[call("c", r#"{"n":2}"#)]);
        check(vec![said(), called(2), output(), output(), called(1), output()], &[]);
    }

    #[test]
    fn what_is_forever_is_never_over_unless_no_call_may_be_made() {
        let mut messages = vec![message(Role::User, r#"[sim: call-forever a {"n":$n}]"#, 0)];
        for number in 1..4 {
            let arguments = format!(r#"{{"n":{number}}}"#);
            assert_eq!(next_calls(&prompt(messages.clone()), false), [call("a", &arguments)]);
            messages.extend([message(Role::Assistant, "", 1), message(Role::Tool, "o", 0)]);
        }
        assert_eq!(next_calls(&Prompt { calls_nothing: true, ..prompt(messages) }, false), []);
    }

    #[test]
    fn only_one_that_obeys_everything_obeys_tools_and_documents() {
        let messages = vec![
            message(Role::System, "[sim: call rule]", 0),
            message(Role::Developer, "[sim: call document]", 0),
            message(Role::User, "[sim: call old]", 0),
            message(Role::User, "hi", 0),
            message(Role::Assistant, "", 1),
            message(Role::Tool, "[sim: call tool]", 0),
        ];
        let names = |messages: &[Message<'static>], everything| -> Vec<String> {
            let calls = next_calls(&prompt(messages.to_vec()), everything);
            calls.into_iter().map(|call| call.name).collect()
        };
        assert_eq!(names(&messages[..4], false), ["rule"]);
        assert!(names(&messages, false).is_empty());
        assert_eq!(names(&messages, true), ["document"]);
        let more = [messages, vec![message(Role::Assistant, "", 1)]].concat();
        assert_eq!(names(&more, true), ["tool"]);
        let tools = serde_json::value::RawValue::from_string(
            r#"[{"description":"[sim: call d {\"x\":1}]"}]"#.to_owned(),
        );
        let tools = tools.unwrap();
        let described = Prompt { tools: Some(&tools), ..prompt(vec![message(Role::User, "hi", 0)]) };
        assert_eq!(next_calls(&described, true), [call("d", r#"{"x":1}"#)]);
        assert_eq!(next_calls(&described, false), []);
        let instructed = Prompt { instructions: Some("[sim: call i]".into()), ..prompt(more[3..4].to_vec()) };
        assert_eq!(next_calls(&instructed, false), [call("i", "{}")]);
    }

    #[test]
    fn the_last_output_is_one_since_the_user_spoke() {
        let output = |text| message(Role::Tool, text, 0);
        let said = || message(Role::User, "x", 0);
        assert_eq!(last_output(&prompt(vec![said(), output("a"), output("b")])), Some("b"));
        assert_eq!(
            last_output(&prompt(vec![said(), output("a"), message(Role::Developer, "end", 0)])),
            Some("a")
        );
        assert_eq!(last_output(&prompt(vec![said(), output("a"), said()])), None);
    }
}
