//! The tools function, without its host: a catalogue, and what its tools answer.

use crate::support::{Script, Surroundings, World, answers, bytes, streams};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use waggle_chat::platform::{NeighbourAnswer, NeighbourCall, Platform};
use waggle_model::transport::TransportFailure;

/// What a tool does when it is called.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers this, with this status.
    Answers(u16, Value),
    /// The call fails on its way.
    Fails(TransportFailure),
    /// Never answers.
    Hangs,
}

/// What a function does, call after call.
pub(crate) type Doings = (&'static str, VecDeque<Does>);

#[derive(Clone, Default)]
pub(crate) struct Tools {
    /// All there are, as the catalogue has them.
    pub(crate) offered: Rc<RefCell<Vec<Value>>>,
    /// What the next calls do, by function; without, a tool says what it was called with.
    pub(crate) does: Rc<RefCell<Vec<Doings>>>,
    /// What it was called with.
    pub(crate) calls: Rc<RefCell<Vec<Value>>>,
    /// The catalogues that were asked for.
    pub(crate) catalogues: Rc<RefCell<Vec<Value>>>,
    /// How the catalogue fails.
    pub(crate) fails: Rc<RefCell<Option<Does>>>,
    /// What the next words mean, and what was asked of that.
    pub(crate) meant: Rc<RefCell<VecDeque<Does>>>,
    pub(crate) recognised: Rc<RefCell<Vec<Value>>>,
    /// How many calls were made at once: now, and at most.
    pub(crate) at_once: Rc<Cell<(usize, usize)>>,
    /// How long a call takes, in milliseconds.
    pub(crate) takes_ms: Rc<Cell<u64>>,
}

/// A tool of the shop's.
pub(crate) fn tool(function: &str, extra: &Value) -> Value {
    let mut tool = json!({"name": format!("shop__{function}"), "label": "shop", "function": function,
        "description": format!("Does {function}."), "parameters": {"type": "object"}, "side_effects": false,
        "idempotent": false, "needs_approval": false, "digest": "sha256:1"});
    tool.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    tool
}

/// What a call gives that went well.
pub(crate) fn gives(output: &str) -> Does {
    Does::Answers(200, json!({"output": output, "attempts": 1, "duration_ms": 1}))
}

/// What a call gives that failed.
pub(crate) fn fails(code: &str, words: &str) -> Does {
    Does::Answers(200, json!({"output": words, "error": code, "attempts": 1, "duration_ms": 1}))
}

/// The catalogue of a tenant that has one tool, which tells people.
pub(crate) fn desk() -> Option<NeighbourAnswer> {
    let tool = json!({"name": "desk__notify", "label": "desk", "function": "notify", "description": "",
        "parameters": {}, "side_effects": true, "idempotent": true, "needs_approval": false, "digest": "d"});
    Some(reply(200, &json!({"tools": [tool], "missing": []})))
}

fn reply(status: u16, body: &Value) -> NeighbourAnswer {
    NeighbourAnswer { status, retry_after: None, body: body.to_string().into_bytes() }
}

impl Tools {
    pub(crate) async fn answer(
        &self,
        platform: &Surroundings,
        call: NeighbourCall<'_>,
    ) -> Result<NeighbourAnswer, TransportFailure> {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        match call.path {
            "/v1/tools/catalog" => self.catalogue(body),
            "/v1/tools/call" => self.call(platform, body).await,
            "/v1/intents/turn" => {
                self.recognised.borrow_mut().push(body);
                let next = self.meant.borrow_mut().pop_front();
                match next.unwrap_or_else(|| panic!("words were recognised once too often")) {
                    Does::Answers(status, body) => Ok(reply(status, &body)),
                    Does::Fails(failure) => Err(failure),
                    Does::Hangs => std::future::pending().await,
                }
            }
            other => panic!("{other}"),
        }
    }

    fn catalogue(&self, body: Value) -> Result<NeighbourAnswer, TransportFailure> {
        self.catalogues.borrow_mut().push(body.clone());
        match self.fails.borrow().clone() {
            Some(Does::Fails(failure)) => return Err(failure),
            Some(Does::Answers(status, body)) => return Ok(reply(status, &body)),
            _ => {}
        }
        let (offered, mut tools, mut missing) = (self.offered.borrow(), Vec::new(), Vec::new());
        for selection in body["select"].as_array().unwrap() {
            let label = match selection["server_url"].as_str() {
                Some("https://shop.example/mcp") => "shop",
                Some(_) => "none",
                None => selection["label"].as_str().unwrap(),
            };
            let named = selection["functions"].as_array();
            let meant = offered.iter().filter(|tool| {
                tool["label"] == label && named.is_none_or(|named| named.contains(&tool["function"]))
            });
            let before = tools.len();
            tools.extend(meant.cloned());
            if tools.len() == before {
                missing.push(format!("There is no tool '{label}'."));
            }
        }
        Ok(reply(200, &json!({"tools": tools, "missing": missing})))
    }

    async fn call(&self, platform: &Surroundings, body: Value) -> Result<NeighbourAnswer, TransportFailure> {
        let function = body["function"].as_str().unwrap().to_owned();
        self.calls.borrow_mut().push(body.clone());
        let does = {
            let mut does = self.does.borrow_mut();
            let next = does.iter_mut().find(|(name, _)| *name == function);
            next.and_then(|(_, does)| does.pop_front())
        };
        let (now, most) = self.at_once.get();
        self.at_once.set((now + 1, most.max(now + 1)));
        platform.sleep(self.takes_ms.get()).await;
        let (now, most) = self.at_once.get();
        self.at_once.set((now - 1, most));
        match does {
            None => {
                let output = format!("{function} {}", body["arguments"].as_str().unwrap());
                Ok(reply(200, &json!({"output": output, "attempts": 1, "duration_ms": 1})))
            }
            Some(Does::Answers(status, body)) => Ok(reply(status, &body)),
            Some(Does::Fails(failure)) => Err(failure),
            Some(Does::Hangs) => std::future::pending().await,
        }
    }
}

/// A step of a model's: what it calls, or what it says.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Calls(Vec<(&'static str, String)>),
    /// It says this, and calls that.
    SaysAndCalls(&'static str, Vec<(&'static str, String)>),
    Says(&'static str),
    Fails(TransportFailure),
}

pub(crate) fn calls(calls: &[(&'static str, &str)]) -> Step {
    Step::Calls(calls.iter().map(|(name, arguments)| (*name, (*arguments).to_owned())).collect())
}

fn tool_calls(calls: &[(&'static str, String)]) -> Vec<Value> {
    let calls = calls.iter().enumerate();
    calls
        .map(|(index, (name, arguments))| {
            json!({"index": index, "id": format!("call_{index}"), "type": "function",
                "function": {"name": name, "arguments": arguments}})
        })
        .collect()
}

/// A completion, as it was asked for: whole or streamed.
pub(crate) fn completion(request: &Value, text: &str, calls: &[(&'static str, String)]) -> Script {
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4}});
    let calls = tool_calls(calls);
    if request["stream"] != json!(true) {
        let message = json!({"role": "assistant", "content": text, "tool_calls": calls});
        let body =
            json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
        return answers(200, "application/json", &body.to_string());
    }
    let event = |data: &Value| bytes(&format!("data: {data}\n\n"));
    let delta = |delta: &Value| event(&json!({"choices": [{"index": 0, "delta": delta}]}));
    let mut pieces = Vec::new();
    if !text.is_empty() {
        pieces.push(delta(&json!({"content": text})));
    }
    for call in calls {
        let (mut first, whole) = (call.clone(), call["function"]["arguments"].as_str().unwrap().to_owned());
        let (one, two) = whole.split_at(whole.len() / 2);
        first["function"]["arguments"] = json!(one);
        pieces.push(delta(&json!({"tool_calls": [first]})));
        let rest = json!({"index": call["index"], "function": {"arguments": two}});
        pieces.push(delta(&json!({"tool_calls": [rest]})));
    }
    pieces.push(event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})));
    pieces.push(event(&json!({"choices": [], "usage": usage})));
    pieces.push(bytes("data: [DONE]\n\n"));
    streams(pieces)
}

/// How many steps a request shows since the user spoke last: messages of the assistant's that call.
pub(crate) fn steps_shown(request: &Value) -> usize {
    let messages = request["messages"].as_array().unwrap();
    let last = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    messages.iter().skip(last).filter(|message| message["tool_calls"].is_array()).count()
}

impl World {
    /// A world with the tools of a shop: `find` and `stock` only look, `cancel` changes something, `note` does so twice as
    /// once, and `refund` is asked for first.
    pub(crate) fn with_shop(self) -> Self {
        *self.platform.tools.offered.borrow_mut() = vec![
            tool("find", &json!({})),
            tool("stock", &json!({})),
            tool("cancel", &json!({"side_effects": true})),
            tool("note", &json!({"side_effects": true, "idempotent": true})),
            tool("refund", &json!({"side_effects": true, "needs_approval": true})),
            tool("calculator", &json!({"name": "calculator", "label": "waggle"})),
        ];
        self
    }

    /// Lets the model go through these steps in each turn, by what it is shown; then it says `over`.
    pub(crate) fn plays(&self, steps: Vec<Step>) {
        let acts = move |request: &Value| match steps.get(steps_shown(request)) {
            Some(Step::Calls(calls)) => completion(request, "", calls),
            Some(Step::SaysAndCalls(text, calls)) => completion(request, text, calls),
            Some(Step::Says(text)) => completion(request, text, &[]),
            Some(Step::Fails(failure)) => Script::Fails(failure.clone()),
            None => completion(request, "over", &[]),
        };
        *self.model.acts.borrow_mut() = Some(Rc::new(acts));
    }

    /// What the calls of a function do, one after the other.
    pub(crate) fn does(&self, function: &'static str, does: Vec<Does>) {
        self.platform.tools.does.borrow_mut().push((function, does.into()));
    }

    /// What the tools were called with: function and arguments.
    pub(crate) fn called(&self) -> Vec<(String, String)> {
        let calls = self.platform.tools.calls.borrow();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        calls.iter().map(|call| (text(&call["function"]), text(&call["arguments"]))).collect()
    }
}

/// A turn that may call the shop's tools.
pub(crate) fn shops(input: &Value) -> Value {
    json!({"input": input, "tools": [{"type": "mcp", "server_label": "shop", "require_approval": "never"}]})
}

/// The output items of that type.
pub(crate) fn items<'a>(response: &'a Value, kind: &str) -> Vec<&'a Value> {
    response["output"].as_array().unwrap().iter().filter(|item| item["type"] == kind).collect()
}

/// All the text of a response.
pub(crate) fn said(response: &Value) -> String {
    let messages = items(response, "message");
    let parts = messages.iter().flat_map(|message| message["content"].as_array().unwrap());
    parts.map(|part| part["text"].as_str().unwrap()).collect()
}
