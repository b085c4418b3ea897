//! A timer that is as exact as the kernel's: tokio's own wakes once a millisecond, which is longer than the answers
//! measured here take.

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A timerfd(2), woken by the same epoll as the connections.
pub(crate) struct Timer {
    file: AsyncFd<OwnedFd>,
}

impl Timer {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let file = timerfd_create(TimerfdClockId::Monotonic, flags).context("could not make a timer")?;
        #[expect(
            deprecated,
            reason = "its heir is an unsafe function; an OwnedFd is neither replaced nor closed"
        )]
        let file = AsyncFd::new(file).context("could not watch a timer")?;
        Ok(Self { file })
    }

    /// Waits until `moment`; not at all when it has passed. It may be dropped and called again.
    pub(crate) async fn until(&self, moment: Instant) -> anyhow::Result<()> {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let value = Timespec {
                tv_sec: i64::try_from(left.as_secs()).context("a wait that is too long")?,
                tv_nsec: left.subsec_nanos().into(),
            };
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let times = Itimerspec { it_interval: zero, it_value: value };
            // Setting it also takes back what it has told of an earlier setting.
            timerfd_settime(self.file.get_ref(), TimerfdTimerFlags::empty(), &times)
                .context("could not set a timer")?;
            let mut ready = self.file.readable().await.context("could not watch a timer")?;
            let mut expirations = [0_u8; 8];
            // Read or not, it has nothing more to tell until it is set again: the clock says whether it is time.
            let _ = rustix::io::read(self.file.get_ref(), &mut expirations);
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_waits_no_shorter_than_asked_and_again_after_it_was_dropped() {
        let timer = Timer::new().unwrap();
        let begun = Instant::now();
        timer.until(begun).await.unwrap();
        tokio::select! {
            biased;
            waited = timer.until(begun + Duration::from_secs(3_600)) => panic!("an hour passed: {waited:?}"),
            () = tokio::task::yield_now() => {}
        }
        for wait in [300, 900] {
            timer.until(begun + Duration::from_micros(wait)).await.unwrap();
            assert!(begun.elapsed() >= Duration::from_micros(wait));
        }
    }
}
