//! A body that arrives: WASI's byte stream as a source of chunks.

use spin_sdk::wasip3::http::types::{ErrorCode, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use waggle_model::transport::{ChunkSource, TransportFailure};

/// How much is asked for at once, in bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// A body on its way in. Dropping it tells the sender that no more is wanted.
pub(crate) struct WasiBody {
    stream: StreamReader<u8>,
    trailers: Option<FutureReader<Result<Option<Trailers>, ErrorCode>>>,
    /// Kept so that the sender hears of our end of it only when we are done.
    _received: FutureWriter<Result<(), ErrorCode>>,
}

impl WasiBody {
    pub(crate) fn new(
        (stream, trailers): (StreamReader<u8>, FutureReader<Result<Option<Trailers>, ErrorCode>>),
        received: FutureWriter<Result<(), ErrorCode>>,
    ) -> Self {
        Self { stream, trailers: Some(trailers), _received: received }
    }
}

impl ChunkSource for WasiBody {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        if self.trailers.is_none() {
            return Ok(None);
        }
        loop {
            let (result, chunk) = self.stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
            if !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        // Only the trailers tell a body that is whole from one that was cut off.
        let Some(trailers) = self.trailers.take() else { return Ok(None) };
        match trailers.await {
            Ok(_) => Ok(None),
            Err(code) => Err(crate::upstream::failure(&code)),
        }
    }
}
