//! Sessions: a thin face on conversations.

use crate::support::{Client, Piece, Script, World, bytes, delta, ending, says, streams, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

/// A plain turn of a session, to which the model answers `answer`.
fn say(world: &World, body: &Value, answer: &str) -> Value {
    world.script(says(answer));
    world.json("POST", "/v1/chat", body, 200)
}

fn session_of(turn: &Value) -> &str {
    turn["session"].as_str().unwrap()
}

/// The events of a streamed turn: name and data; the mark of the end as a string.
fn stream(world: &World, body: &Value, client: &Client) -> Vec<(String, Value)> {
    world.stream("/v1/chat", body, client);
    read(&client.writes.borrow().concat())
}

fn read(text: &str) -> Vec<(String, Value)> {
    text.split_terminator("\n\n")
        .map(|block| match block.split_once('\n') {
            Some((name, data)) => (
                name.strip_prefix("event: ").unwrap().to_owned(),
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            ),
            None => (String::new(), json!(block.strip_prefix("data: ").unwrap())),
        })
        .collect()
}

#[test]
fn a_session_remembers_and_numbers_its_turns() {
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    let session = session_of(&first).to_owned();
    let response_id = first["response_id"].clone();
    let expected =
        json!({"answer": "1", "seq": 1, "session": session, "fallback": false, "response_id": response_id});
    assert_eq!(first, expected);
    let second = say(&world, &json!({"user": "ada", "query": "two", "session": session, "model": "m"}), "2");
    assert_eq!((&second["seq"], session_of(&second)), (&json!(2), session.as_str()));
    assert_eq!(world.last_messages(), ["one", "1", "two"]);
    assert_eq!(world.asked()[1]["model"], "m");
    let read = world.json("GET", &format!("/v1/sessions/{session}"), &Value::Null, 200);
    assert_eq!(
        (&read["user"], &read["turns"], &read["session"]),
        (&json!("ada"), &json!(2), &json!(session))
    );
    assert_eq!(read["messages"][0]["query"], "one");
    assert_eq!(read["messages"][1]["answer"], "2");
    assert_eq!(read["messages"][1]["response_id"], second["response_id"]);
    assert_eq!(read["messages"][1]["created_at"], 1_700_000_000);
    let last = world.json("GET", &format!("/v1/sessions/{session}?limit=1"), &Value::Null, 200);
    assert_eq!((last["messages"].as_array().unwrap().len(), &last["turns"]), (1, &json!(2)));
}

#[test]
fn a_session_is_a_conversation_of_its_user() {
    let world = world();
    let ada = world.called_by(Some("ada"));
    let turn = say(&world, &json!({"user": "ada", "query": "one", "metadata": {"k": "v"}}), "1");
    let session = session_of(&turn);
    let items = ada.json("GET", &format!("/v1/conversations/{session}/items"), &Value::Null, 200);
    assert_eq!(items["data"].as_array().unwrap().len(), 2);
    let response = ada.json(
        "GET",
        &format!("/v1/responses/{}", turn["response_id"].as_str().unwrap()),
        &Value::Null,
        200,
    );
    assert_eq!((&response["conversation"]["id"], &response["metadata"]["k"]), (&json!(session), &json!("v")));
    ada.turn(&json!({"input": "two", "conversation": session}), "2");
    let third = say(&ada, &json!({"query": "three", "session": session}), "3");
    assert_eq!(third["seq"], 3);
    assert_eq!(ada.last_messages(), ["one", "1", "two", "2", "three"]);
    // The client's change of the conversation does not make it something else.
    ada.json("POST", &format!("/v1/conversations/{session}"), &json!({"metadata": {"a": "b"}}), 200);
    ada.json("GET", &format!("/v1/sessions/{session}"), &Value::Null, 200);
    // A conversation that was not begun as a session is none.
    let conversation = ada.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = conversation["id"].as_str().unwrap();
    ada.json("GET", &format!("/v1/sessions/{conversation}"), &Value::Null, 404);
    ada.json("POST", "/v1/chat", &json!({"query": "x", "session": conversation}), 404);
}

#[test]
fn nobody_asks_for_somebody_else() {
    let world = world();
    let hers = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    let session = session_of(&hers);
    let adam = world.called_by(Some("adam"));
    let error = adam.json("POST", "/v1/chat", &json!({"user": "ada", "query": "x"}), 400);
    assert_eq!(error["error"]["param"], "user");
    adam.json("POST", "/v1/chat", &json!({"query": "x", "session": session}), 404);
    // Nor does a service that names the wrong user.
    world.json("POST", "/v1/chat", &json!({"user": "adam", "query": "x", "session": session}), 404);
    for user in [json!(null), json!(""), json!("a b"), json!("é"), json!("u".repeat(257))] {
        let error = world.json("POST", "/v1/chat", &json!({"user": user, "query": "x"}), 400);
        assert_eq!(error["error"]["param"], "user", "{user}");
    }
    for path in ["/v1/sessions?user=ada", "/v1/sessions?user=%61da"] {
        assert_eq!(adam.json("GET", path, &Value::Null, 400)["error"]["param"], "user");
        let list = world.json("GET", path, &Value::Null, 200);
        assert_eq!(list["data"][0]["session"], *session);
    }
    world.json("GET", "/v1/sessions", &Value::Null, 400);
    assert_eq!(adam.json("GET", "/v1/sessions", &Value::Null, 200)["data"], json!([]));
}

#[test]
fn wrong_bodies_name_the_field_and_begin_no_session() {
    let world = world();
    for (body, param) in [
        (json!({"user": "ada"}), "query"),
        (json!({"user": "ada", "query": ""}), "query"),
        (json!({"user": "ada", "query": 3}), "query"),
        (json!({"user": "ada", "query": "x", "stream": "yes"}), "stream"),
        (json!({"user": "ada", "query": "x", "input": "y"}), "input"),
        (json!({"user": "ada", "query": "x", "metadata": {"k": 1}}), "metadata"),
    ] {
        let error = world.json("POST", "/v1/chat", &body, 400);
        assert_eq!(error["error"]["param"], param, "{body}");
    }
    world.set("models", "a");
    world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "x", "model": "secret"}), 404);
    assert!(world.keys("conversation/").is_empty() && world.model.requests.borrow().is_empty());
}

#[test]
fn a_streamed_turn_says_the_same_as_a_whole_one() {
    let world = world();
    world.script(streams(vec![bytes(&delta("Hel")), bytes(&delta("lo\n")), bytes(&ending("stop"))]));
    let events = stream(&world, &json!({"user": "ada", "query": "one", "stream": true}), &Client::default());
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["session", "delta", "delta", "done", ""]);
    let session = &events[0].1["session"];
    assert_eq!((&events[1].1, &events[2].1), (&json!({"text": "Hel"}), &json!({"text": "lo\n"})));
    let done = &events[3].1;
    let expected = json!({"answer": "Hello\n", "seq": 1, "session": session, "fallback": false,
        "response_id": done["response_id"]});
    assert_eq!((done, &events[4].1), (&expected, &json!("[DONE]")));
    let next = say(&world, &json!({"user": "ada", "query": "two", "session": session}), "2");
    assert_eq!(next["seq"], 2);
}

#[test]
fn what_breaks_off_ends_with_an_error_and_takes_no_number() {
    let world = world();
    world.script(streams(vec![bytes(&delta("Hel"))]));
    let body = json!({"user": "ada", "query": "one", "stream": true});
    let events = stream(&world, &body, &Client::default());
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["session", "delta", "error", ""]);
    assert!(events[2].1["code"].is_string() && events[2].1["message"].is_string());
    let next = json!({"user": "ada", "query": "two", "session": events[0].1["session"]});
    assert_eq!(say(&world, &next, "2")["seq"], 1);
}

#[test]
fn a_fallback_is_an_answer_that_says_so() {
    let world = world();
    world.set("fallback", "text");
    world.set("fallback_text", "busy");
    let failure = || Script::Fails(TransportFailure::TimedOut("x".into()));
    world.script(failure());
    let turn = world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "one"}), 200);
    assert_eq!((&turn["answer"], &turn["fallback"], &turn["seq"]), (&json!("busy"), &json!(true), &json!(1)));
    world.script(failure());
    let body = json!({"user": "ada", "query": "two", "session": turn["session"], "stream": true});
    let reply = world.exchange("/v1/chat", &body, None);
    let events = read(&String::from_utf8(reply.body).unwrap());
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["session", "delta", "done", ""]);
    assert_eq!((&events[2].1["fallback"], &events[2].1["seq"]), (&json!(true), &json!(2)));
    let read = world.json("GET", &format!("/v1/sessions/{}", session_of(&turn)), &Value::Null, 200);
    assert_eq!(
        (&read["messages"][1]["answer"], &read["messages"][1]["fallback"]),
        (&json!("busy"), &json!(true))
    );
}

#[test]
fn a_session_whose_first_turn_fails_is_taken_back() {
    for stream in [false, true] {
        let world = world();
        world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
        let body = json!({"user": "ada", "query": "one", "stream": stream});
        world.json("POST", "/v1/chat", &body, 504);
        assert!(world.keys("conversation/").is_empty(), "{:?}", world.keys(""));
        assert_eq!(world.json("GET", "/v1/sessions?user=ada", &Value::Null, 200)["data"], json!([]));
    }
    // One that had turns stays.
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    let body = json!({"user": "ada", "query": "two", "session": session_of(&first)});
    world.json("POST", "/v1/chat", &body, 504);
    world.json("GET", &format!("/v1/sessions/{}", session_of(&first)), &Value::Null, 200);
}

#[test]
fn a_session_survives_half_an_hour_and_ends_after_its_time_to_live() {
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    let body = json!({"user": "ada", "query": "next", "session": session_of(&first)});
    let wait = |ms: u64| world.platform.passed_ms.set(world.platform.passed_ms.get() + ms);
    wait(30 * 60_000);
    assert_eq!(say(&world, &body, "2")["seq"], 2);
    // Seven days after its last use, not after its beginning.
    wait(604_800_000 - 1000);
    assert_eq!(say(&world, &body, "3")["seq"], 3);
    wait(604_800_000 + 60_000);
    let error = world.json("POST", "/v1/chat", &body, 404);
    assert_eq!(error["error"]["code"], "session_ended");
    assert!(world.keys("conversation/").is_empty() && world.keys("response/").is_empty());
    assert_eq!(world.json("POST", "/v1/chat", &body, 404)["error"]["code"], Value::Null);
}

#[test]
fn a_short_time_to_live_does_not_end_a_session_in_use() {
    let world = world();
    world.set("session_ttl_s", "30");
    let first = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    let body = json!({"user": "ada", "query": "next", "session": session_of(&first)});
    for _ in 0..5 {
        world.platform.passed_ms.set(world.platform.passed_ms.get() + 20_000);
        say(&world, &body, "on");
    }
    world.platform.passed_ms.set(world.platform.passed_ms.get() + 31_000);
    let list = world.json("GET", "/v1/sessions?user=ada", &Value::Null, 200);
    assert_eq!(list["data"], json!([]));
    assert!(world.keys("conversation/").is_empty(), "what has ended is erased when it is come across");
}

#[test]
fn only_the_last_turns_are_kept() {
    let world = world();
    world.set("session_turns_max", "10");
    let first = say(&world, &json!({"user": "ada", "query": "1"}), "answer");
    let session = session_of(&first).to_owned();
    for number in 2..=100 {
        let mut body = json!({"user": "ada", "query": number.to_string(), "session": session});
        if number % 16 == 0 {
            body["stream"] = json!(true);
            world.script(streams(vec![bytes(&delta("answer")), bytes(&ending("stop"))]));
            world.stream("/v1/chat", &body, &Client::default());
        } else {
            say(&world, &body, "answer");
        }
        let kept = world.keys(&format!("conversation/{}/entry/", session.replace("conv_", ""))).len();
        assert!(kept >= 10.min(number) && kept < 10 + 16, "{kept} after {number}");
        assert_eq!(world.keys("response/").len(), kept);
    }
    let read = world.json("GET", &format!("/v1/sessions/{session}?limit=10"), &Value::Null, 200);
    let seqs: Vec<u64> =
        read["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (91..=100).collect::<Vec<u64>>());
    assert_eq!(read["turns"], 100);
}

#[test]
fn a_deleted_session_leaves_nothing() {
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    let path = format!("/v1/sessions/{}", session_of(&first));
    let deleted = world.json("DELETE", &path, &Value::Null, 200);
    assert_eq!(deleted, json!({"id": session_of(&first), "object": "session.deleted", "deleted": true}));
    for method in ["GET", "DELETE"] {
        world.json(method, &path, &Value::Null, 404);
    }
    assert_eq!(world.keys("").len(), 1, "the number that was drawn: {:?}", world.keys(""));
}

#[test]
fn a_list_is_the_users_own_newest_first_in_pages() {
    let world = world();
    let mut expected = Vec::new();
    for number in 0..120 {
        world.platform.passed_ms.set(1000 * number);
        let turn = say(&world, &json!({"user": "ada", "query": "x"}), "y");
        say(&world, &json!({"user": "adam", "query": "x"}), "y");
        expected.insert(0, session_of(&turn).to_owned());
    }
    world.called_by(Some("ada")).json("POST", "/v1/conversations", &json!({}), 200);
    world.json("DELETE", &format!("/v1/sessions/{}", expected.remove(60)), &Value::Null, 200);
    let ada = world.called_by(Some("ada"));
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = ada.json("GET", &format!("/v1/sessions?limit=7{after}"), &Value::Null, 200);
        let data = page["data"].as_array().unwrap();
        found.extend(data.iter().map(|session| session_of(session).to_owned()));
        if page["has_more"] == false {
            break;
        }
        assert_eq!(data.len(), 7);
        after = format!("&after={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(found, expected);
    let his = say(&world, &json!({"user": "adam", "query": "x"}), "y");
    for cursor in [session_of(&his), "conv_000000000000000000000000", "x"] {
        let error = ada.json("GET", &format!("/v1/sessions?after={cursor}"), &Value::Null, 400);
        assert_eq!(error["error"]["param"], "after", "{cursor}");
    }
}

#[test]
fn a_client_that_goes_away_leaves_the_session_as_it_was() {
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "one"}), "1");
    world.script(streams(vec![bytes(&delta("gone")), Piece::Hangs]));
    let body = json!({"user": "ada", "query": "two", "session": session_of(&first), "stream": true});
    world.stream("/v1/chat", &body, &Client { leaves_after: Some(2), ..Client::default() });
    let read = world.json("GET", &format!("/v1/sessions/{}", session_of(&first)), &Value::Null, 200);
    assert_eq!(read["turns"], 1);
}

/// Messages of a session, by their numbers.
fn numbers(world: &World, session: &str) -> Vec<u64> {
    let read = world.json("GET", &format!("/v1/sessions/{session}?limit=100"), &Value::Null, 200);
    read["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

#[test]
fn what_joins_no_session_keeps_no_turns_from_being_trimmed() {
    let world = world();
    world.set("session_turns_max", "10");
    let first = say(&world, &json!({"user": "ada", "query": "1"}), "answer");
    let session = session_of(&first).to_owned();
    for number in 2..=96 {
        let body = json!({"user": "ada", "query": number.to_string(), "session": session});
        for _ in 0..3 {
            world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
            world.json("POST", "/v1/chat", &body, 504);
        }
        let items = json!({"items": [{"role": "user", "content": "by hand"}]});
        world.json("POST", &format!("/v1/conversations/{session}/items"), &items, 200);
        assert_eq!(say(&world, &body, "answer")["seq"], number);
    }
    let kept = numbers(&world, &session);
    assert_eq!(kept, (87..=96).collect::<Vec<u64>>(), "96 is a multiple of 16");
    let entries = world.keys(&format!("conversation/{}/entry/", session.replace("conv_", ""))).len();
    assert!(entries <= 10 * 5, "{entries} entries of 10 turns");
}

#[test]
fn a_tombstone_that_is_trimmed_takes_no_response_with_it_but_its_own() {
    let world = world();
    world.set("session_turns_max", "10");
    let first = say(&world, &json!({"user": "ada", "query": "1"}), "answer");
    let session = session_of(&first).to_owned();
    let body = |number: u64| json!({"user": "ada", "query": number.to_string(), "session": session});
    for number in 2..=6 {
        say(&world, &body(number), "answer");
    }
    // A turn draws its number and dies: the seventh finds it dead.
    let sequence = format!("conversation/{}/sequence", session.replace("conv_", ""));
    world.store.put(&sequence, b"7");
    let seventh = say(&world, &body(7), "answer");
    assert_eq!(seventh["seq"], 7);
    for number in 8..=16 {
        say(&world, &body(number), "answer");
    }
    assert_eq!(numbers(&world, &session), (7..=16).collect::<Vec<u64>>());
    let path = format!("/v1/responses/{}", seventh["response_id"].as_str().unwrap());
    world.json("GET", &path, &Value::Null, 200);
}

#[test]
fn a_session_of_which_nearly_all_turns_failed_is_read_quickly() {
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "1"}), "answer");
    let session = session_of(&first).to_owned();
    let body = json!({"user": "ada", "query": "x", "session": session});
    for _ in 0..1_000 {
        world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
        world.json("POST", "/v1/chat", &body, 504);
    }
    world.store.operations();
    assert_eq!(numbers(&world, &session), [1]);
    let operations = world.store.operations();
    assert!(operations.len() <= 5, "{operations:?}");
}

#[test]
fn a_session_behind_thousands_of_other_things_is_found() {
    let world = world();
    let first = say(&world, &json!({"user": "ada", "query": "1"}), "answer");
    // As if so much else had been listed and erased since.
    let hash = world.keys("owner/").iter().find_map(|key| key.strip_suffix("/sequence").map(str::to_owned));
    world.store.put(&format!("{}/sequence", hash.unwrap()), b"12000");
    let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        pages += 1;
        let page = world.json("GET", &format!("/v1/sessions?user=ada{after}"), &Value::Null, 200);
        found.extend(page["data"].as_array().unwrap().iter().map(|session| session_of(session).to_owned()));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!((found, pages), (vec![session_of(&first).to_owned()], 3));
}
