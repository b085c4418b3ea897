//! The server as clients of all three revisions meet it: a table of what is asked and what has to come back.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use futures::executor::block_on;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::rc::Rc;
use waggle_mcp::Progress;
use waggle_mcp::server::{
    Answer, BODY_BYTES_MAX, Contents, Head, Page, PromptSet, ServedResource, ServedResult, ServedTool,
    Server, ServerFailure, ServerResources, ServerTools, Settings, ToolCall,
};
use waggle_model::transport::{ChunkSource, TransportFailure};
use waggle_platform::{Gone, Reply, Sink};

const STATELESS: &str = "2026-07-28";
const WITH_HANDSHAKE: [&str; 2] = ["2025-11-25", "2025-06-18"];

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

/// Tools `echo` and `slow`, and as many others as are wanted.
#[derive(Clone, Default)]
struct Tools {
    others: usize,
    /// How often `slow` was begun, and dropped before its end.
    begun: Rc<Cell<usize>>,
    dropped: Rc<Cell<usize>>,
}

struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn served(name: &str) -> ServedTool {
    ServedTool {
        name: name.to_owned(),
        title: None,
        description: "For tests.".to_owned(),
        input_schema: raw(&json!({"type": "object"})),
        output_schema: None,
        read_only: true,
        idempotent: true,
    }
}

impl ServerTools for Tools {
    async fn tools(&self) -> Result<Vec<ServedTool>, ServerFailure> {
        let echo = ServedTool { output_schema: Some(raw(&json!({"type": "object"}))), ..served("echo") };
        let others = (0..self.others).rev().map(|number| served(&format!("other_{number:04}")));
        Ok(others.chain([served("slow"), echo]).collect())
    }

    async fn call<P: Progress>(
        &self,
        call: ToolCall<'_>,
        progress: &mut P,
    ) -> Result<ServedResult, ServerFailure> {
        let result =
            |text: &str, is_error| ServedResult { text: text.to_owned(), structured: None, is_error };
        match call.name {
            "echo" => {
                progress.report(1.0, Some(2.0), "half");
                progress.report(0.5, Some(2.0), "back");
                progress.report(2.0, Some(2.0), "whole");
                let structured = Some(call.arguments.to_owned());
                Ok(ServedResult { structured, ..result(call.arguments.get(), false) })
            }
            "slow" => {
                self.begun.set(self.begun.get() + 1);
                let _dropped = Dropped(Rc::clone(&self.dropped));
                pending().await
            }
            "wrong" => Ok(result("the order number is missing", true)),
            "busy" => Err(ServerFailure::Busy(7)),
            "broken" => Err(ServerFailure::Failed("it failed".to_owned())),
            name => Err(ServerFailure::Unknown(format!("there is no tool '{name}'"))),
        }
    }
}

struct Files;

impl ServerResources for Files {
    async fn resources(&self, cursor: Option<&str>) -> Result<Page<ServedResource>, ServerFailure> {
        let file = |name: &str| ServedResource {
            uri: format!("waggle://files/{name}"),
            name: name.to_owned(),
            description: None,
            mime_type: Some("text/plain".to_owned()),
            size: Some(3),
        };
        match cursor {
            None => Ok(Page { entries: vec![file("a")], next: Some("after-a".to_owned()) }),
            Some("after-a") => Ok(Page { entries: vec![file("b")], next: None }),
            Some(_) => Err(ServerFailure::Invalid("'cursor' was given by no page".to_owned())),
        }
    }

    async fn read(&self, uri: &str) -> Result<Vec<Contents>, ServerFailure> {
        let uri = uri.to_owned();
        match uri.as_str() {
            "waggle://files/a" => Ok(vec![Contents::Text { uri, mime_type: None, text: "abc".to_owned() }]),
            "waggle://files/b" => Ok(vec![Contents::Bytes { uri, mime_type: None, bytes: vec![0, 255] }]),
            _ => Err(ServerFailure::Unknown(format!("there is no resource '{uri}'"))),
        }
    }
}

struct Body(VecDeque<Vec<u8>>);

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.pop_front())
    }
}

/// A request, with the header fields that go with it unless others are put in their place.
struct Asked {
    method: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    tools: Tools,
}

impl Asked {
    fn new(headers: &[(&str, &str)], body: &Value) -> Self {
        let given = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let headers =
            given.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Self {
            method: "POST",
            headers: headers.collect(),
            body: body.to_string().into_bytes(),
            tools: Tools::default(),
        }
    }

    /// With `value` for the field `name`; none when it is empty.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        }
        self
    }

    fn answer(self) -> Answer<Tools> {
        let settings = Settings {
            name: "waggle".to_owned(),
            version: "1".to_owned(),
            instructions: None,
            origins: Some(vec!["https://app.example".to_owned()]),
        };
        let prompts = r#"[{"name": "hello", "arguments": [{"name": "who", "required": true}],
            "messages": [{"text": "Greet {{who}}."}]}]"#;
        let prompts = PromptSet::read(prompts).unwrap();
        let server = Server { settings, tools: self.tools, resources: Files, prompts };
        let head = Head { method: self.method, headers: &self.headers };
        block_on(server.handle(head, Body(VecDeque::from([self.body]))))
    }

    fn reply(self) -> (Reply, Value) {
        let Answer::Reply(reply) = self.answer() else { panic!("a stream") };
        let body = serde_json::from_slice(&reply.body).unwrap_or_default();
        (reply, body)
    }
}

/// A request of 2026-07-28 with all that it has to have.
fn stateless(method: &str, params: &Value) -> Asked {
    let mut params = params.clone();
    let meta = params.as_object_mut().unwrap().entry("_meta").or_insert_with(|| json!({}));
    meta["io.modelcontextprotocol/protocolVersion"] = STATELESS.into();
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).unwrap_or_default();
    Asked::new(&[("MCP-Protocol-Version", STATELESS), ("Mcp-Method", method)], &body).with("Mcp-Name", name)
}

/// A request after a handshake.
fn after_handshake(version: &str, method: &str, params: &Value) -> Asked {
    let body = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
    Asked::new(&[("mcp-protocol-version", version)], &body)
}

fn result(asked: Asked) -> Value {
    let (reply, body) = asked.reply();
    assert_eq!(reply.status, 200, "{body}");
    assert_eq!(body["jsonrpc"], "2.0");
    assert!(body.get("error").is_none(), "{body}");
    body["result"].clone()
}

fn error(asked: Asked) -> (u16, i64) {
    let (reply, body) = asked.reply();
    assert!(body.get("result").is_none(), "{body}");
    (reply.status, body["error"]["code"].as_i64().unwrap_or_default())
}

/// All that waits is polled until nothing moves any more, as an executor would.
fn run<F: Future>(future: F) -> F::Output {
    block_on(future)
}

#[test]
fn a_server_says_what_it_speaks_and_serves() {
    let discovered = result(stateless("server/discover", &json!({})));
    let expected = json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18"],
        "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
        "ttlMs": 3_600_000,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "waggle", "version": "1"}},
    });
    assert_eq!(discovered, expected);
}

#[test]
fn a_handshake_comes_to_a_revision_that_both_speak() {
    let check = |asked: &str, expected: &str| {
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let (reply, body) = Asked::new(&[], &body).reply();
        assert_eq!((reply.status, &body["result"]["protocolVersion"]), (200, &expected.into()), "{body}");
        assert_eq!(body["result"]["serverInfo"]["name"], "waggle");
        let session = reply.headers.iter().find(|(name, _)| *name == "mcp-session-id");
        assert!(session.is_none() && body["result"].get("resultType").is_none());
    };
    check("2025-11-25", "2025-11-25");
    check("2025-06-18", "2025-06-18");
    check("2024-11-05", "2025-11-25");
    check("2026-07-28", "2025-11-25");
    check("tomorrow", "2025-11-25");
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}});
    assert_eq!(error(Asked::new(&[], &body)), (200, -32602));
}

#[test]
fn lists_are_the_same_for_all_revisions() {
    let lists = [
        ("tools/list", "tools"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ];
    for (method, name) in lists {
        let new = result(stateless(method, &json!({})));
        assert_eq!(
            (&new["resultType"], &new["ttlMs"], &new["cacheScope"]),
            (&json!("complete"), &json!(60_000), &json!("private"))
        );
        for version in WITH_HANDSHAKE {
            let old = result(after_handshake(version, method, &json!({})));
            assert_eq!(old[name], new[name], "{method} {version}");
            assert!(old.get("resultType").is_none() && old.get("ttlMs").is_none(), "{old}");
        }
    }
    let tools = result(stateless("tools/list", &json!({})));
    let names: Vec<_> = tools["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["echo", "slow"]);
    assert_eq!(tools["tools"][0]["annotations"], json!({"readOnlyHint": true, "idempotentHint": true}));
}

#[test]
fn long_lists_come_in_pages() {
    let page = |cursor: Option<&Value>| {
        let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}));
        let mut asked = stateless("tools/list", &params);
        asked.tools.others = 250;
        result(asked)
    };
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(cursor.as_ref());
        let tools = page["tools"].as_array().unwrap();
        names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        cursor = page.get("nextCursor").cloned();
        if cursor.is_none() {
            break;
        }
        assert_eq!(tools.len(), 100);
    }
    assert_eq!(names.len(), 252);
    assert!(names.is_sorted() && names.first().unwrap() == "echo");
    let resources = result(stateless("resources/list", &json!({"cursor": "after-a"})));
    assert_eq!(resources["resources"][0]["name"], "b");
    for method in ["tools/list", "resources/list", "prompts/list"] {
        assert_eq!(error(stateless(method, &json!({"cursor": "§"}))), (400, -32602), "{method}");
    }
}

#[test]
fn a_call_gives_text_and_structure_and_a_tool_s_own_error_is_a_result() {
    let params = json!({"name": "echo", "arguments": {"a": 1}});
    let expected = json!({"content": [{"type": "text", "text": "{\"a\":1}"}], "structuredContent": {"a": 1}, "isError": false});
    for version in WITH_HANDSHAKE {
        assert_eq!(result(after_handshake(version, "tools/call", &params)), expected);
    }
    let called = result(stateless("tools/call", &params));
    assert_eq!(called["structuredContent"], json!({"a": 1}));
    assert_eq!(called["resultType"], "complete");
    assert!(called.get("ttlMs").is_none(), "{called}");
    let wrong = result(stateless("tools/call", &json!({"name": "wrong"})));
    assert_eq!(
        (&wrong["isError"], &wrong["content"][0]["text"]),
        (&json!(true), &json!("the order number is missing"))
    );
}

#[test]
fn what_is_not_there_is_said_as_each_revision_says_it() {
    let check = |method: &str, params: Value, new: (u16, i64), old: i64| {
        assert_eq!(error(stateless(method, &params)), new, "{method} {params}");
        for version in WITH_HANDSHAKE {
            assert_eq!(
                error(after_handshake(version, method, &params)),
                (200, old),
                "{method} {params} {version}"
            );
        }
    };
    check("tools/call", json!({"name": "none"}), (400, -32602), -32602);
    check("tools/call", json!({}), (400, -32602), -32602);
    check("tools/call", json!({"name": "echo", "arguments": [1]}), (400, -32602), -32602);
    check("tools/call", json!({"name": "broken"}), (200, -32603), -32603);
    check("tools/call", json!({"name": "busy"}), (503, -32603), -32603);
    check("resources/read", json!({"uri": "waggle://files/none"}), (400, -32602), -32002);
    check("resources/read", json!({}), (400, -32602), -32602);
    check("prompts/get", json!({"name": "none"}), (400, -32602), -32602);
    check("prompts/get", json!({"name": "hello"}), (400, -32602), -32602);
    check("prompts/get", json!({"name": "hello", "arguments": {"who": 7}}), (400, -32602), -32602);
    check("completion/complete", json!({}), (404, -32601), -32601);
    check("logging/setLevel", json!({"level": "debug"}), (404, -32601), -32601);
    let (reply, _) = stateless("tools/call", &json!({"name": "busy"})).reply();
    assert!(reply.headers.contains(&("retry-after", "7".to_owned())));
    // What one era has and the other has not.
    assert_eq!(error(stateless("ping", &json!({}))), (404, -32601));
    assert_eq!(error(stateless("initialize", &json!({}))), (404, -32601));
    assert_eq!(result(after_handshake("2025-06-18", "ping", &json!({}))), json!({}));
    assert_eq!(error(after_handshake("2025-06-18", "server/discover", &json!({}))), (200, -32601));
}

#[test]
fn resources_and_prompts_are_read() {
    let text = result(stateless("resources/read", &json!({"uri": "waggle://files/a"})));
    assert_eq!(text["contents"], json!([{"uri": "waggle://files/a", "text": "abc"}]));
    assert_eq!(text["cacheScope"], "private");
    let bytes = result(after_handshake("2025-06-18", "resources/read", &json!({"uri": "waggle://files/b"})));
    assert_eq!(bytes["contents"], json!([{"uri": "waggle://files/b", "blob": "AP8="}]));
    let prompt = result(stateless("prompts/get", &json!({"name": "hello", "arguments": {"who": "Ada"}})));
    assert_eq!(
        prompt["messages"],
        json!([{"role": "user", "content": {"type": "text", "text": "Greet Ada."}}])
    );
}

#[test]
fn a_head_that_says_something_else_than_the_body_is_refused() {
    let call = || stateless("tools/call", &json!({"name": "echo"}));
    let check = |asked: Asked, expected: (u16, i64)| assert_eq!(error(asked), expected);
    check(call().with("mcp-protocol-version", ""), (400, -32020));
    check(call().with("mcp-protocol-version", "2025-11-25"), (400, -32020));
    check(call().with("mcp-method", ""), (400, -32020));
    check(call().with("mcp-method", "tools/list"), (400, -32020));
    check(call().with("mcp-name", ""), (400, -32020));
    check(call().with("mcp-name", "other"), (400, -32020));
    check(call().with("mcp-name", "=?base64?b3RoZXI=?="), (400, -32020));
    check(call().with("mcp-name", "=?base64?***?="), (400, -32020));
    let mut twice = call();
    twice.headers.push(("MCP-NAME".to_owned(), b"echo".to_vec()));
    check(twice, (400, -32020));
    let encoded = call().with("mcp-name", "=?base64?ZWNobw==?=");
    assert_eq!(result(encoded)["isError"], false);
}

#[test]
fn a_request_without_what_it_has_to_say_of_itself_is_refused() {
    let with_meta = |meta: Value| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
        let headers = [("mcp-protocol-version", STATELESS), ("mcp-method", "tools/list")];
        error(Asked::new(&headers, &body))
    };
    assert_eq!(with_meta(json!({})), (400, -32602));
    assert_eq!(with_meta(json!({"io.modelcontextprotocol/protocolVersion": STATELESS})), (400, -32602));
    let number = json!({"io.modelcontextprotocol/protocolVersion": 7, "io.modelcontextprotocol/clientCapabilities": {}});
    assert_eq!(with_meta(number), (400, -32602));
    assert_eq!(with_meta(json!([])), (400, -32602));
    assert_eq!(
        error(after_handshake("2025-06-18", "tools/list", &json!({})).with("mcp-protocol-version", "")),
        (400, -32020)
    );
}

#[test]
fn a_revision_that_is_not_spoken_is_refused_with_those_that_are() {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "1900-01-01", "io.modelcontextprotocol/clientCapabilities": {}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
    let headers = [("mcp-protocol-version", "1900-01-01"), ("mcp-method", "tools/list")];
    let supported =
        json!({"supported": ["2026-07-28", "2025-11-25", "2025-06-18"], "requested": "1900-01-01"});
    let (reply, body) = Asked::new(&headers, &body).reply();
    assert_eq!(
        (reply.status, &body["error"]["code"], &body["error"]["data"]),
        (400, &json!(-32022), &supported)
    );
    let (reply, body) = after_handshake("1900-01-01", "tools/list", &json!({})).reply();
    assert_eq!((reply.status, &body["error"]["data"]), (400, &supported));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(error(Asked::new(&[("mcp-protocol-version", "1900-01-01")], &note)), (400, -32022));
}

#[test]
fn what_is_no_message_is_refused_and_notifications_are_taken() {
    let check = |body: &[u8], expected: (u16, i64)| {
        let mut asked = after_handshake("2025-11-25", "ping", &json!({}));
        asked.body = body.to_vec();
        assert_eq!(error(asked), expected, "{}", String::from_utf8_lossy(body));
    };
    check(b"", (400, -32700));
    check(b"{", (400, -32700));
    check(b"\xff", (400, -32700));
    check(br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, (400, -32600));
    check(br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, (400, -32600));
    check(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, (400, -32600));
    check("[".repeat(100_000).as_bytes(), (400, -32600));
    check(&vec![b' '; BODY_BYTES_MAX + 1], (413, -32600));
    for version in ["2025-11-25", "2025-06-18", STATELESS] {
        for method in ["notifications/initialized", "notifications/cancelled", "notifications/unknown"] {
            let body = json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": 1}});
            let (reply, _) = Asked::new(&[("mcp-protocol-version", version)], &body).reply();
            assert_eq!((reply.status, reply.body.as_slice()), (202, &b""[..]), "{method} {version}");
        }
    }
}

#[test]
fn the_head_alone_decides_whether_anybody_is_listened_to() {
    let call = || stateless("tools/list", &json!({}));
    assert_eq!(error(call().with("origin", "https://evil.example")).0, 403);
    assert_eq!(error(call().with("origin", "null")).0, 403);
    assert_eq!(call().with("origin", "https://app.example").reply().0.status, 200);
    for method in ["GET", "DELETE", "PUT", "OPTIONS"] {
        let (reply, _) = Asked { method, ..call() }.reply();
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.headers.contains(&("allow", "POST".to_owned())));
    }
    assert_eq!(error(call().with("content-type", "text/plain")).0, 415);
    assert_eq!(error(call().with("content-type", "")).0, 415);
    assert_eq!(call().with("content-type", "application/json; charset=utf-8").reply().0.status, 200);
    assert_eq!(error(call().with("accept", "text/html")).0, 406);
    for accept in ["*/*", "application/*", "application/json;q=0.5", ""] {
        assert_eq!(call().with("accept", accept).reply().0.status, 200, "{accept}");
    }
}

#[test]
fn a_subscription_is_granted_nothing_and_is_over_in_good_order() {
    let params = json!({"notifications": {"toolsListChanged": true}});
    let (reply, _) = stateless("subscriptions/listen", &params).reply();
    assert!(
        reply
            .headers
            .iter()
            .any(|(name, value)| *name == "content-type" && value.starts_with("text/event-stream"))
    );
    let text = String::from_utf8(reply.body).unwrap();
    let messages: Vec<Value> = events(&text);
    assert_eq!(messages.len(), 2, "{text}");
    assert_eq!(messages[0]["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(messages[0]["params"]["notifications"], json!({}));
    assert_eq!(messages[1]["id"], 1);
    for message in [&messages[0]["params"], &messages[1]["result"]] {
        assert_eq!(message["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    }
    let refused = stateless("subscriptions/listen", &params).with("accept", "application/json");
    assert_eq!(error(refused).0, 406);
}

fn events(text: &str) -> Vec<Value> {
    text.split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| serde_json::from_str(event.split_once("data: ").unwrap().1).unwrap())
        .collect()
}

/// A sink that keeps what is written, and whose client is gone after so many events.
#[derive(Clone, Default)]
struct Written {
    text: Rc<RefCell<String>>,
    events: Rc<Cell<usize>>,
    gone_after: Option<usize>,
}

impl Written {
    fn is_gone(&self) -> bool {
        self.gone_after.is_some_and(|events| self.events.get() >= events)
    }
}

impl Sink for Written {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        if self.is_gone() {
            return Err(Gone);
        }
        self.events.set(self.events.get() + 1);
        self.text.borrow_mut().push_str(&String::from_utf8(bytes).unwrap());
        Ok(())
    }

    async fn gone(&mut self) {
        if !self.is_gone() {
            pending::<()>().await;
        }
    }
}

#[test]
fn progress_is_told_to_whoever_asks_for_it() {
    for token in [json!("abc"), json!(7)] {
        let params = json!({"name": "echo", "arguments": {}, "_meta": {"progressToken": token}});
        let Answer::Stream(call) = stateless("tools/call", &params).answer() else { panic!("no stream") };
        let sink = Written::default();
        run(call.run(sink.clone()));
        let messages = events(&sink.text.borrow());
        let (last, reports) = messages.split_last().unwrap();
        let reports: Vec<_> =
            reports.iter().map(|report| report["params"]["progress"].as_f64().unwrap()).collect();
        assert_eq!(reports, [0.0, 1.0, 2.0]);
        assert_eq!(
            messages[1]["params"],
            json!({"progressToken": token, "progress": 1, "total": 2, "message": "half"})
        );
        assert_eq!((&last["id"], &last["result"]["isError"]), (&json!(1), &json!(false)));
    }
    // Who takes no events gets none, and neither does who gives no token that is one.
    let params = json!({"name": "echo", "_meta": {"progressToken": "abc"}});
    assert_eq!(stateless("tools/call", &params).with("accept", "application/json").reply().0.status, 200);
    let params = json!({"name": "echo", "_meta": {"progressToken": {}}});
    assert_eq!(stateless("tools/call", &params).reply().0.status, 200);
}

#[test]
fn an_error_of_a_call_that_is_followed_is_the_last_event() {
    let params = json!({"name": "none", "_meta": {"progressToken": 1}});
    let Answer::Stream(call) = after_handshake("2025-11-25", "tools/call", &params).answer() else {
        panic!("no stream")
    };
    let sink = Written::default();
    run(call.run(sink.clone()));
    let messages = events(&sink.text.borrow());
    assert_eq!(messages.last().unwrap()["error"]["code"], -32602);
}

#[test]
fn a_client_that_goes_away_cancels_its_call() {
    let tools = Tools::default();
    let params = json!({"name": "slow", "_meta": {"progressToken": 1}});
    let asked = Asked { tools: tools.clone(), ..stateless("tools/call", &params) };
    let Answer::Stream(call) = asked.answer() else { panic!("no stream") };
    let sink = Written { gone_after: Some(1), ..Written::default() };
    run(call.run(sink.clone()));
    assert_eq!((tools.begun.get(), tools.dropped.get()), (1, 1));
    let messages = events(&sink.text.borrow());
    assert!(messages.iter().all(|message| message.get("result").is_none()), "{messages:?}");
}
