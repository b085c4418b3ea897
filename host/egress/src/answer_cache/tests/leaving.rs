//! Askers that go away.

use super::support::*;
use crate::answer_cache::{AnswerCaches, AnswerSource, AskOptions, TenantAnswers};
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

fn asker(answers: &TenantAnswers, model: &Model, script: Script) -> JoinHandle<Got> {
    let (answers, model) = (answers.clone(), model.clone());
    tokio::spawn(async move { ask(&answers, "q", &model, script).await })
}

/// Nothing is under way any more, in the cache or at the model.
fn assert_at_rest(caches: &AnswerCaches, model: &Model) {
    assert_eq!((caches.stats().calls, model.active()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_call_goes_on_without_its_leader_while_somebody_follows() {
    // Before the head, and between two pieces.
    for leaves_after in [5, 25] {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let script = Script::streaming(&["a", "b", "c"]);
        let leader = asker(&answers, &model, script.clone());
        sleep(ms(1)).await;
        let follower = asker(&answers, &model, Script::failing());
        sleep(ms(leaves_after - 1)).await;
        leader.abort();
        let got = follower.await.unwrap();
        assert_eq!((got.source, got.pieces, got.error), (AnswerSource::Joined, script.pieces, None));
        assert_eq!((model.calls(), caches.stats().answers), (1, 1));
        assert_at_rest(&caches, &model);
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_ends_when_all_have_gone() {
    for leave_after in [5, 25] {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let askers = [(); 3].map(|()| asker(&answers, &model, Script::streaming(&["a", "b", "c"])));
        sleep(ms(leave_after)).await;
        assert_eq!((model.active(), caches.stats().calls), (1, 1));
        for asker in askers {
            asker.abort();
        }
        settle().await;
        assert_at_rest(&caches, &model);
        assert_eq!((model.calls(), caches.stats().answers), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_takes_one_asker_out_and_leaves_the_others() {
    for cancelled_after in [5, 25] {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let token = CancellationToken::new();
        let options = AskOptions { cancelled: Some(token.clone()), ..AskOptions::default() };
        let script = Script::streaming(&["a", "b", "c"]);
        let leader = tokio::spawn({
            let (answers, model, script) = (answers.clone(), model.clone(), script.clone());
            async move {
                let start = Instant::now();
                let got = ask_with(&answers, "q", options, &model, script).await;
                (got.map(|got| got.error), start.elapsed().as_millis())
            }
        });
        sleep(ms(1)).await;
        let follower = asker(&answers, &model, Script::failing());
        sleep(ms(cancelled_after - 1)).await;
        token.cancel();
        let (end, after) = leader.await.unwrap();
        assert!(matches!(end, Err("internal-error") | Ok(Some("internal-error"))), "{end:?}");
        assert_eq!(after, u128::from(cancelled_after), "at once");
        assert_eq!(follower.await.unwrap().pieces, script.pieces);
        assert_at_rest(&caches, &model);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_a_call_of_ones_own_too() {
    let (caches, model) = (caches(), Model::default());
    for answers in [TenantAnswers::off(), a_minute(&caches, "bank")] {
        let token = CancellationToken::new();
        let options = AskOptions { cancelled: Some(token.clone()), ..AskOptions::default() };
        let endless = Script { status: Some(500), end: End::Never, ..Script::streaming(&["a"]) };
        let mut body = begin(&answers, "q", options, &model, endless).await.unwrap().into_body();
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        token.cancel();
        assert_eq!(body.frame().await.unwrap().unwrap_err().code(), "internal-error");
        drop(body);
        assert_at_rest(&caches, &model);
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_leaves_while_it_is_its_turn_gives_the_turn_on() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let leader = tokio::spawn({
        let (answers, model) = (answers.clone(), model.clone());
        async move { ask_with(&answers, "q", AskOptions::default(), &model, Script::failing()).await }
    });
    settle().await;
    let body = asking("q");
    let question =
        crate::answer_cache::Question { path: "/v1/chat/completions", model: "small", body: body.as_bytes() };
    // Waits as the first of the followers, by hand, so that it is told of its turn and never takes it.
    let call = model.call(Script::saying("never"));
    let mut first = Box::pin(answers.get_or_call(question, AskOptions::default(), call));
    assert!(futures::poll!(&mut first).is_pending());
    let second = asker(&answers, &model, Script::saying("yes"));
    assert!(leader.await.unwrap().is_err());
    drop(first);
    assert_eq!(timeout(ms(1_000), second).await.unwrap().unwrap().text(), completion("yes"));
    assert_at_rest(&caches, &model);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_though_its_reader_leaves_at_the_last_word() {
    // The connection ends a moment later, or never.
    for end in [End::Whole, End::Never] {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let script = Script { end, ..Script::streaming(&["a"]) };
        let mut body =
            begin(&answers, "q", AskOptions::default(), &model, script.clone()).await.unwrap().into_body();
        for _ in &script.pieces {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let got = ask(&answers, "q", &model, Script::failing()).await;
        assert_eq!((got.pieces, got.error), (script.pieces, None));
        sleep(ms(200)).await;
        assert_eq!((model.calls(), caches.stats().answers), (1, 1));
        assert_at_rest(&caches, &model);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_last_event_whatever_the_connection_does() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let mut script = Script { end: End::Never, ..Script::streaming(&["a"]) };
    let whole = script.pieces.clone();
    script.pieces.extend(vec!["data: {\"more\":1}\n\n".to_owned(); 100]);
    for source in [AnswerSource::Miss, AnswerSource::Hit] {
        let got = ask(&answers, "q", &model, script.clone()).await;
        assert_eq!((got.source, &got.pieces, got.error), (source, &whole, None));
    }
    settle().await;
    sleep(ms(200)).await;
    assert_at_rest(&caches, &model);
}

/// What one asker does: when it comes, when it has had enough, and what its call would bring.
#[derive(Debug, Clone)]
struct Visit {
    comes_ms: u64,
    stays_ms: Option<u64>,
    by_token: bool,
    question: &'static str,
    script: Script,
}

fn visit() -> impl Strategy<Value = Visit> {
    let script = (0u64..30, 0usize..5).prop_map(|(pause_ms, kind)| {
        let words = Script::streaming(&["a", "b", "c"]);
        let script = match kind {
            0 => Script::failing(),
            1 => Script { status: Some(503), ..Script::saying("busy") },
            2 => Script { pieces: words.pieces[..2].to_vec(), end: End::CutOff, ..words },
            3 => Script::saying("abc"),
            _ => words,
        };
        Script { pause: ms(pause_ms), ..script }
    });
    let stays = proptest::option::weighted(0.6, 0u64..120);
    let question = prop_oneof![3 => Just("one"), 1 => Just("two")];
    (0u64..60, stays, any::<bool>(), question, script).prop_map(
        |(comes_ms, stays_ms, by_token, question, script)| Visit {
            comes_ms,
            stays_ms,
            by_token,
            question,
            script,
        },
    )
}

async fn visiting(answers: TenantAnswers, model: Model, visit: Visit) {
    sleep(ms(visit.comes_ms)).await;
    let token = CancellationToken::new();
    let options = AskOptions { cancelled: Some(token.clone()), ..AskOptions::default() };
    let asking = ask_with(&answers, visit.question, options, &model, visit.script.clone());
    tokio::pin!(asking);
    let stays = visit.stays_ms.map_or(Duration::from_secs(600), ms);
    let got = match timeout(stays, &mut asking).await {
        Ok(got) => got,
        Err(_left) if visit.by_token => {
            token.cancel();
            let got = asking.await;
            assert!(!matches!(&got, Ok(got) if got.error.is_none()), "it was cancelled");
            return;
        }
        Err(_left) => return,
    };
    // Whoever got an answer to its end got all of one, not parts of two.
    let whole = [Script::streaming(&["a", "b", "c"]).text(), completion("abc"), completion("busy")];
    if let Ok(got) = got
        && got.error.is_none()
    {
        assert!(whole.contains(&got.text()), "{got:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whoever_comes_and_goes_nothing_is_left_behind(
        visits in proptest::collection::vec(visit(), 1..24),
        invalidates_ms in proptest::option::of(0u64..100),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (caches, model) = (caches(), Model::default());
            let answers = a_minute(&caches, "bank");
            let tasks: Vec<_> = visits
                .into_iter()
                .map(|visit| tokio::spawn(visiting(answers.clone(), model.clone(), visit)))
                .collect();
            if let Some(after) = invalidates_ms {
                sleep(ms(after)).await;
                answers.invalidate();
            }
            for task in tasks {
                task.await.unwrap();
            }
            sleep(ms(200)).await;
            assert_at_rest(&caches, &model);
            let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
            assert_eq!(alive, usize::from(caches.is_swept()), "no task but the one that sweeps");
            let held = caches.stats();
            assert!(held.answers <= 2 && (held.answers == 0) == (held.bytes == 0));
            caches.forget("bank");
            assert_eq!(caches.stats().bytes, 0);
        });
    }
}
