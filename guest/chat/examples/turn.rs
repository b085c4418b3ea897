//! Plain turns without a host, so that their instructions can be counted: what the store, the model and the host do is not.
//!
//! ```sh
//! cargo build --profile counted -p waggle-chat --example turn
//! valgrind --tool=callgrind --toggle-collect='turn::counted::*' target/counted/examples/turn 100 once
//! ```
//!
//! Collecting is turned over whenever a function of `counted` begins or ends: a turn turns it on, and what a host would do
//! for it turns it off. The arguments are the number of turns, and how their conversations came about: `once` is one entry of
//! all items, as `bench/instructions.py` makes it, and `turns` is an entry for each turn.

use futures::executor::block_on;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::rc::Rc;
use waggle_chat::platform::{Platform, QueueFailure, TokenCount};
use waggle_chat::{Answer, Reply, Request, Service};
use waggle_conversation::{Store, StoreError};
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};

const HISTORY_TURNS: usize = 10;
/// The first turns fill what an instance keeps.
const WARM_UP_TURNS: usize = 5;
/// The function's variables that a turn may read, as `spin.toml` sets them.
const VARIABLES: [(&str, &str); 27] = [
    ("model_origin", "http://models.waggle.internal"),
    ("model_path", "/v1"),
    ("model_api_key", ""),
    ("model", "demo"),
    ("models", "*"),
    ("responses_models", ""),
    ("tiers", ""),
    ("fallback", "text"),
    ("fallback_text", ""),
    ("instructions", ""),
    ("knowledge", ""),
    ("answers", "model"),
    ("sources_tokens_max", "2000"),
    ("tools", ""),
    ("intents", ""),
    ("agent_steps_max", "10"),
    ("window_items_max", "40"),
    ("window_tokens_max", "8000"),
    ("summary", "on"),
    ("summary_model", ""),
    ("summary_tokens_max", "500"),
    ("conversation_renewal_s", "60"),
    ("conversation_turns", "wait"),
    ("conversation_wait_ms", "10000"),
    ("handover_tool", ""),
    ("session_turns_max", "100"),
    ("model_timeout_ms", "60000"),
];

/// Where collecting is turned on and off.
mod counted {
    use super::*;

    #[inline(never)]
    pub(super) fn turn(world: &World, body: Vec<u8>) -> Reply {
        world.serve("/v1/responses", body)
    }

    #[inline(never)]
    pub(super) fn outside<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
}

thread_local! {
    /// Whether collecting is on, so that it may be turned off.
    static COLLECTS: Cell<bool> = const { Cell::new(false) };
}

/// What is not the function's.
fn outside<T>(work: impl FnOnce() -> T) -> T {
    if COLLECTS.get() { counted::outside(work) } else { work() }
}

#[derive(Clone, Default)]
struct Values(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

impl Values {
    fn count_up(&self, key: &str) -> i64 {
        let mut values = self.0.borrow_mut();
        let text = values.get(key).map_or("0", |value| std::str::from_utf8(value).unwrap_or("0"));
        let next = text.parse::<i64>().unwrap_or(0) + 1;
        values.insert(key.to_owned(), next.to_string().into_bytes());
        next
    }

    fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> bool {
        let mut values = self.0.borrow_mut();
        let same = values.get(key).map(Vec::as_slice) == expected;
        if same {
            values.insert(key.to_owned(), value);
        }
        same
    }
}

impl Store for Values {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(outside(|| self.0.borrow().get(key).cloned()))
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        Ok(outside(|| {
            let values = self.0.borrow();
            keys.iter().map(|key| values.get(key).cloned()).collect()
        }))
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        outside(|| self.0.borrow_mut().extend(pairs));
        Ok(())
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        outside(|| keys.iter().for_each(|key| drop(self.0.borrow_mut().remove(key))));
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        Ok(outside(|| self.count_up(key)))
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        Ok(outside(|| self.swap(key, expected, value)))
    }
}

/// A body of one chunk.
struct Whole(Option<Vec<u8>>);

impl ChunkSource for Whole {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.take())
    }
}

#[derive(Clone)]
struct Model;

fn completion() -> Vec<u8> {
    let text = "Your parcel left our warehouse on Monday and should be with you within two days. If it is not there by \
                Thursday, tell me, and I will ask the carrier where it is. Is there anything else I can do for you?";
    let message = json!({"role": "assistant", "content": text, "refusal": null, "annotations": []});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 380, "completion_tokens": 45, "total_tokens": 425,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}});
    let body = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "sim",
        "service_tier": "default", "system_fingerprint": "fp_model_sim", "choices": [choice], "usage": usage});
    body.to_string().into_bytes()
}

impl Upstream for Model {
    type Body = Whole;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<Whole>, TransportFailure> {
        Ok(outside(|| {
            drop(request);
            UpstreamResponse {
                status: 200,
                content_type: Some("application/json".to_owned()),
                retry_after: None,
                model: None,
                price: None,
                body: Whole(Some(completion())),
            }
        }))
    }
}

/// Variables as an instance keeps them.
#[derive(Clone)]
struct Surroundings {
    variables: Rc<HashMap<String, Option<String>>>,
    random: Rc<Cell<u128>>,
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn sleep(&self, _ms: u64) -> impl Future<Output = ()> + 'static {
        pending()
    }

    fn random(&self) -> u128 {
        self.random.set(self.random.get().wrapping_add(1 << 70 | 1));
        self.random.get()
    }

    async fn variable(&self, name: &str) -> Result<Option<String>, String> {
        self.variables
            .get(name)
            .cloned()
            .ok_or_else(|| format!("'{name}' is not among those that turns read"))
    }

    fn variables_version(&self) -> Option<u64> {
        Some(1)
    }

    fn log(&self, line: &str) {
        drop(line.to_owned());
    }

    fn count_tokens(&self, _model: &str, texts: &[&str]) -> Vec<TokenCount> {
        let count = |text: &&str| TokenCount { tokens: text.len().div_ceil(4) as u64, is_estimate: false };
        outside(|| texts.iter().map(count).collect())
    }

    async fn enqueue(&self, _path: &str) -> Result<(), QueueFailure> {
        Err(QueueFailure::Absent)
    }
}

/// The function, and all around it.
struct World {
    store: Values,
    platform: Surroundings,
}

impl World {
    fn new() -> Self {
        let variables =
            VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let platform = Surroundings { variables: Rc::new(variables), random: Rc::default() };
        Self { store: Values::default(), platform }
    }

    fn serve(&self, path: &str, body: Vec<u8>) -> Reply {
        let service = Service { store: self.store.clone(), upstream: Model, platform: self.platform.clone() };
        let request = Request {
            method: "POST",
            path_with_query: path,
            content_type: Some("application/json"),
            content_length: Some(body.len() as u64),
            ..Request::default()
        };
        match block_on(service.handle(request, Whole(Some(body)))) {
            Answer::Reply(reply) => reply,
            Answer::Stream(_) | Answer::Working(..) => Reply::json(Vec::new()),
        }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        serde_json::from_slice(&self.serve(path, body.to_string().into_bytes()).body).unwrap_or_default()
    }

    /// A conversation of ten turns; the id of it.
    fn converse(&self, at_once: bool) -> String {
        let id = self.post("/v1/conversations", &json!({}))["id"].as_str().unwrap_or_default().to_owned();
        let mut items = Vec::new();
        for turn in 0..HISTORY_TURNS {
            let asked = format!("Question {turn}: where is my order?");
            if !at_once {
                self.post("/v1/responses", &json!({"model": "sim", "input": asked, "conversation": id}));
                continue;
            }
            let said = format!("Answer {turn}: it was shipped and will arrive within two days.");
            items.push(json!({"type": "message", "role": "user", "content": asked}));
            items.push(json!({"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": said}]}));
        }
        if at_once {
            self.post(&format!("/v1/conversations/{id}/items"), &json!({"items": items}));
        }
        id
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let turns = arguments.get(1).and_then(|turns| turns.parse().ok()).unwrap_or(1);
    let at_once = arguments.get(2).is_none_or(|way| way == "once");
    let world = World::new();
    let body =
        |id: &str| json!({"model": "sim", "input": "And where is it now?", "conversation": id}).to_string();
    let bodies: Vec<String> = (0..turns).map(|_| body(&world.converse(at_once))).collect();
    for _ in 0..WARM_UP_TURNS {
        world.serve("/v1/responses", body(&world.converse(at_once)).into_bytes());
    }
    COLLECTS.set(true);
    let mut last = None;
    for body in bodies {
        last = Some(counted::turn(&world, body.into_bytes()));
    }
    let said = last.map(|reply| String::from_utf8_lossy(&reply.body).into_owned()).unwrap_or_default();
    assert!(said.contains("\"status\":\"completed\""), "no answer but {said}");
}
