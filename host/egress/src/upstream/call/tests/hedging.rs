//! A second attempt beside one that takes longer than nearly all.

use super::script::{Act, Scene, refused};
use std::time::Duration;

/// Two endpoints; `hedge` as given.
fn config(hedge: bool, more: &str) -> String {
    format!(
        "[upstream.one]\nendpoints = [{{ url = 'http://a.test' }}, {{ url = 'http://b.test' }}]\nhedge = {hedge}\n\
         attempts_max = 1\n{more}\n[model.m]\nupstream = 'one'\n"
    )
}

/// An upstream that has answered forty calls after 100 ms each, and then does with the next two requests what is given.
async fn warm(config: &str, then: [Act; 2]) -> Scene {
    let scene = Scene::new(config, move |host, before| match (host, before) {
        (_, 0..20) => Act::stream(100),
        ("a.test", 20) => then[0].clone(),
        ("b.test", 20) => then[1].clone(),
        _ => Act::stream(100),
    });
    for _ in 0..40 {
        assert_eq!(scene.stream().await.status, 200);
    }
    scene.told.attempts.lock().unwrap().clear();
    scene
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_made_once_more_elsewhere_and_the_first_answer_is_taken() {
    let check = async |then: [Act; 2], outcomes: &[&str], took_ms: std::ops::Range<u64>| {
        let text = format!("{then:?}");
        let scene = warm(&config(true, ""), then).await;
        let got = scene.stream().await;
        assert_eq!(scene.outcomes(), outcomes, "{text}");
        let took = u64::try_from(got.took.as_millis()).unwrap();
        assert!(took_ms.contains(&took), "{text}: {took} ms");
        assert_eq!(got.field("waggle-attempts"), "2");
        let snapshot = scene.snapshot();
        assert_eq!((snapshot.hedges, snapshot.retries, snapshot.attempts), (1, 0, 42));
        scene.assert_idle();
    };
    // The p95 is told as 100 ms to 113 ms.
    let answered = |ms| Act::stream(ms);
    check([answered(1_000), answered(50)], &["one/1 Answered hedge", "one/0 Outrun"], 150..165).await;
    check([answered(130), answered(1_000)], &["one/0 Answered", "one/1 Outrun hedge"], 130..131).await;
    let failed = "one/1 Failed(Connect) hedge";
    check([answered(500), Act::error(refused)], &[failed, "one/0 Answered"], 500..501).await;
    let late = Act::error(refused).after(200);
    check([late, answered(300)], &["one/0 Failed(Connect)", "one/1 Answered hedge"], 400..415).await;
    let both = ["one/0 Failed(Status)", "one/1 Failed(Connect) hedge"];
    check([Act::status(500).after(120), Act::error(refused).after(100)], &both, 200..215).await;
}

#[tokio::test(start_paused = true)]
async fn no_hedge_goes_out_where_it_must_not() {
    let check = async |config: &str, then: [Act; 2]| {
        let scene = warm(config, then).await;
        let got = scene.stream().await;
        assert_eq!((got.status, got.field("waggle-attempts"), scene.count()), (200, "1", 41), "{config}");
        assert_eq!(scene.snapshot().hedges, 0);
        scene.assert_idle();
    };
    let slow = || [Act::stream(1_000), Act::stream(1)];
    check(&config(false, ""), slow()).await;
    check(&config(true, ""), [Act::stream(99), Act::stream(1)]).await;
    check(&config(true, "retries_per_100_calls = 0\nretries_per_second_min = 0"), slow()).await;
    check(&config(true, "[upstream.one.concurrency]\nmin = 1\nmax = 1"), slow()).await;
    check(
        &config(true, "first_byte_timeout_ms = 1_100\ntotal_timeout_ms = 3_600_000"),
        [Act::stream(90), Act::hang()],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_enough_answers_nobody_knows_what_is_slow() {
    let scene = Scene::new(&config(true, ""), |_, before| Act::stream(if before == 5 { 1_000 } else { 100 }));
    for _ in 0..14 {
        scene.stream().await;
    }
    assert_eq!(scene.snapshot().hedges, 0);
    assert!(scene.arrived().last().unwrap().at.elapsed() < Duration::from_secs(2));
}
