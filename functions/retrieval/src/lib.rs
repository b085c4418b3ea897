//! The retrieval function: files, vector stores and search over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, streams, store, indexes, variables and clock into the traits
//! that `guest/retrieval` is written against.

use spin_sdk::wasip3::spawn;
use waggle_retrieval::{Answer, Service};
use waggle_wasi::{Function, Incoming, Outgoing, WasiIndex, WasiPlatform, WasiStore, WasiUpstream};

struct Retrieval;

waggle_wasi::export!(Retrieval);

impl Function for Retrieval {
    async fn answer(incoming: Incoming) -> Outgoing {
        let service = Service {
            store: WasiStore,
            index: WasiIndex,
            upstream: WasiUpstream,
            platform: WasiPlatform::new(),
        };
        let mut answer = service.handle(incoming.head.as_request(), incoming.body).await;
        loop {
            answer = match answer {
                Answer::Reply(reply) => return Outgoing::Whole(reply),
                Answer::Stream(stream) => {
                    return Outgoing::stream(stream.headers(), |sink| stream.run(sink));
                }
                Answer::Working(answer, work) => {
                    spawn(work.run());
                    *answer
                }
            };
        }
    }
}
