//! The processor time of one call: what it has used, and whether that is too much.
//!
//! Time is taken where the call is polled, so waiting costs nothing; the epoch's callback adds what a guest that does not
//! return has used so far. It is the time of the thread, so a busy machine is not the tool's fault.

use rustix::time::{ClockId, clock_gettime};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

/// The account of one call. Only the thread that polls the call writes it.
pub(crate) struct CpuMeter {
    /// What the thread had used when it was last charged; 0 while the call is not polled.
    charged_ns: AtomicU64,
    used_ns: AtomicU64,
    allowed_ns: u64,
}

/// The call has used its processor time. Raised as a trap from the epoch's callback, too.
#[derive(Debug, thiserror::Error)]
#[error("processor time used up")]
pub(crate) struct CpuUsedUp;

impl CpuMeter {
    pub(crate) fn new(allowed: Duration) -> Self {
        Self {
            charged_ns: AtomicU64::new(0),
            used_ns: AtomicU64::new(0),
            allowed_ns: u64::try_from(allowed.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Polls what belongs to the call at its expense. Once it has used too much, that is its answer.
    pub(crate) fn poll<T>(
        &self,
        call: Pin<&mut impl Future<Output = T>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, CpuUsedUp>> {
        self.charged_ns.store(thread_ns(), Relaxed);
        let polled = call.poll(context);
        let charged = self.charge();
        self.charged_ns.store(0, Relaxed);
        match (polled, charged) {
            (Poll::Ready(answer), _) => Poll::Ready(Ok(answer)),
            (Poll::Pending, Err(used_up)) => Poll::Ready(Err(used_up)),
            (Poll::Pending, Ok(())) => Poll::Pending,
        }
    }

    /// Charges what has been used since the last charge.
    ///
    /// # Errors
    /// That it is too much.
    pub(crate) fn charge(&self) -> Result<(), CpuUsedUp> {
        if self.charged_ns.load(Relaxed) == 0 {
            return Ok(());
        }
        let now = thread_ns();
        let more = now.saturating_sub(self.charged_ns.swap(now, Relaxed));
        let used = self.used_ns.fetch_add(more, Relaxed).saturating_add(more);
        if used > self.allowed_ns { Err(CpuUsedUp) } else { Ok(()) }
    }

    /// What has been charged.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Relaxed))
    }
}

/// Nanoseconds this thread has had a core, never 0.
fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    (seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn spin_until_charged(meter: &CpuMeter) {
        while meter.charge().is_ok() {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_call_that_computes_too_long_is_told_so() {
        let meter = CpuMeter::new(Duration::from_nanos(1));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let computing = pin!(std::future::poll_fn(|_context| {
            spin_until_charged(&meter);
            Poll::<()>::Pending
        }));
        assert!(matches!(meter.poll(computing, &mut context), Poll::Ready(Err(CpuUsedUp))));
        assert!(meter.used() > Duration::ZERO);
    }

    #[test]
    fn waiting_costs_nothing_and_an_answer_counts_even_if_it_was_late() {
        let meter = CpuMeter::new(Duration::from_nanos(1));
        assert!(meter.charge().is_ok(), "it is not polled");
        let mut context = Context::from_waker(std::task::Waker::noop());
        let answer = pin!(std::future::poll_fn(|_context| {
            spin_until_charged(&meter);
            Poll::Ready(7)
        }));
        assert!(matches!(meter.poll(answer, &mut context), Poll::Ready(Ok(7))));
    }
}
