//! The API over real sockets: answers, counters, recordings, errors.

use crate::common::{chat, chat_body, chat_stream, request, start};
use model_sim::{Behaviour, SimConfig};
use serde_json::json;

#[tokio::test]
async fn a_chat_completion_echoes_the_last_user_message() {
    let model = start().await;
    let answer = chat(&model, "hi").await;
    assert_eq!(answer.status(), 200);
    let body = answer.json();
    assert_eq!(body["choices"][0]["message"]["content"], "You said: hi");
    assert_eq!(body["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn a_streamed_chat_completion_ends_with_done() {
    let model = start().await;
    let answer = chat_stream(&model, "hi").await;
    assert!(answer.text.contains("content-type: text/event-stream"), "{}", answer.text);
    assert!(answer.is_finished());
    assert!(answer.body().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_response_is_answered_plain_and_streamed() {
    let model = start().await;
    let plain = request(&model, "POST", "/v1/responses", "", r#"{"model":"m","input":"hi"}"#).await.json();
    assert_eq!(plain["output"][0]["content"][0]["text"], "You said: hi");
    let body = r#"{"model":"m","input":"hi","stream":true}"#;
    let streamed = request(&model, "POST", "/v1/responses", "", body).await.body();
    assert!(streamed.starts_with("event: response.created\n"), "{streamed}");
    assert!(streamed.contains("event: response.completed\n"));
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let model = start().await;
    let list = request(&model, "GET", "/v1/models", "", "").await.json();
    assert_eq!(list["data"][0]["id"], "sim");
    assert_eq!(request(&model, "GET", "/v1/models/sim", "", "").await.json()["object"], "model");
    let missing = request(&model, "GET", "/v1/models/gpt-9", "", "").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.json()["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn requests_are_counted_and_remembered_until_a_reset() {
    let model = start().await;
    chat(&model, "one").await;
    let body = chat_body("two", false);
    request(&model, "POST", "/v1/chat/completions", "authorization: Bearer k\r\n", &body).await;
    let stats = request(&model, "GET", "/sim/stats", "", "").await.json();
    assert_eq!((stats["requests"].as_u64(), stats["completed"].as_u64()), (Some(2), Some(2)));
    let seen = request(&model, "GET", "/sim/requests", "", "").await.json();
    assert_eq!(seen["requests"][1]["headers"]["authorization"], "Bearer k");
    assert_eq!(seen["requests"][1]["body"]["messages"][0]["content"], "two");
    assert_eq!(request(&model, "POST", "/sim/reset", "", "").await.status(), 200);
    let stats = request(&model, "GET", "/sim/stats", "", "").await.json();
    assert_eq!(stats["requests"], 0);
    assert!(model.handle().requests().is_empty());
}

#[tokio::test]
async fn mistakes_get_openais_error_shape() {
    async fn check(method: &str, path: &str, body: &str, status: u16, message: &str) {
        let model = start().await;
        let answer = request(&model, method, path, "", body).await;
        assert_eq!(answer.status(), status, "{}", answer.text);
        let error = answer.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    check("POST", "/v1/chat/completions", "{", 400, "could not parse").await;
    check("POST", "/v1/chat/completions", r#"{"model":"m","messages":[]}"#, 400, "must not be empty").await;
    check("POST", "/v1/chat/completions", &chat_body("[sim: falt=cut]", false), 400, "unknown simulation")
        .await;
    check("GET", "/v1/chat/completions", "", 405, "Not allowed to GET").await;
    check("POST", "/v1/images", "{}", 404, "Invalid URL").await;
    check("POST", "/v1/embeddings", "{}", 400, "missing field `model`").await;
    check("POST", "/v1/rerank", "{}", 400, "missing field `model`").await;
    check("GET", "/v1/rerank", "", 405, "Not allowed to GET").await;
    check("DELETE", "/sim/stats", "", 405, "Not allowed to DELETE").await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let model = model_sim::start(SimConfig { body_bytes_max: 100, ..SimConfig::default() }).await.unwrap();
    let answer = chat(&model, &"x".repeat(200)).await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn a_body_in_many_pieces_is_read_whole() {
    let model = start().await;
    let long = "word ".repeat(50_000);
    let body = chat(&model, &long).await.json();
    assert_eq!(body["choices"][0]["message"]["content"], format!("You said: {long}"));
}

#[tokio::test]
async fn a_key_is_required_when_one_is_configured() {
    let config = SimConfig { api_key: Some("secret".to_owned()), ..SimConfig::default() };
    let model = model_sim::start(config).await.unwrap();
    let body = chat_body("hi", false);
    for (headers, status) in
        [("", 401), ("authorization: Bearer wrong\r\n", 401), ("authorization: Bearer secret\r\n", 200)]
    {
        let answer = request(&model, "POST", "/v1/chat/completions", headers, &body).await;
        assert_eq!(answer.status(), status, "{headers}");
    }
}

#[tokio::test]
async fn a_demo_model_tells_nothing_about_its_users() {
    let model = model_sim::start(SimConfig::demo("demo")).await.unwrap();
    assert_eq!(request(&model, "GET", "/v1/models", "", "").await.json()["data"][0]["id"], "demo");
    chat(&model, "hi").await;
    assert!(model.handle().requests().is_empty());
    for path in ["/sim/stats", "/sim/requests", "/sim/keys"] {
        assert_ne!(request(&model, "GET", path, "", "").await.status(), 200);
    }
}

#[tokio::test]
async fn a_header_is_overruled_by_a_directive_and_overrules_the_configuration() {
    let behaviour = Behaviour { tokens: Some(3), ..Behaviour::default() };
    let model = model_sim::start(SimConfig { behaviour, ..SimConfig::default() }).await.unwrap();
    for (headers, text, tokens) in
        [("", "x", 3), ("x-sim-tokens: 4\r\n", "x", 4), ("x-sim-tokens: 4\r\n", "[sim: tokens=5]", 5)]
    {
        let body = chat_body(text, false);
        let answer = request(&model, "POST", "/v1/chat/completions", headers, &body).await.json();
        assert_eq!(answer["usage"]["completion_tokens"], json!(tokens), "{headers} {text}");
    }
}

#[tokio::test]
async fn a_tool_is_called_by_header() {
    let model = start().await;
    let header = "x-sim-tool: look {\"id\":7}\r\n";
    let answer = request(&model, "POST", "/v1/chat/completions", header, &chat_body("x", false)).await.json();
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], r#"{"id":7}"#);
}

#[tokio::test]
async fn a_script_is_followed_over_several_requests_and_counted_by_key() {
    let model = start().await;
    let script = r#"[sim: call look {"id":1} & call find; call end]"#;
    let mut messages = vec![json!({"role": "user", "content": script})];
    for (key, expected) in [("s1", json!(["look", "find"])), ("s2", json!(["end"])), ("s2", json!(["end"]))] {
        let body = json!({"model": "m", "messages": messages}).to_string();
        let header = format!("idempotency-key: {key}\r\n");
        let answer = request(&model, "POST", "/v1/chat/completions", &header, &body).await.json();
        let message = answer["choices"][0]["message"].clone();
        let calls = message["tool_calls"].as_array().unwrap().clone();
        let names: Vec<_> = calls.iter().map(|call| call["function"]["name"].clone()).collect();
        assert_eq!(json!(names), expected);
        if key == "s1" {
            messages.push(message);
            for call in calls {
                messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "done"}));
            }
        }
    }
    let keys = request(&model, "GET", "/sim/keys", "", "").await.json();
    assert_eq!(keys["keys"]["s1"], json!({"requests": 1, "completed": 1}));
    assert_eq!((&keys["keys"]["s2"]["completed"], &keys["repeated"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn the_shops_bot_looks_an_order_up() {
    let model = start().await;
    let tool = json!({"type": "function", "name": "orders__get_order", "parameters": {"type": "object",
        "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}});
    let body = json!({"model": "shop", "input": "Where is my order 1001?", "tools": [tool]}).to_string();
    let answer = request(&model, "POST", "/v1/responses", "", &body).await.json();
    let call = &answer["output"][0];
    assert_eq!(
        (call["name"].as_str(), call["arguments"].as_str()),
        (Some("orders__get_order"), Some(r#"{"order_id":"1001"}"#))
    );
}

#[tokio::test]
async fn embeddings_are_answered_and_counted() {
    let model = start().await;
    let body = r#"{"model":"e","input":["a","b"],"dimensions":3}"#;
    let answer = request(&model, "POST", "/v1/embeddings", "", body).await;
    assert_eq!((answer.status(), answer.json()["data"].as_array().unwrap().len()), (200, 2));
    assert_eq!(request(&model, "GET", "/v1/embeddings", "", "").await.status(), 405);
    let stats = request(&model, "GET", "/sim/stats", "", "").await.json();
    assert_eq!(stats["completed"].as_u64(), Some(1));
}

#[tokio::test]
async fn documents_are_reranked_and_the_request_is_counted() {
    let model = start().await;
    let body = r#"{"model":"r","query":"refunds","documents":["parcels","refunds"],"top_n":1}"#;
    let answer = request(&model, "POST", "/v1/rerank", "", body).await;
    assert_eq!((answer.status(), &answer.json()["results"][0]["index"]), (200, &json!(1)));
    assert_eq!(answer.json()["results"].as_array().unwrap().len(), 1);
    let stats = request(&model, "GET", "/sim/stats", "", "").await.json();
    assert_eq!(stats["completed"].as_u64(), Some(1));
}
