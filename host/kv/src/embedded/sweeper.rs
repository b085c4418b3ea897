//! The thread that deletes expired keys, a bounded number at a time.

use super::engine::{Engine, Expired};
use crate::Error;
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

/// Entries of the expiry index that one batch takes away; small, because writers of those keys wait for it.
const SWEEP_BATCH_ENTRIES_MAX: usize = 500;

/// The running thread; dropping it ends it.
pub(super) struct Sweeper {
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
    wake: Thread,
}

struct State {
    stop: AtomicBool,
    swept_keys: AtomicU64,
    /// Where the next sweep begins: behind the deleted entries of the last one, which would cost time to skip.
    /// Locked for the length of a sweep, so that there is one at a time.
    position: Mutex<Position>,
}

#[derive(Clone, Copy, Default)]
struct Position {
    from_ms: u64,
    now_ms: u64,
}

impl Sweeper {
    pub(super) fn start(engine: &Arc<Engine>, interval: Duration) -> Result<Self, Error> {
        let state = Arc::new(State {
            stop: AtomicBool::new(false),
            swept_keys: AtomicU64::new(0),
            position: Mutex::default(),
        });
        let thread = thread::Builder::new()
            .name("kv-sweeper".into())
            .spawn({
                let (state, engine) = (state.clone(), Arc::downgrade(engine));
                move || run(&state, &engine, interval)
            })
            .map_err(|source| Error::io(Path::new("the sweeper's thread"), source))?;
        let wake = thread.thread().clone();
        Ok(Self { state, thread: Mutex::new(Some(thread)), wake })
    }

    /// Deletes everything that has expired, batch by batch, unless the sweeper is stopped meanwhile.
    pub(super) fn sweep(&self, engine: &Engine) -> Result<usize, Error> {
        self.state.sweep(engine)
    }

    pub(super) fn swept_keys(&self) -> u64 {
        self.state.swept_keys.load(Ordering::Relaxed)
    }

    /// Stops and waits until the thread has ended.
    pub(super) fn stop(&self) {
        self.state.stop.store(true, Ordering::Release);
        self.wake.unpark();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the thread that deletes expired keys ended in a panic");
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(state: &State, engine: &Weak<Engine>, interval: Duration) {
    while !state.stop.load(Ordering::Acquire) {
        let Some(engine) = engine.upgrade() else { return };
        match state.sweep(&engine) {
            Ok(0) => {}
            Ok(keys) => tracing::debug!(keys, "deleted expired keys"),
            Err(Error::Closed | Error::Poisoned { .. }) => return,
            Err(error) => tracing::warn!(%error, "expired keys could not be deleted; trying again later"),
        }
        drop(engine);
        if !state.stop.load(Ordering::Acquire) {
            thread::park_timeout(interval);
        }
    }
}

impl State {
    fn sweep(&self, engine: &Engine) -> Result<usize, Error> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = engine.now_ms();
        if now_ms < position.now_ms {
            // The clock was set back, so there may be entries before the position.
            *position = Position::default();
        }
        position.now_ms = now_ms;
        let mut keys = 0;
        while !self.stop.load(Ordering::Acquire) {
            let Expired { entries, keys: deleted, last_bucket_ms } =
                engine.delete_expired(position.from_ms, SWEEP_BATCH_ENTRIES_MAX)?;
            keys += deleted;
            self.swept_keys.fetch_add(deleted as u64, Ordering::Relaxed);
            position.from_ms = position.from_ms.max(last_bucket_ms);
            if entries < SWEEP_BATCH_ENTRIES_MAX {
                break;
            }
        }
        Ok(keys)
    }
}
