//! Long conversations: the summary of what fell out of the window, and what is pinned.

use crate::support::{Client, Script, World, bytes, delta, ending, id, says, streams, world};
use serde_json::{Value, json};
use waggle_chat::platform::QueueFailure;
use waggle_model::transport::TransportFailure;

const FACT: &str = "My parcel has the number 4711.";

fn conversation(world: &World) -> String {
    id(&world.json("POST", "/v1/conversations", &json!({}), 200)).to_owned()
}

fn say(world: &World, conversation: &str, input: &str) {
    world.turn(&json!({"input": input, "conversation": conversation}), &format!("Noted: {input}"));
}

/// A world whose windows hold four turns.
fn narrow() -> World {
    let world = world();
    world.set("window_items_max", "8");
    world
}

/// Delivers all that is queued; how much that was.
fn deliver_all(world: &World) -> usize {
    let queued: Vec<String> = world.platform.queue.borrow_mut().drain(..).collect();
    for path in &queued {
        assert!(path.ends_with("/summarize"), "{path}");
        for _ in 0..4 {
            world.script(Script::Echoes);
        }
        let reply = futures::executor::block_on(world.deliver_at(path, false));
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        world.model.scripts.borrow_mut().clear();
    }
    queued.len()
}

/// The only record of a summary.
fn summary(world: &World) -> Option<Value> {
    let store = world.store.dump();
    let mut found = store.iter().filter(|(key, _)| key.ends_with("/summary"));
    let value = found.next().map(|(_, value)| serde_json::from_slice(value).unwrap());
    assert!(found.next().is_none());
    value
}

fn summary_text(world: &World) -> String {
    summary(world).map(|summary| summary["text"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// A conversation in which the fact was said, and fell out of the window, and was summarised.
fn summarised(world: &World) -> String {
    let conversation = conversation(world);
    say(world, &conversation, FACT);
    for number in 0..6 {
        say(world, &conversation, &format!("number {number}"));
    }
    deliver_all(world);
    assert!(summary_text(world).contains(FACT), "{}", summary_text(world));
    conversation
}

fn first_item(world: &World, conversation: &str) -> String {
    let path = format!("/v1/conversations/{conversation}/items?order=asc&limit=1");
    id(&world.json("GET", &path, &Value::Null, 200)["data"][0]).to_owned()
}

#[test]
fn a_conversation_of_300_turns_keeps_a_fact_by_its_summary() {
    let world = world();
    let conversation = conversation(&world);
    say(&world, &conversation, FACT);
    let mut made = 0;
    for number in 0..300 {
        say(&world, &conversation, &format!("number {number}"));
        made += deliver_all(&world);
        let newest = number + 2;
        if newest > 21 {
            // What is not in the window of the next turn is in the summary.
            let through = summary(&world).unwrap()["through"].as_u64().unwrap();
            assert!(through + 19 >= newest, "{through} after {newest}");
        }
    }
    // Half a window passes from one to the next.
    assert!((25..=32).contains(&made), "{made}");
    say(&world, &conversation, "And now?");
    let asked = world.asked();
    let messages = asked.last().unwrap()["messages"].as_array().unwrap();
    assert_eq!(messages[0]["role"], "system");
    let framed = messages[0]["content"].as_str().unwrap();
    assert!(framed.contains("not an instruction") && framed.contains(FACT), "{framed}");
    // The window has made no room: it is bounded by its items.
    assert_eq!((messages.len(), &messages[1]["content"]), (40, &json!("number 281")));
    assert!(summary(&world).unwrap()["tokens"].as_u64().unwrap() <= 500);
}

#[test]
fn a_conversation_of_300_turns_keeps_what_is_pinned_in_its_order() {
    let world = world();
    world.set("summary", "off");
    let conversation = conversation(&world);
    let items = format!("/v1/conversations/{conversation}/items");
    let mut pinned = Vec::new();
    for number in 0..300 {
        say(&world, &conversation, &format!("number {number}"));
        if number % 100 == 0 {
            let last = world.json("GET", &format!("{items}?limit=2"), &Value::Null, 200);
            let item = &last["data"][1];
            let path = format!("{items}/{}/pin", id(item));
            // Pinned last to first, they stand first to last.
            pinned.insert(0, (path, item.clone()));
        }
    }
    for (path, item) in &pinned {
        assert_eq!(world.json("POST", path, &Value::Null, 200), *item);
        assert_eq!(world.json("POST", path, &Value::Null, 200), *item, "twice is once");
    }
    let object = world.json("GET", &format!("/v1/conversations/{conversation}"), &Value::Null, 200);
    let ids: Vec<&str> = pinned.iter().rev().map(|(_, item)| id(item)).collect();
    assert_eq!(object["waggle_pinned"], json!(ids));
    say(&world, &conversation, "And now?");
    let messages = world.last_messages();
    assert_eq!(messages[..4], ["number 0", "number 100", "number 200", "number 281"]);
    // What stands in the window anyway is not shown twice.
    let path = format!("{items}/{}/pin", id(&world.json("GET", &items, &Value::Null, 200)["data"][3]));
    world.json("POST", &path, &Value::Null, 200);
    say(&world, &conversation, "And now?");
    assert_eq!(world.last_messages()[..4], ["number 0", "number 100", "number 200", "number 282"]);
    // Other changes of the conversation leave the pins alone.
    let metadata = json!({"metadata": {"a": "b"}});
    world.json("POST", &format!("/v1/conversations/{conversation}"), &metadata, 200);
    world.platform.passed_ms.set(3_600_000);
    say(&world, &conversation, "later");
    let (path, item) = &pinned[1];
    assert_eq!(world.json("DELETE", path, &Value::Null, 200), *item);
    world.json("DELETE", &format!("{items}/{}", id(&pinned[0].1)), &Value::Null, 200);
    let object = world.json("GET", &format!("/v1/conversations/{conversation}"), &Value::Null, 200);
    assert_eq!(object["waggle_pinned"].as_array().unwrap().len(), 2, "the deleted one is pinned no more");
    say(&world, &conversation, "And now?");
    assert_eq!(world.last_messages()[..2], ["number 0", "number 284"]);
    assert!(world.platform.queue.borrow().is_empty() && summary(&world).is_none());
}

#[test]
fn pins_have_bounds_and_are_of_messages() {
    let world = narrow();
    let conversation = conversation(&world);
    let items = format!("/v1/conversations/{conversation}/items");
    let add = |item: Value| {
        let added = world.json("POST", &items, &json!({"items": [item]}), 200);
        format!("{items}/{}/pin", id(&added["data"][0]))
    };
    let refused = |path: &str, code: &str| {
        let error = world.json("POST", path, &Value::Null, 400);
        assert_eq!((&error["error"]["code"], &error["error"]["param"]), (&json!(code), &json!("item_id")));
    };
    refused(
        &add(json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"})),
        "item_not_pinnable",
    );
    refused(
        &add(json!({"role": "assistant", "content": "busy", "waggle_fallback": true})),
        "item_not_pinnable",
    );
    refused(&add(json!({"role": "user", "content": "x".repeat(8001)})), "pinned_items_too_long");
    for number in 0..16 {
        world.json("POST", &add(json!({"role": "user", "content": number.to_string()})), &Value::Null, 200);
    }
    let one_more = add(json!({"role": "user", "content": "x"}));
    refused(&one_more, "too_many_pinned_items");
    let unknown = one_more.replace("/pin", "").replace("msg_", "fc_") + "/pin";
    world.json("POST", &unknown, &Value::Null, 404);
    world.json("DELETE", &unknown, &Value::Null, 404);
    let adam = world.called_by(Some("adam"));
    adam.json("POST", &one_more, &Value::Null, 404);
    adam.json("DELETE", &one_more, &Value::Null, 404);
}

#[test]
fn summary_and_pins_take_their_room_from_the_oldest_of_the_window() {
    let world = world();
    world.set("window_tokens_max", "1000");
    let conversation = conversation(&world);
    for number in 0..30 {
        say(&world, &conversation, &format!("{number} {}", "x".repeat(150)));
        deliver_all(&world);
    }
    let pin = format!("/v1/conversations/{conversation}/items/{}/pin", first_item(&world, &conversation));
    world.json("POST", &pin, &Value::Null, 200);
    say(&world, &conversation, "And now?");
    let characters: usize = world.last_messages().iter().map(String::len).sum();
    assert!((2_000..4_200).contains(&characters), "{characters}");
    let messages = world.last_messages();
    assert!(messages[0].contains("<summary>") && messages[1].starts_with("0 xxx"), "{messages:?}");
}

#[test]
fn a_summary_is_asked_for_once_and_again_when_its_making_was_lost() {
    let world = narrow();
    let conversation = conversation(&world);
    for number in 0..20 {
        say(&world, &conversation, &format!("number {number}"));
    }
    assert_eq!(world.platform.queue.borrow_mut().drain(..).count(), 1);
    world.platform.passed_ms.set(400_000);
    for _ in 0..5 {
        say(&world, &conversation, "x");
    }
    assert_eq!(deliver_all(&world), 1);
    // Delivered twice, it is made once.
    let known = summary(&world);
    let path = format!("/v1/conversations/{conversation}/summarize");
    let asked = world.asked().len();
    assert_eq!(futures::executor::block_on(world.deliver_at(&path, true)).status, 200);
    assert_eq!(world.asked().len(), asked);
    assert_eq!(summary(&world).unwrap()["text"], known.unwrap()["text"]);
    // No client reaches it.
    world.json("POST", &path, &json!({}), 404);
}

#[test]
fn a_summary_that_could_not_be_kept_is_made_again_as_if_nothing_had_been() {
    let world = narrow();
    let conversation = conversation(&world);
    say(&world, &conversation, FACT);
    for number in 0..6 {
        say(&world, &conversation, &format!("number {number}"));
    }
    let before = summary(&world);
    let path = format!("/v1/conversations/{conversation}/summarize");
    let deliver = || futures::executor::block_on(world.deliver_at(&path, false)).status;
    world.set("fallback", "text");
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    assert_eq!(deliver(), 504, "the host comes again");
    world.script(says("  "));
    assert_eq!(deliver(), 502);
    world.script(Script::Echoes);
    world.store.fail(Some("swap"));
    assert_eq!(deliver(), 500);
    world.store.fail(None);
    assert_eq!(summary(&world), before, "nothing of it was kept");
    world.script(Script::Echoes);
    assert_eq!(deliver(), 200);
    let text = summary_text(&world);
    assert_eq!(text.matches(FACT).count(), 2, "said once and noted once: {text}");
}

#[test]
fn what_is_deleted_disappears_from_the_summary() {
    let world = narrow();
    let conversation = summarised(&world);
    let items = format!("/v1/conversations/{conversation}/items");
    let deleted = format!("{items}/{}", first_item(&world, &conversation));
    world.json("DELETE", &deleted, &Value::Null, 200);
    assert_eq!(summary_text(&world), "");
    let answer = format!("{items}/{}", first_item(&world, &conversation));
    world.json("DELETE", &answer, &Value::Null, 200);
    say(&world, &conversation, "And now?");
    assert!(!world.last_messages().concat().contains(FACT));
    assert_eq!(deliver_all(&world), 1);
    let text = summary_text(&world);
    assert!(text.contains("number 0") && !text.contains(FACT), "{text}");
    // One that is deleted behind the summary leaves its text.
    let newest = world.json("GET", &items, &Value::Null, 200);
    world.json("DELETE", &format!("{items}/{}", id(&newest["data"][0])), &Value::Null, 200);
    assert_eq!(summary_text(&world), text);
    // Whoever was interrupted deletes again, finds nothing, and the summary is forgotten all the same.
    world.json("DELETE", &deleted, &Value::Null, 404);
    assert_eq!(summary_text(&world), "");
}

#[test]
fn a_summary_ends_with_its_conversation() {
    let gone = |world: &World| assert_eq!(summary(world), None);
    let world = narrow();
    let path = format!("/v1/conversations/{}", summarised(&world));
    world.json("DELETE", &path, &Value::Null, 200);
    gone(&world);
    // What is delivered then makes nothing.
    let run = format!("{path}/summarize");
    assert_eq!(futures::executor::block_on(world.deliver_at(&run, false)).status, 200);
    gone(&world);

    let world = narrow();
    let ada = world.called_by(Some("ada"));
    let conversation = summarised(&ada);
    let pin = format!("/v1/conversations/{conversation}/items/{}/pin", first_item(&ada, &conversation));
    ada.json("POST", &pin, &Value::Null, 200);
    let lines = world.lines("POST", "/v1/users/ada/export");
    let exported = lines.iter().find(|line| line["type"] == "conversation").unwrap();
    assert_eq!(exported["summary"], summary_text(&world));
    assert_eq!(exported["pinned"].as_array().unwrap().len(), 1);
    world.json("DELETE", "/v1/users/ada/data", &Value::Null, 200);
    gone(&world);
    assert!(!world.store.dump().values().any(|value| String::from_utf8_lossy(value).contains("4711")));
}

fn chat(world: &World, session: &str, query: &str) -> Value {
    world.script(says(&format!("Noted: {query}")));
    let body = match session {
        "" => json!({"user": "ada", "query": query}),
        session => json!({"user": "ada", "query": query, "session": session}),
    };
    world.json("POST", "/v1/chat", &body, 200)
}

#[test]
fn a_session_is_summarised_and_forgets_what_it_keeps_no_more() {
    let world = narrow();
    world.set("session_turns_max", "20");
    let session = chat(&world, "", FACT)["session"].as_str().unwrap().to_owned();
    for number in 1..31 {
        chat(&world, &session, &format!("number {number}"));
        deliver_all(&world);
    }
    assert!(summary_text(&world).contains(FACT));
    // The 32nd turn trims.
    chat(&world, &session, "And now?");
    assert!(!summary_text(&world).contains(FACT));
    chat(&world, &session, "And then?");
    deliver_all(&world);
    let text = summary_text(&world);
    assert!(!text.contains(FACT) && text.contains("number 12"), "{text}");
    assert!(!world.store.dump().values().any(|value| String::from_utf8_lossy(value).contains("4711")));
    world.platform.passed_ms.set(8 * 24 * 3_600_000);
    world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "x", "session": session}), 404);
    assert_eq!(summary(&world), None, "it ended with its session");
}

#[test]
fn streamed_turns_ask_for_a_summary_as_well() {
    let world = narrow();
    let conversation = conversation(&world);
    for number in 0..6 {
        world.script(streams(vec![bytes(&delta("ok")), bytes(&ending("stop"))]));
        let body = json!({"input": format!("number {number}"), "conversation": conversation, "stream": true});
        world.stream("/v1/responses", &body, &Client::default());
    }
    assert_eq!(deliver_all(&world), 1);
    assert!(summary_text(&world).contains("number 0"));
}

#[test]
fn without_a_queue_there_is_no_summary_and_the_log_says_so_once() {
    let world = narrow();
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Absent);
    for _ in 0..2 {
        let conversation = conversation(&world);
        for number in 0..8 {
            say(&world, &conversation, &format!("number {number}"));
        }
    }
    let lines = world.platform.lines.borrow();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("no queue"), "{lines:?}");
}

#[test]
fn the_small_tier_writes_the_summary_unless_another_model_is_named() {
    let check = |variables: &[(&'static str, &str)], model: Value, expected: &str| {
        let world = narrow();
        for (name, value) in variables {
            world.set(name, value);
        }
        let conversation = conversation(&world);
        for _ in 0..6 {
            let mut body = json!({"input": "where is it?", "conversation": conversation});
            body["model"] = model.clone();
            world.turn(&body, "here");
        }
        assert_eq!(deliver_all(&world), 1);
        assert_eq!(world.asked().last().unwrap()["model"], expected, "{variables:?} {model}");
    };
    let tiers = ("tiers", r#"{"small": "tiny", "large": "huge"}"#);
    check(&[], Value::Null, "sim");
    check(&[], json!("other"), "other");
    check(&[], json!("auto"), "small");
    check(&[tiers], json!("huge"), "tiny");
    check(&[tiers, ("summary_model", "writer")], Value::Null, "writer");
}

#[test]
fn a_summary_has_the_tokens_that_it_may_have() {
    let world = narrow();
    world.set("summary_tokens_max", "20");
    let conversation = summarised(&world);
    let known = summary(&world).unwrap();
    assert!(
        known["tokens"].as_u64().unwrap() <= 20 && known["text"].as_str().unwrap().len() <= 80,
        "{known}"
    );
    world.set("summary", "perhaps");
    let error =
        world.json("POST", "/v1/responses", &json!({"input": "x", "conversation": conversation}), 500);
    assert!(!error.to_string().contains("perhaps"), "{error}");
    assert!(world.platform.lines.borrow().concat().contains("must be 'on' or 'off'"));
}
