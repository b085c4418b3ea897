//! Tries: to make the host keep much for little: full header lists, long targets, lists of keys that nobody reads.

use guests::spin_sdk::key_value::Store;
use guests::wasip3::http::types::{Fields, Request};
use guests::wasip3::wit_future;

guests::serve!(handle);

/// Pieces it hoards at most; more than any instance may have handles.
const PIECES: u32 = 20_000;
const KEYS: u32 = 5_000;
const KEY_BYTES: usize = 2_000;

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let got = match &*guests::trick(&request) {
        "fields" => hoard(full_fields).await,
        "targets" => hoard(long_target).await,
        "key-lists" => key_lists().await,
        other => return guests::answer(404, format!("no trick `{other}`")),
    };
    guests::answer(200, format!("got {got}"))
}

async fn hoard<T>(one: impl Fn() -> Option<T>) -> u32 {
    let mut kept = Vec::new();
    for count in 0..PIECES {
        match one() {
            Some(piece) => kept.push(piece),
            None => return count,
        }
    }
    PIECES
}

/// As many bytes as a header list may have.
fn full_fields() -> Option<Fields> {
    let fields = Fields::new();
    let value = vec![b'x'; 60_000];
    fields.append("x-first", &value).ok()?;
    fields.append("x-second", &value).ok()?;
    Some(fields)
}

fn long_target() -> Option<Request> {
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (request, transmission) = Request::new(Fields::new(), None, trailers_reader, None);
    drop(transmission);
    let target = format!("/{}", "x".repeat(60_000));
    request.set_path_with_query(Some(&target)).ok()?;
    Some(request)
}

/// Writes many long keys, then asks for all of them again and again and reads none.
async fn key_lists() -> u32 {
    let store = Store::open("default").await.expect("the store exists");
    for number in 0..KEYS {
        let key = format!("{number:06}{}", "k".repeat(KEY_BYTES));
        store.set(&key, b"").await.expect("the store takes it");
    }
    let mut kept = Vec::new();
    for _ in 0..PIECES {
        kept.push(store.get_keys().await);
    }
    PIECES
}
