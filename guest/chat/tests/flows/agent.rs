//! Turns whose model calls tools of the server: asked again with what came of them, whole and streamed.

use crate::support::{Client, World, asks, events, found, found_nothing, text, world};
use crate::tools::{Does, Step, calls, completion, fails, gives, items, said, shops, tool};
use serde_json::{Value, json};
use std::rc::Rc;
use waggle_model::transport::TransportFailure;

fn shop() -> World {
    world().with_shop()
}

fn respond(world: &World, body: &Value) -> Value {
    world.json("POST", "/v1/responses", body, 200)
}

fn stream(world: &World, body: &Value) -> Vec<(String, Value)> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let client = Client::default();
    world.stream("/v1/responses", &body, &client);
    events(&client)
}

/// The response at the end of a stream, whose events have to lead to it.
fn streamed(world: &World, body: &Value) -> Value {
    let events = stream(world, body);
    for (number, (_, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], json!(number));
    }
    let response = events.last().unwrap().1["response"].clone();
    let told = |kind: &str| -> Vec<(u64, Value)> {
        let told = events.iter().filter(|(known, _)| known == kind);
        told.map(|(_, data)| (data["output_index"].as_u64().unwrap(), data["item"].clone())).collect()
    };
    let output: Vec<(u64, Value)> =
        (0..).zip(response["output"].as_array().unwrap().iter().cloned()).collect();
    let mut done = told("response.output_item.done");
    done.sort_by_key(|(place, _)| *place);
    assert_eq!(done, output);
    let added: Vec<u64> = told("response.output_item.added").into_iter().map(|(place, _)| place).collect();
    assert_eq!(added, (0..output.len() as u64).collect::<Vec<_>>());
    response
}

/// Without ids and times, which differ from turn to turn.
fn plain(response: &Value) -> Value {
    let mut output = response["output"].clone();
    for item in output.as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("id");
    }
    json!([output, response["usage"], response["status"], response["metadata"]])
}

#[test]
fn a_model_that_calls_a_tool_is_told_what_came_of_it_and_answers() {
    let plan = || vec![Step::SaysAndCalls("let me see", vec![("shop__find", r#"{"id":7}"#.to_owned())])];
    let body = shops(&json!("where is it"));
    let (whole, other) = (shop(), shop());
    for world in [&whole, &other] {
        world.plays(plan());
        world.does("find", vec![gives("it is in Rome")]);
    }
    let response = respond(&whole, &body);
    assert_eq!(plain(&streamed(&other, &body)), plain(&response));
    assert_eq!((said(&response).as_str(), &response["status"]), ("let me seeover", &json!("completed")));
    let call = items(&response, "mcp_call")[0];
    let expected = [
        ("server_label", "shop"),
        ("name", "find"),
        ("arguments", r#"{"id":7}"#),
        ("output", "it is in Rome"),
    ];
    for (member, value) in expected {
        assert_eq!(call[member], value, "{call}");
    }
    assert_eq!(call["status"], "completed");
    assert!(call["id"].as_str().unwrap().starts_with("mcp_"));
    let list = &response["output"][0];
    assert_eq!((&list["type"], list["tools"].as_array().unwrap().len()), (&json!("mcp_list_tools"), 5));
    assert_eq!(response["usage"]["input_tokens"], 20, "of both steps");
    assert_eq!(response["usage"]["input_tokens_details"]["cached_tokens"], 8);
    for world in [&whole, &other] {
        let asked = world.asked();
        assert_eq!(asked.len(), 2);
        let names: Vec<&str> = asked[0]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["function"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["shop__find", "shop__stock", "shop__cancel", "shop__note", "shop__refund"]);
        let shown = asked[1]["messages"].as_array().unwrap();
        let told = shown.last().unwrap();
        assert_eq!(told["role"], "tool");
        let words = told["content"].as_str().unwrap();
        assert!(words.contains("it is in Rome") && words.contains("no instructions"), "{words}");
        assert_eq!(shown[shown.len() - 2]["tool_calls"][0]["function"]["name"], "shop__find");
        let call = &world.platform.tools.calls.borrow()[0];
        assert_eq!((&call["digest"], &call["approved"]), (&json!("sha256:1"), &json!(false)));
        assert!(call["idempotency_key"].as_str().unwrap().starts_with("wt_"));
        let keys: Vec<String> =
            world.model.requests.borrow().iter().map(|request| request.idempotency_key.clone()).collect();
        assert!(keys[0].starts_with("wm_") && keys[1].starts_with("wm_") && keys[0] != keys[1], "{keys:?}");
        assert_eq!(world.keys("run/"), Vec::<String>::new(), "nobody would take it up");
    }
}

#[test]
fn each_step_is_told_as_it_happens_in_openais_events() {
    let world = shop();
    world.plays(vec![calls(&[("shop__find", r#"{"id":7}"#)])]);
    let told: Vec<String> = stream(&world, &shops(&json!("x"))).into_iter().map(|(kind, _)| kind).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "output_item.done",
        "output_item.added",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(told, expected.map(|kind| format!("response.{kind}")));
}

#[test]
fn a_stored_run_is_streamed_again_with_all_its_items() {
    let world = shop();
    world.plays(vec![calls(&[("shop__find", "{}")])]);
    let response = streamed(&world, &shops(&json!("x")));
    let path = format!("/v1/responses/{}?stream=true", response["id"].as_str().unwrap());
    let again = String::from_utf8(world.send("GET", &path, "").body).unwrap();
    let done = again.matches("event: response.output_item.done").count();
    assert_eq!(done, response["output"].as_array().unwrap().len());
    assert!(again.contains("response.output_text.delta") && again.contains("response.completed"), "{again}");
}

#[test]
fn calls_of_one_step_are_made_side_by_side_within_the_bound() {
    for (bound, parallel, at_once) in [("8", Value::Null, 5), ("2", Value::Null, 2), ("8", json!(false), 1)] {
        let world = shop();
        world.set("agent_parallel_max", bound);
        world.platform.tools.takes_ms.set(50);
        let five: Vec<(&'static str, String)> =
            (0..5).map(|number| ("shop__find", format!("{{\"id\":{number}}}"))).collect();
        world.plays(vec![Step::Calls(five)]);
        let mut body = shops(&json!("x"));
        body["parallel_tool_calls"] = parallel;
        let response = streamed(&world, &body);
        assert_eq!(world.platform.tools.at_once.get(), (0, at_once), "{bound}");
        let outputs: Vec<&str> =
            items(&response, "mcp_call").iter().map(|call| call["output"].as_str().unwrap()).collect();
        let expected: Vec<String> = (0..5).map(|number| format!("find {{\"id\":{number}}}")).collect();
        assert_eq!(outputs, expected, "in the order in which the model asked");
        let shown = world.asked()[1]["messages"].clone();
        let calling = shown.as_array().unwrap().iter().filter(|message| message["tool_calls"].is_array());
        assert_eq!(calling.count(), 1, "one message asked for all of them");
    }
}

#[test]
fn whatever_becomes_of_a_call_is_told_to_the_model() {
    let cut = || TransportFailure::Cut("there".to_owned());
    for (function, does, status, words) in [
        ("find", fails("failed", "no such order"), "failed", "no such order"),
        ("find", fails("timed_out", "too slow"), "failed", "too slow"),
        ("find", Does::Answers(404, json!({"error": {"message": "It is gone."}})), "failed", "It is gone."),
        ("find", Does::Answers(429, json!(null)), "failed", "busy"),
        ("find", Does::Answers(500, json!(null)), "failed", "failed"),
        ("find", Does::Answers(200, json!({"no": "reply"})), "failed", "could not be read"),
        (
            "find",
            Does::Fails(TransportFailure::Unreachable("there".to_owned())),
            "failed",
            "cannot be reached",
        ),
        ("find", Does::Fails(cut()), "failed", "cut off"),
        ("note", Does::Fails(cut()), "failed", "cut off"),
        ("cancel", Does::Fails(cut()), "failed", "unknown"),
        ("cancel", Does::Fails(TransportFailure::Denied("no".to_owned())), "failed", "cannot be reached"),
    ] {
        let world = shop();
        world.does(function, vec![does.clone()]);
        let name =
            ["shop__find", "shop__note", "shop__cancel"].into_iter().find(|name| name.ends_with(function));
        world.plays(vec![calls(&[(name.unwrap(), "{}")])]);
        let response = respond(&world, &shops(&json!("x")));
        let call = items(&response, "mcp_call")[0];
        assert_eq!((&call["status"], call.get("output")), (&json!(status), None), "{does:?}");
        assert!(call["error"].to_string().contains(words), "{does:?} {call}");
        assert!(world.last_messages().last().unwrap().contains(words), "{does:?}");
        assert_eq!((said(&response).as_str(), &response["status"]), ("over", &json!("completed")));
    }
}

#[test]
fn what_cannot_be_called_is_an_observation_and_nothing_is_called() {
    let (deep, long) =
        (format!("{}{}", "[".repeat(40), "]".repeat(40)), format!("\"{}\"", "x".repeat(70_000)));
    for (name, arguments, words) in [
        ("shop__destroy", "{}".to_owned(), "There is no tool"),
        ("nothing", "{}".to_owned(), "There is no tool"),
        ("shop__find", deep, "nested"),
        ("shop__find", long, "bytes"),
    ] {
        let world = shop();
        world.plays(vec![Step::Calls(vec![(name, arguments)])]);
        let response = respond(&world, &shops(&json!("x")));
        assert_eq!(items(&response, "mcp_call")[0]["status"], "failed");
        assert!(world.last_messages().last().unwrap().contains(words), "{name}");
        assert_eq!((world.called(), said(&response).as_str()), (vec![], "over"));
    }
    let world = shop();
    world.plays(vec![calls(&[("shop__find", ""), ("shop__stock", "no JSON")])]);
    respond(&world, &shops(&json!("x")));
    let called = [("find", "{}"), ("stock", "no JSON")];
    assert_eq!(world.called(), called.map(|(name, arguments)| (name.to_owned(), arguments.to_owned())));
}

#[test]
fn the_clients_own_functions_are_left_to_it_when_the_servers_are_done() {
    let world = shop();
    world.plays(vec![calls(&[("mine", "{\"a\":1}"), ("shop__find", "{}")])]);
    let mut body = shops(&json!("x"));
    body["tools"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "function", "name": "mine", "parameters": {"type": "object"}}));
    let response = streamed(&world, &body);
    assert_eq!(world.asked().len(), 1);
    let kinds: Vec<&str> =
        response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["mcp_list_tools", "function_call", "mcp_call"]);
    assert_eq!(
        (&response["status"], &response["output"][2]["status"]),
        (&json!("completed"), &json!("completed"))
    );
    let mut next =
        shops(&json!([{"type": "function_call_output", "call_id": "call_0", "output": "mine says so"}]));
    next["previous_response_id"] = response["id"].clone();
    next["tools"].as_array_mut().unwrap().push(body["tools"][1].clone());
    world.script(crate::support::says("done"));
    let response = respond(&world, &next);
    assert_eq!(text(&response), "done", "the list was told in the turn before");
    let shown = world.asked()[1]["messages"].to_string();
    assert!(shown.contains("mine says so") && shown.contains("find {}"), "{shown}");
}

#[test]
fn a_turn_without_a_servers_tools_asks_for_no_catalogue() {
    let world = shop();
    world.turn(&json!({"input": "x", "tools": [{"type": "function", "name": "f"}]}), "y");
    assert_eq!((world.platform.tools.catalogues.borrow().len(), world.keys("run/").len()), (0, 0));
}

#[test]
fn a_tenants_tools_are_those_of_turns_that_name_none() {
    let world = shop();
    world.set("tools", "shop.find, waggle.calculator");
    world.plays(vec![calls(&[("calculator", "{}")])]);
    let response = streamed(&world, &json!({"input": "x"}));
    let kinds: Vec<&str> =
        response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["mcp_call", "message"], "who names none is shown no list");
    assert_eq!(world.called()[0].0, "calculator");
    let mut own = json!({"input": "x", "tools": [{"type": "function", "name": "calculator"}]});
    world.script(completion(&json!({}), "", &[("calculator", "{}".to_owned())]));
    assert_eq!(
        items(&respond(&world, &own), "function_call").len(),
        1,
        "the client's own goes before the tenant's"
    );
    own["tools"][0] = json!({"type": "mcp", "server_label": "shop"});
    world.script(crate::support::says("y"));
    respond(&world, &own);
    assert_eq!(
        world.platform.tools.catalogues.borrow().last().unwrap()["select"],
        json!([{"label": "shop"}])
    );
    world.set("tools", "gone");
    world.turn(&json!({"input": "x"}), "y");
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("'gone'")));
}

#[test]
fn a_session_has_the_tenants_tools() {
    let world = shop();
    world.set("tools", "shop");
    world.plays(vec![calls(&[("shop__find", "{}")])]);
    let answer = world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "x"}), 200);
    assert_eq!((&answer["answer"], world.called().len()), (&json!("over"), 1));
    let body = json!({"user": "ada", "query": "again", "session": answer["session"], "stream": true});
    let reply = world.exchange("/v1/chat", &body, None);
    let stream = String::from_utf8(reply.body).unwrap();
    assert!(stream.contains("\"answer\":\"over\"") && !stream.contains("mcp"), "{stream}");
    assert_eq!(world.called().len(), 2);
    assert!(world.platform.tools.calls.borrow()[1]["conversation"].as_str().unwrap().starts_with("conv_"));
}

#[test]
fn what_a_request_names_must_be_there_and_be_its_own() {
    for (tools, status, code) in [
        (json!([{"type": "mcp", "server_label": "none"}]), 400, "tool_not_found"),
        (
            json!([{"type": "mcp", "server_label": "x", "server_url": "https://other.example/mcp"}]),
            400,
            "tool_not_found",
        ),
        (
            json!([{"type": "mcp", "server_label": "shop"}, {"type": "function", "name": "shop__find"}]),
            400,
            "invalid_value",
        ),
    ] {
        let world = shop();
        let error = world.json("POST", "/v1/responses", &json!({"input": "x", "tools": tools}), status);
        assert_eq!(error["error"]["code"], code, "{tools}");
        assert_eq!(error["error"]["param"], "tools");
    }
    let world = shop();
    let by_address = json!([{"type": "mcp", "server_label": "mine", "server_url": "https://shop.example/mcp",
        "allowed_tools": ["find"]}]);
    world.plays(vec![calls(&[("shop__find", "{}")])]);
    let response = respond(&world, &json!({"input": "x", "tools": by_address}));
    let call = items(&response, "mcp_call")[0];
    assert_eq!((&call["server_label"], &call["name"]), (&json!("mine"), &json!("find")));
    assert_eq!(world.platform.tools.calls.borrow()[0]["label"], "shop");
    assert_eq!(world.asked()[0]["tools"].as_array().unwrap().len(), 1);
}

#[test]
fn a_tools_function_that_does_not_answer_is_an_error_before_the_model_is_asked() {
    let failing = |does: Does, tools: &str, status: u16, code: &str| {
        let world = shop();
        world.set("tools", tools);
        *world.platform.tools.fails.borrow_mut() = Some(does);
        let body = if tools.is_empty() { shops(&json!("x")) } else { json!({"input": "x"}) };
        let error = world.json("POST", "/v1/responses", &body, status);
        assert_eq!(error["error"]["code"], code);
        assert!(world.asked().is_empty());
    };
    let at = || "there".to_owned();
    for tools in ["", "shop"] {
        failing(Does::Fails(TransportFailure::TimedOut(at())), tools, 504, "tools_timeout");
        failing(Does::Fails(TransportFailure::Busy(at())), tools, 503, "tools_unavailable");
        failing(Does::Fails(TransportFailure::Unreachable(at())), tools, 502, "tools_unreachable");
        failing(Does::Answers(503, json!(null)), tools, 503, "tools_unavailable");
        failing(Does::Answers(200, json!("no")), tools, 502, "tools_failed");
    }
    failing(Does::Fails(TransportFailure::Denied(at())), "", 400, "unsupported_parameter");
    failing(Does::Answers(400, json!({"error": {"message": "No."}})), "", 400, "invalid_value");
    failing(Does::Answers(400, json!({"error": {"message": "No."}})), "shop", 500, "internal_error");
    let world = shop();
    world.set("tools", "no name");
    assert_eq!(
        world.json("POST", "/v1/responses", &json!({"input": "x"}), 500)["error"]["code"],
        "internal_error"
    );
}

#[test]
fn a_forced_choice_holds_for_the_first_step_alone() {
    for (choice, first) in [
        (json!("required"), json!("required")),
        (
            json!({"type": "mcp", "server_label": "shop", "name": "find"}),
            json!({"type": "function", "function": {"name": "shop__find"}}),
        ),
        (json!({"type": "mcp", "server_label": "shop"}), json!("required")),
    ] {
        let world = shop();
        world.plays(vec![calls(&[("shop__find", "{}")])]);
        let mut body = shops(&json!("x"));
        body["tool_choice"] = choice.clone();
        respond(&world, &body);
        let asked = world.asked();
        assert_eq!((&asked[0]["tool_choice"], asked[1].get("tool_choice")), (&first, None), "{choice}");
    }
}

#[test]
fn a_model_that_fails_later_leaves_what_was_done() {
    let down = || Step::Fails(TransportFailure::Unreachable("there".to_owned()));
    for (function, fallback, status) in [
        ("shop__find", "text", "completed"),
        ("shop__cancel", "text", "failed"),
        ("shop__find", "error", "failed"),
    ] {
        for is_streamed in [false, true] {
            let world = shop();
            world.set("fallback", fallback);
            world.plays(vec![calls(&[(function, "{}")]), down()]);
            let conversation = world.json("POST", "/v1/conversations", &json!({}), 200)["id"].clone();
            let mut body = shops(&json!("x"));
            body["conversation"] = conversation.clone();
            let response = if is_streamed { streamed(&world, &body) } else { respond(&world, &body) };
            assert_eq!(response["status"], status, "{function} {fallback}");
            assert_eq!(items(&response, "mcp_call")[0]["status"], "completed");
            assert_eq!(response["usage"]["input_tokens"], 10, "of the step that was made");
            let items = format!("/v1/conversations/{}/items", conversation.as_str().unwrap());
            let kept = world.json("GET", &items, &Value::Null, 200)["data"].as_array().unwrap().len();
            let joins = status == "completed" || function == "shop__cancel";
            assert_eq!(kept > 0, joins, "the next turn knows of what was changed");
        }
    }
    let world = shop();
    world.plays(vec![down()]);
    let error = world.json("POST", "/v1/responses", &shops(&json!("x")), 502);
    assert!(error["error"]["code"].is_string(), "nothing was done: it is an error as of any turn");
}

#[test]
fn a_person_who_takes_over_ends_the_turn() {
    let world = shop();
    let handed = json!({"output": "handed over", "attempts": 1, "duration_ms": 1, "handed_over": true});
    world.does("find", vec![Does::Answers(200, handed)]);
    world.plays(vec![Step::SaysAndCalls("One moment.", vec![("shop__find", "{}".to_owned())])]);
    let response = respond(&world, &shops(&json!("a human please")));
    assert_eq!((world.asked().len(), said(&response).as_str()), (1, "One moment."));
    assert_eq!(
        (&response["status"], &response["metadata"]["waggle_answer"]),
        (&json!("completed"), &json!("handover"))
    );
}

#[test]
fn what_was_looked_up_goes_together_with_tools() {
    for (result, told) in [(found(), true), (found_nothing(false), false)] {
        let world = shop();
        world.finds(&result);
        world.plays(vec![calls(&[("shop__find", "{}")])]);
        let mut body = asks("when do you open");
        body["tools"].as_array_mut().unwrap().push(json!({"type": "mcp", "server_label": "shop"}));
        let response = streamed(&world, &body);
        let kinds: Vec<&str> = response["output"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["file_search_call", "mcp_list_tools", "mcp_call", "message"]);
        for asked in world.asked() {
            assert_eq!(asked.to_string().contains("We open at nine."), told, "in each step");
        }
        assert_eq!(world.platform.tools.calls.borrow()[0]["vector_store_ids"], json!(["vs_1"]));
        assert_eq!(world.looked_up("/v1/retrieval/search").len(), 1);
    }
}

#[test]
fn a_model_that_is_asked_by_responses_calls_tools_as_well() {
    let answer = |output: &Value| {
        json!({"id": "r", "object": "response", "status": "completed", "model": "sim", "output": output,
            "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15}})
    };
    let world = shop();
    world.set("responses_models", "*");
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"});
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "shop__find", "arguments": "{\"id\":1}", "status": "completed"});
    let message = json!({"type": "message", "id": "m", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "over", "annotations": []}]});
    for output in [json!([thought, call]), json!([message])] {
        world.script(crate::support::answers(200, "application/json", &answer(&output).to_string()));
    }
    let response = respond(&world, &shops(&json!("x")));
    assert_eq!((said(&response).as_str(), items(&response, "mcp_call").len()), ("over", 1));
    assert_eq!(response["usage"]["output_tokens_details"]["reasoning_tokens"], 4);
    let shown = world.asked()[1]["input"].clone();
    let kinds: Vec<&str> =
        shown.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "reasoning", "function_call", "function_call_output"]);
}

#[test]
fn an_answer_is_held_to_its_form_by_its_last_step() {
    let world = shop();
    world.plays(vec![
        Step::SaysAndCalls("one moment", vec![("shop__find", "{}".to_owned())]),
        Step::Says("{\"a\":1}"),
    ]);
    let mut body = shops(&json!("x"));
    body["text"] = json!({"format": {"type": "json_object"}});
    assert_eq!(respond(&world, &body)["status"], "completed");
}

#[test]
fn a_client_that_leaves_ends_the_run_and_what_was_not_waited_for_is_said_so() {
    for (function, words) in [("cancel", "unknown"), ("find", "ended before")] {
        let world = shop();
        world.does(function, vec![Does::Hangs]);
        let name = if function == "find" { "shop__find" } else { "shop__cancel" };
        world.plays(vec![calls(&[(name, "{}")])]);
        let mut body = shops(&json!("x"));
        body["stream"] = json!(true);
        let client = Client { leaves_after: Some(6), ..Client::default() };
        world.stream("/v1/responses", &body, &client);
        let created = events(&client)[0].1["response"]["id"].as_str().unwrap().to_owned();
        let response = world.json("GET", &format!("/v1/responses/{created}"), &Value::Null, 200);
        assert_eq!(response["status"], "cancelled");
        assert!(items(&response, "mcp_call")[0]["error"].to_string().contains(words), "{response}");
    }
}

#[test]
fn a_tool_that_is_slow_keeps_its_stream_alive() {
    let world = shop();
    world.platform.tools.takes_ms.set(25_000);
    world.plays(vec![calls(&[("shop__find", "{}")])]);
    let mut body = shops(&json!("x"));
    body["stream"] = json!(true);
    let client = Client::default();
    world.stream("/v1/responses", &body, &client);
    let silent = client.writes.borrow().iter().filter(|write| *write == ":\n\n").count();
    assert!(silent >= 1, "{silent}");
    assert_eq!(events(&client).last().unwrap().0, "response.completed");
}

#[test]
fn more_tools_than_a_turn_may_have_are_cut_and_each_keeps_its_name() {
    let world = shop();
    let many = (0..200).map(|number| tool(&format!("f{number}"), &json!({}))).collect();
    *world.platform.tools.offered.borrow_mut() = many;
    world.script(crate::support::says("y"));
    respond(&world, &shops(&json!("x")));
    assert_eq!(world.asked()[0]["tools"].as_array().unwrap().len(), 128);
}

#[test]
fn a_model_that_calls_too_much_at_once_fails_with_a_reason() {
    let world = shop();
    let many: Rc<Vec<(&'static str, String)>> =
        Rc::new((0..100).map(|number| ("shop__find", format!("{{\"id\":{number}}}"))).collect());
    let acts = Rc::clone(&many);
    *world.model.acts.borrow_mut() = Some(Rc::new(move |request: &Value| completion(request, "", &acts)));
    let error = world.json("POST", "/v1/responses", &shops(&json!("x")), 502);
    assert!(error["error"]["message"].is_string());
    assert_eq!(world.called(), vec![]);
}
