//! Tries: an endless loop that never lets the event loop run.

guests::serve!(handle);

async fn handle(request: guests::Request) -> guests::Answer {
    let mut turns = 0_u64;
    while guests::is_asked_to_hurt(&request) {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
    guests::fine()
}
