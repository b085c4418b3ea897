//! Identical questions at the same time.

use super::support::*;
use crate::answer_cache::{AnswerBody, AnswerSource, AskOptions, Question, TenantAnswers};
use crate::error::EgressError;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

fn asker(answers: &TenantAnswers, model: &Model, after_ms: u64, script: Script) -> JoinHandle<Got> {
    let (answers, model) = (answers.clone(), model.clone());
    tokio::spawn(async move {
        sleep(ms(after_ms)).await;
        ask(&answers, "q", &model, script).await
    })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_at_once_make_one_call() {
    for script in [Script::saying("yes"), Script::streaming(&["y", "e", "s"])] {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let all = join_all((0..100).map(|_| ask(&answers, "q", &model, script.clone()))).await;
        assert_eq!(model.calls(), 1);
        assert!(all.iter().all(|got| got.pieces == script.pieces && got.at_ms == all[0].at_ms));
        assert_eq!(all.iter().filter(|got| got.source == AnswerSource::Miss).count(), 1);
        let stats = caches.stats();
        assert_eq!((stats.hits, stats.misses, stats.waits, stats.calls), (0, 1, 99, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_gets_what_has_come_at_once_and_the_rest_as_it_comes() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    // The head after 10 ms, then a piece every 10 ms: 20, 30, 40, 50.
    let script = Script::streaming(&["a", "b"]);
    let leader = asker(&answers, &model, 0, script.clone());
    let early = asker(&answers, &model, 5, Script::failing());
    let late = asker(&answers, &model, 35, Script::failing());
    assert_eq!(leader.await.unwrap().at_ms, [20, 30, 40, 50]);
    let (early, late) = (early.await.unwrap(), late.await.unwrap());
    assert_eq!((early.source, late.source), (AnswerSource::Joined, AnswerSource::Joined));
    assert_eq!((&early.pieces, &late.pieces), (&script.pieces, &script.pieces));
    assert_eq!((early.at_ms, late.at_ms), (vec![15, 25, 35, 45], vec![0, 0, 5, 15]));
    assert_eq!(model.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_does_not_read_slows_nobody() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let script = Script::streaming(&["a", "b"]);
    let leader = asker(&answers, &model, 0, script.clone());
    sleep(ms(1)).await;
    let sleeper = begin(&answers, "q", AskOptions::default(), &model, Script::failing()).await.unwrap();
    assert_eq!(leader.await.unwrap().at_ms, [20, 30, 40, 50]);
    sleep(ms(1_000)).await;
    assert_eq!(read(sleeper, Instant::now()).await.pieces, script.pieces);
    assert_eq!(caches.stats().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_large_to_keep_reaches_all_who_read_it() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let piece = format!("data: {}\n\n", "x".repeat(60_000));
    let script = Script { pieces: vec![piece; 40], ..Script::streaming(&[]) };
    let all = join_all((0..3).map(|_| ask(&answers, "q", &model, script.clone()))).await;
    assert!(all.iter().all(|got| got.pieces == script.pieces && got.error.is_none()));
    assert_eq!((model.calls(), caches.stats().answers, caches.stats().calls), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_fails_its_followers_call_one_after_the_other() {
    async fn check(what: &str, failure: Script, expected: Result<u16, &str>) {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let failing = || ask_with(&answers, "q", AskOptions::default(), &model, failure.clone());
        let failed = join_all((0..3).map(|_| failing()));
        let good = join_all((0..5).map(|_| ask(&answers, "q", &model, Script::streaming(&["yes"]))));
        let (failed, good) = tokio::join!(failed, good);
        for got in failed {
            let status = got.clone().map(|got| got.status);
            assert_eq!(status, expected, "{what}");
            assert!(got.is_err() || got.unwrap().source == AnswerSource::Miss, "{what}");
        }
        assert!(good.iter().all(|got| got.text() == Script::streaming(&["yes"]).text()), "{what}");
        assert_eq!(
            (model.calls(), model.most_waiting()),
            (4, 1),
            "{what}: three that failed, one for all the rest"
        );
        assert_eq!((caches.stats().waits, caches.stats().misses), (7, 4), "{what}");
    }
    check("no connection", Script::failing(), Err("connection-refused")).await;
    check("busy", Script { status: Some(503), ..Script::saying("") }, Ok(503)).await;
    check("not found", Script { status: Some(404), ..Script::saying("") }, Ok(404)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_before_its_first_piece_is_the_leaders_alone() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let broken = Script { pieces: Vec::new(), end: End::CutOff, ..Script::streaming(&[]) };
    let leader = asker(&answers, &model, 0, broken);
    let follower = asker(&answers, &model, 1, Script::saying("yes"));
    let leader = leader.await.unwrap();
    assert_eq!((leader.status, leader.error), (200, Some("HTTP-response-incomplete")));
    let follower = follower.await.unwrap();
    assert_eq!((follower.source, follower.text()), (AnswerSource::Miss, completion("yes")));
    assert_eq!((model.calls(), caches.stats().calls), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_later_breaks_off_for_all_and_for_nobody_after() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let words = Script::streaming(&["a", "b"]);
    let broken = Script { pieces: words.pieces[..2].to_vec(), end: End::CutOff, ..words };
    let both = join_all((0..2).map(|_| ask(&answers, "q", &model, broken.clone()))).await;
    for got in both {
        assert_eq!((&got.pieces, got.error), (&broken.pieces, Some("HTTP-response-incomplete")));
    }
    assert_eq!(model.calls(), 1, "nobody calls again once something was delivered");
    assert_eq!(ask(&answers, "q", &model, Script::saying("yes")).await.text(), completion("yes"));
}

#[tokio::test(start_paused = true)]
async fn each_waits_for_another_no_longer_than_its_own_deadline() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let slow = Script { pause: ms(200_000), ..Script::saying("slow") };
    let leader = asker(&answers, &model, 0, slow);
    settle().await;
    let impatient = AskOptions { deadline: Some(Instant::now() + ms(100)), ..AskOptions::default() };
    let (start, quick) = (Instant::now(), Script { pause: ms(0), ..Script::saying("quick") });
    let got = ask_with(&answers, "q", impatient, &model, quick.clone()).await.unwrap();
    assert_eq!((got.source, got.text()), (AnswerSource::Miss, completion("quick")));
    assert_eq!(start.elapsed().as_millis(), 100);
    let start = Instant::now();
    assert_eq!(ask(&answers, "q", &model, quick).await.text(), completion("quick"));
    assert_eq!(start.elapsed().as_millis(), 300_000, "also without a deadline it does not wait for ever");
    assert_eq!(leader.await.unwrap().text(), completion("slow"));
}

/// A call that panics before its head, or in its body after one piece.
async fn panicking(in_body: bool) -> Result<Response<ModelBody>, EgressError> {
    sleep(ms(10)).await;
    if !in_body {
        panic!("a mistake in a call");
    }
    let pieces = futures::stream::iter(0..2).then(|index| async move {
        sleep(ms(10)).await;
        if index == 1 {
            panic!("a mistake in a body");
        }
        Ok(Frame::data(Bytes::from_static(b"data: {}\n\n")))
    });
    Ok(Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces))))
}

async fn leading_into_a_panic(
    answers: &TenantAnswers,
    in_body: bool,
) -> Result<Response<AnswerBody<ModelBody>>, EgressError> {
    let body = asking("q");
    let question = Question { path: "/v1/chat/completions", model: "small", body: body.as_bytes() };
    answers.get_or_call(question, AskOptions::default(), |_token| panicking(in_body)).await
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_leaves_its_followers_a_place() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let start = Instant::now();
    let follower = asker(&answers, &model, 1, Script::saying("yes"));
    let result = leading_into_a_panic(&answers, false).await;
    assert_eq!(result.map(|_| ()).unwrap_err().code(), "connection-terminated");
    assert_eq!(follower.await.unwrap().text(), completion("yes"));
    assert!(start.elapsed() < ms(100), "it is told at once");
    assert_eq!(caches.stats().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_ends_for_all_who_read_it() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let start = Instant::now();
    let follower = asker(&answers, &model, 1, Script::failing());
    let leader = read(leading_into_a_panic(&answers, true).await.unwrap(), start).await;
    for got in [leader, follower.await.unwrap()] {
        assert_eq!((got.pieces.len(), got.error), (1, Some("HTTP-response-incomplete")));
    }
    assert!(start.elapsed() < ms(100));
    assert_eq!((model.calls(), caches.stats().calls), (0, 0));
}
