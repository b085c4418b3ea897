//! The retrieval function: files, vector stores and search over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, streams, store, indexes, variables and clock into the traits
//! that `guest/retrieval` is written against.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::spawn;
use waggle_retrieval::{Answer, Service};
use waggle_wasi::{Incoming, WasiIndex, WasiPlatform, WasiStore, WasiUpstream};

struct Retrieval;

spin_sdk::wasip3::http::service::export!(Retrieval);

impl Guest for Retrieval {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let incoming = Incoming::new(request);
        let service = Service {
            store: WasiStore,
            index: WasiIndex,
            upstream: WasiUpstream,
            platform: WasiPlatform::new(),
        };
        let answer = service.handle(incoming.head.as_request(), incoming.body).await;
        let answer = match answer {
            Answer::Working(answer, work) => {
                spawn(work.run());
                *answer
            }
            answer => answer,
        };
        match answer {
            Answer::Reply(reply) => waggle_wasi::whole(reply),
            Answer::Stream(stream) => {
                let (response, sink) = waggle_wasi::stream(stream.headers())?;
                spawn(stream.run(sink));
                Ok(response)
            }
            Answer::Working(..) => Err(ErrorCode::InternalError(Some("work within work".to_owned()))),
        }
    }
}
