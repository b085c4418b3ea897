//! Tries: to hand the host a list of millions of handles in one call.

use guests::p2::IncomingRequest;
use guests::p2::bindings::wasi::clocks0_2_6::monotonic_clock;
use guests::p2::bindings::wasi::io::poll;

guests::serve_p2!(handle);

const COUNT: usize = 5_000_000;

fn handle(request: &IncomingRequest) -> String {
    if !guests::p2::is_asked_to_hurt(request) {
        return "fine\n".to_owned();
    }
    let ready = monotonic_clock::subscribe_duration(0);
    let list = vec![&ready; COUNT];
    format!("{} ready", poll::poll(&list).len())
}
