//! Chatwoot's events, from its webhook to its API.

use crate::support::{SESSION, World, said, status, wrote};
use serde_json::{Value, json};
use std::path::Path;
use waggle_desk::chatwoot::{MESSAGES_KNOWN_MAX, MESSAGES_WAITING_MAX};
use waggle_platform::{QueueFailure, Request};

fn handover() -> String {
    format!("/v1/conversations/{SESSION}/handover")
}

fn items() -> String {
    format!("/v1/conversations/{SESSION}/items")
}

/// A conversation in which the bot has answered once.
fn answered() -> World {
    let world = World::default();
    world.answers("hello", false);
    world.hook(&said(1, "hi", "pending"), 202);
    assert_eq!(world.deliver(false), 200);
    world.called();
    world
}

/// The same, which people have taken over.
fn handed_over() -> World {
    let world = answered();
    world.answers("I ask somebody.", true);
    world.hook(&said(2, "a human!", "pending"), 202);
    assert_eq!(world.deliver(false), 200);
    assert_eq!(world.did(), ["/v1/chat", "send_message", "toggle_status"]);
    world
}

#[test]
fn a_message_is_answered_soon_and_once() {
    let world = World::default();
    assert_eq!(world.hook(&said(1, "hi", "pending"), 202)["status"], "accepted");
    assert_eq!(*world.platform.queue.borrow(), ["/waggle/chatwoot/1/7"]);
    assert!(world.called().is_empty(), "the webhook waits for nobody");
    assert_eq!(world.hook(&said(1, "hi", "pending"), 202)["status"], "accepted", "told twice, asked once");
    world.answers("hello", false);
    assert_eq!(world.deliver(false), 200);
    let called = world.called();
    assert_eq!(called[0].body, json!({"user": "chatwoot-1-9", "query": "hi"}));
    assert_eq!(called[0].key, "chatwoot-1-7-message-1");
    let call = &called[1].body;
    assert_eq!(call["idempotency_key"], "chatwoot-1-7-message-1-send_message");
    assert_eq!(
        (&call["label"], &call["digest"], &call["approved"]),
        (&json!("chatwoot"), &json!("d"), &json!(true))
    );
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    let expected =
        json!({"account_id": 1, "conversation_id": 7, "content": "hello", "message_type": "outgoing"});
    assert_eq!((arguments, called.len()), (expected, 2));
    assert_eq!(world.hook(&said(1, "hi", "pending"), 200)["status"], "known");
    assert_eq!(world.deliver(false), 200, "what is delivered twice is done once");
    assert!(world.called().is_empty());
}

#[test]
fn messages_are_answered_in_their_order_by_one_delivery() {
    let world = answered();
    world.hook(&said(2, "two", "pending"), 202);
    world.hook(&said(3, "three", "pending"), 202);
    world.answers("2", false);
    world.answers("3", false);
    assert_eq!(world.deliver(false), 200);
    let called = world.called();
    let said: Vec<_> =
        called.iter().filter(|one| one.path == "/v1/chat").map(|one| one.body.clone()).collect();
    let turn = |query: &str| json!({"user": "chatwoot-1-9", "query": query, "session": SESSION});
    assert_eq!(said, [turn("two"), turn("three")]);
    assert_eq!(
        world.record(),
        json!({"contact": 9, "session": SESSION, "known": ["message-1", "message-2", "message-3"]})
    );
}

#[test]
fn the_bot_is_silent_while_people_have_it() {
    let world = handed_over();
    // By ourselves: it changes nothing.
    world.hook(&status("conversation_opened", 20), 202);
    world.hook(&said(3, "hello?", "open"), 202);
    world.hook(&wrote(4, "A person here."), 202);
    world.answers("", true);
    assert_eq!(world.deliver(false), 200);
    assert_eq!(world.did(), ["/v1/chat".to_owned(), items()]);
    // And it is back when it is pending again.
    world.hook(&said(5, "thanks", "pending"), 202);
    world.answers("welcome", false);
    assert_eq!(world.deliver(false), 200);
    assert_eq!(
        world.did(),
        [format!("{} back", handover()), "/v1/chat".to_owned(), "send_message".to_owned()]
    );
}

#[test]
fn who_takes_a_conversation_over_in_chatwoot_has_it() {
    for event in [status("conversation_opened", 20), wrote(4, "I take this."), said(5, "hello?", "open")] {
        let world = answered();
        world.hook(&event, 202);
        world.answers("", true);
        assert_eq!(world.deliver(false), 200);
        assert_eq!(world.did()[0], handover(), "{event}");
        assert_eq!(world.record()["handed_over"], true);
        world.hook(&status("conversation_resolved", 30), 202);
        assert_eq!(world.deliver(false), 200);
        assert_eq!(world.did(), [format!("{} back", handover())]);
        assert_eq!(world.record().get("handed_over"), None);
    }
}

#[test]
fn what_happens_where_the_bot_was_never_asked_is_nothing_to_it() {
    let world = World::default();
    for event in [said(1, "hi", "open"), wrote(2, "hi"), status("conversation_resolved", 3)] {
        world.hook(&event, 202);
    }
    assert_eq!(world.deliver(false), 200);
    assert!(world.called().is_empty());
}

#[test]
fn what_fails_is_done_again_and_the_turn_is_asked_under_its_key() {
    let world = World::default();
    world.hook(&said(1, "hi", "pending"), 202);
    world.answers("hello", false);
    let fails = json!({"output": "down", "error": "unavailable", "attempts": 3, "duration_ms": 1});
    world.platform.tool.borrow_mut().push_back(fails);
    assert_eq!(world.deliver(false), 503);
    assert!(
        world
            .platform
            .lines
            .borrow()
            .iter()
            .any(|line| line.contains("send_message") && line.contains("down"))
    );
    world.answers("hello", false);
    assert_eq!(world.deliver(false), 200);
    let called = world.called();
    let keys: Vec<_> =
        called.iter().filter(|one| one.path == "/v1/chat").map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["chatwoot-1-7-message-1"; 2]);
}

#[test]
fn a_user_who_cannot_be_answered_is_left_to_people() {
    for (status, last) in [(503, true), (422, false)] {
        let world = answered();
        world.hook(&said(2, "hi", "pending"), 202);
        world.platform.turns.borrow_mut().push_back((status, json!({"error": {}})));
        assert_eq!(world.deliver(last), 200, "{status}");
        assert_eq!(world.did(), ["/v1/chat".to_owned(), "toggle_status".to_owned(), handover()]);
        assert_eq!(world.record()["handed_over"], true);
    }
    let world = answered();
    world.hook(&said(2, "hi", "pending"), 202);
    world.platform.turns.borrow_mut().push_back((503, json!({})));
    assert_eq!(world.deliver(false), 503, "it is tried again first");
    assert_eq!(world.did(), ["/v1/chat"]);
    assert_eq!(world.record()["waiting"].as_array().unwrap().len(), 1);
}

#[test]
fn a_session_that_has_ended_is_begun_anew() {
    let world = answered();
    world.hook(&said(2, "hi again", "pending"), 202);
    world.platform.turns.borrow_mut().push_back((404, json!({"error": {"code": "session_ended"}})));
    world.answers("hello again", false);
    assert_eq!(world.deliver(false), 200);
    let called = world.called();
    assert_eq!(called[1].body, json!({"user": "chatwoot-1-9", "query": "hi again"}));
    assert_eq!(called[1].key, "chatwoot-1-7-message-2-anew");
}

#[test]
fn one_delivery_at_a_time_is_at_a_conversation() {
    let world = answered();
    world.hook(&said(2, "hi", "pending"), 202);
    let mut record = world.record();
    record["until_ms"] = json!(1_700_000_100_000_u64);
    world.store.put("channel/chatwoot/1/7", record.to_string().as_bytes());
    assert_eq!(world.deliver(false), 409);
    assert_eq!(world.deliver(true), 200, "whoever is at it does this too");
    assert!(world.called().is_empty());
    // One that has died is not waited for.
    world.platform.passed_ms.set(200_000);
    world.answers("hello", false);
    assert_eq!(world.deliver(false), 200);
    assert_eq!(world.did(), ["/v1/chat", "send_message"]);
}

#[test]
fn what_is_not_for_the_bot_is_refused_or_passed_over() {
    let world = World::default();
    world.hook(&json!({"event": "webwidget_triggered"}), 200);
    assert_eq!(world.hook(&json!([1, 2]), 400)["error"]["type"], "invalid_request_error");
    let send = |method: &str, path: &str| {
        world.send(Request { method, path_with_query: path, ..Request::default() }, "{}").status
    };
    assert_eq!(send("GET", "/v1/channels/chatwoot"), 405);
    assert_eq!(send("POST", "/v1/channels/other"), 404);
    assert_eq!(send("POST", "/waggle/chatwoot/1/7"), 404, "work is the host's to deliver");
    let ada = World { user: vec![b"ada".to_vec()], ..world.clone() };
    assert_eq!(ada.hook(&said(1, "hi", "pending"), 403)["error"]["code"], "service_only");
    assert!(world.store.dump().is_empty() && world.platform.queue.borrow().is_empty());
}

#[test]
fn a_flood_is_bounded_and_what_was_done_is_known_for_a_while() {
    let world = World::default();
    for id in 0..MESSAGES_WAITING_MAX as u64 {
        world.hook(&said(id, "x", "pending"), 202);
    }
    assert_eq!(world.hook(&said(99, "x", "pending"), 429)["error"]["code"], "rate_limit_exceeded");
    for _ in 0..MESSAGES_WAITING_MAX {
        world.answers("", false);
    }
    assert_eq!(world.deliver(false), 200);
    const { assert!(MESSAGES_KNOWN_MAX > MESSAGES_WAITING_MAX, "what waits together is known together") };
}

#[test]
fn a_queue_that_takes_nothing_has_chatwoot_come_again() {
    let world = World::default();
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Full(9));
    world.hook(&said(1, "hi", "pending"), 503);
    *world.platform.queue_fails.borrow_mut() = None;
    world.hook(&said(1, "hi", "pending"), 202);
    world.answers("hello", false);
    assert_eq!(world.deliver(false), 200);
    // Where there is no queue, it is done beside the answer.
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Absent);
    world.answers("again", false);
    world.called();
    world.hook(&said(2, "hi", "pending"), 202);
    assert_eq!(world.did(), ["/v1/chat", "send_message"]);
}

#[test]
fn what_is_kept_is_as_it_is_described() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas/channel-chatwoot.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
    let (key, value) =
        (jsonschema::validator_for(&key).unwrap(), jsonschema::validator_for(&schema["value"]).unwrap());
    let check = |world: &World| {
        for (name, bytes) in world.store.dump() {
            let stored: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(key.is_valid(&json!(name)), "{name}");
            assert!(value.is_valid(&stored), "{stored:#}");
        }
    };
    let world = handed_over();
    check(&world);
    for event in [
        said(3, "x", "open"),
        wrote(4, "y"),
        status("conversation_resolved", 5),
        status("conversation_opened", 6),
    ] {
        world.hook(&event, 202);
        check(&world);
    }
    assert!(!value.is_valid(&json!({"contact": 1, "waiting": [{"id": "x", "deed": "said"}]})));
    assert!(!value.is_valid(&json!({"session": SESSION})));
}
