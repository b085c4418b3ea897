//! Bodies, headers, and what is passed through.

use crate::support::{Client, Piece, Script, answers, bytes, delta, ending, streams, world};
use serde_json::{Value, json};
use waggle_chat::{Answer, Reply, Request};
use waggle_model::transport::TransportFailure;

fn post(content_type: Option<&str>, content_length: Option<u64>, body: Vec<Piece>) -> Reply {
    let request = Request {
        method: "POST",
        path_with_query: "/v1/responses",
        content_type,
        content_length,
        accept_language: None,
        user: &[],
        ..waggle_chat::Request::default()
    };
    match futures::executor::block_on(world().answer(request, body)) {
        Answer::Reply(reply) => reply,
        Answer::Stream(_) | Answer::Working(..) => panic!("a stream"),
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let chunk = || Piece::Bytes(vec![b' '; 1 << 20]);
    let mut body: Vec<Piece> = (0..9).map(|_| chunk()).collect();
    // Whoever reads on after 8 MiB waits for ever.
    body.push(Piece::Hangs);
    assert_eq!(post(None, None, body).status, 413);
    assert_eq!(post(None, Some(100 << 20), vec![Piece::Hangs]).status, 413);
}

#[test]
fn a_body_that_ends_early_or_is_not_json_is_refused() {
    let cut = Piece::Fails(TransportFailure::Cut("x".into()));
    assert_eq!(post(None, None, vec![bytes("{\"inp"), cut]).status, 400);
    assert_eq!(post(Some("application/x-www-form-urlencoded"), None, vec![bytes("{}")]).status, 415);
    assert_eq!(post(Some("text/plain"), None, vec![bytes("{}")]).status, 415);
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        assert_eq!(post(Some(content_type), None, vec![bytes("{}")]).status, 400, "{content_type}");
    }
}

#[test]
fn a_wrong_method_is_answered_with_the_right_ones() {
    let reply = world().send("PUT", "/v1/responses", "");
    assert_eq!(reply.status, 405);
    assert!(reply.headers.contains(&("allow", "POST".to_owned())), "{:?}", reply.headers);
}

#[test]
fn a_chat_completion_is_passed_through_as_it_is() {
    let world = world();
    world.set("model_api_key", "sk-secret");
    world.set("model_path", "/openai/v1/");
    let answer = r#"{"id": "c",  "choices": [], "extra": 1}"#;
    world.script(answers(200, "application/json", answer));
    let body = r#"{"model": "m", "messages": [{"role":"user","content":"x"}], "top_k": 4}"#;
    let reply = world.send("POST", "/v1/chat/completions", body);
    assert_eq!((reply.status, reply.body.as_slice()), (200, answer.as_bytes()));
    let request = world.model.requests.borrow()[0].clone();
    assert_eq!(request.body.as_deref(), Some(body.as_bytes()));
    assert_eq!(request.url, "http://model.test/openai/v1/chat/completions");
    assert_eq!(request.api_key, "sk-secret");
    assert!(world.store.dump().is_empty());
}

#[test]
fn a_streamed_chat_completion_is_passed_on_chunk_by_chunk() {
    let world = world();
    let pieces = [delta("a"), delta("b"), ending("stop")];
    world.script(streams(pieces.iter().map(|piece| bytes(piece)).collect()));
    let client = Client::default();
    let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": true});
    world.stream("/v1/chat/completions", &body, &client);
    assert_eq!(*client.writes.borrow(), pieces);
    assert_eq!(world.asked()[0]["model"], "sim");
}

#[test]
fn a_chat_completion_that_breaks_off_says_so_in_the_stream() {
    let world = world();
    let cut = Piece::Fails(TransportFailure::Cut("secret".into()));
    world.script(streams(vec![bytes(&delta("a")), bytes("data: {\"cho"), cut]));
    let client = Client::default();
    let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": true});
    world.stream("/v1/chat/completions", &body, &client);
    let last = client.writes.borrow().last().unwrap().clone();
    let error: Value = serde_json::from_str(last.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "model_endpoint_error");
    assert!(!last.contains("secret") && last.starts_with("\n\n"), "{last:?}");
}

#[test]
fn a_client_that_leaves_a_chat_completion_ends_the_call() {
    for silent in [false, true] {
        let world = world();
        world.script(streams(vec![bytes(&delta("a")), bytes(&delta("b")), Piece::Hangs]));
        let client = Client { leaves_after: Some(1), silent, ..Client::default() };
        let body = json!({"messages": [{"role": "user", "content": "x"}], "stream": true});
        world.stream("/v1/chat/completions", &body, &client);
        assert_eq!(world.model.dropped.get(), 1);
    }
}

#[test]
fn a_chat_completion_that_fails_has_openais_shape() {
    let messages = r#"{"messages":[{"role":"user","content":"x"}]}"#;
    for (script, status) in [
        (answers(200, "text/html", "<html>secret</html>"), 502),
        (answers(500, "text/html", "secret"), 502),
        (answers(429, "application/json", "{}"), 429),
        (Script::Fails(TransportFailure::Unreachable("secret".into())), 502),
    ] {
        let world = world();
        world.script(script);
        let reply = world.send("POST", "/v1/chat/completions", messages);
        let error: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status, status, "{error}");
        assert!(error["error"]["message"].is_string() && !error.to_string().contains("secret"), "{error}");
    }
    let error = world().json("POST", "/v1/chat/completions", &json!({"messages": []}), 400);
    assert_eq!(error["error"]["param"], "messages");
}

#[test]
fn models_are_passed_through() {
    let world = world();
    let list = r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#;
    world.script(answers(200, "application/json", list));
    assert_eq!(world.send("GET", "/v1/models", "").body, list.as_bytes());
    world.script(answers(404, "application/json", "{}"));
    let error = world.json("GET", "/v1/models/org/none", &Value::Null, 404);
    assert_eq!(error["error"]["code"], "model_not_found");
    let urls: Vec<String> = world.model.requests.borrow().iter().map(|request| request.url.clone()).collect();
    assert_eq!(urls, ["http://model.test/v1/models", "http://model.test/v1/models/org/none"]);
    assert!(world.model.requests.borrow()[0].body.is_none());
}
