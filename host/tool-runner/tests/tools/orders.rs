//! A tool that behaves: its answers, its errors, and what its grants let it reach.

use crate::support::{TestWorld, ask, call, prepared, runner, store};
use std::sync::Arc;
use waggle_tool_runner::{Call, FailureCode};

const ORDER: &str = r#"{"order_id":"A-1001"}"#;

#[tokio::test]
async fn a_tool_answers_and_its_errors_are_told_apart() {
    let runner = runner();
    let tool = prepared(&runner, "tool_orders").await;
    let answer = ask(&runner, &tool, "find_order", ORDER).await;
    assert_eq!(answer.result.unwrap(), r#"{"order_id":"A-1001","status":"sent"}"#);
    assert!(answer.memory_bytes > 0 && answer.time >= answer.cpu && answer.detail.is_none());

    let failures = [
        ("find_order", r#"{"order_id":"A-1002"}"#, FailureCode::Unavailable, "try again"),
        ("find_order", r#"{"order_id":"A-9"}"#, FailureCode::InvalidArguments, "there is no order A-9"),
        ("find_order", "{}", FailureCode::InvalidArguments, "there is no `order_id`"),
        ("delete_order", ORDER, FailureCode::NoSuchTool, "no function of this name"),
    ];
    for (function, arguments, code, text) in failures {
        let failure = ask(&runner, &tool, function, arguments).await.result.unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(text), "{failure}");
    }
}

#[tokio::test]
async fn a_tool_sees_the_key_of_its_call() {
    let runner = runner();
    let tool = prepared(&runner, "tool_orders").await;
    let answer = ask(&runner, &tool, "cancel_order", ORDER).await.result.unwrap();
    assert_eq!(answer, "cancelled A-1001 by resp_1.1.0");
    for key in ["", "ä", "line\n", &"x".repeat(129)] {
        let call = Call { idempotency_key: key.into(), ..call("cancel_order", ORDER, &Arc::default()) };
        let failure = runner.call(&tool, &call).await.unwrap().result.unwrap_err();
        assert_eq!(failure.code, FailureCode::InvalidArguments, "{key:?}");
    }
}

#[tokio::test]
async fn without_a_grant_nothing_is_sent_and_nothing_is_stored() {
    let runner = runner();
    let tool = prepared(&runner, "tool_orders").await;
    let world = Arc::new(TestWorld::default());
    let denied = runner.call(&tool, &call("track", ORDER, &world)).await.unwrap();
    let failure = denied.result.unwrap_err();
    assert!(failure.message.contains("HttpRequestDenied"), "{failure}");
    assert_eq!(denied.outbound_calls, 1);
    let denied = runner.call(&tool, &call("count", ORDER, &world)).await.unwrap();
    let failure = denied.result.unwrap_err();
    assert!(failure.message.contains("AccessDenied"), "{failure}");
}

#[tokio::test]
async fn a_granted_destination_is_asked_without_fields_of_the_hosts() {
    let runner = runner();
    let tool = prepared(&runner, "tool_orders").await;
    let world = Arc::new(TestWorld { answers: true, ..TestWorld::default() });
    let answer = runner.call(&tool, &call("track", ORDER, &world)).await.unwrap();
    assert_eq!(answer.result.unwrap(), "the carrier answered 200");
    let sent = world.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with("GET http://parcels.example/parcels/A-1001 "), "{sent:?}");
    assert!(!sent[0].contains("waggle-tool"), "it is not the tool's to set: {sent:?}");
}

#[tokio::test]
async fn a_granted_store_keeps_what_an_instance_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let runner = runner();
    let tool = prepared(&runner, "tool_orders").await;
    let store = Some(("orders", store(folder.path())));
    let world = Arc::new(TestWorld { store, ..TestWorld::default() });
    for expected in ["1", "2", "3"] {
        let counted = runner.call(&tool, &call("count", ORDER, &world)).await.unwrap();
        assert_eq!(counted.result.unwrap(), expected);
    }
}

#[tokio::test]
async fn as_many_calls_run_at_once_as_may_and_no_more() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    let sleeper = call("sleep", "{}", &Arc::default());
    let mut sleeping = Vec::new();
    for _ in 0..8 {
        let mut call = Box::pin(runner.call(&tool, &sleeper));
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context).is_ready()));
        assert!(!polled.await);
        sleeping.push(call);
    }
    assert_eq!(runner.calls(), 8);
    assert!(runner.call(&tool, &sleeper).await.is_err(), "the ninth is refused at once");
    sleeping.clear();
    assert_eq!(runner.calls(), 0, "a call that nobody waits for ends");
    assert_eq!(ask(&runner, &tool, "stateful", "{}").await.result.unwrap(), "0");
}

#[tokio::test]
async fn a_call_may_be_made_from_any_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let runner = runner();
    let tool = prepared(&runner, "tool_orders").await;
    let call = call("find_order", ORDER, &Arc::default());
    assert!(is_send(runner.call(&tool, &call)).await.unwrap().result.is_ok());
}
