//! Breakers in calls: who is left alone, who is asked again, and what that costs those who call.

use super::script::{Act, STREAMED, Scene, one, refused};
use crate::upstream::breaker::BreakerState;
use crate::upstream::call::CallOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

/// An upstream that works or not, as the switch says.
fn switched(config: &str, broken: Act) -> (Scene, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&works);
    let scene =
        Scene::new(config, move |_, _| if switch.load(SeqCst) { Act::stream(20) } else { broken.clone() });
    (scene, works)
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_dies_is_left_alone_probed_and_taken_back() {
    for broken in [Act::error(refused), Act::status(500), Act::hang(), Act::html(), Act::events().stall()] {
        let text = format!("{broken:?}");
        let (scene, works) = switched(&one("attempts_max = 1"), broken);
        assert_eq!(scene.stream().await.status, 200);
        works.store(false, SeqCst);
        for _ in 0..5 {
            scene.stream().await;
        }
        let before = scene.count();
        assert_eq!(scene.snapshot().breaker, BreakerState::Open, "{text}");
        for _ in 0..1_000 {
            let got = scene.stream().await;
            assert_eq!((got.status, got.code().as_str(), got.took), (503, "upstream_open", Duration::ZERO));
            assert_eq!(got.field("retry-after"), "30");
        }
        assert_eq!(scene.count(), before, "{text}: it was asked while it was open");
        tokio::time::advance(Duration::from_secs(30)).await;
        let calls: Vec<_> = (0..100).map(|_| scene.stream()).collect();
        futures::future::join_all(calls).await;
        assert_eq!(scene.count(), before + 1, "{text}: more than the probe went out");
        works.store(true, SeqCst);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(scene.stream().await.status, 200, "{text}");
        assert_eq!(scene.snapshot().breaker, BreakerState::Closed);
        scene.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_during_a_call_ends_its_attempts() {
    let (scene, works) = switched(&one("[upstream.one.breaker]\nfailures = 2"), Act::error(refused));
    works.store(false, SeqCst);
    let got = scene.stream().await;
    assert_eq!((got.code().as_str(), scene.count()), ("upstream_unavailable", 2));
    assert_eq!(scene.stream().await.code(), "upstream_open");
}

#[tokio::test(start_paused = true)]
async fn being_limited_or_refused_opens_nothing() {
    for status in [429, 401, 403, 404, 400] {
        let scene = Scene::new(&one(""), move |_, _| Act::status(status));
        for _ in 0..30 {
            scene.stream().await;
        }
        assert_eq!(scene.snapshot().breaker, BreakerState::Closed, "{status}");
    }
}

const TWO_ENDPOINTS: &str = "
    [upstream.one]
    endpoints = [{ url = 'http://a.test/v1' }, { url = 'http://b.test/v1' }]
    [model.m]
    upstream = 'one'
";

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_ejected_and_nobody_notices() {
    let scene = Scene::new(TWO_ENDPOINTS, |host, _| match host {
        "a.test" => Act::error(refused),
        _ => Act::stream(5),
    });
    for _ in 0..40 {
        assert_eq!(scene.stream().await.status, 200);
    }
    let asked = scene.asked();
    assert_eq!(asked.matches('a').count(), 5, "{asked}");
    assert_eq!(asked.matches('b').count(), 40, "{asked}");
    let snapshot = scene.snapshot();
    assert_eq!(snapshot.endpoints, [BreakerState::Open, BreakerState::Closed]);
    assert_eq!(snapshot.breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_fails_fast_does_not_open_the_upstream() {
    let scene = Scene::new(&TWO_ENDPOINTS.replace("[model.m]", "attempts_max = 1\n[model.m]"), |host, _| {
        if host == "a.test" { Act::error(refused) } else { Act::stream(500) }
    });
    // Its failures are all there before the other one has answered once.
    let got = futures::future::join_all((0..20).map(|_| scene.stream())).await;
    assert!(got.iter().filter(|got| got.status == 503).count() >= 5);
    let snapshot = scene.snapshot();
    assert_eq!((snapshot.breaker, snapshot.endpoints[0]), (BreakerState::Closed, BreakerState::Open));
    assert_eq!(scene.stream().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_in_trouble_had_still_been_asked_does_not_lower_the_bound_on_calls() {
    let (scene, works) = switched(&one("attempts_max = 1"), Act::hang());
    for _ in 0..10 {
        futures::future::join_all((0..100).map(|_| scene.stream())).await;
        tokio::time::advance(Duration::from_millis(200)).await;
    }
    works.store(false, SeqCst);
    futures::future::join_all((0..1_000).map(|_| scene.stream())).await;
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(30)).await;
        scene.stream().await;
    }
    assert_eq!(scene.snapshot().breaker, BreakerState::Open);
    works.store(true, SeqCst);
    tokio::time::advance(Duration::from_secs(30)).await;
    futures::future::join_all((0..2).map(|_| scene.stream())).await;
    assert_eq!((scene.stream().await.status, scene.snapshot().limit), (200, 4_096));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_whose_endpoints_all_fail_is_open_after_a_few_calls() {
    let endpoints: Vec<_> = (0..16).map(|index| format!("{{ url = 'http://e{index}.test' }}")).collect();
    let config =
        format!("[upstream.one]\nendpoints = [{}]\n[model.m]\nupstream = 'one'\n", endpoints.join(", "));
    let scene = Scene::new(&config, |_, _| Act::error(refused));
    for _ in 0..5 {
        assert_eq!(scene.stream().await.code(), "upstream_unavailable");
    }
    let got = scene.stream().await;
    assert_eq!((got.code().as_str(), got.field("retry-after")), ("upstream_open", "30"));
    assert_eq!((scene.count(), scene.snapshot().breaker), (15, BreakerState::Open));
    assert_eq!(scene.snapshot().endpoints, [BreakerState::Closed; 16]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_shorter_than_the_time_out_still_opens_the_breaker() {
    // How long each call has of the upstream's 1,500 ms, and whether that is enough to blame the upstream.
    for (deadline_ms, opens) in [(750, true), (1_400, true), (700, false), (10, false)] {
        let scene = Scene::new(&one(""), |_, _| Act::hang());
        for _ in 0..30 {
            let deadline = Some(Instant::now() + Duration::from_millis(deadline_ms));
            scene.call_with(STREAMED, CallOptions { deadline, ..scene.options() }).await;
        }
        let is_open = scene.snapshot().breaker == BreakerState::Open;
        assert_eq!(is_open, opens, "{deadline_ms} ms");
    }
}
