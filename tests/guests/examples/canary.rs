//! Keeps what its caller gives it wherever an instance can keep something, and tells what it found there before: a
//! static, a thread-local, a buffer on the heap, memory that was given back, and the store.

use guests::spin_sdk::key_value::Store;
use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

guests::serve!(handle);

static STATIC: Mutex<String> = Mutex::new(String::new());
static BUFFER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SERVED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LOCAL: RefCell<String> = const { RefCell::new(String::new()) };
}

const BUFFER_BYTES: usize = 64 << 10;
/// What every canary begins with, so that one is known wherever it lies.
const SONG: &[u8] = b"canary-";
const CANARY_BYTES: usize = 24;

async fn handle(request: guests::Request) -> guests::Answer {
    let canary = guests::parameter(&request, "canary").unwrap_or_default();
    let served = SERVED.fetch_add(1, Relaxed) + 1;
    let store = Store::open("default").await.expect("the store exists");
    let stored = store.get("canary").await.expect("the store answers").unwrap_or_default();
    let mut found = vec![
        std::mem::replace(&mut *STATIC.lock().expect("nobody panicked"), canary.clone()),
        LOCAL.replace(canary.clone()),
        kept_in_buffer(&canary),
        String::from_utf8_lossy(&stored).into_owned(),
    ];
    found.extend(left_in_memory(&canary));
    store.set("canary", canary.as_bytes()).await.expect("the store takes it");
    found.retain(|what| !what.is_empty());
    guests::answer(200, format!("{served} {}", found.join(" ")))
}

fn kept_in_buffer(canary: &str) -> String {
    let mut buffer = BUFFER.lock().expect("nobody panicked");
    let found = song(&buffer);
    buffer.clear();
    buffer.resize(BUFFER_BYTES - canary.len(), b'.');
    buffer.extend_from_slice(canary.as_bytes());
    found
}

/// Memory that was given back and is had again is not cleaned: whatever an earlier request left is there.
fn left_in_memory(canary: &str) -> Option<String> {
    let mut again: Vec<u8> = Vec::with_capacity(BUFFER_BYTES);
    let spare = again.spare_capacity_mut();
    // SAFETY: a WebAssembly memory holds bytes and nothing else; whatever was there before may be read.
    let before = unsafe { std::slice::from_raw_parts(spare.as_ptr().cast::<u8>(), spare.len()) };
    let found = song(before);
    again.resize(BUFFER_BYTES - canary.len(), b'-');
    again.extend_from_slice(canary.as_bytes());
    std::hint::black_box(&again);
    (!found.is_empty()).then_some(found)
}

fn song(bytes: &[u8]) -> String {
    let at = bytes.windows(SONG.len()).position(|window| window == SONG);
    let found = at.map(|at| &bytes[at..bytes.len().min(at + CANARY_BYTES)]).unwrap_or_default();
    String::from_utf8_lossy(found).into_owned()
}
