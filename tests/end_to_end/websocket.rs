//! Turns over a WebSocket: the real program, and a client that knows RFC 6455 only.

use crate::neighbours::tenants::{key_of, with_tenants};
use crate::support::{PATIENCE, Server, Setup, client, get};
use crate::tenants_support::{Admin, Caller, in_force};
use futures::{SinkExt as _, StreamExt as _};
use reqwest::{RequestBuilder, Response, Upgraded};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const PATH: &str = "/v1/responses";

/// A request for a WebSocket.
fn handshake(request: RequestBuilder) -> RequestBuilder {
    request
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A client's end.
struct Socket(WebSocketStream<Upgraded>);

impl Socket {
    async fn open(server: &Server) -> Self {
        Self::of(handshake(client().get(server.url(PATH))).send().await.unwrap()).await
    }

    async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(response.headers().contains_key("x-request-id"));
        let connection = response.upgrade().await.unwrap();
        Self(WebSocketStream::from_raw_socket(connection, Role::Client, None).await)
    }

    async fn create(&mut self, mut message: Value) {
        message["type"] = json!("response.create");
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn read(&mut self) -> Message {
        timeout(PATIENCE, self.0.next())
            .await
            .expect("a message is due")
            .expect("the connection ended")
            .unwrap()
    }

    async fn event(&mut self) -> Value {
        loop {
            match self.read().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads a whole turn; the response.
    async fn response(&mut self) -> Value {
        let mut number = 0;
        loop {
            let event = self.event().await;
            assert_eq!(event["sequence_number"], number, "{event}");
            number += 1;
            if event["type"] == "response.completed" {
                return event["response"].clone();
            }
        }
    }

    async fn turn(&mut self, message: Value) -> Value {
        self.create(message).await;
        self.response().await
    }

    async fn expect_error(&mut self, status: u16, code: &str) {
        let event = self.event().await;
        assert_eq!(event["type"], "error", "{event}");
        assert_eq!(
            (event["status"].as_u64(), event["error"]["code"].as_str()),
            (Some(status.into()), Some(code))
        );
    }

    async fn expect_close(&mut self, code: u16) {
        match self.read().await {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code, "{frame:?}"),
            other => panic!("{other:?}"),
        }
    }
}

fn said(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_chain_of_turns_goes_on_whether_its_responses_are_stored_or_not() {
    let server = Setup::application().start();
    for store in [true, false] {
        let mut socket = Socket::open(&server).await;
        let first = socket.turn(json!({"input": "My name is Ada.", "store": store})).await;
        let next = json!({"input": "What is my name?", "store": store, "previous_response_id": first["id"]});
        let second = socket.turn(next).await;
        assert_eq!(said(&second), "Your name is Ada.", "{second}");
        let next = json!({"input": "What is my name?", "store": store, "previous_response_id": second["id"]});
        assert_eq!(said(&socket.turn(next).await), "Your name is Ada.");
        let path = format!("{PATH}/{}", second["id"].as_str().unwrap());
        let (status, _) = get(&client(), &server.url(&path)).await;
        assert_eq!(status, if store { 200 } else { 404 });
    }
}

#[tokio::test]
async fn what_one_connection_remembers_no_other_knows() {
    let server = Setup::application().start();
    let (mut one, mut other) = (Socket::open(&server).await, Socket::open(&server).await);
    let first = one.turn(json!({"input": "My name is Ada.", "store": false})).await;
    let next = json!({"input": "What is my name?", "previous_response_id": first["id"]});
    other.create(next.clone()).await;
    other.expect_error(400, "previous_response_not_found").await;
    assert_eq!(said(&one.turn(next).await), "Your name is Ada.");
}

#[tokio::test]
async fn messages_are_served_in_order_and_mistakes_keep_the_connection() {
    let server = Setup::application().start();
    let mut socket = Socket::open(&server).await;
    socket.create(json!({"input": "My name is Ada."})).await;
    socket.create(json!({"input": "Hi", "stream": true})).await;
    socket.create(json!({"input": 7})).await;
    socket.create(json!({"input": "Hi"})).await;
    socket.response().await;
    socket.expect_error(400, "unsupported_parameter").await;
    let event = socket.event().await;
    assert_eq!(
        (event["type"].as_str(), event["error"]["param"].as_str()),
        (Some("error"), Some("input")),
        "{event}"
    );
    socket.response().await;
    socket.0.send(Message::binary(&b"{}"[..])).await.unwrap();
    socket.expect_error(400, "invalid_message").await;
    socket.expect_close(1003).await;
}

#[tokio::test]
async fn a_handshake_is_a_request_that_can_be_refused() {
    let server = with_tenants(Setup::application(), [("bank", "")]).start();
    let check = async |request: RequestBuilder, status: u16| {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        response
    };
    check(handshake(Caller::nobody(&server).request("GET", PATH)), 401).await;
    let bank = Caller::with(&server, &key_of("bank"));
    let old = bank.request("GET", PATH).header("connection", "Upgrade").header("upgrade", "websocket");
    let old = check(old.header("sec-websocket-version", "8"), 426).await;
    assert_eq!(old.headers()["sec-websocket-version"], "13");
    let mut socket = Socket::of(check(handshake(bank.request("GET", PATH)), 101).await).await;
    socket.turn(json!({"input": "Hi"})).await;
}

#[tokio::test]
async fn without_tenants_a_page_of_another_site_opens_none() {
    let server = Setup::application().start();
    let request = handshake(client().get(server.url(PATH))).header("origin", "https://evil.test");
    assert_eq!(request.send().await.unwrap().status(), 403);
    let request = handshake(client().get(server.url(PATH))).header("origin", "http://localhost:5173");
    assert_eq!(request.send().await.unwrap().status(), 101);
}

#[tokio::test]
async fn a_suspended_tenant_is_disconnected_at_its_next_message() {
    let server = Setup::application().start();
    let admin = Admin::of(&server);
    let key = admin.create("bank", json!({})).await;
    let bank = Caller::with(&server, &key);
    let mut socket = Socket::of(handshake(bank.request("GET", PATH)).send().await.unwrap()).await;
    socket.turn(json!({"input": "Hi"})).await;
    admin.change("bank", json!({"state": "suspended"})).await;
    socket.create(json!({"input": "Hi"})).await;
    socket.expect_error(403, "tenant_suspended").await;
    socket.expect_close(1008).await;
}

#[tokio::test]
async fn a_message_over_the_bound_is_told_and_ends_the_connection() {
    let server =
        Setup::application().runtime_config("[gateway.websocket]\nmessage_bytes_max = 65_536\n").start();
    let mut socket = Socket::open(&server).await;
    socket.create(json!({"input": "x".repeat(65_536)})).await;
    socket.expect_error(413, "request_too_large").await;
    socket.expect_close(1009).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call_of_the_model() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let model = format!("http://{}/v1", listener.local_addr().unwrap());
    let server = Setup::application().env("OPENAI_BASE_URL", &model).start();
    let mut socket = Socket::open(&server).await;
    socket.create(json!({"input": "Hi"})).await;
    let (mut call, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(call.read_buf(&mut read).await.unwrap() > 0);
    }
    call.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.unwrap();
    drop(socket);
    let ended = async { while matches!(call.read_buf(&mut read).await, Ok(bytes) if bytes > 0) {} };
    timeout(PATIENCE, ended).await.expect("the call ends");
}

#[tokio::test]
async fn a_host_that_goes_down_says_so_and_waits_for_no_idle_connection() {
    let mut server = Setup::application().start();
    let mut socket = Socket::open(&server).await;
    socket.turn(json!({"input": "Hi"})).await;
    server.signal("TERM");
    socket.expect_close(1001).await;
    drop(socket);
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn open_websockets_are_bounded_and_counted() {
    let server = Setup::application().runtime_config("[gateway.websocket]\nconnections_max = 1\n").start();
    let socket = Socket::open(&server).await;
    let second = handshake(client().get(server.url(PATH))).send().await.unwrap();
    assert_eq!(second.status(), 503);
    assert_eq!(second.headers()["retry-after"], "1");
    drop(socket);
    in_force("the place that is free again", async || {
        handshake(client().get(server.url(PATH))).send().await.unwrap().status() == 101
    })
    .await;
}
