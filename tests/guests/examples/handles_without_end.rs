//! Tries: to hold as many handles as it can get of one kind: fields, requests, streams, futures, stores, waits.

use guests::imports::fermyon::spin::key_value::Store;
use guests::wasip3::clocks::monotonic_clock;
use guests::wasip3::http::types::{Fields, RequestOptions};
use guests::wasip3::wit_bindgen::{FutureReader, StreamReader};
use guests::wasip3::{wit_future, wit_stream};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

guests::serve!(handle);

/// Handles it wants.
const WANTED: u32 = 1_000_000;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let got = match &*guests::trick(&request) {
        "fields" => hoard(|| Some(Fields::new())),
        "options" => hoard(|| Some(RequestOptions::new())),
        "requests" => hoard(|| guests::get("http://example.com/", &[("x-filler", "y")]).ok()),
        "streams" => hoard(|| Some(wit_stream::new::<u8>())),
        "futures" => hoard(future),
        "stores" => hoard(|| Store::open("default").ok()),
        "waits" => waits().await,
        "streams-of-streams" => hoard(|| Some(nested())),
        other => return guests::answer(404, format!("no trick `{other}`")),
    };
    guests::answer(200, format!("got {got}"))
}

fn hoard<T>(mut one: impl FnMut() -> Option<T>) -> u32 {
    let mut kept = Vec::new();
    for count in 0..WANTED {
        match one() {
            Some(handle) => kept.push(handle),
            None => return count,
        }
    }
    WANTED
}

fn future() -> Option<FutureReader<Result<(), guests::ErrorCode>>> {
    let (writer, reader) = wit_future::new(|| Ok(()));
    std::mem::forget(writer);
    Some(reader)
}

fn nested() -> StreamReader<u8> {
    let (writer, reader) = wit_stream::new::<u8>();
    std::mem::forget(writer);
    reader
}

/// Begins that many waits at once and polls each of them once.
async fn waits() -> u32 {
    let mut kept: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    std::future::poll_fn(|context| {
        while kept.len() < WANTED as usize {
            let mut wait: Pin<Box<dyn Future<Output = ()>>> =
                Box::pin(monotonic_clock::wait_for(guests::FOR_EVER_MS * 1_000_000));
            let _waits = wait.as_mut().poll(context);
            kept.push(wait);
        }
        Poll::Ready(WANTED)
    })
    .await
}
