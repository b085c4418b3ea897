//! What is told of calls: fields, extensions, reports, snapshots.

use super::script::{Act, STREAMED, Scene, TOKEN, WHOLE, one, refused, request};
use crate::upstream::call::Answered;
use crate::upstream::report::{Ending, FailureKind};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn the_host_learns_who_answered_and_at_which_price() {
    let config = format!("{}input_price_per_million = '0.25'\n", one(""));
    let scene = Scene::new(&config, |_, before| if before == 0 { Act::status(500) } else { Act::json() });
    let response = scene.begin(WHOLE, scene.options()).await.unwrap();
    let answered = response.extensions().get::<Answered>().unwrap();
    assert_eq!((&*answered.model, answered.upstream.as_str(), answered.attempts), ("m", "one", 2));
    assert_ne!(answered.prices, crate::upstream::Prices::default());
}

#[tokio::test(start_paused = true)]
async fn the_function_learns_the_price_where_there_is_one() {
    let priced = "input_price_per_million = '0.25'\noutput_price_per_million = '2'\n";
    for (prices, expected) in [("", None), (priced, Some("input=250000; cached=250000; output=2000000"))] {
        let act = Act::json().header("waggle-price", "forged");
        let scene = Scene::new(&format!("{}{prices}", one("")), move |_, _| act.clone());
        let response = scene.begin(WHOLE, scene.options()).await.unwrap();
        let told = response.headers().get("waggle-price").map(|value| value.to_str().unwrap());
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_has_the_functions_idempotency_key() {
    let scene = Scene::new(&one(""), |_, before| if before == 0 { Act::status(500) } else { Act::json() });
    let mut asked = request(WHOLE);
    asked.headers_mut().insert("idempotency-key", "resp_1/2".parse().unwrap());
    scene.upstreams.call(asked, scene.options()).await.unwrap();
    let keys = scene.arrived().into_iter().map(|one| one.request["idempotency-key"].clone());
    assert_eq!(keys.collect::<Vec<_>>(), ["resp_1/2", "resp_1/2"]);
}

#[tokio::test(start_paused = true)]
async fn each_call_is_told_once_with_its_end() {
    let check = async |act: Act, ending: Ending| {
        let text = format!("{act:?}");
        let scene = Scene::new(&one("attempts_max = 1"), move |_, _| act.clone());
        drop(scene.stream().await);
        let calls = scene.told.calls.lock().unwrap();
        assert_eq!(calls.iter().map(|call| call.ending).collect::<Vec<_>>(), [ending], "{text}");
        assert_eq!((calls[0].attempts, calls[0].request_bytes), (1, STREAMED.len() as u64));
        scene.assert_idle();
    };
    check(Act::stream(5), Ending::Complete).await;
    check(Act::events().piece(0, TOKEN).break_off(5), Ending::BrokeOff).await;
    check(Act::events().piece(0, TOKEN).stall(), Ending::Stalled).await;
    check(Act::error(refused), Ending::Failed("upstream_unavailable")).await;
    check(Act::status(400), Ending::Complete).await;
    check(Act::status(401), Ending::Failed("upstream_unauthorized")).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_read_to_its_end_was_given_up_unless_it_had_said_all() {
    let check = async |pieces: usize, ending: Ending| {
        let scene = Scene::new(&one(""), |_, _| Act::stream(7));
        let mut body = scene.begin(STREAMED, scene.options()).await.unwrap().into_body();
        for _ in 0..pieces {
            http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
        }
        drop(body);
        let report = scene.told.calls.lock().unwrap().remove(0);
        assert_eq!(report.ending, ending, "{pieces} pieces");
        assert_eq!(report.first_byte, Some(Duration::from_millis(7)));
        scene.assert_idle();
    };
    check(0, Ending::GivenUp).await;
    check(2, Ending::GivenUp).await;
    check(3, Ending::Complete).await;
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_counts_what_happened() {
    let scene = Scene::new(&one("attempts_max = 2"), |_, before| match before {
        0 => Act::stream(100),
        1 => Act::json().after(5_000),
        2 => Act::status(503),
        3 => Act::error(refused),
        _ => Act::stream(100),
    });
    scene.stream().await;
    scene.call(WHOLE).await;
    scene.stream().await;
    let held = scene.begin(STREAMED, scene.options()).await.unwrap();
    let snapshot = scene.snapshot();
    assert_eq!(snapshot.name.as_str(), "one");
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.retries), (4, 5, 1));
    assert_eq!((snapshot.answers, snapshot.hedges, snapshot.cut), (3, 0, 0));
    let failures: Vec<_> = snapshot.failures.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(failures, [(FailureKind::Connect, 1), (FailureKind::Status, 1)]);
    assert_eq!((snapshot.in_flight, snapshot.waiting, snapshot.limit), (1, 0, 4_096));
    let streamed = snapshot.first_bytes_streamed.unwrap();
    assert!(streamed.p50 >= Duration::from_millis(100) && streamed.p99 <= Duration::from_millis(113));
    assert!(snapshot.first_bytes_whole.unwrap().p50 >= Duration::from_secs(5));
    drop(held);
    scene.assert_idle();
}
