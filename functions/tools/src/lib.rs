//! The tools function: what there is to call, calls, MCP and the audit log over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, streams, store, variables and clock into the traits that
//! `guest/toolbox` is written against.

use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use spin_sdk::wasip3::spawn;
use std::rc::Rc;
use waggle_toolbox::{Answer, Memory, Service};
use waggle_wasi::{Incoming, WasiFetch, WasiPlatform, WasiStore};

struct Tools;

spin_sdk::wasip3::http::service::export!(Tools);

thread_local! {
    /// An instance serves one tenant for its whole life, so what it remembers is that tenant's.
    static MEMORY: Rc<Memory> = Rc::default();
}

impl Guest for Tools {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (incoming, fields) = Incoming::with_fields(request);
        let service = Service {
            store: WasiStore,
            fetch: WasiFetch,
            platform: WasiPlatform::new(),
            memory: MEMORY.with(Rc::clone),
        };
        match service.handle(incoming.head.as_request(), &fields, incoming.body).await {
            Answer::Reply(reply) => waggle_wasi::whole(reply),
            Answer::Stream(call) => {
                let (response, sink) = waggle_wasi::stream(call.headers())?;
                spawn(call.run(sink));
                Ok(response)
            }
        }
    }
}
