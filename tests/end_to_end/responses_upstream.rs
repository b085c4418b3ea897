//! Models that are asked by the Responses API, through the whole program: turns, streams, tools, failing over, counting.

use crate::operations::{LISTEN, scrape, sum};
use crate::support::{PATIENCE, Server, Setup, client, post};
use crate::tenants_support::Model;
use serde_json::{Value, json};
use std::time::Instant;

/// An upstream of this name and address that has these APIs.
fn upstream(name: &str, model: &Model, api: &str) -> String {
    format!(
        "[upstream.{name}]\nurl = \"{}/v1\"\n{api}\nbackoff_ms = 1\nretries_per_second_min = 10_000\n\
         [upstream.{name}.breaker]\nfailures = 1_000\nfailures_per_100_calls = 100\n",
        model.0.url()
    )
}

const BOTH: &str = "api = [\"chat_completions\", \"responses\"]";

fn start(config: &str) -> Server {
    Setup::application()
        .runtime_config(config)
        .args(&["--variable", "responses_models=gpt*", "--variable", "fallback=error"])
        .start()
}

async fn turn(server: &Server, body: &Value) -> (u16, Value) {
    post(&client(), &server.url("/v1/responses"), body).await
}

fn text_of(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{response}"))
}

/// The data of the events of a streamed turn.
async fn stream(server: &Server, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let response = client().post(server.url("/v1/responses")).json(&body).send().await.unwrap();
    let text = response.text().await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
}

/// How many calls a model has had.
fn asked(model: &Model) -> usize {
    model.0.handle().requests().len()
}

#[tokio::test]
async fn turns_streams_tools_and_history_go_by_responses() {
    let model = Model::start().await;
    let server = start(&(upstream("sim", &model, BOTH) + "[model.\"*\"]\nupstream = \"sim\"\n"));
    let (status, first) = turn(&server, &json!({"input": "My name is Ada.", "model": "gpt"})).await;
    assert_eq!((status, first["status"].as_str()), (200, Some("completed")), "{first}");
    let sent = model.last();
    assert_eq!((&sent["store"], &sent["input"][0]["role"]), (&json!(false), &json!("user")), "{sent}");
    assert!(first["usage"]["input_tokens"].as_u64() > Some(0), "{first}");

    let body = json!({"input": "What is my name?", "model": "gpt", "previous_response_id": first["id"]});
    let events = stream(&server, &body).await;
    let last = &events.last().unwrap()["response"];
    assert_eq!(text_of(last), "Your name is Ada.");
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(deltas, "Your name is Ada.");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], json!(number));
    }

    let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
    let (_, call) =
        turn(&server, &json!({"input": "call tool look {\"id\": 7}", "model": "gpt", "tools": tools})).await;
    assert_eq!(
        (&call["output"][0]["type"], &call["output"][0]["name"]),
        (&json!("function_call"), &json!("look"))
    );
    let output =
        json!({"type": "function_call_output", "call_id": call["output"][0]["call_id"], "output": "42"});
    let body = json!({"input": [output], "model": "gpt", "tools": tools, "previous_response_id": call["id"]});
    let (_, told) = turn(&server, &body).await;
    assert_eq!(text_of(&told), "The tool said: 42");

    // A model of the other API goes on where this one was.
    let body = json!({"input": "What is my name?", "model": "sim", "previous_response_id": first["id"]});
    assert_eq!(text_of(&turn(&server, &body).await.1), "Your name is Ada.");
    assert!(model.last()["messages"].is_array());
}

#[tokio::test]
async fn a_call_goes_only_to_upstreams_that_have_its_api_and_fails_over_among_them() {
    let (chat, first, second) = (Model::start().await, Model::start().await, Model::start().await);
    let config = [
        upstream("chat", &chat, ""),
        upstream("first", &first, BOTH),
        upstream("second", &second, "api = [\"responses\"]"),
        "[model.\"gpt*\"]\nupstreams = [\"chat\", \"first\", \"second\"]\n".to_owned(),
        "[model.gpt-alone]\nupstream = \"chat\"\n".to_owned(),
        "[model.sim]\nupstreams = [\"second\", \"chat\"]\n".to_owned(),
    ];
    let server = start(&config.join(""));
    let (status, answer) = turn(&server, &json!({"input": "hi", "model": "gpt"})).await;
    assert_eq!((status, asked(&chat), asked(&first), asked(&second)), (200, 0, 1, 0), "{answer}");
    for stream in [false, true] {
        let body = json!({"input": "[sim: status=503] hi", "model": "gpt", "stream": stream});
        let _refused = client().post(server.url("/v1/responses")).json(&body).send().await.unwrap();
    }
    assert!(asked(&first) > 1 && asked(&second) > 0, "{} {}", asked(&first), asked(&second));
    assert_eq!(asked(&chat), 0);
    let (status, _) = turn(&server, &json!({"input": "hi", "model": "sim"})).await;
    assert_eq!((status, asked(&chat)), (200, 1));

    let (status, error) = turn(&server, &json!({"input": "hi", "model": "gpt-alone"})).await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("model_not_found")), "{error}");
    server.wait_for_output("has the API of this call");
}

#[tokio::test]
async fn what_breaks_off_is_not_called_complete() {
    let model = Model::start().await;
    let server = start(&(upstream("sim", &model, BOTH) + "[model.\"*\"]\nupstream = \"sim\"\n"));
    let body = json!({"input": "[sim: fault=cut after=2] one two three four", "model": "gpt"});
    let events = stream(&server, &body).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed", "{last}");
    assert_eq!(last["response"]["output"][0]["status"], "incomplete", "{last}");
    let (status, error) = turn(&server, &json!({"input": "[sim: fault=bad-json] hi", "model": "gpt"})).await;
    assert_eq!((status, &error["error"]["code"]), (502, &json!("model_endpoint_error")), "{error}");
    assert_eq!(turn(&server, &json!({"input": "hi", "model": "gpt"})).await.0, 200);
}

#[tokio::test]
async fn what_is_used_is_what_the_upstream_says() {
    let model = Model::start().await;
    let config = upstream("sim", &model, BOTH) + "[model.\"*\"]\nupstream = \"sim\"\n";
    let server = start(&(LISTEN.to_owned() + &config));
    let (_, plain) = turn(&server, &json!({"input": "one two three", "model": "gpt"})).await;
    let events = stream(&server, &json!({"input": "four five", "model": "gpt"})).await;
    let streamed = &events.last().unwrap()["response"];
    for (direction, field) in [("input", "input_tokens"), ("output", "output_tokens")] {
        let used = |response: &Value| response["usage"][field].as_f64().unwrap();
        let expected = used(&plain) + used(streamed);
        let label = format!("direction=\"{direction}\"");
        // A client has its answer a moment before the host is done with it.
        let until = Instant::now() + PATIENCE;
        loop {
            let counted = sum(&scrape(&server).await, "waggle_model_tokens_total", &[&label]);
            if (counted - expected).abs() < 0.5 {
                break;
            }
            assert!(Instant::now() < until, "{direction}: {counted} instead of {expected}");
        }
    }
}
