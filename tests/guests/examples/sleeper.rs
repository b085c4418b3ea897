//! Waits on the host's clock for the `ms` of its query, then tells the most requests its instance has had at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

guests::serve!(handle);

static UNDER_WAY: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

async fn handle(request: guests::Request) -> guests::Answer {
    let milliseconds = guests::parameter(&request, "ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
    let now = UNDER_WAY.fetch_add(1, Relaxed) + 1;
    MOST.fetch_max(now, Relaxed);
    guests::sleep_ms(milliseconds).await;
    UNDER_WAY.fetch_sub(1, Relaxed);
    guests::answer(200, MOST.load(Relaxed).to_string())
}
