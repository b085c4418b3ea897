//! A tool that does its worst: each call ends within its bounds, says why, and leaves nothing behind.

use crate::support::{TestWorld, ask, call, prepared, runner};
use std::sync::Arc;
use std::time::Duration;
use waggle_tool_runner::{Call, FailureCode, Limits};

fn short(function: &str, world: &Arc<TestWorld>) -> Call {
    let limits =
        Limits { cpu: Duration::from_millis(200), time: Duration::from_secs(30), ..Limits::default() };
    Call { limits, ..call(function, "{}", world) }
}

#[tokio::test]
async fn whatever_a_tool_does_the_call_ends_and_says_why() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    let cases = [
        ("loop", FailureCode::OutOfCpu, "more than 200 ms of processor time"),
        ("loop_in_host_calls", FailureCode::OutOfCpu, "more than 200 ms of processor time"),
        ("trap", FailureCode::Trapped, "the tool crashed: wasm `unreachable` instruction executed"),
        ("panic", FailureCode::Trapped, "the tool crashed"),
        ("recurse", FailureCode::Trapped, "call stack exhausted"),
        ("long_answer", FailureCode::OutputTooLarge, "more"),
        ("exit", FailureCode::Trapped, "ended itself with status"),
        ("no-such", FailureCode::NoSuchTool, "no function"),
    ];
    for (function, code, text) in cases {
        let outcome = runner.call(&tool, &short(function, &Arc::default())).await.unwrap();
        let failure = outcome.result.unwrap_err();
        assert_eq!(failure.code, code, "{function}: {failure}; {:?}", outcome.detail);
        assert!(failure.message.contains(text), "{function}: {failure}");
        assert!(!failure.message.contains('/'), "{function}: {failure}");
        assert_eq!(ask(&runner, &tool, "stateful", "{}").await.result.unwrap(), "0", "after {function}");
    }
}

#[tokio::test]
async fn memory_is_bounded_by_the_limits_of_the_call() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    let limits = Limits { memory_bytes_max: 8 << 20, ..Limits::default() };
    let greedy = Call { limits, ..call("allocate", "{}", &Arc::default()) };
    let outcome = runner.call(&tool, &greedy).await.unwrap();
    let failure = outcome.result.unwrap_err();
    assert_eq!(failure.code, FailureCode::OutOfMemory, "{failure}; {:?}", outcome.detail);
    assert_eq!(failure.message, "the tool needs more than 8388608 bytes of memory");
    assert!(outcome.memory_bytes <= 8 << 20);
    let too_small = Limits { memory_bytes_max: 1, ..Limits::default() };
    let call = Call { limits: too_small, ..call("stateful", "{}", &Arc::default()) };
    let failure = runner.call(&tool, &call).await.unwrap().result.unwrap_err();
    assert_eq!(failure.code, FailureCode::OutOfMemory, "its start counts as well: {failure}");
}

#[tokio::test]
async fn what_it_gives_is_bounded_and_json_where_it_says_so() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    let json = |function: &str| Call { gives_json: true, ..call(function, "{}", &Arc::default()) };
    for function in ["not_json", "deep_json"] {
        assert!(ask(&runner, &tool, function, "{}").await.result.is_ok(), "any text is an answer");
        let failure = runner.call(&tool, &json(function)).await.unwrap().result.unwrap_err();
        assert_eq!(failure.code, FailureCode::InvalidOutput, "{failure}");
    }
    let limits = Limits { output_bytes_max: 5, ..Limits::default() };
    let bounded = Call { limits, ..call("not_json", "{}", &Arc::default()) };
    assert_eq!(runner.call(&tool, &bounded).await.unwrap().result.unwrap(), "{\"a\":");
    let limits = Limits { output_bytes_max: 4, ..Limits::default() };
    let failure = runner.call(&tool, &Call { limits, ..bounded }).await.unwrap().result.unwrap_err();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::OutputTooLarge, "the tool gave more than 4 bytes")
    );
    let failure = ask(&runner, &tool, "long_error", "{}").await.result.unwrap_err();
    assert!(failure.message.len() <= 2_048, "{}", failure.message.len());
}

#[tokio::test]
async fn a_tool_that_sleeps_is_woken_by_its_deadline() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    let limits = Limits { time: Duration::from_millis(20), ..Limits::default() };
    let sleeper = Call { limits, ..call("sleep", "{}", &Arc::default()) };
    let failure = runner.call(&tool, &sleeper).await.unwrap().result.unwrap_err();
    assert_eq!(failure.code, FailureCode::TimedOut);
    assert_eq!(failure.message, "the tool did not answer within 20 ms");
    let deadline = Some(std::time::Instant::now());
    let late = Call { deadline, ..call("loop", "{}", &Arc::default()) };
    let failure = runner.call(&tool, &late).await.unwrap().result.unwrap_err();
    assert_eq!(failure.code, FailureCode::TimedOut, "who asked no longer waits");
}

#[tokio::test]
async fn there_is_no_environment_no_file_and_no_socket() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    assert_eq!(ask(&runner, &tool, "environment", "{}").await.result.unwrap(), "[] 0");
    for function in ["file", "connect", "fetch", "key_value"] {
        let outcome = ask(&runner, &tool, function, "{}").await;
        let failure = outcome.result.unwrap_err();
        assert_eq!(failure.code, FailureCode::Failed, "{function}: {failure}");
    }
}

#[tokio::test]
async fn calls_over_http_are_counted_and_the_log_is_cut() {
    let runner = runner();
    let tool = prepared(&runner, "tool_hostile").await;
    let world = Arc::new(TestWorld { answers: true, ..TestWorld::default() });
    let limits = Limits { outbound_calls_max: 3, ..Limits::default() };
    let often = Call { limits, ..call("fetch_often", "{}", &world) };
    let outcome = runner.call(&tool, &often).await.unwrap();
    let told = outcome.result.unwrap();
    assert_eq!(told.matches("200\n").count(), 3, "{told}");
    assert_eq!(told.matches("ConnectionLimitReached").count(), 17, "{told}");
    assert_eq!((outcome.outbound_calls, world.sent.lock().unwrap().len()), (20, 3));
    runner.call(&tool, &call("log", "{}", &world)).await.unwrap().result.unwrap();
    assert_eq!(*world.logged.lock().unwrap(), 64 << 10);
}
