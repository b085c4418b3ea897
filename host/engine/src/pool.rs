//! The instances of one function for one tenant: which of them takes a request, and when there are more.
//!
//! A request goes to an instance that has room and is not running on another core at this moment; one that computes
//! keeps its core, not its neighbours' requests. Among those it is one of the oldest, as many as there are cores, while
//! these have room: what a burst has left behind is not kept in use, ends when it has been idle, and does not push the
//! memory of those that work out of the processor's caches. A new instance is made when all are running and there are
//! fewer than cores, or when none has room.

use crate::account::TenantAccount;
use crate::engine::{EngineShared, Instance, InstanceError};
use crate::error::{HandleError, Limit};
use crate::failures::FailureBudget;
use crate::load::Loaded;
use crate::metrics::FunctionMetrics;
use crate::worker::{self, Ending, InstancePermit, Job, Seat};
use crate::world::FunctionWorld;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often a waiting request looks whether another pool has an idle instance to give up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The pool of one (tenant, function). Its instances are never handed to another.
pub(crate) struct Pool {
    engine: Arc<EngineShared>,
    loaded: Arc<Loaded>,
    pub(crate) world: Arc<FunctionWorld>,
    account: Arc<TenantAccount>,
    /// Its world is no longer in force: requests belong to another pool.
    closed: AtomicBool,
    seats: Mutex<Seats>,
    /// Told when a place or a seat became free while somebody waits.
    freed: Notify,
    waiting: AtomicU32,
}

/// The instances of a pool.
#[derive(Default)]
struct Seats {
    /// Those that take requests.
    open: Vec<Arc<Seat>>,
    /// Those that only finish what they have.
    leaving: Vec<Arc<Seat>>,
}

impl Seats {
    /// From now on the instance takes no request.
    fn leave(&mut self, seat: &Arc<Seat>) {
        self.open.retain(|other| !Arc::ptr_eq(other, seat));
        self.leaving.push(Arc::clone(seat));
        seat.retire();
    }

    fn forget(&mut self, seat: &Arc<Seat>) {
        self.open.retain(|other| !Arc::ptr_eq(other, seat));
        self.leaving.retain(|other| !Arc::ptr_eq(other, seat));
    }
}

/// A request's place in an instance; free again when dropped.
pub(crate) struct Place {
    seat: Arc<Seat>,
    pool: Arc<Pool>,
}

impl Place {
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.vacate();
        self.pool.wake_one_waiting();
    }
}

impl Pool {
    pub(crate) fn new(
        engine: Arc<EngineShared>,
        loaded: Arc<Loaded>,
        world: Arc<FunctionWorld>,
        account: Arc<TenantAccount>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            loaded,
            world,
            account,
            closed: AtomicBool::new(false),
            seats: Mutex::default(),
            freed: Notify::new(),
            waiting: AtomicU32::new(0),
        })
    }

    /// Gives the request a place, waiting for one within the bounds of the configuration.
    ///
    /// # Errors
    /// [`HandleError::Busy`], with the limit that there is none for, when there is none in time or too many wait already.
    pub(crate) async fn dispatch(self: &Arc<Self>, job: Job) -> Result<(), HandleError> {
        let Err((job, limit)) = self.try_dispatch(job) else { return Ok(()) };
        let most = self.engine.config.waiting_requests_max;
        let waiting = WaitingCount::enter(&self.waiting);
        let _waits = self.metrics().waiting.hold();
        if waiting.count > most {
            return Err(self.busy(limit, format!("{most} requests wait already")));
        }
        self.wait_and_dispatch(job).await
    }

    async fn wait_and_dispatch(self: &Arc<Self>, mut job: Job) -> Result<(), HandleError> {
        let patience = Duration::from_millis(self.engine.config.instance_wait_ms);
        let until = (Instant::now() + patience).min(job.scope.context.head_deadline);
        loop {
            // Both are listened to before the attempt, so that nothing is missed between it and the wait.
            let (freed, released) = (self.freed.notified(), self.engine.instance_released.notified());
            let (mut freed, mut released) = (pin!(freed), pin!(released));
            freed.as_mut().enable();
            released.as_mut().enable();
            let limit;
            (job, limit) = match self.try_dispatch(job) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            // Nobody tells when another pool's instance has become idle, which would make room here.
            let again = Instant::now() + LOOK_AGAIN;
            tokio::select! {
                () = freed => {}
                () = released => {}
                () = tokio::time::sleep_until(until.min(again).into()) => {}
            }
            if Instant::now() >= until {
                return Err(self.busy(limit, format!("waited {} ms", patience.as_millis())));
            }
        }
    }

    fn busy(&self, limit: Limit, reason: String) -> HandleError {
        HandleError::Busy { function: self.world.function.to_string(), limit, reason }
    }

    /// Gives the request a place if there is one now; else it comes back, with the limit for which there is none.
    #[expect(
        clippy::result_large_err,
        reason = "the job comes back whole, to be tried again; a box would cost each request"
    )]
    fn try_dispatch(self: &Arc<Self>, job: Job) -> Result<(), (Job, Limit)> {
        let mut seats = self.lock_seats();
        let (seat, permit) = match self.choose(&seats) {
            Choice::Seat(seat) => (seat, None),
            Choice::New(fallback) => match (self.reserve_instance(), fallback) {
                (Ok(permit), _) => (self.new_seat(&mut seats.open), Some(permit)),
                (Err(_limit), Some(seat)) => (seat, None),
                (Err(limit), None) => return Err((job, limit)),
            },
        };
        let served = seat.occupy();
        if permit.is_none() {
            self.metrics().reused.increment();
        }
        let reuse_max = if self.shares() { self.engine.config.instance_reuse_count_max } else { 1 };
        if served >= reuse_max || self.closed.load(SeqCst) {
            seats.leave(&seat);
        }
        drop(seats);
        job.scope.take_place(Place { seat: Arc::clone(&seat), pool: Arc::clone(self) });
        seat.deliver(job);
        if let Some(permit) = permit {
            self.metrics().created.increment();
            self.metrics().live.add(1);
            let work = worker::work(Arc::clone(self), Arc::clone(&seat), permit);
            self.engine.lanes.spawn(&seat, work);
        }
        Ok(())
    }

    /// Whether its function takes requests that are whole.
    pub(crate) fn takes_whole(&self) -> bool {
        self.loaded.takes_whole
    }

    /// Whether an instance serves several requests: the component can, and nothing keeps its requests apart.
    fn shares(&self) -> bool {
        self.loaded.is_reusable() && !self.world.bounds.isolate_requests
    }

    /// A permit for one more instance, of the host and of the tenant. Where there is none, an idle instance is told to
    /// end: one of the tenant's own when it is the tenant who has too many. The limit that was met says who that is.
    fn reserve_instance(&self) -> Result<InstancePermit, Limit> {
        let weight = self.loaded.weight;
        let Some(tenant) = self.account.add_instance(weight) else {
            self.engine.give_up_idle_of(self);
            return Err(self.instances_limit());
        };
        let host = self.engine.reserve_instance(self, weight);
        let host = host.ok_or(Limit::HostInstances(self.engine.config.instances_max))?;
        Ok(InstancePermit { _host: host, _tenant: tenant })
    }

    /// What a tenant that can have no further instance is over. One that may have all of the host's, because it is alone,
    /// has no bound of its own.
    fn instances_limit(&self) -> Limit {
        let host = self.engine.config.instances_max;
        match self.world.bounds.tenant.instances_max {
            Some(own) if own < host => Limit::TenantInstances(own),
            _ => Limit::HostInstances(host),
        }
    }

    /// Chooses without changing anything; the caller holds the lock.
    fn choose(&self, seats: &Seats) -> Choice {
        let room = if self.shares() { self.engine.config.instance_concurrent_requests_max } else { 1 };
        let Candidates { resting, running } = candidates(&seats.open, room, self.engine.cores);
        if let Some(seat) = resting {
            return Choice::Seat(Arc::clone(seat));
        }
        let may_grow = running.is_none() || seats.open.len() < self.engine.cores;
        match (may_grow, running) {
            (false, Some(seat)) => Choice::Seat(Arc::clone(seat)),
            (_, fallback) => Choice::New(fallback.cloned()),
        }
    }

    fn new_seat(&self, seats: &mut Vec<Arc<Seat>>) -> Arc<Seat> {
        let number = self.engine.next_instance_number();
        let seat = Arc::new(Seat::new(number, self.world.bounds.request_cpu, Arc::clone(&self.account)));
        seats.push(Arc::clone(&seat));
        seat
    }

    pub(crate) async fn instantiate(&self, seat: &Arc<Seat>) -> Result<Instance, InstanceError> {
        let began = Instant::now();
        let made = self.engine.instantiate(&self.loaded, &self.world, &self.account, seat).await;
        self.metrics().starts.observe(began.elapsed());
        made
    }

    /// From now on no request should come, and every instance ends when it has finished what it has. A request that
    /// was on its way here gets an instance of its own.
    pub(crate) fn close(&self) {
        let mut seats = self.lock_seats();
        self.closed.store(true, SeqCst);
        for seat in std::mem::take(&mut seats.open) {
            seat.retire();
            if seat.in_flight() == 0 {
                seat.condemn();
            }
            seats.leaving.push(seat);
        }
    }

    /// Whether it has no instance.
    pub(crate) fn is_empty(&self) -> bool {
        let seats = self.lock_seats();
        seats.open.is_empty() && seats.leaving.is_empty()
    }

    /// Ends the instances that have had no request for `timeout`, with whatever they still do on their own. True when
    /// there are none at all.
    pub(crate) fn end_idle(&self, timeout: Duration) -> bool {
        let mut seats = self.lock_seats();
        let idle: Vec<Arc<Seat>> =
            seats.open.iter().filter(|seat| seat.is_idle_for(timeout)).cloned().collect();
        idle.iter().for_each(|seat| seats.leave(seat));
        seats.leaving.iter().filter(|seat| seat.is_idle_for(timeout)).for_each(|seat| seat.condemn());
        seats.open.is_empty() && seats.leaving.is_empty()
    }

    /// Whether the pool no longer gives requests to this instance.
    pub(crate) fn has_left(&self, seat: &Arc<Seat>) -> bool {
        !self.lock_seats().open.iter().any(|other| Arc::ptr_eq(other, seat))
    }

    /// Makes room for another pool: the youngest instance without a request ends, which is the one that is used least. A pool that is
    /// being used at this moment is passed over; to wait for it while holding another's lock could be for ever.
    pub(crate) fn give_up_idle(&self) -> bool {
        let Ok(mut seats) = self.seats.try_lock() else { return false };
        let Some(seat) = seats.open.iter().rev().find(|seat| seat.in_flight() == 0).cloned() else {
            return false;
        };
        seats.leave(&seat);
        seat.condemn();
        true
    }

    /// The worker is done: what it never began is given to another, and the ending is told to those who wait.
    pub(crate) fn ended(self: &Arc<Self>, seat: &Arc<Seat>, ending: Ending) {
        seat.retire();
        self.lock_seats().forget(seat);
        self.metrics().count_ending(&ending);
        self.log_ending(seat, &ending);
        let failed_to_start = matches!(ending, Ending::NotInstantiated { .. });
        let _ = seat.ending.set(ending);
        let left_over = seat.take_mailbox();
        if !failed_to_start {
            for job in left_over {
                let pool = Arc::clone(self);
                // Refused here, the job's reply is dropped and its caller reads the ending of the first instance.
                tokio::spawn(async move { pool.dispatch(job).await.ok() });
            }
        }
        self.freed.notify_waiters();
        self.engine.instance_released.notify_waiters();
    }

    fn metrics(&self) -> &FunctionMetrics {
        &self.loaded.metrics
    }

    /// The tenant's.
    pub(crate) fn account(&self) -> &Arc<TenantAccount> {
        &self.account
    }

    /// Lines of the log about the tenant's failures.
    pub(crate) fn failures(&self) -> &FailureBudget {
        &self.account.failures
    }

    fn log_ending(&self, seat: &Seat, ending: &Ending) {
        let (tenant, function, instance) = (&self.world.tenant, &*self.world.function, seat.number);
        if matches!(ending, Ending::Retired) {
            tracing::debug!(%tenant, function, instance, "instance ended");
            return;
        }
        self.account.suspect();
        let Some(not_told) = self.failures().admit() else { return };
        match ending {
            Ending::Retired => {}
            Ending::CpuTime => {
                tracing::error!(
                    %tenant,
                    function,
                    instance,
                    allowed_ms = self.world.bounds.request_cpu_ms(),
                    not_told,
                    "function stopped: it used more CPU time than its requests are allowed"
                );
            }
            Ending::Trapped { reason, .. } => {
                tracing::error!(%tenant, function, instance, %reason, not_told, "function trapped");
            }
            Ending::NotInstantiated { reason, .. } => {
                tracing::error!(%tenant, function, instance, %reason, not_told, "function could not be instantiated");
            }
        }
    }

    fn wake_one_waiting(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.freed.notify_one();
        }
    }

    fn lock_seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The best instances for a request.
struct Candidates<'a> {
    /// Among those that no core is running.
    resting: Option<&'a Arc<Seat>>,
    /// Among those that one is running.
    running: Option<&'a Arc<Seat>>,
}

/// Of the instances with `room`, oldest first, those with the fewest requests: of those at rest among the oldest, as many
/// as there are cores, and only where these have none, among as many that follow.
fn candidates(open: &[Arc<Seat>], room: u32, cores: usize) -> Candidates<'_> {
    let mut found = Candidates { resting: None, running: None };
    for group in open.chunks(cores.max(1)) {
        for seat in group {
            let load = seat.in_flight();
            if load >= room || seat.is_retiring() {
                continue;
            }
            let best = if seat.cpu.is_running() { &mut found.running } else { &mut found.resting };
            if best.is_none_or(|best| load < best.in_flight()) {
                *best = Some(seat);
            }
        }
        if found.resting.is_some() {
            break;
        }
    }
    found
}

/// Where a request could go.
enum Choice {
    /// To this instance.
    Seat(Arc<Seat>),
    /// To a new instance, or to this one if there can be none.
    New(Option<Arc<Seat>>),
}

/// Counts those who wait, and stops counting when they no longer do.
struct WaitingCount<'a> {
    counter: &'a AtomicU32,
    count: u32,
}

impl<'a> WaitingCount<'a> {
    fn enter(counter: &'a AtomicU32) -> Self {
        let count = counter.fetch_add(1, Relaxed) + 1;
        Self { counter, count }
    }
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::TenantAccount;

    /// Instances with so many requests under way.
    fn seats(loads: &[u32]) -> Vec<Arc<Seat>> {
        let seat = |(number, load): (u64, &u32)| {
            let seat = Seat::new(number, Duration::from_secs(1), TenantAccount::new(&Arc::default()));
            for _ in 0..*load {
                seat.occupy();
            }
            Arc::new(seat)
        };
        (0..).zip(loads).map(seat).collect()
    }

    fn numbers(open: &[Arc<Seat>], room: u32, cores: usize) -> (Option<u64>, Option<u64>) {
        let found = candidates(open, room, cores);
        (found.resting.map(|seat| seat.number), found.running.map(|seat| seat.number))
    }

    #[test]
    fn requests_go_to_the_oldest_instances_while_these_have_room() {
        for (loads, expected) in [
            (&[0, 0, 0, 0][..], Some(0)),
            (&[1, 0, 0, 0], Some(1)),
            (&[3, 2, 0, 0], Some(1)),
            (&[4, 3, 0, 0], Some(1)),
            (&[4, 4, 2, 1], Some(3)),
            (&[4, 4, 4, 4, 1], Some(4)),
            (&[4, 4, 4, 4, 4], None),
            (&[], None),
        ] {
            assert_eq!(numbers(&seats(loads), 4, 2), (expected, None), "{loads:?}");
        }
    }

    #[test]
    fn an_instance_that_computes_keeps_no_request_waiting_while_another_rests() {
        let open = seats(&[0, 0, 1]);
        open[0].cpu.enter();
        assert_eq!(numbers(&open, 4, 2), (Some(1), Some(0)));
        open[1].cpu.enter();
        assert_eq!(numbers(&open, 4, 2), (Some(2), Some(0)));
        open[2].cpu.enter();
        assert_eq!(numbers(&open, 4, 2), (None, Some(0)));
        open[0].retire();
        assert_eq!(numbers(&open, 4, 2), (None, Some(1)));
    }
}
