//! Bad input to the application, from both sides: clients that send what they should not, and a model that answers
//! what it should not. Everybody gets an error of the right status and shape, and conversations stay as they were.

use crate::support::{Server, Setup, client, client_builder, get, get_text, post};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const MIB: usize = 1 << 20;
/// By how much the process may grow while it refuses a body of 100 MiB.
const GROWTH_KIB_MAX: u64 = 32 << 10;

/// An error object as OpenAI's SDKs read it.
fn check_openai_error(status: u16, expected: u16, error: &Value, case: &str) {
    assert_eq!(status, expected, "{case}: {error}");
    let object = &error["error"];
    assert!(object["message"].as_str().is_some_and(|message| !message.is_empty()), "{case}: {error}");
    let kind = match expected {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    assert_eq!(object["type"], kind, "{case}: {error}");
    assert!(object.get("param").is_some() && object.get("code").is_some(), "{case}: {error}");
    assert_eq!(error.as_object().unwrap().len(), 1, "{case}: {error}");
}

/// Sends bytes as they are, closes this side, and returns everything that comes back.
fn raw(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_ref()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn status_of(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status: {answer:?}"))
}

fn body_of(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map(|(_head, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer:?}"))
}

fn memory_kib(server: &Server, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn bodies_that_are_wrong_are_refused_by_field() {
    let server = Setup::application().start();
    let client = client();
    let refuse = async |body: &str, param: Value, code: Value| {
        let request = client.post(server.url("/v1/responses")).header("content-type", "application/json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        let (status, error) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
        check_openai_error(status, 400, &error, body);
        assert_eq!((&error["error"]["param"], &error["error"]["code"]), (&param, &code), "{body}");
    };
    for broken in ["", "{", "{bad", "nul", "{\"input\":\"x\"} trailing", "{\"input\":\"\u{0}\"}"] {
        refuse(broken, Value::Null, json!("invalid_json")).await;
    }
    refuse("[]", Value::Null, Value::Null).await;
    refuse("5", Value::Null, Value::Null).await;
    refuse("{}", json!("input"), json!("missing_required_parameter")).await;
    refuse(r#"{"input":5}"#, json!("input"), json!("invalid_type")).await;
    refuse(r#"{"input":"x","colour":1}"#, json!("colour"), json!("unknown_parameter")).await;
    refuse(r#"{"input":"x","temperature":"hot"}"#, json!("temperature"), json!("invalid_type")).await;
    refuse(r#"{"input":"x","stream":"yes"}"#, json!("stream"), json!("invalid_type")).await;
    let response =
        client.post(server.url("/v1/responses")).body("{\"input\":\"x\"}").header("content-type", "text/xml");
    assert_eq!(response.send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn json_that_nests_without_end_is_refused() {
    let server = Setup::application().start();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let body = format!("{{\"input\":{nested}}}");
        let request = client().post(server.url("/v1/responses")).header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        let (status, error) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
        check_openai_error(status, 400, &error, open);
    }
    assert_eq!(get_text(&client(), &server.url("/hello")).await, (200, "hello\n".to_owned()));
}

/// A body of 100 MiB gets its 413, and the server neither keeps it nor forgets how to serve.
async fn check_huge_body(announced: bool, path: &str) {
    let server = Setup::application().start();
    let client = client();
    let (status, _) = post(&client, &server.url("/v1/responses"), &json!({"input": "warm"})).await;
    assert_eq!(status, 200);
    let before = memory_kib(&server, "VmRSS");
    let pieces = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; MIB])));
    let mut request = client.post(server.url(path)).header("content-type", "application/json");
    if announced {
        request = request.header("content-length", 100 * MIB);
    }
    let response = request.body(reqwest::Body::wrap_stream(pieces)).send().await.unwrap();
    let (status, error) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
    check_openai_error(status, 413, &error, path);
    assert_eq!(error["error"]["code"], "request_too_large");
    let grown = memory_kib(&server, "VmHWM").saturating_sub(before);
    assert!(grown <= GROWTH_KIB_MAX, "the process grew by {grown} KiB");
    let (status, _) = post(&client, &server.url("/v1/responses"), &json!({"input": "after"})).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_announced_body_of_100_mib_is_refused_without_being_kept() {
    check_huge_body(true, "/v1/responses").await;
}

#[tokio::test]
async fn an_unannounced_body_of_100_mib_is_refused_without_being_kept() {
    check_huge_body(false, "/v1/responses").await;
    check_huge_body(false, "/v1/chat/completions").await;
}

#[tokio::test]
async fn ten_thousand_headers_are_refused() {
    let server = Setup::application().start();
    let fields: String = (0..10_000).map(|number| format!("x-{number}: 1\r\n")).collect();
    let answer = raw(&server, format!("GET /hello HTTP/1.1\r\nhost: x\r\n{fields}\r\n"));
    assert_eq!(status_of(&answer), 431, "{answer}");
    let few_but_long = format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "y".repeat(100_000));
    assert_eq!(status_of(&raw(&server, few_but_long)), 431);
    let modest: String = (0..90).map(|number| format!("x-{number}: 1\r\n")).collect();
    let answer = raw(&server, format!("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{modest}\r\n"));
    assert_eq!(status_of(&answer), 200, "{answer}");
}

#[tokio::test]
async fn ten_thousand_headers_over_http_2_are_refused() {
    let server = Setup::application().start();
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let mut request = client.get(server.url("/hello"));
    for number in 0..10_000 {
        request = request.header(format!("x-{number}"), "1");
    }
    // The connection may be ended in place of an answer; what may not happen is that the request is served.
    if let Ok(response) = request.send().await {
        assert_eq!(response.status(), 431);
    }
    assert_eq!(get_text(&client, &server.url("/hello")).await, (200, "hello\n".to_owned()));
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_the_shape_of_the_api() {
    let server = Setup::application().start();
    let client = client();
    for path in ["/", "/nowhere", "/v2/responses", "/helloo", "/v1x"] {
        let response = client.get(server.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!((&problem["status"], &problem["title"]), (&json!(404), &json!("Not Found")), "{path}");
    }
    for path in ["/v1", "/v1/", "/v1/nowhere", "/v1/responses/", "/v1/images", "/v1/chats"] {
        let (status, error) = get(&client, &server.url(path)).await;
        check_openai_error(status, 404, &error, path);
    }
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_told_which_are() {
    let server = Setup::application().start();
    let check = async |method: &str, path: &str, allow: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let response = client().request(method, server.url(path)).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow, "{path}");
        let (status, error) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
        check_openai_error(status, 405, &error, path);
    };
    check("PUT", "/v1/responses", "POST").await;
    check("GET", "/v1/chat/completions", "POST").await;
    check("BREW", "/v1/conversations", "POST").await;
    check("DELETE", "/v1/models", "GET").await;
    check("PATCH", "/v1/responses/resp_x", "GET, DELETE").await;
}

#[tokio::test]
async fn ids_of_any_kind_are_not_found() {
    let server = Setup::application().start();
    let long = "x".repeat(10_000);
    let unknown = "01m7zbqbyy2ym8q1w2h66sag";
    for id in ["%00", "%2F", "..", "%2e%2e", "a%00b", "..%2F..%2Fetc", "%ff", "'; DROP", "x", unknown, &long]
    {
        let id = id.replace(' ', "%20");
        for (prefix, collection, rest) in [
            ("resp_", "responses", ""),
            ("resp_", "responses", "/input_items"),
            ("conv_", "conversations", ""),
            ("conv_", "conversations", "/items"),
            ("conv_", "conversations", "/items/msg_x"),
        ] {
            for id in [id.clone(), format!("{prefix}{id}")] {
                let target = format!("/v1/{collection}/{id}{rest}");
                // Sent as it is written: a client's library would tidy the path up.
                let answer =
                    raw(&server, format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
                let case = &target[..target.len().min(80)];
                check_openai_error(status_of(&answer), 404, &body_of(&answer), case);
            }
        }
        let named = json!({"input": "x", "conversation": id});
        let (status, error) = post(&client(), &server.url("/v1/responses"), &named).await;
        check_openai_error(status, 404, &error, &id);
        let named = json!({"input": "x", "previous_response_id": id});
        let (status, error) = post(&client(), &server.url("/v1/responses"), &named).await;
        check_openai_error(status, 400, &error, &id);
        assert_eq!(error["error"]["code"], "previous_response_not_found");
    }
}

#[tokio::test]
async fn requests_that_break_http_are_refused() {
    let server = Setup::application().start();
    let check = |head: &str, expected: u16| {
        let answer = raw(&server, format!("{head}\r\nconnection: close\r\n\r\n"));
        assert_eq!(status_of(&answer), expected, "{head:?}: {answer}");
    };
    check("GET /hello HTTP/1.1\r\nhost: a b", 400);
    check("GET /hello HTTP/1.1\r\nhost: <script>", 400);
    check("GET /hello HTTP/1.1\r\nhost: user@host", 400);
    check("GET /hello HTTP/1.1\r\nhost: x:notaport", 400);
    check("GET /hello HTTP/1.1\r\nhost: a/b", 400);
    // RFC 9112, section 3.2: one Host field, no more and no less.
    check("GET /hello HTTP/1.1\r\nx: y", 400);
    check("GET /hello HTTP/1.1\r\nhost: a\r\nhost: b", 400);
    check("GET /hello HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2", 400);
    check("GET /hello HTTP/1.1\r\nhost: x\r\ncontent-length: -1", 400);
    check("GET /hello HTTP/1.1\r\nhost: x\r\nbad name: 1", 400);
    check("GET /hello HTTP/9.9\r\nhost: x", 400);
    check("NONSENSE", 400);
    check("GET /hello HTTP/1.1\r\nhost: x:80", 200);
    check("GET /hello HTTP/1.1\r\nhost: [::1]:80", 200);
    check("GET http://elsewhere.example/hello HTTP/1.1\r\nhost: x", 200);
}

#[tokio::test]
async fn http_1_0_is_answered_and_the_connection_closed() {
    let server = Setup::application().start();
    let answer = raw(&server, "GET /hello HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nhello\n"), "{answer}");
    let body = r#"{"input":"hi","stream":true}"#;
    let head = "POST /v1/responses HTTP/1.0\r\ncontent-type: application/json";
    let answer = raw(&server, format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "1.0 knows no chunks: {answer}");
    assert!(answer.contains("\r\n\r\nevent: response.created\n"), "{answer}");
    assert!(answer.contains("event: response.completed"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Setup::application().start();
    let ask = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let all = [
        ask("/v1/nowhere", ""),
        ask("/hello", ""),
        ask("/elsewhere", ""),
        ask("/hello", "connection: close\r\n"),
    ];
    let answer = raw(&server, all.concat());
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|one| &one[..3]).collect();
    assert_eq!(statuses, ["404", "200", "404", "200"], "{answer}");
}

#[tokio::test]
async fn a_request_that_is_only_half_sent_does_not_hold_its_connection() {
    let server = Setup::application()
        .runtime_config("[gateway]\nhead_read_timeout_ms = 300\n[engine]\nrequest_timeout_ms = 500\n")
        .start();
    let answer = raw(&server, "GET /hello HTTP/1.1\r\nhost: x\r\nx-half: ");
    assert!(answer.is_empty() || status_of(&answer) == 408, "{answer}");
    let head =
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close";
    let answer = raw(&server, format!("{head}\r\ncontent-length: 100\r\n\r\n{{\"input\""));
    check_openai_error(status_of(&answer), 504, &body_of(&answer), "half a body, then silence");
    // Half a body and then the end of the connection: nobody is there to be told, and nobody else must notice.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(format!("{head}\r\ncontent-length: 100\r\n\r\n{{\"input\"").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(get_text(&client(), &server.url("/hello")).await, (200, "hello\n".to_owned()));
}

/// What a caller reads when no model answers, in place of a text.
const FALLBACK_ERROR: [&str; 2] = ["--variable", "fallback=error"];

/// A conversation of one good turn, and the means to see whether it has changed.
struct Conversation {
    server: Server,
    id: String,
}

impl Conversation {
    async fn with(setup: Setup) -> Self {
        let server = setup.start();
        let (_, conversation) = post(&client(), &server.url("/v1/conversations"), &json!({})).await;
        let id = conversation["id"].as_str().unwrap().to_owned();
        let said = json!({"items": [{"type": "message", "role": "user", "content": "My name is Ada."}]});
        let (status, added) =
            post(&client(), &server.url(&format!("/v1/conversations/{id}/items")), &said).await;
        assert_eq!(status, 200, "{added}");
        Self { server, id }
    }

    async fn items(&self) -> Value {
        get(&client(), &self.server.url(&format!("/v1/conversations/{}/items", self.id))).await.1
    }

    async fn say(&self, text: &str, stream: bool) -> reqwest::Response {
        let body = json!({"input": text, "conversation": self.id, "stream": stream});
        client().post(self.server.url("/v1/responses")).json(&body).send().await.unwrap()
    }

    /// The turn fails before anything was sent: plain and streamed alike end with a status.
    async fn check_refused(&self, text: &str, expected: u16, code: &str) -> Vec<reqwest::header::HeaderMap> {
        let before = self.items().await;
        let mut heads = Vec::new();
        for stream in [false, true] {
            let response = self.say(text, stream).await;
            let (status, head) = (response.status().as_u16(), response.headers().clone());
            let error: Value = response.json().await.unwrap();
            check_openai_error(status, expected, &error, text);
            assert_eq!(error["error"]["code"], code, "{text} streamed: {stream}");
            heads.push(head);
        }
        assert_eq!(self.items().await, before, "{text}");
        heads
    }

    /// The model breaks off in the middle of a stream: the stream says so and ends, and the response is kept as failed.
    async fn check_broken_off(&self, text: &str) {
        let before = self.items().await;
        let response = self.say(text, true).await;
        assert_eq!(response.status(), 200, "{text}");
        let events = response.text().await.unwrap();
        let turn = events.strip_suffix("data: [DONE]\n\n").unwrap();
        let last = turn.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("event: response.failed\n"), "{text}: {events}");
        let data: Value = serde_json::from_str(last.split_once("data: ").unwrap().1).unwrap();
        assert_eq!(data["response"]["error"]["code"], "server_error", "{text}");
        let id = data["response"]["id"].as_str().unwrap();
        let (status, kept) = get(&client(), &self.server.url(&format!("/v1/responses/{id}"))).await;
        assert_eq!((status, &kept["status"]), (200, &json!("failed")), "{text}: {kept}");
        assert_eq!(kept["error"], data["response"]["error"], "{text}");
        let (status, error) = {
            let plain = self.say(text, false).await;
            (plain.status().as_u16(), plain.json::<Value>().await.unwrap())
        };
        // 503 where nothing of the answer had come when it broke off.
        assert!(matches!(status, 502 | 503), "{text}: {status} {error}");
        check_openai_error(status, status, &error, text);
        assert_eq!(self.items().await, before, "{text}");
    }
}

#[tokio::test]
async fn a_model_that_fails_leaves_the_conversation_as_it_was() {
    // Each on a host of its own: after some failures the model would not be asked at all.
    let fresh = async || Conversation::with(Setup::application().args(&FALLBACK_ERROR)).await;
    for (directive, status, code) in [
        ("fault=html", 503, "model_endpoint_overloaded"),
        ("fault=reset", 503, "model_endpoint_overloaded"),
        ("status=500", 503, "model_endpoint_overloaded"),
        ("status=401", 502, "model_endpoint_unauthorized"),
    ] {
        fresh().await.check_refused(&format!("[sim: {directive}] x"), status, code).await;
    }
    let conversation = fresh().await;
    for head in
        conversation.check_refused("[sim: status=429 retry_after=7] x", 429, "rate_limit_exceeded").await
    {
        assert_eq!(head["retry-after"], "7");
    }
    for fault in ["cut", "cut-mid-event", "bad-json", "reset after=3"] {
        fresh().await.check_broken_off(&format!("[sim: fault={fault}] x")).await;
    }
    let response = conversation.say("What is my name?", false).await;
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["output"][0]["content"][0]["text"], "Your name is Ada.", "{answer}");
}

#[tokio::test]
async fn a_model_that_does_not_answer_in_time_is_given_up() {
    let setup = Setup::application().args(&FALLBACK_ERROR).args(&["--variable", "model_timeout_ms=300"]);
    let conversation = Conversation::with(setup).await;
    conversation.check_refused("[sim: fault=hang] x", 504, "model_endpoint_timeout").await;
    conversation.check_refused("[sim: headers_ms=20000] x", 504, "model_endpoint_timeout").await;
}

#[tokio::test]
async fn a_model_that_falls_silent_in_the_middle_is_given_up() {
    let setup = Setup::application().args(&FALLBACK_ERROR).args(&["--variable", "model_timeout_ms=300"]);
    let conversation = Conversation::with(setup).await;
    let before = conversation.items().await;
    let mut events = conversation.say("[sim: fault=hang after=3] x y z w", true).await.bytes_stream();
    let mut whole = Vec::new();
    while let Some(piece) = events.next().await {
        whole.extend(piece.unwrap());
    }
    let events = String::from_utf8(whole).unwrap();
    assert!(events.contains("event: response.failed\n"), "{events}");
    assert_eq!(conversation.items().await, before);
}

#[tokio::test]
async fn a_model_that_refuses_connections_is_reported_as_such() {
    // A port that was free a moment ago: nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let conversation =
        Conversation::with(Setup::application().args(&FALLBACK_ERROR).args(&["--model-endpoint", &endpoint]))
            .await;
    conversation.check_refused("hello", 503, "model_endpoint_overloaded").await;
}
