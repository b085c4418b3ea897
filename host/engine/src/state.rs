//! What a store holds for one instance: the WASI contexts, the handles, the limits and the requests under way.

use crate::account::TenantAccount;
use crate::config::EngineConfig;
use crate::key_value::KeyValueView;
use crate::limits::InstanceLimits;
use crate::outbound::OutboundHooks;
use crate::request::{Ledger, RequestScope};
use crate::stdio::{PrintStream, SoleRequest};
use crate::tokenizer::TokenizerView;
use crate::variables::VariablesView;
use crate::vector::VectorView;
use crate::world::{FunctionWorld, LogStream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::StoreContextMut;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Bytes of one list of header fields a guest holds.
pub(crate) const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Entries the map of requests may have beyond those alive before it is swept.
const REQUESTS_SWEEP: usize = 64;

pub(crate) struct InstanceState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    pub(crate) hooks: OutboundHooks,
    world: Arc<FunctionWorld>,
    ledger: Arc<Ledger>,
    account: Arc<TenantAccount>,
    /// How long a call of the host's may take that nothing else ends.
    call_timeout: Duration,
    pub(crate) limits: InstanceLimits,
    requests: HashMap<GuestTaskId, Arc<RequestScope>>,
    /// Whether one of the requests may be traced; if not, no call need look for its own.
    is_traced: bool,
    sole: SoleRequest,
}

/// The guest task that calls the host at this moment.
pub(crate) fn calling_task(store: &mut StoreContextMut<'_, InstanceState>) -> Option<GuestTaskId> {
    store.async_call_stack().ok().and_then(Iterator::last)
}

impl InstanceState {
    /// The state of instance number `instance` in `world`.
    ///
    /// # Errors
    /// When a mounted folder cannot be opened.
    pub(crate) fn new(
        world: Arc<FunctionWorld>,
        config: &EngineConfig,
        account: &Arc<TenantAccount>,
        ledger: Arc<Ledger>,
        instance: u64,
    ) -> wasmtime::Result<Self> {
        let sole = SoleRequest::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(config.instance_handles_max);
        Ok(Self {
            wasi: wasi_context(&world, instance, &sole)?,
            http: http_context(),
            table,
            hooks: OutboundHooks::new(Arc::clone(&world), Arc::clone(account), Arc::clone(&ledger), config),
            ledger,
            account: Arc::clone(account),
            call_timeout: Duration::from_millis(config.response_timeout_ms),
            limits: InstanceLimits::new(
                world.bounds.memory_bytes_max.min(config.instance_memory_bytes_max),
                config.instance_table_elements_max,
                Arc::clone(account),
            ),
            requests: HashMap::new(),
            is_traced: false,
            sole,
            world,
        })
    }

    /// The one request of an instance that serves no other: whatever it does is done for it.
    pub(crate) fn only_request(&mut self, scope: &Arc<RequestScope>) {
        self.hooks.only = Some(Arc::clone(scope));
    }

    /// Remembers which request a guest task serves, so that its calls can be told apart.
    pub(crate) fn request_starts(&mut self, task: GuestTaskId, scope: &Arc<RequestScope>) {
        if self.requests.len() > REQUESTS_SWEEP {
            self.requests.retain(|_task, scope| !scope.is_over());
        }
        if scope.is_traced() {
            self.is_traced = true;
            scope.begin();
        }
        self.sole.begin(scope);
        self.requests.insert(task, Arc::clone(scope));
    }

    /// The request a guest task serves.
    pub(crate) fn request_of(&self, task: GuestTaskId) -> Option<Arc<RequestScope>> {
        self.requests.get(&task).cloned()
    }

    /// As [`InstanceState::request_of`], or the only request there ever is.
    pub(crate) fn request_for(&self, task: Option<GuestTaskId>) -> Option<Arc<RequestScope>> {
        task.and_then(|task| self.request_of(task)).or_else(|| self.hooks.only.clone())
    }

    /// Whether a request of the instance may be traced.
    pub(crate) fn is_traced(&self) -> bool {
        self.is_traced
    }

    /// The request a guest task serves, if it is traced.
    pub(crate) fn traced_request(&mut self, task: Option<GuestTaskId>) -> Option<Arc<RequestScope>> {
        let request = task.and_then(|task| self.requests.get(&task)).or(self.hooks.only.as_ref())?;
        if request.is_traced() {
            return Some(Arc::clone(request));
        }
        // Whichever was traced may be over by now, and then there is nothing to look for.
        self.is_traced = self.requests.values().any(|request| request.is_traced());
        None
    }

    pub(crate) fn key_value(&mut self) -> KeyValueView<'_> {
        KeyValueView { world: &self.world, table: &mut self.table, ledger: &self.ledger }
    }

    pub(crate) fn variables(&mut self) -> VariablesView<'_> {
        VariablesView(&self.world)
    }

    pub(crate) fn vector(&mut self) -> VectorView<'_> {
        VectorView {
            world: &self.world,
            ledger: &self.ledger,
            account: &self.account,
            call_timeout: self.call_timeout,
        }
    }

    pub(crate) fn tokenizer(&mut self) -> TokenizerView<'_> {
        TokenizerView(&self.world)
    }
}

fn http_context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(FIELDS_BYTES_MAX);
    context
}

fn wasi_context(world: &Arc<FunctionWorld>, instance: u64, sole: &SoleRequest) -> wasmtime::Result<WasiCtx> {
    let stream = |which| PrintStream::of_log(world.log.open(instance, which), sole.clone());
    let mut builder = WasiCtx::builder();
    builder.stdout(stream(LogStream::Out)).stderr(stream(LogStream::Error)).envs(&world.environment);
    for (folder, path) in &world.mounts {
        builder.preopened_dir(folder, path, FsPerms::ReadOnly)?;
    }
    let policy = Arc::clone(&world.outbound);
    builder.allow_tcp(true).allow_udp(false).socket_addr_check(move |address, used_for| {
        let allowed = match used_for {
            SocketAddrUse::TcpConnect => policy.allows_socket(address),
            // Every connection leaves from an address of the system's choice. What listens is never allowed.
            SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
            _ => false,
        };
        Box::pin(async move { allowed })
    });
    Ok(builder.build())
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}
