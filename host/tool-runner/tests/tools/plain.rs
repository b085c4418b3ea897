//! A component without `waggle:tool`: its functions are called by their types.

use crate::support::{ask, call, prepared, runner};
use serde_json::{Value, json};
use std::sync::Arc;
use waggle_tool_runner::{Call, FailureCode, Limits};

fn order() -> Value {
    json!({
        "lines": [{"article": "tea", "count": 2, "note": null}, {"article": "cup", "count": 1, "note": "blue"}],
        "payment": {"tag": "card", "value": "4711"},
        "size": "large",
        "extras": ["express"]
    })
}

#[tokio::test]
async fn values_of_every_type_come_and_go() {
    let runner = runner();
    let tool = prepared(&runner, "tool_plain").await;
    let cases = [
        ("greet", json!({"name": "Ada"}), json!("Hello, Ada!")),
        ("total", json!({"order": order()}), json!(1_975)),
        ("echo", json!({"order": order()}), order()),
        ("swap", json!({"pair": [-7, 0.5]}), json!([0.5, -7])),
        ("bytes", json!({"data": "AQID"}), json!("AwIB")),
        ("initial", json!({"name": "Ümit"}), json!("Ü")),
        ("initial", json!({"name": ""}), json!(null)),
        ("nothing", json!({}), json!(null)),
    ];
    for (function, arguments, expected) in cases {
        let answer = ask(&runner, &tool, function, &arguments.to_string()).await.result;
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        assert_eq!(answer, expected, "{function}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_by_whom_it_was_found() {
    let runner = runner();
    let tool = prepared(&runner, "tool_plain").await;
    let mut empty = order();
    empty["lines"] = json!([]);
    let mut many = order();
    many["lines"][1]["count"] = json!(256);
    let cases = [
        ("total", json!({"order": empty}), FailureCode::Failed, "the order is empty"),
        ("fails", json!({}), FailureCode::Failed, "did not say why"),
        (
            "total",
            json!({"order": many}),
            FailureCode::InvalidArguments,
            "`order.lines[1].count`: expected a whole number from 0 to 255, found the number 256",
        ),
        ("total", json!([]), FailureCode::InvalidArguments, "expected an object, found an array"),
        ("not-a-number", json!({}), FailureCode::InvalidOutput, "the number NaN"),
        ("many", json!({"count": 200_000}), FailureCode::OutputTooLarge, "more than 262144 bytes"),
        ("many", json!({"count": 40_000_000}), FailureCode::OutputTooLarge, "more data than it may"),
        ("fill", json!({}), FailureCode::NoSuchTool, "no function \"fill\""),
    ];
    for (function, arguments, code, text) in cases {
        let outcome = ask(&runner, &tool, function, &arguments.to_string()).await;
        let failure = outcome.result.unwrap_err();
        assert_eq!(failure.code, code, "{function}: {failure}; {:?}", outcome.detail);
        assert!(failure.message.contains(text), "{function}: {failure}");
    }
}

#[tokio::test]
async fn arguments_that_are_no_json_or_too_much_of_it_are_refused() {
    let runner = runner();
    let tool = prepared(&runner, "tool_plain").await;
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(300_000));
    for (arguments, text) in
        [("{", "not JSON"), (deep.as_str(), "recursion limit"), (&long, "more than 262144 bytes")]
    {
        let limits = Limits { cpu: std::time::Duration::from_secs(10), ..Limits::default() };
        let call = Call { limits, ..call("greet", arguments, &Arc::default()) };
        let failure = runner.call(&tool, &call).await.unwrap().result.unwrap_err();
        assert_eq!(failure.code, FailureCode::InvalidArguments, "{failure}");
        assert!(failure.message.contains(text), "{failure}");
    }
}
