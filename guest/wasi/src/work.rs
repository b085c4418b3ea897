//! The host's queue of work to be done later.

use crate::fields::HeaderFields;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme};
use spin_sdk::wasip3::{wit_future, wit_stream};
use waggle_platform::QueueFailure;

/// Where a host with a queue takes work.
const WORK_HOST: &str = "work.waggle.internal";
const WORK_PATH: &str = "/v1/work";
/// The field that says which path is to be called.
const PATH_FIELD: &str = "waggle-work-path";
/// How long the queue may take, in nanoseconds.
const TIMEOUT_NS: u64 = 10_000_000_000;
/// After how many seconds there may be room again, where the host does not say.
const RETRY_AFTER_S_DEFAULT: u32 = 5;

fn request(path: &str) -> Result<Request, QueueFailure> {
    let failed = |what: &str| QueueFailure::Failed(format!("the request cannot be made: {what}"));
    let fields = [("content-type", "application/json"), (PATH_FIELD, path)];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let fields = Fields::from_list(&fields).map_err(|refused| failed(&refused.to_string()))?;
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let options = RequestOptions::new();
    // A host that does not support it has bounds of its own.
    let _unsupported = options.set_first_byte_timeout(Some(TIMEOUT_NS));
    let (body, contents) = wit_stream::new();
    // All that is to be known is in the store, so the body is empty; so are the trailers.
    drop((body, trailers));
    let (request, _transmission) = Request::new(fields, Some(contents), trailers_reader, Some(options));
    request.set_method(&Method::Post).map_err(|()| failed("method"))?;
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| failed("scheme"))?;
    request.set_authority(Some(WORK_HOST)).map_err(|()| failed("authority"))?;
    request.set_path_with_query(Some(WORK_PATH)).map_err(|()| failed("path"))?;
    Ok(request)
}

/// Hands the host the work of calling `path`.
pub(crate) async fn enqueue(path: &str) -> Result<(), QueueFailure> {
    let response = client::send(request(path)?).await.map_err(|code| match code {
        // Nobody is there, or the manifest does not let this function go there: a host without a queue.
        ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DnsError(_)
        | ErrorCode::ConnectionRefused => QueueFailure::Absent,
        code => QueueFailure::Failed(code.to_string()),
    })?;
    let retry_after = HeaderFields::of(&response.get_headers()).text("retry-after");
    let status = response.get_status_code();
    let (_received, received_reader) = wit_future::new(|| Ok(()));
    drop(Response::consume_body(response, received_reader));
    let retry_after_s = retry_after.and_then(|seconds| seconds.trim().parse().ok());
    let retry_after_s = retry_after_s.unwrap_or(RETRY_AFTER_S_DEFAULT);
    match status {
        200..300 => Ok(()),
        429 => Err(QueueFailure::Full(retry_after_s)),
        503 => Err(QueueFailure::Busy(retry_after_s)),
        status => Err(QueueFailure::Failed(format!("it answered {status}"))),
    }
}
