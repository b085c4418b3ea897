//! Turns of one conversation at once: one after another, or refused.

use crate::support::{
    Body, Client, Piece, Surroundings, World, bytes, delta, ending, id, says, streams, world,
};
use serde_json::{Value, json};
use waggle_chat::{Answer, Request};
use waggle_conversation::memory::MemoryStore;

fn begin(
    world: &World,
    conversation: &str,
    input: &str,
    stream: bool,
) -> Answer<MemoryStore, Surroundings, Body> {
    let body = json!({"input": input, "conversation": conversation, "stream": stream}).to_string();
    futures::executor::block_on(world.answer(post(), vec![bytes(&body)]))
}

fn post() -> Request<'static> {
    Request { method: "POST", path_with_query: "/v1/responses", ..Request::default() }
}

fn new_conversation(world: &World) -> String {
    id(&world.json("POST", "/v1/conversations", &json!({}), 200)).to_owned()
}

/// A turn that has begun to answer.
fn under_way(world: &World, conversation: &str) -> waggle_chat::Streaming<MemoryStore, Surroundings, Body> {
    world.script(streams(vec![bytes(&delta("one")), bytes(&ending("stop"))]));
    match begin(world, conversation, "first", true) {
        Answer::Stream(stream) => stream,
        Answer::Reply(reply) => panic!("{}", String::from_utf8_lossy(&reply.body)),
        Answer::Working(..) => panic!("work beside a stream"),
    }
}

fn check_locked(world: &World, conversation: &str) {
    let called = world.model.requests.borrow().len();
    let Answer::Reply(reply) = begin(world, conversation, "second", false) else { panic!("a stream") };
    let error: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &error["error"]["code"]), (409, &json!("conversation_locked")), "{error}");
    assert_eq!(error["error"]["param"], "conversation");
    assert!(reply.headers.contains(&("retry-after", "1".to_owned())), "{:?}", reply.headers);
    assert_eq!(world.model.requests.borrow().len(), called, "no model is asked");
}

#[test]
fn a_turn_sees_all_that_was_begun_before_it() {
    let world = world();
    let conversation = new_conversation(&world);
    let first = under_way(&world, &conversation);
    world.script(says("two"));
    let body = json!({"input": "second", "conversation": conversation}).to_string();
    futures::executor::block_on(async {
        // The second arrives first at its model if nobody holds it up.
        futures::join!(world.answer(post(), vec![bytes(&body)]), first.run(Client::default()));
    });
    assert_eq!(world.last_messages(), ["first", "one", "second"]);
    assert_eq!(world.joined().len(), 5);
}

#[test]
fn a_turn_waits_as_long_as_the_tenant_says_and_no_longer() {
    for (name, value, waited_ms) in
        [("conversation_wait_ms", "300", 300), ("conversation_turns", "refuse", 0)]
    {
        let world = world();
        world.set(name, value);
        let conversation = new_conversation(&world);
        let first = under_way(&world, &conversation);
        let before_ms = world.platform.passed_ms.get();
        check_locked(&world, &conversation);
        assert_eq!(world.platform.passed_ms.get() - before_ms, waited_ms, "{name}");
        futures::executor::block_on(first.run(Client::default()));
        world.turn(&json!({"input": "third", "conversation": conversation}), "three");
        assert_eq!(world.last_messages(), ["first", "one", "third"], "{name}");
        world.joined();
    }
}

#[test]
fn a_setting_that_cannot_be_is_the_operators_to_see() {
    for (name, value) in [("conversation_turns", "queue"), ("conversation_wait_ms", "60001")] {
        let world = world();
        let conversation = new_conversation(&world);
        world.set(name, value);
        let body = json!({"input": "x", "conversation": conversation});
        world.json("POST", "/v1/responses", &body, 500);
        assert!(world.platform.lines.borrow()[0].contains(name));
    }
}

#[test]
fn a_turn_that_is_refused_before_its_model_gives_its_place_up() {
    let world = world();
    let conversation = new_conversation(&world);
    let orphan = json!({"input": [{"type": "function_call_output", "call_id": "nobody", "output": "o"}],
        "conversation": conversation});
    world.json("POST", "/v1/responses", &orphan, 400);
    assert_eq!(world.joined().len(), 1);
    let before_ms = world.platform.passed_ms.get();
    world.turn(&json!({"input": "x", "conversation": conversation}), "y");
    assert_eq!(world.platform.passed_ms.get(), before_ms, "nobody waits for it");
}

#[test]
fn a_turn_that_was_taken_for_dead_leaves_nothing() {
    let world = world();
    let conversation = new_conversation(&world);
    let first = under_way(&world, &conversation);
    // Nobody polls the first: its host stands still.
    world.turn(&json!({"input": "second", "conversation": conversation}), "two");
    assert_eq!(world.last_messages(), ["second"]);
    let client = Client::default();
    futures::executor::block_on(first.run(client.clone()));
    let events = crate::support::events(&client);
    let (kind, error) = events.last().unwrap();
    assert_eq!((kind.as_str(), &error["code"]), ("error", &json!("conversation_locked")), "{error}");
    assert_eq!(world.keys("response/").len(), 1, "only the second is kept");
    assert_eq!(world.joined().len(), 3);
}

#[test]
fn a_turn_that_lasts_shows_that_it_lives() {
    let world = world();
    let conversation = new_conversation(&world);
    world.script(streams(vec![bytes(&delta("one")), Piece::Hangs]));
    let Answer::Stream(first) = begin(&world, &conversation, "first", true) else { panic!("no stream") };
    world.set("conversation_wait_ms", "60000");
    let body = json!({"input": "second", "conversation": conversation}).to_string();
    let second = futures::executor::block_on(async {
        let first = std::pin::pin!(first.run(Client::default()));
        let second = std::pin::pin!(world.answer(post(), vec![bytes(&body)]));
        match futures::future::select(first, second).await {
            futures::future::Either::Right((answer, _)) => answer,
            futures::future::Either::Left(_) => panic!("the first has no end"),
        }
    });
    let Answer::Reply(reply) = second else { panic!("a stream") };
    assert_eq!(reply.status, 409, "after a minute, which is longer than any silence");
}
