//! The function without its host: a network that answers by script, a store in memory, a clock that goes on when somebody
//! sleeps.

use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use waggle_conversation::memory::MemoryStore;
use waggle_mcp::{Fetch, FetchRequest, FetchResponse};
use waggle_model::transport::{ChunkSource, TransportFailure};
use waggle_platform::{
    Delivery, Gone, NeighbourAnswer, NeighbourCall, Platform, QueueFailure, Reply, Request, Sink, TokenCount,
};
use waggle_tool::wire::CallReply;
use waggle_toolbox::{Answer, Memory, Service};

/// How far the clock goes on whenever somebody who sleeps is looked at.
const TICK_MS: u64 = 100;
/// Where the registry is.
pub(crate) const HOST: &str = "http://tools.waggle.internal";

/// A body in chunks.
pub(crate) struct Body(VecDeque<Vec<u8>>);

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.pop_front())
    }
}

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Scripted {
    /// It is answered.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// It is not.
    Fails(TransportFailure),
    /// Nothing ever comes.
    Silence,
}

pub(crate) fn answers(status: u16, body: &Value) -> Scripted {
    let json = vec![("content-type", "application/json".to_owned())];
    Scripted::Answer(status, json, body.to_string().into_bytes())
}

/// The network: each address has its answers, of which the last stays.
#[derive(Clone, Default)]
pub(crate) struct Net {
    pub(crate) seen: Rc<RefCell<Vec<FetchRequest>>>,
    scripts: Rc<RefCell<BTreeMap<String, VecDeque<Scripted>>>>,
    registry: Rc<RefCell<Option<(u32, Value)>>>,
}

impl Net {
    /// What requests get whose addresses begin with `url`.
    pub(crate) fn script(&self, url: &str, answers: impl IntoIterator<Item = Scripted>) {
        self.scripts.borrow_mut().insert(url.to_owned(), answers.into_iter().collect());
    }

    /// The requests to addresses that begin so.
    pub(crate) fn to(&self, url: &str) -> Vec<FetchRequest> {
        let seen = self.seen.borrow();
        seen.iter().filter(|request| request.url.starts_with(url)).cloned().collect()
    }

    fn of_registry(&self, request: &FetchRequest) -> Scripted {
        let Some((revision, registry)) = self.registry.borrow().clone() else {
            return Scripted::Fails(TransportFailure::Unreachable("nobody".to_owned()));
        };
        let etag = format!("\"{revision}\"");
        if request.headers.contains(&("if-none-match".to_owned(), etag.clone())) {
            return Scripted::Answer(304, Vec::new(), Vec::new());
        }
        Scripted::Answer(200, vec![("etag", etag)], registry.to_string().into_bytes())
    }

    fn next(&self, request: &FetchRequest) -> Scripted {
        if request.url == format!("{HOST}/v1/tools") && request.method == "GET" {
            return self.of_registry(request);
        }
        let mut scripts = self.scripts.borrow_mut();
        let found = scripts.iter_mut().rev().find(|(url, _)| request.url.starts_with(url.as_str()));
        let (_, answers) =
            found.unwrap_or_else(|| panic!("nobody answers {} {}", request.method, request.url));
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers.front().unwrap().clone() }
    }
}

impl Fetch for Net {
    type Body = Body;

    async fn send(&self, request: FetchRequest) -> Result<FetchResponse<Body>, TransportFailure> {
        let next = self.next(&request);
        self.seen.borrow_mut().push(request);
        match next {
            Scripted::Answer(status, headers, body) => {
                let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                let chunks = body.chunks(1000).map(<[u8]>::to_vec).collect();
                Ok(FetchResponse { status, headers, body: Body(chunks) })
            }
            Scripted::Fails(failure) => Err(failure),
            Scripted::Silence => pending().await,
        }
    }
}

/// The clock, variables, the log, and other functions.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    variables: Rc<RefCell<BTreeMap<&'static str, String>>>,
    pub(crate) lines: Rc<RefCell<Vec<String>>>,
    pub(crate) passed_ms: Rc<Cell<u64>>,
    random: Rc<Cell<u128>>,
    /// What other functions answer.
    pub(crate) neighbours: Rc<RefCell<BTreeMap<&'static str, (u16, Value)>>>,
    /// What they were asked: the function, the path, the body.
    pub(crate) asked: Rc<RefCell<Vec<(String, String, Value)>>>,
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_785_240_000_000 + self.passed_ms.get()
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

    fn count_tokens(&self, _model: &str, _texts: &[&str]) -> Vec<TokenCount> {
        panic!("nothing is counted here")
    }

    async fn enqueue(&self, _path: &str) -> Result<(), QueueFailure> {
        Err(QueueFailure::Absent)
    }

    async fn call_neighbour(&self, call: NeighbourCall<'_>) -> Result<NeighbourAnswer, TransportFailure> {
        let body = serde_json::from_slice(&call.body).unwrap();
        self.asked.borrow_mut().push((call.function.to_owned(), call.path.to_owned(), body));
        let answer = self.neighbours.borrow().get(call.function).cloned();
        let (status, body) = answer.ok_or_else(|| TransportFailure::Unreachable(call.function.to_owned()))?;
        Ok(NeighbourAnswer { status, retry_after: None, body: body.to_string().into_bytes() })
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
    pub(crate) store: MemoryStore,
    pub(crate) net: Net,
    pub(crate) platform: Surroundings,
    memory: Rc<Memory>,
    user: Vec<Vec<u8>>,
}

/// A function of a tool.
pub(crate) fn function(name: &str, changes: &Value) -> Value {
    let mut function = json!({"name": name, "description": format!("Does {name}."), "side_effects": false,
        "needs_approval": false, "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}});
    for (name, value) in changes.as_object().unwrap() {
        function[name] = value.clone();
    }
    function
}

/// A tool of the registry.
pub(crate) fn tool(name: &str, kind: &Value, functions: &[Value]) -> Value {
    let mut tool = json!({"name": name, "description": "d", "version": "1", "digest": "sha256:1",
        "functions": functions, "time_ms_max": 10_000, "output_bytes_max": 10_000});
    for (name, value) in kind.as_object().unwrap() {
        tool[name] = value.clone();
    }
    tool
}

/// A component tool.
pub(crate) fn component(name: &str, functions: &[Value]) -> Value {
    tool(name, &json!({"kind": "component"}), functions)
}

/// A world whose host has these tools.
pub(crate) fn world(tools: &Value) -> World {
    let world = World::default();
    world.register(tools);
    world
}

impl World {
    pub(crate) fn set(&self, name: &'static str, value: &str) {
        self.platform.variables.borrow_mut().insert(name, value.to_owned());
    }

    /// From now on the host has these tools.
    pub(crate) fn register(&self, tools: &Value) {
        let mut registry = self.net.registry.borrow_mut();
        let revision = registry.as_ref().map_or(1, |(revision, _)| revision + 1);
        *registry = Some((revision, json!({"revision": revision.to_string(), "data": tools})));
    }

    /// The same world, called by that user.
    pub(crate) fn called_by(&self, user: &str) -> Self {
        Self { user: vec![user.as_bytes().to_vec()], ..self.clone() }
    }

    pub(crate) fn pass_s(&self, seconds: u64) {
        self.platform.passed_ms.set(self.platform.passed_ms.get() + 1000 * seconds);
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) fn send(&self, request: Request<'_>, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let service = Service {
            store: self.store.clone(),
            fetch: self.net.clone(),
            platform: self.platform.clone(),
            memory: Rc::clone(&self.memory),
        };
        let request = Request { user: &self.user, ..request };
        let headers: Vec<(String, Vec<u8>)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let body = Body(VecDeque::from([body.to_vec()]));
        futures::executor::block_on(async {
            match service.handle(request, &headers, body).await {
                Answer::Reply(reply) => reply,
                Answer::Stream(call) => {
                    let client = Client::default();
                    call.run(client.clone()).await;
                    Reply { status: 200, headers: Vec::new(), body: client.0.take() }
                }
            }
        })
    }

    /// The same with JSON, which is expected to be answered with this status.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request { method, path_with_query: path, ..Request::default() };
        let reply = self.send(request, &[], &bytes);
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, status, "{method} {path}: {text}");
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The same as the host delivers it.
    pub(crate) fn deliver(&self, path: &str, body: &Value, status: u16) -> Value {
        let work = Some(Delivery { last: false });
        let request = Request { method: "POST", path_with_query: path, work, ..Request::default() };
        let reply = self.send(request, &[], body.to_string().as_bytes());
        assert_eq!(reply.status, status, "{path}: {}", String::from_utf8_lossy(&reply.body));
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// Makes a call, with changes to what is asked.
    pub(crate) fn call_with(
        &self,
        label: &str,
        function: &str,
        arguments: &str,
        changes: &Value,
    ) -> CallReply {
        let digest = if label == "waggle" { "waggle:1" } else { "sha256:1" };
        let mut asked = json!({"label": label, "function": function, "digest": digest, "arguments": arguments,
            "idempotency_key": "key-1", "response": "resp_1"});
        for (name, value) in changes.as_object().unwrap() {
            asked[name] = value.clone();
        }
        serde_json::from_value(self.json("POST", "/v1/tools/call", &asked, 200)).unwrap()
    }

    /// Makes a call.
    pub(crate) fn call(&self, label: &str, function: &str, arguments: &str) -> CallReply {
        self.call_with(label, function, arguments, &json!({}))
    }

    /// The audit log, newest first.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let list = self.json("GET", "/v1/tools/audit?limit=100", &Value::Null, 200);
        list["data"].as_array().unwrap().clone()
    }
}
