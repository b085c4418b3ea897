//! The chat function: Responses, Conversations and Chat Completions over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, streams, store, variables and clock into the traits that
//! `guest/chat` is written against.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::spawn;
use waggle_chat::{Answer, Service};
use waggle_wasi::{Incoming, WasiPlatform, WasiStore, WasiUpstream};

struct Chat;

spin_sdk::wasip3::http::service::export!(Chat);

impl Guest for Chat {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let incoming = Incoming::new(request);
        let service = Service { store: WasiStore, upstream: WasiUpstream, platform: WasiPlatform::new() };
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
