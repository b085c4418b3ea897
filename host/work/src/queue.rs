//! The queue: takes work, and has it delivered until it is done or its attempts are used up.

use crate::clock::Clock;
use crate::config::WorkConfig;
use crate::schedule::{Bounds, Next, Schedule};
use crate::store::{Added, Claim, Claimed, Held, Pending, Settle, StoreFailure, Terms, WorkStore};
use crate::work::{Work, WorkId, WorkMistake};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use waggle_measure::Counter;

/// How often the store is asked what is pending: for work of hosts that are no more, and for what a failure of the store
/// has made this one forget.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long work is held before that has to be renewed, where several hosts share a store.
const LEASE_MS: u64 = 30_000;
/// How often it is renewed, and how soon again where that has failed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
const RENEW_AGAIN: Duration = Duration::from_secs(2);
/// How long before its end a lease counts as lost: what is under way has to end before another host begins with it, and
/// whose clocks differ by less than that may share a store.
const LEASE_MARGIN_MS: u64 = 5_000;
/// How often the outcome of a delivery is written before this host gives up, and how long it waits in between.
const SETTLE_ATTEMPTS_MAX: u32 = 5;
const SETTLE_WAIT: Duration = Duration::from_secs(1);
/// How long to wait before asking anew for work of a store that has failed, milliseconds.
const STORE_FAILED_WAIT_MS: u64 = 5_000;

/// What the queue knows of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its work is delivered.
    Served,
    /// It is suspended: its work waits.
    Suspended,
    /// There is no such tenant.
    Gone,
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The name of the work.
    pub id: WorkId,
    /// What is to be done.
    pub work: Work,
    /// The attempt, from 1.
    pub attempt: u32,
    /// There will be none after it.
    pub is_last: bool,
    /// How long it may take; it is ended then.
    pub timeout: Duration,
}

/// Why a delivery has failed, for the log. Nothing in it is a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// Makes the calls.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// What is known of a tenant now.
    fn standing(&self, tenant: &str) -> Standing;

    /// Calls the function. Dropped when it takes too long; the call must end with it.
    ///
    /// # Errors
    /// Why the work is not done.
    async fn deliver(&self, tenant: &str, delivery: Delivery) -> Result<(), Failure>;
}

/// Why work was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// It is not as it must be.
    #[error(transparent)]
    Mistake(#[from] WorkMistake),
    /// The tenant has as much pending as it may have.
    #[error("{pending_max} pieces of work are pending, and no more may be")]
    Full {
        /// How much that is.
        pending_max: usize,
    },
    /// The host has as much in mind as it may have, or is on its way down.
    #[error("the host takes no more work at the moment")]
    Overloaded,
    /// It could not be kept.
    #[error("the work could not be kept: {0}")]
    Store(#[from] StoreFailure),
}

/// What became of deliveries.
#[derive(Debug, Default)]
pub struct WorkMetrics {
    /// Those after which the work was done.
    pub done: Counter,
    /// Those that failed and will be made again.
    pub failed: Counter,
    /// Those that failed and were the last of their work.
    pub dropped: Counter,
    /// Those that were cut off, because the host ended, the tenant was suspended or removed, or the work was no longer held.
    pub interrupted: Counter,
}

/// The queue of one host. Cloning is cheap.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

/// A queue, for those whom it holds itself.
pub struct WeakQueue(Weak<Shared>);

impl WeakQueue {
    /// The queue, while somebody holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Queue> {
        self.0.upgrade().map(Queue)
    }
}

struct Shared {
    config: WorkConfig,
    clock: Clock,
    store: Arc<dyn WorkStore>,
    deliver: Arc<dyn Deliver>,
    schedule: Mutex<Schedule>,
    /// Told when something may be ready.
    wake: Notify,
    /// Told when the store is to be looked at before it is time.
    look_soon: Notify,
    /// Told when a tenant has changed.
    changes: watch::Sender<()>,
    /// No more deliveries begin.
    stopping: CancellationToken,
    /// Those under way are cut off.
    ending: CancellationToken,
    metrics: WorkMetrics,
}

impl Queue {
    /// A queue that does nothing before [`Queue::run`].
    #[must_use]
    pub fn new(
        config: WorkConfig,
        clock: Clock,
        store: Arc<dyn WorkStore>,
        deliver: Arc<dyn Deliver>,
    ) -> Self {
        let bounds = Bounds {
            concurrent_per_tenant: config.concurrent_per_tenant,
            concurrent_max: config.concurrent_max,
            pending_max: config.pending_max,
        };
        Self(Arc::new(Shared {
            config,
            clock,
            store,
            deliver,
            schedule: Mutex::new(Schedule::new(bounds)),
            wake: Notify::new(),
            look_soon: Notify::new(),
            changes: watch::Sender::new(()),
            stopping: CancellationToken::new(),
            ending: CancellationToken::new(),
            metrics: WorkMetrics::default(),
        }))
    }

    /// For whom it holds itself.
    #[must_use]
    pub fn downgrade(&self) -> WeakQueue {
        WeakQueue(Arc::downgrade(&self.0))
    }

    /// Takes work of a tenant. Once this returns an id, it is durable.
    ///
    /// # Errors
    /// [`EnqueueError`]; of [`EnqueueError::Store`] it is open whether the work was kept.
    pub async fn enqueue(&self, tenant: &str, work: &Work) -> Result<WorkId, EnqueueError> {
        work.check()?;
        if self.0.stopping.is_cancelled() || self.0.schedule().is_full() {
            return Err(EnqueueError::Overloaded);
        }
        let pending = Pending { id: WorkId::random(), arrived_ms: self.0.clock.now_ms() };
        let pending_max = self.0.config.pending_per_tenant_max;
        match self.0.store.add(tenant, pending.clone(), work, pending_max).await? {
            Added::Full => Err(EnqueueError::Full { pending_max }),
            Added::Kept => {
                let id = pending.id.clone();
                self.0.schedule().add(tenant, pending);
                self.0.wake.notify_one();
                Ok(id)
            }
        }
    }

    /// Delivers until [`Queue::stop`], and then until what is under way has ended.
    pub async fn run(&self) {
        tokio::join!(self.look_again_and_again(), self.deliver_all());
    }

    /// From now on no delivery begins, and no work is taken.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Cuts off what is under way; its attempts do not count.
    pub fn end(&self) {
        self.stop();
        self.0.ending.cancel();
    }

    /// A tenant has changed: it may be served again, or not any more. Deliveries of one that is not are cut off.
    pub fn tenant_changed(&self, tenant: &str) {
        match self.0.deliver.standing(tenant) {
            Standing::Gone => self.0.schedule().forget(tenant),
            Standing::Suspended => self.0.schedule().suspend(tenant),
            Standing::Served => {
                if self.0.schedule().resume(tenant) {
                    self.0.look_soon.notify_one();
                }
                return;
            }
        }
        self.0.changes.send_replace(());
    }

    /// A tenant's work was erased.
    pub fn forget(&self, tenant: &str) {
        self.0.schedule().forget(tenant);
    }

    /// What became of deliveries.
    #[must_use]
    pub fn metrics(&self) -> &WorkMetrics {
        &self.0.metrics
    }

    /// Work that this host knows to be pending, running work included, and that of suspended tenants not.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.schedule().pending()
    }

    /// How long the oldest of it has been there. It looks at all of it: for scrapes.
    #[must_use]
    pub fn age(&self) -> Duration {
        let oldest_ms = self.0.schedule().oldest_ms();
        Duration::from_millis(oldest_ms.map_or(0, |oldest| self.0.clock.now_ms().saturating_sub(oldest)))
    }

    async fn look_again_and_again(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.0.stopping.cancelled() => return,
                () = self.0.look() => {}
            }
            tokio::select! {
                biased;
                () = self.0.stopping.cancelled() => return,
                () = self.0.look_soon.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn deliver_all(&self) {
        let mut under_way = JoinSet::new();
        while !self.0.stopping.is_cancelled() {
            let due_ms = loop {
                let now_ms = self.0.clock.now_ms();
                let mut schedule = self.0.schedule();
                let Some(next) = schedule.next(now_ms) else { break schedule.next_due() };
                drop(schedule);
                let shared = Arc::clone(&self.0);
                under_way.spawn(async move { shared.carry_out(next).await });
            };
            let far = || Instant::now() + LOOK_EVERY;
            let due = due_ms.map_or_else(far, |due_ms| self.0.clock.instant(due_ms));
            tokio::select! {
                () = self.0.stopping.cancelled() => {}
                () = self.0.wake.notified() => {}
                () = sleep_until(due) => {}
                Some(_ended) = under_way.join_next() => {}
            }
        }
        while under_way.join_next().await.is_some() {}
    }
}

/// How a delivery came to its end.
enum Ended {
    Done,
    Failed(Failure),
    /// The host ends.
    Interrupted,
    /// Somebody else has the work.
    Lost,
    /// The lease could not be renewed, and is about to end.
    Expired,
    /// The tenant is not served any more.
    Unserved,
}

impl Ended {
    /// Why it was cut off, for the log.
    fn cut_off(&self) -> Option<&'static str> {
        match self {
            Self::Done | Self::Failed(_) | Self::Interrupted => None,
            Self::Lost => Some("another host has taken it over"),
            Self::Expired => Some("its lease could not be renewed, and another host may begin with it"),
            Self::Unserved => Some("its tenant was suspended or removed"),
        }
    }
}

impl Shared {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out what is pending. What cannot be read is looked for again the next time.
    async fn look(&self) {
        let listed = match self.store.tenants().await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "it cannot be read which tenants have work pending");
                return;
            }
        };
        for one in listed {
            let standing = self.deliver.standing(&one.tenant);
            match standing {
                Standing::Gone => self.schedule().forget(&one.tenant),
                Standing::Suspended => self.schedule().suspend(&one.tenant),
                Standing::Served => {
                    self.schedule().resume(&one.tenant);
                }
            }
            let looked = async {
                let pending = self.store.pending(&one.tenant).await?;
                if pending.is_empty() {
                    return self.store.release(&one, standing == Standing::Gone).await;
                }
                if standing == Standing::Served {
                    let mut schedule = self.schedule();
                    for work in pending {
                        schedule.add(&one.tenant, work);
                    }
                }
                Ok(())
            };
            if let Err(error) = looked.await {
                tracing::warn!(tenant = one.tenant, %error, "pending work cannot be read");
            }
            self.wake.notify_one();
        }
    }

    /// One delivery, from its claim to its outcome.
    async fn carry_out(&self, next: Next) {
        let (tenant, id) = &next;
        // From before the look at the tenant, so that no change is missed.
        let changes = self.changes.subscribe();
        match self.deliver.standing(tenant) {
            Standing::Served => {}
            Standing::Suspended => {
                self.schedule().done(&next);
                return self.schedule().suspend(tenant);
            }
            Standing::Gone => {
                self.schedule().done(&next);
                return self.schedule().forget(tenant);
            }
        }
        let now_ms = self.clock.now_ms();
        let terms = Terms {
            now_ms,
            until_ms: now_ms + LEASE_MS,
            attempts_max: self.config.attempts_max,
            wait_ms_max: self.config.wait_ms_max(),
        };
        match self.store.claim(tenant, id, terms).await {
            Ok(Claim::Claimed(claimed)) => self.deliver(next, *claimed, terms.until_ms, changes).await,
            Ok(Claim::Later(due_ms)) => self.schedule().again(&next, due_ms),
            Ok(Claim::Gone) => self.schedule().done(&next),
            Ok(Claim::Spent(work)) => {
                self.metrics.dropped.increment();
                let failure =
                    Failure("the host ended during the last one, or could not note its outcome".into());
                dropped(&next, &work.function, &work.path, self.config.attempts_max, &failure);
                self.schedule().done(&next);
            }
            Err(error) => {
                tracing::warn!(tenant = &**tenant, work = %id, %error, "work cannot be read");
                self.schedule().again(&next, now_ms + STORE_FAILED_WAIT_MS);
            }
        }
    }

    async fn deliver(&self, next: Next, claimed: Claimed, until_ms: u64, changes: watch::Receiver<()>) {
        let (tenant, id) = &next;
        let Claimed { work, attempt, mut held } = claimed;
        let is_last = attempt >= self.config.attempts_max;
        let (function, path) = (work.function.clone(), work.path.clone());
        let limit = self.config.timeout();
        let delivery = Delivery { id: id.clone(), work, attempt, is_last, timeout: limit };
        let ended = {
            let call = timeout(limit, self.deliver.deliver(tenant, delivery));
            tokio::select! {
                biased;
                ended = call => match ended {
                    Ok(Ok(())) => Ended::Done,
                    Ok(Err(failure)) => Ended::Failed(failure),
                    Err(_late) => Ended::Failed(Failure(format!("it took longer than {} ms", limit.as_millis()))),
                },
                ended = self.keep(&next, &mut held, until_ms) => ended,
                () = self.unserved(tenant, changes) => Ended::Unserved,
                () = self.ending.cancelled() => Ended::Interrupted,
            }
        };
        let metrics = &self.metrics;
        if let Some(why) = ended.cut_off() {
            tracing::warn!(tenant = &**tenant, function, work = %id, why, "a delivery of work was cut off");
        }
        match ended {
            Ended::Done => {
                metrics.done.increment();
                self.settle(&next, &held, Settle::Remove).await;
            }
            Ended::Failed(failure) if is_last => {
                metrics.dropped.increment();
                dropped(&next, &function, &path, attempt, &failure);
                self.settle(&next, &held, Settle::Remove).await;
            }
            Ended::Failed(failure) => {
                metrics.failed.increment();
                tracing::info!(
                    tenant = &**tenant, function, work = %id, attempt, %failure, "a delivery of work has failed; it will be tried again"
                );
                let due_ms = self.clock.now_ms() + self.config.wait_ms(attempt);
                self.settle(&next, &held, Settle::Again(due_ms)).await;
            }
            Ended::Interrupted | Ended::Expired | Ended::Unserved => {
                metrics.interrupted.increment();
                self.settle(&next, &held, Settle::GiveBack).await;
            }
            Ended::Lost => {
                metrics.interrupted.increment();
                self.schedule().done(&next);
            }
        }
    }

    /// Returns when the work is no longer held, and says why; it is held on until then. Its lease ends at `until_ms`.
    async fn keep(&self, (tenant, id): &Next, held: &mut Held, mut until_ms: u64) -> Ended {
        if !self.store.is_shared() {
            return std::future::pending().await;
        }
        let mut wait = RENEW_EVERY;
        loop {
            let renewal = async {
                sleep(wait).await;
                let until_ms = self.clock.now_ms() + LEASE_MS;
                (until_ms, self.store.renew(tenant, id, held, until_ms).await)
            };
            // A store that does not answer is as good as one that fails.
            let ends = self.clock.instant(until_ms.saturating_sub(LEASE_MARGIN_MS));
            match timeout_at(ends, renewal).await {
                Err(_late) => return Ended::Expired,
                Ok((_, Ok(None))) => return Ended::Lost,
                Ok((renewed_ms, Ok(Some(renewed)))) => {
                    (*held, until_ms, wait) = (renewed, renewed_ms, RENEW_EVERY);
                }
                Ok((_, Err(error))) => {
                    tracing::warn!(tenant = &**tenant, work = %id, %error, "a lease of work cannot be renewed");
                    wait = RENEW_AGAIN;
                }
            }
        }
    }

    /// Returns when the tenant is not served any more.
    async fn unserved(&self, tenant: &str, mut changes: watch::Receiver<()>) {
        while changes.changed().await.is_ok() {
            if self.deliver.standing(tenant) != Standing::Served {
                return;
            }
        }
        // Who tells of changes outlives this.
        std::future::pending().await
    }

    /// Writes what became of the work, and forgets it or waits for its next attempt.
    async fn settle(&self, next: &Next, held: &Held, outcome: Settle) {
        let (tenant, id) = next;
        for attempt in 1..=SETTLE_ATTEMPTS_MAX {
            let Err(error) = self.store.settle(tenant, id, held, outcome).await else { break };
            tracing::warn!(tenant = &**tenant, work = %id, %error, "the outcome of work cannot be written");
            if attempt < SETTLE_ATTEMPTS_MAX {
                sleep(SETTLE_WAIT).await;
            }
        }
        match outcome {
            Settle::Again(due_ms) => self.schedule().again(next, due_ms),
            Settle::Remove | Settle::GiveBack => self.schedule().done(next),
        }
    }
}

fn dropped((tenant, id): &Next, function: &str, path: &str, attempts: u32, failure: &Failure) {
    tracing::warn!(
        tenant = &**tenant, function, path, work = %id, attempts, %failure, "work is dropped: all its attempts have failed"
    );
}
