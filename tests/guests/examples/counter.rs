//! Counts the requests of its instance in a static: shows whether instances are reused, and by whom.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

guests::serve!(handle);

static SERVED: AtomicU64 = AtomicU64::new(0);

async fn handle(_request: guests::Request) -> guests::Answer {
    let served = SERVED.fetch_add(1, Relaxed) + 1;
    guests::answer(200, served.to_string())
}
