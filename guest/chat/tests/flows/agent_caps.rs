//! How far a run goes: steps, calls, time, tokens, money, and the same call again and again.

use crate::support::{World, world};
use crate::tools::{Step, calls, completion, items, said, shops};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;

/// A world whose model calls in each step as long as it may, each time something else.
fn restless() -> World {
    let world = world().with_shop();
    let count = Rc::new(Cell::new(0));
    let acts = move |request: &Value| {
        if request["tool_choice"] == "none" {
            return completion(request, "enough", &[]);
        }
        count.set(count.get() + 1);
        completion(request, "", &[("shop__find", format!("{{\"id\":{}}}", count.get()))])
    };
    *world.model.acts.borrow_mut() = Some(Rc::new(acts));
    world
}

/// A run that a bound ends: after so many steps, with so many calls.
fn check(world: &World, body: &Value, stop: &str, steps: usize, made: usize) {
    let response = world.json("POST", "/v1/responses", body, 200);
    assert_eq!(response["metadata"]["waggle_agent_stop"], stop, "{response}");
    assert_eq!((said(&response).as_str(), &response["status"]), ("enough", &json!("completed")));
    assert_eq!((world.asked().len(), world.called().len()), (steps, made), "{stop}");
    let last = world.asked().pop().unwrap();
    assert!(last["tools"].is_array(), "what was called is still told");
    let told = last["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(told["role"], "system");
    assert!(
        told["content"].as_str().unwrap().contains("no more tools")
            || told["content"].as_str().unwrap().contains("No more tools")
    );
    let id = response["id"].as_str().unwrap();
    let kept = world.json("GET", &format!("/v1/responses/{id}"), &Value::Null, 200);
    assert!(
        !kept["output"].to_string().contains("more tools can be called. Answer"),
        "the note is nobody's item"
    );
}

#[test]
fn each_bound_ends_a_run_with_an_answer() {
    let body = shops(&json!("x"));
    check(&restless(), &body, "steps", 10, 9);
    let bounded = |name, value: &str| {
        let world = restless();
        world.set(name, value);
        world
    };
    check(&bounded("agent_steps_max", "1"), &body, "steps", 1, 0);
    check(&bounded("agent_steps_max", "3"), &body, "steps", 3, 2);
    check(&bounded("agent_tool_calls_max", "2"), &body, "tool_calls", 3, 2);
    check(&bounded("agent_tool_calls_max", "0"), &body, "tool_calls", 1, 0);
    // Each step takes 15 tokens.
    check(&bounded("agent_tokens_max", "31"), &body, "tokens", 4, 3);
    let mut lower = body.clone();
    lower["max_tool_calls"] = json!(1);
    check(&bounded("agent_tool_calls_max", "5"), &lower, "tool_calls", 2, 1);
    let dear = bounded("agent_cost_max", "0.00005");
    // 6 fresh, 4 cached and 5 written tokens: 6 + 2 + 10 millionths.
    dear.model.price.set(Some("input=1000000; cached=500000; output=2000000"));
    check(&dear, &body, "cost", 4, 3);
    let slow = bounded("agent_time_ms_max", "1000");
    slow.platform.tools.takes_ms.set(600);
    check(&slow, &body, "time", 3, 2);
    let whole = bounded("agent_time_ms_max", "3600000");
    whole.platform.tools.takes_ms.set(60_000);
    check(&whole, &body, "time", 3, 2);
}

#[test]
fn calls_beyond_the_bound_are_not_made_and_said_so() {
    let world = world().with_shop();
    world.set("agent_tool_calls_max", "3");
    let many = (0..10).map(|number| ("shop__find", format!("{{\"id\":{number}}}"))).collect();
    world.plays(vec![Step::Calls(many)]);
    let response = world.json("POST", "/v1/responses", &shops(&json!("x")), 200);
    let made = items(&response, "mcp_call");
    let failed: Vec<bool> = made.iter().map(|call| call["status"] == "failed").collect();
    assert_eq!(failed, [vec![false; 3], vec![true; 7]].concat());
    assert!(made[3]["error"].to_string().contains("used up"), "{}", made[3]);
    assert_eq!((world.called().len(), said(&response).as_str()), (3, "over"));
}

#[test]
fn the_same_call_is_made_twice_refused_once_and_then_it_is_over() {
    let world = world().with_shop();
    let acts = |request: &Value| match request["tool_choice"] == "none" {
        true => completion(request, "enough", &[]),
        false => completion(request, "", &[("shop__find", "{\"a\": 1, \"b\": 2}".to_owned())]),
    };
    *world.model.acts.borrow_mut() = Some(Rc::new(acts));
    check(&world, &shops(&json!("x")), "repeated", 5, 2);
    let other = crate::support::world().with_shop();
    other.plays(vec![
        calls(&[("shop__find", "{\"a\":1,\"b\":2}")]),
        calls(&[("shop__find", "{\"b\":2,\"a\":1}")]),
        calls(&[("shop__find", "{\"a\":1, \"b\":2}")]),
        calls(&[("shop__stock", "{}")]),
    ]);
    let response = other.json("POST", "/v1/responses", &shops(&json!("x")), 200);
    assert_eq!((other.called().len(), said(&response).as_str()), (3, "over"), "who learns from it goes on");
    assert_eq!(response["metadata"].get("waggle_agent_stop"), None);
}

#[test]
fn a_model_that_calls_where_it_may_not_calls_nothing() {
    let world = world().with_shop();
    world.set("agent_steps_max", "2");
    let count = Cell::new(0);
    let acts = move |request: &Value| {
        count.set(count.get() + 1);
        completion(request, "", &[("shop__find", format!("{{\"id\":{}}}", count.get()))])
    };
    *world.model.acts.borrow_mut() = Some(Rc::new(acts));
    let response = world.json("POST", "/v1/responses", &shops(&json!("x")), 200);
    assert_eq!((world.asked().len(), world.called().len()), (2, 1));
    assert_eq!((&response["status"], items(&response, "mcp_call").len()), (&json!("completed"), 2));
    assert_eq!(response["metadata"]["waggle_agent_stop"], "steps");
}

#[test]
fn a_bound_that_is_none_is_told_to_the_operator() {
    for (name, value) in [("agent_steps_max", "many"), ("agent_cost_max", "-1"), ("agent_time_ms_max", "1.5")]
    {
        let world = world().with_shop();
        world.set(name, value);
        world.json("POST", "/v1/responses", &shops(&json!("x")), 500);
        assert!(world.platform.lines.borrow().iter().any(|line| line.contains(name)), "{name}");
        world.turn(&json!({"input": "x"}), "a turn without tools does not read it");
    }
}
