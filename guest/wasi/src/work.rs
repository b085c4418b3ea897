//! The host's queue of work to be done later.

use crate::client::{self, Answered, Call, Failure, field};
use spin_sdk::wasip3::http::types::ErrorCode;
use waggle_platform::QueueFailure;

/// Where a host with a queue takes work.
const WORK_URL: &str = "http://work.waggle.internal/v1/work";
/// The field that says which path is to be called.
const PATH_FIELD: &str = "waggle-work-path";
/// How long the queue may take, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// After how many seconds there may be room again, where the host does not say.
const RETRY_AFTER_S_DEFAULT: u32 = 5;

/// Hands the host the work of calling `path`.
pub(crate) async fn enqueue(path: &str) -> Result<(), QueueFailure> {
    let call = Call {
        method: "POST".to_owned(),
        url: WORK_URL.to_owned(),
        headers: vec![field("content-type", "application/json"), field(PATH_FIELD, path)],
        // All that is to be known is in the store, so the body is empty.
        body: Some(Vec::new()),
        timeout_ms: TIMEOUT_MS,
        gather: true,
    };
    let Answered { status, mut fields, body: _ } = client::send(call).await.map_err(failed)?;
    let retry_after_s = fields.text("retry-after").and_then(|seconds| seconds.trim().parse().ok());
    let retry_after_s = retry_after_s.unwrap_or(RETRY_AFTER_S_DEFAULT);
    match status {
        200..300 => Ok(()),
        429 => Err(QueueFailure::Full(retry_after_s)),
        503 => Err(QueueFailure::Busy(retry_after_s)),
        status => Err(QueueFailure::Failed(format!("it answered {status}"))),
    }
}

fn failed(failure: Failure) -> QueueFailure {
    match failure {
        Failure::Refused(reason) => QueueFailure::Failed(format!("the request cannot be made: {reason}")),
        // Nobody is there, or the manifest does not let this function go there: a host without a queue.
        Failure::Failed(
            ErrorCode::HttpRequestDenied
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::DestinationIpProhibited
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DnsError(_)
            | ErrorCode::ConnectionRefused,
        ) => QueueFailure::Absent,
        Failure::Failed(code) => QueueFailure::Failed(code.to_string()),
    }
}
