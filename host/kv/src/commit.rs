//! The proof that a write was applied, and the way to wait until it is durable.

use crate::Error;
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::Thread,
};
use tokio::sync::Notify;

/// Proof that a write was applied.
///
/// The write is visible to every later read at once; [`Commit::durable`] resolves when it survives a power cut. The
/// commits of one engine become durable in the order of their writes.
#[must_use = "what depends on this write must not leave the machine before the commit is durable"]
#[derive(Clone, Default)]
pub struct Commit {
    /// What has to be waited for: at most one entry per engine, and none when all is durable already.
    first: Option<Pending>,
    /// More engines, in the rare case that one request wrote to several.
    others: Vec<Pending>,
}

#[derive(Clone)]
struct Pending {
    progress: Arc<Progress>,
    sequence: u64,
}

impl Pending {
    fn is_durable(&self) -> bool {
        self.progress.durable.load(Ordering::Acquire) >= self.sequence
    }
}

impl Commit {
    /// The commit of something that is durable already. Also the neutral element of [`Commit::merge`].
    pub fn already_durable() -> Self {
        Self::default()
    }

    pub(crate) fn pending(progress: Arc<Progress>, sequence: u64) -> Self {
        Self { first: Some(Pending { progress, sequence }), others: Vec::new() }
    }

    /// Whether the write survives a power cut by now. Never waits.
    pub fn is_durable(&self) -> bool {
        self.first.iter().chain(&self.others).all(Pending::is_durable)
    }

    /// Waits until the write survives a power cut.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when flushing to the device failed; the write may be lost.
    pub async fn durable(&self) -> Result<(), Error> {
        for pending in self.first.iter().chain(&self.others) {
            pending.progress.wait(pending.sequence).await?;
        }
        Ok(())
    }

    /// Makes this commit stand for both: durable when this one and `later` are.
    pub fn merge(&mut self, later: Self) {
        for pending in later.first.into_iter().chain(later.others) {
            self.add(pending);
        }
    }

    fn add(&mut self, new: Pending) {
        let same = |old: &&mut Pending| Arc::ptr_eq(&old.progress, &new.progress);
        if let Some(old) = self.first.iter_mut().chain(&mut self.others).find(same) {
            old.sequence = old.sequence.max(new.sequence);
        } else if self.first.is_none() {
            self.first = Some(new);
        } else {
            self.others.push(new);
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("is_durable", &self.is_durable()).finish_non_exhaustive()
    }
}

/// How far one engine's writes are durable; shared by the engine, its committer and every commit it handed out.
pub(crate) struct Progress {
    /// Every write with a sequence number up to this one is durable.
    durable: AtomicU64,
    /// Set once, when a flush fails; from then on nothing more becomes durable.
    failure: OnceLock<Error>,
    changed: Notify,
    committer: OnceLock<Thread>,
    /// The latest write that somebody waits for.
    wanted: AtomicU64,
    /// How many have come to wait since the committer last asked.
    arrived: AtomicUsize,
    /// Whether the committer sleeps until it is woken.
    is_idle: AtomicBool,
}

impl Progress {
    pub(crate) fn new(durable: u64) -> Self {
        Self {
            durable: AtomicU64::new(durable),
            failure: OnceLock::new(),
            changed: Notify::new(),
            committer: OnceLock::new(),
            wanted: AtomicU64::new(0),
            arrived: AtomicUsize::new(0),
            is_idle: AtomicBool::new(false),
        }
    }

    /// Names the thread that flushes, so that it can be woken.
    pub(crate) fn set_committer(&self, thread: Thread) {
        // Set once, by the one place that starts the committer.
        let _ = self.committer.set(thread);
    }

    /// Tells the committer that a write was applied. It is woken only where it has nothing else to do.
    pub(crate) fn applied(&self) {
        // Pairs with the one in `idle_until_woken`: either the write is seen there, or the sleep here.
        fence(Ordering::SeqCst);
        if self.is_idle.load(Ordering::Relaxed) {
            self.wake_committer();
        }
    }

    /// Puts the committer to sleep, unless there is something to do by now. May return early.
    pub(crate) fn idle_until_woken(&self, has_work: impl Fn() -> bool) {
        self.is_idle.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !has_work() {
            std::thread::park();
        }
        self.is_idle.store(false, Ordering::Relaxed);
    }

    /// Whether somebody waits for a write that is not durable.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire) > self.durable()
    }

    /// How many have come to wait since this was last asked.
    pub(crate) fn take_arrived(&self) -> usize {
        self.arrived.swap(0, Ordering::Relaxed)
    }

    /// Tells the committer that somebody waits (or that it is to stop).
    pub(crate) fn wake_committer(&self) {
        if let Some(thread) = self.committer.get() {
            thread.unpark();
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn advance(&self, sequence: u64) {
        self.durable.fetch_max(sequence, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(crate) fn fail(&self, error: Error) {
        // The first failure is the cause; later ones follow from it.
        let _ = self.failure.set(error);
        self.changed.notify_waiters();
    }

    /// Fails once a flush has failed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    async fn wait(&self, sequence: u64) -> Result<(), Error> {
        if self.durable() < sequence {
            self.arrived.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            // Registered before the check, so that an advance between the check and the wait is not missed.
            let changed = self.changed.notified();
            if self.durable() >= sequence {
                return Ok(());
            }
            self.check()?;
            // One that is wanted already has woken the committer, or is in the flush that is under way.
            if self.wanted.fetch_max(sequence, Ordering::AcqRel) < sequence {
                self.wake_committer();
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(durable: u64) -> Arc<Progress> {
        Arc::new(Progress::new(durable))
    }

    #[test]
    fn merging_keeps_the_later_sequence_of_one_engine_and_all_engines() {
        let (a, b) = (engine(0), engine(0));
        let mut merged = Commit::already_durable();
        for (progress, sequence) in [(&a, 5), (&b, 2), (&a, 3)] {
            merged.merge(Commit::pending(progress.clone(), sequence));
        }
        let check = |expected: bool| assert_eq!(merged.is_durable(), expected);
        check(false);
        a.advance(3);
        b.advance(2);
        check(false);
        a.advance(5);
        check(true);
        assert_eq!(merged.others.len(), 1, "one entry per engine");
    }

    #[tokio::test]
    async fn a_commit_that_was_durable_before_the_failure_stays_so() {
        let progress = engine(1);
        progress.fail(Error::Poisoned { reason: "the disk is gone".into() });
        Commit::pending(progress.clone(), 1).durable().await.unwrap();
        let error = Commit::pending(progress, 2).durable().await.unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    }
}
