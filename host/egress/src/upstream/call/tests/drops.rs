//! Calls that are dropped at any point leave nothing behind.

use super::script::{Act, STREAMED, Scene, TOKEN, WHOLE, refused};
use crate::upstream::call::{CallOptions, CancellationToken};
use crate::upstream::snapshot::UpstreamSnapshot;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::Instant;

const CONFIG: &str = "
    [upstream.one]
    endpoints = [{ url = 'http://a.test' }, { url = 'http://b.test' }]
    hedge = true
    attempts_max = 3
    first_byte_timeout_ms = 400
    [upstream.one.breaker]
    failures = 3
    open_ms = 200
    probes_max = 2
    [upstream.one.concurrency]
    min = 5
    max = 8
    waiting_max = 20
    wait_ms = 150
    [upstream.two]
    url = 'http://c.test'
    [upstream.two.breaker]
    open_ms = 100
    [upstream.two.concurrency]
    min = 1
    max = 4
    [model.m]
    upstreams = ['one', 'two']
";

/// Pseudorandom numbers, the same in each run.
fn draw(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

fn any_act(host: &str, before: usize) -> Act {
    let mut draw = draw(before as u64 * 31 + u64::from(host.as_bytes()[0]));
    let wait = if draw(8) == 0 { draw(300) } else { draw(30) };
    match draw(12) {
        0 => Act::error(refused).after(wait),
        1 => Act::status(503).after(wait),
        2 => Act::status(429).header("retry-after", "1"),
        3 => Act::hang(),
        4 => Act::events().stall(),
        5 => Act::events().piece(wait, TOKEN).break_off(draw(300)),
        6 => Act::events().piece(wait, TOKEN).stall(),
        7 => Act::html(),
        8 => Act::status(401),
        9 => Act::status(400).after(wait).piece(wait, "{}"),
        _ => Act::stream(wait),
    }
}

/// One call that is given up, by dropping it or by cancelling, after `life`, or by its deadline.
async fn given_up(scene: &Scene, number: u64) {
    let mut draw = draw(number + 1);
    tokio::time::sleep(Duration::from_millis(draw(20_000))).await;
    let life = Duration::from_millis(draw(900));
    let cancelled = CancellationToken::new();
    let mut options = CallOptions { cancelled: Some(cancelled.clone()), ..scene.options() };
    let way = draw(4);
    if way == 0 {
        options.deadline = Some(Instant::now() + life);
    }
    let body = if draw(3) == 0 { WHOLE } else { STREAMED };
    let call = async {
        let response = scene.begin(body, options).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok::<(), crate::EgressError>(())
    };
    match way {
        1 => {
            let cancelling = async {
                tokio::time::sleep(life).await;
                cancelled.cancel();
            };
            let (result, ()) = tokio::join!(call, cancelling);
            drop(result);
        }
        2 | 3 => drop(tokio::time::timeout(life, call).await),
        _ => drop(call.await),
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_at_any_point_leave_nothing_behind() {
    let scene = Scene::new(CONFIG, any_act);
    futures::future::join_all((0..1_000).map(|number| given_up(&scene, number))).await;
    scene.assert_idle();
    // All that went out was told, once each.
    assert_eq!(scene.told.calls.lock().unwrap().len(), 1_000);
    assert_eq!(scene.outcomes().len(), scene.count());
    let snapshots = scene.upstreams.snapshot();
    let attempts: u64 = snapshots.iter().map(|snapshot| snapshot.attempts).sum();
    assert_eq!(attempts, scene.count() as u64);
    for snapshot in &snapshots {
        let failures: u64 = snapshot.failures.iter().map(|(_, count)| count).sum();
        assert_eq!(snapshot.attempts, snapshot.answers + failures + snapshot.given_up, "{}", snapshot.name);
        assert!(snapshot.given_up > 0 && snapshot.answers > 0 && failures > 0, "{snapshot:?}");
    }
    let sum = |count: fn(&UpstreamSnapshot) -> u64| snapshots.iter().map(count).sum::<u64>();
    let refused = (sum(|one| one.refused_open), sum(|one| one.refused_busy));
    let more = (sum(|one| one.hedges), sum(|one| one.retries));
    assert!(refused.0 > 0 && refused.1 > 0 && more.0 > 0 && more.1 > 0, "{refused:?} {more:?}");
}
