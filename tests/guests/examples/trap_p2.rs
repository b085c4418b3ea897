//! Tries: a panic in a WASI 0.2 handler.

use guests::p2::IncomingRequest;

guests::serve_p2!(handle);

fn handle(request: &IncomingRequest) -> String {
    assert!(!guests::p2::is_asked_to_hurt(request), "the secret of this panic");
    "fine\n".to_owned()
}
