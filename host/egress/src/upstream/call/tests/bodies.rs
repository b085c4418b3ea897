//! Answers after they have begun: nothing is tried again, and they end in time.

use super::script::{Act, DONE, JSON, ROLE, STREAMED, Scene, TOKEN, WHOLE, one};
use crate::error::EgressError;
use crate::upstream::breaker::BreakerState;
use crate::upstream::call::{CallOptions, CancellationToken, RESPONSE_BODY_BYTES_MAX};
use crate::upstream::report::Ending;
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn what_was_held_back_is_handed_over_before_the_rest() {
    let pieces = [": hello\n\n", ROLE, TOKEN, TOKEN, DONE];
    let act = pieces.iter().fold(Act::events(), |act, piece| act.piece(300, *piece));
    let scene = Scene::new(&one(""), move |_, _| act.clone());
    let got = scene.stream().await;
    assert_eq!(got.body.unwrap(), pieces.concat());
    assert_eq!(got.took, Duration::from_millis(900), "the head waits for the first token");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stalls_or_breaks_off_ends_with_an_error_after_what_came() {
    let check = async |act: Act, code: &str, after_ms: u64| {
        let text = format!("{act:?}");
        let scene = Scene::new(&one("between_bytes_timeout_ms = 3_000"), move |_, _| act.clone());
        let start = Instant::now();
        let mut body = scene.begin(STREAMED, scene.options()).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), TOKEN);
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), code, "{text}");
        assert_eq!(start.elapsed(), Duration::from_millis(after_ms), "{text}");
        assert!(body.frame().await.is_none() && body.is_end_stream());
        assert_eq!((scene.count(), scene.snapshot().cut), (1, 1), "{text}");
        scene.assert_idle();
    };
    check(Act::events().piece(0, TOKEN).stall(), "HTTP-response-timeout", 3_000).await;
    check(Act::events().piece(0, TOKEN).break_off(10), "HTTP-response-incomplete", 10).await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_an_answer_that_goes_on_and_on() {
    let act = (0..100).fold(Act::events(), |act, _| act.piece(100, TOKEN));
    let scene = Scene::new(&one(""), move |_, _| act.clone());
    let options =
        CallOptions { deadline: Some(Instant::now() + Duration::from_millis(1_050)), ..scene.options() };
    let mut body = scene.begin(STREAMED, options).await.unwrap().into_body();
    let mut pieces = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => pieces += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((pieces, error.code()), (10, "HTTP-response-timeout"));
    assert_eq!(scene.told.calls.lock().unwrap()[0].ending, Ending::Deadline);
    scene.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_cut() {
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    let act = (0..100).fold(Act::status(200), |act, _| act.piece(0, piece.clone()));
    let scene = Scene::new(&one(""), move |_, _| act.clone());
    let mut body = scene.begin(WHOLE, scene.options()).await.unwrap().into_body();
    let mut bytes = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => bytes += frame.into_data().unwrap().len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!((bytes, error.code()), (RESPONSE_BODY_BYTES_MAX, "HTTP-response-incomplete"));
    assert_eq!(scene.told.calls.lock().unwrap()[0].ending, Ending::TooLarge);
    scene.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_call_wherever_it_is() {
    let busy = "[upstream.one.concurrency]\nmin = 1\nmax = 1";
    let check = async |policy: &str, act: Act, after_ms: u64| {
        let text = format!("{act:?}");
        let scene = Scene::new(&one(policy), move |_, _| act.clone());
        let holder =
            if policy == busy { Some(scene.begin(STREAMED, scene.options()).await.unwrap()) } else { None };
        let cancelled = CancellationToken::new();
        let options = CallOptions { cancelled: Some(cancelled.clone()), ..scene.options() };
        let start = Instant::now();
        let (result, ()) = tokio::join!(
            async {
                let body = scene.begin(STREAMED, options).await?.into_body();
                body.collect().await.map(|_| ())
            },
            async {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                cancelled.cancel();
            }
        );
        assert!(matches!(result, Err(EgressError::Cancelled)), "{text}: {result:?}");
        assert_eq!(start.elapsed(), Duration::from_millis(after_ms), "{text}");
        drop(holder);
        let ending = scene.told.calls.lock().unwrap()[0].ending;
        assert_eq!(ending, Ending::GivenUp, "{text}");
        scene.assert_idle();
    };
    let begun = || Act::events().piece(0, TOKEN).stall();
    check("", Act::hang(), 70).await;
    check("", Act::events().stall(), 70).await;
    check("", Act::status(503).header("retry-after", "2"), 70).await;
    check("", begun(), 70).await;
    check(busy, begun(), 70).await;
    check("hedge = true", Act::hang(), 70).await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_answers_that_break_off() {
    let scene = Scene::new(&one(""), |_, _| Act::events().piece(0, TOKEN).break_off(1));
    for _ in 0..20 {
        assert_eq!(scene.snapshot().breaker, BreakerState::Closed);
        assert!(scene.stream().await.body.is_err());
    }
    assert_eq!(scene.snapshot().breaker, BreakerState::Open);
    // Whoever stops reading is not the upstream's failure.
    let scene = Scene::new(&one(""), |_, _| Act::stream(1));
    for _ in 0..40 {
        drop(scene.begin(STREAMED, scene.options()).await.unwrap());
    }
    assert_eq!(scene.snapshot().breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_body_says_how_long_it_is_and_that_it_has_ended() {
    let scene = Scene::new(&one(""), |_, _| Act::json());
    let mut body = scene.begin(WHOLE, scene.options()).await.unwrap().into_body();
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().lower(), JSON.len() as u64);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), JSON);
    assert!(body.frame().await.is_none() && body.is_end_stream());
    let scene = Scene::new(&one("attempts_max = 1"), |_, _| Act::status(500));
    let body = scene.begin(WHOLE, scene.options()).await.unwrap().into_body();
    let length = body.size_hint().exact().unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes().len() as u64, length);
}
