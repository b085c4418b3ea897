//! A WASI 0.2 function. It counts the requests of its instance, which must never be more than one.

use guests::p2::IncomingRequest;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

guests::serve_p2!(handle);

static SERVED: AtomicU32 = AtomicU32::new(0);

fn handle(request: &IncomingRequest) -> String {
    let served = SERVED.fetch_add(1, Relaxed) + 1;
    let path_info = request.headers().get("spin-path-info").pop().unwrap_or_default();
    format!("request {served} at {}", String::from_utf8_lossy(&path_info))
}
