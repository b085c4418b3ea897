//! The variable `models`: what may be named, and what happens to the rest.

use crate::support::{Client, World, answers, bytes, delta, ending, says, streams, world};
use serde_json::{Value, json};

fn restricted(models: &str) -> World {
    let world = world();
    world.set("models", models);
    world
}

/// The bodies that name `model`, or none: a turn and a chat completion, whole and streamed.
fn requests(model: Option<&str>) -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "user", "content": "x"}]);
    let mut requests = Vec::new();
    for stream in [false, true] {
        for (path, mut body) in [
            ("/v1/responses", json!({"input": "x", "stream": stream})),
            ("/v1/chat/completions", json!({"messages": messages, "stream": stream})),
        ] {
            if let Some(model) = model {
                body["model"] = json!(model);
            }
            requests.push((path, body));
        }
    }
    requests
}

fn check(models: &str, default: &str, named: Option<&str>, allowed: bool) {
    for (path, body) in requests(named) {
        let world = restricted(models);
        world.set("model", default);
        let model = named.unwrap_or(default);
        if !allowed {
            let error = world.json("POST", path, &body, 404);
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            let expected = json!({"error": {"message": message, "type": "invalid_request_error", "param": null,
                "code": "model_not_found"}});
            assert_eq!(error, expected, "{models} {path} {body}");
            assert!(world.model.requests.borrow().is_empty() && world.store.dump().is_empty());
            continue;
        }
        if body["stream"] == true {
            world.script(streams(vec![bytes(&delta("ok")), bytes(&ending("stop"))]));
            world.stream(path, &body, &Client::default());
        } else {
            world.script(says("ok"));
            world.json("POST", path, &body, 200);
        }
        assert_eq!(world.asked()[0]["model"], model, "{models} {path} {body}");
    }
}

#[test]
fn a_model_that_may_not_be_named_does_not_exist() {
    check("*", "sim", Some("anything"), true);
    check("sim", "sim", None, true);
    check("sim", "sim", Some("sim"), true);
    check("sim", "sim", Some("other"), false);
    check("a, gpt-*", "sim", Some("gpt-5"), true);
    check("a, gpt-*", "sim", Some("ab"), false);
    check("a, gpt-*", "sim", None, false);
    check("a, gpt-*", "gpt-4", None, true);
    check("", "sim", None, false);
    check("", "sim", Some("sim"), false);
}

#[test]
fn without_a_model_there_is_none_to_use() {
    for (path, body) in requests(None) {
        let world = restricted("*");
        world.set("model", "");
        let error = world.json("POST", path, &body, 400);
        assert_eq!(error["error"]["param"], "model", "{path}");
        assert!(world.model.requests.borrow().is_empty());
    }
}

#[test]
fn a_chat_completion_names_its_model_once_and_nowhere_else() {
    let twice = r#"{"model":"sim","messages":[{"role":"user","content":"x"}],"mod\u0065l":"secret"}"#;
    for models in ["*", "sim"] {
        let reply = restricted(models).send("POST", "/v1/chat/completions", twice);
        assert_eq!(reply.status, 400, "{models}");
    }
    for field in ["models", "Model", "fallbacks", "model_list"] {
        let mut body = json!({"model": "sim", "messages": [{"role": "user", "content": "x"}]});
        body[field] = json!(["secret"]);
        let world = restricted("sim");
        let error = world.json("POST", "/v1/chat/completions", &body, 400);
        assert_eq!(error["error"]["param"], field);
        assert!(world.model.requests.borrow().is_empty());
        let world = restricted("*");
        world.script(says("ok"));
        world.json("POST", "/v1/chat/completions", &body, 200);
        assert_eq!(world.asked()[0], body);
    }
}

#[test]
fn only_models_that_may_be_named_are_shown() {
    let list = r#"{"object":"list","data":[{"id":"a","x": 1},{"id":"secret"},{"id":"org/b"},{"name":"a"}]}"#;
    for (models, expected) in [
        ("*", list),
        ("a,org/*", r#"{"object":"list","data":[{"id":"a","x": 1},{"id":"org/b"}]}"#),
        ("", r#"{"object":"list","data":[]}"#),
    ] {
        let world = restricted(models);
        world.script(answers(200, "application/json", list));
        assert_eq!(world.send("GET", "/v1/models", "").body, expected.as_bytes(), "{models}");
    }
    for nonsense in [r#"{"data":{}}"#, r#"{"models":[{"id":"secret"}]}"#] {
        let world = restricted("a");
        world.script(answers(200, "application/json", nonsense));
        world.json("GET", "/v1/models", &Value::Null, 502);
    }
}

#[test]
fn one_model_is_shown_if_it_may_be_named() {
    let world = restricted("a,org/*");
    for path in ["/v1/models/a", "/v1/models/org/b", "/v1/models/org%2Fb"] {
        world.script(answers(200, "application/json", r#"{"id":"x"}"#));
        world.json("GET", path, &Value::Null, 200);
    }
    for path in ["/v1/models/secret", "/v1/models/a%2Fb", "/v1/models/org"] {
        let error = world.json("GET", path, &Value::Null, 404);
        assert_eq!(error["error"]["code"], "model_not_found", "{path}");
    }
    assert_eq!(world.model.requests.borrow().len(), 3);
}

#[test]
fn a_variable_that_cannot_be_read_is_not_one_that_is_not_there() {
    let world = restricted("sim");
    for name in ["models", "model", "instructions", "window_items_max", "model_path"] {
        world.platform.unreadable.set(Some(name));
        let error = world.json("POST", "/v1/responses", &json!({"input": "x", "model": "secret"}), 500);
        assert_eq!(error["error"]["code"], "internal_error");
        assert!(!error.to_string().contains("secret detail"), "{error}");
        let line = world.platform.lines.borrow().last().unwrap().clone();
        assert!(line.contains(name) && line.contains("secret detail of the provider"), "{line}");
    }
    assert!(world.model.requests.borrow().is_empty());
}
