//! Between those that log and the thread that writes: bounded in bytes, and closed at the end. Whoever puts something in
//! never waits for the disk.

use super::record::Record;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes of all tenants that wait to be written. While they are being written, as many again may come.
pub(super) const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a line waits for others to be written with, milliseconds.
const GATHER_MS: u64 = 250;

/// What the writing thread is asked to do.
pub(super) enum Job {
    Write(Record),
    /// Delete a tenant's files and say how many there were.
    Remove(Arc<str>, SyncSender<io::Result<usize>>),
    /// Say when all that came before is written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Somebody waits for what is in the queue.
    urgent: bool,
    closed: bool,
    /// The thread has taken its last job and done it.
    ended: bool,
}

impl Queue {
    /// Puts a record in; false if it has no room or is closed.
    pub(super) fn push(&self, record: Record) -> bool {
        let bytes = record.bytes();
        let mut state = self.lock();
        if state.closed || state.bytes + bytes > QUEUE_BYTES_MAX {
            return false;
        }
        state.bytes += bytes;
        state.jobs.push_back(Job::Write(record));
        // The thread sleeps in two cases only: nothing is there, or it gathers what comes until half of the room is taken.
        let wake = state.jobs.len() == 1 || state.bytes > QUEUE_BYTES_MAX / 2;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        true
    }

    /// Puts a job in that somebody waits for; false if the queue is closed.
    pub(super) fn push_urgent(&self, job: Job) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.jobs.push_back(job);
        state.urgent = true;
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Waits for jobs and takes all there are; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<VecDeque<Job>> {
        let idle = |state: &mut State| state.jobs.is_empty() && !state.closed;
        let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let gathering =
            |state: &mut State| !state.closed && !state.urgent && state.bytes <= QUEUE_BYTES_MAX / 2;
        let gathered = self.changed.wait_timeout_while(state, Duration::from_millis(GATHER_MS), gathering);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        state.urgent = false;
        let jobs = std::mem::take(&mut state.jobs);
        (!jobs.is_empty()).then_some(jobs)
    }

    /// Takes no more in, and waits until what is in is written, but not longer than `patience`.
    pub(super) fn close(&self, patience: Duration) {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        // Whether it ended in time makes no difference to what can be done about it.
        drop(self.changed.wait_timeout_while(state, patience, |state| !state.ended));
    }

    /// Says that the thread is done.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// The state is consistent after each statement, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
