//! The silences of a stream, measured by one timer that is begun anew only when it has run out.

use std::future::Future;
use std::pin::Pin;

/// Tells how long nothing was said.
pub(crate) struct Heartbeat<F, M> {
    timer: Pin<Box<F>>,
    make: M,
    /// Whether something was said since the timer began.
    spoke: bool,
}

impl<F: Future<Output = ()>, M: Fn() -> F> Heartbeat<F, M> {
    /// `make` makes a timer of one silence.
    pub(crate) fn new(make: M) -> Self {
        Self { timer: Box::pin(make()), make, spoke: false }
    }

    /// Something was said.
    pub(crate) fn spoke(&mut self) {
        self.spoke = true;
    }

    /// Returns after a silence that was at least as long as the timer, and at most twice that. It may be dropped and
    /// called again.
    pub(crate) async fn silence(&mut self) {
        loop {
            self.timer.as_mut().await;
            self.timer.set((self.make)());
            if !std::mem::take(&mut self.spoke) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::{pending, ready};
    use std::task::{Context, Poll, Waker};

    #[test]
    fn only_a_timer_in_which_nothing_was_said_is_a_silence() {
        let timers = Cell::new(0);
        let make = || {
            timers.set(timers.get() + 1);
            ready(())
        };
        let mut heartbeat = Heartbeat::new(make);
        let mut context = Context::from_waker(Waker::noop());
        heartbeat.spoke();
        assert_eq!(Box::pin(heartbeat.silence()).as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(timers.get(), 3, "the first timer ended after something was said");
        assert_eq!(Box::pin(heartbeat.silence()).as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(timers.get(), 4);
        let mut silent = Heartbeat::new(pending::<()>);
        assert!(Box::pin(silent.silence()).as_mut().poll(&mut context).is_pending());
    }
}
