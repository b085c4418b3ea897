//! Answers whose time is over go by themselves.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::support::{Model, Script, a_minute, ask, caches, ms, settle};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn an_answer_gives_its_memory_back_though_nobody_asks() {
    let (caches, model) = (caches(), Model::default());
    let (bank, shop) = (a_minute(&caches, "bank"), a_minute(&caches, "shop"));
    assert!(!caches.is_swept(), "without an answer there is nothing to sweep");
    ask(&bank, "a", &model, Script::saying("one")).await;
    sleep(seconds(30)).await;
    ask(&shop, "b", &model, Script::saying("two")).await;
    settle().await;
    assert_eq!((caches.stats().answers, caches.is_swept()), (2, true));
    // The first look comes a minute after the first answer, the next one a minute after that.
    sleep(seconds(29)).await;
    assert_eq!((bank.stats().answers, shop.stats().answers), (1, 1));
    sleep(seconds(2)).await;
    assert_eq!((bank.stats().answers, shop.stats().answers), (0, 1));
    sleep(seconds(60)).await;
    let stats = caches.stats();
    assert_eq!((stats.answers, stats.bytes, stats.expired, stats.hits), (0, 0, 2, 0));
    settle().await;
    assert!(!caches.is_swept(), "with nothing left there is no timer");
    // The next answer brings it back.
    ask(&bank, "a", &model, Script::saying("one")).await;
    settle().await;
    assert!(caches.is_swept());
    sleep(seconds(121)).await;
    assert_eq!((caches.stats().bytes, model.calls()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_caches() {
    let (caches, model) = (caches(), Model::default());
    let before = Handle::current().metrics().num_alive_tasks();
    let bank = a_minute(&caches, "bank");
    ask(&bank, "a", &model, Script::saying("one")).await;
    sleep(ms(200)).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before + 1, "the sweeper alone");
    drop((caches, bank));
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
}
