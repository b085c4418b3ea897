//! One instance at work: its mailbox, its event loop, and when it ends.
//!
//! The loop runs guest code only while the task that owns the store is polled, so the CPU time of an instance is the
//! time of those polls. Everything that may have to end an instance from outside (deadlines, idleness) is decided
//! between polls, because a guest that blocks its store keeps the inside from deciding anything.

use crate::account::{InstanceCount, TenantAccount};
use crate::clock::now_ms;
use crate::cpu::CpuAccount;
use crate::engine::{Instance, InstanceError};
use crate::error::Limit;
use crate::failures::reason;
use crate::load::Exports;
use crate::pool::Pool;
use crate::request::{Ledger, RequestScope};
use crate::state::InstanceState;
use crate::whole::{Message, WholeCall};
use futures::channel::oneshot;
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::task::AtomicWaker;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, SetOnce};
use tokio::time::Sleep;
use wasmtime::StoreContextMut;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{Prepared, Proxy, Response};

/// For how long it is remembered that an instance had to pause, milliseconds: longer than it runs between two pauses
/// while its tenant is over its rate.
const PAUSED_LATELY_MS: u64 = 1_000;

/// A request on its way into an instance.
pub(crate) struct Job {
    pub(crate) message: Message,
    pub(crate) scope: Arc<RequestScope>,
    pub(crate) reply: oneshot::Sender<Result<Response, wasmtime::Error>>,
}

/// How an instance ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// It was idle, or had served its share.
    Retired,
    /// It could not be made.
    NotInstantiated {
        /// What wasmtime said.
        reason: Arc<str>,
        /// The limit over which it was refused memory, if it was.
        refused: Option<Limit>,
    },
    /// It used more CPU time than its requests allow.
    CpuTime,
    /// It trapped.
    Trapped {
        /// What wasmtime said.
        reason: Arc<str>,
        /// The limit over which it was refused memory before, if it was.
        refused: Option<Limit>,
    },
}

/// The CPU account is empty; raised as a trap from the epoch callback.
#[derive(Debug, thiserror::Error)]
#[error("CPU time used up")]
pub(crate) struct CpuTimeUsedUp;

/// An instance as its pool sees it.
pub(crate) struct Seat {
    /// Unique in the process; names the instance in logs.
    pub(crate) number: u64,
    mailbox: Mutex<VecDeque<Job>>,
    waker: AtomicWaker,
    /// Requests in the mailbox or under way, until their responses have ended.
    in_flight: AtomicU32,
    /// When its last request ended; its beginning before that.
    idle_since_ms: AtomicU64,
    /// When it last had to pause because its tenant had no CPU time left; 0 if it never had to.
    paused_at_ms: AtomicU64,
    /// Requests ever given to it.
    served: AtomicU64,
    /// Takes no new requests and ends when it has none.
    retiring: AtomicBool,
    /// A request outlived its deadline: what it left behind ends with the instance.
    condemned: AtomicBool,
    /// It trapped or was stopped: what its unfinished responses still lacked will never come.
    broken: AtomicBool,
    pub(crate) cpu: CpuAccount,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) ending: SetOnce<Ending>,
}

impl Seat {
    pub(crate) fn new(number: u64, request_cpu: Duration, tenant: Arc<TenantAccount>) -> Self {
        Self {
            number,
            mailbox: Mutex::default(),
            waker: AtomicWaker::new(),
            in_flight: AtomicU32::new(0),
            idle_since_ms: AtomicU64::new(now_ms()),
            paused_at_ms: AtomicU64::new(0),
            served: AtomicU64::new(0),
            retiring: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            cpu: CpuAccount::new(request_cpu, tenant),
            ledger: Arc::default(),
            ending: SetOnce::new(),
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    /// A request takes a place; called under the pool's lock. Returns how many it has taken in all.
    pub(crate) fn occupy(&self) -> u64 {
        self.in_flight.fetch_add(1, SeqCst);
        self.served.fetch_add(1, Relaxed) + 1
    }

    /// Requests it was given so far.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }

    /// A request's place is free again.
    pub(crate) fn vacate(&self) {
        self.idle_since_ms.store(now_ms(), Relaxed);
        let others = self.in_flight.fetch_sub(1, SeqCst).saturating_sub(1);
        self.cpu.request_ends(u64::from(others));
        if self.is_retiring() {
            self.waker.wake();
        }
    }

    /// Whether it has had no request for `timeout`.
    pub(crate) fn is_idle_for(&self, timeout: Duration) -> bool {
        let since = self.idle_since_ms.load(Relaxed);
        self.in_flight() == 0 && u128::from(now_ms().saturating_sub(since)) >= timeout.as_millis()
    }

    /// Whether it had to pause lately because its tenant had no CPU time left.
    pub(crate) fn has_paused(&self) -> bool {
        let at = self.paused_at_ms.load(Relaxed);
        at != 0 && now_ms().saturating_sub(at) <= PAUSED_LATELY_MS
    }

    /// Whether its requests are over and what it still does does not matter.
    fn is_to_be_dropped(&self) -> bool {
        self.condemned.load(SeqCst) && self.in_flight() == 0
    }

    pub(crate) fn deliver(&self, job: Job) {
        self.lock_mailbox().push_back(job);
        self.waker.wake();
    }

    /// From now on it takes no new request and ends when it has none.
    pub(crate) fn retire(&self) {
        self.retiring.store(true, SeqCst);
        self.waker.wake();
    }

    /// As [`Seat::retire`], and whatever still runs in it when its requests are over is dropped.
    pub(crate) fn condemn(&self) {
        self.condemned.store(true, SeqCst);
        self.retire();
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.retiring.load(SeqCst)
    }

    /// Whether it trapped or was stopped, so that the end of a response's body may be a cut.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(SeqCst)
    }

    fn take_job(&self) -> Option<Job> {
        self.lock_mailbox().pop_front()
    }

    /// Requests that were never begun.
    pub(crate) fn take_mailbox(&self) -> VecDeque<Job> {
        std::mem::take(&mut *self.lock_mailbox())
    }

    fn lock_mailbox(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an instance among the host's and among its tenant's.
pub(crate) struct InstancePermit {
    pub(crate) _host: OwnedSemaphorePermit,
    pub(crate) _tenant: InstanceCount,
}

/// Makes the instance and runs it to its end.
pub(crate) async fn work(pool: Arc<Pool>, seat: Arc<Seat>, permit: InstancePermit) {
    let ending = match pool.instantiate(&seat).await {
        Ok(instance) => run(&pool, &seat, instance).await,
        Err(InstanceError::CpuTime) => Ending::CpuTime,
        Err(InstanceError::Failed { reason, refused }) => Ending::NotInstantiated { reason, refused },
    };
    drop(permit);
    pool.ended(&seat, ending);
}

async fn run(pool: &Arc<Pool>, seat: &Arc<Seat>, instance: Instance) -> Ending {
    let Instance { mut store, exports } = instance;
    let result = {
        let mut driver =
            pin!(store.run_concurrent(async |accessor| serve(accessor, &exports, seat, pool).await));
        let mut pause = None;
        poll_fn(|cx| {
            seat.waker.register(cx.waker());
            if poll_pause(seat, &mut pause, cx).is_pending() {
                return if seat.is_to_be_dropped() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            seat.cpu.enter();
            let polled = driver.as_mut().poll(cx);
            seat.cpu.leave();
            match polled {
                Poll::Ready(result) => Poll::Ready(result.and_then(|served| served)),
                // Decided here, because a guest that blocks its store keeps the inside from deciding anything.
                Poll::Pending if seat.is_to_be_dropped() => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    };
    let refused = store.data_mut().limits.refused.take();
    // Said before the store goes: with it go the senders of the bodies, which then look as if they had ended.
    seat.broken.store(result.is_err(), SeqCst);
    drop(store);
    match result {
        Ok(()) => Ending::Retired,
        Err(error) if error.is::<CpuTimeUsedUp>() => Ending::CpuTime,
        Err(error) => {
            let told = refused.map_or_else(String::new, |refused| format!("{refused}; "));
            let reason = reason(format_args!("{told}{}", causes_first(&error))).into();
            Ending::Trapped { reason, refused: refused.map(|refused| refused.limit) }
        }
    }
}

/// Waits while the tenant has no CPU time left.
fn poll_pause(seat: &Seat, pause: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if let Some(sleep) = pause {
            ready!(sleep.as_mut().poll(cx));
            *pause = None;
        }
        match seat.cpu.pause() {
            Some(time) => {
                seat.paused_at_ms.store(now_ms().max(1), Relaxed);
                *pause = Some(Box::pin(tokio::time::sleep(time)));
            }
            None => return Poll::Ready(()),
        }
    }
}

/// The cause first, then where it happened: what is kept of a reason is its beginning.
fn causes_first(error: &wasmtime::Error) -> String {
    let mut parts: Vec<String> = error.chain().map(ToString::to_string).collect();
    parts.reverse();
    parts.join("; ")
}

/// The event loop inside the store: begin what is in the mailbox, carry what is under way.
async fn serve(
    accessor: &Accessor<InstanceState>,
    exports: &Exports,
    seat: &Arc<Seat>,
    pool: &Arc<Pool>,
) -> wasmtime::Result<()> {
    let mut calls = FuturesUnordered::new();
    let function = match &exports.proxy {
        Proxy::P3(guest) => *guest.wasi_http_handler().func_handle().func(),
        Proxy::P2(guest) => *guest.wasi_http_incoming_handler().func_handle().func(),
    };
    poll_fn(|cx| {
        loop {
            match calls.poll_next_unpin(cx) {
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(()))) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            if accessor.poll_ready_for_concurrent_call(function, cx).is_ready()
                && let Some(job) = seat.take_job()
            {
                calls.push(answer(accessor, exports, seat, job));
                continue;
            }
            if !calls.is_empty() || accessor.poll_no_interesting_tasks(cx).is_pending() {
                return Poll::Pending;
            }
            if seat.is_retiring() && seat.in_flight() == 0 && pool.has_left(seat) {
                return Poll::Ready(Ok(()));
            }
            return Poll::Pending;
        }
    })
    .await
}

/// Calls the guest with one request and waits for the head of its response, at most until the request's deadline.
async fn answer(
    accessor: &Accessor<InstanceState>,
    exports: &Exports,
    seat: &Arc<Seat>,
    job: Job,
) -> wasmtime::Result<()> {
    let Job { message, scope, reply } = job;
    let deadline = scope.context.head_deadline;
    let begun = accessor.with(|mut access| {
        use wasmtime::AsContextMut as _;
        let mut store = access.as_context_mut();
        seat.cpu.request_starts(u64::from(seat.in_flight().saturating_sub(1)));
        let begun = Begun::new(store.as_context_mut(), exports, message, reply)?;
        let task = match &begun {
            Begun::Whole(call) => call.task(),
            Begun::Http(Prepared::P3 { call, .. }) => call.task(),
            Begun::Http(Prepared::P2 { call, .. }) => {
                store.data_mut().only_request(&scope);
                call.task()
            }
        };
        store.data_mut().request_starts(task, &scope);
        wasmtime::error::Ok(begun)
    })?;
    drop(scope);
    let deadline = tokio::time::sleep_until(deadline.into());
    let in_time = match begun {
        Begun::Whole(call) => call.run(accessor, deadline).await,
        Begun::Http(prepared) => prepared.run(accessor, deadline).await?,
    };
    if !in_time {
        seat.condemn();
    }
    Ok(())
}

/// A call of the guest that has begun.
enum Begun<'a> {
    Whole(WholeCall<'a>),
    Http(Prepared<'a, InstanceState>),
}

impl<'a> Begun<'a> {
    fn new(
        store: StoreContextMut<'_, InstanceState>,
        exports: &'a Exports,
        message: Message,
        reply: oneshot::Sender<Result<Response, wasmtime::Error>>,
    ) -> wasmtime::Result<Self> {
        let request = match (message, &exports.whole) {
            (Message::Whole(head, body), Some(guest)) => {
                return Ok(Self::Whole(WholeCall::begin(store, guest, (head, body), reply)?));
            }
            (message, _) => message.into_http(),
        };
        Ok(Self::Http(Prepared::new(store, &exports.proxy, request, InstanceState::http, reply)?))
    }
}
