//! An answer on its way out.

use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Response, Trailers};
use spin_sdk::wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamWriter};
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};
use std::future::Future;
use std::pin::Pin;
use waggle_platform::{Gone, Reply, Sink};

/// The body of a streamed answer. Dropping it ends the body as it should end.
pub struct WasiSink {
    // Dropped in this order: the stream first, then the trailers, whose default says that the body was whole.
    writer: StreamWriter<u8>,
    _trailers: FutureWriter<Result<Option<Trailers>, ErrorCode>>,
    transmission: Pin<Box<dyn Future<Output = Result<(), ErrorCode>>>>,
    transmitted: bool,
}

struct Parts {
    response: Response,
    sink: WasiSink,
}

fn begin(status: u16, headers: &[(String, Vec<u8>)]) -> Result<Parts, ErrorCode> {
    let fields = Fields::from_list(headers).map_err(|refused| internal(&refused.to_string()))?;
    let (writer, contents) = wit_stream::new();
    let (trailers, trailers_reader) = wit_future::new(|| Ok(None));
    let (response, transmission) = Response::new(fields, Some(contents), trailers_reader);
    response.set_status_code(status).map_err(|()| internal("a status code was refused"))?;
    let transmission: FutureReader<Result<(), ErrorCode>> = transmission;
    let transmission = Box::pin(async move { transmission.await });
    Ok(Parts { response, sink: WasiSink { writer, _trailers: trailers, transmission, transmitted: false } })
}

fn internal(reason: &str) -> ErrorCode {
    ErrorCode::InternalError(Some(reason.to_owned()))
}

/// Sends an answer that is whole.
///
/// # Errors
/// The host takes no such status or header.
pub(crate) fn whole(reply: Reply) -> Result<Response, ErrorCode> {
    let length = reply.body.len().to_string();
    let headers = reply.headers.into_iter().chain([("content-length", length)]);
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    let Parts { response, mut sink } = begin(reply.status, &headers)?;
    spawn(async move {
        let _unread = sink.writer.write_all(reply.body).await;
    });
    Ok(response)
}

/// Begins an answer that is streamed: 200 with these headers, and the sink for its body.
///
/// # Errors
/// The host takes no such header.
pub(crate) fn stream(headers: &[(&str, &str)]) -> Result<(Response, WasiSink), ErrorCode> {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let Parts { response, sink } = begin(200, &headers)?;
    Ok((response, sink))
}

impl Sink for WasiSink {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        let unread = self.writer.write_all(bytes).await;
        if unread.is_empty() { Ok(()) } else { Err(Gone) }
    }

    /// Hosts that know report a broken transmission as an error. One that reports success early knows nothing, and
    /// the next write will tell.
    async fn gone(&mut self) {
        if !self.transmitted {
            let transmission = self.transmission.as_mut().await;
            self.transmitted = true;
            if transmission.is_err() {
                return;
            }
        }
        std::future::pending().await
    }
}
