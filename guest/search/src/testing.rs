//! What tests of several modules share: scripted models, surroundings, and an index over the store in memory.

use crate::memory::Memory;
use crate::search::{Found, NamesFromNotes, Searched, Searcher};
use crate::settings::{EmbeddingModel, SearchSettings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;
use serde_json::{Value as Json, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use waggle_conversation::memory::MemoryStore;
use waggle_index::key_value::KeyValueIndex;
use waggle_index::{Attributes, Chunk, Hit, Index, Settings};
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};
use waggle_platform::{Platform, QueueFailure, TokenCount};

/// How far the clock goes on whenever somebody who sleeps is looked at.
const TICK_MS: u64 = 10;
/// The length of the vectors that the scripted model makes.
pub(crate) const DIMENSIONS: usize = 16;

/// A body that is there at once.
pub(crate) struct Body(Option<Vec<u8>>);

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.take())
    }
}

/// Answers by its script; what no script is for, it embeds.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) scripts: Rc<RefCell<VecDeque<(u16, String)>>>,
    pub(crate) requests: Rc<RefCell<Vec<UpstreamRequest>>>,
    /// Whether vectors are written as decimal numbers.
    pub(crate) in_decimals: Rc<Cell<bool>>,
}

impl Model {
    pub(crate) fn answers(&self, status: u16, body: &str) {
        self.scripts.borrow_mut().push_back((status, body.to_owned()));
    }

    /// The paths that were asked since the last call.
    pub(crate) fn paths(&self) -> Vec<String> {
        let path = |request: UpstreamRequest| request.url.rsplit('/').next().unwrap_or_default().to_owned();
        self.requests.take().into_iter().map(path).collect()
    }
}

/// The vector of a text: its words, each in one of a few places, so that texts of the same words are alike.
pub(crate) fn vector_of(text: &str) -> Vec<f32> {
    let mut vector = vec![0.01; DIMENSIONS];
    for word in waggle_index::words::of_query(text) {
        let place = word.bytes().fold(7usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        vector[place % DIMENSIONS] += 1.0;
    }
    vector
}

fn embeddings(body: &Json, in_decimals: bool) -> String {
    let inputs = body["input"].as_array().expect("texts");
    let data = inputs.iter().enumerate().map(|(index, text)| {
        let vector = vector_of(text.as_str().expect("a text"));
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let embedding = if in_decimals { json!(vector) } else { json!(STANDARD.encode(bytes)) };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": "m"}).to_string()
}

impl Upstream for Model {
    type Body = Body;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<Body>, TransportFailure> {
        let script = self.scripts.borrow_mut().pop_front();
        let body: Json = serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).unwrap();
        let (status, body) = match script {
            Some((0, reason)) => {
                self.requests.borrow_mut().push(request);
                return Err(TransportFailure::Unreachable(reason));
            }
            Some(script) => script,
            None => {
                assert!(request.url.ends_with("/embeddings"), "no script for {}", request.url);
                (200, embeddings(&body, self.in_decimals.get()))
            }
        };
        self.requests.borrow_mut().push(request);
        let body = Body(Some(body.into_bytes()));
        Ok(UpstreamResponse {
            status,
            content_type: Some("application/json".to_owned()),
            retry_after: None,
            model: None,
            price: None,
            body,
        })
    }
}

/// A whole completion that says `text`.
pub(crate) fn completion(text: &str) -> String {
    let message = json!({"role": "assistant", "content": text});
    json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).to_string()
}

/// The clock, variables and the log.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    variables: Rc<RefCell<Vec<(&'static str, String)>>>,
    pub(crate) unreadable: Rc<Cell<Option<&'static str>>>,
    pub(crate) lines: Rc<RefCell<Vec<String>>>,
    pub(crate) passed_ms: Rc<Cell<u64>>,
    random: Rc<Cell<u128>>,
}

impl Surroundings {
    pub(crate) fn set(&self, name: &'static str, value: &str) {
        let mut variables = self.variables.borrow_mut();
        variables.retain(|(known, _)| *known != name);
        variables.push((name, value.to_owned()));
    }

    /// What was logged since the last call.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.lines.take()
    }
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.passed_ms.get()
    }

    /// All who sleep share one clock, which goes on a little whenever one of them is looked at.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + 'static {
        let passed_ms = self.passed_ms.clone();
        let until_ms = passed_ms.get() + ms;
        poll_fn(move |context| {
            if passed_ms.get() >= until_ms {
                return Poll::Ready(());
            }
            passed_ms.set(passed_ms.get() + TICK_MS);
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn random(&self) -> u128 {
        self.random.set(self.random.get() + 1);
        self.random.get()
    }

    async fn variable(&self, name: &str) -> Result<Option<String>, String> {
        if self.unreadable.get() == Some(name) {
            return Err("secret detail of the provider".to_owned());
        }
        let variables = self.variables.borrow();
        Ok(variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
    }

    fn log(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn count_tokens(&self, _model: &str, texts: &[&str]) -> Vec<TokenCount> {
        let count = |text: &&str| TokenCount { tokens: text.len().div_ceil(4) as u64, is_estimate: true };
        texts.iter().map(count).collect()
    }

    async fn enqueue(&self, _path: &str) -> Result<(), QueueFailure> {
        Err(QueueFailure::Absent)
    }
}

/// Everything a search is made with. Indexes have a store of their own, so that operations on the other can be counted.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) index: KeyValueIndex<MemoryStore>,
    pub(crate) model: Model,
    pub(crate) platform: Surroundings,
    pub(crate) memory: Memory,
}

pub(crate) type TestSearcher<'a> = Searcher<'a, MemoryStore, KeyValueIndex<MemoryStore>, Model, Surroundings>;

/// A world with an embedding model, in which every likeness passes.
pub(crate) fn world() -> World {
    let world = World {
        store: MemoryStore::default(),
        index: KeyValueIndex::new(MemoryStore::default()),
        model: Model::default(),
        platform: Surroundings::default(),
        memory: Memory::default(),
    };
    for (name, value) in [
        ("model_origin", "http://m"),
        ("embedding_model", "e"),
        ("search_threshold", "0"),
        ("search_neighbours", "0"),
    ] {
        world.platform.set(name, value);
    }
    world
}

impl World {
    pub(crate) fn settings(&self) -> SearchSettings {
        block_on(SearchSettings::read(&self.platform)).unwrap()
    }

    pub(crate) fn searcher<'a>(&'a self, settings: &'a SearchSettings) -> TestSearcher<'a> {
        let searcher = Searcher::new(&self.store, &self.index, &self.model, &self.platform, settings);
        searcher.with_memory(self.memory.clone())
    }

    /// Lets so much time pass.
    pub(crate) async fn platform_sleeps(&self, ms: u64) {
        self.platform.sleep(ms).await;
    }

    /// The same world, seen from another instance.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { memory: Memory::default(), ..self.clone() }
    }

    /// Makes an index of files, each with its chunks; `dense` says whether they have vectors.
    pub(crate) fn index(&self, name: &str, dense: bool, files: &[(&str, &[&str])]) -> Searched {
        let dimensions = if dense { DIMENSIONS as u32 } else { 0 };
        block_on(self.index.create(name, Settings { dimensions })).unwrap();
        for (file, chunks) in files {
            self.publish(name, dense, file, 1, chunks);
        }
        let embedding =
            dense.then(|| EmbeddingModel { name: "e".to_owned(), dimensions: Some(DIMENSIONS as u32) });
        Searched { store: format!("vs-{name}"), index: name.to_owned(), embedding }
    }

    pub(crate) fn publish(&self, name: &str, dense: bool, file: &str, version: u64, texts: &[&str]) {
        let chunk = |(ordinal, text): (usize, &&str)| Chunk {
            ordinal: ordinal as u32,
            heading: String::new(),
            text: (*text).to_owned(),
            note: format!("{file}.md"),
            vector: dense.then(|| vector_of(text)),
        };
        let chunks: Vec<Chunk> = texts.iter().enumerate().map(chunk).collect();
        let count = chunks.len() as u32;
        let attributes: Attributes = vec![("name".to_owned(), waggle_index::Value::Text(file.to_owned()))];
        block_on(async {
            self.index.stage(name, file, version, chunks).await.unwrap();
            self.index.publish(name, file, version, count, attributes).await.unwrap();
        });
    }
}

/// Where tests take names of files from.
pub(crate) const NAMES: NamesFromNotes = NamesFromNotes;

/// A hit.
pub(crate) fn hit(group: &str, ordinal: u32, text: &str) -> Hit {
    Hit {
        index: 0,
        group: group.to_owned(),
        version: 1,
        chunks: 1,
        attributes: Vec::new(),
        ordinal,
        heading: String::new(),
        text: text.to_owned(),
        note: String::new(),
        score: 0.0,
        vector_score: None,
        text_score: None,
    }
}

/// A result.
pub(crate) fn found(file_id: &str, text: &str, score: f32) -> Found {
    Found {
        store: "vs_1".to_owned(),
        file_id: file_id.to_owned(),
        filename: format!("{file_id}.md"),
        score,
        attributes: Vec::new(),
        heading: String::new(),
        chunk: text.to_owned(),
        text: text.to_owned(),
        ordinals: (0, 0),
        note: String::new(),
    }
}
