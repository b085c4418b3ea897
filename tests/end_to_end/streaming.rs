//! Streams: each token when it is made, events complete and in order, and never a word too early about being done.

use crate::support::{PATIENCE, Server, Setup, client, get, post};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A stream of events as it arrives.
pub(crate) struct Events {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// One event.
pub(crate) struct Event {
    /// Its `event` field; empty when it has none.
    pub(crate) name: String,
    /// Its `data` field.
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }
}

impl Events {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self { response, buffer: Vec::new() }
    }

    /// Asks for a stream, which must begin.
    async fn open(server: &Server, path: &str, body: &Value) -> Self {
        let response = client().post(server.url(path)).json(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self::new(response)
    }

    /// The next event; `None` at the proper end of the stream.
    ///
    /// # Errors
    /// The stream was cut off.
    pub(crate) async fn next(&mut self) -> reqwest::Result<Option<Event>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match parse(&String::from_utf8(block).unwrap()) {
                    // A comment, which keeps the connection busy.
                    event if event.data.is_empty() => continue,
                    event => return Ok(Some(event)),
                }
            }
            let Some(more) = self.response.chunk().await? else {
                assert!(self.buffer.is_empty(), "the stream ends inside an event");
                return Ok(None);
            };
            self.buffer.extend_from_slice(&more);
        }
    }

    /// The next event, which must come.
    async fn expect(&mut self) -> Event {
        timeout(PATIENCE, self.next()).await.expect("an event is due").unwrap().expect("the stream ended")
    }

    /// The text of the next event that carries some of the answer.
    async fn delta(&mut self) -> String {
        loop {
            let event = self.expect().await;
            let json = event.json();
            let delta =
                if event.name.is_empty() { &json["choices"][0]["delta"]["content"] } else { &json["delta"] };
            if let Some(text) = delta.as_str().filter(|text| !text.is_empty()) {
                return text.to_owned();
            }
        }
    }

    /// All that is still to come.
    async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = timeout(PATIENCE, self.next()).await.expect("an event is due").unwrap() {
            events.push(event);
        }
        events
    }

    /// All that is still to come of a turn, but for what says that nothing comes any more.
    async fn rest_of_turn(&mut self) -> Vec<Event> {
        let mut events = self.rest().await;
        assert_eq!(events.pop().map(|last| last.data).as_deref(), Some("[DONE]"));
        events
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event { name: String::new(), data: String::new() };
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => value.clone_into(&mut event.name),
            Some(("data", value)) => event.data.push_str(value),
            _ => {}
        }
    }
    event
}

/// A model that says a word when the test says so, to one request.
struct HeldModel {
    address: SocketAddr,
    words: mpsc::UnboundedSender<String>,
}

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

impl HeldModel {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (words, mut said) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            let mut stream = accept(&listener).await;
            while let Some(word) = said.recv().await {
                stream.write_all(word.as_bytes()).await.unwrap();
            }
        });
        Self { address, words }
    }

    fn server(&self) -> Server {
        started_with(self.address)
    }

    fn say(&self, word: &str) {
        self.words.send(said(word)).unwrap();
    }

    fn finish(self) {
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        self.words.send(format!("data: {end}\n\ndata: [DONE]\n\n")).unwrap();
    }
}

fn said(word: &str) -> String {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "held",
        "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": null}]});
    format!("data: {chunk}\n\n")
}

/// Takes a connection, reads its request, and begins a stream.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    let head = loop {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request ends early");
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let length = String::from_utf8_lossy(&request[..head])
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())
        .expect("the request has a length");
    while request.len() < head + length {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request ends early");
    }
    stream.write_all(STREAM_HEAD).await.unwrap();
    stream
}

fn started_with(model: SocketAddr) -> Server {
    Setup::application().env("OPENAI_BASE_URL", &format!("http://{model}/v1")).start()
}

async fn new_conversation(server: &Server) -> String {
    let (_, conversation) = post(&client(), &server.url("/v1/conversations"), &json!({})).await;
    conversation["id"].as_str().unwrap().to_owned()
}

async fn items(server: &Server, conversation: &str) -> Vec<Value> {
    let path = format!("/v1/conversations/{conversation}/items?order=asc");
    let (status, page) = get(&client(), &server.url(&path)).await;
    assert_eq!(status, 200, "{page}");
    page["data"].as_array().unwrap().clone()
}

/// The model says the next word only when the client has the last: nothing on the way waits for more.
async fn check_word_by_word(path: &str, body: Value) {
    let model = HeldModel::start().await;
    let server = model.server();
    // An answer has begun when something of it has been said.
    model.say("One");
    let mut events = Events::open(&server, path, &body).await;
    assert_eq!(events.delta().await, "One", "{path}");
    for word in [" two", " three", ".", " 你好", "\n", " end"] {
        model.say(word);
        assert_eq!(events.delta().await, word, "{path}");
    }
    model.finish();
    let last = events.rest().await.pop().unwrap();
    assert_eq!(last.data, "[DONE]", "{path}: {}", last.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_of_a_turn_arrives_before_the_model_makes_the_next() {
    check_word_by_word("/v1/responses", json!({"input": "hi", "stream": true})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_of_a_chat_completion_arrives_before_the_model_makes_the_next() {
    let messages = json!([{"role": "user", "content": "hi"}]);
    check_word_by_word("/v1/chat/completions", json!({"messages": messages, "stream": true})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_reported_complete_only_when_another_connection_can_read_it() {
    let model = HeldModel::start().await;
    let server = model.server();
    let conversation = new_conversation(&server).await;
    let body = json!({"input": "hi", "stream": true, "conversation": conversation});
    model.say("Hello");
    let mut events = Events::open(&server, "/v1/responses", &body).await;
    let created = events.expect().await;
    assert_eq!(created.name, "response.created");
    let id = created.json()["response"]["id"].as_str().unwrap().to_owned();
    let url = server.url(&format!("/v1/responses/{id}"));
    assert_eq!(events.delta().await, "Hello");
    assert_eq!(get(&client(), &url).await.0, 404, "a turn that is not over is not kept");
    assert!(
        items(&server, &conversation).await.is_empty(),
        "a turn that is not over is no part of its conversation"
    );

    model.finish();
    let completed = loop {
        let event = events.expect().await;
        if event.name == "response.completed" {
            break event.json();
        }
    };
    assert_eq!(get(&client(), &url).await, (200, completed["response"].clone()));
    assert_eq!(items(&server, &conversation).await[1], completed["response"]["output"][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_turn_are_complete_in_order_and_numbered() {
    let server = Setup::application().start();
    let body = json!({"input": "one two three", "stream": true});
    let events = Events::open(&server, "/v1/responses", &body).await.rest_of_turn().await;
    let mut names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    let deltas = names.iter().filter(|name| **name == "response.output_text.delta").count();
    assert!(deltas > 1, "{names:?}");
    names.dedup();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    let json: Vec<Value> = events.iter().map(Event::json).collect();
    check_numbers_and_ids(&events, &json);

    let said: String = json.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(said, "You said: one two three");
    let of = |name: &str| &json[events.iter().position(|event| event.name == name).unwrap()];
    assert_eq!(of("response.output_text.done")["text"], said);
    assert_eq!(of("response.content_part.done")["part"]["text"], said);
    let item = &of("response.output_item.done")["item"];
    assert_eq!((&item["status"], &item["content"][0]["text"]), (&json!("completed"), &json!(said)));
    let response = &of("response.completed")["response"];
    assert_eq!((&response["output"], &response["status"]), (&json!([item]), &json!("completed")));
    assert!(response["usage"]["output_tokens"].as_u64() > Some(0), "{response}");
}

/// The numbers have no gap, `type` repeats the name, and each event speaks of the same response and item.
fn check_numbers_and_ids(events: &[Event], json: &[Value]) {
    let last = json.last().unwrap();
    let (response, item) = (&last["response"]["id"], &last["response"]["output"][0]["id"]);
    for (number, (event, json)) in events.iter().zip(json).enumerate() {
        assert_eq!((&json["sequence_number"], &json["type"]), (&json!(number), &json!(event.name)));
        let ids = [
            (&json["response"]["id"], response),
            (&json["item_id"], item),
            (&json["item"]["id"], item),
            (&json["output_index"], &json!(0)),
            (&json["content_index"], &json!(0)),
        ];
        for (actual, expected) in ids {
            assert!(actual.is_null() || actual == expected, "{}: {}", event.name, event.data);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_as_failed_and_leaves_the_conversation_as_it_was() {
    let server = Setup::application().start();
    let conversation = new_conversation(&server).await;
    let told = json!({"input": "My name is Ada.", "conversation": conversation});
    post(&client(), &server.url("/v1/responses"), &told).await;
    let before = items(&server, &conversation).await;
    for fault in ["cut", "cut-mid-event", "reset", "bad-json"] {
        let input = format!("[sim: fault={fault} after=3 tokens=9] hi");
        let body = json!({"input": input, "stream": true, "conversation": conversation});
        let events = Events::open(&server, "/v1/responses", &body).await.rest_of_turn().await;
        let numbers = events.iter().map(|event| event.json()["sequence_number"].as_u64());
        assert!(numbers.eq((0..events.len() as u64).map(Some)), "{fault}");
        let last = events.last().unwrap();
        assert_eq!(last.name, "response.failed", "{fault}");
        let response = &last.json()["response"];
        assert_eq!(response["status"], "failed", "{fault}");
        assert!(
            response["error"]["code"].is_string() && response["error"]["message"].is_string(),
            "{response}"
        );
        let url = server.url(&format!("/v1/responses/{}", response["id"].as_str().unwrap()));
        assert_eq!(get(&client(), &url).await, (200, response.clone()), "{fault}");
        assert_eq!(items(&server, &conversation).await, before, "{fault}");
    }
    let asked = json!({"input": "What is my name?", "conversation": conversation});
    let (_, answer) = post(&client(), &server.url("/v1/responses"), &asked).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "Your name is Ada.", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_before_its_stream_begins_is_an_error_with_a_status() {
    let server = Setup::application().args(&["--variable", "fallback=error"]).start();
    let check = async |directive: &str, status: u16, code: &str| {
        let body = json!({"input": format!("[sim: {directive}] hi"), "stream": true});
        let (actual, error) = post(&client(), &server.url("/v1/responses"), &body).await;
        assert_eq!((actual, error["error"]["code"].as_str()), (status, Some(code)), "{directive}: {error}");
    };
    check("status=500", 503, "model_endpoint_overloaded").await;
    check("status=429", 429, "rate_limit_exceeded").await;
    check("fault=html", 503, "model_endpoint_overloaded").await;
    check("fault=reset", 503, "model_endpoint_overloaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_turn_that_reaches_its_limit_is_incomplete_and_kept() {
    let server = Setup::application().start();
    let conversation = new_conversation(&server).await;
    let body = json!({"input": "[sim: tokens=50] hi", "stream": true, "max_output_tokens": 16,
        "conversation": conversation});
    let last = Events::open(&server, "/v1/responses", &body).await.rest_of_turn().await.pop().unwrap();
    assert_eq!(last.name, "response.incomplete");
    let response = &last.json()["response"];
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens", "{response}");
    assert_eq!(items(&server, &conversation).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_completion_streams_to_its_end_and_says_when_it_broke() {
    let server = Setup::application().start();
    let streamed = async |content: &str| {
        let body = json!({"messages": [{"role": "user", "content": content}], "stream": true});
        Events::open(&server, "/v1/chat/completions", &body).await.rest().await
    };
    let events = streamed("one two").await;
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.data, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(Event::json).collect();
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said: one two");
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["finish_reason"] == "stop"), "{chunks:?}");

    let broken = streamed("[sim: fault=cut-mid-event after=2 tokens=9]").await;
    let last = broken.last().unwrap().json();
    assert_eq!(last["error"]["type"], "server_error", "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_stand_still_hold_nobody_up() {
    const STREAMS: usize = 32;
    let server = Setup::application().start();
    let body = json!({"input": "[sim: fault=hang after=1 tokens=9] hi", "stream": true});
    let mut standing = Vec::new();
    for _ in 0..STREAMS {
        let mut events = Events::open(&server, "/v1/responses", &body).await;
        events.delta().await;
        standing.push(events);
    }
    let answer = async { post(&client(), &server.url("/v1/responses"), &json!({"input": "hi"})).await };
    let (_, answer) = timeout(PATIENCE, answer).await.expect("the answer does not wait for others");
    assert_eq!(answer["status"], "completed");
}

/// How much a flooding model would send, if it were let.
const FLOOD_BYTES: u64 = 192 << 20;
/// What of it may be under way: the buffers of two loopback connections, and a few of the program's own.
const UNDER_WAY_BYTES_MAX: u64 = 64 << 20;
/// A model that cannot send for so long is held back by its reader.
const HELD_BACK: Duration = Duration::from_secs(1);

/// A model that sends as fast as it is let. Counts what it sends; tells when it is held back, and when its reader left.
struct Flood {
    address: SocketAddr,
    sent_bytes: Arc<AtomicU64>,
    news: mpsc::UnboundedReceiver<News>,
}

#[derive(Debug, PartialEq)]
enum News {
    HeldBack,
    ReaderLeft,
    AllSent,
}

impl Flood {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let (tell, news) = mpsc::unbounded_channel();
        let count = Arc::clone(&sent_bytes);
        tokio::spawn(async move {
            let stream = accept(&listener).await;
            // Whoever listened has gone when the test is over.
            let _ = tell.send(flood(stream, &count, &tell).await);
        });
        Self { address, sent_bytes, news }
    }

    async fn news(&mut self) -> News {
        timeout(4 * PATIENCE, self.news.recv()).await.expect("the model has news").unwrap()
    }
}

async fn flood(mut stream: TcpStream, count: &AtomicU64, tell: &mpsc::UnboundedSender<News>) -> News {
    let block = said("word ").repeat(64);
    while count.load(Ordering::Relaxed) < FLOOD_BYTES {
        let mut sending = std::pin::pin!(stream.write_all(block.as_bytes()));
        let sent = match timeout(HELD_BACK, &mut sending).await {
            Ok(sent) => sent,
            Err(_) => {
                let _ = tell.send(News::HeldBack);
                sending.await
            }
        };
        if sent.is_err() {
            return News::ReaderLeft;
        }
        count.fetch_add(block.len() as u64, Ordering::Relaxed);
    }
    News::AllSent
}

/// The memory a process occupies, in bytes.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A client that does not read holds the model back, and its leaving ends the call upstream.
async fn check_slow_reader(path: &str, body: &str) {
    let mut model = Flood::start().await;
    let server = started_with(model.address);
    let before = resident_bytes(server.pid());
    let mut reader = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    reader.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(model.news().await, News::HeldBack, "{path}");
    let under_way = model.sent_bytes.load(Ordering::Relaxed);
    assert!(
        under_way < UNDER_WAY_BYTES_MAX,
        "{path}: {under_way} bytes are under way to a client that reads none"
    );
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < UNDER_WAY_BYTES_MAX, "{path}: grew by {grown} bytes");
    drop(reader);
    assert_eq!(model.news().await, News::ReaderLeft, "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_turn_holds_the_model_back() {
    check_slow_reader("/v1/responses", r#"{"input":"hi","stream":true}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_chat_completion_holds_the_model_back() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"stream":true}"#;
    check_slow_reader("/v1/chat/completions", body).await;
}
