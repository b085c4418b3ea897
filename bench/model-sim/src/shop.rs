//! The shop's bot: a persona that does what a model would do with a shop's tools and documents, by rules that are simple
//! enough to be read here. It is for examples and their tests, where no real model is at hand.
//!
//! It is asked for by the model name `shop`, or by `[sim: persona=shop]` in the instructions. It hands over whoever asks for
//! a person, cancels and looks up orders by the tools whose names say so, asks for an order's number when none was told, says
//! what tools have answered, and else tells the beginning of the first source it was shown, or has its question looked up if
//! there is a tool for that.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::Reply;
use crate::request::{Prompt, Role};
use crate::script::last_output;

/// As which model the persona answers.
pub(crate) const MODEL: &str = "shop";
/// Shorter numbers are no orders'.
const ORDER_DIGITS_MIN: usize = 4;
const ORDER_DIGITS_MAX: usize = 12;
/// How much of a source is told, in characters.
const SOURCE_CHARACTERS_MAX: usize = 300;

const PERSON: [&str; 8] = ["human", "real person", "agent", "somebody", "someone", "人工", "客服", "真人"];
const CANCEL: [&str; 3] = ["cancel", "取消", "退订"];
const ORDER: [&str; 6] = ["order", "parcel", "package", "订单", "包裹", "快递"];

#[derive(Clone, Copy)]
enum Language {
    English,
    Chinese,
}

impl Language {
    fn of(text: &str) -> Self {
        let chinese = text.chars().any(|character| ('\u{4e00}'..='\u{9fff}').contains(&character));
        if chinese { Self::Chinese } else { Self::English }
    }

    fn say(self, english: &str, chinese: &str) -> String {
        match self {
            Self::English => english.to_owned(),
            Self::Chinese => chinese.to_owned(),
        }
    }
}

/// A tool that may be called.
struct Tool {
    name: String,
    /// The names and types of the arguments it must have.
    required: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct ToolView {
    function: Option<FunctionView>,
    name: Option<String>,
    parameters: Option<Value>,
}

#[derive(Deserialize)]
struct FunctionView {
    name: String,
    parameters: Option<Value>,
}

fn tools(prompt: &Prompt<'_>) -> Vec<Tool> {
    if prompt.calls_nothing {
        return Vec::new();
    }
    let text = prompt.tools.map_or("[]", |tools| tools.get());
    let views: Vec<ToolView> = serde_json::from_str(text).unwrap_or_default();
    let named = views.into_iter().filter_map(|view| match view.function {
        Some(function) => Some((function.name, function.parameters)),
        None => Some((view.name?, view.parameters)),
    });
    named
        .map(|(name, parameters)| Tool { name, required: required(&parameters.unwrap_or_default()) })
        .collect()
}

fn required(parameters: &Value) -> Vec<(String, String)> {
    let names = parameters["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names
        .map(|name| {
            let kind = parameters["properties"][name]["type"].as_str().unwrap_or("string");
            (name.to_owned(), kind.to_owned())
        })
        .collect()
}

impl Tool {
    /// A call about that order, or of what was said where it wants no order.
    fn call(&self, order: Option<&str>, said: &str) -> Reply {
        let mut arguments = Map::new();
        for (name, kind) in &self.required {
            let value = match (order, kind.as_str()) {
                (Some(order), "integer" | "number") => json!(order.parse::<u64>().unwrap_or_default()),
                (Some(order), _) if names_order(name) => json!(order),
                _ => json!(said),
            };
            arguments.insert(name.clone(), value);
        }
        if self.required.is_empty() && order.is_none() {
            arguments.insert("reason".to_owned(), json!(said));
        }
        Reply::Tool { name: self.name.clone(), arguments: Value::Object(arguments).to_string() }
    }
}

fn names_order(argument: &str) -> bool {
    let argument = argument.to_ascii_lowercase();
    argument.contains("order") || argument.contains("id") || argument.contains("number")
}

/// What the shop's bot says.
pub(crate) fn reply(prompt: &Prompt<'_>) -> Reply {
    let said = last_said(prompt);
    let language = Language::of(said);
    if let Some(output) = last_output(prompt) {
        return Reply::Text(told(output, language));
    }
    let lower = said.to_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let tools = tools(prompt);
    let tool = |part: &str| tools.iter().find(|tool| squeezed(&tool.name).contains(part));
    if speaks_of(&PERSON)
        && let Some(tool) = tool("handover")
    {
        return tool.call(None, said);
    }
    let wanted = match (speaks_of(&CANCEL), speaks_of(&ORDER)) {
        (true, _) => tool("cancel"),
        (false, true) => tool("getorder"),
        _ => None,
    };
    // An order is asked for by a question about orders, not by one about returns in which the word comes up.
    if let Some(tool) = wanted {
        let source = source(prompt);
        return match (order_number(prompt), source) {
            (Some(order), _) => tool.call(Some(&order), said),
            (None, Some(source)) if !speaks_of(&CANCEL) => Reply::Text(source),
            (None, _) => {
                Reply::Text(language.say("What is the number of your order?", "请问您的订单号是多少？"))
            }
        };
    }
    let nothing = || {
        let chinese = "我是商店的客服机器人，可以问我订单、配送和退货的问题。";
        language.say("I am the shop's bot. Ask me about orders, shipping and returns.", chinese)
    };
    match (source(prompt), tool("searchknowledge")) {
        (Some(source), _) => Reply::Text(source),
        (None, Some(tool)) if !said.is_empty() => tool.call(None, said),
        (None, _) => Reply::Text(nothing()),
    }
}

fn last_said<'a>(prompt: &'a Prompt<'_>) -> &'a str {
    let said = prompt.messages.iter().rev().find(|message| message.role == Role::User);
    said.map_or("", |message| &*message.text)
}

/// A name without what parts its words.
fn squeezed(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_lowercase()).collect()
}

/// The number of the order that the user has named last.
fn order_number(prompt: &Prompt<'_>) -> Option<String> {
    let said = prompt.messages.iter().rev().filter(|message| message.role == Role::User);
    said.into_iter().find_map(|message| {
        let mut numbers = message.text.split(|character: char| !character.is_ascii_digit());
        let fits = |number: &&str| (ORDER_DIGITS_MIN..=ORDER_DIGITS_MAX).contains(&number.len());
        numbers.rfind(fits).map(str::to_owned)
    })
}

/// The beginning of the first source the model is shown, with its number.
fn source(prompt: &Prompt<'_>) -> Option<String> {
    let shown = prompt.messages.iter().find_map(|message| {
        let speaks = matches!(message.role, Role::System | Role::Developer);
        let (_, rest) = message.text.split_once("<source number=\"1\"").filter(|_| speaks)?;
        let (_, rest) = rest.split_once('>')?;
        rest.split_once("</source>").map(|(text, _)| text)
    })?;
    let lines = shown.lines().map(|line| line.trim_start_matches('#').trim());
    let text: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let told: String = text.join(" ").chars().take(SOURCE_CHARACTERS_MAX).collect();
    (!told.is_empty()).then(|| format!("{told} [1]"))
}

/// What a tool has answered, as it is said to the user.
fn told(output: &str, language: Language) -> String {
    let object = output.find('{').and_then(|at| {
        let mut values = serde_json::Deserializer::from_str(&output[at..]).into_iter::<Map<String, Value>>();
        values.next()?.ok()
    });
    let Some(order) = object else { return format!("The tool said: {output}") };
    let text = |name: &str| match order.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    match (text("id"), text("status")) {
        (Some(id), Some(status)) => {
            let total = text("total").map(|total| format!(" ({total})")).unwrap_or_default();
            language.say(
                &format!("Your order {id} is {status}{total}."),
                &format!("您的订单 {id} 的状态是 {status}{total}。"),
            )
        }
        _ => format!("The tool said: {output}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Message;
    use serde_json::value::RawValue;

    fn tools() -> Box<RawValue> {
        let function = |name: &str, required: &str| {
            json!({"type": "function", "function": {"name": name, "parameters": {"type": "object",
                "properties": {required: {"type": "string"}}, "required": [required]}}})
        };
        let all = json!([
            function("orders__getOrder", "order_id"),
            function("orders__cancelOrder", "order_id"),
            function("hand_over", "reason")
        ]);
        RawValue::from_string(all.to_string()).unwrap()
    }

    fn ask(messages: &[(Role, &str)]) -> Reply {
        let tools = tools();
        let messages = messages.iter();
        let messages =
            messages.map(|(role, text)| Message { role: *role, text: (*text).to_owned().into(), calls: 0 });
        reply(&Prompt { messages: messages.collect(), tools: Some(&*tools), ..Prompt::default() })
    }

    fn check_call(messages: &[(Role, &str)], name: &str, arguments: &str) {
        let expected = Reply::Tool { name: name.to_owned(), arguments: arguments.to_owned() };
        assert_eq!(ask(messages), expected, "{messages:?}");
    }

    fn check_text(messages: &[(Role, &str)], expected: &str) {
        assert_eq!(ask(messages), Reply::Text(expected.to_owned()), "{messages:?}");
    }

    #[test]
    fn orders_are_looked_up_and_cancelled_by_the_number_that_was_told() {
        use Role::{Assistant, User};
        check_call(&[(User, "Where is my order 1001?")], "orders__getOrder", r#"{"order_id":"1001"}"#);
        check_call(&[(User, "订单1002到哪了")], "orders__getOrder", r#"{"order_id":"1002"}"#);
        check_call(&[(User, "Please cancel order #1003")], "orders__cancelOrder", r#"{"order_id":"1003"}"#);
        let earlier =
            [(User, "Where is order 1001?"), (Assistant, "Your order 1001 is packed."), (User, "Cancel it")];
        check_call(&earlier, "orders__cancelOrder", r#"{"order_id":"1001"}"#);
        check_text(&[(User, "Cancel my order")], "What is the number of your order?");
        check_text(&[(User, "取消订单")], "请问您的订单号是多少？");
    }

    #[test]
    fn whoever_wants_a_person_is_handed_over() {
        check_call(&[(Role::User, "转人工")], "hand_over", r#"{"reason":"转人工"}"#);
        check_call(&[(Role::User, "A human, now")], "hand_over", r#"{"reason":"A human, now"}"#);
    }

    #[test]
    fn what_tools_and_documents_say_is_told() {
        use Role::{Developer, Tool, User};
        let output = r#"From the tool orders: {"id":"1001","status":"shipped","total":"49.90 EUR"}"#;
        check_text(&[(User, "order 1001?"), (Tool, output)], "Your order 1001 is shipped (49.90 EUR).");
        check_text(&[(User, "order 1001?"), (Tool, "refused")], "The tool said: refused");
        let sources = "Answer by these.\n<source number=\"1\" file=\"returns.md\">\n# Returns\nWithin 30 days.\n</source>";
        check_text(&[(Developer, sources), (User, "May I return it?")], "Returns Within 30 days. [1]");
        check_text(&[(User, "hi")], "I am the shop's bot. Ask me about orders, shipping and returns.");
    }

    #[test]
    fn without_tools_nothing_is_called() {
        let messages = vec![Message { role: Role::User, text: "order 1001".into(), calls: 0 }];
        let tools = tools();
        let prompt = Prompt { messages, tools: Some(&*tools), calls_nothing: true, ..Prompt::default() };
        assert!(matches!(reply(&prompt), Reply::Text(_)));
    }
}
