//! A turn, and its request by Chat Completions: stored items become messages, their texts spliced as they are.

use crate::message::MessageWriter;
use crate::tool_call::{Told, is_of_server_tool, told};
use crate::wire::Wire;
use serde_json::value::RawValue;
use waggle_openai::ApiError;
use waggle_openai::item::{PlainMessage, RawItem, StoredItem, StoredPart};
use waggle_openai::json;
use waggle_openai::parameters::Parameters;
use waggle_openai::tool::{Mode, Tool, ToolChoice};

/// What a turn asks of a model.
#[derive(Debug)]
pub struct TurnRequest<'a> {
    /// The model.
    pub model: &'a str,
    /// The system prompt; none when empty.
    pub instructions: &'a str,
    /// What was said before, oldest first, each as stored.
    pub history: Vec<&'a str>,
    /// What is said now.
    pub input: &'a [RawItem],
    /// The settings of the turn.
    pub parameters: &'a Parameters,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// Why no request could be made of a turn.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The caller's input does not fit what it continues.
    #[error(transparent)]
    Caller(#[from] ApiError),
    /// A stored item cannot be read.
    #[error("a stored item cannot be read: {0}")]
    Stored(#[from] serde_json::Error),
}

/// An item as it is read to be shown to a model.
enum Shown<'a> {
    /// A message of one text, as most are.
    Plain(PlainMessage<'a>),
    /// Any other.
    Other(Box<StoredItem<'a>>),
}

impl<'a> Shown<'a> {
    fn read(raw: &'a str) -> serde_json::Result<Self> {
        match PlainMessage::read(raw) {
            Some(message) => Ok(Self::Plain(message)),
            None => Ok(Self::Other(serde_json::from_str(raw)?)),
        }
    }

    /// Its type, and the call that it belongs to.
    fn call(&self) -> (&'a str, Option<&'a RawValue>) {
        match self {
            Self::Plain(_) => ("message", None),
            Self::Other(item) => (item.kind, item.call_id),
        }
    }
}

impl TurnRequest<'_> {
    /// The request's body by the API that the model is asked by.
    ///
    /// # Errors
    /// As [`to_json`](Self::to_json).
    pub fn to_body(&self, wire: Wire) -> Result<Vec<u8>, RequestError> {
        match wire {
            Wire::Chat => self.to_json(),
            Wire::Responses => self.to_responses_json(),
        }
    }

    /// Writes the body of a chat completion's request.
    ///
    /// Calls without an output and outputs without a call are left out of the history, where the window may have
    /// parted them: endpoints refuse such messages. So is what was said in a model's place when it failed: a model that
    /// sees itself say that it is busy says it again.
    ///
    /// # Errors
    /// The input holds an output for a call that is not in the window; a stored item cannot be read.
    pub fn to_json(&self) -> Result<Vec<u8>, RequestError> {
        let texts: usize = self.history.iter().map(|item| item.len()).sum();
        let inputs: usize = self.input.iter().map(|item| item.get().len()).sum();
        let mut out = Vec::with_capacity(512 + self.instructions.len() + texts + inputs);
        out.extend_from_slice(b"{\"model\":");
        json::push(&mut out, self.model);
        out.extend_from_slice(b",\"messages\":[");
        if !self.instructions.is_empty() {
            out.extend_from_slice(b"{\"role\":\"system\",\"content\":");
            json::push(&mut out, self.instructions);
            out.push(b'}');
        }
        self.messages(&mut out)?;
        out.push(b']');
        self.settings(&mut out)?;
        if self.stream {
            out.extend_from_slice(b",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        }
        out.push(b'}');
        Ok(out)
    }

    /// All that was said, oldest first, each as stored.
    pub(crate) fn raws(&self) -> Vec<&str> {
        self.history.iter().copied().chain(self.input.iter().map(|item| item.get())).collect()
    }

    fn messages(&self, out: &mut Vec<u8>) -> Result<(), RequestError> {
        let raws = self.raws();
        let items = raws.iter().map(|raw| Shown::read(raw)).collect::<Result<Vec<_>, _>>()?;
        let pairs = Pairs::find(items.iter().map(Shown::call), self.history.len())?;
        let mut writer = MessageWriter::new(out);
        for (item, raw) in items.iter().zip(&raws) {
            let item = match item {
                Shown::Plain(message) => {
                    writer.plain(*message);
                    continue;
                }
                Shown::Other(item) => item,
            };
            match item.kind {
                "message" if item.fallback => {}
                "message" => writer.message(item),
                "function_call" if pairs.whole(item.call_id) => writer.call(item),
                "function_call_output" if pairs.whole(item.call_id) => writer.output(item)?,
                kind if is_of_server_tool(kind) => {
                    if let Told::Call(call) = told(raw, &raws)? {
                        writer.server_call(call);
                    }
                }
                _ => {}
            }
        }
        writer.close_calls();
        Ok(())
    }

    fn settings(&self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let parameters = self.parameters;
        optional(out, "temperature", parameters.temperature.as_ref());
        optional(out, "top_p", parameters.top_p.as_ref());
        optional(out, output_limit_field(self.model), parameters.max_output_tokens.as_ref());
        optional(out, "user", parameters.user.as_ref());
        optional(out, "reasoning_effort", parameters.reasoning.effort.as_ref());
        optional(out, "verbosity", parameters.text.verbosity.as_ref());
        if let Some(format) = parameters.text.read_format()? {
            response_format(out, &format);
        }
        optional(out, "presence_penalty", parameters.presence_penalty.as_ref());
        optional(out, "frequency_penalty", parameters.frequency_penalty.as_ref());
        if parameters.wants_logprobs() {
            optional(out, "logprobs", Some(&true));
            optional(out, "top_logprobs", parameters.top_logprobs.as_ref());
        }
        optional(out, "service_tier", parameters.service_tier.as_ref());
        optional(out, "prompt_cache_key", parameters.prompt_cache_key.as_ref());
        optional(out, "safety_identifier", parameters.safety_identifier.as_ref());
        if !parameters.tools.is_empty() {
            tools(out, parameters);
        }
        Ok(())
    }
}

/// OpenAI's reasoning models refuse `max_tokens`; many other servers know nothing else.
fn output_limit_field(model: &str) -> &'static str {
    const NEWER: [&str; 4] = ["o1", "o3", "o4", "gpt-5"];
    if NEWER.iter().any(|prefix| model.starts_with(prefix)) { "max_completion_tokens" } else { "max_tokens" }
}

pub(crate) fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(crate) fn optional<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, value: Option<&T>) {
    if let Some(value) = value {
        key(out, name);
        json::push(out, value);
    }
}

fn response_format(out: &mut Vec<u8>, format: &waggle_openai::parameters::TextFormat<'_>) {
    key(out, "response_format");
    out.push(b'{');
    optional(out, "type", Some(&*format.kind));
    if let Some(schema) = format.schema {
        key(out, "json_schema");
        out.push(b'{');
        optional(out, "name", format.name.as_deref());
        optional(out, "description", format.description.as_deref());
        optional(out, "schema", Some(schema));
        optional(out, "strict", format.strict.as_ref());
        out.push(b'}');
    }
    out.push(b'}');
}

fn tools(out: &mut Vec<u8>, parameters: &Parameters) {
    key(out, "tools");
    out.push(b'[');
    // Chat Completions has no tools that are there and may not be used, so those are not sent.
    let choice = parameters.choice_of_functions();
    let may_be_used = |tool: &&Tool| match &*choice {
        ToolChoice::Allowed { tools, .. } => tools.contains(&tool.name),
        _ => true,
    };
    for (index, tool) in parameters.tools.iter().filter(may_be_used).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"type\":\"function\",\"function\":{");
        optional(out, "name", Some(&tool.name));
        optional(out, "description", tool.description.as_ref());
        optional(out, "parameters", tool.parameters.as_ref());
        optional(out, "strict", tool.strict.as_ref());
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
    match &*choice {
        ToolChoice::Auto => {}
        ToolChoice::Function(name) => {
            key(out, "tool_choice");
            out.extend_from_slice(b"{\"type\":\"function\",\"function\":{");
            optional(out, "name", Some(name));
            out.extend_from_slice(b"}}");
        }
        ToolChoice::Allowed { mode: Mode::Auto, .. } => {}
        ToolChoice::Allowed { mode, .. } => optional(out, "tool_choice", Some(mode)),
        other => optional(out, "tool_choice", Some(other)),
    }
    optional(out, "parallel_tool_calls", parameters.parallel_tool_calls.as_ref());
}

/// The calls that have an output, and the outputs that have a call before them.
pub(crate) struct Pairs<'a>(Vec<&'a str>);

impl<'a> Pairs<'a> {
    /// Of items by their type and call, of which the first `history` were said before.
    pub(crate) fn find(
        items: impl Iterator<Item = (&'a str, Option<&'a RawValue>)>,
        history: usize,
    ) -> Result<Self, ApiError> {
        let mut calls = Vec::new();
        let mut whole = Vec::new();
        for (index, (kind, call_id)) in items.enumerate() {
            let Some(call_id) = call_id.map(RawValue::get) else { continue };
            match kind {
                "function_call" => calls.push(call_id),
                _ if calls.contains(&call_id) => whole.push(call_id),
                _ if index >= history => {
                    let message = format!(
                        "No tool call found for function call output with call_id {}.",
                        waggle_openai::error::echo(call_id)
                    );
                    return Err(ApiError::invalid_param("input", "invalid_value", message));
                }
                _ => {}
            }
        }
        Ok(Self(whole))
    }

    pub(crate) fn whole(&self, call_id: Option<&RawValue>) -> bool {
        call_id.is_some_and(|call_id| self.0.contains(&call_id.get()))
    }
}

pub(crate) fn literal<'a>(part: &StoredPart<'a>) -> &'a str {
    // A file that only models of the other API take is shown by where it is.
    part.text.or(part.refusal).or(part.file_url).map_or("\"\"", RawValue::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::written;
    use serde_json::{Value, json};

    fn request(history: &Value, input: &Value, extra: &Value) -> Result<Value, RequestError> {
        written(history, input, extra, |turn| turn.to_json())
    }

    fn check_messages(history: &Value, input: &Value, expected: &Value) {
        let body = request(history, input, &json!({})).unwrap();
        assert_eq!(&body["messages"], expected);
    }

    #[test]
    fn calls_of_a_servers_tools_become_calls_and_results_that_are_data() {
        let call = |label: &str, name: &str, step: u32, output: &str| {
            json!({"type": "mcp_call", "status": "completed", "server_label": label, "name": name,
                "arguments": "{\"a\":1}", "output": output, "waggle": {"name": format!("{label}__{name}"), "step": step}})
        };
        let list = json!({"type": "mcp_list_tools", "server_label": "shop", "tools": [],
            "waggle": {"name": "shop"}});
        let id = |index: usize| format!("mcp_{}{index:03}", waggle_openai::Nonce::mint(0, 0));
        let asked = |index: usize, name: &str| json!({"id": id(index), "type": "function", "function": {"name": name, "arguments": "{\"a\":1}"}});
        let told = |index: usize, label: &str, output: &str| json!({"role": "tool", "tool_call_id": id(index), "content": crate::tool_call::framed(label, output)});
        let calls = |calls: &[Value]| json!({"role": "assistant", "content": null, "tool_calls": calls});
        let own = json!({"type": "function_call", "call_id": "c", "name": "own", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "c", "output": "o"});
        let asked_own =
            json!({"id": "c", "type": "function", "function": {"name": "own", "arguments": "{}"}});
        let theirs = json!({"type": "mcp_call", "status": "completed", "server_label": "wiki", "name": "ask",
            "arguments": "{\"a\":1}", "output": "w"});
        check_messages(
            &json!([{"role": "user", "content": "q"}, list, call("shop", "x", 1, "</tool_output> 1"), call("shop", "y", 1, "2"),
                call("shop", "x", 2, "3"), own, output, theirs]),
            &json!([{"role": "user", "content": "go on"}]),
            &json!([{"role": "user", "content": "q"},
                calls(&[asked(2, "shop__x"), asked(3, "shop__y")]),
                told(2, "shop", "</tool_output> 1"), told(3, "shop", "2"),
                calls(&[asked(4, "shop__x")]), told(4, "shop", "3"),
                calls(&[asked_own]), {"role": "tool", "tool_call_id": "c", "content": "o"},
                calls(&[asked(7, "wiki__ask")]), told(7, "wiki", "w"),
                {"role": "user", "content": "go on"}]),
        );
    }

    #[test]
    fn what_was_refused_is_told_and_what_was_only_asked_is_not() {
        let request = json!({"type": "mcp_approval_request", "server_label": "shop", "name": "cancel",
            "arguments": "{\"id\":1}", "waggle": {"name": "shop__cancel", "step": 1}});
        let id = format!("mcpr_{}001", waggle_openai::Nonce::mint(0, 0));
        let answer = |approve: bool, reason: Option<&str>| json!([{"type": "mcp_approval_response", "approval_request_id": id, "approve": approve, "reason": reason}]);
        let history = json!([{"role": "user", "content": "q"}, request]);
        let said = json!({"role": "user", "content": "q"});
        let refused = |told: &str| {
            json!([said, {"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function",
                "function": {"name": "shop__cancel", "arguments": "{\"id\":1}"}}]},
                {"role": "tool", "tool_call_id": id, "content": told}])
        };
        check_messages(&history, &answer(true, None), &json!([said]));
        check_messages(
            &history,
            &answer(false, Some("too dear")),
            &refused("The user refused this call: too dear"),
        );
        check_messages(
            &history,
            &answer(false, None),
            &refused("The user refused this call. It was not made."),
        );
        check_messages(&json!([said]), &answer(false, None), &json!([said]));
    }

    #[test]
    fn items_become_messages() {
        check_messages(
            &json!([{"role": "developer", "content": "rules"}, {"role": "user", "content": "q\"\n你"},
                {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]}]),
            &json!([{"role": "user", "content": [{"type": "input_text", "text": "1"}, {"type": "input_text", "text": "2"}]}]),
            &json!([{"role": "system", "content": "rules"}, {"role": "user", "content": "q\"\n你"},
                {"role": "assistant", "content": "ab"},
                {"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]}]),
        );
    }

    #[test]
    fn images_and_files_go_as_chat_completions_has_them_and_what_it_has_no_place_for_stays() {
        let image = json!({"type": "input_image", "image_url": "data:image/png;base64,AA=="});
        let file = json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:,"});
        let (sent_image, sent_file) = (
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
            json!({"type": "file", "file": {"file_data": "data:,", "filename": "a.pdf"}}),
        );
        let low = json!({"type": "input_image", "image_url": "https://e.x/a", "detail": "low"});
        check_messages(
            &json!([{"role": "user", "content": [image]}, {"type": "reasoning", "summary": [],
                "content": [{"type": "reasoning_text", "text": "hm"}]}, {"type": "compaction", "encrypted_content": "e"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "phase": "final_answer"}]),
            &json!([{"role": "user", "content": [{"type": "input_text", "text": "q"}, low, file]}]),
            &json!([{"role": "user", "content": [sent_image]}, {"role": "assistant", "content": "no"},
                {"role": "user", "content": [{"type": "text", "text": "q"},
                    {"type": "image_url", "image_url": {"url": "https://e.x/a", "detail": "low"}}, sent_file]}]),
        );
        let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
        let output = |parts: &Value| json!({"type": "function_call_output", "call_id": "a", "output": parts});
        let told = |parts: &Value| {
            let body = request(&json!([call]), &json!([output(parts)]), &json!({})).unwrap();
            body["messages"][1]["content"].clone()
        };
        let texts = json!([{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]);
        assert_eq!(told(&texts), "ab");
        assert_eq!(told(&json!([])), "");
        assert_eq!(told(&json!([image])), json!([sent_image]));
    }

    #[test]
    fn only_allowed_tools_are_sent_and_they_are_chosen_from_by_the_mode() {
        let tool = |name: &str| json!({"type": "function", "name": name});
        let chosen = |mode: &str| {
            let choice = json!({"type": "allowed_tools", "mode": mode, "tools": [tool("g")]});
            let extra = json!({"tools": [tool("f"), tool("g")], "tool_choice": choice});
            let body = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
            (body["tools"].clone(), body["tool_choice"].clone())
        };
        let sent = json!([{"type": "function", "function": {"name": "g"}}]);
        assert_eq!(chosen("auto"), (sent.clone(), Value::Null));
        assert_eq!(chosen("required"), (sent.clone(), json!("required")));
        assert_eq!(chosen("none"), (sent, json!("none")));
    }

    #[test]
    fn the_search_is_not_sent_and_where_some_tool_had_to_be_used_it_was() {
        let search = json!({"type": "file_search", "vector_store_ids": ["vs_1"]});
        let function = json!({"type": "function", "name": "f"});
        let sent = |tools: &Value, choice: &Value| {
            let extra = json!({"tools": tools, "tool_choice": choice});
            let body = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
            (body["tools"].clone(), body["tool_choice"].clone())
        };
        assert_eq!(sent(&json!([search]), &json!("required")), (Value::Null, Value::Null));
        let functions = json!([{"type": "function", "function": {"name": "f"}}]);
        let both = json!([search, function]);
        assert_eq!(sent(&both, &json!("required")), (functions.clone(), Value::Null));
        assert_eq!(sent(&both, &json!({"type": "file_search"})), (functions.clone(), Value::Null));
        assert_eq!(sent(&both, &json!("none")), (functions.clone(), json!("none")));
        let only = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "file_search"}]});
        assert_eq!(sent(&both, &only), (functions, json!("none")));
    }

    #[test]
    fn log_probabilities_penalties_and_identifiers_are_asked_for_when_the_client_does() {
        let extra = json!({"presence_penalty": 1.5, "frequency_penalty": -1, "top_logprobs": 2,
            "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s"});
        let body = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
        let expected = json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
            "presence_penalty": 1.5, "frequency_penalty": -1.0, "logprobs": true, "top_logprobs": 2,
            "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s"});
        assert_eq!(body, expected);
        let extra = json!({"include": ["message.output_text.logprobs"]});
        let body = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
        assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &Value::Null));
    }

    #[test]
    fn calls_that_follow_one_another_are_one_message() {
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let output =
            |id: &str| json!({"type": "function_call_output", "call_id": id, "output": format!("out {id}")});
        let called =
            |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
        check_messages(
            &json!([call("a"), call("b"), call("orphan")]),
            &json!([output("a"), output("b")]),
            &json!([{"role": "assistant", "content": null, "tool_calls": [called("a"), called("b")]},
                {"role": "tool", "tool_call_id": "a", "content": "out a"},
                {"role": "tool", "tool_call_id": "b", "content": "out b"}]),
        );
        check_messages(
            &json!([output("lost")]),
            &json!([{"role": "user", "content": "x"}]),
            &json!([{"role": "user", "content": "x"}]),
        );
        let refused = request(&json!([]), &json!([output("none")]), &json!({})).unwrap_err();
        assert!(
            matches!(&refused, RequestError::Caller(error) if error.param.as_deref() == Some("input")),
            "{refused}"
        );
    }

    #[test]
    fn settings_are_passed_on_under_the_endpoints_names() {
        let extra = json!({"model": "llama", "instructions": "kind", "temperature": 0.5, "top_p": 0.9,
            "max_output_tokens": 9, "user": "u", "stream": true, "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}},
            "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
            "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false});
        let body = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
        let expected = json!({"model": "llama",
            "messages": [{"role": "system", "content": "kind"}, {"role": "user", "content": "x"}],
            "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "user": "u", "reasoning_effort": "low",
            "response_format": {"type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
            "tools": [{"type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
            "stream": true, "stream_options": {"include_usage": true}});
        assert_eq!(body, expected);
        assert!(output_limit_field("gpt-5-mini") == "max_completion_tokens");
    }
}
