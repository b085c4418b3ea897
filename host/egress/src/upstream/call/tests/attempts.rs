//! What is tried again at one upstream, how often, and until when.

use super::script::{Act, JSON, ROLE, STREAMED, Scene, TOKEN, WHOLE, cut, one, refused};
use crate::upstream::call::CallOptions;
use crate::upstream::report::Ending;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_its_upstream_with_the_name_of_the_model_there() {
    let scene = Scene::new(&one(""), |_, _| Act::json().header("waggle-model", "forged").header("x-y", "z"));
    let got = scene.call(r#"{"model":"m","models":[],"a":{"model":"m"}}"#).await;
    assert_eq!((got.status, got.body.as_deref().unwrap()), (200, JSON));
    assert_eq!((got.field("waggle-model"), got.field("waggle-upstream")), ("m", "one"));
    assert_eq!((got.field("waggle-attempts"), got.field("x-y")), ("1", "z"));
    let arrived = scene.arrived().remove(0);
    assert_eq!(arrived.url, "http://a.test/base/chat/completions?x=1");
    assert_eq!(arrived.body, r#"{"model":"m-there","a":{"model":"m"}}"#);
    assert!(!arrived.request.contains_key("content-length") && arrived.request.contains_key("content-type"));
    assert_eq!(arrived.request["accept-encoding"], "identity");
    assert_eq!(scene.outcomes(), ["one/0 Answered"]);
    let report = scene.told.calls.lock().unwrap().remove(0);
    assert_eq!((report.ending, report.response_bytes), (Ending::Complete, JSON.len() as u64));
    assert_eq!((report.attempts, report.status.map(|status| status.as_u16())), (1, Some(200)));
    scene.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_the_first_piece_is_tried_again_and_other_things_are_not() {
    // What the upstream does at first, whether the body asks for a stream, how many attempts arrive, the final status.
    let check = async |first: Act, body: &str, count: usize, status: u16| {
        let text = format!("{first:?}");
        let scene = Scene::new(&one(""), move |_, before| match before {
            0 => first.clone(),
            _ => Act::stream(0),
        });
        let got = scene.call(body).await;
        assert_eq!((scene.count(), got.status), (count, status), "{text}");
        assert_eq!(got.field("waggle-attempts"), count.to_string());
        scene.assert_idle();
    };
    let table = [
        Act::error(refused),
        Act::error(cut),
        Act::status(429),
        Act::status(500),
        Act::status(502),
        Act::status(503),
        Act::status(504),
        Act::status(301),
        Act::hang(),
        Act::html(),
        Act::stream(0).header("content-encoding", "gzip"),
        Act::events().break_off(0),
        Act::events(),
        Act::events().piece(0, ": waiting\n\n").break_off(10),
        Act::events().piece(0, ROLE).break_off(10),
        Act::events().piece(0, ROLE).stall(),
        Act::events().stall(),
    ];
    for first in table {
        check(first, STREAMED, 2, 200).await;
    }
    for first in [Act::status(503), Act::hang(), Act::html(), Act::status(200), Act::status(200).break_off(5)]
    {
        check(first, WHOLE, 2, 200).await;
    }
    for status in [400, 402, 409, 413, 422] {
        check(Act::status(status).piece(0, "{}"), STREAMED, 1, status).await;
    }
    check(Act::json().header("content-encoding", "x-gzip"), WHOLE, 2, 200).await;
    check(Act::json().header("content-encoding", "Identity"), WHOLE, 1, 200).await;
    check(Act::stream(1_499), STREAMED, 1, 200).await;
    check(Act::json().after(59_000), WHOLE, 1, 200).await;
    check(Act::events().piece(0, TOKEN).break_off(0), STREAMED, 1, 200).await;
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_then_the_function_reads_why() {
    let check = async |act: Act, status: u16, code: &str| {
        let text = format!("{act:?}");
        let scene = Scene::new(&one("attempts_max = 4"), move |_, _| act.clone());
        let got = scene.stream().await;
        assert_eq!((got.status, got.code().as_str()), (status, code), "{text}");
        assert_eq!((scene.count(), got.field("waggle-attempts")), (4, "4"), "{text}");
        assert_eq!(got.field("retry-after"), "1");
        assert_eq!((got.field("waggle-model"), got.field("waggle-upstream")), ("", ""));
        let text = format!("{got:?}");
        assert!(!text.contains("hidden") && !text.contains("a.test") && !text.contains("<html"), "{text}");
        scene.assert_idle();
    };
    check(Act::error(refused), 503, "upstream_unavailable").await;
    check(Act::status(500), 503, "upstream_unavailable").await;
    check(Act::html(), 503, "upstream_unavailable").await;
    check(Act::stream(0).header("content-encoding", "gzip"), 503, "upstream_unavailable").await;
    check(Act::hang(), 504, "upstream_timeout").await;
    check(Act::events().stall(), 504, "upstream_timeout").await;
    check(Act::status(429), 429, "rate_limit_exceeded").await;
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_grow_and_a_retry_after_is_honoured() {
    let scene = Scene::new(&one(""), |_, _| Act::status(503).header("retry-after", "1"));
    let got = scene.stream().await;
    let at: Vec<_> = scene.arrived().iter().map(|arrived| arrived.at).collect();
    let second = Duration::from_secs(1);
    assert!((second..second + Duration::from_millis(101)).contains(&(at[1] - at[0])));
    assert!((second..second + Duration::from_millis(201)).contains(&(at[2] - at[1])));
    assert_eq!((got.status, at.len()), (503, 3));
    // One that asks for more than is waited ends the attempts here, and is passed on.
    let scene = Scene::new(&one(""), |_, _| Act::status(429).header("retry-after", "7"));
    let got = scene.stream().await;
    assert_eq!((got.status, scene.count(), got.field("retry-after")), (429, 1, "7"));
    assert_eq!(got.took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_never_passed() {
    // What the upstream does, the deadline, and how many attempts there is time for.
    let check = async |act: Act, deadline_ms: u64, counts: &[usize]| {
        let text = format!("{act:?} {deadline_ms}");
        let scene = Scene::new(&one("backoff_ms = 1"), move |_, _| act.clone());
        let deadline = Duration::from_millis(deadline_ms);
        let options = CallOptions { deadline: Some(Instant::now() + deadline), ..scene.options() };
        let got = scene.call_with(STREAMED, options).await;
        assert!(got.took <= deadline + Duration::from_millis(1), "{text}: {:?}", got.took);
        assert!(got.status >= 503 && counts.contains(&scene.count()), "{text}: {}", scene.count());
        scene.assert_idle();
    };
    check(Act::hang(), 100, &[1]).await;
    check(Act::hang(), 1_499, &[1]).await;
    check(Act::hang(), 2_000, &[2]).await;
    check(Act::events().stall(), 100, &[1]).await;
    check(Act::status(503).header("retry-after", "1"), 900, &[1]).await;
    check(Act::status(503).after(600), 1_000, &[1, 2]).await;
    check(Act::status(500), 0, &[0]).await;
}

#[tokio::test(start_paused = true)]
async fn the_total_of_the_upstream_ends_a_call_as_well() {
    let scene =
        Scene::new(&one("total_timeout_ms = 2_000\nfirst_byte_timeout_ms = 1_500"), |_, _| Act::hang());
    let got = scene.stream().await;
    assert_eq!((got.status, got.code().as_str()), (504, "upstream_timeout"));
    assert!(got.took <= Duration::from_millis(2_001), "{:?}", got.took);
}

#[tokio::test(start_paused = true)]
async fn retries_do_not_storm() {
    let policy = "retries_per_100_calls = 20\nretries_per_second_min = 0\nbackoff_ms = 1\n[upstream.one.breaker]\n\
                  failures = 1000\nfailures_per_100_calls = 100";
    let scene =
        Scene::new(&one(policy), |_, before| if before == 0 { Act::stream(0) } else { Act::status(429) });
    scene.stream().await;
    for _ in 0..99 {
        assert_eq!(scene.stream().await.status, 429);
    }
    let snapshot = scene.snapshot();
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.retries), (100, 120, 20));
    assert_eq!(scene.count(), 120);
    assert!(snapshot.retries_refused > 0);
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_bound_wait_and_are_then_refused() {
    let policy = "[upstream.one.concurrency]\nmin = 1\nmax = 1\nwaiting_max = 1\nwait_ms = 500";
    let scene = Scene::new(&one(policy), |_, _| Act::events().piece(0, TOKEN).stall());
    let holder = scene.begin(STREAMED, scene.options()).await.unwrap();
    let got = scene.stream().await;
    assert_eq!((got.status, got.code().as_str(), got.field("retry-after")), (503, "upstream_busy", "1"));
    assert_eq!((got.took, scene.count()), (Duration::from_millis(500), 1));
    let (waiting, full) = tokio::join!(scene.stream(), async {
        tokio::task::yield_now().await;
        scene.stream().await
    });
    assert_eq!((waiting.code().as_str(), full.code().as_str()), ("upstream_busy", "upstream_busy"));
    assert_eq!((full.took, scene.snapshot().refused_busy), (Duration::ZERO, 3));
    // The place is the body's, until it is dropped.
    let (waited, ()) = tokio::join!(scene.begin(STREAMED, scene.options()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(holder);
    });
    assert_eq!(waited.unwrap().status(), 200);
    scene.assert_idle();
}
