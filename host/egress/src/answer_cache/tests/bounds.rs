//! What the caches hold, and no more.

use super::support::*;
use crate::answer_cache::{AnswerCacheConfig, AnswerCaches, AnswerSource};
use proptest::prelude::*;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn bounded(bytes_max: u64, tenant_bytes_max: u64) -> AnswerCaches {
    AnswerCaches::new(&AnswerCacheConfig { bytes_max, tenant_bytes_max, ..AnswerCacheConfig::default() })
}

/// An answer of about `bytes`.
fn large(bytes: usize) -> Script {
    Script { pause: ms(0), ..Script::saying(&"x".repeat(bytes)) }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_no_more_than_its_bound() {
    let (caches, model) = (bounded(8 * MIB, MIB), Model::default());
    let answers = a_minute(&caches, "bank");
    for index in 0..100 {
        ask(&answers, &format!("question {index}"), &model, large(100_000)).await;
        assert!(caches.stats().bytes <= MIB);
    }
    let stats = answers.stats();
    assert!(stats.answers >= 8 && stats.bytes >= MIB / 2, "the room is used: {stats:?}");
    assert_eq!(stats.answers + stats.evictions, 100);
    assert_eq!(stats, caches.stats());
}

#[tokio::test(start_paused = true)]
async fn all_together_have_no_more_than_theirs_and_who_has_most_gives_first() {
    let (caches, model) = (bounded(2 * MIB, 2 * MIB), Model::default());
    let (quiet, loud) = (a_minute(&caches, "quiet"), a_minute(&caches, "loud"));
    for index in 0..5 {
        ask(&quiet, &format!("question {index}"), &model, large(50_000)).await;
    }
    for index in 0..100 {
        ask(&loud, &format!("question {index}"), &model, large(100_000)).await;
        assert!(caches.stats().bytes <= 2 * MIB);
    }
    assert_eq!((quiet.stats().answers, quiet.stats().evictions), (5, 0));
    assert!(loud.stats().evictions > 0 && caches.stats().bytes > MIB);
    for index in 0..5 {
        let got = ask(&quiet, &format!("question {index}"), &model, Script::failing()).await;
        assert_eq!(got.source, AnswerSource::Hit);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_before_what_is_not() {
    let (caches, model) = (bounded(MIB, MIB), Model::default());
    let (old, new) = (a_minute(&caches, "old"), a_minute(&caches, "new"));
    for index in 0..7 {
        ask(&old, &format!("question {index}"), &model, large(100_000)).await;
    }
    tokio::time::advance(ms(60_000)).await;
    for index in 0..9 {
        ask(&new, &format!("question {index}"), &model, large(100_000)).await;
    }
    assert_eq!((old.stats().answers, old.stats().expired), (0, 7));
    assert_eq!((new.stats().answers, new.stats().evictions), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_asked_for_again_outlives_those_that_are_not() {
    let (caches, model) = (bounded(8 * MIB, MIB), Model::default());
    let answers = a_minute(&caches, "bank");
    ask(&answers, "where is it?", &model, large(10_000)).await;
    for index in 0..300 {
        ask(&answers, &format!("question {index}"), &model, large(10_000)).await;
        let got = ask(&answers, "where is it?", &model, Script::failing()).await;
        assert_eq!(got.source, AnswerSource::Hit);
    }
    assert!(answers.stats().evictions > 100);
}

#[tokio::test(start_paused = true)]
async fn tenants_that_nobody_serves_and_that_have_nothing_are_forgotten() {
    let (caches, model) = (caches(), Model::default());
    let held = a_minute(&caches, "held");
    ask(&a_minute(&caches, "has an answer"), "q", &model, Script::saying("yes")).await;
    for index in 0..10_000 {
        let _ = a_minute(&caches, &format!("tenant-{index}"));
    }
    assert!(caches.tenants() < 200, "{}", caches.tenants());
    caches.sweep();
    assert_eq!(caches.tenants(), 2);
    tokio::time::advance(ms(60_000)).await;
    caches.sweep();
    assert_eq!(caches.tenants(), 1);
    drop(held);
    caches.sweep();
    assert_eq!(caches.tenants(), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_over_what_can_be_followed_are_made_by_themselves() {
    let (caches, model) = (caches(), Model::default());
    let answers = a_minute(&caches, "bank");
    let texts: Vec<_> = (0..4_200).map(|index| format!("question {index}")).collect();
    let all = futures::future::join_all(
        texts.iter().map(|text| ask(&answers, text, &model, Script::saying("yes"))),
    );
    let watch = async {
        settle().await;
        caches.stats().calls
    };
    let (all, calls) = tokio::join!(all, watch);
    assert_eq!(calls, 4_096);
    assert!(all.iter().all(|got| got.source == AnswerSource::Miss && got.text() == completion("yes")));
    assert_eq!((caches.stats().calls, caches.stats().misses), (0, 4_200));
}

/// What may happen to the caches.
#[derive(Debug, Clone)]
enum Event {
    Ask { tenant: usize, question: u32, bytes: usize },
    Pass { ms: u64 },
    Invalidate { tenant: usize },
    Forget { tenant: usize },
    Sweep,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (0usize..4, 0u32..12, 1usize..200_000)
            .prop_map(|(tenant, question, bytes)| Event::Ask { tenant, question, bytes }),
        3 => (0u64..40_000).prop_map(|ms| Event::Pass { ms }),
        1 => (0usize..4).prop_map(|tenant| Event::Invalidate { tenant }),
        1 => (0usize..4).prop_map(|tenant| Event::Forget { tenant }),
        1 => Just(Event::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_books_are_right_whatever_happens(events in proptest::collection::vec(event(), 1..60)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (caches, model) = (bounded(MIB, 700 * 1024), Model::default());
            let names = ["a", "b", "c", "d"];
            let mut handles = names.map(|name| a_minute(&caches, name));
            for event in events {
                match event {
                    Event::Ask { tenant, question, bytes } => {
                        let text = format!("question {question}");
                        let script = large(bytes);
                        let got = ask(&handles[tenant], &text, &model, script.clone()).await;
                        assert!(got.source == AnswerSource::Hit || got.text() == script.text());
                    }
                    Event::Pass { ms: passed } => tokio::time::advance(ms(passed)).await,
                    Event::Invalidate { tenant } => handles[tenant].invalidate(),
                    Event::Forget { tenant } => {
                        caches.forget(names[tenant]);
                        handles[tenant] = a_minute(&caches, names[tenant]);
                    }
                    Event::Sweep => caches.sweep(),
                }
                let (all, each) = (caches.stats(), handles.each_ref().map(|answers| answers.stats()));
                assert!(all.bytes <= MIB && each.iter().all(|one| one.bytes <= 700 * 1024));
                assert_eq!(all.bytes, each.iter().map(|one| one.bytes).sum::<u64>());
                assert_eq!(all.answers, each.iter().map(|one| one.answers).sum::<u64>());
                assert_eq!(all.calls, 0);
            }
            for name in names {
                caches.forget(name);
            }
            assert_eq!((caches.stats().bytes, caches.stats().answers), (0, 0));
        });
    }
}

#[tokio::test]
async fn many_threads_agree_on_the_books() {
    let (caches, model) = (bounded(MIB, MIB), Model::default());
    let caches = Arc::new(caches);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (caches, model) = (Arc::clone(&caches), model.clone());
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for index in 0..60 {
                        let answers = a_minute(&caches, ["a", "b", "c"][index % 3]);
                        let text = format!("question {}", (index * 7 + task) % 20);
                        ask(&answers, &text, &model, large(50_000)).await;
                        assert!(caches.stats().bytes <= MIB);
                    }
                });
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(caches.stats().calls, 0);
    for tenant in ["a", "b", "c"] {
        caches.forget(tenant);
    }
    assert_eq!(caches.stats().bytes, 0);
}
