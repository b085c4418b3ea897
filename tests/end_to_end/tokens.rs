//! Tokens are counted as models count them, by the real vocabularies, and what is no count is said to be an estimate.

use crate::support::{Server, Setup, client, failing_start, post};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What every prompt has around one message and before the answer.
const AROUND: u64 = 4 + 3;

/// A host whose models are never reached: counting asks none.
fn server() -> Server {
    let config = "[upstream.nobody]\nurl = \"http://127.0.0.1:9/v1\"\n\
                  [model.older]\nupstream = \"nobody\"\nmodel = \"gpt-4\"\n\
                  [model.own]\nupstream = \"nobody\"\ntokenizer = \"cl100k_base\"\n\
                  [model.\"*\"]\nupstream = \"nobody\"\n";
    Setup::application().runtime_config(config).start()
}

async fn count(server: &Server, body: &Value) -> Value {
    let (status, answer) = post(&client(), &server.url("/v1/responses/input_tokens"), body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "response.input_tokens", "{answer}");
    answer
}

/// The vocabularies come into memory with the first question; until then it is estimated.
async fn loaded(server: &Server) {
    const PATIENCE: Duration = Duration::from_secs(60);
    for model in ["gpt-4o", "gpt-4"] {
        let body = json!({"model": model, "input": "hello world"});
        let until = Instant::now() + PATIENCE;
        while count(server, &body).await.get("waggle_estimated").is_some() {
            assert!(Instant::now() < until, "waited in vain for the vocabulary of {model}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_text_has_as_many_tokens_as_tiktoken_counts() {
    let server = server();
    loaded(&server).await;
    let check = async |model: &str, text: &str, tokens: u64| {
        let answer = count(&server, &json!({"model": model, "input": text})).await;
        let expected = json!({"object": "response.input_tokens", "input_tokens": tokens + AROUND});
        assert_eq!(answer, expected, "{model} {text:?}");
    };
    // From tiktoken's tests and README, and OpenAI's cookbook.
    for model in ["gpt-4o", "gpt-4.1-mini", "gpt-4", "older", "own"] {
        check(model, "hello world", 2).await;
        check(model, "tiktoken is great!", 6).await;
        check(model, "2 + 2 = 4", 7).await;
    }
    for (model, tokens) in [("gpt-4o", 8), ("o3", 8), ("gpt-4", 9), ("older", 9), ("own", 9)] {
        check(model, "お誕生日おめでとう", tokens).await;
    }
}

#[tokio::test]
async fn what_nobody_can_count_is_an_estimate_and_said_to_be() {
    let server = server();
    loaded(&server).await;
    let unknown = count(&server, &json!({"model": "llama-of-nobody", "input": "hello world"})).await;
    assert_eq!((&unknown["waggle_estimated"], &unknown["input_tokens"]), (&json!(true), &json!(3 + AROUND)));
    let tool = json!({"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}});
    let with_tool =
        count(&server, &json!({"model": "gpt-4o", "input": "hello world", "tools": [tool]})).await;
    assert_eq!(with_tool["waggle_estimated"], true, "{with_tool}");
    let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]);
    let image = count(&server, &json!({"model": "gpt-4o", "input": image})).await;
    assert_eq!(image["waggle_estimated"], true, "{image}");
}

#[tokio::test]
async fn a_hostile_text_is_answered_and_the_host_goes_on() {
    let server = server();
    loaded(&server).await;
    for character in ["a", " ", "\n", "你", "A'"] {
        let text = character.repeat((3 << 20) / character.len());
        let answer = count(&server, &json!({"model": "gpt-4", "input": text})).await;
        assert_eq!(answer["waggle_estimated"], true, "{character:?}");
        assert!(
            answer["input_tokens"].as_u64().is_some_and(|tokens| tokens > 10_000),
            "{character:?} {answer}"
        );
    }
    let answer = count(&server, &json!({"model": "gpt-4", "input": "hello world"})).await;
    assert_eq!(answer["input_tokens"], 2 + AROUND, "{answer}");
}

#[tokio::test]
async fn a_conversation_is_counted_with_what_was_said_before_and_stays_as_it_was() {
    let server = Setup::application().start();
    let url = |path: &str| server.url(path);
    let items = json!([{"role": "user", "content": "hello world"}, {"role": "assistant", "content": "tiktoken is great!"}]);
    let (status, conversation) = post(&client(), &url("/v1/conversations"), &json!({"items": items})).await;
    assert_eq!(status, 200, "{conversation}");
    let id = &conversation["id"];
    let body = json!({"model": "gpt-4o", "input": "hello world", "conversation": id});
    loaded(&server).await;
    for _ in 0..2 {
        assert_eq!(count(&server, &body).await["input_tokens"], (2 + 4) + (6 + 4) + (2 + 4) + 3);
    }
    let (status, answer) =
        post(&client(), &url("/v1/responses"), &json!({"input": "next", "conversation": id})).await;
    assert_eq!(status, 200, "nobody has taken a place in the conversation: {answer}");
}

#[test]
fn a_tokenizer_that_there_is_not_is_refused_with_its_place() {
    let config = "[upstream.u]\nurl = \"http://127.0.0.1:9/v1\"\n[model.own]\nupstream = \"u\"\ntokenizer = \"bert\"\n";
    let told = failing_start(&Setup::application().runtime_config(config));
    assert!(told.contains("o200k_base") && told.contains("tokenizer"), "{told}");
}
