//! The function without its host: a scripted model, a store in memory, a client that keeps what it is sent.

use crate::rights_elsewhere::Elsewhere;
use crate::tools::{Tools, desk};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use waggle_chat::platform::{
    Gone, NeighbourAnswer, NeighbourCall, NeighbourMethod, Platform, QueueFailure, Sink, TokenCount,
};
use waggle_chat::reply::STREAM_HEADERS;
use waggle_chat::{Answer, Delivery, Reply, Request, Service};
use waggle_conversation::memory::MemoryStore;
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};

/// How far the clock goes on whenever somebody who sleeps is looked at.
const TICK_MS: u64 = 10;

/// A piece of a scripted body.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Fails(TransportFailure),
    Hangs,
}

/// What the model does when it is called.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    Answers {
        status: u16,
        content_type: &'static str,
        retry_after: Option<&'static str>,
        body: Vec<Piece>,
    },
    Fails(TransportFailure),
    /// Says again what the last message says.
    Echoes,
}

pub(crate) fn bytes(text: &str) -> Piece {
    Piece::Bytes(text.as_bytes().to_vec())
}

/// A whole completion that says `text`.
pub(crate) fn says(text: &str) -> Script {
    let body = serde_json::json!({"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}});
    answers(200, "application/json", &body.to_string())
}

pub(crate) fn answers(status: u16, content_type: &'static str, body: &str) -> Script {
    Script::Answers { status, content_type, retry_after: None, body: vec![bytes(body)] }
}

pub(crate) fn streams(body: Vec<Piece>) -> Script {
    Script::Answers { status: 200, content_type: "text/event-stream", retry_after: None, body }
}

/// An event of a streamed completion that says `text`.
pub(crate) fn delta(text: &str) -> String {
    format!("data: {}\n\n", serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// The events that end a streamed completion.
pub(crate) fn ending(reason: &str) -> String {
    let finish = serde_json::json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    let usage = serde_json::json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}});
    format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// What a model does, by what it is asked.
pub(crate) type Acts = Rc<dyn Fn(&Value) -> Script>;

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) scripts: Rc<RefCell<VecDeque<Script>>>,
    pub(crate) requests: Rc<RefCell<Vec<UpstreamRequest>>>,
    /// How many bodies were dropped.
    pub(crate) dropped: Rc<Cell<usize>>,
    /// Which model the host says has answered.
    pub(crate) answers_as: Rc<Cell<Option<&'static str>>>,
    /// What it says its tokens cost.
    pub(crate) price: Rc<Cell<Option<&'static str>>>,
    /// What the model does, by what it is asked, where that is not scripted.
    pub(crate) acts: Rc<RefCell<Option<Acts>>>,
}

pub(crate) struct Body {
    pieces: VecDeque<Piece>,
    dropped: Rc<Cell<usize>>,
}

impl Drop for Body {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
    }
}

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        match self.pieces.pop_front() {
            None => Ok(None),
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::Fails(failure)) => Err(failure),
            Some(Piece::Hangs) => pending().await,
        }
    }
}

impl Upstream for Model {
    type Body = Body;

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamResponse<Body>, TransportFailure> {
        let acts = self.acts.borrow().clone();
        let mut script = match (self.scripts.borrow_mut().pop_front(), acts) {
            (Some(script), _) => script,
            (None, Some(acts)) => {
                acts(&serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).unwrap())
            }
            (None, None) => panic!("the model was called once too often"),
        };
        if matches!(script, Script::Echoes) {
            let body: Value = serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).unwrap();
            script = says(body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap());
        }
        self.requests.borrow_mut().push(request);
        match script {
            Script::Echoes => unreachable!("it is an answer by now"),
            Script::Fails(failure) => Err(failure),
            Script::Answers { status, content_type, retry_after, body } => Ok(UpstreamResponse {
                status,
                content_type: Some(content_type.to_owned()),
                retry_after: retry_after.map(str::to_owned),
                model: self.answers_as.get().map(str::to_owned),
                price: self.price.get().map(str::to_owned),
                body: Body { pieces: body.into(), dropped: self.dropped.clone() },
            }),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) variables: Rc<RefCell<Vec<(&'static str, String)>>>,
    /// A variable that cannot be read.
    pub(crate) unreadable: Rc<Cell<Option<&'static str>>>,
    pub(crate) lines: Rc<RefCell<Vec<String>>>,
    /// How far the clock has gone on since the test began.
    pub(crate) passed_ms: Rc<Cell<u64>>,
    random: Rc<Cell<u128>>,
    /// As which models tokens were counted, a call each.
    pub(crate) counts: Rc<RefCell<Vec<String>>>,
    /// What was handed to the host's queue.
    pub(crate) queue: Rc<RefCell<Vec<String>>>,
    /// Why the queue takes nothing.
    pub(crate) queue_fails: Rc<RefCell<Option<QueueFailure>>>,
    /// What the retrieval function answers to searches, one after the other.
    pub(crate) knowledge: Rc<RefCell<VecDeque<Result<NeighbourAnswer, TransportFailure>>>>,
    /// Whether it keeps no answers.
    pub(crate) keeping_fails: Rc<Cell<bool>>,
    /// The tools function.
    pub(crate) tools: Tools,
    /// What it answers to calls instead, one after the other, where a desk is told.
    pub(crate) desk: Rc<RefCell<VecDeque<NeighbourAnswer>>>,
    /// What functions were called with: path and body.
    pub(crate) looked_up: Rc<RefCell<Vec<(String, Value)>>>,
    /// What they keep of users.
    pub(crate) elsewhere: Elsewhere,
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.passed_ms.get()
    }

    /// Time flies when somebody sleeps: all who do share one clock, which goes on a little whenever one of them is looked at.
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

    /// A token has four bytes; a model that is called so counts one for each byte.
    fn count_tokens(&self, model: &str, texts: &[&str]) -> Vec<TokenCount> {
        assert!(!texts.is_empty(), "a call that counts nothing");
        self.counts.borrow_mut().push(model.to_owned());
        let tokens = |text: &str| if model == "bytes" { text.len() } else { text.len().div_ceil(4) };
        let count = |text: &&str| TokenCount { tokens: tokens(text) as u64, is_estimate: model != "bytes" };
        texts.iter().map(count).collect()
    }

    async fn enqueue(&self, path: &str) -> Result<(), QueueFailure> {
        if let Some(failure) = self.queue_fails.borrow().clone() {
            return Err(failure);
        }
        self.queue.borrow_mut().push(path.to_owned());
        Ok(())
    }

    async fn call_neighbour(&self, call: NeighbourCall<'_>) -> Result<NeighbourAnswer, TransportFailure> {
        if call.method != NeighbourMethod::Post {
            return self.elsewhere.answer(&call);
        }
        if call.function == "tools" && self.desk.borrow().is_empty() {
            return self.tools.answer(self, call).await;
        }
        let body = serde_json::from_slice(&call.body).expect("a body of JSON");
        self.looked_up.borrow_mut().push((call.path.to_owned(), body));
        if call.function == "tools" {
            let answer =
                if call.path == "/v1/tools/catalog" { desk() } else { self.desk.borrow_mut().pop_front() };
            return Ok(answer.expect("a tool was called once too often"));
        }
        assert_eq!(call.function, "retrieval");
        if call.path == "/v1/retrieval/answers" {
            let status = if self.keeping_fails.get() { 503 } else { 204 };
            return Ok(NeighbourAnswer { status, retry_after: None, body: Vec::new() });
        }
        assert_eq!(call.path, "/v1/retrieval/search");
        self.knowledge.borrow_mut().pop_front().expect("it was searched once too often")
    }
}

/// A client that reads a stream; it goes away after so many writes.
#[derive(Clone, Default)]
pub(crate) struct Client {
    pub(crate) writes: Rc<RefCell<Vec<String>>>,
    pub(crate) leaves_after: Option<usize>,
    /// Whether it notices only when it is written to.
    pub(crate) silent: bool,
}

impl Client {
    fn has_left(&self) -> bool {
        self.leaves_after.is_some_and(|writes| self.writes.borrow().len() >= writes)
    }
}

impl Sink for Client {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        if self.has_left() {
            return Err(Gone);
        }
        self.writes.borrow_mut().push(String::from_utf8(bytes).expect("events are UTF-8"));
        Ok(())
    }

    async fn gone(&mut self) {
        if self.silent || !self.has_left() {
            pending().await
        }
    }
}

/// The function and everything around it.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) model: Model,
    pub(crate) platform: Surroundings,
    /// What the host says of the caller: the values of its field.
    pub(crate) user: Vec<Vec<u8>>,
}

pub(crate) fn world() -> World {
    let world = World::default();
    world.set("model_origin", "http://model.test/");
    world.set("model", "sim");
    // What the model's failures become is told by the tests of the fallback; in all others they are errors.
    world.set("fallback", "error");
    world
}

impl World {
    pub(crate) fn set(&self, name: &'static str, value: &str) {
        self.platform.variables.borrow_mut().insert(0, (name, value.to_owned()));
    }

    /// The same world, called by that user, or by a service.
    pub(crate) fn called_by(&self, user: Option<&str>) -> Self {
        Self { user: user.iter().map(|user| user.as_bytes().to_vec()).collect(), ..self.clone() }
    }

    pub(crate) fn script(&self, script: Script) {
        self.model.scripts.borrow_mut().push_back(script);
    }

    /// The bodies of the requests the model got.
    pub(crate) fn asked(&self) -> Vec<Value> {
        let requests = self.model.requests.borrow();
        requests
            .iter()
            .map(|request| serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).unwrap())
            .collect()
    }

    /// The texts of the messages of the last request.
    pub(crate) fn last_messages(&self) -> Vec<String> {
        let asked = self.asked();
        let messages = asked.last().unwrap()["messages"].as_array().unwrap().clone();
        messages.iter().map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) async fn answer(
        &self,
        request: Request<'_>,
        body: Vec<Piece>,
    ) -> Answer<MemoryStore, Surroundings, Body> {
        let service = Service {
            store: self.store.clone(),
            upstream: self.model.clone(),
            platform: self.platform.clone(),
        };
        service.handle(request, Body { pieces: body.into(), dropped: Rc::default() }).await
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        let request = Request {
            method,
            path_with_query: path,
            content_type: (!body.is_empty()).then_some("application/json"),
            content_length: None,
            accept_language: None,
            user: &self.user,
            ..Request::default()
        };
        match futures::executor::block_on(self.answer(request, vec![bytes(body)])) {
            Answer::Reply(reply) => reply,
            Answer::Working(answer, work) => {
                futures::executor::block_on(work.run());
                let Answer::Reply(reply) = *answer else { panic!("work beside a stream") };
                reply
            }
            Answer::Stream(_) => panic!("a stream where a whole answer was expected"),
        }
    }

    /// What the retrieval function is to find next.
    pub(crate) fn finds(&self, found: &Value) {
        self.search_answers(200, found);
    }

    /// What it is to answer next.
    pub(crate) fn search_answers(&self, status: u16, body: &Value) {
        let answer = NeighbourAnswer { status, retry_after: None, body: body.to_string().into_bytes() };
        self.platform.knowledge.borrow_mut().push_back(Ok(answer));
    }

    /// The bodies of the calls of that path.
    pub(crate) fn looked_up(&self, path: &str) -> Vec<Value> {
        let calls = self.platform.looked_up.borrow();
        calls.iter().filter(|(known, _)| known == path).map(|(_, body)| body.clone()).collect()
    }

    /// Sends a request and reads its JSON answer, which must have this status.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.send(method, path, &body);
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, status, "{method} {path} {body}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A plain turn to which the model answers `answer`.
    pub(crate) fn turn(&self, body: &Value, answer: &str) -> Value {
        self.script(says(answer));
        self.json("POST", "/v1/responses", body, 200)
    }

    /// A streamed answer, read to its end by `client`.
    pub(crate) fn stream(&self, path: &str, body: &Value, client: &Client) {
        let request = Request {
            method: "POST",
            path_with_query: path,
            content_type: Some("application/json"),
            content_length: None,
            accept_language: None,
            user: &self.user,
            ..Request::default()
        };
        futures::executor::block_on(async {
            match self.answer(request, vec![bytes(&body.to_string())]).await {
                Answer::Reply(reply) => {
                    panic!("no stream but {} {}", reply.status, String::from_utf8_lossy(&reply.body))
                }
                Answer::Stream(stream) => stream.run(client.clone()).await,
                Answer::Working(..) => panic!("work beside a stream"),
            }
        });
    }

    /// Sends a request and reads its answer to the end, streamed or not; a stream's body is all that was written.
    pub(crate) fn exchange(&self, path: &str, body: &Value, accept_language: Option<&str>) -> Reply {
        let request = Request {
            method: "POST",
            path_with_query: path,
            content_type: Some("application/json"),
            content_length: None,
            accept_language,
            user: &self.user,
            ..Request::default()
        };
        futures::executor::block_on(async {
            match self.answer(request, vec![bytes(&body.to_string())]).await {
                Answer::Reply(reply) => reply,
                Answer::Stream(stream) => {
                    let client = Client::default();
                    stream.run(client.clone()).await;
                    let body = client.writes.borrow().concat().into_bytes();
                    let headers = STREAM_HEADERS.map(|(name, value)| (name, value.to_owned()));
                    Reply { status: 200, headers: headers.to_vec(), body }
                }
                Answer::Working(answer, work) => {
                    work.run().await;
                    let Answer::Reply(reply) = *answer else { panic!("work beside a stream") };
                    reply
                }
            }
        })
    }

    /// Delivers what was queued last, to its end.
    pub(crate) fn deliver(&self, last: bool) -> Reply {
        let path = self.platform.queue.borrow().last().expect("something queued").clone();
        futures::executor::block_on(self.deliver_at(&path, last))
    }

    /// Calls the function as the host does when it delivers work.
    pub(crate) async fn deliver_at(&self, path: &str, last: bool) -> Reply {
        let request = Request {
            method: "POST",
            path_with_query: path,
            content_type: Some("application/json"),
            user: &self.user,
            work: Some(Delivery { last }),
            ..Request::default()
        };
        match self.answer(request, Vec::new()).await {
            Answer::Reply(reply) => reply,
            _ => panic!("no whole answer"),
        }
    }

    /// The keys of what conversations hold: all but their counters and tombstones. No turn's place may be open.
    pub(crate) fn joined(&self) -> Vec<String> {
        let store = self.store.dump();
        for (key, newest) in store.iter().filter(|(key, _)| key.ends_with("/sequence")) {
            let newest: u64 = std::str::from_utf8(newest).unwrap().parse().unwrap();
            for number in 1..=newest {
                let key = key.replace("sequence", &format!("entry/{number:012}"));
                let entry = store.get(&key).unwrap_or_else(|| panic!("{key} is open"));
                assert!(!String::from_utf8_lossy(entry).contains("pending_until_ms"), "{key} is open");
            }
        }
        let abandoned = |value: &[u8]| String::from_utf8_lossy(value).contains("\"abandoned\":true");
        let held = store.iter().filter(|(key, value)| {
            key.starts_with("conversation/") && !key.ends_with("/sequence") && !abandoned(value)
        });
        held.map(|(key, _)| key.clone()).collect()
    }

    /// The lines of a streamed answer, each as JSON.
    pub(crate) fn lines(&self, method: &str, path: &str) -> Vec<Value> {
        let text = self.whole_stream(method, path);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All of a streamed answer.
    pub(crate) fn whole_stream(&self, method: &str, path: &str) -> String {
        let request = Request {
            method,
            path_with_query: path,
            content_type: None,
            content_length: None,
            accept_language: None,
            user: &self.user,
            ..Request::default()
        };
        futures::executor::block_on(async {
            match self.answer(request, Vec::new()).await {
                Answer::Reply(reply) => panic!("no stream but {}: {:?}", reply.status, reply.body),
                Answer::Stream(stream) => {
                    assert_eq!(stream.headers()[0], ("content-type", "application/x-ndjson"));
                    let client = Client::default();
                    stream.run(client.clone()).await;
                    client.writes.borrow().concat()
                }
                Answer::Working(..) => panic!("work beside a stream"),
            }
        })
    }

    /// Posts `body` with an idempotency key.
    pub(crate) fn once(&self, path: &str, key: &str, body: &Value) -> Reply {
        let keys = [key.as_bytes().to_vec()];
        let request = Request {
            method: "POST",
            path_with_query: path,
            idempotency_key: &keys,
            user: &self.user,
            ..Request::default()
        };
        match futures::executor::block_on(self.answer(request, vec![bytes(&body.to_string())])) {
            Answer::Reply(reply) => reply,
            Answer::Working(answer, work) => {
                futures::executor::block_on(work.run());
                let Answer::Reply(reply) = *answer else { panic!("work beside a stream") };
                reply
            }
            Answer::Stream(_) => panic!("no whole answer"),
        }
    }

    /// The keys of the store that begin with `prefix`.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.dump().into_keys().filter(|key| key.starts_with(prefix)).collect()
    }
}

/// The events of a stream: type and data.
pub(crate) fn events(client: &Client) -> Vec<(String, Value)> {
    read_events(&client.writes.borrow().concat())
}

/// The events in a text: type and data.
pub(crate) fn read_events(text: &str) -> Vec<(String, Value)> {
    text.split_terminator("\n\n")
        .filter(|block| !matches!(*block, ":" | "data: [DONE]"))
        .map(|block| {
            let (event, data) = block.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            (event.strip_prefix("event: ").unwrap().to_owned(), data)
        })
        .collect()
}

pub(crate) fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

/// What a search has found: two chunks of one file and one of another.
pub(crate) fn found() -> Value {
    let result = |file: &str, score: f64, text: &str| {
        serde_json::json!({"file_id": format!("file_{file}"), "filename": format!("{file}.md"), "score": score,
            "attributes": {"lang": "en"}, "content": [{"type": "text", "text": text}], "vector_store_id": "vs_1"})
    };
    serde_json::json!({"object": "vector_store.search_results.page", "search_query": ["opening hours"],
        "data": [result("hours", 0.9, "We open at nine."), result("shops", 0.8, "The shop in Rome opens at ten."),
            result("hours", 0.7, "We close at six.")],
        "has_more": false, "next_page": null,
        "waggle": {"search": "hybrid", "rewritten": false, "passed_threshold": true, "no_answer": null, "handover": false,
            "extractive": {"text": "We open at nine. [1]"}, "answer_key": "key-1"}})
}

/// What a search says that has found nothing worth an answer.
pub(crate) fn found_nothing(handover: bool) -> Value {
    serde_json::json!({"object": "vector_store.search_results.page", "search_query": ["opening hours"], "data": [],
        "has_more": false, "next_page": null,
        "waggle": {"search": "hybrid", "rewritten": false, "passed_threshold": false, "no_answer": "I found nothing.",
            "handover": handover, "extractive": null}})
}

/// A turn with the tool that searches.
pub(crate) fn asks(input: &str) -> Value {
    serde_json::json!({"input": input, "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]})
}

pub(crate) fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}
