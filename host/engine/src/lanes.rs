//! The two lanes that instances and connections run in: in front, threads of normal priority that also wait for sockets
//! and timers; behind, as many threads of low priority, for instances that compute for long, and for all instances and
//! connections of tenants over their share.
//!
//! The operating system decides between the lanes, and it preempts: what is behind gets all that is left of the
//! processor and delays nobody in front. Work changes lanes between two polls; only its polls do: whatever it starts
//! (connections, timers, tasks) belongs to the front in either.

use crate::account::TenantAccount;
use crate::clock::{cpu_between, now_ns, refresh_cpu_reading, this_thread_waits_for_cores};
use crate::worker::Seat;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::runtime::{Builder, Handle, Runtime};

/// How much lower the priority behind is (`nice`): a weight of 36 against the 1,024 of a thread in front. Not the lowest
/// there is, so that what is behind goes on beside other programs that use the processor.
const BACK_NICE: i32 = 15;

/// A task in front that waits this long for a thread is a sign that all cores are busy, nanoseconds.
const BUSY_WAIT_NS: u64 = 1_000_000;

/// A task that does nothing but say how long it waited.
#[derive(Default)]
struct Probe {
    /// When it was sent; 0 when it has arrived.
    sent_ns: AtomicU64,
    waited_ns: AtomicU64,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Front,
    Back,
}

impl Lane {
    /// Behind until then, in front afterwards; 0 is long ago.
    pub(crate) fn until(behind_until_ns: u64) -> Self {
        if behind_until_ns != 0 && now_ns() < behind_until_ns { Self::Back } else { Self::Front }
    }
}

/// Both lanes.
pub(crate) struct Lanes {
    front: Handle,
    probe: Arc<Probe>,
    /// Taken only when the lanes are dropped.
    back: Option<Runtime>,
}

impl Lanes {
    /// The current runtime in front, a new one of `threads` threads behind.
    pub(crate) fn new(threads: usize) -> std::io::Result<Arc<Self>> {
        let back = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(1)
            .thread_name("back-lane")
            .on_thread_start(|| {
                this_thread_waits_for_cores();
                if let Err(error) = rustix::process::nice(BACK_NICE) {
                    tracing::warn!(%error, "instances that compute for long run at normal priority");
                }
            })
            .build()?;
        Ok(Arc::new(Self { front: Handle::current(), probe: Arc::default(), back: Some(back) }))
    }

    /// Whether tasks in front had to wait for a thread lately: since the last call, or at this moment. Sends the next probe.
    pub(crate) fn front_is_busy(&self) -> bool {
        let now = now_ns();
        let sent = self.probe.sent_ns.load(SeqCst);
        if sent != 0 {
            // The last probe still waits.
            return now.saturating_sub(sent) > BUSY_WAIT_NS;
        }
        let waited = self.probe.waited_ns.load(Relaxed);
        self.probe.sent_ns.store(now, SeqCst);
        let probe = Arc::clone(&self.probe);
        self.front.spawn(async move {
            probe.waited_ns.store(now_ns().saturating_sub(now), Relaxed);
            probe.sent_ns.store(0, SeqCst);
        });
        waited > BUSY_WAIT_NS
    }

    /// Runs the work of `rider` in whichever lane it belongs at the moment.
    pub(crate) fn spawn<R: Rider>(
        self: &Arc<Self>,
        rider: &Arc<R>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.launch(Traveller {
            work: Box::pin(work),
            rider: Arc::clone(rider) as Arc<dyn Rider>,
            lanes: Arc::clone(self),
            lane: rider.lane(),
        });
    }

    fn launch(self: &Arc<Self>, traveller: Traveller) {
        let handle = match (traveller.lane, &self.back) {
            (Lane::Back, Some(back)) => back.handle(),
            _ => &self.front,
        };
        let lanes = Arc::clone(self);
        handle.spawn(async move {
            if let Some(traveller) = Ride(Some(traveller)).await {
                lanes.launch(traveller);
            }
        });
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            back.shutdown_background();
        }
    }
}

/// Who has work that travels.
pub(crate) trait Rider: Send + Sync + 'static {
    /// The lane it belongs in from the next poll on.
    fn lane(&self) -> Lane;
}

impl Rider for Seat {
    fn lane(&self) -> Lane {
        self.cpu.lane()
    }
}

/// Where a connection's own work belongs, and to whom it is charged: the tenant whose request it brought last. Reading
/// requests and writing answers is most of what a flood of cheap requests costs.
#[derive(Debug, Default)]
pub struct ConnectionLane {
    /// Does not keep the account of a tenant that has nothing else.
    tenant: Mutex<Weak<TenantAccount>>,
}

impl ConnectionLane {
    fn tenant(&self) -> Option<Arc<TenantAccount>> {
        self.lock().upgrade()
    }

    fn lock(&self) -> MutexGuard<'_, Weak<TenantAccount>> {
        self.tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has brought a request of this tenant.
    pub(crate) fn follow(&self, account: &Arc<TenantAccount>) {
        let mut tenant = self.lock();
        if tenant.as_ptr() != Arc::as_ptr(account) {
            *tenant = Arc::downgrade(account);
        }
    }

    /// `work`, whose time on the processor counts in the share of the tenant.
    pub(crate) async fn charged(self: Arc<Self>, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let began = now_ns();
            refresh_cpu_reading(began);
            let polled = work.as_mut().poll(cx);
            if let Some(tenant) = self.tenant() {
                tenant.charge_connection(cpu_between(began, now_ns()));
            }
            polled
        })
        .await;
    }
}

impl Rider for ConnectionLane {
    fn lane(&self) -> Lane {
        let behind_until_ns = self.tenant().map_or(0, |tenant| tenant.behind_until_ns());
        Lane::until(behind_until_ns)
    }
}

/// An instance's or a connection's work on its way through the lanes.
struct Traveller {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    rider: Arc<dyn Rider>,
    lanes: Arc<Lanes>,
    lane: Lane,
}

/// The time in one lane: ends without a traveller when the work is done, and with it when it belongs elsewhere.
struct Ride(Option<Traveller>);

impl Future for Ride {
    type Output = Option<Traveller>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(traveller) = &mut self.0 else { return Poll::Ready(None) };
        let lane = traveller.rider.lane();
        if lane != traveller.lane {
            traveller.lane = lane;
            return Poll::Ready(self.0.take());
        }
        let _front = (lane == Lane::Back).then(|| traveller.lanes.front.enter());
        traveller.work.as_mut().poll(cx).map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Active;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_connection_is_charged_to_whose_request_it_brought_last() {
        let active = Arc::new(Active::default());
        let account = TenantAccount::new(&active);
        let connection = Arc::<ConnectionLane>::default();
        let busy = || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1) {}
        };
        Arc::clone(&connection).charged(async { busy() }).await;
        assert!(active.drain().is_empty(), "before its first request it is nobody's");

        connection.follow(&account);
        Arc::clone(&connection).charged(async { busy() }).await;
        let used: u64 = active.drain().iter().map(|(_account, used)| *used).sum();
        assert!(used > 0, "what it used was charged");
        assert_eq!(connection.lane(), Lane::Front);
        account.is_over_share();
        assert_eq!(connection.lane(), Lane::Back);

        assert!(active.drain().is_empty(), "the list of active accounts lets go of it");
        drop(account);
        assert_eq!(
            Arc::clone(&connection).lane(),
            Lane::Front,
            "it does not keep the account of a tenant that has gone"
        );
    }
}
