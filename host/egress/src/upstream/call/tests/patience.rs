//! The time-outs that a function asks for: the shorter one holds, and haste is not the upstream's failure.

use super::script::{Act, STREAMED, Scene, TOKEN};
use crate::upstream::breaker::BreakerState;
use crate::upstream::call::CallOptions;
use futures::future::join_all;
use std::time::Duration;

const CONFIG: &str = "
    [upstream.one]
    url = 'http://a.test'
    connect_timeout_ms = 1_000
    between_bytes_timeout_ms = 10_000
    backoff_ms = 1
    attempts_max = 2
    [upstream.one.breaker]
    failures = 4
    [upstream.two]
    url = 'http://b.test'
    [model.m]
    upstreams = ['one', 'two']
";

/// What the first upstream does; the second one answers.
fn scene(first: Act) -> Scene {
    Scene::new(CONFIG, move |host, _| if host == "a.test" { first.clone() } else { Act::stream(0) })
}

fn ms(wish: Option<u64>) -> Option<Duration> {
    wish.map(Duration::from_millis)
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_waits_for_a_connection_holds() {
    // What the function wants, how long connecting takes, who is asked, what that takes, whether the breaker opens.
    let check = async |wish: Option<u64>, connect_ms: u64, asked: &str, took_ms: u64, state: BreakerState| {
        let text = format!("{wish:?} {connect_ms}");
        let scene = scene(Act::stream(0).connecting(connect_ms));
        let options = || CallOptions { connect_timeout: ms(wish), ..scene.options() };
        let got = scene.call_with(STREAMED, options()).await;
        assert_eq!((got.status, scene.asked().as_str()), (200, asked), "{text}");
        let least = Duration::from_millis(took_ms);
        assert!((least..=least + Duration::from_millis(2)).contains(&got.took), "{text}: {:?}", got.took);
        for _ in 0..9 {
            scene.call_with(STREAMED, options()).await;
        }
        assert_eq!(scene.snapshot().breaker, state, "{text}");
        scene.assert_idle();
    };
    check(None, 900, "a", 900, BreakerState::Closed).await;
    check(None, 1_100, "aab", 2_000, BreakerState::Open).await;
    check(Some(5_000), 1_100, "aab", 2_000, BreakerState::Open).await;
    check(Some(600), 700, "aab", 1_200, BreakerState::Open).await;
    // Impatience costs neither the upstream's good name nor the retries of others.
    check(Some(100), 700, "ab", 100, BreakerState::Closed).await;
    check(Some(0), 700, "ab", 0, BreakerState::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_pauses_ends_an_answer() {
    let check = async |wish: Option<u64>, pause_ms: u64, is_whole: bool, state: BreakerState| {
        let text = format!("{wish:?} {pause_ms}");
        let scene = scene(Act::events().piece(0, TOKEN).piece(pause_ms, TOKEN));
        // At once: an answer that begins ends a row of failures.
        let calls = (0..4).map(|_| {
            let options = CallOptions { between_bytes_timeout: ms(wish), ..scene.options() };
            scene.call_with(STREAMED, options)
        });
        for got in join_all(calls).await {
            assert_eq!(got.body.is_ok(), is_whole, "{text}");
        }
        assert_eq!((scene.snapshot().breaker, scene.asked().as_str()), (state, "aaaa"), "{text}");
        scene.assert_idle();
    };
    check(None, 9_000, true, BreakerState::Closed).await;
    check(None, 11_000, false, BreakerState::Open).await;
    check(Some(20_000), 11_000, false, BreakerState::Open).await;
    check(Some(8_000), 9_000, false, BreakerState::Open).await;
    check(Some(2_000), 9_000, false, BreakerState::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_before_the_first_piece_is_judged_by_the_same_rule() {
    let scene = scene(Act::events().piece(900, TOKEN));
    for _ in 0..10 {
        let options = CallOptions { between_bytes_timeout: ms(Some(500)), ..scene.options() };
        assert_eq!(scene.call_with(STREAMED, options).await.field("waggle-upstream"), "two");
    }
    assert_eq!(scene.snapshot().breaker, BreakerState::Closed);
    assert_eq!(scene.asked(), "ab".repeat(10));
    scene.assert_idle();
}
