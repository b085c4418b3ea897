//! A body that arrives: WASI's byte stream as a source of chunks.

use spin_sdk::wasip3::http::types::{ErrorCode, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use waggle_model::transport::{ChunkSource, TransportFailure};

/// How much is asked for at once, in bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// A body on its way in. Dropping it tells the sender that no more is wanted.
pub struct WasiBody(Source);

enum Source {
    /// One that is here, until it is taken.
    Whole(Vec<u8>),
    Stream(BodyStream),
}

struct BodyStream {
    stream: StreamReader<u8>,
    trailers: Option<FutureReader<Result<Option<Trailers>, ErrorCode>>>,
    /// How many bytes are still to come, where the sender has said how many there are.
    left: Option<u64>,
    /// Kept so that the sender hears of our end of it only when we are done.
    _received: FutureWriter<Result<(), ErrorCode>>,
}

impl WasiBody {
    /// `length` is what the sender has said, which hosts hold it to.
    pub(crate) fn new(
        (stream, trailers): (StreamReader<u8>, FutureReader<Result<Option<Trailers>, ErrorCode>>),
        received: FutureWriter<Result<(), ErrorCode>>,
        length: Option<u64>,
    ) -> Self {
        let trailers = Some(trailers);
        Self(Source::Stream(BodyStream { stream, trailers, left: length, _received: received }))
    }

    /// One that has come.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self(Source::Whole(bytes))
    }
}

impl BodyStream {
    /// How much to ask for.
    fn room(&self) -> usize {
        let left = self.left.and_then(|left| usize::try_from(left).ok());
        left.map_or(CHUNK_BYTES, |left| left.clamp(1, CHUNK_BYTES))
    }

    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        // A body that has come whole has no trailers to wait for, and every wait is a call of the host.
        if self.trailers.is_none() || self.left == Some(0) {
            return Ok(None);
        }
        loop {
            let (result, chunk) = self.stream.read(Vec::with_capacity(self.room())).await;
            if !chunk.is_empty() {
                self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
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

impl ChunkSource for WasiBody {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        match &mut self.0 {
            Source::Whole(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Source::Stream(stream) => stream.next_chunk().await,
        }
    }
}
