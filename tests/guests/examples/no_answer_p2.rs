//! Tries: to return from a WASI 0.2 handler without ever having set a response.

use guests::p2::{Guest, IncomingRequest, ResponseOutparam};

struct Function;

guests::p2::bindings::export!(Function);

impl Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if guests::p2::is_asked_to_hurt(&request) {
            return;
        }
        guests::p2::answer(out, "fine\n");
    }
}
