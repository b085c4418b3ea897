//! Background responses: queued, run, followed, resumed, cancelled, interrupted; and streams that are read again.

use crate::support::{
    Client, Piece, Script, World, bytes, delta, ending, id, read_events, says, streams, text, world,
};
use futures::executor::block_on;
use futures::future::join;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use waggle_chat::platform::QueueFailure;
use waggle_chat::{Answer, Reply, Request};
use waggle_model::transport::TransportFailure;

pub(crate) fn create(world: &World, body: &Value) -> Value {
    let mut body = body.clone();
    body["background"] = json!(true);
    world.json("POST", "/v1/responses", &body, 200)
}

pub(crate) fn get(world: &World, id: &str) -> Value {
    world.json("GET", &format!("/v1/responses/{id}"), &Value::Null, 200)
}

pub(crate) async fn deliver(world: &World, path: &str, last: bool) -> Reply {
    world.deliver_at(path, last).await
}

/// Delivers what was queued last, to its end; its status.
pub(crate) fn run(world: &World) -> u16 {
    world.deliver(false).status
}

async fn follow(world: &World, path: &str, last_event_id: Option<&str>, client: &Client) -> Option<Reply> {
    let request = Request {
        method: "GET",
        path_with_query: path,
        user: &world.user,
        last_event_id,
        ..Request::default()
    };
    match world.answer(request, Vec::new()).await {
        Answer::Reply(reply) => Some(reply),
        Answer::Stream(stream) => {
            stream.run(client.clone()).await;
            None
        }
        Answer::Working(..) => panic!("work for a GET"),
    }
}

/// The text of a stream that is over, from the event after `after` on.
pub(crate) fn rest(world: &World, id: &str, after: Option<usize>) -> String {
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    let client = Client::default();
    let path = format!("/v1/responses/{id}?stream=true{after}");
    let text = match block_on(follow(world, &path, None, &client)) {
        Some(reply) if reply.status == 200 => String::from_utf8(reply.body).unwrap(),
        Some(reply) => panic!("{path}: {}", String::from_utf8_lossy(&reply.body)),
        None => client.writes.borrow().concat(),
    };
    let events = text.strip_suffix("data: [DONE]\n\n");
    events.unwrap_or_else(|| panic!("{path} has no end: {text}")).to_owned()
}

fn kinds(text: &str) -> Vec<String> {
    read_events(text).into_iter().map(|(kind, _)| kind).collect()
}

/// Checks that each beginning of a stream can be resumed, and that beyond its end there is nothing.
pub(crate) fn check_resumable(world: &World, id: &str, whole: &str) {
    let events = read_events(whole);
    for (number, (_, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], json!(number), "{whole}");
    }
    assert_eq!(rest(world, id, None), whole);
    for after in 0..events.len() {
        let rest = read_events(&rest(world, id, Some(after)));
        assert_eq!(rest, events[after + 1..], "after {after}");
    }
    let path = |after: &str| format!("/v1/responses/{id}?stream=true&starting_after={after}");
    for after in [&events.len().to_string(), "-1", "x", "", "18446744073709551615", "1.5"] {
        let error = world.json("GET", &path(after), &Value::Null, 400);
        assert_eq!(error["error"]["param"], "starting_after", "{after}");
    }
    let client = Client::default();
    let path = format!("/v1/responses/{id}?stream=true");
    let resumed = block_on(follow(world, &path, Some("1"), &client));
    let resumed = resumed.map_or_else(|| client.writes.borrow().concat().into_bytes(), |reply| reply.body);
    let resumed = String::from_utf8(resumed).unwrap();
    let resumed = resumed.strip_suffix("data: [DONE]\n\n").unwrap();
    assert_eq!(read_events(resumed), events[2..], "by Last-Event-ID");
}

pub(crate) fn turn() -> Script {
    streams(vec![bytes(&delta("Hel")), bytes(&delta("lo")), bytes(&ending("stop"))])
}

/// A run that can be left in the middle.
pub(crate) struct Running<'a> {
    pub(crate) future: Pin<Box<dyn Future<Output = Reply> + 'a>>,
}

impl<'a> Running<'a> {
    /// Begins a delivery and lets it come to where the model hangs.
    pub(crate) fn begin(world: &'a World, path: &str) -> Self {
        let path = path.to_owned();
        let mut running = Self { future: Box::pin(async move { deliver(world, &path, false).await }) };
        running.go_on(20);
        running
    }

    pub(crate) fn go_on(&mut self, polls: usize) -> Option<Reply> {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if let std::task::Poll::Ready(reply) = self.future.as_mut().poll(&mut context) {
                return Some(reply);
            }
        }
        None
    }
}

pub(crate) fn hanging() -> Script {
    streams(vec![bytes(&delta("Hel")), Piece::Hangs])
}

/// A world with a response whose run is stuck in the middle of the answer; its path and its id.
pub(crate) fn stuck(world: &World) -> (String, String) {
    world.script(hanging());
    let created = create(world, &json!({"input": "hi"}));
    let path = world.platform.queue.borrow().last().unwrap().clone();
    (path, id(&created).to_owned())
}

#[test]
fn a_background_response_is_queued_then_run_then_read() {
    let world = world();
    world.script(turn());
    let created = create(&world, &json!({"input": "hi", "metadata": {"k": "v"}}));
    assert_eq!((&created["status"], &created["background"]), (&json!("queued"), &json!(true)));
    assert_eq!(created["output"], json!([]));
    let id = id(&created);
    assert_eq!(*world.platform.queue.borrow(), [format!("/v1/responses/{id}/run")]);
    assert_eq!(get(&world, id), created);
    assert!(world.asked().is_empty(), "nothing runs before it is delivered");
    assert_eq!(run(&world), 200);
    let response = get(&world, id);
    assert_eq!((&response["status"], text(&response)), (&json!("completed"), "Hello"));
    assert_eq!((&response["background"], &response["created_at"]), (&json!(true), &created["created_at"]));
    assert_eq!(run(&world), 200, "a second delivery finds it over");
    assert_eq!(world.asked().len(), 1);
    assert_eq!(world.asked()[0]["stream"], json!(true));
    let input = world.json("GET", &format!("/v1/responses/{id}/input_items"), &Value::Null, 200);
    assert_eq!(input["data"][0]["content"][0]["text"], "hi");
    assert!(world.keys("response/").iter().all(|key| !key.ends_with("/request")), "{:?}", world.keys(""));
    let whole = rest(&world, id, None);
    let expected = ["created", "queued", "in_progress", "output_item.added", "content_part.added"]
        .into_iter()
        .chain(["output_text.delta"; 2])
        .chain(["output_text.done", "content_part.done", "output_item.done", "completed"]);
    assert_eq!(kinds(&whole), expected.map(|kind| format!("response.{kind}")).collect::<Vec<_>>());
    assert_eq!(read_events(&whole).last().unwrap().1["response"], response);
    check_resumable(&world, id, &whole);
}

#[test]
fn a_background_response_is_followed_while_it_runs() {
    let world = world();
    let pieces = (0..200).map(|number| bytes(&delta(&format!("{number} "))));
    world.script(streams(pieces.chain([bytes(&ending("stop"))]).collect()));
    let client = Client::default();
    let body = json!({"input": "hi", "background": true, "stream": true}).to_string();
    block_on(async {
        let request = Request { method: "POST", path_with_query: "/v1/responses", ..Request::default() };
        let Answer::Stream(stream) = world.answer(request, vec![bytes(&body)]).await else {
            panic!("no stream")
        };
        let path = world.platform.queue.borrow()[0].clone();
        let (_, reply) = join(Box::pin(stream.run(client.clone())), deliver(&world, &path, false)).await;
        assert_eq!(reply.status, 200);
    });
    let text = client.writes.borrow().concat();
    let text = text.strip_suffix("data: [DONE]\n\n").unwrap();
    let events = read_events(text);
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["status"], "completed");
    let id = id(response);
    check_resumable(&world, id, text);
}

#[test]
fn a_follower_hears_that_a_silent_stream_is_alive() {
    let world = world();
    let (_, id) = stuck(&world);
    let client = Client { leaves_after: Some(4), ..Client::default() };
    let path = format!("/v1/responses/{id}?stream=true");
    assert!(block_on(follow(&world, &path, None, &client)).is_none());
    let writes = client.writes.borrow();
    assert_eq!(kinds(&writes[0]), ["response.created", "response.queued"]);
    assert!(writes[1..].iter().all(|write| write == ": \n\n"), "{writes:?}");
    assert!(world.platform.passed_ms.get() >= 30_000);
}

#[test]
fn a_stream_without_an_end_is_left_to_another_request() {
    let world = world();
    let (_, id) = stuck(&world);
    let client = Client::default();
    block_on(follow(&world, &format!("/v1/responses/{id}?stream=true"), None, &client));
    let last = client.writes.borrow().last().unwrap().clone();
    assert!(last.starts_with(": ") && !client.writes.borrow().concat().contains("[DONE]"), "{last}");
}

#[test]
fn what_is_wrong_is_answered_at_once_and_leaves_nothing_behind() {
    let world = world();
    let check = |body: Value, status: u16, param: Value, code: Value| {
        let mut body = body;
        body["background"] = json!(true);
        let error = world.json("POST", "/v1/responses", &body, status);
        assert_eq!((&error["error"]["param"], &error["error"]["code"]), (&param, &code), "{body}: {error}");
        assert!(world.store.dump().is_empty(), "{body}: {:?}", world.keys(""));
    };
    let nothing = "0".repeat(24);
    check(json!({"input": "x", "store": false}), 400, json!("background"), json!("invalid_value"));
    check(json!({"input": []}), 400, json!("input"), json!("empty_array"));
    check(json!({"input": "x", "conversation": format!("conv_{nothing}")}), 404, Value::Null, Value::Null);
    check(
        json!({"input": "x", "previous_response_id": format!("resp_{nothing}")}),
        400,
        json!("previous_response_id"),
        json!("previous_response_not_found"),
    );
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Full(7));
    check(json!({"input": "x"}), 429, Value::Null, json!("background_queue_full"));
    let reply = world.send("POST", "/v1/responses", r#"{"input": "x", "background": true, "stream": true}"#);
    assert!(reply.headers.contains(&("retry-after", "7".to_owned())), "{:?}", reply.headers);
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Failed("secret".to_owned()));
    check(json!({"input": "x"}), 503, Value::Null, json!("background_unavailable"));
    assert!(world.platform.lines.borrow().last().unwrap().contains("secret"));
}

#[test]
fn without_a_queue_the_function_runs_it_itself() {
    let world = world();
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Absent);
    world.script(turn());
    let request = Request { method: "POST", path_with_query: "/v1/responses", ..Request::default() };
    let body = bytes(r#"{"input": "hi", "background": true}"#);
    let Answer::Working(answer, work) = block_on(world.answer(request, vec![body])) else {
        panic!("no work")
    };
    let Answer::Reply(reply) = *answer else { panic!("no whole answer") };
    let created: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(created["status"], "queued");
    block_on(work.run());
    assert_eq!(text(&get(&world, id(&created))), "Hello");
}

#[test]
fn a_model_that_fails_fails_the_response_and_ends_the_work() {
    let check = |script: Script, code: &str| {
        let world = world();
        world.script(script);
        let created = create(&world, &json!({"input": "hi"}));
        assert_eq!(run(&world), 200);
        let response = get(&world, id(&created));
        assert_eq!((&response["status"], &response["error"]["code"]), (&json!("failed"), &json!(code)));
        let whole = rest(&world, id(&created), None);
        assert_eq!(kinds(&whole).last().unwrap(), "response.failed");
        check_resumable(&world, id(&created), &whole);
    };
    check(Script::Fails(TransportFailure::TimedOut("x".into())), "server_error");
    check(streams(vec![bytes(&delta("cut"))]), "server_error");
    check(says("not a stream"), "server_error");
    let world = crate::support::world();
    world.set("fallback", "text");
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    let created = create(&world, &json!({"input": "hi"}));
    assert_eq!(run(&world), 200);
    let response = get(&world, id(&created));
    assert_eq!(
        (&response["status"], &response["metadata"]["waggle_fallback"]),
        (&json!("completed"), &json!("true"))
    );
}

#[test]
fn a_second_delivery_leaves_a_run_alone_that_lives() {
    let world = world();
    let (path, id) = stuck(&world);
    let mut first = Running::begin(&world, &path);
    assert_eq!(get(&world, &id)["status"], "in_progress");
    for _ in 0..5 {
        let began_ms = world.platform.passed_ms.get();
        let mut second = pin!(deliver(&world, &path, false));
        let reply = block_on(std::future::poll_fn(|context| {
            assert!(first.go_on(3).is_none());
            second.as_mut().poll(context)
        }));
        assert_eq!(reply.status, 409);
        let waited_ms = world.platform.passed_ms.get() - began_ms;
        assert!(waited_ms < 20_000, "it waited {waited_ms} ms");
    }
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn a_turn_that_was_interrupted_is_run_again_and_then_fails_with_the_reason() {
    let world = world();
    let (path, id) = stuck(&world);
    drop(Running::begin(&world, &path));
    world.script(turn());
    let began_ms = world.platform.passed_ms.get();
    assert_eq!(block_on(deliver(&world, &path, false)).status, 200);
    assert!(world.platform.passed_ms.get() - began_ms > 10_000, "it might still have lived");
    assert_eq!(text(&get(&world, &id)), "Hello");
    let whole = rest(&world, &id, None);
    let restarts = kinds(&whole).iter().filter(|kind| *kind == "response.in_progress").count();
    assert_eq!(restarts, 2, "{whole}");
    check_resumable(&world, &id, &whole);

    let world = crate::support::world();
    let (path, id) = stuck(&world);
    world.script(hanging());
    for _ in 0..2 {
        drop(Running::begin(&world, &path));
        world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
    }
    assert_eq!(world.asked().len(), 2);
    assert_eq!(block_on(deliver(&world, &path, false)).status, 200);
    let response = get(&world, &id);
    assert_eq!((&response["status"], &response["error"]["code"]), (&json!("failed"), &json!("server_error")));
    assert!(response["error"]["message"].as_str().unwrap().contains("interrupted by a restart"));
    check_resumable(&world, &id, &rest(&world, &id, None));
}

#[test]
fn one_attempt_is_all_there_is_where_the_tenant_says_so() {
    let world = world();
    world.set("background_attempts_max", "1");
    let (path, id) = stuck(&world);
    drop(Running::begin(&world, &path));
    world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
    assert_eq!(block_on(deliver(&world, &path, false)).status, 200);
    assert_eq!(get(&world, &id)["status"], "failed");
    assert_eq!(world.asked().len(), 1);
}

fn cancel(world: &World, id: &str) -> Value {
    world.json("POST", &format!("/v1/responses/{id}/cancel"), &Value::Null, 200)
}

#[test]
fn a_response_is_cancelled_in_every_state() {
    let world = world();
    world.script(turn());
    let created = create(&world, &json!({"input": "hi"}));
    let queued = cancel(&world, id(&created));
    assert_eq!(queued["status"], "cancelled");
    assert_eq!(cancel(&world, id(&created)), queued, "twice is as once");
    assert_eq!(run(&world), 200);
    assert!(world.asked().is_empty(), "it is not run any more");
    check_resumable(&world, id(&created), &rest(&world, id(&created), None));

    let finished = create(&world, &json!({"input": "hi"}));
    assert_eq!(run(&world), 200);
    let response = get(&world, id(&finished));
    assert_eq!(response["status"], "completed");
    assert_eq!(cancel(&world, id(&finished)), response);

    let (path, id) = stuck(&world);
    let mut running = Running::begin(&world, &path);
    // The cancellation waits for the run, which has to go on for it.
    let request = Request {
        method: "POST",
        path_with_query: &format!("/v1/responses/{id}/cancel"),
        ..Request::default()
    };
    let cancelled = block_on(async {
        let mut cancelling = pin!(world.answer(request, Vec::new()));
        std::future::poll_fn(|context| {
            running.go_on(3);
            cancelling.as_mut().poll(context)
        })
        .await
    });
    let Answer::Reply(reply) = cancelled else { panic!("no whole answer") };
    let response: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&response["status"], text(&response)), (&json!("cancelled"), "Hel"));
    assert_eq!(world.model.dropped.get(), 2, "the call upstream is ended");
    let whole = rest(&world, &id, None);
    assert_eq!(read_events(&whole).last().unwrap().1["response"], response);
    check_resumable(&world, &id, &whole);
}

#[test]
fn a_response_whose_runner_died_is_cancelled_without_it() {
    let world = world();
    let (path, id) = stuck(&world);
    drop(Running::begin(&world, &path));
    world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
    assert_eq!(cancel(&world, &id)["status"], "cancelled");
    assert_eq!(block_on(deliver(&world, &path, false)).status, 200);
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn only_background_responses_are_cancelled() {
    let world = world();
    let response = world.turn(&json!({"input": "hi"}), "hello");
    let path = format!("/v1/responses/{}/cancel", id(&response));
    let error = world.json("POST", &path, &Value::Null, 400);
    assert_eq!(error["error"]["message"], "Cannot cancel a synchronous response.");
    world.json("POST", &format!("/v1/responses/resp_{}/cancel", "0".repeat(24)), &Value::Null, 404);
}

#[test]
fn a_deleted_response_stays_deleted_whoever_runs_it() {
    let world = world();
    let (path, id) = stuck(&world);
    let mut running = Running::begin(&world, &path);
    world.json("DELETE", &format!("/v1/responses/{id}"), &Value::Null, 200);
    let reply = (0..50).find_map(|_| running.go_on(5));
    assert!(reply.is_some(), "the run ends");
    drop(running);
    assert!(world.store.dump().is_empty(), "{:?}", world.keys(""));
    assert_eq!(block_on(deliver(&world, &path, false)).status, 200);
}

#[test]
fn the_way_of_the_work_is_no_endpoint() {
    let world = world();
    let created = create(&world, &json!({"input": "hi"}));
    let path = format!("/v1/responses/{}/run", id(&created));
    let error = world.json("POST", &path, &Value::Null, 404);
    assert_eq!(error["error"]["code"], "unknown_url");
}

#[test]
fn what_is_still_being_made_is_not_continued() {
    let world = world();
    let created = create(&world, &json!({"input": "hi"}));
    let body = json!({"input": "more", "previous_response_id": id(&created)});
    let error = world.json("POST", "/v1/responses", &body, 400);
    assert_eq!(error["error"]["code"], "previous_response_pending");
    world.script(turn());
    assert_eq!(run(&world), 200);
    world.turn(&body, "yes");
    assert_eq!(world.last_messages(), ["hi", "Hello", "more"]);
}

#[test]
fn a_background_turn_joins_its_conversation_when_it_runs() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = id(&conversation);
    let created = create(&world, &json!({"input": "later", "conversation": conversation}));
    world.turn(&json!({"input": "now", "conversation": conversation}), "sooner");
    world.script(turn());
    assert_eq!(run(&world), 200);
    assert_eq!(world.last_messages(), ["now", "sooner", "later"]);
    assert_eq!(get(&world, id(&created))["conversation"], json!({"id": conversation}));
    world.turn(&json!({"input": "last", "conversation": conversation}), "end");
    assert_eq!(world.last_messages(), ["now", "sooner", "later", "Hello", "last"]);
}

#[test]
fn a_users_background_response_is_theirs_alone() {
    let world = world();
    let (ada, bob) = (world.called_by(Some("ada")), world.called_by(Some("bob")));
    world.script(turn());
    let created = create(&ada, &json!({"input": "hi"}));
    let id = id(&created);
    let path = world.platform.queue.borrow()[0].clone();
    assert_eq!(block_on(deliver(&bob, &path, false)).status, 200, "to Bob there is nothing to run");
    assert!(world.asked().is_empty());
    for path in [format!("/v1/responses/{id}?stream=true"), format!("/v1/responses/{id}")] {
        bob.json("GET", &path, &Value::Null, 404);
    }
    bob.json("POST", &format!("/v1/responses/{id}/cancel"), &Value::Null, 404);
    assert_eq!(run(&ada), 200);
    assert_eq!(text(&get(&ada, id)), "Hello");
}

#[test]
fn a_store_that_fails_leaves_the_work_for_later() {
    let world = world();
    world.script(turn());
    let created = create(&world, &json!({"input": "hi"}));
    world.store.fail(Some("set_many"));
    assert_eq!(run(&world), 500);
    world.store.fail(None);
    world.script(turn());
    world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
    assert_eq!(run(&world), 200);
    assert_eq!(text(&get(&world, id(&created))), "Hello");
}

/// A foreground stream that a client has read to its end can be read again from any event on.
fn check_read_again(name: &str, script: Script, leaves_after: Option<usize>) {
    let world = world();
    world.set("fallback", "text");
    world.script(script);
    let client = Client { leaves_after, ..Client::default() };
    let body = json!({"input": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        "metadata": {"k": "v"}, "stream": true});
    world.stream("/v1/responses", &body, &client);
    let seen = client.writes.borrow().concat().replace("data: [DONE]\n\n", "");
    let key = world.keys("response/").pop().expect("a stored response");
    let id = format!("resp_{}", key.strip_prefix("response/").unwrap());
    let whole = rest(&world, &id, None);
    if leaves_after.is_none() {
        assert_eq!(whole, seen.replace(":\n\n", ""), "{name}");
    } else {
        assert!(whole.starts_with(&seen), "{name}: {seen} is not how {whole} begins");
    }
    check_resumable(&world, &id, &whole);
}

#[test]
fn a_foreground_stream_is_read_again_as_it_was() {
    let calls = |calls: Value| {
        bytes(&format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": calls}}]})))
    };
    let tools = streams(vec![
        bytes(&delta("Let me see.")),
        calls(
            json!([{"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        ),
        calls(json!([{"index": 0, "function": {"arguments": "{\"a\":"}}])),
        calls(json!([{"index": 1, "id": "c1", "function": {"name": "g", "arguments": "{\"é\": 1}"}}])),
        calls(json!([{"index": 0, "function": {"arguments": "1}"}}])),
        bytes(&ending("tool_calls")),
    ]);
    let said = || bytes(&delta("你\n\"好"));
    let more = |delta: Value| bytes(&format!("data: {}\n\n", json!({"choices": [{"delta": delta}]})));
    check_read_again(
        "thoughts, text and refusal",
        streams(vec![
            more(json!({"reasoning_content": "Hm,"})),
            more(json!({"reasoning_content": " né"})),
            more(json!({"content": "I"})),
            more(json!({"content": " will"})),
            more(json!({"refusal": "No"})),
            more(json!({"refusal": "pe."})),
            more(json!({"content": "Or"})),
            more(json!({"reasoning": "again"})),
            more(json!({"content": "so"})),
            bytes(&ending("stop")),
        ]),
        None,
    );
    check_read_again("text", streams(vec![said(), bytes(&delta("👋")), bytes(&ending("stop"))]), None);
    check_read_again("tools", tools, None);
    check_read_again("cut by its length", streams(vec![said(), bytes(&ending("length"))]), None);
    check_read_again("nothing said", streams(vec![bytes("data: [DONE]\n\n")]), None);
    check_read_again(
        "failed",
        streams(vec![said(), Piece::Fails(TransportFailure::TimedOut("x".into()))]),
        None,
    );
    check_read_again("fallen back", streams(vec![bytes("data: nonsense\n\n")]), None);
    check_read_again("left", streams(vec![said(), bytes(&delta("b")), Piece::Hangs]), Some(2));
}

#[test]
fn a_response_that_was_not_streamed_is_read_as_a_stream() {
    let world = world();
    let response = world.turn(&json!({"input": "hi"}), "hello");
    let whole = rest(&world, id(&response), None);
    assert_eq!(read_events(&whole).last().unwrap().1["response"], response);
    assert_eq!(kinds(&whole).iter().filter(|kind| kind.ends_with("_text.delta")).count(), 1);
    check_resumable(&world, id(&response), &whole);
}

#[test]
fn a_client_hears_that_a_model_that_thinks_is_alive() {
    let world = world();
    world.script(streams(vec![bytes(&delta("a")), Piece::Hangs]));
    let client = Client { leaves_after: Some(5), ..Client::default() };
    world.stream("/v1/responses", &json!({"input": "hi", "stream": true}), &client);
    assert!(client.writes.borrow()[2..].iter().all(|write| write == ":\n\n"), "{:?}", client.writes);
}
