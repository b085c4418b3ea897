//! The service over real sockets, and again after its end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use order_service::{Config, Running, Status, start};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use std::path::Path;

async fn started(journal: Option<&Path>) -> Running {
    // The client has TLS where other crates of the workspace want it, and then asks for this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config { journal: journal.map(Path::to_owned), api_key: Some("k".to_owned()) };
    start("127.0.0.1:0", config).await.unwrap()
}

async fn post(running: &Running, path: &str, body: &Value, key: Option<&str>) -> Response {
    let request = Client::new().post(format!("{}{path}", running.url())).header("x-api-key", "k");
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    request.json(body).send().await.unwrap()
}

async fn get(running: &Running, path: &str) -> Response {
    Client::new().get(format!("{}{path}", running.url())).header("x-api-key", "k").send().await.unwrap()
}

#[tokio::test]
async fn orders_are_shown_to_whoever_has_the_key() {
    let running = started(None).await;
    let order: Value = get(&running, "/orders/1001").await.json().await.unwrap();
    assert_eq!((&order["status"], &order["total"]), (&json!("processing"), &json!("49.90 EUR")));
    let of_ada: Value = get(&running, "/orders?email=ada%40example.com").await.json().await.unwrap();
    assert_eq!(of_ada["orders"].as_array().unwrap().len(), 2);
    for wrong in ["/orders", "/orders?email=", "/orders?email=%4"] {
        assert_eq!(get(&running, wrong).await.status(), 400, "{wrong}");
    }
    let unknown = get(&running, "/orders/9999").await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.json::<Value>().await.unwrap()["error"]["code"], "order_not_found");
    let nobody = reqwest::get(format!("{}/orders/1001", running.url())).await.unwrap();
    assert_eq!(nobody.status(), 401);
}

#[tokio::test]
async fn an_order_is_cancelled_once_under_a_key() {
    let running = started(None).await;
    for replayed in ["false", "true"] {
        let answer = post(&running, "/orders/1001/cancel", &json!({"reason": "x"}), Some("a")).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["idempotent-replayed"]),
            (200, &replayed.parse().unwrap())
        );
        assert_eq!(answer.json::<Value>().await.unwrap()["status"], "cancelled");
    }
    for (path, key, status) in [
        ("/orders/1001/cancel", None, 409),
        ("/orders/1002/cancel", Some("b"), 409),
        ("/orders/1004/cancel", Some("a"), 422),
    ] {
        assert_eq!(post(&running, path, &json!({}), key).await.status(), status, "{path} {key:?}");
    }
    let stats = running.stats();
    assert_eq!((stats.effects.len(), stats.replayed, stats.doubled), (1, 1, 0));
    assert_eq!(running.order("1001").unwrap().status, Status::Cancelled);
}

#[tokio::test]
async fn a_note_is_made_as_often_as_it_is_asked_for_without_a_key() {
    let running = started(None).await;
    for key in [None, None, Some("a"), Some("a")] {
        assert_eq!(post(&running, "/orders/1001/notes", &json!({"text": "call"}), key).await.status(), 200);
    }
    assert_eq!(running.order("1001").unwrap().notes.len(), 3);
    let shown: Value = get(&running, "/stats").await.json().await.unwrap();
    assert_eq!((shown["effects"].as_array().unwrap().len(), &shown["effects"][2]["key"]), (3, &json!("a")));
}

#[tokio::test]
async fn what_was_done_outlives_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let running = started(Some(&journal)).await;
    post(&running, "/orders/1001/cancel", &json!({}), Some("a")).await;
    drop(running);
    // An entry that was cut off was never told.
    let mut text = std::fs::read_to_string(&journal).unwrap();
    text.push_str("{\"order\":\"1004\",\"de");
    std::fs::write(&journal, text).unwrap();
    let running = started(Some(&journal)).await;
    assert_eq!(running.order("1001").unwrap().status, Status::Cancelled);
    let again = post(&running, "/orders/1001/cancel", &json!({}), Some("a")).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(post(&running, "/orders/1004/cancel", &json!({}), Some("b")).await.status(), 200);
    drop(running);
    assert_eq!(started(Some(&journal)).await.stats().effects.len(), 2);
    std::fs::write(&journal, "{\"order\":1}\n").unwrap();
    let config = Config { journal: Some(journal), api_key: None };
    assert!(start("127.0.0.1:0", config).await.unwrap_err().to_string().contains("line 1"));
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let running = started(None).await;
    let long = "x".repeat(1001);
    for (path, body, key, status) in [
        ("/orders/1001/notes", json!({"text": long}), None, 400),
        ("/orders/1001/notes", json!({}), None, 422),
        ("/orders/1001/notes", json!({"text": "x", "more": 1}), None, 422),
        ("/orders/1001/cancel", json!({}), Some(""), 400),
        ("/orders/9999/notes", json!({"text": "x"}), None, 404),
        ("/orders/1001/notes", json!({"text": "x".repeat(20_000)}), None, 413),
    ] {
        assert_eq!(post(&running, path, &body, key).await.status(), status, "{path} {key:?}");
    }
    assert!(running.stats().effects.is_empty());
}

#[tokio::test]
async fn the_description_names_every_operation() {
    let running = started(None).await;
    let described: Value = get(&running, "/openapi.json").await.json().await.unwrap();
    assert_eq!(described["servers"][0]["url"], running.url());
    let operations: Vec<&str> = described["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(operations, ["listOrders", "getOrder", "cancelOrder", "addNote"]);
}
