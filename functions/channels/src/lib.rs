//! The channels function: webhooks of help desks over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, store, variables and clock into the traits that `guest/desk` is
//! written against.

use spin_sdk::wasip3::spawn;
use waggle_desk::{Answer, Service};
use waggle_wasi::{Function, Incoming, Outgoing, WasiPlatform, WasiStore};

struct Channels;

waggle_wasi::export!(Channels);

impl Function for Channels {
    async fn answer(incoming: Incoming) -> Outgoing {
        let service = Service { store: WasiStore, platform: WasiPlatform::new() };
        match service.handle(incoming.head.as_request(), incoming.body).await {
            Answer::Reply(reply) => Outgoing::Whole(reply),
            Answer::Working(reply, work) => {
                spawn(work.run());
                Outgoing::Whole(reply)
            }
        }
    }
}
