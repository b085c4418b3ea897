//! What leads from the log of the process to the export, once there is one.

use super::config::Severity;
use super::record::LogRecord;
use crate::otlp::{Queue, is_exporting};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The number of no severity: nothing is led on.
const NOTHING: u8 = u8::MAX;

/// A layer of the log. The clones lead to the same export. Until it is connected, an event costs it a comparison.
#[derive(Clone)]
pub(crate) struct Relay(Arc<Shared>);

struct Shared {
    /// The number of the least severity that is exported.
    least: AtomicU8,
    queue: RwLock<Option<Arc<Queue<LogRecord>>>>,
}

impl Relay {
    /// Leads nowhere.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { least: AtomicU8::new(NOTHING), queue: RwLock::new(None) }))
    }

    /// That of the log of the process.
    pub(crate) fn of_process() -> Self {
        static OF_PROCESS: LazyLock<Relay> = LazyLock::new(Relay::new);
        OF_PROCESS.clone()
    }

    /// Leads to `queue` from now on, and no longer to where it did.
    pub(super) fn connect(&self, queue: &Arc<Queue<LogRecord>>, least: Severity) {
        *self.0.queue.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(queue));
        self.0.least.store(least.number(), Ordering::Relaxed);
    }

    /// Leads nowhere from now on, if it does lead to `queue`.
    pub(super) fn disconnect(&self, queue: &Arc<Queue<LogRecord>>) {
        let mut connected = self.0.queue.write().unwrap_or_else(PoisonError::into_inner);
        if connected.as_ref().is_some_and(|connected| Arc::ptr_eq(connected, queue)) {
            self.0.least.store(NOTHING, Ordering::Relaxed);
            *connected = None;
        }
    }

    /// Puts a record into the queue, or counts that it had no room. Whether it is in.
    pub(crate) fn put(&self, record: LogRecord) -> bool {
        let queue = self.0.queue.read().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.put(record))
    }
}

impl<S: Subscriber> Layer<S> for Relay {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let severity = Severity::from(*event.metadata().level());
        if severity.number() < self.0.least.load(Ordering::Relaxed) || is_exporting() {
            return;
        }
        // One without room is counted there.
        let _ = self.put(LogRecord::of(event));
    }
}
