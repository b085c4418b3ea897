//! Data rights: all of a user's data, and nobody else's.

use crate::support::{Client, Piece, Script, World, bytes, delta, ending, id, says, streams, world};
use serde_json::{Value, json};
use waggle_chat::Request;
use waggle_model::transport::TransportFailure;

/// A text that is in everything a user of this name says and is told.
fn canary(user: &str) -> String {
    format!("the words of {user}.")
}

/// Leaves all kinds of records behind, of that user.
fn be_busy(world: &World, user: &str) {
    let caller = world.called_by(Some(user));
    let text = canary(user);
    let items = json!({"metadata": {"k": text}, "items": [{"role": "user", "content": text}]});
    let conversation = id(&caller.json("POST", "/v1/conversations", &items, 200)).to_owned();
    for _ in 0..30 {
        caller.turn(&json!({"input": text, "conversation": conversation}), &text);
    }
    let alone = caller.turn(&json!({"input": text}), &text);
    let next = caller.turn(&json!({"input": text, "previous_response_id": id(&alone)}), &text);
    caller.json("DELETE", &format!("/v1/responses/{}", id(&next)), &Value::Null, 200);
    // A response whose conversation is deleted stays.
    let deleted = id(&caller.json("POST", "/v1/conversations", &items, 200)).to_owned();
    let kept = caller.turn(&json!({"input": text, "conversation": deleted}), &text);
    caller.json("DELETE", &format!("/v1/conversations/{deleted}"), &Value::Null, 200);
    caller.json("GET", &format!("/v1/responses/{}", id(&kept)), &Value::Null, 200);
    // Turns that join nothing.
    caller.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    caller.json("POST", "/v1/responses", &json!({"input": text, "conversation": conversation}), 504);
    caller.script(streams(vec![bytes(&delta(&text)), Piece::Hangs]));
    let body = json!({"input": text, "conversation": conversation, "stream": true});
    caller.stream("/v1/responses", &body, &Client { leaves_after: Some(2), ..Client::default() });
    // An answer that only its idempotency key leads to.
    caller.script(says(&text));
    assert_eq!(caller.once("/v1/responses", "a-key", &json!({"input": text, "store": false})).status, 200);
    // A session that a service began for them, and a turn that it added.
    world.script(says(&text));
    let turn = world.json("POST", "/v1/chat", &json!({"user": user, "query": text}), 200);
    world.script(streams(vec![bytes(&delta(&text)), bytes(&ending("stop"))]));
    let body = json!({"user": user, "query": text, "session": turn["session"], "stream": true});
    world.stream("/v1/chat", &body, &Client::default());
    world.turn(&json!({"input": text, "conversation": conversation}), &text);
}

/// Whether anything in the store names the user or holds their text.
fn is_there(world: &World, user: &str) -> bool {
    let (named, said) = (format!("\"{user}\""), canary(user));
    world.store.dump().iter().any(|(key, value)| {
        let value = String::from_utf8_lossy(value);
        key.contains(user) || value.contains(&named) || value.contains(&said)
    })
}

/// Leaves background responses behind, of that user: one that joined a conversation, one alone, one that nobody runs.
fn be_busy_later(world: &World, user: &str) -> [String; 3] {
    let caller = world.called_by(Some(user));
    let text = canary(user);
    let conversation = id(&caller.json("POST", "/v1/conversations", &json!({}), 200)).to_owned();
    let create = |body: Value| id(&caller.json("POST", "/v1/responses", &body, 200)).to_owned();
    let run = |body: Value| {
        let created = create(body);
        caller.script(streams(vec![bytes(&delta(&text)), bytes(&ending("stop"))]));
        assert_eq!(caller.deliver(false).status, 200);
        created
    };
    [
        run(json!({"input": text, "background": true, "conversation": conversation})),
        run(json!({"input": text, "background": true})),
        create(json!({"input": text, "background": true})),
    ]
}

#[test]
fn what_was_made_in_the_background_is_exported_once_and_erased_whole() {
    let world = world();
    let [ada, _] = ["ada", "adam"].map(|user| be_busy_later(&world, user));
    let lines = world.lines("POST", "/v1/users/ada/export");
    let responses = lines.iter().filter(|line| line["type"] == "response");
    let mut exported: Vec<String> = responses.map(|line| line.to_string()).collect();
    exported.sort();
    assert_eq!(exported.len(), 3, "{exported:?}");
    for id in &ada {
        assert_eq!(exported.iter().filter(|line| line.contains(id)).count(), 1, "{id}");
    }
    let others = of_others(&world, "adam");
    let receipt = world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    assert_eq!((&receipt["conversations"], &receipt["responses"]), (&json!(1), &json!(3)));
    assert!(!is_there(&world, "ada"));
    for id in &ada {
        let left = world.keys(&id.replace("resp_", "response/"));
        assert!(left.is_empty(), "{left:?}");
    }
    assert_eq!(of_others(&world, "adam"), others);
}

fn busy_world() -> World {
    let world = world();
    for user in ["ada", "adam"] {
        be_busy(&world, user);
    }
    world.turn(&json!({"input": "the service's own"}), "yes");
    world
}

/// The store without what is listed of that user.
fn of_others(world: &World, user: &str) -> Vec<(String, Vec<u8>)> {
    let other = world.store.dump().into_iter();
    other
        .filter(|(_, value)| {
            let value = String::from_utf8_lossy(value);
            value.contains(&canary(user)) || value.contains("the service's own")
        })
        .collect()
}

#[test]
fn an_erased_user_is_nowhere_and_all_others_stay() {
    for caller in [None, Some("ada")] {
        let world = busy_world();
        let others = of_others(&world, "adam");
        assert!(is_there(&world, "ada") && others.len() > 60, "{}", others.len());
        let receipt = world.called_by(caller).json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
        assert_eq!((&receipt["object"], &receipt["user"]), (&json!("user.data.deleted"), &json!("ada")));
        assert_eq!((&receipt["conversations"], &receipt["at"]), (&json!(2), &json!(1_700_000_000)));
        // 30 turns, the one alone, the kept one, the one that failed, the one left, two of the session, the service's.
        assert_eq!(receipt["responses"], 37);
        assert_eq!(receipt["items"], 1 + 2 * 31 + 2 * 2);
        assert!(receipt["id"].as_str().unwrap().starts_with("erasure_"));
        assert!(!is_there(&world, "ada"));
        assert_eq!(of_others(&world, "adam"), others);
        // Only how many things there were is left, under a hash.
        let left: Vec<String> = world.keys("owner/");
        let hashes: std::collections::BTreeSet<&str> = left.iter().map(|key| &key[..38]).collect();
        assert_eq!(hashes.len(), 2, "{left:?}");
        let again = world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
        assert_eq!(
            (&again["conversations"], &again["items"], &again["responses"]),
            (&json!(0), &json!(0), &json!(0))
        );
        // What comes later is listed anew.
        be_busy(&world, "ada");
        assert!(is_there(&world, "ada"));
        world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
        assert!(!is_there(&world, "ada"));
    }
}

#[test]
fn an_erasure_that_was_interrupted_is_continued() {
    let world = busy_world();
    // So much that the list's floor rises.
    for _ in 0..64 {
        world.called_by(Some("ada")).turn(&json!({"input": canary("ada")}), "y");
    }
    let interrupted = |operation| {
        world.store.fail(Some(operation));
        world.json("DELETE", "/v1/users/ada/data", &Value::Null, 500);
        world.store.fail(None);
    };
    interrupted("delete_many");
    interrupted("get_many");
    // As after a crash in the middle: the records are gone, their entries are not.
    let keys: Vec<String> = world.keys("conversation/").into_iter().filter(|key| key.len() == 37).collect();
    let of_ada = |key: &String| String::from_utf8_lossy(&world.store.dump()[key]).contains("\"ada\"");
    let records: Vec<String> = keys.into_iter().filter(of_ada).collect();
    assert_eq!(records.len(), 2);
    futures::executor::block_on(waggle_conversation::Store::delete_many(&world.store, records)).unwrap();
    interrupted("set_many");
    world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    assert!(!is_there(&world, "ada"));
}

#[test]
fn an_entry_that_cannot_be_read_keeps_nothing_else_from_being_erased() {
    let world = busy_world();
    let entries: Vec<String> =
        world.keys("conversation/").into_iter().filter(|key| key.ends_with("/entry/000000000005")).collect();
    let of_ada = entries
        .iter()
        .find(|key| String::from_utf8_lossy(&world.store.dump()[*key]).contains(&canary("ada")));
    world.store.put(of_ada.unwrap(), b"broken");
    world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    let left = world
        .store
        .dump()
        .into_iter()
        .filter(|(_, value)| String::from_utf8_lossy(value).contains(&canary("ada")));
    // Its response can no longer be found through it; nothing else is left.
    assert_eq!(left.count(), 1);
}

#[test]
fn an_export_has_everything_and_says_so_at_its_end() {
    for caller in [None, Some("ada")] {
        let world = busy_world();
        let text = world.called_by(caller).whole_stream("POST", "/v1/users/ada/export");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
        let receipt = lines.last().unwrap();
        assert_eq!((count("conversation"), count("item"), count("response")), (2, 67, 37));
        assert_eq!((&receipt["type"], &receipt["user"]), (&json!("receipt"), &json!("ada")));
        assert_eq!(
            (&receipt["conversations"], &receipt["items"], &receipt["responses"]),
            (&json!(2), &json!(67), &json!(37))
        );
        assert!(!text.contains(&canary("adam")) && !text.contains("the service's own"));
        let rest = text.trim_end().rsplit_once('\n').unwrap().0;
        assert_eq!(receipt["sha256"], hash(&format!("{rest}\n")));
        let in_session = lines.iter().filter(|line| line["session"] == true).count();
        assert_eq!(in_session, 1);
    }
}

fn hash(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_export_that_fails_has_no_receipt() {
    let world = busy_world();
    let key = world
        .keys("response/")
        .into_iter()
        .find(|key| String::from_utf8_lossy(&world.store.dump()[key]).contains(&canary("ada")));
    world.store.put(&key.unwrap(), b"broken");
    let lines = world.lines("POST", "/v1/users/ada/export");
    assert_eq!(lines.last().unwrap()["type"], "error");
    assert!(lines.iter().all(|line| line["type"] != "receipt"));
    assert!(world.platform.lines.borrow().last().unwrap().contains("cannot be read"));
}

#[test]
fn a_user_of_whom_nothing_was_ever_stored_is_unknown() {
    let world = busy_world();
    for (method, path) in [("POST", "/v1/users/eve/export"), ("DELETE", "/v1/users/eve/data")] {
        let unknown = world.json(method, path, &Value::Null, 404);
        assert_eq!(unknown["error"]["message"], "User with id 'eve' not found.");
    }
}

#[test]
fn services_pay_nothing_for_the_list_of_users() {
    let world = world();
    let conversation = id(&world.json("POST", "/v1/conversations", &json!({}), 200)).to_owned();
    world.turn(&json!({"input": "x", "conversation": conversation}), "y");
    world.turn(&json!({"input": "x"}), "y");
    assert!(world.keys("owner/").is_empty());
}

#[test]
fn the_list_lives_as_long_as_what_it_lists() {
    let world = world();
    world.script(says("y"));
    let turn = world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "x"}), 200);
    let entry = world.keys("owner/").into_iter().find(|key| key.contains("/entry/")).unwrap();
    futures::executor::block_on(waggle_conversation::Store::delete_many(&world.store, vec![entry.clone()]))
        .unwrap();
    world.platform.passed_ms.set(120_000);
    world.store.operations();
    world.script(says("y"));
    world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "x", "session": turn["session"]}), 200);
    assert!(world.keys("owner/").contains(&entry), "an entry is written again with the record");
    assert_eq!(world.store.operations().iter().filter(|operation| *operation == "swap 1").count(), 2);
}

#[test]
fn what_a_service_was_answered_under_a_key_ends_with_the_user_it_asked_for() {
    let world = world();
    world.script(says(&canary("ada")));
    let body = json!({"user": "ada", "query": "x"});
    assert_eq!(world.once("/v1/chat", "a-key", &body).status, 200);
    world.json("DELETE", "/v1/users/bob/data", &Value::Null, 404);
    assert!(is_there(&world, "ada") && !world.keys("idempotency/").is_empty());
    world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    assert!(!is_there(&world, "ada"), "{:?}", world.keys(""));
    assert!(world.keys("idempotency/").is_empty());
}

#[test]
fn a_claim_that_is_erased_comes_back_by_no_beat() {
    let world = world().called_by(Some("ada"));
    world.script(Script::Answers {
        status: 200,
        content_type: "application/json",
        retry_after: None,
        body: vec![Piece::Hangs],
    });
    let keys = [b"k".to_vec()];
    let request = Request {
        method: "POST",
        path_with_query: "/v1/responses",
        idempotency_key: &keys,
        user: &world.user,
        ..Request::default()
    };
    let mut hangs = Box::pin(world.answer(request, vec![bytes(r#"{"input": "x", "store": false}"#)]));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(hangs.as_mut().poll(&mut context).is_pending());
    assert_eq!(world.keys("idempotency/").len(), 1);
    world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    let erased_ms = world.platform.passed_ms.get();
    while world.platform.passed_ms.get() < erased_ms + 10_000 {
        assert!(hangs.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(world.keys("idempotency/"), Vec::<String>::new());
}

#[test]
fn what_is_written_under_a_number_from_before_an_erasure_is_found_by_the_next() {
    let world = world();
    let ada = world.called_by(Some("ada"));
    for _ in 0..100 {
        ada.turn(&json!({"input": canary("ada")}), "y");
    }
    // A number is drawn, everything is erased, and then what it was drawn for is written.
    let before = world.store.dump();
    ada.turn(&json!({"input": canary("ada")}), "y");
    let after = world.store.dump();
    let late = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let late: Vec<(String, Vec<u8>)> = late
        .filter(|(key, _)| !key.ends_with("/sequence"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    assert_eq!(late.len(), 2, "a response and its entry: {late:?}");
    for (key, value) in &late {
        world.store.remove(key);
        assert!(!value.is_empty());
    }
    ada.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    assert!(!is_there(&world, "ada"));
    for (key, value) in &late {
        world.store.put(key, value);
    }
    assert_eq!(world.lines("POST", "/v1/users/ada/export").len(), 2, "a response and the receipt");
    let receipt = ada.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    assert_eq!(receipt["responses"], 1);
    assert!(!is_there(&world, "ada"), "{:?}", world.keys(""));
}
