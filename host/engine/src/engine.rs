//! The engine: one wasmtime engine, the loaded functions, and a pool per (tenant, function).

use crate::account::TenantAccount;
use crate::config::EngineConfig;
use crate::cpu::Verdict;
use crate::error::{HandleError, Limit, LoadError};
use crate::failures::reason;
use crate::fairness;
use crate::lanes::{ConnectionLane, Lanes};
use crate::limits::Refused;
use crate::linker::linker;
use crate::load::{
    self, CORE_INSTANCES_PER_COMPONENT_MAX, Components, Exports, Loaded, MEMORIES_PER_COMPONENT_MAX,
    TABLES_PER_COMPONENT_MAX,
};
use crate::metrics::FunctionMetrics;
use crate::outbound;
use crate::pool::Pool;
use crate::pools::Pools;
use crate::request::{Admission, CallContext, GatedBody, RequestGuard};
use crate::state::InstanceState;
use crate::store_span::durable;
use crate::whole::Message;
use crate::worker::{CpuTimeUsedUp, Ending, Job, Seat};
use crate::world::FunctionWorld;
use futures::channel::oneshot;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use waggle_measure::trace::attribute::{self, event};
use waggle_tenancy::TenantId;
use wasmtime::component::Linker;
use wasmtime::{InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline};
use wasmtime_wasi_http::WasiBody;

/// How often running guests are looked at, milliseconds; an endless loop is stopped within one of these after its
/// CPU time is used up.
const EPOCH_TICK_MS: u64 = 2;
/// How often it is looked who uses more than a fair share of the processor, in ticks.
const BALANCE_TICKS: u32 = 25;
/// How long an answer that was none waits for the news that its instance failed.
const ENDING_WAIT: Duration = Duration::from_secs(5);
/// How often idle instances are looked for: a quarter of their time-out, within these bounds.
const REAPER_PAUSE_MIN: Duration = Duration::from_millis(20);
const REAPER_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Makes the world of a function for a tenant. Called once per (tenant, function), before its first instance.
pub trait WorldSource: Send + Sync + 'static {
    /// The world, or none when the tenant may not use the function.
    fn world(&self, tenant: &TenantId, function: &str) -> Option<FunctionWorld>;
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<EngineShared>,
    linker: Arc<Linker<InstanceState>>,
    functions: Arc<RwLock<HashMap<Arc<str>, Arc<Loaded>>>>,
    pools: Arc<Pools>,
    components: Arc<Components>,
}

/// What pools and workers need of the engine.
pub(crate) struct EngineShared {
    wasmtime: wasmtime::Engine,
    pub(crate) config: EngineConfig,
    pub(crate) cores: usize,
    pub(crate) lanes: Arc<Lanes>,
    instances: Arc<Semaphore>,
    /// Told when an instance has ended.
    pub(crate) instance_released: Notify,
    next_number: AtomicU64,
    pools: Weak<Pools>,
}

/// An instance with everything that lives as long as it.
pub(crate) struct Instance {
    pub(crate) store: Store<InstanceState>,
    pub(crate) exports: Exports,
}

/// Why there is no instance.
pub(crate) enum InstanceError {
    /// Its start-up code used the CPU time of a whole request.
    CpuTime,
    /// It failed before its first request.
    Failed {
        /// What wasmtime said.
        reason: Arc<str>,
        /// The limit over which it was refused memory, if it was.
        refused: Option<Limit>,
    },
}

impl Engine {
    /// Sets up wasmtime. Compiled components are kept in `cache` if that is given. Must run inside a Tokio runtime.
    ///
    /// # Errors
    /// [`LoadError::Engine`] when the configuration is out of bounds or the machine lacks the address space.
    pub fn new(config: EngineConfig, cache: Option<PathBuf>) -> Result<Self, LoadError> {
        config.validate().map_err(LoadError::Engine)?;
        let wasmtime = wasmtime::Engine::new(&wasmtime_config(&config))
            .map_err(|error| LoadError::Engine(no_room(&error, config.instances_max)))?;
        let linker = linker(&wasmtime).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pools: Arc<Pools> = Arc::default();
        let lanes = Lanes::new(cores)
            .map_err(|error| LoadError::Engine(format!("no threads for instances: {error}")))?;
        start_epochs(&wasmtime, &pools, &lanes, cores)?;
        let shared = Arc::new(EngineShared {
            instances: Arc::new(Semaphore::new(config.instances_max as usize)),
            cores,
            lanes,
            instance_released: Notify::new(),
            next_number: AtomicU64::new(1),
            pools: Arc::downgrade(&pools),
            wasmtime,
            config,
        });
        start_reaper(&shared, &pools);
        Ok(Self {
            shared,
            linker: Arc::new(linker),
            functions: Arc::default(),
            pools,
            components: Arc::new(Components::new(cache)),
        })
    }

    /// Compiles (or takes from the cache) and links the component of `function`. True when it came from the cache.
    ///
    /// # Errors
    /// Any [`LoadError`]; each names the function and the file.
    pub fn load(&self, function: &str, component: &Path) -> Result<bool, LoadError> {
        let loaded = load::load(&self.linker, function, component, &self.components)?;
        let cached = loaded.cached;
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        functions.insert(function.into(), Arc::new(loaded));
        Ok(cached)
    }

    /// The lanes that work done for tenants runs in.
    pub(crate) fn lanes(&self) -> &Arc<Lanes> {
        &self.shared.lanes
    }

    /// Whether a function that is loaded imports `interface`, such as `waggle:vector/index@0.1.0`.
    #[must_use]
    pub fn imports(&self, interface: &str) -> bool {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.values().any(|loaded| loaded.imports.iter().any(|import| import == interface))
    }

    /// Answers `request` with an instance of `function` that belongs to `tenant`.
    ///
    /// The response's body ends the request; dropping it (or this future) cancels it. `admission` is held until then.
    ///
    /// # Errors
    /// Any [`HandleError`].
    pub async fn handle(
        &self,
        worlds: &dyn WorldSource,
        tenant: &TenantId,
        function: &str,
        mut request: http::Request<WasiBody>,
        context: CallContext,
        admission: Admission,
    ) -> Result<http::Response<WasiBody>, HandleError> {
        let pool = self.pool(worlds, tenant, function)?;
        let deadline = context.head_deadline;
        if let Some(connection) = &admission.connection {
            connection.follow(pool.account());
        }
        let mut guard = RequestGuard::new(context, admission, function);
        trace_on(request.headers_mut(), &guard);
        let message = if pool.takes_whole() {
            let gathered = tokio::time::timeout_at(deadline.into(), Message::gather(request)).await;
            gathered.map_err(|_late| self.deadline_passed(&pool, &guard))?
        } else {
            Message::Http(request)
        };
        let (reply, answer) = oneshot::channel();
        pool.dispatch(Job { message, scope: Arc::clone(&guard.scope), reply }).await?;
        guard.span.event(event::INSTANCE_PLACED);
        let Ok(answer) = tokio::time::timeout_at(deadline.into(), answer).await else {
            if let Some(seat) = guard.scope.seat() {
                seat.condemn();
            }
            return Err(self.deadline_passed(&pool, &guard));
        };
        self.finish(&pool, guard, answer).await
    }

    async fn finish(
        &self,
        pool: &Pool,
        mut guard: RequestGuard,
        answer: Result<Result<http::Response<WasiBody>, wasmtime::Error>, oneshot::Canceled>,
    ) -> Result<http::Response<WasiBody>, HandleError> {
        let world = &*pool.world;
        let function = &*world.function;
        let Some(seat) = guard.scope.seat() else {
            return Err(HandleError::NoResponse {
                function: function.into(),
                reason: "it was never begun".into(),
            });
        };
        if guard.span.is_recorded() {
            guard.span.set(attribute::WAGGLE_INSTANCE, seat.number);
            guard.span.set(attribute::WAGGLE_INSTANCE_REUSED, seat.served() > 1);
            if let Some(began) = guard.scope.began() {
                guard.span.event_at(event::INSTANCE_BEGAN, began);
            }
        }
        let response = match answer {
            // A status that only announces another response is none (RFC 9110, section 15.2); passed on, 101 would make a
            // tunnel of the connection.
            Ok(Ok(response)) if response.status().is_informational() => {
                let reason = format!("its status is {}", response.status());
                return Err(Self::no_response(pool, &guard, reason));
            }
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is::<wasmtime_wasi_http::handler::ExpirationError>() => {
                return Err(self.deadline_passed(pool, &guard));
            }
            Ok(Err(error)) if error.is::<CpuTimeUsedUp>() => {
                return Err(Self::ended(world, &Ending::CpuTime));
            }
            Ok(Err(error)) if error.is::<wasmtime::Trap>() => {
                let reason = reason(format_args!("{error:?}")).into();
                return Err(Self::ended(world, &Ending::Trapped { reason, refused: None }));
            }
            Ok(Err(error)) => {
                let reason = reason(format_args!("{error:#}"));
                let refusal = Self::no_response(pool, &guard, reason);
                drop(guard);
                if let Some(ending) = failure(&seat).await {
                    return Err(Self::ended(world, &ending));
                }
                return Err(refusal);
            }
            Err(oneshot::Canceled) => return Err(Self::ended(world, seat.ending.wait().await)),
        };
        if let Some(commit) = seat.ledger.pending() {
            durable(commit, &guard.span.parent()).await.map_err(|error| HandleError::Store {
                function: function.into(),
                reason: error.to_string(),
            })?;
        }
        let ledger = Arc::clone(&seat.ledger);
        Ok(GatedBody::wrap(response, ledger, guard))
    }

    fn no_response(pool: &Pool, guard: &RequestGuard, reason: String) -> HandleError {
        log_unanswered(pool, guard, &reason);
        HandleError::NoResponse { function: pool.world.function.to_string(), reason }
    }

    fn deadline_passed(&self, pool: &Pool, guard: &RequestGuard) -> HandleError {
        let allowed_ms = self.shared.config.request_timeout_ms;
        let paused = paused(pool, guard);
        let pause = paused.map_or_else(String::new, |limit| format!("; it pauses at the limit of {limit}"));
        log_unanswered(
            pool,
            guard,
            &format!("no response within the request's time, {allowed_ms} ms{pause}"),
        );
        HandleError::Deadline { function: pool.world.function.to_string(), allowed_ms, paused }
    }

    fn ended(world: &FunctionWorld, ending: &Ending) -> HandleError {
        let function = world.function.to_string();
        match ending {
            Ending::CpuTime => HandleError::CpuTime { function, allowed_ms: world.bounds.request_cpu_ms() },
            // Other instances of the tenant have what this one needs, and it is there again when they have ended.
            Ending::NotInstantiated { reason, refused: Some(limit @ Limit::TenantMemory(_)) } => {
                HandleError::Busy { function, limit: *limit, reason: reason.to_string() }
            }
            Ending::NotInstantiated { reason, refused } => {
                HandleError::Instantiate { function, reason: reason.to_string(), refused: *refused }
            }
            Ending::Trapped { reason, refused } => {
                HandleError::Trap { function, reason: reason.to_string(), refused: *refused }
            }
            Ending::Retired => {
                HandleError::NoResponse { function, reason: "its instance ended without an answer".into() }
            }
        }
    }

    /// The connection has brought a request of `tenant` that was refused: its work is this tenant's from now on.
    pub fn refused(&self, connection: &ConnectionLane, tenant: &TenantId) {
        if let Some(account) = self.pools.account(tenant) {
            connection.follow(&account);
        }
    }

    /// Runs the work of a connection in the lane that belongs to whoever sends requests by it, and at whose expense it is.
    pub fn spawn_connection(
        &self,
        connection: &Arc<ConnectionLane>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.shared.lanes.spawn(connection, Arc::clone(connection).charged(work));
    }

    /// Ends what belongs to `tenant` as it was: its instances finish what they have, and the next request gets a new
    /// one in a new world. To be called when anything of the tenant has changed.
    pub fn retire(&self, tenant: &TenantId) {
        self.pools.close(tenant);
    }

    /// How many instances `tenant` has, those that are about to end included.
    #[must_use]
    pub fn instances(&self, tenant: &TenantId) -> u32 {
        self.pools.instances(tenant)
    }

    /// Linear memory of all instances of `tenant`, bytes.
    #[must_use]
    pub fn memory_bytes(&self, tenant: &TenantId) -> u64 {
        self.pools.memory_bytes(tenant)
    }

    /// What each function has counted, by its name.
    #[must_use]
    pub fn metrics(&self) -> Vec<(Arc<str>, Arc<FunctionMetrics>)> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.iter().map(|(name, loaded)| (Arc::clone(name), Arc::clone(&loaded.metrics))).collect()
    }

    /// Tells idle instances to end, at most `count`; when the host is short of memory.
    pub fn give_up_idle(&self, count: usize) {
        for _ in 0..count {
            if !self.pools.give_up_idle(None) {
                return;
            }
        }
    }

    fn pool(
        &self,
        worlds: &dyn WorldSource,
        tenant: &TenantId,
        function: &str,
    ) -> Result<Arc<Pool>, HandleError> {
        if let Some(pool) = self.pools.get(tenant, function) {
            return Ok(pool);
        }
        let unknown = || HandleError::UnknownFunction(function.to_owned());
        let (name, loaded) = {
            let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
            let (name, loaded) = functions.get_key_value(function).ok_or_else(unknown)?;
            (Arc::clone(name), Arc::clone(loaded))
        };
        loop {
            let closings = self.pools.closings();
            let world = Arc::new(worlds.world(tenant, function).ok_or_else(unknown)?);
            let bounds = world.bounds.tenant;
            let make = |account: &Arc<TenantAccount>| {
                Pool::new(Arc::clone(&self.shared), Arc::clone(&loaded), world, Arc::clone(account))
            };
            if let Some(pool) = self.pools.get_or_make(tenant, &name, bounds, closings, make) {
                return Ok(pool);
            }
        }
    }
}

impl EngineShared {
    pub(crate) fn next_instance_number(&self) -> u64 {
        self.next_number.fetch_add(1, Relaxed)
    }

    /// A permit for one more instance. When all are taken, an idle instance of another pool is told to end, and
    /// whoever waits is told when it has.
    pub(crate) fn reserve_instance(&self, asking: &Pool, weight: u32) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.instances).try_acquire_many_owned(weight) {
            return Some(permit);
        }
        self.pools.upgrade()?.give_up_idle(Some(asking));
        None
    }

    /// An idle instance of another function of the same tenant is told to end.
    pub(crate) fn give_up_idle_of(&self, asking: &Pool) {
        if let Some(pools) = self.pools.upgrade() {
            pools.give_up_idle_of(asking);
        }
    }

    /// Makes an instance within the CPU time and the memory of one.
    pub(crate) async fn instantiate(
        &self,
        loaded: &Loaded,
        world: &Arc<FunctionWorld>,
        account: &Arc<TenantAccount>,
        seat: &Arc<Seat>,
    ) -> Result<Instance, InstanceError> {
        let failed = |error: wasmtime::Error, refused: Option<Refused>| {
            let told = refused.map_or_else(String::new, |refused| format!("{refused}; "));
            let reason = reason(format_args!("{told}{error:#}")).into();
            InstanceError::Failed { reason, refused: refused.map(|refused| refused.limit) }
        };
        let state = InstanceState::new(
            Arc::clone(world),
            &self.config,
            account,
            Arc::clone(&seat.ledger),
            seat.number,
        )
        .map_err(|error| failed(error, None))?;
        let mut store = Store::new(&self.wasmtime, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(self.config.host_call_bytes_max);
        store.set_epoch_deadline(1);
        let account = Arc::clone(seat);
        store.epoch_deadline_callback(move |_store| {
            match account.cpu.charge() {
                Verdict::UsedUp => Err(CpuTimeUsedUp.into()),
                Verdict::MakeWay => Ok(UpdateDeadline::Yield(1)),
                // The first look after a rest, which says nothing about how long it has run.
                Verdict::GoOn => Ok(UpdateDeadline::Continue(1)),
            }
        });
        let made = {
            let mut making = std::pin::pin!(loaded.instantiate(&mut store));
            std::future::poll_fn(|cx| {
                seat.cpu.enter();
                let polled = making.as_mut().poll(cx);
                seat.cpu.leave();
                polled
            })
            .await
        };
        match made {
            Ok(exports) => Ok(Instance { store, exports }),
            Err(error) if error.is::<CpuTimeUsedUp>() => Err(InstanceError::CpuTime),
            Err(error) => Err(failed(error, store.data_mut().limits.refused.take())),
        }
    }
}

/// How the instance failed, if it did. A WASI 0.2 instance that fails drops its request before anybody hears of the
/// failure. It serves one request and so ends as soon as that has left it, which tells a failure from a return.
async fn failure(seat: &Seat) -> Option<Ending> {
    if !seat.is_retiring() {
        return None;
    }
    let ending = tokio::time::timeout(ENDING_WAIT, seat.ending.wait()).await.ok()?;
    (!matches!(ending, Ending::Retired)).then(|| ending.clone())
}

/// Has the function see the trace that what it does belongs to, and pass it on if it likes.
fn trace_on(headers: &mut http::HeaderMap, guard: &RequestGuard) {
    if let Some(context) = guard.span.context() {
        outbound::carry(headers, context);
    }
}

/// Tells the operator why a request got no response from its function, as far as the tenant's share of the log goes.
fn log_unanswered(pool: &Pool, guard: &RequestGuard, reason: &str) {
    let Some(not_told) = pool.failures().admit() else { return };
    tracing::error!(
        tenant = %pool.world.tenant,
        function = &*pool.world.function,
        request = &*guard.scope.context.request_id,
        reason,
        not_told,
        "function returned no response"
    );
}

/// The limit for which the instance of a request has to pause, if it does.
fn paused(pool: &Pool, guard: &RequestGuard) -> Option<Limit> {
    let allowed_ms = pool.world.bounds.tenant.cpu_ms_per_second?;
    guard.scope.seat()?.has_paused().then_some(Limit::TenantCpu(allowed_ms))
}

fn wasmtime_config(config: &EngineConfig) -> wasmtime::Config {
    let count = config.instances_max;
    let mut pooling = PoolingAllocationConfig::default();
    pooling
        .total_component_instances(count)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .total_core_instances(count.saturating_mul(CORE_INSTANCES_PER_COMPONENT_MAX))
        // Each memory of an instance has a permit; those of an instance that is just ending are a few more.
        .total_memories(count.saturating_add((count / 4).max(count.min(MEMORIES_PER_COMPONENT_MAX))))
        .total_tables(count.saturating_mul(TABLES_PER_COMPONENT_MAX))
        .total_stacks(count.saturating_mul(2))
        .max_memory_size(config.instance_memory_bytes_max)
        .table_elements(config.instance_table_elements_max);
    compilation(pooling)
}

/// How components are compiled and run, whoever runs them: machine code that was kept is of use only to an engine that is
/// set up as the one that made it.
pub fn compilation(pooling: PoolingAllocationConfig) -> wasmtime::Config {
    let mut settings = wasmtime::Config::new();
    settings
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    settings
}

/// What to do when the address space for the instances cannot be had.
fn no_room(error: &wasmtime::Error, instances_max: u32) -> String {
    format!(
        "{error:#} (room for {instances_max} instances takes about {} GiB of address space; lower `instances_max` in \
         [engine], or raise the limit of `ulimit -v`)",
        u64::from(instances_max) * 5
    )
}

/// Ends idle instances, as long as the engine lives. One task looks at all of them now and then, so that no request
/// pays for a timer.
fn start_reaper(shared: &Arc<EngineShared>, pools: &Arc<Pools>) {
    let timeout = shared.config.idle_instance_timeout();
    let (pools, pause) = (Arc::downgrade(pools), (timeout / 4).clamp(REAPER_PAUSE_MIN, REAPER_PAUSE_MAX));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            let Some(pools) = pools.upgrade() else { return };
            pools.reap(timeout);
        }
    });
}

/// Advances the epoch and balances the lanes from a thread of its own, which ends with the engine.
fn start_epochs(
    engine: &wasmtime::Engine,
    pools: &Arc<Pools>,
    lanes: &Arc<Lanes>,
    cores: usize,
) -> Result<(), LoadError> {
    let (weak, active, lanes) = (engine.weak(), Arc::clone(&pools.active), Arc::downgrade(lanes));
    let (mut ticks, mut balanced) = (0_u32, Instant::now());
    std::thread::Builder::new()
        .name("epochs".into())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                ticks += 1;
                if ticks >= BALANCE_TICKS {
                    ticks = 0;
                    let is_busy = lanes.upgrade().is_some_and(|lanes| lanes.front_is_busy());
                    fairness::balance(&active, cores, balanced.elapsed(), is_busy);
                    balanced = Instant::now();
                }
                std::thread::sleep(Duration::from_millis(EPOCH_TICK_MS));
            }
        })
        .map(drop)
        .map_err(|error| LoadError::Engine(format!("no thread for the epochs: {error}")))
}
