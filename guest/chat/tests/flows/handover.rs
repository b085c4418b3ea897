//! Conversations that people take over: the mark, turns that nobody answers, and the telling.

use crate::support::{
    Client, Surroundings, World, asks, bytes, delta, ending, found_nothing, id, read_events, says, streams,
    text, world,
};
use serde_json::{Value, json};
use waggle_chat::platform::{NeighbourAnswer, QueueFailure};
use waggle_chat::{Answer, Request};

fn new_conversation(world: &World) -> String {
    id(&world.json("POST", "/v1/conversations", &json!({}), 200)).to_owned()
}

fn path(conversation: &str) -> String {
    format!("/v1/conversations/{conversation}/handover")
}

fn hand_over(world: &World, conversation: &str, reason: &str) -> Value {
    world.json("POST", &path(conversation), &json!({"reason": reason}), 200)
}

fn handover(world: &World, conversation: &str) -> Value {
    world.json("GET", &path(conversation), &Value::Null, 200)
}

fn say(conversation: &str, input: &str) -> Value {
    json!({"input": input, "conversation": conversation})
}

/// What the tools function answers to the next call.
fn desk_answers(world: &World, reply: &Value) {
    let answer = NeighbourAnswer { status: 200, retry_after: None, body: reply.to_string().into_bytes() };
    world.platform.desk.borrow_mut().push_back(answer);
}

fn told() -> Value {
    json!({"output": "{\"reference\":\"T-7\"}", "attempts": 1, "duration_ms": 1})
}

fn passes(platform: &Surroundings, ms: u64) {
    platform.passed_ms.set(platform.passed_ms.get() + ms);
}

#[test]
fn a_conversation_is_handed_over_once_and_handed_back() {
    let world = world();
    let conversation = new_conversation(&world);
    let not = json!({"id": conversation, "object": "conversation.handover", "handed_over": false});
    assert_eq!(handover(&world, &conversation), not);
    let first = hand_over(&world, &conversation, "angry");
    let expected = json!({"id": conversation, "object": "conversation.handover", "handed_over": true,
        "since": 1_700_000_000, "reason": "angry", "by": "service"});
    assert_eq!(first, expected);
    passes(&world.platform, 5_000);
    assert_eq!(hand_over(&world, &conversation, "calm"), expected, "the first one stands");
    let referred = world.json("POST", &path(&conversation), &json!({"reference": "T-1", "by": "model"}), 200);
    assert_eq!((&referred["reference"], &referred["by"]), (&json!("T-1"), &json!("service")));
    let metadata = json!({"metadata": {"k": "v"}});
    let changed = world.json("POST", &format!("/v1/conversations/{conversation}"), &metadata, 200);
    assert_eq!(changed["waggle_handover"]["reason"], "angry");
    let object = world.json("GET", &format!("/v1/conversations/{conversation}"), &Value::Null, 200);
    assert_eq!(object, changed);
    for _ in 0..2 {
        assert_eq!(world.json("DELETE", &path(&conversation), &Value::Null, 200), not);
        assert_eq!(world.json("POST", &path(&conversation), &json!({"handed_over": false}), 200), not);
    }
    let object = world.json("GET", &format!("/v1/conversations/{conversation}"), &Value::Null, 200);
    assert_eq!(object.get("waggle_handover"), None);
}

#[test]
fn what_cannot_be_handed_over_is_refused() {
    let world = world();
    let ada = world.called_by(Some("ada"));
    let conversation = new_conversation(&ada);
    let bob = world.called_by(Some("bob"));
    for method in ["GET", "POST", "DELETE"] {
        let body = if method == "POST" { json!({}) } else { Value::Null };
        bob.json(method, &path(&conversation), &body, 404);
    }
    for (body, param) in [
        (json!({"reason": "x".repeat(1001)}), "reason"),
        (json!({"reference": "x".repeat(257)}), "reference"),
        (json!({"by": "service"}), "by"),
        (json!({"by": "nobody"}), "by"),
        (json!({"why": "x"}), "why"),
    ] {
        assert_eq!(ada.json("POST", &path(&conversation), &body, 400)["error"]["param"], param);
    }
    assert!(world.platform.queue.borrow().is_empty(), "nothing was changed");
    assert_eq!(ada.json("POST", &path(&conversation), &json!({}), 200)["by"], "user");
    assert_eq!(
        world.json("GET", &path(&conversation), &Value::Null, 200)["handed_over"],
        true,
        "its tenant sees it"
    );
}

#[test]
fn a_turn_of_it_is_kept_and_answered_by_nobody() {
    let world = world();
    let conversation = new_conversation(&world);
    world.turn(&say(&conversation, "hi"), "hello");
    hand_over(&world, &conversation, "");
    world.set("knowledge", "vs_1");
    let mut body = say(&conversation, "anybody?");
    // Whatever form is asked for, and however short the window: nobody answers.
    body["text"] = json!({"format": {"type": "json_object"}});
    let reply = world.exchange("/v1/responses", &body, None);
    let mark = reply.headers.iter().find(|(name, _)| *name == "x-waggle-answer").unwrap();
    assert_eq!((reply.status, mark.1.as_str()), (200, "handed_over"));
    let response: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&response["status"], &response["output"]), (&json!("completed"), &json!([])));
    assert_eq!(response["metadata"], json!({"waggle_answer": "handed_over"}));
    assert_eq!(response["usage"]["total_tokens"], 0);
    let stored = world.json("GET", &format!("/v1/responses/{}", id(&response)), &Value::Null, 200);
    assert_eq!(stored, response);
    assert_eq!(world.asked().len(), 1, "no model is asked");
    assert!(world.platform.looked_up.borrow().is_empty(), "nothing is looked up");
    // A person answers, and hands back: then the model knows what was said.
    let items = json!({"items": [{"role": "assistant", "content": "A person here."}]});
    world.json("POST", &format!("/v1/conversations/{conversation}/items"), &items, 200);
    world.json("DELETE", &path(&conversation), &Value::Null, 200);
    world.set("knowledge", "");
    let back = world.turn(&say(&conversation, "thanks"), "you are welcome");
    assert_eq!(text(&back), "you are welcome");
    assert_eq!(world.last_messages(), ["hi", "hello", "anybody?", "A person here.", "thanks"]);
}

#[test]
fn a_streamed_turn_of_it_says_nothing() {
    let world = world();
    let conversation = new_conversation(&world);
    hand_over(&world, &conversation, "");
    let mut body = say(&conversation, "anybody?");
    body["stream"] = json!(true);
    let reply = world.exchange("/v1/responses", &body, None);
    let said = read_events(&String::from_utf8(reply.body).unwrap());
    let kinds: Vec<_> = said.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["response.created", "response.in_progress", "response.completed"]);
    let end = &said[2].1["response"];
    assert_eq!((&end["output"], &end["metadata"]["waggle_answer"]), (&json!([]), &json!("handed_over")));
}

#[test]
fn a_background_turn_of_it_says_nothing() {
    let world = world();
    let conversation = new_conversation(&world);
    let mut body = say(&conversation, "later");
    body["background"] = json!(true);
    let queued = world.json("POST", "/v1/responses", &body, 200);
    hand_over(&world, &conversation, "");
    world.platform.queue.borrow_mut().pop();
    assert_eq!(world.deliver(false).status, 200);
    let response = world.json("GET", &format!("/v1/responses/{}", id(&queued)), &Value::Null, 200);
    assert_eq!((&response["status"], &response["output"]), (&json!("completed"), &json!([])));
    assert_eq!(response["metadata"]["waggle_answer"], "handed_over");
}

#[test]
fn a_session_says_that_people_answer() {
    let world = world();
    world.script(says("hello"));
    let first = world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "hi"}), 200);
    let session = first["session"].as_str().unwrap();
    hand_over(&world, session, "");
    let silent =
        world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "?", "session": session}), 200);
    assert_eq!(
        (&silent["answer"], &silent["handover"], &silent["seq"]),
        (&json!(""), &json!(true), &json!(2))
    );
    let streamed = json!({"user": "ada", "query": "??", "session": session, "stream": true});
    let reply = world.exchange("/v1/chat", &streamed, None);
    let text = String::from_utf8(reply.body).unwrap();
    assert!(text.contains("\"handover\":true") && !text.contains("event: delta"), "{text}");
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn a_turn_that_waited_for_one_during_which_it_was_handed_over_is_silent() {
    let world = world();
    let conversation = new_conversation(&world);
    world.script(streams(vec![bytes(&delta("one")), bytes(&ending("stop"))]));
    let post = Request { method: "POST", path_with_query: "/v1/responses", ..Request::default() };
    let mut first = say(&conversation, "first");
    first["stream"] = json!(true);
    let answer = futures::executor::block_on(world.answer(post, vec![bytes(&first.to_string())]));
    let Answer::Stream(first) = answer else { panic!("no stream") };
    let second = say(&conversation, "second").to_string();
    let handing = path(&conversation);
    let hands = Request { path_with_query: &handing, ..post };
    let (second, ()) = futures::executor::block_on(async {
        futures::join!(world.answer(post, vec![bytes(&second)]), async {
            world.answer(hands, vec![bytes("{}")]).await;
            first.run(Client::default()).await;
        })
    });
    let Answer::Reply(second) = second else { panic!("a stream") };
    let second: Value = serde_json::from_slice(&second.body).unwrap();
    assert_eq!((&second["status"], &second["output"]), (&json!("completed"), &json!([])), "{second:#}");
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn a_turn_for_which_nothing_is_found_hands_its_conversation_over() {
    let world = world();
    let conversation = new_conversation(&world);
    let mut body = asks("q");
    body["conversation"] = json!(conversation);
    world.finds(&found_nothing(false));
    world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(handover(&world, &conversation)["handed_over"], false, "where that is not wanted");
    assert!(world.platform.queue.borrow().is_empty());
    world.finds(&found_nothing(true));
    let response = world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(response["metadata"]["waggle_answer"], "handover");
    let mark = handover(&world, &conversation);
    assert_eq!((&mark["handed_over"], &mark["by"]), (&json!(true), &json!("knowledge")));
    assert_eq!(*world.platform.queue.borrow(), [format!("/waggle/handover/{conversation}")]);
    let silent = world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(silent["output"], json!([]), "and nothing is looked up for the next");
    // One that stands in no conversation has nothing to hand over.
    world.finds(&found_nothing(true));
    world.json("POST", "/v1/responses", &asks("q"), 200);
    assert_eq!(world.platform.queue.borrow().len(), 1);
}

#[test]
fn people_are_told_by_a_tool_with_what_was_said() {
    let world = world();
    world.set("handover_tool", "desk.notify");
    let ada = world.called_by(Some("ada"));
    let conversation = new_conversation(&ada);
    ada.turn(&say(&conversation, "where is my order?"), "I do not know.");
    hand_over(&ada, &conversation, "The user is angry.");
    desk_answers(&world, &told());
    assert_eq!(ada.deliver(false).status, 200);
    let asked = world.looked_up("/v1/tools/catalog");
    assert_eq!(asked, [json!({"select": [{"label": "desk", "functions": ["notify"]}]})]);
    let call = &world.looked_up("/v1/tools/call")[0];
    assert_eq!(
        (&call["label"], &call["function"], &call["digest"]),
        (&json!("desk"), &json!("notify"), &json!("d"))
    );
    assert_eq!((&call["approved"], &call["conversation"]), (&json!(true), &json!(conversation)));
    let mut event: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(call["idempotency_key"], format!("handover-{}", event["id"].as_str().unwrap()));
    event["id"] = json!("");
    let lines = event["data"]["transcript"]["lines"].as_array_mut().unwrap();
    for line in lines {
        assert!(line["id"].take().as_str().unwrap().starts_with("msg_"));
    }
    let expected = json!({"specversion": "1.0", "id": "", "source": format!("/v1/conversations/{conversation}"),
        "type": "waggle.conversation.handed_over", "subject": conversation, "time": "2023-11-14T22:13:20Z",
        "datacontenttype": "application/json", "data": {"conversation": conversation, "user": "ada",
            "since": 1_700_000_000, "reason": "The user is angry.", "by": "user", "transcript": {"truncated": false,
                "lines": [{"id": null, "role": "user", "text": "where is my order?"},
                    {"id": null, "role": "assistant", "text": "I do not know."}]}}});
    assert_eq!(event, expected);
    let mark = handover(&ada, &conversation);
    assert_eq!((&mark["reference"], &mark["told_at"]), (&json!("T-7"), &json!(1_700_000_000)));
    // Told once, they are told no more, however often it is delivered.
    assert_eq!(ada.deliver(true).status, 200);
    assert_eq!(world.looked_up("/v1/tools/call").len(), 1);
}

#[test]
fn people_who_could_not_be_told_are_told_later() {
    let world = world();
    world.set("handover_tool", "desk.notify");
    let conversation = new_conversation(&world);
    hand_over(&world, &conversation, "");
    let fails = json!({"output": "down", "error": "unavailable", "attempts": 3, "duration_ms": 1});
    desk_answers(&world, &fails);
    assert_eq!(world.deliver(false).status, 503, "the host comes again");
    desk_answers(&world, &fails);
    assert_eq!(world.deliver(true).status, 200, "for the last time");
    assert!(
        world
            .platform
            .lines
            .borrow()
            .iter()
            .any(|line| line.contains("desk.notify") && line.contains("down"))
    );
    assert_eq!(handover(&world, &conversation).get("told_at"), None);
    let silent = |expected: usize| {
        world.json("POST", "/v1/responses", &say(&conversation, "?"), 200);
        assert_eq!(world.platform.queue.borrow().len(), expected);
    };
    silent(1);
    passes(&world.platform, 60_000);
    silent(2);
    desk_answers(&world, &told());
    assert_eq!(world.deliver(false).status, 200);
    silent(2);
}

#[test]
fn a_tool_that_is_not_there_is_told_to_the_operator() {
    let world = world();
    let conversation = new_conversation(&world);
    hand_over(&world, &conversation, "");
    for named in ["other.notify", "desk", ".", "desk."] {
        world.set("handover_tool", named);
        assert!(world.deliver(false).status >= 500, "{named}");
        assert!(world.platform.lines.borrow().last().unwrap().contains("handover_tool"), "{named}");
    }
    world.set("handover_tool", " ");
    assert_eq!(world.deliver(false).status, 200, "nobody is to be told");
    assert!(handover(&world, &conversation)["told_at"].is_u64());
}

#[test]
fn work_without_a_hand_over_is_none() {
    let world = world();
    world.set("handover_tool", "desk.notify");
    let conversation = new_conversation(&world);
    hand_over(&world, &conversation, "");
    world.json("DELETE", &path(&conversation), &Value::Null, 200);
    assert_eq!(world.deliver(false).status, 200);
    world.json("DELETE", &format!("/v1/conversations/{conversation}"), &Value::Null, 200);
    assert_eq!(world.deliver(false).status, 200);
    assert!(world.platform.looked_up.borrow().is_empty());
    // And what is not delivered by the host is no work.
    world.json("POST", &format!("/waggle/handover/{conversation}"), &json!({}), 404);
}

#[test]
fn a_queue_that_takes_nothing_leaves_the_conversation_as_it_is() {
    let world = world();
    let conversation = new_conversation(&world);
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Full(9));
    let reply = world.send("POST", &path(&conversation), "{}");
    assert_eq!(reply.status, 503);
    assert!(reply.headers.contains(&("retry-after", "9".to_owned())), "{:?}", reply.headers);
    assert_eq!(handover(&world, &conversation)["handed_over"], false);
}

#[test]
fn without_a_queue_people_are_told_beside_the_answer() {
    let world = world();
    world.set("handover_tool", "desk.notify");
    *world.platform.queue_fails.borrow_mut() = Some(QueueFailure::Absent);
    let conversation = new_conversation(&world);
    desk_answers(&world, &told());
    hand_over(&world, &conversation, "");
    assert_eq!(handover(&world, &conversation)["reference"], "T-7");
    let other = new_conversation(&world);
    let mut body = asks("q");
    body["conversation"] = json!(other);
    world.finds(&found_nothing(true));
    desk_answers(&world, &told());
    world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(handover(&world, &other)["reference"], "T-7");
}
