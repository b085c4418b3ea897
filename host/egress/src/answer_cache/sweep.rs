//! The task that lets go of answers whose time is over, so that they give their memory back though nobody asks for them.
//! It begins with the first answer that is kept and ends when there is none, so that a host without any has no timer.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::caches::Host;
use super::locked;

/// How long an answer may stay after its time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Runs the task. It ends with this.
#[derive(Default)]
pub(crate) struct Sweeper(Mutex<Option<JoinHandle<()>>>);

impl Sweeper {
    /// Sees to it that the task runs. To be called inside a Tokio runtime, after an answer was kept. A task that went with
    /// its runtime is started again.
    pub(crate) fn start(&self, host: &Arc<Host>) {
        let mut task = locked(&self.0);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(run(Arc::downgrade(host))));
        }
    }

    /// Whether the task runs.
    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        locked(&self.0).as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Ends the task, if there is nothing to do for it. Whoever keeps an answer meanwhile either did so before, which is
    /// seen here, or finds no task after, and starts one.
    fn end_if(&self, is_empty: impl FnOnce() -> bool) -> bool {
        let mut task = locked(&self.0);
        let ends = is_empty();
        if ends {
            *task = None;
        }
        ends
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.0).take() {
            task.abort();
        }
    }
}

/// Holds nothing while it waits.
async fn run(host: Weak<Host>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(host) = host.upgrade() else { return };
        let now = Instant::now();
        for shelf in host.all_shelves() {
            shelf.sweep(now);
            // Thousands of tenants are not swept in one go.
            tokio::task::yield_now().await;
        }
        host.prune();
        if host.sweeper.end_if(|| host.is_empty()) {
            return;
        }
    }
}
