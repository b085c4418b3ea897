//! Any request to anybody over HTTP, as far as the host allows it.

use crate::body::WasiBody;
use crate::client::{self, Answered, Call};
use crate::upstream::failed;
use waggle_mcp::{Fetch, FetchRequest, FetchResponse};
use waggle_model::transport::TransportFailure;

/// Outbound HTTP. The host follows no redirects.
#[derive(Debug, Clone, Copy)]
pub struct WasiFetch;

impl Fetch for WasiFetch {
    type Body = WasiBody;

    async fn send(&self, outgoing: FetchRequest) -> Result<FetchResponse<WasiBody>, TransportFailure> {
        let FetchRequest { method, url, headers, body, timeout_ms } = outgoing;
        let call = Call {
            method: method.to_owned(),
            url,
            headers: headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            body,
            timeout_ms,
            // Whoever asks does not say whether it expects events.
            gather: false,
        };
        let Answered { status, fields, body } = client::send(call).await.map_err(failed)?;
        let text = |(name, value): (String, Vec<u8>)| {
            Some((name.to_ascii_lowercase(), String::from_utf8(value).ok()?))
        };
        let headers = fields.into_inner().into_iter().filter_map(text).collect();
        Ok(FetchResponse { status, headers, body })
    }
}
