//! Turns that cannot be looked up: they are not answered without.

use crate::support::{Client, Piece, World, asks, bytes, delta, events, found, id, streams, world};
use serde_json::{Value, json};
use waggle_chat::platform::NeighbourAnswer;
use waggle_model::transport::TransportFailure;

fn error(status: u16, param: &Value, code: &str) -> (u16, Value) {
    let fields =
        json!({"message": "No such store.", "type": "invalid_request_error", "param": param, "code": code});
    (status, json!({"error": fields}))
}

/// What a turn is answered whose search is answered so.
fn check((status, body): (u16, Value), expected: (u16, Value, Value)) {
    let world = world();
    world.search_answers(status, &body);
    let mut request = asks("q");
    request["tools"].as_array_mut().unwrap().insert(0, json!({"type": "function", "name": "f"}));
    let told = world.json("POST", "/v1/responses", &request, expected.0)["error"].clone();
    assert_eq!((told["param"].clone(), told["code"].clone()), (expected.1, expected.2), "{body}: {told}");
    assert!(world.asked().is_empty(), "no model is asked");
}

#[test]
fn what_is_wrong_with_the_tool_is_told_by_its_place() {
    check(
        error(404, &Value::Null, "vector_store_not_found"),
        (404, json!("tools[1]"), json!("vector_store_not_found")),
    );
    let filters = json!("filters.filters[0].key");
    check(
        error(400, &filters, "invalid_value"),
        (400, json!("tools[1].filters.filters[0].key"), json!("invalid_value")),
    );
    check(error(422, &Value::Null, "strange"), (400, json!("tools[1]"), Value::Null));
}

#[test]
fn a_search_that_fails_fails_the_turn() {
    let none = Value::Null;
    check(error(503, &none, "x"), (503, Value::Null, json!("retrieval_unavailable")));
    check(error(500, &none, "x"), (502, Value::Null, json!("retrieval_failed")));
    check(error(403, &none, "x"), (502, Value::Null, json!("retrieval_failed")));
    check(error(429, &none, "rate_limit_exceeded"), (429, Value::Null, json!("rate_limit_exceeded")));
    let budget = json!({"error": {"message": "The budget is used up.", "type": "insufficient_quota", "param": null,
        "code": "budget_exceeded"}});
    check((429, budget), (429, Value::Null, json!("budget_exceeded")));
    for unreadable in [
        json!({}),
        json!([]),
        json!({"search_query": "q", "data": [{}], "waggle": {"passed_threshold": true}}),
    ] {
        check((200, unreadable), (502, Value::Null, json!("retrieval_failed")));
    }
}

/// The status and code of a turn whose search cannot be made.
fn check_unanswered(failure: TransportFailure, status: u16, code: &str) {
    let world = world();
    // A text in a model's place is for models that fail.
    world.set("fallback", "text");
    world.platform.knowledge.borrow_mut().push_back(Err(failure));
    let told = world.json("POST", "/v1/responses", &asks("q"), status)["error"].clone();
    assert_eq!(told["code"], code);
    assert!(!told["message"].as_str().unwrap().contains("10.0.0.7"), "{told}");
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("knowledge: ")));
}

#[test]
fn knowledge_that_is_not_reached_fails_the_turn() {
    let at = || "10.0.0.7".to_owned();
    check_unanswered(TransportFailure::Unreachable(at()), 502, "retrieval_unreachable");
    check_unanswered(TransportFailure::Denied(at()), 502, "retrieval_unreachable");
    check_unanswered(TransportFailure::Cut(at()), 502, "retrieval_unreachable");
    check_unanswered(TransportFailure::TimedOut(at()), 504, "retrieval_timeout");
    check_unanswered(TransportFailure::Busy(at()), 503, "retrieval_unavailable");
}

fn says_when_to_come_back(world: &World, retry_after: &str) -> Option<String> {
    let body = error(503, &Value::Null, "x").1.to_string().into_bytes();
    let answer = NeighbourAnswer { status: 503, retry_after: Some(retry_after.to_owned()), body };
    world.platform.knowledge.borrow_mut().push_back(Ok(answer));
    let reply = world.send("POST", "/v1/responses", &asks("q").to_string());
    reply.headers.into_iter().find(|(name, _)| *name == "retry-after").map(|(_, value)| value)
}

#[test]
fn a_wait_is_passed_on_within_its_bound() {
    let world = world();
    assert_eq!(says_when_to_come_back(&world, "7").as_deref(), Some("7"));
    assert_eq!(says_when_to_come_back(&world, "1000000").as_deref(), Some("3600"));
    assert_eq!(says_when_to_come_back(&world, "soon").as_deref(), Some("1"));
}

#[test]
fn a_turn_that_cannot_be_looked_up_leaves_its_conversation_as_it_was() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let mut body = asks("q");
    body["conversation"] = json!(id(&conversation));
    let before = world.joined();
    world.search_answers(500, &json!({}));
    world.json("POST", "/v1/responses", &body, 502);
    assert_eq!(world.joined(), before);
    world.finds(&found());
    world.turn(&body, "At nine [1].");
}

#[test]
fn what_the_tenant_has_configured_wrongly_is_the_operators_to_read() {
    for (knowledge, status) in [("vs_1", Some(404)), ("store", None), ("[1]", None)] {
        let world = world();
        world.set("knowledge", knowledge);
        if let Some(status) = status {
            world.search_answers(status, &error(status, &Value::Null, "not_found").1);
        }
        let told = world.json("POST", "/v1/responses", &json!({"input": "q"}), 500)["error"].clone();
        assert_eq!(told["code"], "internal_error");
        let lines = world.platform.lines.borrow();
        assert!(lines.iter().any(|line| line.contains("knowledge")), "{lines:?}");
    }
    let world = world();
    world.set("answers", "nobody");
    world.finds(&found());
    world.json("POST", "/v1/responses", &asks("q"), 500);
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("'answers'")));
}

#[test]
fn a_background_response_whose_search_fails_is_run_again_and_fails_at_last() {
    let world = world();
    let mut body = asks("q");
    body["background"] = json!(true);
    let queued = world.json("POST", "/v1/responses", &body, 200);
    world.search_answers(503, &json!({}));
    assert_eq!(world.deliver(false).status, 503, "the host comes again");
    world.search_answers(404, &error(404, &Value::Null, "vector_store_not_found").1);
    assert_eq!(world.deliver(true).status, 200);
    let response = world.json("GET", &format!("/v1/responses/{}", id(&queued)), &Value::Null, 200);
    assert_eq!(
        (&response["status"], &response["error"]["code"]),
        (&json!("failed"), &json!("invalid_prompt"))
    );
}

#[test]
fn a_stream_whose_search_fails_has_a_status() {
    let world = world();
    world.search_answers(503, &json!({}));
    let mut body = asks("q");
    body["stream"] = json!(true);
    assert_eq!(world.exchange("/v1/responses", &body, None).status, 503);
}

#[test]
fn an_answer_that_cannot_be_kept_is_still_the_answer() {
    let world = world();
    world.platform.keeping_fails.set(true);
    world.finds(&found());
    let response = world.turn(&asks("When?"), "At nine [1].");
    assert_eq!(response["status"], "completed");
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("was not kept")));
}

#[test]
fn a_client_that_leaves_a_cited_answer_gets_what_was_said_kept() {
    let world = world();
    world.finds(&found());
    world.script(streams(vec![bytes(&delta("At nine [1].")), Piece::Hangs]));
    let mut body = asks("q");
    body["stream"] = json!(true);
    let client = Client { leaves_after: Some(2), ..Client::default() };
    world.stream("/v1/responses", &body, &client);
    let told = events(&client);
    let response =
        world.json("GET", &format!("/v1/responses/{}", id(&told[0].1["response"])), &Value::Null, 200);
    assert_eq!((&response["status"], response["output"].as_array().unwrap().len()), (&json!("cancelled"), 2));
    let given_up = json!({"answer_key": "key-1", "text": "", "sources": []});
    assert_eq!(world.looked_up("/v1/retrieval/answers"), [given_up], "who asks the same waits no longer");
}
