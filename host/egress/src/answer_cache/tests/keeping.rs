//! What is kept, for whom, and for how long.

use super::support::*;
use crate::answer_cache::{
    ANSWER_BYTES_MAX, AnswerSettings, AnswerSource, AskOptions, Question, TenantAnswers,
};
use crate::error::EgressError;
use futures::future::join_all;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;

#[tokio::test(start_paused = true)]
async fn an_answer_is_replayed_without_a_call_in_the_same_pieces() {
    for script in [Script::saying("yes"), Script::streaming(&["ye", "s", " it is"])] {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        let first = ask(&answers, "Is it open?", &model, script.clone()).await;
        assert_eq!((first.source, &first.pieces), (AnswerSource::Miss, &script.pieces));
        let second = ask(&answers, " is it OPEN？", &model, Script::saying("another")).await;
        assert_eq!((second.source, &second.pieces), (AnswerSource::Hit, &script.pieces));
        assert_eq!(model.calls(), 1);
        let stats = answers.stats();
        assert_eq!((stats.hits, stats.misses, stats.waits, stats.answers), (1, 1, 0, 1));
        assert!(stats.bytes > script.text().len() as u64);
        assert_eq!(caches.stats(), stats);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_knows_its_length_and_its_head_is_the_answers_not_the_calls() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let script = Script::saying("yes");
    let begun =
        || async { begin(&answers, "open?", AskOptions::default(), &model, script.clone()).await.unwrap() };
    let first = begun().await;
    assert_eq!(first.headers()["x-request-id"], "the leader's");
    first.into_body().collect().await.unwrap();
    let second = begun().await;
    assert!(!second.headers().contains_key("x-request-id"));
    assert_eq!(second.headers()["content-type"], JSON);
    assert_eq!(second.headers()["waggle-attempts"], "0");
    assert_eq!(second.body().size_hint().exact(), Some(script.text().len() as u64));
    let mut body = second.into_body();
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_whole_or_not_good_is_called_for_again() {
    async fn check(what: &str, script: Script) {
        let (caches, model) = (caches(), Model::default());
        let answers = a_minute(&caches, "bank");
        for calls in 1..3 {
            let got = ask_with(&answers, "q", AskOptions::default(), &model, script.clone()).await;
            assert_eq!(model.calls(), calls, "{what}");
            if let Ok(got) = got {
                assert_eq!((Some(got.status), &got.pieces), (script.status, &script.pieces), "{what}");
                assert_eq!(got.source, AnswerSource::Miss, "{what}");
            }
        }
        assert_eq!((caches.stats().answers, caches.stats().bytes, caches.stats().calls), (0, 0, 0), "{what}");
    }
    let good = Script::saying("yes");
    let stream = Script::streaming(&["yes"]);
    check("failed", Script::failing()).await;
    check("server error", Script { status: Some(500), ..good.clone() }).await;
    check("refused", Script { status: Some(400), ..good.clone() }).await;
    check("other success", Script { status: Some(201), ..good.clone() }).await;
    check("cut off", Script { end: End::CutOff, ..good.clone() }).await;
    check("empty", Script { pieces: Vec::new(), ..good.clone() }).await;
    check("cut off at once", Script { pieces: Vec::new(), end: End::CutOff, ..good.clone() }).await;
    check("page", Script { content_type: "text/html", ..good.clone() }).await;
    check("says nothing", Script::saying("  ")).await;
    check("too long", Script { pieces: vec![good.text().replace("stop", "length")], ..good }).await;
    let tool = stream.text().replace("\"content\":\"yes\"", "\"tool_calls\":[{}]");
    check("calls a tool", Script { pieces: vec![tool], ..stream.clone() }).await;
    let last = stream.pieces.len() - 1;
    check("no [DONE]", Script { pieces: stream.pieces[..last].to_vec(), ..stream.clone() }).await;
    check("larger than what is kept", Script::saying(&"x".repeat(ANSWER_BYTES_MAX))).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_lives_for_its_time_and_no_longer() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    ask(&answers, "q", &model, Script::saying("one")).await;
    tokio::time::advance(ms(59_999)).await;
    assert_eq!(ask(&answers, "q", &model, Script::saying("two")).await.text(), completion("one"));
    tokio::time::advance(ms(1)).await;
    assert_eq!(ask(&answers, "q", &model, Script::saying("two")).await.text(), completion("two"));
    assert_eq!((answers.stats().expired, answers.stats().answers), (1, 1));

    tokio::time::advance(ms(60_000)).await;
    assert_ne!(caches.stats().bytes, 0);
    caches.sweep();
    assert_eq!((caches.stats().bytes, caches.stats().expired), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_time_holds_at_once_and_off_forgets() {
    let (caches, model) = (caches(), Model::default());
    let old = a_minute(&caches, "bank");
    ask(&old, "q", &model, Script::saying("one")).await;
    tokio::time::advance(ms(10_000)).await;
    let new = caches.tenant("bank", AnswerSettings { time_to_live_s: 5 });
    assert_eq!(ask(&old, "q", &model, Script::saying("two")).await.source, AnswerSource::Miss);
    assert_eq!(ask(&new, "q", &model, Script::saying("three")).await.source, AnswerSource::Hit);

    let off = caches.tenant("bank", AnswerSettings::default());
    for answers in [&old, &new, &off, &TenantAnswers::off()] {
        assert!(!answers.is_on());
        assert_eq!(ask(answers, "q", &model, Script::saying("four")).await.source, AnswerSource::Off);
    }
    assert_eq!((model.calls(), caches.stats().bytes), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_question_is_called_for() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    for (path, body) in [("/v1/embeddings", "{}"), ("/v1/chat/completions", "not json")] {
        for _ in 0..2 {
            let question = Question { path, model: "small", body: body.as_bytes() };
            let call = model.call(Script::saying("yes"));
            let response = answers.get_or_call(question, AskOptions::default(), call).await.unwrap();
            assert_eq!(response.extensions().get(), Some(&AnswerSource::Off));
            response.into_body().collect().await.unwrap();
        }
    }
    assert_eq!((model.calls(), caches.stats().misses, caches.stats().answers), (4, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn fifty_tenants_with_one_question_each_get_their_own_answer() {
    let (caches, model) = (caches(), Model::default());
    let tenants: Vec<_> = (0..50).map(|index| format!("tenant-{index}")).collect();
    let handles: Vec<_> = tenants.iter().map(|tenant| a_minute(&caches, tenant)).collect();
    for round in 0..3 {
        // Four of each tenant at once: they may share, but never over tenants.
        let askers = tenants.iter().zip(&handles).flat_map(|both| [both; 4]).map(|(tenant, answers)| {
            let (model, script) = (&model, Script::streaming(&["I am ", tenant]));
            async move {
                let got = ask(answers, "Who are you?", model, script.clone()).await;
                assert_eq!(got.pieces, script.pieces);
                got.source
            }
        });
        let sources = join_all(askers).await;
        let calls = sources.iter().filter(|source| **source == AnswerSource::Miss).count();
        assert_eq!(calls, if round == 0 { 50 } else { 0 });
    }
    assert_eq!((model.calls(), caches.stats().answers), (50, 50));
    caches.invalidate("tenant-7");
    assert_eq!(
        ask(&handles[7], "Who are you?", &model, Script::saying("new")).await.source,
        AnswerSource::Miss
    );
    assert_eq!(
        ask(&handles[8], "Who are you?", &model, Script::saying("new")).await.source,
        AnswerSource::Hit
    );
}

#[tokio::test(start_paused = true)]
async fn all_handles_of_a_tenant_share_its_answers_until_it_is_forgotten() {
    let (caches, model) = (caches(), Model::default());
    let (one, other) = (a_minute(&caches, "bank"), a_minute(&caches, "bank"));
    ask(&one, "q", &model, Script::saying("one")).await;
    assert_eq!(ask(&other, "q", &model, Script::saying("two")).await.source, AnswerSource::Hit);
    one.invalidate();
    assert_eq!(ask(&other, "q", &model, Script::saying("two")).await.source, AnswerSource::Miss);
    caches.forget("bank");
    assert_eq!(ask(&other, "q", &model, Script::saying("three")).await.source, AnswerSource::Off);
    let again = a_minute(&caches, "bank");
    assert_eq!(ask(&again, "q", &model, Script::saying("four")).await.source, AnswerSource::Miss);
    assert_eq!(caches.stats().answers, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_an_invalidation_is_not_kept_after_it() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let asker = tokio::spawn({
        let (answers, model) = (answers.clone(), model.clone());
        async move { ask(&answers, "q", &model, Script::saying("old")).await }
    });
    settle().await;
    answers.invalidate();
    let new = ask(&answers, "q", &model, Script::saying("new")).await;
    assert_eq!((new.source, new.text()), (AnswerSource::Miss, completion("new")), "it does not join the old");
    assert_eq!(asker.await.unwrap().text(), completion("old"), "who had asked gets its answer");
    assert_eq!(ask(&answers, "q", &model, Script::failing()).await.text(), completion("new"));
    assert_eq!((model.calls(), caches.stats().answers), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_an_invalidation_is_not_kept() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let (old, ()) = tokio::join!(ask(&answers, "q", &model, Script::saying("old")), async {
        settle().await;
        answers.invalidate();
    });
    assert_eq!(old.text(), completion("old"));
    assert_eq!((caches.stats().answers, caches.stats().bytes), (0, 0));
    assert_eq!(ask(&answers, "q", &model, Script::saying("new")).await.text(), completion("new"));
}

#[tokio::test(start_paused = true)]
async fn what_another_cache_had_is_not_kept_for_another_lifetime() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    for _ in 0..2 {
        let semantic = |token| {
            let call = model.call(Script::saying("yes"))(token);
            async move {
                let mut response: Response<ModelBody> = call.await?;
                response.extensions_mut().insert(AnswerSource::Hit);
                Ok::<_, EgressError>(response)
            }
        };
        let body = asking("q");
        let question = Question { path: "/v1/chat/completions", model: "small", body: body.as_bytes() };
        let response = answers.get_or_call(question, AskOptions::default(), semantic).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!((model.calls(), caches.stats().answers), (2, 0));
}
