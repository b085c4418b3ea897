//! The clock by which running guests are looked at: a thread that advances the epoch while calls are under way, and rests
//! while none is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often running guests are looked at; an endless loop ends within one of these after its processor time is used up.
const TICK: Duration = Duration::from_millis(2);
/// How often the thread that rests looks whether it is still needed.
const REST_MAX: Duration = Duration::from_secs(1);

/// Counts the calls under way.
pub(crate) struct Ticker {
    running: Mutex<u64>,
    begun: Condvar,
}

impl Ticker {
    /// Starts the thread, which ends with the ticker.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(engine: &wasmtime::Engine) -> std::io::Result<Arc<Self>> {
        let ticker = Arc::new(Self { running: Mutex::new(0), begun: Condvar::new() });
        let (weak, engine) = (Arc::downgrade(&ticker), engine.weak());
        std::thread::Builder::new().name("tool-epochs".into()).spawn(move || {
            while let (Some(ticker), Some(engine)) = (weak.upgrade(), engine.upgrade()) {
                if ticker.has_calls() {
                    engine.increment_epoch();
                    drop((ticker, engine));
                    std::thread::sleep(TICK);
                }
            }
        })?;
        Ok(ticker)
    }

    /// A call is under way as long as what this returns lives.
    pub(crate) fn begin(self: &Arc<Self>) -> Ticking {
        let mut running = self.lock();
        *running += 1;
        if *running == 1 {
            self.begun.notify_one();
        }
        drop(running);
        Ticking(Arc::clone(self))
    }

    /// Whether a call is under way, after a rest if none is.
    fn has_calls(&self) -> bool {
        let running = self.lock();
        if *running > 0 {
            return true;
        }
        let (running, _late) =
            self.begun.wait_timeout(running, REST_MAX).unwrap_or_else(PoisonError::into_inner);
        *running > 0
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way.
pub(crate) struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}
