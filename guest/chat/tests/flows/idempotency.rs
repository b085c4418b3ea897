//! `Idempotency-Key`: done once, answered alike.

use crate::support::{Client, Piece, Script, World, answers, bytes, delta, ending, id, says, streams, world};
use futures::executor::block_on;
use serde_json::{Value, json};
use waggle_chat::reply::STREAM_HEADERS;
use waggle_chat::{Answer, Reply, Request};
use waggle_model::transport::TransportFailure;

const RESPONSES: &str = "/v1/responses";
const CHAT: &str = "/v1/chat/completions";
const SESSION: &str = "/v1/chat";

async fn sent(world: &World, path: &str, keys: &[&[u8]], body: &Value) -> Reply {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let request = Request {
        method: "POST",
        path_with_query: path,
        idempotency_key: &keys,
        user: &world.user,
        ..Request::default()
    };
    match world.answer(request, vec![bytes(&body.to_string())]).await {
        Answer::Reply(reply) => reply,
        Answer::Stream(stream) => {
            let client = Client::default();
            stream.run(client.clone()).await;
            let headers = STREAM_HEADERS.map(|(name, value)| (name, value.to_owned())).to_vec();
            let body = client.writes.borrow().concat().into_bytes();
            Reply { status: 200, headers, body }
        }
        Answer::Working(..) => panic!("work beside an answer"),
    }
}

fn send(world: &World, path: &str, key: &str, body: &Value) -> Reply {
    block_on(sent(world, path, &[key.as_bytes()], body))
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

fn code(reply: &Reply) -> String {
    let error: Value = serde_json::from_slice(&reply.body).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

fn calls(world: &World) -> usize {
    world.model.requests.borrow().len()
}

fn chat(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn other_body(path: &str) -> Value {
    match path {
        CHAT => chat("y"),
        SESSION => json!({"user": "ada", "query": "y"}),
        _ => json!({"input": "y"}),
    }
}

#[test]
fn the_same_key_is_answered_alike_and_the_model_is_asked_once() {
    for (path, body) in [
        (RESPONSES, json!({"input": "x"})),
        (RESPONSES, json!({"input": "x", "store": false})),
        (CHAT, chat("x")),
        (SESSION, json!({"user": "ada", "query": "x"})),
    ] {
        let world = world();
        world.script(says("hello"));
        let first = send(&world, path, "k", &body);
        assert_eq!((first.status, header(&first, "idempotency-replayed")), (200, None));
        let again = send(&world, path, "k", &body);
        assert_eq!((again.status, header(&again, "idempotency-replayed")), (200, Some("true")), "{body}");
        let json = |reply: &Reply| serde_json::from_slice::<Value>(&reply.body).unwrap();
        assert_eq!(json(&again), json(&first), "{body}");
        assert_eq!(calls(&world), 1, "{body}");
        let other = send(&world, path, "k", &other_body(path));
        assert_eq!((other.status, code(&other)), (422, "idempotency_key_reused".to_owned()));
    }
}

#[test]
fn keys_of_others_routes_and_yesterday_have_nothing_to_do_with_it() {
    let world = world();
    let body = json!({"input": "x"});
    let check = |world: &World, path: &str, body: &Value| {
        let before = calls(world);
        world.script(says("hello"));
        assert_eq!(send(world, path, "k", body).status, 200);
        assert_eq!(calls(world), before + 1);
    };
    check(&world, RESPONSES, &body);
    check(&world.called_by(Some("ada")), RESPONSES, &body);
    check(&world.called_by(Some("bob")), RESPONSES, &body);
    check(&world, CHAT, &chat("x"));
    world.platform.passed_ms.set(24 * 3600 * 1000);
    check(&world, RESPONSES, &json!({"input": "another"}));
}

#[test]
fn a_stream_is_made_again_as_it_was() {
    let world = world();
    let body = json!({"input": "x", "stream": true});
    world.script(streams(vec![bytes(&delta("one ")), bytes(&delta("two")), bytes(&ending("stop"))]));
    let first = send(&world, RESPONSES, "k", &body);
    let reply = send(&world, RESPONSES, "k", &body);
    assert_eq!(header(&reply, "content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(calls(&world), 1);
    assert_eq!(String::from_utf8(reply.body).unwrap(), String::from_utf8(first.body).unwrap());
}

/// A failure that lets the key go, or one that is kept.
fn check_failure(script: Script, kept: bool) {
    for path in [RESPONSES, CHAT] {
        let world = world();
        let body = if path == CHAT { chat("x") } else { json!({"input": "x"}) };
        world.script(script.clone());
        let first = send(&world, path, "k", &body);
        assert!(first.status >= 400, "{script:?}");
        if kept {
            let again = send(&world, path, "k", &body);
            assert_eq!((again.status, code(&again)), (first.status, code(&first)), "{script:?}");
            assert_eq!(header(&first, "x-should-retry"), Some("false"));
            assert_eq!(header(&again, "x-should-retry"), Some("false"));
            assert_eq!(calls(&world), 1);
        } else {
            world.script(says("now"));
            assert_eq!(send(&world, path, "k", &body).status, 200, "{script:?}");
        }
    }
}

#[test]
fn only_what_may_have_to_be_paid_is_final() {
    let at = || "there".to_owned();
    check_failure(Script::Fails(TransportFailure::Unreachable(at())), false);
    check_failure(Script::Fails(TransportFailure::Busy(at())), false);
    check_failure(answers(500, "text/plain", "no"), false);
    check_failure(answers(429, "application/json", "{}"), false);
    check_failure(answers(400, "application/json", "{}"), false);
    check_failure(Script::Fails(TransportFailure::TimedOut(at())), true);
    check_failure(Script::Fails(TransportFailure::Cut(at())), true);
    check_failure(answers(200, "text/html", "<html>"), true);
}

#[test]
fn a_wrong_request_claims_nothing() {
    let world = world();
    assert_eq!(send(&world, RESPONSES, "k", &json!({"input": 1})).status, 400);
    assert_eq!(
        send(&world, RESPONSES, "k", &json!({"input": "x", "stream": true, "store": false})).status,
        400
    );
    let mut streamed = chat("x");
    streamed["stream"] = json!(true);
    let refused = send(&world, CHAT, "k", &streamed);
    assert!(String::from_utf8(refused.body).unwrap().contains("Idempotency-Key"));
    let long = "k".repeat(256);
    let wrong: [&[&[u8]]; 5] = [&[b""], &[b"a b"], &["é".as_bytes()], &[b"a", b"a"], &[long.as_bytes()]];
    for keys in wrong {
        let reply = block_on(sent(&world, RESPONSES, keys, &json!({"input": "x"})));
        assert_eq!((reply.status, code(&reply).as_str()), (400, "invalid_idempotency_key"));
    }
    assert!(world.keys("idempotency/").is_empty());
    let unknown = json!({"input": "x", "previous_response_id": "resp_x"});
    assert_eq!(send(&world, RESPONSES, "k", &unknown).status, 400);
    assert!(world.keys("idempotency/").is_empty(), "it was let go");
}

#[test]
fn two_at_once_are_one() {
    for path in [RESPONSES, CHAT] {
        let world = world();
        let body = if path == CHAT { chat("x") } else { json!({"input": "x"}) };
        world.script(says("hello"));
        let keys: [&[u8]; 1] = [b"k"];
        let (one, two) = block_on(async {
            futures::join!(sent(&world, path, &keys, &body), sent(&world, path, &keys, &body))
        });
        let json = |reply: &Reply| serde_json::from_slice::<Value>(&reply.body).unwrap();
        assert_eq!((one.status, json(&one)), (two.status, json(&two)));
        assert_eq!(calls(&world), 1);
    }
}

/// A turn whose host stands still, or dies, in the middle.
fn begun(world: &World, body: &Value) {
    world.script(streams(vec![bytes(&delta("par")), Piece::Hangs]));
    let request = Request {
        method: "POST",
        path_with_query: RESPONSES,
        idempotency_key: &[b"k".to_vec()],
        ..Request::default()
    };
    assert!(matches!(block_on(world.answer(request, vec![bytes(&body.to_string())])), Answer::Stream(_)));
}

#[test]
fn while_it_is_being_served_the_others_wait_and_then_read_so() {
    let world = world();
    let body = json!({"input": "x", "stream": true});
    begun(&world, &body);
    let reply = send(&world, RESPONSES, "k", &body);
    assert_eq!((reply.status, code(&reply)), (409, "idempotency_key_in_use".to_owned()));
    assert_eq!(header(&reply, "retry-after"), Some("1"));
    assert_eq!(calls(&world), 1);
}

#[test]
fn what_a_crash_interrupted_is_never_begun_again_under_its_key() {
    let world = world();
    let body = json!({"input": "x", "stream": true});
    begun(&world, &body);
    world.platform.passed_ms.set(60_000);
    for _ in 0..2 {
        let reply = send(&world, RESPONSES, "k", &body);
        assert_eq!((reply.status, code(&reply)), (422, "idempotency_interrupted".to_owned()));
    }
    assert_eq!(calls(&world), 1);
    world.script(streams(vec![bytes(&ending("stop"))]));
    assert_eq!(send(&world, RESPONSES, "another", &body).status, 200);
}

#[test]
fn a_response_that_was_deleted_is_not_made_again() {
    let world = world();
    let body = json!({"input": "x"});
    world.script(says("hello"));
    let first: Value = serde_json::from_slice(&send(&world, RESPONSES, "k", &body).body).unwrap();
    world.json("DELETE", &format!("/v1/responses/{}", id(&first)), &Value::Null, 200);
    world.platform.passed_ms.set(60_000);
    assert_eq!(code(&send(&world, RESPONSES, "k", &body)), "idempotency_interrupted");
    assert_eq!(calls(&world), 1);
}

#[test]
fn without_a_key_nothing_is_written_for_it() {
    let world = world();
    world.turn(&json!({"input": "x"}), "y");
    assert_eq!(world.store.operations(), ["set_many 1"]);
    world.script(says("y"));
    send(&world, RESPONSES, "k", &json!({"input": "x"}));
    assert_eq!(world.store.operations(), ["swap 1", "set_many 1"]);
}

#[test]
fn a_session_turn_whose_host_died_before_it_kept_the_answer_is_answered_by_its_response() {
    let world = world();
    let claimed = |world: &World| {
        let keys = world.keys("idempotency/");
        let [key] = keys.as_slice() else { panic!("{keys:?}") };
        (key.clone(), serde_json::from_slice::<Value>(&world.store.dump()[key]).unwrap())
    };
    let body = json!({"user": "ada", "query": "x"});
    world.script(says("hello"));
    let first = send(&world, SESSION, "k", &body);
    assert_eq!(first.status, 200);
    let (key, mut record) = claimed(&world);
    assert!(record.as_object_mut().unwrap().remove("answer").is_some());
    world.store.put(&key, record.to_string().as_bytes());
    for passed_ms in [0, 60_000] {
        world.platform.passed_ms.set(passed_ms);
        let again = send(&world, SESSION, "k", &body);
        assert_eq!((again.status, header(&again, "idempotency-replayed")), (200, Some("true")));
        assert_eq!(String::from_utf8(again.body).unwrap(), String::from_utf8(first.body.clone()).unwrap());
    }
    assert_eq!(calls(&world), 1);
}
