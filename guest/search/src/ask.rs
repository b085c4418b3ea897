//! One call of a model endpoint, from its request to its whole answer.

use waggle_model::ModelFailure;
use waggle_model::transport::{Upstream, UpstreamRequest, read_whole};

/// The longest answer, in bytes: as many vectors as fit into one call, written as decimal numbers.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How much of an answer that reports an error is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Sends `request`; the body of a 200.
///
/// # Errors
/// It was not answered, or not with a 200, or with too much.
pub(crate) async fn ask<U: Upstream>(
    upstream: &U,
    request: UpstreamRequest,
) -> Result<Vec<u8>, ModelFailure> {
    let mut response = upstream.send(request).await?;
    if response.status == 200 {
        return Ok(read_whole(&mut response.body, ANSWER_BYTES_MAX).await?);
    }
    let body = read_whole(&mut response.body, ERROR_BYTES_MAX).await.unwrap_or_default();
    Err(ModelFailure::from_status(response.status, &body, response.retry_after.as_deref()))
}
