//! What a store holds for one call: the WASI contexts, the handles, the limits, and the world.

use crate::config::Limits;
use crate::key_value::{KeyValueView, Writes};
use crate::limits::MemoryLimits;
use crate::outbound::Outbound;
use crate::stdio::streams;
use crate::world::ToolWorld;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Streams, requests, stores and the like that one call may hold.
const HANDLES_MAX: usize = 1_000;
/// Bytes of one list of header fields.
const FIELDS_BYTES_MAX: usize = 64 << 10;

pub(crate) struct CallState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    outbound: Outbound,
    world: Arc<dyn ToolWorld>,
    pub(crate) writes: Writes,
    pub(crate) memory: MemoryLimits,
}

impl CallState {
    pub(crate) fn new(world: Arc<dyn ToolWorld>, limits: &Limits, memory: MemoryLimits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let writes = Writes::default();
        Self {
            wasi: wasi_context(&world),
            http: http_context(),
            table,
            outbound: Outbound::new(Arc::clone(&world), writes.clone(), limits.outbound_calls_max),
            world,
            writes,
            memory,
        }
    }

    pub(crate) fn key_value(&mut self) -> KeyValueView<'_> {
        KeyValueView { world: &*self.world, table: &mut self.table, writes: &self.writes }
    }

    /// Calls over HTTP it has asked for.
    pub(crate) fn outbound_calls(&self) -> u32 {
        self.outbound.calls()
    }
}

/// No arguments, no environment, no files, no sockets, no names to look up: only clocks, random numbers and output.
fn wasi_context(world: &Arc<dyn ToolWorld>) -> WasiCtx {
    let (out, error) = streams(world);
    WasiCtx::builder()
        .stdout(out)
        .stderr(error)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

fn http_context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(FIELDS_BYTES_MAX);
    context
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}
