//! WebSockets over a pipe, with a function that answers by a script.

use super::WebSocketConfig as Config;
use super::room::Sockets;
use super::session::{Limits, Session};
use super::turn::{Answering, Asks, RefusedByHost};
use bytes::Bytes;
use futures::{Sink as _, Stream as _};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use waggle_engine::{BodyError, WasiBody};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// How long a turn may take.
const TURN_MAX: Duration = Duration::from_secs(120);
/// Bytes on the way between client and server.
const PIPE_BYTES: usize = 8 << 10;

/// One request to the function, and its answer's stream.
struct Asked {
    body: Value,
    stream: mpsc::UnboundedSender<Bytes>,
}

impl Asked {
    fn event(&self, name: &str, data: &Value) {
        let _ = self.stream.send(format!("event: {name}\ndata: {data}\n\n").into());
    }

    /// Answers with one word, and ends.
    fn complete(self, id: &str, word: &str) {
        self.event(
            "response.output_text.delta",
            &json!({"type": "response.output_text.delta", "delta": word}),
        );
        let output = json!([{"type": "message", "role": "assistant", "content": word}]);
        let response = json!({"id": id, "output": output});
        self.event("response.completed", &json!({"type": "response.completed", "response": response}));
    }
}

/// A function whose answers the test gives.
struct Function {
    asked: mpsc::UnboundedSender<Asked>,
    /// Answered in place of a stream, once.
    instead: Mutex<Option<Response<WasiBody>>>,
}

impl Asks for Function {
    fn ask(self: Arc<Self>, body: Bytes) -> Answering {
        if let Some(answer) = self.instead.lock().unwrap().take() {
            return Box::pin(async move { answer });
        }
        let (stream, mut pieces) = mpsc::unbounded_channel();
        let body = serde_json::from_slice(&body).unwrap();
        let _ = self.asked.send(Asked { body, stream });
        let pieces = futures::stream::poll_fn(move |cx| pieces.poll_recv(cx));
        let frames =
            futures::StreamExt::map(pieces, |piece| Ok::<_, BodyError>(http_body::Frame::data(piece)));
        let answer = Response::builder().header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8");
        let answer = answer.body(StreamBody::new(frames).boxed_unsync()).unwrap();
        Box::pin(async move { answer })
    }
}

/// A client, the function at the other end, and what is between.
struct Bench {
    client: WebSocketStream<DuplexStream>,
    function: Arc<Function>,
    asked: mpsc::UnboundedReceiver<Asked>,
    sockets: Arc<Sockets>,
    server: JoinHandle<()>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(&Config::default()).await
    }

    async fn with(config: &Config) -> Self {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let (tell, asked) = mpsc::unbounded_channel();
        let function = Arc::new(Function { asked: tell, instead: Mutex::default() });
        let sockets = Sockets::new(config);
        let place = sockets.open(&"bank".parse().unwrap()).unwrap();
        let asks = Arc::clone(&function) as Arc<dyn Asks>;
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            duration_max: config.duration_max(),
            turn_max: TURN_MAX,
        };
        let session = Session::new(far, asks, place, limits).await;
        let server = tokio::spawn(session.run());
        let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        Self { client, function, asked, sockets, server }
    }

    async fn send(&mut self, message: Message) {
        let client = &mut self.client;
        Pin::new(&mut *client).start_send(message).unwrap();
        poll_fn(|cx| Pin::new(&mut *client).poll_flush(cx)).await.unwrap();
    }

    async fn create(&mut self, mut message: Value) {
        message["type"] = json!("response.create");
        self.send(Message::text(message.to_string())).await;
    }

    /// The next message of the server, but for pings.
    async fn read(&mut self) -> Message {
        loop {
            let client = &mut self.client;
            let next = poll_fn(|cx| Pin::new(&mut *client).poll_next(cx));
            match timeout(PATIENCE, next).await.expect("a message is due").unwrap().unwrap() {
                Message::Ping(_) => {}
                other => return other,
            }
        }
    }

    async fn event(&mut self) -> Value {
        let message = self.read().await;
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    async fn expect_error(&mut self, status: u16, code: &str) {
        let event = self.event().await;
        let told = (event["type"].as_str(), event["status"].as_u64(), event["error"]["code"].as_str());
        assert_eq!(told, (Some("error"), Some(status.into()), Some(code)), "{event}");
    }

    async fn expect_close(&mut self, code: u16) {
        match self.read().await {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code, "{frame:?}"),
            other => panic!("{other:?}"),
        }
    }

    async fn asked(&mut self) -> Asked {
        timeout(PATIENCE, self.asked.recv()).await.expect("a request is due").unwrap()
    }

    /// One whole turn.
    async fn turn(&mut self, message: Value, id: &str) -> Value {
        self.create(message).await;
        let asked = self.asked().await;
        let body = asked.body.clone();
        asked.complete(id, "word");
        assert_eq!(self.event().await["delta"], "word");
        assert_eq!(self.event().await["response"]["id"], id);
        body
    }
}

#[tokio::test]
async fn a_turn_is_a_streamed_request_whose_events_are_messages() {
    let mut bench = Bench::new().await;
    let body = bench.turn(json!({"model": "m", "input": "Hi"}), "resp_1").await;
    assert_eq!(body, json!({"model": "m", "input": "Hi", "stream": true}));
}

#[tokio::test]
async fn turns_run_one_after_the_other_in_the_order_of_their_messages() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "One"})).await;
    bench.create(json!({"input": "Two"})).await;
    let first = bench.asked().await;
    assert_eq!(first.body["input"], "One");
    first.event("response.created", &json!({"type": "response.created"}));
    assert_eq!(bench.event().await["type"], "response.created");
    assert!(bench.asked.try_recv().is_err(), "the second waits");
    first.complete("resp_1", "1");
    bench.event().await;
    bench.event().await;
    let second = bench.asked().await;
    assert_eq!(second.body["input"], "Two");
}

#[tokio::test]
async fn a_message_too_many_is_refused_and_the_others_are_served() {
    let mut bench = Bench::new().await;
    for number in 0..18 {
        bench.create(json!({"input": number.to_string()})).await;
    }
    bench.expect_error(429, "websocket_queue_full").await;
    for number in 0..17 {
        let asked = bench.asked().await;
        assert_eq!(asked.body["input"], number.to_string());
        asked.complete("resp_1", "word");
        bench.event().await;
        bench.event().await;
    }
}

#[tokio::test]
async fn what_is_not_stored_is_remembered_until_a_turn_on_it_fails() {
    let mut bench = Bench::new().await;
    bench.turn(json!({"input": "One", "store": false}), "resp_1").await;
    let next = json!({"input": "Two", "store": false, "previous_response_id": "resp_1"});
    let body = bench.turn(next, "resp_2").await;
    assert_eq!(body["input"].as_array().unwrap().len(), 3);
    assert!(body.get("previous_response_id").is_none());

    let next = json!({"input": "Three", "store": false, "previous_response_id": "resp_2"});
    bench.create(next.clone()).await;
    let asked = bench.asked().await;
    assert_eq!(asked.body["input"].as_array().unwrap().len(), 5);
    asked.event("response.failed", &json!({"type": "response.failed", "response": {"id": "resp_3"}}));
    drop(asked);
    assert_eq!(bench.event().await["type"], "response.failed");
    bench.create(next.clone()).await;
    let asked = bench.asked().await;
    assert_eq!(asked.body["input"], "Three", "the function is asked, which knows of no such response");
    assert_eq!(asked.body["previous_response_id"], "resp_2");
}

#[tokio::test]
async fn a_stored_response_is_the_functions_to_know() {
    let mut bench = Bench::new().await;
    bench.turn(json!({"input": "One"}), "resp_1").await;
    let body = bench.turn(json!({"input": "Two", "previous_response_id": "resp_1"}), "resp_2").await;
    assert_eq!(body, json!({"input": "Two", "previous_response_id": "resp_1", "stream": true}));
}

#[tokio::test]
async fn an_error_keeps_the_connection() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi", "background": true})).await;
    bench.expect_error(400, "unsupported_parameter").await;
    let body = r#"{"error":{"message":"No.","type":"invalid_request_error","param":"input","code":null}}"#;
    let answer = Response::builder().status(400).body(crate::body::full(body)).unwrap();
    *bench.function.instead.lock().unwrap() = Some(answer);
    bench.create(json!({"input": 7})).await;
    bench.expect_error(400, "invalid_request").await;
    bench.turn(json!({"input": "Hi"}), "resp_1").await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_told_as_an_error() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi"})).await;
    drop(bench.asked().await);
    bench.expect_error(502, "response_incomplete").await;
    bench.turn(json!({"input": "Hi"}), "resp_1").await;
}

#[tokio::test]
async fn who_may_not_call_any_more_is_told_and_disconnected() {
    for (status, closes) in [(StatusCode::FORBIDDEN, true), (StatusCode::TOO_MANY_REQUESTS, false)] {
        let mut bench = Bench::new().await;
        let body = r#"{"error":{"message":"No.","type":"requests","param":null,"code":"some_code"}}"#;
        let mut answer = Response::builder().status(status).body(crate::body::full(body)).unwrap();
        answer.extensions_mut().insert(RefusedByHost);
        *bench.function.instead.lock().unwrap() = Some(answer);
        bench.create(json!({"input": "Hi"})).await;
        bench.expect_error(status.as_u16(), "some_code").await;
        if closes {
            bench.expect_close(1008).await;
        } else {
            bench.turn(json!({"input": "Hi"}), "resp_1").await;
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_told_and_ends_the_connection() {
    let check = async |message: Message, status: u16, error: &str, close: u16| {
        let mut bench = Bench::new().await;
        bench.send(message).await;
        bench.expect_error(status, error).await;
        bench.expect_close(close).await;
        drop(bench.client);
        timeout(PATIENCE, bench.server).await.unwrap().unwrap();
    };
    check(Message::binary(&b"{}"[..]), 400, "invalid_message", 1003).await;
    check(Message::text("[]"), 400, "invalid_json", 1007).await;
    check(Message::text("x".repeat(MESSAGE_BYTES_MAX + 1)), 413, "request_too_large", 1009).await;
    let not_utf8 = Frame::message(&b"\xff"[..], OpCode::Data(Data::Text), true);
    check(Message::Frame(not_utf8), 400, "invalid_message", 1007).await;
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_a_ping_in_between() {
    let mut bench = Bench::new().await;
    let text = json!({"type": "response.create", "input": "\u{1F41D}"}).to_string();
    let bytes = Bytes::from(text);
    let middle = bytes.len() / 2;
    let fragment = |bytes: Bytes, code: Data, last: bool| {
        Message::Frame(Frame::message(bytes, OpCode::Data(code), last))
    };
    bench.send(fragment(bytes.slice(..middle), Data::Text, false)).await;
    bench.send(Message::Ping(Bytes::from_static(b"here?"))).await;
    assert_eq!(bench.read().await, Message::Pong(Bytes::from_static(b"here?")));
    bench.send(fragment(bytes.slice(middle..), Data::Continue, true)).await;
    assert_eq!(bench.asked().await.body["input"], "\u{1F41D}");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_turn() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi"})).await;
    let asked = bench.asked().await;
    drop(bench.client);
    timeout(PATIENCE, asked.stream.closed()).await.expect("the turn ends");
    timeout(PATIENCE, bench.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_closes_in_the_middle_is_answered() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi"})).await;
    let asked = bench.asked().await;
    bench.send(Message::Close(None)).await;
    assert!(matches!(bench.read().await, Message::Close(_)));
    timeout(PATIENCE, asked.stream.closed()).await.expect("the turn ends");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_no_sign_is_let_go() {
    let bench = Bench::new().await;
    let began = tokio::time::Instant::now();
    // It never reads, so it never answers a ping.
    timeout(PATIENCE * 30, bench.server).await.expect("it is let go").unwrap();
    let waited = began.elapsed().as_secs();
    assert!((60..=80).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays_until_its_time_is_over() {
    let config = Config { duration_ms_max: 300_000, ..Config::default() };
    let mut bench = Bench::with(&config).await;
    let client = &mut bench.client;
    let first = loop {
        let next = poll_fn(|cx| Pin::new(&mut *client).poll_next(cx)).await.unwrap().unwrap();
        // The client's library answers a ping when it is next flushed.
        poll_fn(|cx| Pin::new(&mut *client).poll_flush(cx)).await.unwrap();
        if !next.is_ping() {
            break next;
        }
    };
    let event: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
    assert_eq!(event["error"]["code"], "websocket_connection_limit_reached");
    assert!(event["error"]["message"].as_str().unwrap().contains("(5 minutes)"), "{event}");
    bench.expect_close(1000).await;
}

#[tokio::test]
async fn a_host_that_goes_down_lets_the_turn_finish() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "One"})).await;
    let asked = bench.asked().await;
    bench.create(json!({"input": "Two"})).await;
    bench.sockets.stop();
    asked.complete("resp_1", "word");
    assert_eq!(bench.event().await["delta"], "word");
    assert_eq!(bench.event().await["response"]["id"], "resp_1");
    bench.expect_close(1001).await;
    drop(bench.client);
    timeout(PATIENCE, bench.sockets.all_closed()).await.expect("its place is free");
    assert!(bench.asked.try_recv().is_err(), "no turn is begun any more");
}

#[tokio::test]
async fn a_message_without_room_in_memory_is_not_read() {
    let config = Config { memory_bytes_max: 1, ..Config::default() };
    let mut bench = Bench::with(&config).await;
    bench.create(json!({"input": "Hi"})).await;
    bench.expect_error(429, "websocket_queue_full").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_loses_its_turn_whatever_signs_it_gives() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi"})).await;
    let asked = bench.asked().await;
    let began = tokio::time::Instant::now();
    let long = "x".repeat(4 * PIPE_BYTES);
    asked.event("response.output_text.delta", &json!({"delta": long}));
    let signs = async {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            // An answer to a ping that it has not read; without a mask of its own, as the payload is empty.
            let _ = bench.client.get_mut().write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await;
        }
    };
    tokio::select! {
        () = signs => {}
        ended = timeout(TURN_MAX * 4, &mut bench.server) => ended.expect("it is let go").unwrap(),
    }
    assert_eq!(began.elapsed().as_secs(), TURN_MAX.as_secs());
    assert!(asked.stream.is_closed(), "the turn has ended");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_keeps_a_turn_that_knows_its_own_end() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi"})).await;
    let asked = bench.asked().await;
    for _ in 0..TURN_MAX.as_secs() / 10 + 2 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        asked.event("response.output_text.delta", &json!({"delta": "word"}));
        assert_eq!(bench.event().await["delta"], "word");
    }
    asked.complete("resp_1", "word");
    assert_eq!(bench.event().await["delta"], "word");
    assert_eq!(bench.event().await["response"]["id"], "resp_1");
}

#[tokio::test]
async fn a_turn_without_room_for_all_it_goes_on_from_is_not_begun() {
    let config = Config { memory_bytes_max: 4_000, memory_per_tenant_bytes_max: 4_000, ..Config::default() };
    let mut bench = Bench::with(&config).await;
    let long = "x".repeat(1_500);
    bench.turn(json!({"input": long, "store": false}), "resp_1").await;
    // What is remembered, a draft of the next and the request itself are three times as much.
    bench.create(json!({"input": "Two", "previous_response_id": "resp_1", "store": false})).await;
    bench.expect_error(503, "server_overloaded").await;
    bench.turn(json!({"input": "Three"}), "resp_2").await;
}

#[tokio::test]
async fn an_event_without_room_in_memory_breaks_the_turn_off() {
    let config = Config { memory_bytes_max: 100_000, ..Config::default() };
    let mut bench = Bench::with(&config).await;
    let check = async |bench: &mut Bench, bytes: usize, fits: bool| {
        bench.create(json!({"input": "Hi"})).await;
        let asked = bench.asked().await;
        let data = json!({"type": "response.output_text.delta", "delta": "x".repeat(bytes)});
        asked.event("response.output_text.delta", &data);
        if fits {
            assert_eq!(bench.event().await["delta"], data["delta"]);
            asked.complete("resp_1", "word");
            assert_eq!(bench.event().await["delta"], "word");
            assert_eq!(bench.event().await["response"]["id"], "resp_1");
        } else {
            bench.expect_error(502, "response_incomplete").await;
        }
    };
    check(&mut bench, 90_000, true).await;
    check(&mut bench, 110_000, false).await;
    check(&mut bench, 90_000, true).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_turn_back() {
    let mut bench = Bench::new().await;
    bench.create(json!({"input": "Hi"})).await;
    let asked = bench.asked().await;
    let long = "x".repeat(PIPE_BYTES);
    let count = 400;
    for _ in 0..count {
        asked.event(
            "response.output_text.delta",
            &json!({"type": "response.output_text.delta", "delta": long}),
        );
    }
    asked.complete("resp_1", "word");
    for _ in 0..count {
        assert_eq!(bench.event().await["delta"], long.as_str());
    }
    assert_eq!(bench.event().await["delta"], "word");
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection() {
    let mut bench = Bench::new().await;
    // A frame of a reserved kind.
    bench.client.get_mut().write_all(&[0x83, 0x80, 0, 0, 0, 0]).await.unwrap();
    bench.expect_close(1002).await;
}
