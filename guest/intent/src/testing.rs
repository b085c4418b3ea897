//! What tests share: a scripted model that embeds what no script is for, and surroundings.

use crate::failure::IntentFailure;
use crate::wire::{Recognition, TurnRecognition};
use crate::{IntentSettings, Memory, Recogniser, Said};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, ready};
use std::rc::Rc;
use waggle_conversation::memory::MemoryStore;
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};
use waggle_openai::Nonce;
use waggle_platform::{Platform, QueueFailure, TokenCount};

const DIMENSIONS: usize = 1_021;

/// A body that is there at once.
pub(crate) struct Body(Option<Vec<u8>>);

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.take())
    }
}

/// Answers completions by its script, and embeds by words.
#[derive(Clone, Default)]
pub(crate) struct Model {
    scripts: Rc<RefCell<VecDeque<(u16, String)>>>,
    pub(crate) requests: Rc<RefCell<Vec<UpstreamRequest>>>,
}

fn vector_of(text: &str) -> Vec<f32> {
    let mut vector = vec![0.001; DIMENSIONS];
    for word in crate::lexical::plain(text).split(' ') {
        let place = word.bytes().fold(7usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        vector[place % DIMENSIONS] += 1.0;
    }
    vector
}

fn embeddings(body: &Value) -> String {
    let data = body["input"].as_array().unwrap().iter().enumerate().map(|(index, text)| {
        let bytes: Vec<u8> =
            vector_of(text.as_str().unwrap()).iter().flat_map(|number| number.to_le_bytes()).collect();
        json!({"object": "embedding", "index": index, "embedding": STANDARD.encode(bytes)})
    });
    json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": "m"}).to_string()
}

impl Model {
    /// The next completion says this.
    pub(crate) fn says(&self, text: &str) {
        let message = json!({"role": "assistant", "content": text});
        let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
        self.scripts.borrow_mut().push_back((200, body.to_string()));
    }

    /// The next completion fails.
    pub(crate) fn fails(&self) {
        self.scripts.borrow_mut().push_back((500, "{}".to_owned()));
    }

    /// How many requests there were since the last call.
    pub(crate) fn asked(&self) -> usize {
        self.requests.take().len()
    }
}

impl Upstream for Model {
    type Body = Body;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<Body>, TransportFailure> {
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).unwrap();
        let (status, body) = if request.url.ends_with("/embeddings") {
            (200, embeddings(&body))
        } else {
            self.scripts.borrow_mut().pop_front().unwrap_or_else(|| panic!("no script for {body}"))
        };
        self.requests.borrow_mut().push(request);
        Ok(UpstreamResponse {
            status,
            content_type: Some("application/json".to_owned()),
            retry_after: None,
            model: None,
            price: None,
            body: Body(Some(body.into_bytes())),
        })
    }
}

/// The clock, variables and the log.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    variables: Rc<RefCell<BTreeMap<&'static str, String>>>,
    pub(crate) lines: Rc<RefCell<Vec<String>>>,
    pub(crate) passed_ms: Rc<Cell<u64>>,
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_772_323_200_000 + self.passed_ms.get()
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + 'static {
        self.passed_ms.set(self.passed_ms.get() + ms);
        ready(())
    }

    fn random(&self) -> u128 {
        7
    }

    async fn variable(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.variables.borrow().get(name).cloned())
    }

    fn log(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn count_tokens(&self, _model: &str, texts: &[&str]) -> Vec<TokenCount> {
        texts.iter().map(|text| TokenCount { tokens: text.len() as u64, is_estimate: true }).collect()
    }

    async fn enqueue(&self, _path: &str) -> Result<(), QueueFailure> {
        Err(QueueFailure::Absent)
    }
}

/// All that an intent is recognised with.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) model: Model,
    pub(crate) platform: Surroundings,
    pub(crate) memory: Rc<Memory>,
}

/// A shop's intents.
pub(crate) fn shop() -> Value {
    json!([
        {"name": "track", "description": "Where an order is", "examples": ["Where is my order?", "track my package"],
            "slots": [{"name": "order", "type": "string", "pattern": "\\b[0-9]{4}\\b", "required": true,
                "question": {"en": "Which order?", "zh": "哪个订单?"}}], "tools": ["orders.getOrder"], "instructions": "Be brief."},
        {"name": "return", "examples": ["I want to send something back", "return an item"],
            "slots": [{"name": "item", "type": "string", "required": true, "question": "What do you return?"},
                {"name": "used", "type": "boolean", "required": true, "question": "Was it used?"}]},
        {"name": "hours", "examples": ["When are you open?", "几点开门"]}
    ])
}

/// A world with these variables, and a shop's intents.
pub(crate) fn world(variables: &[(&'static str, &str)]) -> World {
    let world = World::default();
    world.set("intents", &shop().to_string());
    world.set("model_origin", "http://m");
    for (name, value) in variables {
        world.set(name, value);
    }
    world
}

impl World {
    pub(crate) fn set(&self, name: &'static str, value: &str) {
        self.platform.variables.borrow_mut().insert(name, value.to_owned());
    }

    pub(crate) fn turn(&self, said: Said<'_>) -> Result<TurnRecognition, IntentFailure> {
        block_on(async {
            let settings = IntentSettings::read(&self.platform).await?;
            let recogniser = Recogniser {
                store: &self.store,
                upstream: &self.model,
                platform: &self.platform,
                settings: &settings,
                memory: &self.memory,
            };
            recogniser.recognise(said).await
        })
    }

    /// What is meant by words in the conversation.
    pub(crate) fn say(&self, text: &str) -> Recognition {
        let conversation = Some(Nonce::mint(1, 1));
        self.turn(Said { text, conversation, language: None, turn: None }).unwrap().recognition
    }
}
