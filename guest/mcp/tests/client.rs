//! The client against servers of each revision, and against servers that lie.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use futures::executor::block_on;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{pending, ready};
use waggle_mcp::client::{Bounds, CallOutcome, Client, ClientFailure, RemoteCall};
use waggle_mcp::{Fetch, FetchRequest, FetchResponse, Progress, Unheard, Version};
use waggle_model::transport::{ChunkSource, TransportFailure};

const URL: &str = "https://tools.example/mcp";

/// A body: chunks, and then its end, no end, or nothing any more.
enum Body {
    Whole(VecDeque<Vec<u8>>),
    Endless(Vec<u8>),
    Silent,
    Cut,
}

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        match self {
            Self::Whole(chunks) => Ok(chunks.pop_front()),
            Self::Endless(chunk) => Ok(Some(chunk.clone())),
            Self::Silent => pending().await,
            Self::Cut => Err(TransportFailure::Cut("by the test".to_owned())),
        }
    }
}

struct Given {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Given {
    fn new(status: u16, content_type: &str, text: &str) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: Body::Whole(VecDeque::from([text.as_bytes().to_vec()])) }
    }

    fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", &value.to_string())
    }

    fn result(asked: &Value, result: Value) -> Self {
        Self::json(200, &json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}))
    }

    fn error(status: u16, asked: &Value, code: i64, data: Value) -> Self {
        let error = json!({"code": code, "message": "no", "data": data});
        Self::json(status, &json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}))
    }

    fn events(messages: &[Value]) -> Self {
        let text: String =
            messages.iter().map(|message| format!("event: message\ndata: {message}\n\n")).collect();
        Self::new(200, "text/event-stream", &text)
    }

    fn endless(chunk: &str) -> Self {
        Self { body: Body::Endless(chunk.as_bytes().to_vec()), ..Self::new(200, "text/event-stream", "") }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A server: what it answers to each message, and what it was asked.
struct Fake<A> {
    answer: A,
    seen: RefCell<Vec<(FetchRequest, Value)>>,
}

impl<A: Fn(&FetchRequest, &Value) -> Given> Fake<A> {
    fn new(answer: A) -> Self {
        Self { answer, seen: RefCell::default() }
    }

    fn methods(&self) -> Vec<String> {
        let name = |(request, message): &(FetchRequest, Value)| match message["method"].as_str() {
            Some(method) => method.to_owned(),
            None if request.method == "DELETE" => "DELETE".to_owned(),
            None => "answer".to_owned(),
        };
        self.seen.borrow().iter().map(name).collect()
    }

    fn header(&self, index: usize, name: &str) -> Option<String> {
        let seen = self.seen.borrow();
        let (request, _) = seen.get(index)?;
        request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

impl<A: Fn(&FetchRequest, &Value) -> Given> Fetch for Fake<A> {
    type Body = Body;

    async fn send(&self, request: FetchRequest) -> Result<FetchResponse<Body>, TransportFailure> {
        assert_eq!(request.url, URL);
        let message =
            request.body.as_deref().map(|body| serde_json::from_slice(body).unwrap()).unwrap_or_default();
        let given = (self.answer)(&request, &message);
        self.seen.borrow_mut().push((request, message));
        let headers = given.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(FetchResponse { status: given.status, headers, body: given.body })
    }
}

fn tools(asked: &Value) -> Given {
    let tool = |name: &str| json!({"name": name, "description": "x", "inputSchema": {"type": "object"}});
    match asked["params"]["cursor"].as_str() {
        None => Given::result(asked, json!({"tools": [tool("b")], "nextCursor": "2", "ttlMs": 5000})),
        Some(_) => Given::result(asked, json!({"tools": [tool("a")], "ttlMs": 9000})),
    }
}

/// A server of 2026-07-28.
fn stateless(request: &FetchRequest, asked: &Value) -> Given {
    let header =
        |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let method = asked["method"].as_str().unwrap();
    assert_eq!(header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(header("mcp-method"), Some(method));
    assert_eq!(header("accept"), Some("application/json, text/event-stream"));
    let meta = &asked["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    match method {
        "server/discover" => {
            Given::result(asked, json!({"resultType": "complete", "supportedVersions": ["2026-07-28"]}))
        }
        "tools/list" => tools(asked),
        "tools/call" => {
            assert_eq!(header("mcp-name"), asked["params"]["name"].as_str());
            let text = asked["params"]["arguments"].to_string();
            Given::result(
                asked,
                json!({"resultType": "complete", "content": [{"type": "text", "text": text}]}),
            )
        }
        other => panic!("{other}"),
    }
}

/// A server that shakes hands, and gives a session.
fn with_handshake(version: &'static str) -> impl Fn(&FetchRequest, &Value) -> Given {
    move |request, asked| {
        let header = |name: &str| {
            request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        let method = asked["method"].as_str().unwrap_or_default();
        if method == "initialize" {
            let result = json!({"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}});
            return Given::result(asked, result).with("mcp-session-id", "s1");
        }
        if header("mcp-session-id") != Some("s1") {
            return Given::error(400, asked, -32000, json!(null));
        }
        assert_eq!(header("mcp-protocol-version"), Some(version));
        match method {
            "notifications/initialized" | "notifications/cancelled" => Given::new(202, "", ""),
            "tools/list" => tools(asked),
            _ => Given::result(asked, json!({"content": [{"type": "text", "text": "done"}]})),
        }
    }
}

fn arguments(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn call<F: Fetch>(client: &mut Client<F>) -> Result<CallOutcome, ClientFailure> {
    let arguments = arguments(&json!({"a": 1}));
    let call = RemoteCall { name: "echo", arguments: &arguments, parameters: None, is_followed: false };
    block_on(client.call_tool(call, &mut Unheard, pending()))
}

fn failure(answer: impl Fn(&FetchRequest, &Value) -> Given) -> ClientFailure {
    let fake = Fake::new(move |request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
        Some("tools/call" | "tools/list") => answer(request, asked),
        _ => stateless(request, asked),
    });
    let mut client = Client::new(&fake, URL);
    call(&mut client).unwrap_err()
}

fn listing_failure(answer: impl Fn(&FetchRequest, &Value) -> Given) -> ClientFailure {
    let fake = Fake::new(move |request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
        Some("tools/list") => answer(request, asked),
        _ => stateless(request, asked),
    });
    let mut client = Client::new(&fake, URL);
    block_on(client.list_tools()).unwrap_err()
}

#[test]
fn a_stateless_server_is_asked_without_a_handshake() {
    let fake = Fake::new(stateless);
    let mut client =
        Client::new(&fake, URL).with_headers(vec![("waggle-tool".to_owned(), "shop".to_owned())]);
    let listing = block_on(client.list_tools()).unwrap();
    let names: Vec<_> = listing.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!((names.as_slice(), listing.fresh_ms), (&["a", "b"][..], 5000));
    assert_eq!(call(&mut client).unwrap().text, "{\"a\":1}");
    assert_eq!(fake.methods(), ["server/discover", "tools/list", "tools/list", "tools/call"]);
    assert_eq!(client.session().unwrap().version(), Version::July2026);
    for index in 0..4 {
        assert_eq!(fake.header(index, "waggle-tool").as_deref(), Some("shop"));
    }
    // The next client asks nothing that is known.
    let mut next = Client::new(&fake, URL).with_session(client.session().cloned());
    call(&mut next).unwrap();
    assert_eq!(fake.methods().len(), 5);
}

#[test]
fn a_server_that_shakes_hands_gets_one_and_its_session_is_kept() {
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let fake = Fake::new(with_handshake(version));
        let mut client = Client::new(&fake, URL);
        assert_eq!(block_on(client.list_tools()).unwrap().tools.len(), 2);
        assert_eq!(call(&mut client).unwrap().text, "done");
        let expected = [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "tools/list",
            "tools/list",
            "tools/call",
        ];
        assert_eq!(fake.methods(), expected);
        assert_eq!(fake.header(1, "mcp-protocol-version"), None);
        block_on(client.close());
        assert_eq!(fake.methods().last().unwrap(), "DELETE");
        assert_eq!(fake.header(6, "mcp-session-id").as_deref(), Some("s1"));
    }
}

#[test]
fn what_an_unknown_method_is_answered_with_decides_the_handshake() {
    let check = |discover: fn(&Value) -> Given, expected: Result<Version, &str>| {
        let old = with_handshake("2025-06-18");
        let fake = Fake::new(|request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
            Some("server/discover") => discover(asked),
            _ if expected == Ok(Version::July2026) => stateless(request, asked),
            _ => old(request, asked),
        });
        let mut client = Client::new(&fake, URL);
        let found = block_on(client.list_tools()).map(|_| client.session().unwrap().version());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(failure), Err(text)) => assert!(failure.to_string().contains(text), "{failure}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    };
    let old = Ok(Version::June2025);
    check(|asked| Given::error(404, asked, -32601, json!(null)), old);
    check(|asked| Given::error(200, asked, -32601, json!(null)), old);
    check(|asked| Given::error(400, asked, -32600, json!(null)), old);
    check(|_| Given::new(400, "text/plain", "Bad Request: No valid session ID provided"), old);
    check(|_| Given::new(404, "text/html", "<html>"), old);
    check(|_| Given::new(500, "text/plain", "oops"), old);
    check(|_| Given::new(202, "", ""), old);
    check(|asked| Given::result(asked, json!({"supportedVersions": ["2025-11-25"]})), old);
    check(|asked| Given::result(asked, json!({})), old);
    check(|asked| Given::error(400, asked, -32022, json!({"supported": ["2025-06-18"]})), old);
    let event = |asked: &Value| {
        let result = json!({"supportedVersions": ["2027-01-01", "2026-07-28"]});
        Given::events(&[json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})])
    };
    check(event, Ok(Version::July2026));
    check(|asked| Given::error(400, asked, -32022, json!({"supported": ["2030-01-01"]})), Err("2030-01-01"));
    check(|asked| Given::error(400, asked, -32021, json!(null)), Err("-32021"));
    check(|_| Given::new(401, "text/plain", ""), Err("refuses our credential"));
    check(|_| Given::new(307, "text/plain", "").with("location", "http://10.0.0.1/"), Err("redirects"));
    check(|_| Given::new(503, "text/plain", ""), Err("busy"));
    check(|_| Given::new(502, "text/plain", ""), Err("HTTP 502"));
}

#[test]
fn a_session_that_is_over_is_opened_anew_once() {
    let sessions = RefCell::new(0);
    let fake = Fake::new(|request: &FetchRequest, asked: &Value| {
        let session =
            request.headers.iter().find(|(name, _)| name == "mcp-session-id").map(|(_, value)| value.clone());
        match asked["method"].as_str().unwrap_or_default() {
            "initialize" => {
                *sessions.borrow_mut() += 1;
                let result = json!({"protocolVersion": "2025-11-25"});
                Given::result(asked, result).with("mcp-session-id", &format!("s{}", sessions.borrow()))
            }
            "notifications/initialized" => Given::new(202, "", ""),
            "server/discover" => Given::error(404, asked, -32601, json!(null)),
            // The first session has ended by now; with `dead` all have.
            "tools/call" if session.as_deref() == Some("s2") => Given::result(asked, json!({"content": []})),
            _ => Given::error(404, asked, -32001, json!(null)),
        }
    });
    let mut client = Client::new(&fake, URL);
    // A session that was only just opened and is over is an error, not a loop.
    assert_eq!(call(&mut client).unwrap_err(), ClientFailure::SessionOver);
    call(&mut client).unwrap();
    assert_eq!(*sessions.borrow(), 2);
    assert_eq!(fake.methods().iter().filter(|method| *method == "tools/call").count(), 3);
}

#[test]
fn arguments_and_names_are_repeated_in_the_head_as_the_schema_wants() {
    let fake = Fake::new(|request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
        Some("tools/call") => Given::result(asked, json!({"content": []})),
        _ => stateless(request, asked),
    });
    let mut client = Client::new(&fake, URL);
    let schema = arguments(
        &json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}),
    );
    let arguments = arguments(&json!({"region": "世界\r\nx: y"}));
    let call =
        RemoteCall { name: "näme", arguments: &arguments, parameters: Some(&schema), is_followed: false };
    block_on(client.call_tool(call, &mut Unheard, pending())).unwrap();
    assert_eq!(fake.header(1, "mcp-name").as_deref(), Some("=?base64?bsOkbWU=?="));
    assert_eq!(fake.header(1, "mcp-param-region").as_deref(), Some("=?base64?5LiW55WMDQp4OiB5?="));
}

#[derive(Default)]
struct Heard(Vec<(f64, Option<f64>, String)>);

impl Progress for Heard {
    fn report(&mut self, done: f64, total: Option<f64>, message: &str) {
        self.0.push((done, total, message.to_owned()));
    }
}

#[test]
fn progress_of_ones_own_call_is_heard() {
    let fake = Fake::new(|request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
        Some("tools/call") => {
            let token = &asked["params"]["_meta"]["progressToken"];
            assert_eq!(token, &asked["id"]);
            let report = |token: Value, done: u32| {
                let params = json!({"progressToken": token, "progress": done, "total": 3, "message": "m"});
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
            };
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
            let result = json!({"content": [{"type": "text", "text": "ok"}]});
            let result = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
            Given::events(&[
                report(token.clone(), 1),
                log,
                report(json!(999), 2),
                report(token.clone(), 3),
                result,
            ])
        }
        _ => stateless(request, asked),
    });
    let mut client = Client::new(&fake, URL);
    let arguments = arguments(&json!({}));
    let call = RemoteCall { name: "echo", arguments: &arguments, parameters: None, is_followed: true };
    let mut heard = Heard::default();
    let outcome = block_on(client.call_tool(call, &mut heard, pending())).unwrap();
    assert_eq!(outcome.text, "ok");
    assert_eq!(heard.0, [(1.0, Some(3.0), "m".to_owned()), (3.0, Some(3.0), "m".to_owned())]);
}

#[test]
fn a_server_that_asks_for_a_person_or_a_model_is_refused_politely() {
    let fake = Fake::new(|request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
        Some("tools/call") => {
            let ask =
                |id: &str, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}});
            let result = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"content": []}});
            Given::events(&[ask("p", "ping"), ask("e", "elicitation/create"), result])
        }
        None => Given::new(202, "", ""),
        _ => with_handshake("2025-11-25")(request, asked),
    });
    let mut client = Client::new(&fake, URL);
    call(&mut client).unwrap();
    let seen = fake.seen.borrow();
    let answers: Vec<_> = seen
        .iter()
        .filter(|(_, message)| message.get("method").is_none())
        .map(|(_, message)| message)
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(*answers[0], json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!("e"), &json!(-32601)));
}

#[test]
fn a_deadline_gives_up_the_call_and_tells_a_session_so() {
    let silent = |old: bool| {
        Fake::new(move |request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
            Some("tools/call") => Given { body: Body::Silent, ..Given::new(200, "text/event-stream", "") },
            _ if old => with_handshake("2025-11-25")(request, asked),
            _ => stateless(request, asked),
        })
    };
    for old in [true, false] {
        let fake = silent(old);
        let mut client = Client::new(&fake, URL);
        let listed = block_on(client.list_tools());
        assert!(listed.is_ok());
        let arguments = arguments(&json!({}));
        let call = RemoteCall { name: "echo", arguments: &arguments, parameters: None, is_followed: false };
        let failed = block_on(client.call_tool(call, &mut Unheard, ready(()))).unwrap_err();
        assert_eq!(failed, ClientFailure::TimedOut);
        let seen = fake.seen.borrow();
        let (_, last) = seen.last().unwrap();
        if old {
            let (_, called) = seen.iter().rev().nth(1).unwrap();
            assert_eq!(
                (&last["method"], &last["params"]["requestId"]),
                (&json!("notifications/cancelled"), &called["id"])
            );
        } else {
            assert_eq!(last["method"], "tools/call");
        }
    }
}

#[test]
fn what_a_server_may_not_do_is_an_error_that_says_what() {
    let check = |answer: fn(&FetchRequest, &Value) -> Given, expected: &str| {
        let failure = failure(answer);
        assert!(failure.to_string().contains(expected), "{failure}");
    };
    check(
        |_, asked| Given::result(&json!({"id": asked["id"].as_u64().unwrap() + 1}), json!({})),
        "was not asked",
    );
    check(|_, _| Given::result(&json!({"id": "a"}), json!({})), "was not asked");
    check(|_, _| Given::result(&json!({"id": null}), json!({})), "was not asked");
    check(
        |_, asked| Given::json(200, &json!([{"jsonrpc": "2.0", "id": asked["id"], "result": {}}])),
        "several messages",
    );
    check(|_, asked| Given::json(200, asked), "an answer that is none");
    check(|_, asked| Given::result(asked, json!([])), "a result that is no object");
    check(|_, _| Given::new(200, "text/html", "<html>"), "type 'text/html'");
    check(|_, _| Given::new(200, "", ""), "does not say what it is");
    check(|_, _| Given::new(200, "application/json", "{"), "not JSON");
    check(|_, _| Given::new(200, "application/json", &"[".repeat(100)), "deeper");
    check(|_, _| Given::new(200, "text/event-stream", "data: {\n\n"), "not JSON");
    check(|_, _| Given::new(200, "text/event-stream", ": nothing\n\n"), "before the answer");
    check(
        |_, _| Given::events(&[json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"})]),
        "request of its own",
    );
    check(|_, _| Given { body: Body::Cut, ..Given::new(200, "application/json", "") }, "cut off");
    check(|_, _| Given::endless(": ping\n\n"), "more than 1048576 bytes");
    check(|_, _| Given::endless("data: \n\n"), "more than 1000 events");
    check(
        |_, _| Given { body: Body::Endless(vec![b' '; 9999]), ..Given::new(200, "application/json", "") },
        "more than 1048576",
    );
    check(|_, _| Given::endless(&"x".repeat(9999)), "more than 1048576 bytes");
    check(|_, _| Given::new(302, "text/plain", "").with("location", "http://169.254.169.254/"), "redirects");
    check(|_, _| Given::new(403, "text/plain", ""), "refuses our credential");
    check(|_, _| Given::new(418, "text/plain", ""), "HTTP 418");
    check(|_, asked| Given::error(404, asked, -32601, json!(null)), "error -32601: no");
    check(|_, asked| Given::error(200, asked, -32602, json!(null)), "error -32602: no");
    check(
        |_, asked| Given::result(asked, json!({"resultType": "input_required", "inputRequests": {}})),
        "asks for",
    );
}

#[test]
fn lists_that_lie_are_refused() {
    let check = |answer: fn(&FetchRequest, &Value) -> Given, expected: &str| {
        let failure = listing_failure(answer);
        assert!(failure.to_string().contains(expected), "{failure}");
    };
    check(
        |_, asked| {
            let tools: Vec<_> =
                (0..10_000).map(|number| json!({"name": format!("t{number}"), "inputSchema": {}})).collect();
            Given::result(asked, json!({"tools": tools}))
        },
        "more than 512 tools",
    );
    check(
        |_, asked| {
            let tool = json!({"name": "a", "inputSchema": {"type": "object"}});
            Given::result(asked, json!({"tools": [tool, tool]}))
        },
        "two tools called 'a'",
    );
    check(|_, asked| Given::result(asked, json!({"tools": [], "nextCursor": "again"})), "round in a circle");
    check(
        |_, asked| {
            let next = asked["params"]["cursor"].as_str().map_or(0, str::len) + 1;
            Given::result(asked, json!({"tools": [], "nextCursor": "x".repeat(next)}))
        },
        "more than 32 pages",
    );
    check(|_, asked| Given::result(asked, json!({"tools": "all"})), "cannot be read");
    check(|_, asked| Given::result(asked, json!({})), "cannot be read");
}

#[test]
fn a_tool_that_cannot_be_used_does_not_keep_others_from_being() {
    let fake = Fake::new(|request: &FetchRequest, asked: &Value| match asked["method"].as_str() {
        Some("tools/list") => {
            let tool =
                |name: &str, schema: Value| json!({"name": name, "description": "x", "inputSchema": schema});
            let object = || json!({"type": "object"});
            let mut long = tool("long", object());
            long["description"] = "x".repeat(9000).into();
            let mut output = tool("output", object());
            output["outputSchema"] = json!(7);
            let tools = json!([
                tool("good", object()),
                tool("string", json!({"type": "string"})),
                tool("none", json!(null)),
                tool("true", json!(true)),
                tool("", object()),
                tool("two words", object()),
                tool("header", json!({"type": "object", "x-mcp-header": "A"})),
                long,
                output,
                7,
                ["listed", null, null, {"type": "object"}],
            ]);
            Given::result(asked, json!({"tools": tools}))
        }
        _ => stateless(request, asked),
    });
    let mut client = Client::new(&fake, URL);
    let listing = block_on(client.list_tools()).unwrap();
    let names: Vec<_> = listing.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["good"]);
    assert_eq!(listing.rejected.len(), 10, "{:?}", listing.rejected);
    assert!(
        listing.rejected.iter().any(|reason| reason.contains("'string': its schema is not of an object"))
    );
}

#[test]
fn bounds_are_those_that_are_chosen() {
    let fake = Fake::new(stateless);
    let bounds = Bounds { tools_max: 1, ..Bounds::default() };
    let mut client = Client::new(&fake, URL).with_bounds(bounds);
    assert!(matches!(block_on(client.list_tools()), Err(ClientFailure::TooMuch(_))));
    let bounds = Bounds { answer_bytes_max: 10, ..Bounds::default() };
    let mut client = Client::new(&fake, URL).with_bounds(bounds);
    assert!(matches!(call(&mut client), Err(ClientFailure::TooMuch(_))));
}

#[test]
fn clients_of_one_session_never_use_a_number_twice() {
    let fake = Fake::new(with_handshake("2025-11-25"));
    let mut first = Client::new(&fake, URL);
    call(&mut first).unwrap();
    let mut second = Client::new(&fake, URL).with_session(first.session().cloned());
    call(&mut first).unwrap();
    call(&mut second).unwrap();
    call(&mut first).unwrap();
    let seen = fake.seen.borrow();
    let numbers: Vec<_> = seen.iter().filter_map(|(_, message)| message["id"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}
