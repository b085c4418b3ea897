//! The chat function: Responses, Conversations and Chat Completions over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, streams, store, variables and clock into the traits that
//! `guest/chat` is written against.

use spin_sdk::wasip3::spawn;
use waggle_chat::{Answer, Service};
use waggle_wasi::{Function, Incoming, Outgoing, WasiPlatform, WasiStore, WasiUpstream};

struct Chat;

waggle_wasi::export!(Chat);

impl Function for Chat {
    async fn answer(incoming: Incoming) -> Outgoing {
        let service = Service { store: WasiStore, upstream: WasiUpstream, platform: WasiPlatform::new() };
        let mut answer = Box::pin(service.handle(incoming.head.as_request(), incoming.body)).await;
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
