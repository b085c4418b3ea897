//! Other functions of the application, over HTTP: `http://NAME.spin.internal`, as Spin has it.

use crate::upstream;
use waggle_model::Wire;
use waggle_model::transport::{ReadFailure, TransportFailure, UpstreamRequest, UpstreamResponse, read_whole};
use waggle_platform::{NeighbourAnswer, NeighbourCall, NeighbourMethod};

/// The longest answer of another function, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Calls another function, under an idempotency key unless that is empty, and reads its answer. The host tells it for which
/// tenant and caller; no credential is sent.
pub(crate) async fn call(
    call: NeighbourCall<'_>,
    idempotency_key: &str,
) -> Result<NeighbourAnswer, TransportFailure> {
    let NeighbourCall { method, function, path, body, timeout_ms } = call;
    let (method, body) = match method {
        NeighbourMethod::Get => ("GET", None),
        NeighbourMethod::Post => ("POST", Some(body)),
        NeighbourMethod::Delete => ("DELETE", None),
    };
    let request = UpstreamRequest {
        url: format!("http://{function}.spin.internal{path}"),
        wire: Wire::default(),
        api_key: String::new(),
        body,
        events: false,
        timeout_ms,
        choice: None,
        idempotency_key: idempotency_key.to_owned(),
    };
    let UpstreamResponse { status, retry_after, mut body, .. } = upstream::send(request, method).await?;
    let body = read_whole(&mut body, ANSWER_BYTES_MAX).await.map_err(|failure| match failure {
        ReadFailure::Transport(failure) => failure,
        long @ ReadFailure::TooLong(_) => TransportFailure::Cut(long.to_string()),
    })?;
    Ok(NeighbourAnswer { status, retry_after, body })
}
