//! A component that exports nothing a tool could be made of: everything it does is about its resource.

mod bindings {
    guests::spin_sdk::wit_bindgen::generate!({
        inline: "
            package waggle:guests-nothing@0.1.0;
            interface sessions {
                resource session { constructor(); send: func(text: string); }
                end: func(session: session);
            }
            world nothing { export sessions; }
        ",
        runtime_path: "::guests::spin_sdk::wit_bindgen::rt",
        world: "waggle:guests-nothing/nothing@0.1.0",
    });
}

use bindings::exports::waggle::guests_nothing::sessions::{Guest, GuestSession, Session};

struct Nothing;

bindings::export!(Nothing with_types_in bindings);

struct Quiet;

impl Guest for Nothing {
    type Session = Quiet;

    fn end(_session: Session) {}
}

impl GuestSession for Quiet {
    fn new() -> Self {
        Self
    }

    fn send(&self, _text: String) {}
}
