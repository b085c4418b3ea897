//! The function without its host: a store in memory that can be made to crash, a model that embeds by words, a queue.

use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use waggle_conversation::memory::MemoryStore;
use waggle_conversation::{Store, StoreError};
use waggle_index::key_value::KeyValueIndex;
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};
use waggle_platform::{Delivery, Gone, Platform, QueueFailure, Reply, Request, Sink, TokenCount};
use waggle_retrieval::{Answer, Service};

/// How far the clock goes on whenever somebody who sleeps is looked at.
const TICK_MS: u64 = 100;
/// The length of the vectors that the model makes.
pub(crate) const DIMENSIONS: usize = 16;
/// How often a host delivers work.
const ATTEMPTS_MAX: u32 = 3;

/// A store that can crash: after so many operations all fail, until it is mended.
#[derive(Clone, Default)]
pub(crate) struct Fragile {
    pub(crate) inner: MemoryStore,
    left: Rc<Cell<Option<u64>>>,
    crashed: Rc<Cell<bool>>,
    /// How many operations there were.
    pub(crate) operations: Rc<Cell<u64>>,
}

impl Fragile {
    /// Crashes after `operations` more.
    pub(crate) fn crash_after(&self, operations: u64) {
        self.left.set(Some(operations));
    }

    /// Mends it; whether it had crashed.
    pub(crate) fn mend(&self) -> bool {
        self.left.set(None);
        self.crashed.take()
    }

    fn begin(&self) -> Result<(), StoreError> {
        self.operations.set(self.operations.get() + 1);
        match self.left.get() {
            None => Ok(()),
            Some(0) => {
                self.crashed.set(true);
                Err(StoreError::of("work", "it has crashed: secret".to_owned()))
            }
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
        }
    }
}

impl Store for Fragile {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.begin()?;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.begin()?;
        self.inner.get_many(keys).await
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.begin()?;
        self.inner.set_many(pairs).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        self.begin()?;
        self.inner.delete_many(keys).await
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        self.begin()?;
        self.inner.increment(key).await
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        self.begin()?;
        self.inner.swap(key, expected, value).await
    }
}

/// A body in chunks; it may be cut off.
pub(crate) struct Body {
    chunks: VecDeque<Vec<u8>>,
    cut: bool,
}

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        match self.chunks.pop_front() {
            None if self.cut => Err(TransportFailure::Cut("by the test".to_owned())),
            chunk => Ok(chunk),
        }
    }
}

/// A model that embeds texts by their words.
#[derive(Clone, Default)]
pub(crate) struct Model {
    /// Each text that was embedded, with the model that did.
    pub(crate) embedded: Rc<RefCell<Vec<(String, String)>>>,
    /// The model that does not answer.
    pub(crate) fails: Rc<RefCell<Option<String>>>,
}

fn vector_of(model: &str, text: &str) -> Vec<f32> {
    let mut vector = vec![0.01; if model == "long" { 2 * DIMENSIONS } else { DIMENSIONS }];
    for word in waggle_index::words::of_query(text) {
        let place = word.bytes().fold(7usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let place = place % vector.len();
        vector[place] += 1.0;
    }
    vector
}

impl Upstream for Model {
    type Body = Body;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<Body>, TransportFailure> {
        assert!(request.url.ends_with("/embeddings"), "{}", request.url);
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        let model = body["model"].as_str().unwrap();
        if self.fails.borrow().as_deref() == Some(model) {
            return Err(TransportFailure::Unreachable("secret address".to_owned()));
        }
        let inputs = body["input"].as_array().unwrap();
        let data = inputs.iter().enumerate().map(|(index, text)| {
            let text = text.as_str().unwrap();
            self.embedded.borrow_mut().push((model.to_owned(), text.to_owned()));
            json!({"object": "embedding", "index": index, "embedding": vector_of(model, text)})
        });
        let body = json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": model});
        Ok(UpstreamResponse {
            status: 200,
            content_type: Some("application/json".to_owned()),
            retry_after: None,
            model: None,
            price: None,
            body: Body { chunks: [body.to_string().into_bytes()].into(), cut: false },
        })
    }
}

/// The clock, variables, the log, and the host's queue.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    variables: Rc<RefCell<BTreeMap<&'static str, String>>>,
    pub(crate) lines: Rc<RefCell<Vec<String>>>,
    pub(crate) passed_ms: Rc<Cell<u64>>,
    random: Rc<Cell<u128>>,
    pub(crate) queue: Rc<RefCell<VecDeque<String>>>,
    /// Why the queue takes nothing.
    pub(crate) queue_fails: Rc<RefCell<Option<QueueFailure>>>,
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.passed_ms.get()
    }

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
        Ok(self.variables.borrow().get(name).cloned())
    }

    fn log(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    /// A token has four bytes.
    fn count_tokens(&self, _model: &str, texts: &[&str]) -> Vec<TokenCount> {
        assert!(!texts.is_empty(), "a call that counts nothing");
        let count = |text: &&str| TokenCount { tokens: text.len().div_ceil(4) as u64, is_estimate: true };
        texts.iter().map(count).collect()
    }

    async fn enqueue(&self, path: &str) -> Result<(), QueueFailure> {
        if let Some(failure) = self.queue_fails.borrow().clone() {
            return Err(failure);
        }
        self.queue.borrow_mut().push_back(path.to_owned());
        Ok(())
    }
}

/// A client that keeps what it is sent.
#[derive(Clone, Default)]
struct Client(Rc<RefCell<Vec<u8>>>);

impl Sink for Client {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.0.borrow_mut().extend(bytes);
        Ok(())
    }

    async fn gone(&mut self) {
        pending().await
    }
}

/// The function and everything around it.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) store: Fragile,
    /// Where the index is kept.
    pub(crate) shelf: Fragile,
    pub(crate) model: Model,
    pub(crate) platform: Surroundings,
    /// What the host says of the caller: the values of its field.
    pub(crate) user: Vec<Vec<u8>>,
}

/// A world whose vector stores are searched by words alone.
pub(crate) fn world() -> World {
    let world = World::default();
    world.set("model_origin", "http://model.test");
    world
}

/// A world with an embedding model.
pub(crate) fn embedding_world() -> World {
    let world = world();
    world.set("embedding_model", "short");
    world
}

pub(crate) fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}")).to_owned()
}

/// A form with a file.
pub(crate) fn form(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        let part = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.extend(part.into_bytes());
    }
    if let Some((filename, bytes)) = file {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        form.extend(head.into_bytes());
        form.extend_from_slice(bytes);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--edge--\r\n");
    form
}

impl World {
    pub(crate) fn set(&self, name: &'static str, value: &str) {
        self.platform.variables.borrow_mut().insert(name, value.to_owned());
    }

    /// The same world, called by that user, or by a service.
    pub(crate) fn called_by(&self, user: Option<&str>) -> Self {
        Self { user: user.iter().map(|user| user.as_bytes().to_vec()).collect(), ..self.clone() }
    }

    pub(crate) fn pass_s(&self, seconds: u64) {
        self.platform.passed_ms.set(self.platform.passed_ms.get() + 1000 * seconds);
    }

    pub(crate) async fn answer(
        &self,
        request: Request<'_>,
        chunks: Vec<Vec<u8>>,
        cut: bool,
    ) -> Answer<Fragile, Surroundings> {
        let service = Service {
            store: self.store.clone(),
            index: KeyValueIndex::new(self.shelf.clone()),
            upstream: self.model.clone(),
            platform: self.platform.clone(),
        };
        service.handle(request, Body { chunks: chunks.into(), cut }).await
    }

    /// Sends a request and reads its answer to the end; what is to be done beside it is done.
    pub(crate) fn send(&self, request: Request<'_>, chunks: Vec<Vec<u8>>, cut: bool) -> Reply {
        let request = Request { user: &self.user, ..request };
        futures::executor::block_on(async {
            match self.answer(request, chunks, cut).await {
                Answer::Reply(reply) => reply,
                Answer::Working(answer, work) => {
                    work.run().await;
                    let Answer::Reply(reply) = *answer else { panic!("work beside a stream") };
                    reply
                }
                Answer::Stream(download) => {
                    let headers = download.headers().iter().map(|(name, value)| (*name, (*value).to_owned()));
                    let headers = headers.collect();
                    let client = Client::default();
                    download.run(client.clone()).await;
                    Reply { status: 200, headers, body: client.0.take() }
                }
            }
        })
    }

    pub(crate) fn exchange(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { vec![body.to_string().into_bytes()] };
        let content_type = (!body.is_empty()).then_some("application/json");
        let request = Request { method, path_with_query: path, content_type, ..Request::default() };
        self.send(request, body, false)
    }

    /// Sends a request and reads its JSON answer, which must have this status.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let reply = self.exchange(method, path, body);
        let text = String::from_utf8(reply.body).unwrap();
        assert!(!text.contains("secret"), "{method} {path} tells of the inside: {text}");
        assert_eq!(reply.status, status, "{method} {path} {body:.200}: {text:.1000}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.json("GET", path, &Value::Null, 200)
    }

    /// Sends a form in chunks of so many bytes.
    pub(crate) fn send_form(&self, form: &[u8], chunk_bytes: usize, cut: bool) -> Reply {
        let request = Request {
            method: "POST",
            path_with_query: "/v1/files",
            content_type: Some("multipart/form-data; boundary=edge"),
            ..Request::default()
        };
        self.send(request, form.chunks(chunk_bytes).map(<[u8]>::to_vec).collect(), cut)
    }

    /// Uploads a file; its object.
    pub(crate) fn upload_object(&self, fields: &[(&str, &str)], filename: &str, bytes: &[u8]) -> Value {
        let reply = self.send_form(&form(fields, Some((filename, bytes))), 64 << 10, false);
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Uploads a text; its id.
    pub(crate) fn upload(&self, filename: &str, text: &str) -> String {
        id(&self.upload_object(&[("purpose", "assistants")], filename, text.as_bytes()))
    }

    /// Makes a vector store of these files; its id.
    pub(crate) fn create_store(&self, files: &[&str]) -> String {
        id(&self.json("POST", "/v1/vector_stores", &json!({"name": "s", "file_ids": files}), 200))
    }

    /// Delivers one piece of work as a host does, until it is done or its attempts are used up.
    pub(crate) fn deliver(&self, path: &str) -> bool {
        (1..=ATTEMPTS_MAX).any(|attempt| {
            self.pass_s(1);
            self.deliver_once(path, attempt == ATTEMPTS_MAX).status < 300
        })
    }

    /// Delivers one piece of work once.
    pub(crate) fn deliver_once(&self, path: &str, last: bool) -> Reply {
        let request = Request {
            method: "POST",
            path_with_query: path,
            work: Some(Delivery { last }),
            ..Request::default()
        };
        self.send(request, Vec::new(), false)
    }

    /// Delivers all that is queued, and what comes of it.
    pub(crate) fn drain(&self) {
        for _ in 0..10_000 {
            let Some(path) = self.platform.queue.borrow_mut().pop_front() else { return };
            self.deliver(&path);
        }
        panic!("the queue does not get empty");
    }

    /// Delivers so much of what is queued.
    pub(crate) fn drain_some(&self, pieces: usize) {
        for _ in 0..pieces {
            let Some(path) = self.platform.queue.borrow_mut().pop_front() else { return };
            self.deliver(&path);
        }
    }

    /// The status of a file in a vector store.
    pub(crate) fn status(&self, store: &str, file: &str) -> String {
        let member = self.get(&format!("/v1/vector_stores/{store}/files/{file}"));
        member["status"].as_str().unwrap().to_owned()
    }

    /// What a search finds: for each result its file and its text.
    pub(crate) fn search(&self, store: &str, query: &str) -> Vec<(String, String)> {
        let body = json!({"query": query, "max_num_results": 50});
        let page = self.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 200);
        let results = page["data"].as_array().unwrap().iter();
        results
            .map(|result| {
                let text = result["content"][0]["text"].as_str().unwrap().to_owned();
                (result["file_id"].as_str().unwrap().to_owned(), text)
            })
            .collect()
    }

    /// Counts of the files of a vector store: in progress, completed, failed, cancelled.
    pub(crate) fn counts(&self, store: &str) -> [u64; 4] {
        let counts = self.get(&format!("/v1/vector_stores/{store}"))["file_counts"].clone();
        let counted =
            ["in_progress", "completed", "failed", "cancelled"].map(|name| counts[name].as_u64().unwrap());
        assert_eq!(counts["total"], json!(counted.iter().sum::<u64>()));
        counted
    }

    /// The keys of the store that begin with `prefix`.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.inner.dump().into_keys().filter(|key| key.starts_with(prefix)).collect()
    }

    /// The texts that were embedded since the last call.
    pub(crate) fn embedded(&self) -> Vec<String> {
        self.model.embedded.take().into_iter().map(|(_, text)| text).collect()
    }
}

/// A text of paragraphs that are a chunk each, where chunks have 100 tokens.
pub(crate) fn paragraphs(names: &[&str]) -> String {
    let filler =
        "the rest of this paragraph says nothing that anybody would ever want to find again. ".repeat(4);
    names.iter().map(|name| format!("# About {name}\n\nThe {name} is described here: {filler}\n\n")).collect()
}
