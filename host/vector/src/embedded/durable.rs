//! When what was appended to a log survives a power cut: whoever waits first flushes for all who came before the flush.

use super::log::LogFile;
use crate::{VectorError, metrics::Metrics};
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The flushing of one index's log.
#[derive(Default)]
pub(crate) struct Durability {
    state: Mutex<Flushed>,
    changed: Condvar,
    metrics: Option<Arc<Metrics>>,
}

#[derive(Default)]
struct Flushed {
    file: Option<Arc<LogFile>>,
    /// How many changes were appended, and how many of them are durable.
    appended: u64,
    durable: u64,
    /// How long the current file is, and how much of that is durable.
    appended_offset: u64,
    durable_offset: u64,
    is_flushing: bool,
    failed: Option<String>,
}

impl Durability {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Flushed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file is appended to from now on; all of the one before is durable.
    pub(crate) fn begin(&self, file: Arc<LogFile>, offset: u64) {
        let mut state = self.lock();
        state.file = Some(file);
        state.appended_offset = offset;
        state.durable_offset = offset;
    }

    /// A change was appended, up to `offset`. Returns its number, to be waited for.
    pub(crate) fn appended(&self, offset: u64) -> u64 {
        let mut state = self.lock();
        state.appended += 1;
        state.appended_offset = offset;
        state.appended
    }

    /// The number of the last change that was appended.
    pub(crate) fn last(&self) -> u64 {
        self.lock().appended
    }

    pub(crate) fn durable_offset(&self) -> u64 {
        self.lock().durable_offset
    }

    /// Fails if a flush has failed before: nobody knows then what the device holds.
    pub(crate) fn check(&self) -> Result<(), VectorError> {
        self.lock().failed.as_ref().map_or(Ok(()), |why| Err(refused(why)))
    }

    /// What was appended may not be taken back, or not be made durable: there are no more changes.
    pub(crate) fn fail(&self, error: &io::Error) {
        self.lock().failed = Some(error.to_string());
        self.changed.notify_all();
    }

    /// Returns when the change with this number is durable. Blocks the thread.
    pub(crate) fn wait(&self, sequence: u64) -> Result<(), VectorError> {
        let mut state = self.lock();
        loop {
            if state.durable >= sequence {
                return Ok(());
            }
            if let Some(why) = &state.failed {
                return Err(refused(why));
            }
            state = if state.is_flushing {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.flush(state)
            };
        }
    }

    fn flush<'a>(&'a self, mut state: MutexGuard<'a, Flushed>) -> MutexGuard<'a, Flushed> {
        let Some(file) = state.file.clone() else { return state };
        state.is_flushing = true;
        let (appended, offset) = (state.appended, state.appended_offset);
        drop(state);
        let began = Instant::now();
        let outcome = file.file.sync_data();
        if let Some(metrics) = &self.metrics {
            metrics.flushes.observe(began.elapsed());
        }
        let mut state = self.lock();
        state.is_flushing = false;
        match outcome {
            Ok(()) => {
                state.durable = state.durable.max(appended);
                state.durable_offset = state.durable_offset.max(offset);
            }
            Err(error) => {
                tracing::error!(%error, file = %file.path.display(), "a change could not be made durable; the index takes no more");
                state.failed = Some(error.to_string());
            }
        }
        self.changed.notify_all();
        state
    }
}

fn refused(why: &str) -> VectorError {
    VectorError::Unavailable(format!("a change could not be made durable, so the index takes no more: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn many_waiters_are_served_and_a_failure_ends_all_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = super::super::log::create(folder.path(), 1).unwrap();
        let durability = Arc::new(Durability::default());
        durability.begin(Arc::clone(&file), 0);
        std::thread::scope(|scope| {
            for writer in 0..8_u64 {
                let (durability, file) = (Arc::clone(&durability), Arc::clone(&file));
                scope.spawn(move || {
                    file.file.write_all_at(b"x", writer).unwrap();
                    let sequence = durability.appended(8);
                    durability.wait(sequence).unwrap();
                });
            }
        });
        assert_eq!(durability.durable_offset(), 8);
        durability.fail(&io::Error::other("the disk is gone"));
        assert!(durability.check().is_err());
        assert_eq!(durability.wait(8), Ok(()), "what was durable stays so");
        let sequence = durability.appended(9);
        assert!(matches!(durability.wait(sequence), Err(VectorError::Unavailable(_))));
    }
}
