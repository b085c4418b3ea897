//! Tries: an endless loop that is nearly always inside the host: the store, randomness, the clocks, variables, yields.

use guests::imports::fermyon::spin::key_value as spin2;
use guests::spin_sdk::{key_value as spin3, variables};
use guests::wasip3::clocks::{monotonic_clock, system_clock};
use guests::wasip3::random::{insecure, random};
use guests::wasip3::wit_bindgen::yield_async;
use std::hint::black_box;

guests::serve!(handle);

const RANDOM_BYTES: u64 = 1 << 20;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    match &*guests::trick(&request) {
        "store" => store(),
        "store-async" => store_async().await,
        "random" => loop {
            black_box(random::get_random_bytes(RANDOM_BYTES));
            black_box(insecure::get_insecure_random_bytes(RANDOM_BYTES));
        },
        "clock" => loop {
            black_box((monotonic_clock::now(), system_clock::now()));
        },
        "no-wait" => loop {
            monotonic_clock::wait_for(0).await;
        },
        "variable" => loop {
            let _unknown = black_box(variables::get("nobody").await);
        },
        "yield" => loop {
            yield_async().await;
        },
        "headers" => loop {
            black_box(guests::headers(&request));
        },
        other => guests::answer(404, format!("no trick `{other}`")),
    }
}

fn store() -> ! {
    let store = spin2::Store::open("default").expect("the store exists");
    store.set("looped", &[7; 4096]).expect("the store takes it");
    loop {
        black_box(store.get("looped").expect("the store has it"));
    }
}

async fn store_async() -> ! {
    let store = spin3::Store::open("default").await.expect("the store exists");
    store.set("looped", [7; 4096]).await.expect("the store takes it");
    loop {
        black_box(store.get("looped").await.expect("the store has it"));
    }
}
