//! The channels function: webhooks of help desks over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, store, variables and clock into the traits that `guest/desk` is
//! written against.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::spawn;
use waggle_desk::{Answer, Service};
use waggle_wasi::{Incoming, WasiPlatform, WasiStore};

struct Channels;

spin_sdk::wasip3::http::service::export!(Channels);

impl Guest for Channels {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let incoming = Incoming::new(request);
        let service = Service { store: WasiStore, platform: WasiPlatform::new() };
        match service.handle(incoming.head.as_request(), incoming.body).await {
            Answer::Reply(reply) => waggle_wasi::whole(reply),
            Answer::Working(reply, work) => {
                spawn(work.run());
                waggle_wasi::whole(reply)
            }
        }
    }
}
