//! Background responses beside other things: deliveries that are the last, idempotency keys, turns in conversations.

use crate::background::{Running, check_resumable, create, deliver, get, hanging, rest, run, stuck, turn};
use crate::support::{Client, Script, World, bytes, id, text, world};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::pin::{Pin, pin};
use waggle_chat::platform::QueueFailure;
use waggle_chat::{Answer, Reply, Request};
use waggle_model::transport::TransportFailure;

#[test]
fn a_response_whose_last_run_died_has_failed_for_whoever_reads_it() {
    let check = |read: fn(&World, &str)| {
        let world = world();
        let (path, id) = stuck(&world);
        let mut last = Running { future: Box::pin(deliver(&world, &path, true)) };
        last.go_on(20);
        assert_eq!(get(&world, &id)["status"], "in_progress", "it runs");
        drop(last);
        world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
        read(&world, &id);
        let response = get(&world, &id);
        assert_eq!(
            (&response["status"], &response["error"]["code"]),
            (&json!("failed"), &json!("server_error"))
        );
        assert_eq!(world.asked().len(), 1);
        check_resumable(&world, &id, &rest(&world, &id, None));
    };
    check(|_, _| {});
    check(|world, id| assert!(rest(world, id, None).contains("interrupted by a restart")));
}

#[test]
fn a_runner_that_the_last_delivery_left_alone_is_missed_when_it_dies() {
    let world = world();
    let (path, id) = stuck(&world);
    let mut first = Running::begin(&world, &path);
    let mut last = pin!(deliver(&world, &path, true));
    let reply = block_on(std::future::poll_fn(|context| {
        assert!(first.go_on(3).is_none());
        last.as_mut().poll(context)
    }));
    assert_eq!(reply.status, 409);
    assert!(first.go_on(20).is_none(), "it runs on");
    drop(first);
    world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
    assert_eq!(get(&world, &id)["status"], "failed");
}

/// Sends a background request with an idempotency key.
fn create_once(world: &World, key: &str, body: &Value) -> (Reply, Value) {
    let mut body = body.clone();
    body["background"] = json!(true);
    let reply = world.once("/v1/responses", key, &body);
    let answer = serde_json::from_slice(&reply.body).unwrap();
    (reply, answer)
}

#[test]
fn a_background_response_is_made_once_for_a_key() {
    let world = world();
    let body = json!({"input": "hi"});
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Busy(5));
    let (reply, _) = create_once(&world, "k", &body);
    assert!(reply.status == 503 && reply.headers.contains(&("retry-after", "5".to_owned())), "{reply:?}");
    *world.platform.queue_fails.borrow_mut() = None;
    let (_, created) = create_once(&world, "k", &body);
    let (reply, again) = create_once(&world, "k", &body);
    assert_eq!(again, created, "the key was let go by the refusal, and claimed by what was queued");
    assert!(reply.headers.contains(&("idempotency-replayed", "true".to_owned())), "{reply:?}");
    assert_eq!(world.platform.queue.borrow().len(), 1);
    world.script(turn());
    assert_eq!(run(&world), 200);
    let (_, later) = create_once(&world, "k", &body);
    assert_eq!((id(&later), text(&later)), (id(&created), "Hello"), "later it is the answer");
    assert_eq!(create_once(&world, "k", &json!({"input": "other"})).0.status, 422);
}

#[test]
fn a_background_stream_under_a_key_is_followed_again() {
    let world = world();
    let body = json!({"input": "hi", "background": true, "stream": true}).to_string();
    let keys = [b"k".to_vec()];
    let mut streams = Vec::new();
    for _ in 0..2 {
        let request = Request {
            method: "POST",
            path_with_query: "/v1/responses",
            idempotency_key: &keys,
            ..Request::default()
        };
        let Answer::Stream(stream) = block_on(world.answer(request, vec![bytes(&body)])) else {
            panic!("no stream")
        };
        streams.push(stream);
    }
    world.script(turn());
    assert_eq!(run(&world), 200);
    assert_eq!((world.platform.queue.borrow().len(), world.asked().len()), (1, 1));
    let texts: Vec<String> = streams
        .into_iter()
        .map(|stream| {
            let client = Client::default();
            block_on(stream.run(client.clone()));
            client.writes.borrow().concat()
        })
        .collect();
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_background_turn_waits_for_its_conversation_and_holds_nobody_up_when_it_ends() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = id(&conversation);
    let body = json!({"input": "later", "conversation": conversation});
    // Cancelled while it runs.
    world.script(hanging());
    let cancelled = create(&world, &body);
    let path = world.platform.queue.borrow().last().unwrap().clone();
    let mut running = Running::begin(&world, &path);
    let mut cancelling = pin!(cancel_later(&world, id(&cancelled)));
    let mut over = false;
    let status = block_on(std::future::poll_fn(|context| {
        over = over || running.go_on(3).is_some();
        cancelling.as_mut().poll(context)
    }));
    assert!(over && status == 200);
    drop(running);
    assert_eq!(get(&world, id(&cancelled))["status"], "cancelled");
    // One whose model fails, one whose window is wrong, one that is deleted while it runs.
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    create(&world, &body);
    assert_eq!(run(&world), 200);
    create(
        &world,
        &json!({"input": [{"type": "function_call_output", "call_id": "none", "output": "o"}],
        "conversation": conversation}),
    );
    assert_eq!(run(&world), 200);
    world.script(hanging());
    let deleted = create(&world, &body);
    let path = world.platform.queue.borrow().last().unwrap().clone();
    let mut running = Running::begin(&world, &path);
    world.json("DELETE", &format!("/v1/responses/{}", id(&deleted)), &Value::Null, 200);
    assert!((0..50).find_map(|_| running.go_on(5)).is_some(), "the run ends");
    drop(running);
    // None of them is waited for.
    let began_ms = world.platform.passed_ms.get();
    world.turn(&json!({"input": "next", "conversation": conversation}), "yes");
    assert!(world.platform.passed_ms.get() - began_ms < 1_000, "somebody was waited for");
    assert_eq!(world.last_messages(), ["next"]);
    world.joined();
}

async fn cancel_later(world: &World, id: &str) -> u16 {
    let path = format!("/v1/responses/{id}/cancel");
    let request = Request { method: "POST", path_with_query: &path, ..Request::default() };
    let Answer::Reply(reply) = world.answer(request, Vec::new()).await else { panic!("no whole answer") };
    reply.status
}

/// A turn that hangs in its conversation, and a background turn that waits behind it: its response, and the path by which it
/// is delivered.
fn behind_a_turn(world: &World) -> (Pin<Box<dyn Future<Output = ()>>>, Value, String) {
    world.set("conversation_wait_ms", "60000");
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = id(&conversation);
    let body = json!({"input": "first", "conversation": conversation, "stream": true}).to_string();
    world.script(hanging());
    let request = Request { method: "POST", path_with_query: "/v1/responses", ..Request::default() };
    let Answer::Stream(first) = block_on(world.answer(request, vec![bytes(&body)])) else {
        panic!("no stream")
    };
    let first = Box::pin(first.run(Client::default()));
    let created = create(world, &json!({"input": "later", "conversation": conversation}));
    let path = world.platform.queue.borrow().last().unwrap().clone();
    (first, created, path)
}

#[test]
fn a_background_turn_that_waits_long_keeps_its_hold() {
    let world = world();
    let (mut first, created, path) = behind_a_turn(&world);
    world.script(turn());
    let began_ms = world.platform.passed_ms.get();
    let mut second = pin!(deliver(&world, &path, false));
    let mut third = pin!(deliver(&world, &path, false));
    let (mut status, mut other) = (None, None);
    block_on(std::future::poll_fn(|context| {
        if world.platform.passed_ms.get() - began_ms < 30_000 {
            let _hangs = first.as_mut().poll(context);
        }
        if status.is_none()
            && let std::task::Poll::Ready(reply) = second.as_mut().poll(context)
        {
            status = Some(reply.status);
        }
        if other.is_none()
            && let std::task::Poll::Ready(reply) = third.as_mut().poll(context)
        {
            other = Some(reply.status);
        }
        context.waker().wake_by_ref();
        if status.is_some() && other.is_some() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    }));
    assert_eq!((status, other), (Some(200), Some(409)), "while it waits it lives");
    assert!(world.platform.passed_ms.get() - began_ms > 30_000);
    assert_eq!(text(&get(&world, id(&created))), "Hello");
    check_resumable(&world, id(&created), &rest(&world, id(&created), None));
}

#[test]
fn what_died_before_it_was_handed_over_is_handed_over_under_its_key() {
    let world = world();
    let body = json!({"input": "hi"});
    let (_, created) = create_once(&world, "k", &body);
    // As if its request had died before.
    world.platform.queue.borrow_mut().clear();
    create_once(&world, "k", &body);
    assert!(world.platform.queue.borrow().is_empty(), "it may still be handed over by the first");
    world.platform.passed_ms.set(20_000);
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Full(7));
    assert_eq!(create_once(&world, "k", &body).0.status, 429);
    *world.platform.queue_fails.borrow_mut() = None;
    assert_eq!(create_once(&world, "k", &body).1, created);
    world.script(turn());
    assert_eq!(run(&world), 200);
    assert_eq!(create_once(&world, "k", &body).1["status"], "completed");
    assert_eq!(world.platform.queue.borrow().len(), 1, "what is over is not handed over");
}

#[test]
fn a_turn_that_is_never_kept_asks_its_model_no_more_often_than_attempts_allow() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let created = create(&world, &json!({"input": "hi", "conversation": id(&conversation)}));
    // Everything is stored but what the turn leaves at its end: entry, the way to it, response, events.
    world.store.fail(Some("set_many 4"));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        world.script(turn());
        statuses.push(run(&world));
        world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
    }
    assert_eq!(statuses, [500, 500, 200, 200]);
    assert_eq!(world.asked().len(), 2, "as often as background_attempts_max says");
    let response = get(&world, id(&created));
    assert_eq!((&response["status"], &response["error"]["code"]), (&json!("failed"), &json!("server_error")));
    check_resumable(&world, id(&created), &rest(&world, id(&created), None));
}

#[test]
fn a_turn_that_is_cancelled_while_it_waits_in_its_conversation_is_over_at_once() {
    let world = world();
    let (mut first, created, path) = behind_a_turn(&world);
    let began_ms = world.platform.passed_ms.get();
    let mut waits = Running { future: Box::pin(deliver(&world, &path, false)) };
    assert!(waits.go_on(20).is_none(), "it waits");
    let mut cancelling = pin!(cancel_later(&world, id(&created)));
    let (mut delivered, mut cancelled) = (None, None);
    block_on(std::future::poll_fn(|context| {
        let _hangs = first.as_mut().poll(context);
        delivered = delivered.or_else(|| waits.go_on(1).map(|reply| reply.status));
        if cancelled.is_none()
            && let std::task::Poll::Ready(status) = cancelling.as_mut().poll(context)
        {
            cancelled = Some(status);
        }
        context.waker().wake_by_ref();
        let over = delivered.is_some() && cancelled.is_some();
        if over { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }));
    assert_eq!((delivered, cancelled), (Some(200), Some(200)));
    assert!(world.platform.passed_ms.get() - began_ms < 2_000, "the wait ended with it");
    assert_eq!(get(&world, id(&created))["status"], "cancelled");
    let text = rest(&world, id(&created), None);
    assert!(!text.contains("response.in_progress"), "it was never begun: {text}");
    check_resumable(&world, id(&created), &text);
    assert_eq!(world.asked().len(), 1, "its model was not asked");
}
