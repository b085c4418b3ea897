//! The request of a turn: stored items go as they are, without what only this server knows of them.

use crate::request::{Pairs, RequestError, TurnRequest, key, literal, optional};
use crate::tool_call::{ServerCall, Told, is_of_server_tool, told_by_items};
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_openai::ApiError;
use waggle_openai::item::{HostedKind, StoredPart};
use waggle_openai::json;
use waggle_openai::members::Members;
use waggle_openai::tool::ToolChoice;

/// A stored item, as far as a model that is asked by Responses must see it. Content stays as it is.
#[derive(Deserialize)]
struct View<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    role: Option<&'a str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    phase: Option<&'a RawValue>,
    #[serde(rename = "waggle_fallback", default)]
    fallback: bool,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<&'a RawValue>,
}

impl TurnRequest<'_> {
    /// Writes the body of a stateless Responses request: `store` is false, and all that the model is to know is in
    /// `input`.
    ///
    /// Calls without an output and outputs without a call are left out, and so is what was said in a model's place, as
    /// [`to_json`](Self::to_json) does it. Ids are left out as well: they are ours, and an endpoint that keeps nothing
    /// looks up those it knows. A thought goes with what it led to, and only if it is encrypted: in words it is for
    /// people.
    ///
    /// # Errors
    /// The input holds an output for a call that is not in the window; a stored item cannot be read.
    pub fn to_responses_json(&self) -> Result<Vec<u8>, RequestError> {
        let texts: usize = self.history.iter().map(|item| item.len()).sum();
        let inputs: usize = self.input.iter().map(|item| item.get().len()).sum();
        let mut out = Vec::with_capacity(512 + self.instructions.len() + texts + inputs);
        out.extend_from_slice(b"{\"model\":");
        json::push(&mut out, self.model);
        if !self.instructions.is_empty() {
            optional(&mut out, "instructions", Some(self.instructions));
        }
        out.extend_from_slice(b",\"input\":[");
        self.items(&mut out)?;
        out.extend_from_slice(b"],\"store\":false");
        self.parameters(&mut out)?;
        if self.stream {
            out.extend_from_slice(b",\"stream\":true");
        }
        out.push(b'}');
        Ok(out)
    }

    fn items(&self, out: &mut Vec<u8>) -> Result<(), RequestError> {
        let raws = self.raws();
        let views: Vec<View<'_>> =
            raws.iter().map(|raw| serde_json::from_str(raw)).collect::<serde_json::Result<_>>()?;
        let pairs = Pairs::find(views.iter().map(|view| (view.kind, view.call_id)), self.history.len())?;
        let mut writer = ItemWriter { out, thoughts: Vec::new(), results: Vec::new() };
        for (view, raw) in views.iter().zip(&raws) {
            match view.kind {
                "message" if view.fallback => {}
                "message" => writer.message(view)?,
                "function_call" if pairs.whole(view.call_id) => writer.call(view),
                "function_call_output" if pairs.whole(view.call_id) => writer.output(view),
                "reasoning" if view.encrypted_content.is_some() => writer.thoughts.push(view),
                kind if is_of_server_tool(kind) => match told_by_items(raw, &raws)? {
                    Told::Nothing => {}
                    Told::Call(call) => writer.server_call(call),
                    Told::AsItIs => writer.hosted(raw)?,
                },
                kind if is_shown(kind) => writer.hosted(raw)?,
                _ => {}
            }
        }
        writer.tell_results();
        Ok(())
    }

    fn parameters(&self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let parameters = self.parameters;
        optional(out, "temperature", parameters.temperature.as_ref());
        optional(out, "top_p", parameters.top_p.as_ref());
        optional(out, "max_output_tokens", parameters.max_output_tokens.as_ref());
        optional(out, "max_tool_calls", parameters.max_tool_calls.as_ref());
        optional(out, "user", parameters.user.as_ref());
        self.reasoning_and_text(out)?;
        optional(out, "presence_penalty", parameters.presence_penalty.as_ref());
        optional(out, "frequency_penalty", parameters.frequency_penalty.as_ref());
        optional(out, "top_logprobs", parameters.top_logprobs.as_ref());
        optional(out, "service_tier", parameters.service_tier.as_ref());
        optional(out, "prompt_cache_key", parameters.prompt_cache_key.as_ref());
        optional(out, "safety_identifier", parameters.safety_identifier.as_ref());
        let include = [
            (parameters.include.encrypted_reasoning, "reasoning.encrypted_content"),
            (parameters.wants_logprobs(), "message.output_text.logprobs"),
        ];
        let include: Vec<&str> =
            include.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name).collect();
        optional(out, "include", Some(&include).filter(|include| !include.is_empty()));
        if !parameters.tools.is_empty() {
            optional(out, "tools", Some(&parameters.tools));
            let choice = parameters.choice_of_functions();
            optional(out, "tool_choice", Some(&*choice).filter(|choice| **choice != ToolChoice::Auto));
            optional(out, "parallel_tool_calls", parameters.parallel_tool_calls.as_ref());
        }
        Ok(())
    }

    fn reasoning_and_text(&self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let (reasoning, text) = (&self.parameters.reasoning, &self.parameters.text);
        if reasoning.effort.is_some() || reasoning.summary.is_some() {
            key(out, "reasoning");
            out.push(b'{');
            optional(out, "effort", reasoning.effort.as_ref());
            optional(out, "summary", reasoning.summary.as_ref());
            out.push(b'}');
        }
        let format = text.read_format()?.and(text.format.as_ref());
        if format.is_some() || text.verbosity.is_some() {
            key(out, "text");
            out.push(b'{');
            optional(out, "format", format);
            optional(out, "verbosity", text.verbosity.as_ref());
            out.push(b'}');
        }
        Ok(())
    }
}

/// Whether items of that type are of a tool that the endpoint runs itself. A search in files is this server's own.
fn is_shown(kind: &str) -> bool {
    HostedKind::parse(kind).is_some_and(|kind| kind != HostedKind::FileSearch)
}

struct ItemWriter<'o, 'v> {
    out: &'o mut Vec<u8>,
    /// Thoughts that have led to nothing yet. An endpoint refuses one that is followed by none of its model's items.
    thoughts: Vec<&'v View<'v>>,
    /// What came of the last calls of a server's tools, which were asked for at once.
    results: Vec<ServerCall>,
}

impl<'v> ItemWriter<'_, 'v> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn begin(&mut self, kind: &str) {
        self.separate();
        self.text("{\"type\":\"");
        self.text(kind);
        self.text("\"");
    }

    fn separate(&mut self) {
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
    }

    fn raw(&mut self, name: &str, value: Option<&RawValue>) {
        if let Some(value) = value {
            self.text(",\"");
            self.text(name);
            self.text("\":");
            self.text(value.get());
        }
    }

    /// What comes now is the model's, if it is; then it is where its thoughts led to.
    fn follow(&mut self, is_of_model: bool) {
        self.tell_results();
        for thought in std::mem::take(&mut self.thoughts) {
            if is_of_model {
                self.begin("reasoning");
                self.raw("summary", thought.summary);
                self.raw("encrypted_content", thought.encrypted_content);
                self.text("}");
            }
        }
    }

    /// A call of a server's tool. What came of it follows when all calls are told that were asked for at once.
    fn server_call(&mut self, call: ServerCall) {
        let is_same = |other: &ServerCall| call.group.is_some() && call.group == other.group;
        if !self.thoughts.is_empty() || !self.results.last().is_some_and(is_same) {
            self.follow(true);
        }
        self.begin("function_call");
        for (name, literal) in
            [("call_id", &call.call_id), ("name", &call.name), ("arguments", &call.arguments)]
        {
            self.literal(name, literal);
        }
        self.text("}");
        self.results.push(call);
    }

    fn literal(&mut self, name: &str, literal: &str) {
        self.text(",\"");
        self.text(name);
        self.text("\":");
        self.text(literal);
    }

    fn tell_results(&mut self) {
        for call in std::mem::take(&mut self.results) {
            self.begin("function_call_output");
            self.literal("call_id", &call.call_id);
            self.literal("output", &call.output);
            self.text("}");
        }
    }

    fn message(&mut self, view: &View<'v>) -> serde_json::Result<()> {
        let role = view.role.unwrap_or("system");
        self.follow(role == "assistant");
        self.begin("message");
        self.text(",\"role\":\"");
        self.text(role);
        self.text("\"");
        if role == "assistant" {
            self.said(view.content)?;
            self.raw("phase", view.phase);
        } else {
            self.raw("content", view.content);
        }
        self.text("}");
        Ok(())
    }

    /// What the model said: its words. What is known of them besides is of no use to it.
    fn said(&mut self, content: Option<&RawValue>) -> serde_json::Result<()> {
        let parts: Vec<StoredPart<'_>> = match content {
            Some(content) => serde_json::from_str(content.get())?,
            None => Vec::new(),
        };
        self.text(",\"content\":[");
        for part in &parts {
            self.separate();
            if part.refusal.is_some() {
                self.text("{\"type\":\"refusal\",\"refusal\":");
                self.text(literal(part));
                self.text("}");
            } else {
                self.text("{\"type\":\"output_text\",\"text\":");
                self.text(literal(part));
                self.text(",\"annotations\":[]}");
            }
        }
        self.text("]");
        Ok(())
    }

    fn call(&mut self, view: &View<'v>) {
        self.follow(true);
        self.begin("function_call");
        self.raw("call_id", view.call_id);
        self.raw("name", view.name);
        self.raw("arguments", view.arguments);
        self.text("}");
    }

    fn output(&mut self, view: &View<'v>) {
        self.follow(false);
        self.begin("function_call_output");
        self.raw("call_id", view.call_id);
        self.raw("output", view.output);
        self.text("}");
    }

    fn hosted(&mut self, raw: &str) -> serde_json::Result<()> {
        self.follow(true);
        self.separate();
        let mut members = Members::read(raw.as_bytes())?;
        members.remove("id");
        self.out.extend_from_slice(&members.to_json());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::written;
    use serde_json::{Value, json};

    fn request(history: &Value, input: &Value, extra: &Value) -> Result<Value, RequestError> {
        written(history, input, extra, |turn| turn.to_responses_json())
    }

    fn check(history: &Value, input: &Value, expected: &Value) {
        let body = request(history, input, &json!({})).unwrap();
        assert_eq!(&body["input"], expected, "{history} {input}");
    }

    #[test]
    fn items_go_as_items_without_ids_and_what_only_people_read() {
        let image = json!({"type": "input_image", "image_url": "https://e.x/a", "detail": "low"});
        let file = json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:,"});
        let cited =
            json!({"type": "url_citation", "start_index": 0, "end_index": 1, "url": "u", "title": "t"});
        let search = json!({"type": "web_search_call", "status": "completed", "action": {"type": "search"}});
        let user = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q\"\n你"}, image, file]});
        let hosted = json!([search, {"type": "message", "role": "assistant", "phase": "final_answer", "content": [
            {"type": "output_text", "text": "a", "annotations": []}, {"type": "refusal", "refusal": "no"}]}]);
        check(
            &json!([{"role": "developer", "content": "rules"}, user, search,
                {"type": "file_search_call", "status": "completed", "queries": ["q"], "results": [{"text": "t"}]},
                {"role": "assistant", "phase": "final_answer", "id": "msg_1", "content": [
                    {"type": "output_text", "text": "a", "annotations": [cited]}, {"type": "refusal", "refusal": "no"}]},
                {"role": "assistant", "content": "busy", "waggle_fallback": true},
                {"type": "compaction", "encrypted_content": "e"}]),
            &json!([{"role": "user", "content": "x"}]),
            &json!([{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]}, user,
                hosted[0], hosted[1],
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}]),
        );
    }

    #[test]
    fn a_thought_goes_with_what_it_led_to_if_it_is_encrypted() {
        let thought = |sealed: &Value| {
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
            "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": sealed})
        };
        let sent = |sealed: &str| {
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
            "encrypted_content": sealed})
        };
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "o"});
        check(
            &json!([
                thought(&json!("1")),
                call("a"),
                output("a"),
                thought(&Value::Null),
                thought(&json!("2")),
                call("lost"),
                thought(&json!("3"))
            ]),
            &json!([{"role": "user", "content": "x"}]),
            &json!([sent("1"), call("a"), output("a"),
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}]),
        );
        let parts = json!([{"type": "input_text", "text": "o"}, {"type": "input_image", "image_url": "data:,", "detail": "auto"}]);
        let output = json!({"type": "function_call_output", "call_id": "a", "output": parts});
        check(&json!([call("a")]), &json!([output]), &json!([call("a"), output]));
        let orphan = json!([{"type": "function_call_output", "call_id": "none", "output": ""}]);
        assert!(matches!(request(&json!([]), &orphan, &json!({})), Err(RequestError::Caller(_))));
    }

    #[test]
    fn calls_of_a_servers_tools_go_as_calls_and_those_of_the_endpoint_as_they_are() {
        let call = |name: &str, step: u32, output: &str| {
            json!({"type": "mcp_call", "status": "completed", "server_label": "shop", "name": name,
                "arguments": "{}", "output": output, "waggle": {"name": format!("shop__{name}"), "step": step}})
        };
        let thought = json!({"type": "reasoning", "summary": [], "encrypted_content": "1"});
        let theirs = json!({"type": "mcp_call", "status": "completed", "name": "n", "arguments": "{}", "output": "o",
            "server_label": "s"});
        let listed = json!({"type": "mcp_list_tools", "server_label": "s", "tools": []});
        let own_list = json!({"type": "mcp_list_tools", "server_label": "shop", "tools": [], "waggle": {"name": "shop"}});
        let id = |index: usize| format!("mcp_{}{index:03}", waggle_openai::Nonce::mint(0, 0));
        let sent = |index: usize, name: &str| json!({"type": "function_call", "call_id": id(index), "name": name, "arguments": "{}"});
        let told = |index: usize, output: &str| {
            json!({"type": "function_call_output", "call_id": id(index),
                "output": crate::tool_call::framed("shop", output)})
        };
        check(
            &json!([
                own_list,
                thought,
                call("x", 1, "1"),
                call("y", 1, "2"),
                thought,
                call("x", 2, "3"),
                listed,
                theirs
            ]),
            &json!([{"role": "user", "content": "q"}]),
            &json!([thought, sent(2, "shop__x"), sent(3, "shop__y"), told(2, "1"), told(3, "2"),
                thought, sent(5, "shop__x"), told(5, "3"), listed, theirs,
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]}]),
        );
        let request = json!({"type": "mcp_approval_request", "server_label": "shop", "name": "x", "arguments": "{}",
            "waggle": {"name": "shop__x", "step": 1}});
        let asked = format!("mcpr_{}000", waggle_openai::Nonce::mint(0, 0));
        check(
            &json!([request]),
            &json!([{"type": "mcp_approval_response", "approval_request_id": asked, "approve": false}]),
            &json!([{"type": "function_call", "call_id": asked, "name": "shop__x", "arguments": "{}"},
                {"type": "function_call_output", "call_id": asked,
                    "output": "The user refused this call. It was not made."}]),
        );
    }

    #[test]
    fn settings_go_under_their_own_names_and_what_is_this_servers_stays() {
        let tool = json!({"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true});
        let choice =
            json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]});
        let extra = json!({"model": "gpt", "instructions": "kind", "temperature": 0.5, "top_p": 0.9,
            "max_output_tokens": 9, "max_tool_calls": 3, "user": "u", "stream": true,
            "reasoning": {"effort": "low", "summary": "auto"}, "presence_penalty": 1, "frequency_penalty": -1,
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
            "tools": [tool], "tool_choice": choice, "parallel_tool_calls": false, "top_logprobs": 2,
            "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s", "truncation": "auto",
            "metadata": {"a": "b"}, "include": ["reasoning.encrypted_content"]});
        let body = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
        let mut expected = extra.clone();
        for own in ["truncation", "metadata"] {
            expected.as_object_mut().unwrap().remove(own);
        }
        expected["store"] = json!(false);
        expected["include"] = json!(["reasoning.encrypted_content", "message.output_text.logprobs"]);
        for penalty in ["presence_penalty", "frequency_penalty"] {
            expected[penalty] = json!(expected[penalty].as_f64());
        }
        expected["input"] =
            json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}]);
        assert_eq!(body, expected);
        let search = json!({"type": "file_search", "vector_store_ids": ["vs_1"]});
        let extra = json!({"tools": [search, tool], "tool_choice": {"type": "file_search"}});
        let searched = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &extra).unwrap();
        assert_eq!((&searched["tools"], searched.get("tool_choice")), (&json!([tool]), None));
        let plain = request(&json!([]), &json!([{"role": "user", "content": "x"}]), &json!({})).unwrap();
        let names: Vec<&str> = plain.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["input", "model", "store"]);
    }
}
