//! What is done for a tenant outside of its functions' instances, and yet at its expense: tools that the host runs take of
//! its memory and of its CPU time like everything else, and go to the back lane as its instances do.

use crate::account::TenantAccount;
use crate::cpu::CpuAccount;
use crate::engine::Engine;
use crate::lanes::{Lane, Lanes, Rider};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// A tenant's account. Cheap to clone.
#[derive(Clone)]
pub struct TenantUse(Arc<TenantAccount>);

impl std::fmt::Debug for TenantUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantUse").field("memory_bytes", &self.0.memory_bytes()).finish_non_exhaustive()
    }
}

impl TenantUse {
    pub(crate) fn new(account: Arc<TenantAccount>) -> Self {
        Self(account)
    }

    /// Whether there may be one more line in the log about what the tenant's code does wrong, and how many were left out
    /// since the last one.
    #[must_use]
    pub fn admit_line(&self) -> Option<u64> {
        self.0.failures.admit()
    }

    /// Takes `bytes` of the tenant's memory, until the returned value is dropped; none when that is more than there is.
    #[must_use]
    pub fn memory(&self, bytes: u64) -> Option<MemoryUse> {
        self.0.take_memory(bytes).then(|| MemoryUse { account: Arc::clone(&self.0), bytes })
    }
}

/// Memory that counts as a tenant's.
pub struct MemoryUse {
    account: Arc<TenantAccount>,
    bytes: u64,
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.account.give_memory_back(self.bytes);
    }
}

/// Where work runs that is done for tenants. Cheap to clone.
#[derive(Clone)]
pub struct TenantWork(Arc<Lanes>);

impl Engine {
    /// Where work runs that is done for tenants, beside their instances.
    #[must_use]
    pub fn tenant_work(&self) -> TenantWork {
        TenantWork(Arc::clone(self.lanes()))
    }
}

impl TenantWork {
    /// Runs `work` at the expense of `tenant`: its polls are the tenant's CPU time, it pauses when that of a second is used
    /// up, and it runs behind when it computes for long, as the tenant's instances do. `allowance` is the CPU time that it is
    /// expected to stay within; to end it there is its own business. It ends with the returned future.
    ///
    /// None when it ended without an answer, because it panicked or the host ends.
    pub async fn run<T: Send + 'static>(
        &self,
        tenant: &TenantUse,
        allowance: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let seat = Arc::new(WorkSeat(CpuAccount::new(allowance, Arc::clone(&tenant.0))));
        let (mut sender, answer) = oneshot::channel();
        let charged = Charged { work: Box::pin(work), seat: Arc::clone(&seat), pause: None };
        self.0.spawn(&seat, async move {
            let answer = tokio::select! {
                biased;
                () = sender.closed() => return,
                answer = charged => answer,
            };
            // Nobody may wait any more.
            let _ = sender.send(answer);
        });
        answer.await.ok()
    }
}

/// Where the work belongs, and what it has used.
struct WorkSeat(CpuAccount);

impl Rider for WorkSeat {
    fn lane(&self) -> Lane {
        self.0.lane()
    }
}

/// Work whose polls are charged to its tenant.
struct Charged<F> {
    work: Pin<Box<F>>,
    seat: Arc<WorkSeat>,
    /// Until the tenant has CPU time again.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Charged<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Some(wait) = self.seat.0.pause() else { break };
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        let seat = Arc::clone(&self.seat);
        seat.0.enter();
        let polled = self.work.as_mut().poll(cx);
        seat.0.leave();
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Active, TenantBounds};
    use crate::config::EngineConfig;
    use std::time::Instant;

    fn tenant(bounds: TenantBounds) -> (Arc<Active>, TenantUse) {
        let active = Arc::new(Active::default());
        let account = TenantAccount::new(&active);
        account.set_bounds(bounds);
        (active, TenantUse::new(account))
    }

    fn engine() -> Engine {
        let config = EngineConfig { instances_max: 1, ..EngineConfig::default() };
        Engine::new(config, None).unwrap()
    }

    fn compute(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_run_for_a_tenant_is_its_cpu_time() {
        let (active, tenant) = tenant(TenantBounds::default());
        let work = engine().tenant_work();
        let answer = work.run(&tenant, Duration::from_secs(1), async {
            compute(Duration::from_millis(2));
            7
        });
        assert_eq!(answer.await, Some(7));
        assert!(active.drain().iter().map(|(_account, used)| *used).sum::<u64>() > 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_ends_when_nobody_waits_for_it() {
        let (_active, tenant) = tenant(TenantBounds::default());
        let (held, dropped) = oneshot::channel::<()>();
        let work = engine().tenant_work();
        let mut running = Box::pin(work.run(&tenant, Duration::from_secs(1), async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        assert!(futures::poll!(&mut running).is_pending());
        drop(running);
        assert!(dropped.await.is_err(), "what it held is gone");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_panics_gives_no_answer() {
        let (_active, tenant) = tenant(TenantBounds::default());
        let panics = async { std::panic::resume_unwind(Box::new("on purpose")) };
        let work = engine().tenant_work();
        assert_eq!(work.run::<()>(&tenant, Duration::from_secs(1), panics).await, None);
    }

    #[test]
    fn memory_counts_until_it_is_dropped() {
        let (_active, tenant) =
            tenant(TenantBounds { memory_bytes_max: Some(100), ..TenantBounds::default() });
        let taken = tenant.memory(60).unwrap();
        assert!(tenant.memory(41).is_none());
        drop(taken);
        assert!(tenant.memory(100).is_some());
    }
}
