//! The tools function: what there is to call, calls, MCP and the audit log over WASI.
//!
//! A shell without logic: `guest/wasi` turns WASI's requests, streams, store, variables and clock into the traits that
//! `guest/toolbox` is written against.

use std::rc::Rc;
use waggle_toolbox::{Answer, Memory, Service};
use waggle_wasi::{Function, Incoming, Outgoing, WasiFetch, WasiPlatform, WasiStore};

struct Tools;

waggle_wasi::export!(Tools);

thread_local! {
    /// An instance serves one tenant for its whole life, so what it remembers is that tenant's.
    static MEMORY: Rc<Memory> = Rc::default();
}

impl Function for Tools {
    const KEEPS_FIELDS: bool = true;

    async fn answer(incoming: Incoming) -> Outgoing {
        let service = Service {
            store: WasiStore,
            fetch: WasiFetch,
            platform: WasiPlatform::new(),
            memory: MEMORY.with(Rc::clone),
        };
        match service.handle(incoming.head.as_request(), &incoming.fields, incoming.body).await {
            Answer::Reply(reply) => Outgoing::Whole(reply),
            Answer::Stream(call) => Outgoing::stream(call.headers(), |sink| call.run(sink)),
        }
    }
}
