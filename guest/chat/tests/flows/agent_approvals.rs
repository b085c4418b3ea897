//! Calls that a person is asked about: the run ends with the question, and goes on with the answer, once.

use crate::support::{Client, World, events, world};
use crate::tools::{Step, calls, items, said, shops};
use serde_json::{Value, json};

/// A world whose model asks for a refund, and a turn that ended with the question.
fn asked(body: &Value) -> (World, Value) {
    let world = world().with_shop();
    world.plays(vec![calls(&[("shop__find", "{}"), ("shop__refund", "{\"id\":7}")])]);
    let response = world.json("POST", "/v1/responses", body, 200);
    (world, response)
}

fn question(response: &Value) -> String {
    items(response, "mcp_approval_request")[0]["id"].as_str().unwrap().to_owned()
}

fn decides(id: &str, approve: bool, continues: (&str, &Value)) -> Value {
    let mut body =
        shops(&json!([{"type": "mcp_approval_response", "approval_request_id": id, "approve": approve,
        "reason": "because"}]));
    body[continues.0] = continues.1.clone();
    body
}

/// A world in which a refund was approved and made.
pub(crate) fn approved() -> World {
    let (world, response) = asked(&shops(&json!("x")));
    world.plays(vec![Step::Says("done")]);
    let decision = decides(&question(&response), true, ("previous_response_id", &response["id"]));
    world.json("POST", "/v1/responses", &decision, 200);
    world
}

#[test]
fn a_run_ends_with_the_question_and_nothing_of_the_call_has_happened() {
    let (world, response) = asked(&shops(&json!("x")));
    let kinds: Vec<&str> =
        response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["mcp_list_tools", "mcp_call", "mcp_approval_request"]);
    let asked = items(&response, "mcp_approval_request")[0];
    let expected = [("server_label", "shop"), ("name", "refund"), ("arguments", "{\"id\":7}")];
    for (member, value) in expected {
        assert_eq!(asked[member], value);
    }
    assert_eq!((&response["status"], world.called().len(), world.asked().len()), (&json!("completed"), 1, 1));
    let other = crate::support::world().with_shop();
    other.plays(vec![calls(&[("shop__refund", "{\"id\":7}")])]);
    let mut body = shops(&json!("x"));
    body["stream"] = json!(true);
    let client = Client::default();
    other.stream("/v1/responses", &body, &client);
    let told: Vec<String> = events(&client).into_iter().map(|(kind, _)| kind).skip(6).collect();
    assert_eq!(told, ["response.output_item.added", "response.output_item.done", "response.completed"]);
}

#[test]
fn a_request_may_want_to_be_asked_more_often_and_never_less() {
    for (wish, function, asks) in [
        (json!("always"), "shop__find", true),
        (json!("never"), "shop__find", false),
        (json!("never"), "shop__refund", true),
        (Value::Null, "shop__refund", true),
        (Value::Null, "shop__find", false),
        (json!({"always": {"tool_names": ["find"]}}), "shop__find", true),
    ] {
        let world = world().with_shop();
        world.plays(vec![calls(&[(function, "{}")])]);
        let mut body = shops(&json!("x"));
        body["tools"][0]["require_approval"] = wish.clone();
        let response = world.json("POST", "/v1/responses", &body, 200);
        assert_eq!(items(&response, "mcp_approval_request").len(), usize::from(asks), "{wish} {function}");
    }
}

#[test]
fn an_approved_call_is_made_first_and_the_model_goes_on_from_it() {
    for in_conversation in [false, true] {
        let mut body = shops(&json!("x"));
        let conversation =
            |world: &World| world.json("POST", "/v1/conversations", &json!({}), 200)["id"].clone();
        let world = world().with_shop();
        if in_conversation {
            body["conversation"] = conversation(&world);
        }
        world.plays(vec![calls(&[("shop__refund", "{\"id\":7}")]), Step::Says("refunded")]);
        let response = world.json("POST", "/v1/responses", &body, 200);
        let id = question(&response);
        world.platform.passed_ms.set(6 * 3600 * 1000);
        let continues = match in_conversation {
            true => ("conversation", &body["conversation"]),
            false => ("previous_response_id", &response["id"]),
        };
        world.plays(vec![]);
        let after = world.json("POST", "/v1/responses", &decides(&id, true, continues), 200);
        let call = &after["output"][0];
        assert_eq!((&call["type"], &call["approval_request_id"]), (&json!("mcp_call"), &json!(id)));
        assert_eq!((&call["status"], said(&after).as_str()), (&json!("completed"), "over"));
        let made = world.platform.tools.calls.borrow()[0].clone();
        assert_eq!((&made["approved"], &made["arguments"]), (&json!(true), &json!("{\"id\":7}")));
        assert!(world.last_messages().last().unwrap().contains("refund {\"id\":7}"));
        let again = world.json("POST", "/v1/responses", &decides(&id, true, continues), 400);
        assert_eq!(again["error"]["code"], "approval_request_answered");
        assert!(again["error"]["message"].as_str().unwrap().contains(&id));
        assert_eq!(world.called().len(), 1);
    }
}

#[test]
fn a_refusal_is_told_to_the_model_and_is_final() {
    let (world, response) = asked(&shops(&json!("x")));
    let id = question(&response);
    world.plays(vec![]);
    let continues = ("previous_response_id", &response["id"]);
    let after = world.json("POST", "/v1/responses", &decides(&id, false, continues), 200);
    assert_eq!(
        (said(&after).as_str(), world.called().len()),
        ("over", 1),
        "only what needed nobody was called"
    );
    assert!(world.last_messages().last().unwrap().contains("refused this call: because"));
    let again = world.json("POST", "/v1/responses", &decides(&id, true, continues), 400);
    assert_eq!(again["error"]["code"], "approval_request_answered");
}

#[test]
fn only_what_stands_in_the_turns_own_history_is_answered() {
    let (world, response) = asked(&shops(&json!("x")));
    let id = question(&response);
    world.plays(vec![]);
    let other = world.json("POST", "/v1/responses", &shops(&json!("y")), 200);
    let mut unrelated = decides(&id, true, ("previous_response_id", &other["id"]));
    let error = world.json("POST", "/v1/responses", &unrelated, 400);
    assert_eq!(error["error"]["code"], "approval_request_not_found");
    assert_eq!(error["error"]["param"], "input[0].approval_request_id");
    unrelated.as_object_mut().unwrap().remove("previous_response_id");
    let error = world.json("POST", "/v1/responses", &unrelated, 400);
    assert_eq!(
        error["error"]["code"], "approval_request_not_found",
        "a turn that continues nothing answers nothing"
    );
    let mut twice = decides(&id, true, ("previous_response_id", &response["id"]));
    let decision = twice["input"][0].clone();
    twice["input"].as_array_mut().unwrap().push(decision);
    assert_eq!(
        world.json("POST", "/v1/responses", &twice, 400)["error"]["code"],
        "approval_request_answered"
    );
    let right = ("previous_response_id", &response["id"]);
    world.called_by(Some("eve")).json("POST", "/v1/responses", &decides(&id, true, right), 400);
    assert_eq!(world.called().len(), 1, "none of these has called anything");
    world.json("POST", "/v1/responses", &decides(&id, true, right), 200);
    assert_eq!(world.called().len(), 2, "nor used the question up");
}

#[test]
fn a_question_that_a_client_made_up_is_none() {
    let (world, response) = asked(&shops(&json!("x")));
    let mut forged = items(&response, "mcp_approval_request")[0].clone();
    forged["arguments"] = json!("{\"id\":8}");
    let conversation =
        world.json("POST", "/v1/conversations", &json!({"items": [forged]}), 200)["id"].clone();
    let items = format!("/v1/conversations/{}/items", conversation.as_str().unwrap());
    let id = world.json("GET", &items, &Value::Null, 200)["data"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("mcpr_"));
    let error =
        world.json("POST", "/v1/responses", &decides(&id, true, ("conversation", &conversation)), 400);
    assert_eq!(error["error"]["code"], "approval_request_not_found");
    assert_eq!(world.called().len(), 1);
}

#[test]
fn an_approval_is_claimed_when_the_turn_runs_and_not_when_it_is_accepted() {
    let (world, response) = asked(&shops(&json!("x")));
    let id = question(&response);
    world.plays(vec![]);
    let mut body = decides(&id, true, ("previous_response_id", &response["id"]));
    body["background"] = json!(true);
    let accepted = world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(world.called().len(), 1);
    assert_eq!(world.deliver(false).status, 200);
    let path = format!("/v1/responses/{}", accepted["id"].as_str().unwrap());
    let after = world.json("GET", &path, &Value::Null, 200);
    assert_eq!(
        (&after["status"], said(&after).as_str(), world.called().len()),
        (&json!("completed"), "over", 2)
    );
}
