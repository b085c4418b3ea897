//! Work that no host takes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Work that a function does itself, after it has answered, for want of a host that takes it.
pub struct Work(Pin<Box<dyn Future<Output = ()>>>);

impl Work {
    /// That which `work` does when it is polled.
    pub fn new(work: impl Future<Output = ()> + 'static) -> Self {
        Self(Box::pin(work))
    }

    /// Does it.
    pub async fn run(self) {
        self.0.await;
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Work")
    }
}
