//! Models, over the same network as everything else: what recognises intents asks them.

use crate::fetch::{FetchError, fetch};
use waggle_mcp::{Fetch, FetchRequest};
use waggle_model::transport::{ChunkSource, TransportFailure, Upstream, UpstreamRequest, UpstreamResponse};

/// The longest answer, in bytes: as many vectors as fit into one call.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Models, by way of `F`.
#[derive(Debug)]
pub(crate) struct Models<'f, F>(pub(crate) &'f F);

impl<F> Clone for Models<'_, F> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Whole(Option<Vec<u8>>);

impl ChunkSource for Whole {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.take())
    }
}

fn request(asked: UpstreamRequest) -> FetchRequest {
    let field = |name: &str, value: String| (name.to_owned(), value);
    let mut headers = vec![field("accept", "application/json".to_owned())];
    if asked.body.is_some() {
        headers.push(field("content-type", "application/json".to_owned()));
    }
    if !asked.idempotency_key.is_empty() {
        headers.push(field("idempotency-key", asked.idempotency_key));
    }
    if !asked.api_key.is_empty() {
        headers.push(field("authorization", format!("Bearer {}", asked.api_key)));
    }
    let method = if asked.body.is_some() { "POST" } else { "GET" };
    FetchRequest { method, url: asked.url, headers, body: asked.body, timeout_ms: asked.timeout_ms }
}

impl<F: Fetch> Upstream for Models<'_, F> {
    type Body = Whole;

    async fn send(&self, asked: UpstreamRequest) -> Result<UpstreamResponse<Whole>, TransportFailure> {
        let answer = fetch(self.0, request(asked), ANSWER_BYTES_MAX).await.map_err(|error| match error {
            FetchError::Transport(failure) => failure,
            FetchError::TooLong(_) => TransportFailure::Cut(error.to_string()),
        })?;
        let field = |name| answer.header(name).map(str::to_owned);
        Ok(UpstreamResponse {
            status: answer.status,
            content_type: field("content-type"),
            retry_after: field("retry-after"),
            model: field("waggle-model"),
            price: field("waggle-price"),
            body: Whole(Some(answer.body)),
        })
    }
}
