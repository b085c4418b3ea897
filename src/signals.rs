//! The signals that end the program: the first drains, the second ends at once.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a program that a signal ended at once (128 + SIGTERM).
const KILLED: i32 = 143;

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes SIGINT and SIGTERM over from the system.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves at the first signal. From then on a second one ends the program at once.
    pub(crate) async fn first(mut self) {
        self.next().await;
        tracing::info!(
            "stopping: no new connections; finishing what is under way (a second signal ends at once)"
        );
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(KILLED);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
