//! The smallest function: it answers `hello`, so that what it costs is what the host costs.
//!
//! It takes WASI's own request and response types: `#[http_service]` would first copy every header into an
//! `http::Request` that nobody reads.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};

const BODY: &[u8] = b"hello\n";

struct Hello;

spin_sdk::wasip3::http::service::export!(Hello);

impl Guest for Hello {
    /// Answers every request alike; the request is dropped unread.
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::from_list(&[
            ("content-type".to_owned(), b"text/plain".to_vec()),
            ("content-length".to_owned(), BODY.len().to_string().into_bytes()),
        ])
        .map_err(|refused| ErrorCode::InternalError(Some(refused.to_string())))?;
        let (mut body, contents) = wit_stream::new();
        let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
        let (response, _transmission) = Response::new(headers, Some(contents), trailers);
        spawn(async move {
            let _unread = body.write_all(BODY.to_vec()).await;
            drop(body);
            // Dropping the writer sends its default: no trailers, and the body was whole.
            drop(trailers_writer);
        });
        Ok(response)
    }
}
