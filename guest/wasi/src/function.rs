//! A function's export: what answers a request, whichever way that comes.
//!
//! A host that knows `waggle:http/handler` hands over short requests whole, in one call; all others come over `wasi:http`.
//! Functions see no difference.

#[doc(hidden)]
pub mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:wasi@0.1.0;
                 world whole {
                   export waggle:http/handler@0.1.0;
                 }",
        path: "../../wit",
        world: "waggle:wasi/whole",
        with: {
            "wasi:http/types@0.3.0": spin_sdk::wasip3::http::types,
            "wasi:clocks/types@0.3.0": spin_sdk::wasip3::clocks::types,
        },
        pub_export_macro: true,
        export_macro_name: "export_whole",
        default_bindings_module: "waggle_wasi::whole_handler",
    });
}

pub(crate) use bindings::exports::waggle::http::handler::WholeRequest;

use crate::incoming::Incoming;
use crate::outgoing::{WasiSink, stream, whole};
use bindings::exports::waggle::http::handler::{Answer, Guest, WholeResponse};
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::spawn;
use std::future::Future;
use std::pin::Pin;
use waggle_platform::Reply;

/// What produces the body of an answer.
type Producer = Box<dyn FnOnce(WasiSink) -> Pin<Box<dyn Future<Output = ()>>>>;

/// An answer.
pub enum Outgoing {
    /// One that is whole.
    Whole(Reply),
    /// One that is still to be produced: 200 with these headers.
    Stream(&'static [(&'static str, &'static str)], Producer),
}

impl Outgoing {
    /// 200 with these headers, and what writes the body.
    pub fn stream<W: Future<Output = ()> + 'static>(
        headers: &'static [(&'static str, &'static str)],
        run: impl FnOnce(WasiSink) -> W + 'static,
    ) -> Self {
        Self::Stream(headers, Box::new(|sink| Box::pin(run(sink))))
    }
}

/// A function. [`export!`](crate::export) makes a component of it.
pub trait Function {
    /// Whether it looks at more of a request's fields than its head has.
    const KEEPS_FIELDS: bool = false;

    /// Answers one request.
    fn answer(incoming: Incoming) -> impl Future<Output = Outgoing>;
}

/// Serves a request that came over `wasi:http`.
///
/// # Errors
/// The host takes no such status or header.
pub async fn serve<F: Function>(request: Request) -> Result<Response, ErrorCode> {
    match F::answer(Incoming::new(request, F::KEEPS_FIELDS)).await {
        Outgoing::Whole(reply) => whole(reply),
        Outgoing::Stream(headers, run) => streamed(headers, run),
    }
}

fn streamed(headers: &[(&str, &str)], run: Producer) -> Result<Response, ErrorCode> {
    let (response, sink) = stream(headers)?;
    spawn(run(sink));
    Ok(response)
}

/// What is answered where the answer cannot be sent.
fn failed(code: &ErrorCode) -> WholeResponse {
    WholeResponse { status: 500, headers: Vec::new(), body: code.to_string().into_bytes() }
}

impl<F: Function> Guest for F {
    async fn handle(request: WholeRequest) -> Answer {
        match F::answer(Incoming::whole(request, F::KEEPS_FIELDS)).await {
            Outgoing::Whole(Reply { status, headers, body }) => {
                let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
                Answer::Whole(WholeResponse { status, headers: headers.collect(), body })
            }
            Outgoing::Stream(headers, run) => match streamed(headers, run) {
                Ok(response) => Answer::Streamed(response),
                Err(code) => Answer::Whole(failed(&code)),
            },
        }
    }
}

/// Exports a [`Function`] by both ways in.
#[macro_export]
macro_rules! export {
    ($function:ident) => {
        struct OverWasiHttp;

        impl $crate::handler::Guest for OverWasiHttp {
            async fn handle(
                request: $crate::handler::Request,
            ) -> Result<$crate::handler::Response, $crate::handler::ErrorCode> {
                $crate::serve::<$function>(request).await
            }
        }

        $crate::export_service!(OverWasiHttp);
        $crate::whole_handler::export_whole!($function with_types_in $crate::whole_handler);
    };
}
