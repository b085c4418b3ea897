//! What the function leaves in the store, held against `kv-schemas/`.

use crate::agent_approvals::approved;
use crate::agent_crashes::interrupted;
use crate::support::{Client, Piece, Script, World, answers, bytes, delta, ending, id, says, streams, world};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use waggle_model::transport::TransportFailure;

struct Family {
    name: String,
    key: jsonschema::Validator,
    value: jsonschema::Validator,
}

/// The families that this function writes; those of others are tested there.
fn families() -> Vec<Family> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .filter(|schema: &Value| schema["owner"] == "guest/conversation")
        .map(|schema| {
            for field in [
                "family",
                "description",
                "owner",
                "store",
                "key",
                "time_to_live_s",
                "value_encoding",
                "value",
            ] {
                assert!(schema.get(field).is_some(), "{field} is missing in {}", schema["family"]);
            }
            let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
            Family {
                name: schema["family"].as_str().unwrap().to_owned(),
                key: jsonschema::validator_for(&key).unwrap(),
                value: jsonschema::validator_for(&schema["value"]).unwrap(),
            }
        })
        .collect()
}

/// Everything the function can write, for a service and for a user.
fn busy_world() -> World {
    let world = world();
    for user in [None, Some("!\"\\~")] {
        be_busy(&world.called_by(user));
    }
    for user in ["gone", "stays"] {
        world.script(says("yes"));
        world.json("POST", "/v1/chat", &json!({"user": user, "query": "x"}), 200);
    }
    // So much that the list's floor rises.
    for _ in 0..64 {
        world.called_by(Some("gone")).turn(&json!({"input": "x"}), "y");
    }
    world.json("DELETE", "/v1/users/gone/data", &Value::Null, 200);
    world
}

fn be_busy(world: &World) {
    let body = json!({"metadata": {"k": "v"}, "items": [{"role": "developer", "content": "rules"}]});
    let conversation = world.json("POST", "/v1/conversations", &body, 200);
    let conversation = id(&conversation);
    let turn = |input: &str| json!({"input": input, "conversation": conversation});
    let first = world.turn(&turn("hi"), "hello");
    let left = world.turn(&json!({"input": "left", "previous_response_id": id(&first)}), "yes");
    world.turn(&json!({"input": "on", "previous_response_id": id(&left), "metadata": {"a": "b"}}), "é\n\"");
    let call = json!({"choices": [{"message": {"refusal": "no", "tool_calls": [{"id": "c", "function":
        {"name": "f", "arguments": "{}"}}]}, "finish_reason": "length"}]});
    world.script(answers(200, "application/json", &call.to_string()));
    world.json("POST", "/v1/responses", &turn("call"), 200);
    let output = json!({"input": [{"type": "function_call_output", "call_id": "c", "output": "o"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}], "conversation": conversation});
    world.turn(&output, "thanks");
    be_busy_with_shapes(world, conversation);
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    world.json("POST", "/v1/responses", &turn("fails"), 504);
    world.set("fallback", "text");
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    world.json("POST", "/v1/responses", &turn("falls back"), 200);
    world.set("fallback", "error");
    let mut streamed = turn("streamed");
    streamed["stream"] = json!(true);
    for (pieces, leaves_after) in [
        (vec![bytes(&delta("whole")), bytes(&ending("stop"))], None),
        (vec![bytes(&delta("cut"))], None),
        (vec![bytes(&delta("gone")), Piece::Hangs], Some(2)),
    ] {
        world.script(streams(pieces));
        world.stream("/v1/responses", &streamed, &Client { leaves_after, ..Client::default() });
    }
    let mut queued = turn("queued");
    queued["background"] = json!(true);
    for _ in 0..2 {
        world.json("POST", "/v1/responses", &queued, 200);
    }
    world.script(streams(vec![bytes(&delta("later")), bytes(&ending("stop"))]));
    assert_eq!(world.deliver(false).status, 200);
    for input in ["once", "never"] {
        let request = waggle_chat::Request {
            method: "POST",
            path_with_query: "/v1/chat/completions",
            idempotency_key: &[input.as_bytes().to_vec()],
            user: &world.user,
            ..waggle_chat::Request::default()
        };
        let script =
            if input == "once" { says("done") } else { Script::Fails(TransportFailure::Cut("x".into())) };
        world.script(script);
        let body = json!({"messages": [{"role": "user", "content": input}]});
        futures::executor::block_on(world.answer(request, vec![bytes(&body.to_string())]));
    }
    be_busy_for_long(world, conversation);
    let items = world.json("GET", &format!("/v1/conversations/{conversation}/items"), &Value::Null, 200);
    let item = id(&items["data"][0]);
    world.json("DELETE", &format!("/v1/conversations/{conversation}/items/{item}"), &Value::Null, 200);
    let reason = json!({"reason": "x", "reference": "r"});
    world.json("POST", &format!("/v1/conversations/{conversation}/handover"), &reason, 200);
    assert_eq!(world.deliver(false).status, 200);
    let metadata = json!({"metadata": {}});
    world.json("POST", &format!("/v1/conversations/{conversation}"), &metadata, 200);
}

/// A summary that was made and one that is asked for, and what is pinned.
fn be_busy_for_long(world: &World, conversation: &str) {
    world.set("window_items_max", "4");
    for input in ["on", "and on"] {
        world.turn(&json!({"input": input, "conversation": conversation}), "yes");
        for _ in 0..4 {
            world.script(says("in short"));
        }
        if input == "on" {
            assert_eq!(world.deliver(false).status, 200);
        }
        world.model.scripts.borrow_mut().clear();
    }
    world.set("window_items_max", "40");
    let items = world.json("GET", &format!("/v1/conversations/{conversation}/items"), &Value::Null, 200);
    let pin = format!("/v1/conversations/{conversation}/items/{}/pin", id(&items["data"][1]));
    world.json("POST", &pin, &Value::Null, 200);
}

/// Every type of item and of content.
fn be_busy_with_shapes(world: &World, conversation: &str) {
    world.script(says("in short"));
    let compaction =
        world.json("POST", "/v1/responses/compact", &json!({"input": "x"}), 200)["output"][1].clone();
    let input = json!([{"role": "user", "content": [
            {"type": "input_image", "image_url": "https://e.x/a.png"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "AA=="}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "e"},
        {"role": "assistant", "phase": "final_answer", "content": "a"},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "o"}]},
        compaction]);
    let answer = json!({"choices": [{"message": {"content": "a", "reasoning": "r", "refusal": "no", "annotations":
            [{"url_citation": {"start_index": 0, "end_index": 1, "url": "https://e.x", "title": "t"}}]},
        "logprobs": {"content": [{"token": "a", "logprob": -0.5, "bytes": null,
            "top_logprobs": [{"token": "b", "logprob": -1, "bytes": [98]}]}]}}]});
    world.script(answers(200, "application/json", &answer.to_string()));
    world.json("POST", "/v1/responses", &json!({"input": input, "conversation": conversation}), 200);
}

/// All that is in the store is as its family has it.
pub(crate) fn check_kept(world: &World) {
    let families = families();
    for (key, value) in world.store.dump() {
        let family = families.iter().find(|family| family.key.is_valid(&json!(key)));
        let family = family.unwrap_or_else(|| panic!("{key} belongs to no family"));
        let value: Value = serde_json::from_slice(&value).unwrap();
        if let Err(error) = family.value.validate(&value) {
            panic!("{key}: {error} at {}: {value:#}", error.instance_path());
        }
    }
}

#[test]
fn every_key_and_value_is_of_one_described_family() {
    let families = families();
    let mut seen: BTreeMap<&str, usize> = families.iter().map(|family| (family.name.as_str(), 0)).collect();
    let mut owned = 0;
    let (run, ..) = interrupted();
    let records = [busy_world(), run, approved()].map(|world| world.store.dump());
    for (key, value) in records.into_iter().flatten() {
        let matching: Vec<&Family> =
            families.iter().filter(|family| family.key.is_valid(&json!(key))).collect();
        let [family] = matching.as_slice() else {
            panic!("{key} belongs to {} families", matching.len());
        };
        let value: Value = serde_json::from_slice(&value).unwrap();
        if let Err(error) = family.value.validate(&value) {
            panic!("{key}: {error} at {}: {value:#}", error.instance_path());
        }
        *seen.entry(&family.name).or_default() += 1;
        owned += usize::from(value["user"] == "!\"\\~");
    }
    assert_eq!(seen.len(), 16);
    assert!(seen.values().all(|count| *count > 0), "a family was not written: {seen:?}");
    assert!(seen["response"] >= 20, "{seen:?}");
    // Without the session's conversation and response, and the responses of the run and of the refund.
    assert_eq!(owned, (seen["conversation"] + seen["response"] + seen["idempotency"] - 5) / 2, "{seen:?}");
}

#[test]
fn the_schemas_refuse_what_the_function_does_not_write() {
    let families = families();
    let refuses = |name: &str, value: Value| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        assert!(!family.value.is_valid(&value), "{name} takes {value}");
    };
    refuses("conversation", json!({"created_at": 1}));
    refuses("conversation", json!({"created_at": 1, "metadata": {"k": 1}}));
    for user in [json!(""), json!("a b"), json!("é"), json!("u".repeat(257)), json!(1), Value::Null] {
        refuses("conversation", json!({"user": user, "created_at": 1, "metadata": {}}));
    }
    refuses("conversation/entry", json!({"nonce": "x", "tokens": 1, "items": []}));
    refuses(
        "conversation/entry",
        json!({"nonce": "0".repeat(24), "tokens": 1, "items": [{"type": "message"}]}),
    );
    refuses("conversation/turn", json!(0));
    refuses("response", json!({"tokens": 1, "ancestors": [], "response": {}, "input": []}));
}
