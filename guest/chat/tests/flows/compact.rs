//! `POST /v1/responses/compact`, and what a compaction item does as input.

use crate::support::{Script, World, id, says, text, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

const SUMMARY: &str = "Ada waits for parcel 4711.";
const COMPACT: &str = "/v1/responses/compact";

fn compacted(world: &World, body: &Value) -> Value {
    world.script(says(SUMMARY));
    world.json("POST", COMPACT, body, 200)
}

/// What was said, as a client keeps it.
fn said() -> Value {
    json!([{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "Where is my parcel 4711?"},
        {"type": "function_call", "call_id": "c", "name": "track", "arguments": "{\"id\":4711}"},
        {"type": "function_call_output", "call_id": "c", "output": "in Ulm"}])
}

#[test]
fn the_users_messages_stay_and_the_rest_becomes_one_item() {
    let world = world();
    let object = compacted(&world, &json!({"model": "m", "input": said(), "instructions": "Be kind."}));
    assert_eq!(object["object"], "response.compaction");
    assert!(object["id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!(object["created_at"], 1_700_000_000);
    assert_eq!(
        (&object["usage"]["input_tokens"], &object["usage"]["total_tokens"]),
        (&json!(11), &json!(18))
    );
    let output = object["output"].as_array().unwrap();
    let texts: Vec<&Value> = output.iter().map(|item| &item["content"][0]["text"]).collect();
    assert_eq!(texts, [&json!("I am Ada."), &json!("Where is my parcel 4711?"), &Value::Null]);
    assert_eq!((&output[2]["type"], &output[0]["status"]), (&json!("compaction"), &json!("completed")));
    assert!(id(&output[2]).starts_with("cmp_"));
    // The model was asked once, with all that was said.
    let asked = world.asked();
    assert_eq!((asked.len(), &asked[0]["model"]), (1, &json!("m")));
    let shown = world.last_messages();
    for part in ["Be kind.", "User: I am Ada.", "track({\"id\":4711})", "Tool result: in Ulm"] {
        assert!(shown[1].contains(part), "{part}: {}", shown[1]);
    }
    // Nothing but the key is kept of it.
    assert_eq!(world.store.dump().into_keys().collect::<Vec<_>>(), ["compaction/key"]);
    assert!(!object.to_string().contains(SUMMARY));
}

#[test]
fn a_compaction_item_puts_its_summary_before_the_model_now_and_later() {
    let world = world();
    let mut input = compacted(&world, &json!({"input": said()}))["output"].as_array().unwrap().clone();
    input.push(json!({"role": "user", "content": "And now?"}));
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let first = world.turn(&json!({"input": input, "conversation": id(&conversation)}), "Wait.");
    let check = |expected: &[&str]| {
        let messages = world.last_messages();
        let framed = messages.iter().find(|message| message.contains(SUMMARY)).unwrap();
        assert!(framed.contains("not an instruction"), "{framed}");
        let others: Vec<&str> = messages.iter().filter(|it| *it != framed).map(String::as_str).collect();
        assert_eq!(others, expected);
        assert_eq!(messages.iter().position(|message| message == framed), Some(2), "in its place");
    };
    let mut expected = vec!["I am Ada.", "Where is my parcel 4711?", "And now?"];
    check(&expected);
    expected.extend(["Wait.", "Still?"]);
    world.turn(&json!({"input": "Still?", "conversation": id(&conversation)}), "Yes.");
    check(&expected);
    world.turn(&json!({"input": "Still?", "previous_response_id": id(&first)}), "Yes.");
    check(&expected);
    // What is compacted again is read first.
    compacted(&world, &json!({"input": "Thanks", "previous_response_id": id(&first)}));
    assert!(world.last_messages()[1].contains(SUMMARY));
    // It is stored and told as it came.
    let kept = world.json("GET", &format!("/v1/responses/{}/input_items", id(&first)), &Value::Null, 200);
    assert_eq!(kept["data"][1]["encrypted_content"], input[2]["encrypted_content"]);
}

#[test]
fn a_chain_is_compacted_from_its_end() {
    let world = world().called_by(Some("ada"));
    let first = world.turn(&json!({"input": "I am Ada."}), "Hello Ada.");
    let second = world.turn(&json!({"input": "More.", "previous_response_id": id(&first)}), "Yes.");
    let object = compacted(&world, &json!({"model": "sim", "previous_response_id": id(&second)}));
    let texts: Vec<&Value> =
        object["output"].as_array().unwrap().iter().map(|item| &item["content"][0]["text"]).collect();
    assert_eq!(texts, [&json!("I am Ada."), &json!("More."), &Value::Null]);
    let next = world.turn(&json!({"input": object["output"]}), "Good.");
    assert_eq!(text(&next), "Good.");
    // A service that compacts for a user compacts the user's.
    let service = world.called_by(None);
    let object = compacted(&service, &json!({"input": null, "previous_response_id": id(&second)}));
    world.turn(&json!({"input": object["output"]}), "Good.");
    world.called_by(Some("adam")).json("POST", COMPACT, &json!({"previous_response_id": id(&second)}), 400);
}

#[test]
fn what_was_not_sealed_here_for_the_caller_is_refused_by_its_place() {
    let (world, other) = (world(), world());
    let ada = world.called_by(Some("ada"));
    // So that it draws other numbers.
    items(&other);
    let item = |object: Value| object["output"].as_array().unwrap().last().unwrap().clone();
    let hers = item(compacted(&ada, &json!({"input": "I am Ada."})));
    let elsewhere = item(compacted(&other, &json!({"input": "I am Ada."})));
    let mut damaged = hers.clone();
    let sealed = hers["encrypted_content"].as_str().unwrap();
    let flipped = if sealed.ends_with('A') { "E" } else { "A" };
    damaged["encrypted_content"] = json!(format!("{}{flipped}", &sealed[..sealed.len() - 1]));
    let refused = |world: &World, item: &Value| {
        let input = json!([{"role": "user", "content": "x"}, item]);
        for (path, body) in [("/v1/responses", json!({"input": input})), (COMPACT, json!({"input": input}))] {
            let error = world.json("POST", path, &body, 400);
            assert_eq!(error["error"]["param"], "input[1]", "{item}");
            assert_eq!(error["error"]["code"], "invalid_encrypted_content");
        }
        for path in ["/v1/conversations".to_owned(), items(world)] {
            let error = world.json("POST", &path, &json!({"items": [item]}), 400);
            assert_eq!(error["error"]["param"], "items[0]");
        }
    };
    for world in [&world, &ada] {
        refused(world, &elsewhere);
        refused(world, &damaged);
        for forged in ["", "e==", "AQ", &"A".repeat(100_000)] {
            refused(world, &json!({"type": "compaction", "encrypted_content": forged}));
        }
    }
    refused(&world.called_by(Some("adam")), &hers);
    // A service sees all that is the tenant's.
    world.turn(&json!({"input": [hers, {"role": "user", "content": "x"}]}), "ok");
    assert!(world.last_messages().concat().contains(SUMMARY));
}

fn items(world: &World) -> String {
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    format!("/v1/conversations/{}/items", id(&conversation))
}

#[test]
fn a_model_that_fails_is_an_error_and_never_a_text_in_its_place() {
    let world = world();
    world.set("fallback", "text");
    for (script, status) in [
        (Script::Fails(TransportFailure::TimedOut("x".into())), 504),
        (Script::Fails(TransportFailure::Unreachable("x".into())), 502),
        (says(" \n"), 502),
    ] {
        world.script(script);
        let error = world.json("POST", COMPACT, &json!({"input": "x"}), status);
        assert!(error["error"]["message"].is_string(), "{error}");
    }
    assert!(world.store.dump().is_empty());
}

#[test]
fn wrong_bodies_name_the_field() {
    let world = world();
    world.set("models", "sim");
    for (body, status, param) in [
        (json!({}), 400, json!("input")),
        (json!({"input": []}), 400, json!("input")),
        (json!({"input": "x", "stream": true}), 400, json!("stream")),
        (json!({"input": "x", "conversation": "conv_x"}), 400, json!("conversation")),
        (json!({"input": "x", "previous_response_id": "resp_x"}), 400, json!("previous_response_id")),
        (json!({"input": [{"type": "item_reference", "id": "msg_x"}]}), 400, json!("input[0]")),
        (json!({"input": [{"type": "reasoning", "summary": []}]}), 400, json!("input")),
        (json!({"input": "x", "model": "other"}), 404, Value::Null),
    ] {
        let error = world.json("POST", COMPACT, &body, status);
        assert_eq!(error["error"]["param"], param, "{body}");
    }
    assert!(world.asked().is_empty());
}
