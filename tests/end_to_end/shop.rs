//! The example in `examples/shop`, set up by its own script: documents, orders, an approval, people.

use crate::receiver::Receiver;
use crate::support::{Server, Setup, root, wait_until};
use crate::tenants_support::{Caller, Model, key_in, state_of};
use order_service::{Config, Running, Status};
use serde_json::{Value, json};
use std::process::Command;

struct Shop {
    server: Server,
    model: Model,
    orders: Running,
    desk: Receiver,
    caller: Caller,
}

impl Shop {
    async fn open() -> Self {
        let setup = Setup::application().args(&["--variable", "model=sim"]);
        let journal = setup.folder().join("orders.jsonl");
        let config = Config { journal: Some(journal), api_key: Some("orders-key".to_owned()) };
        let orders = order_service::start("127.0.0.1:0", config).await.unwrap();
        let desk = Receiver::start(r#"{"reference":"desk-1"}"#);
        let model = Model::start().await;
        let server = model.serve(setup).start();
        let key = set_up(&server, &orders, &desk).await;
        let caller = Caller::with(&server, &key);
        Self { server, model, orders, desk, caller }
    }

    /// A turn of the conversation.
    async fn say(&self, conversation: &str, input: Value) -> Value {
        let answer =
            self.caller.post("/v1/responses", &json!({"conversation": conversation, "input": input})).await;
        assert_eq!(answer.status, 200, "{input}: {} {}", answer.text, self.server.output());
        assert_eq!(answer.json()["status"], "completed", "{input}: {}", answer.text);
        answer.json()
    }
}

/// Runs the example's script; the key it made.
async fn set_up(server: &Server, orders: &Running, desk: &Receiver) -> String {
    let mut script = Command::new(root().join("examples/shop/setup.sh"));
    let variables = [
        ("WAGGLE", env!("CARGO_BIN_EXE_waggle").to_owned()),
        ("WAGGLE_URL", server.url("")),
        ("ORDERS_URL", orders.url()),
        ("DESK_URL", desk.url.clone()),
        ("STATE_DIR", state_of(&server.setup).to_str().unwrap().to_owned()),
    ];
    script.envs(variables);
    // The order service runs in this process.
    let output = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}\n{}", server.output());
    key_in(&out)
}

/// The items of the output of that type.
fn items<'a>(response: &'a Value, kind: &str) -> Vec<&'a Value> {
    response["output"].as_array().unwrap().iter().filter(|item| item["type"] == kind).collect()
}

/// What was said last.
fn said(response: &Value) -> String {
    let messages = items(response, "message");
    let message = messages.last().unwrap_or_else(|| panic!("nothing was said: {response:#}"));
    message["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_served_from_documents_to_people() {
    let shop = Shop::open().await;
    let conversation = shop.caller.conversation().await;
    let conversation = conversation.as_str();

    let from_documents = shop.say(conversation, json!("How long may I return something?")).await;
    assert!(said(&from_documents).contains("30 days"), "{from_documents:#}");
    let message = items(&from_documents, "message").pop().unwrap().clone();
    let cited = &message["content"][0]["annotations"][0];
    assert_eq!(cited["type"], "file_citation", "{from_documents:#}");

    let looked_up = shop.say(conversation, json!("Where is my order 1001?")).await;
    let call = items(&looked_up, "mcp_call").pop().unwrap().clone();
    assert_eq!((&call["server_label"], &call["name"]), (&json!("orders"), &json!("getOrder")), "{call:#}");
    assert!(said(&looked_up).contains("1001 is processing"), "{looked_up:#}");

    let asked = shop.say(conversation, json!("Please cancel order 1001.")).await;
    let request = items(&asked, "mcp_approval_request").pop().unwrap_or_else(|| panic!("{asked:#}")).clone();
    assert_eq!(request["name"], "cancelOrder");
    assert!(shop.orders.stats().effects.is_empty(), "nothing happens before it is approved");
    let approval =
        json!([{"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": true}]);
    let cancelled = shop.say(conversation, approval.clone()).await;
    assert!(said(&cancelled).contains("1001 is cancelled"), "{cancelled:#}");
    assert_eq!(shop.orders.order("1001").unwrap().status, Status::Cancelled);
    let effects = shop.orders.stats().effects;
    assert!(effects.len() == 1 && effects[0].key.is_some(), "{effects:?}");
    let body = json!({"conversation": conversation, "input": approval});
    assert_eq!(shop.caller.post("/v1/responses", &body).await.status, 400, "it is approved once");

    handed_over(&shop, conversation).await;
    keeps_its_secrets(&shop);
}

/// People are told, the bot is silent, and it is back when they hand the conversation back.
async fn handed_over(shop: &Shop, conversation: &str) {
    shop.say(conversation, json!("I want to talk to a human.")).await;
    wait_until("the desk to be told", || !shop.desk.received().is_empty());
    let told = shop.desk.received().remove(0);
    assert_eq!(told.line, "POST /handovers");
    assert_eq!(told.field("x-desk-key"), Some("desk-key"));
    assert!(told.field("webhook-id").unwrap().starts_with("handover-"), "{told:?}");
    assert_eq!(told.body["type"], "waggle.conversation.handed_over", "{:#}", told.body);
    let transcript = told.body["data"]["transcript"]["lines"].as_array().unwrap();
    assert_eq!(transcript[0]["text"], "How long may I return something?");

    let path = format!("/v1/conversations/{conversation}/handover");
    let mark = || async { shop.caller.get(&path).await.json() };
    crate::tenants_support::in_force("what the desk calls it", async || {
        mark().await["reference"] == "desk-1"
    })
    .await;
    let asked = shop.model.0.handle().stats().requests;
    let silent = shop.say(conversation, json!("Hello?")).await;
    assert_eq!(
        (&silent["output"], &silent["metadata"]["waggle_answer"]),
        (&json!([]), &json!("handed_over"))
    );
    assert_eq!(shop.model.0.handle().stats().requests, asked, "no model is asked");

    let items = json!({"items": [{"role": "assistant", "content": "Bo from the shop here. Done!"}]});
    let added = shop.caller.post(&format!("/v1/conversations/{conversation}/items"), &items).await;
    assert_eq!(added.status, 200, "{}", added.text);
    let back = shop.caller.request("DELETE", &path).send().await.unwrap();
    assert_eq!(back.status(), 200);
    let again = shop.say(conversation, json!("Thanks. Where is order 1004?")).await;
    assert!(said(&again).contains("1004 is processing"), "{again:#}");
    assert_eq!(shop.desk.received().len(), 1, "people are told once");
}

/// Neither the model nor a log line has seen a key.
fn keeps_its_secrets(shop: &Shop) {
    for request in shop.model.0.handle().requests() {
        let text = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
        assert!(!text.contains("orders-key") && !text.contains("desk-key"), "{text}");
    }
    let output = shop.server.output();
    assert!(!output.contains("orders-key") && !output.contains("desk-key"), "{output}");
}
