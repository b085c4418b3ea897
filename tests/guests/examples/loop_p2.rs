//! Tries: an endless loop in a WASI 0.2 handler.

use guests::p2::IncomingRequest;

guests::serve_p2!(handle);

fn handle(request: &IncomingRequest) -> String {
    let mut turns = 0_u64;
    while guests::p2::is_asked_to_hurt(request) {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
    "fine\n".to_owned()
}
