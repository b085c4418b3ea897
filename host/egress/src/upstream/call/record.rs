//! A call's own account, which goes with it from its beginning to the end of its answer and is told then, on every path.

use crate::upstream::config::Prices;
use crate::upstream::report::{CallObserver, CallReport, Ending};
use std::sync::Arc;
use tokio::time::Instant;

/// What is known of a call so far. Dropped, it tells the observer how the call ended: [`Ending::GivenUp`] unless something
/// else was found out.
pub(super) struct Record {
    pub(super) report: CallReport,
    pub(super) started: Instant,
    observer: Option<Arc<dyn CallObserver>>,
}

impl Record {
    pub(super) fn new(observer: Option<Arc<dyn CallObserver>>, request_bytes: u64) -> Self {
        let report = CallReport {
            model: None,
            upstream: None,
            prices: Prices::default(),
            status: None,
            attempts: 0,
            hedges: 0,
            ending: Ending::GivenUp,
            first_byte: None,
            took: std::time::Duration::ZERO,
            request_bytes,
            response_bytes: 0,
        };
        Self { report, started: Instant::now(), observer }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(observer) = &self.observer {
            self.report.took = self.started.elapsed();
            observer.ended(&self.report);
        }
    }
}
