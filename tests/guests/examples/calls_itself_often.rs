//! Tries: to call itself many times at once, each of which does the same, as deep as it goes.

use guests::wasip3::spawn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

guests::serve!(handle);

const CALLS: usize = 32;

async fn handle(request: guests::Request) -> guests::Answer {
    static SENT: AtomicU64 = AtomicU64::new(0);
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    for _ in 0..CALLS {
        spawn(async {
            SENT.fetch_add(1, Relaxed);
            let _ended = guests::fetch("http://self/calls-itself-often/a?now", &[]).await;
        });
    }
    let _ended = guests::fetch("http://self/calls-itself-often/a?now", &[]).await;
    guests::fine()
}
