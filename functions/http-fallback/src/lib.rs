//! Calls of other services and functions for hosts that take no whole messages: by `wasi:http`. Spin composes it with the
//! functions that name it in `[component.NAME.dependencies]` of spin.toml, whose allowed destinations it uses; `waggle up`
//! makes such calls itself and has no use for it.
//!
//! What is unsafe in it is what wit-bindgen generates to export an interface, and nothing of ours.

mod url;

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:http-fallback@0.1.0;
                 world fallback {
                   export waggle:http/client@0.1.0;
                 }",
        path: "../../wit",
        world: "waggle:http-fallback/fallback",
        with: {
            "wasi:http/types@0.3.0": spin_sdk::wasip3::http::types,
            "wasi:clocks/types@0.3.0": spin_sdk::wasip3::clocks::types,
        },
    });
}

use bindings::exports::waggle::http::client::{Answer, Call, Failure, Guest};
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{Fields, Method, Request, RequestOptions};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};
use url::Url;

const NANOSECONDS_PER_MS: u64 = 1_000_000;

struct Fallback;

fn method(name: String) -> Method {
    match name.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => Method::Other(name),
    }
}

fn options(timeout_ms: u64) -> RequestOptions {
    let options = RequestOptions::new();
    let timeout_ns = timeout_ms.saturating_mul(NANOSECONDS_PER_MS);
    // A host that does not support one of them has bounds of its own.
    let _unsupported = options.set_connect_timeout(Some(timeout_ns));
    let _unsupported = options.set_first_byte_timeout(Some(timeout_ns));
    let _unsupported = options.set_between_bytes_timeout(Some(timeout_ns));
    options
}

fn request(call: Call) -> Result<Request, String> {
    let url = Url::read(&call.url)?;
    let mut headers = call.headers;
    if let Some(body) = &call.body {
        headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    let headers =
        Fields::from_list(&headers).map_err(|refused| format!("a header was refused: {refused}"))?;
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let contents = call.body.map(|body| {
        let (mut writer, reader) = wit_stream::new();
        spawn(async move {
            let _unread = writer.write_all(body).await;
        });
        reader
    });
    // Dropping the writer sends its default: there are no trailers.
    drop(trailers);
    let (request, _transmission) =
        Request::new(headers, contents, trailers_reader, Some(options(call.timeout_ms)));
    let refused = |what: &str| format!("its {what} was refused");
    request.set_method(&method(call.method)).map_err(|()| refused("method"))?;
    request.set_scheme(Some(&url.scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(url.authority)).map_err(|()| refused("host"))?;
    request.set_path_with_query(Some(&url.path_with_query)).map_err(|()| refused("path"))?;
    Ok(request)
}

impl Guest for Fallback {
    /// What is answered comes as a stream, which any caller takes.
    async fn send(call: Call) -> Result<Answer, Failure> {
        let request = request(call).map_err(Failure::Refused)?;
        client::send(request).await.map(Answer::Streamed).map_err(Failure::Failed)
    }
}

bindings::export!(Fallback with_types_in bindings);
