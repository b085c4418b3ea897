//! Calls of others over `waggle:http/client`, which a host offers or a component of the application does.

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:wasi@0.1.0;
                 world client {
                   import waggle:http/client@0.1.0;
                 }",
        path: "../../wit",
        world: "waggle:wasi/client",
        with: {
            "wasi:http/types@0.3.0": spin_sdk::wasip3::http::types,
            "wasi:clocks/types@0.3.0": spin_sdk::wasip3::clocks::types,
        },
        generate_all,
    });
}

pub(crate) use bindings::waggle::http::client::{Call, Failure};

use crate::body::WasiBody;
use crate::fields::HeaderFields;
use bindings::waggle::http::client::{self, Answer};
use spin_sdk::wasip3::http::types::Response;
use spin_sdk::wasip3::wit_future;

/// What was answered: the head, and the body to come or already here.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) fields: HeaderFields,
    pub(crate) body: WasiBody,
}

/// A header field of a call.
pub(crate) fn field(name: &str, value: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (name.to_owned(), value.into())
}

/// Makes a call and waits for the head of its answer.
pub(crate) async fn send(call: Call) -> Result<Answered, Failure> {
    match client::send(call).await? {
        Answer::Whole(answer) => {
            let (fields, body) = (HeaderFields::from(answer.headers), WasiBody::whole(answer.body));
            Ok(Answered { status: answer.status, fields, body })
        }
        Answer::Streamed(response) => {
            let fields = HeaderFields::of(&response.get_headers());
            let length = fields.peek("content-length").and_then(|length| length.parse().ok());
            let status = response.get_status_code();
            let (received, received_reader) = wit_future::new(|| Ok(()));
            let body = WasiBody::new(Response::consume_body(response, received_reader), received, length);
            Ok(Answered { status, fields, body })
        }
    }
}
