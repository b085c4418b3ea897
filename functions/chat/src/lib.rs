//! The chat function: Responses, Conversations and Chat Completions over WASI.
//!
//! A shell without logic: it turns WASI's requests, streams, store, variables and clock into the traits that
//! `guest/chat` is written against. It takes WASI's own types instead of `#[http_service]`'s, which would copy every
//! header of a request twice.

mod body;
mod fields;
mod incoming;
mod outgoing;
mod platform;
mod store;
mod tokenizer;
mod upstream;
mod work;

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::spawn;
use waggle_chat::{Answer, Service};

struct Chat;

spin_sdk::wasip3::http::service::export!(Chat);

impl Guest for Chat {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let incoming = incoming::Incoming::new(request);
        let service = Service {
            store: store::WasiStore,
            upstream: upstream::WasiUpstream,
            platform: platform::WasiPlatform::new(),
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
            Answer::Reply(reply) => outgoing::whole(reply),
            Answer::Stream(stream) => {
                let (response, sink) = outgoing::stream(stream.headers())?;
                spawn(stream.run(sink));
                Ok(response)
            }
            Answer::Working(..) => Err(ErrorCode::InternalError(Some("work within work".to_owned()))),
        }
    }
}
