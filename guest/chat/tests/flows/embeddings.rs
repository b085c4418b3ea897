//! Embeddings: checked, passed on and back; a model that may not be named does not exist.

use crate::support::{Script, answers, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

const ANSWER: &str =
    r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"e"}"#;

#[test]
fn an_embedding_is_passed_on_and_back_as_it_is() {
    let world = world();
    for input in [json!("x"), json!(["x", "y"]), json!([1, 2]), json!([[1], [2, 3]])] {
        let body = json!({"model": "e", "input": input, "encoding_format": "base64", "dimensions": 8, "user": "u",
            "special": {"to": "the endpoint"}});
        world.script(answers(200, "application/json", ANSWER));
        let reply = world.send("POST", "/v1/embeddings", &body.to_string());
        assert_eq!((reply.status, String::from_utf8(reply.body).unwrap().as_str()), (200, ANSWER));
        assert_eq!(world.asked().last(), Some(&body));
    }
    let requests = world.model.requests.borrow();
    assert!(
        requests.iter().all(|request| request.url == "http://model.test/v1/embeddings" && !request.events)
    );
    assert!(world.store.dump().is_empty());
}

#[test]
fn the_model_is_the_tenants_choice() {
    let world = world();
    let unnamed = json!({"input": "x"});
    let error = world.json("POST", "/v1/embeddings", &unnamed, 400);
    assert_eq!(error["error"]["param"], "model");
    world.set("embedding_model", "e-small");
    world.set("models", "e-*");
    world.script(answers(200, "application/json", ANSWER));
    world.json("POST", "/v1/embeddings", &unnamed, 200);
    assert_eq!(world.asked()[0], json!({"model": "e-small", "input": "x"}));
    for body in [json!({"model": "sim", "input": "x"}), json!({"model": "gpt", "input": "x"})] {
        let error = world.json("POST", "/v1/embeddings", &body, 404);
        assert_eq!(error["error"]["code"], "model_not_found");
    }
    let error = world.json("POST", "/v1/embeddings", &json!({"models": ["x"], "input": "x"}), 400);
    assert_eq!(error["error"]["param"], "models");
    world.set("embedding_model", "secret");
    world.json("POST", "/v1/embeddings", &unnamed, 404);
    assert_eq!(world.model.requests.borrow().len(), 1);
}

#[test]
fn the_model_that_has_answered_is_named() {
    let world = world();
    world.model.answers_as.set(Some("e-2"));
    world.script(answers(200, "application/json", ANSWER));
    let answer = world.json("POST", "/v1/embeddings", &json!({"model": "e", "input": "x"}), 200);
    assert_eq!(answer["model"], "e-2");
}

#[test]
fn failures_are_errors_and_never_texts() {
    let world = world();
    world.set("fallback", "text");
    let body = json!({"model": "e", "input": "x"});
    for (script, status, code) in [
        (Script::Fails(TransportFailure::TimedOut("x".into())), 504, json!("model_endpoint_timeout")),
        (answers(500, "application/json", "{}"), 502, json!("model_endpoint_error")),
        (answers(429, "application/json", "{}"), 429, json!("rate_limit_exceeded")),
        (answers(200, "text/html", "<html>"), 502, json!("model_endpoint_error")),
    ] {
        world.script(script);
        let error = world.json("POST", "/v1/embeddings", &body, status);
        assert_eq!(error["error"]["code"], code);
    }
    for wrong in
        [json!({}), json!({"model": "e"}), json!({"model": "e", "input": []}), Value::String("x".into())]
    {
        world.json("POST", "/v1/embeddings", &wrong, 400);
    }
    assert_eq!(world.model.requests.borrow().len(), 4);
}
