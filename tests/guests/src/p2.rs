//! WASI 0.2: the bindings of a function, and answering in one go.

pub mod bindings {
    spin_sdk::wit_bindgen::generate!({
        inline: "
            package waggle:guests-p2@0.1.0;
            world guest-p2 {
                import wasi:http/types@0.2.6;
                import wasi:http/outgoing-handler@0.2.6;
                export wasi:http/incoming-handler@0.2.6;
            }
        ",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        path: "../../wit",
        world: "waggle:guests-p2/guest-p2@0.1.0",
        pub_export_macro: true,
        default_bindings_module: "guests::p2::bindings",
        generate_all,
    });
}

pub use bindings::exports::wasi::http0_2_6::incoming_handler::Guest;
pub use bindings::wasi::http0_2_6::types::{IncomingRequest, ResponseOutparam};

use bindings::wasi::http0_2_6::outgoing_handler;
use bindings::wasi::http0_2_6::types::{
    ErrorCode, Fields, OutgoingBody, OutgoingRequest, OutgoingResponse, Scheme,
};

/// Makes a function of a request the component's handler; the text it returns is the body.
#[macro_export]
macro_rules! serve_p2 {
    ($handle:path) => {
        struct Function;

        impl $crate::p2::Guest for Function {
            fn handle(request: $crate::p2::IncomingRequest, out: $crate::p2::ResponseOutparam) {
                $crate::p2::answer(out, &$handle(&request));
            }
        }

        $crate::p2::bindings::export!(Function);
    };
}

/// Sends a whole answer.
pub fn answer(out: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    // A client that went away is no error of the guest's.
    let _gone = stream.blocking_write_and_flush(text.as_bytes());
    drop(stream);
    let _gone = OutgoingBody::finish(body, None);
}

/// Whether the guest shall do its worst.
pub fn is_asked_to_hurt(request: &IncomingRequest) -> bool {
    request.path_with_query().is_some_and(|target| target.ends_with("?now"))
}

/// Calls `http://AUTHORITY/PATH` with GET and tells the status.
pub fn fetch(authority: &str, path: &str) -> Result<u16, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let sent = outgoing_handler::handle(request, None)?;
    sent.subscribe().block();
    let response = sent.get().expect("it is ready").expect("it is taken once")?;
    Ok(response.status())
}
