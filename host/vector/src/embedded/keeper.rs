//! The threads that look after indexes in the background, and what waits for them. Their number bounds what is done at once.

use super::catalog::Catalog;
use super::loaded::Loaded;
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// So that a large index does not keep the small ones waiting.
const THREADS: usize = 2;

/// When to look again for what can be put away.
const ROOM_AGAIN: Duration = Duration::from_millis(250);

/// How long the end waits for what is being done, and how often it looks.
const END_MAX: Duration = Duration::from_secs(10);
const END_LOOK: Duration = Duration::from_millis(2);

/// What waits. An index is in it once as one that was changed, and once as one that may rest.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// By when it is due, and a count.
    indexes: BTreeMap<(Instant, u64), (Weak<Loaded>, Look)>,
    count: u64,
    /// By when to look whether there is too much in memory.
    room_at: Option<Instant>,
    is_ended: bool,
}

/// Why an index is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Changed,
    Rests,
}

enum Task {
    Keep(Arc<Loaded>, Look),
    MakeRoom,
    End,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An index was changed.
    pub(crate) fn look_at(&self, loaded: &Arc<Loaded>) {
        if !loaded.is_queued.swap(true, Ordering::AcqRel) {
            self.push(Instant::now(), loaded, Look::Changed);
        }
    }

    fn look_when_it_rests(&self, loaded: &Arc<Loaded>) {
        let at = loaded.rests_at();
        if at > Instant::now() && loaded.may_rest() && !loaded.is_resting.swap(true, Ordering::AcqRel) {
            self.push(at, loaded, Look::Rests);
        }
    }

    fn push(&self, at: Instant, loaded: &Arc<Loaded>, look: Look) {
        let mut state = self.lock();
        state.count += 1;
        let key = (at, state.count);
        state.indexes.insert(key, (Arc::downgrade(loaded), look));
        drop(state);
        self.changed.notify_one();
    }

    /// There may be too much in memory.
    pub(crate) fn want_room(&self) {
        self.want_room_at(Instant::now());
    }

    fn want_room_at(&self, at: Instant) {
        let mut state = self.lock();
        state.room_at = Some(state.room_at.map_or(at, |before| before.min(at)));
        drop(state);
        self.changed.notify_one();
    }

    fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Task {
        let mut state = self.lock();
        loop {
            if state.is_ended {
                return Task::End;
            }
            let now = Instant::now();
            if state.room_at.is_some_and(|at| at <= now) {
                state.room_at = None;
                return Task::MakeRoom;
            }
            let first = state.indexes.first_key_value().map(|((at, _), _)| *at);
            state = match first.into_iter().chain(state.room_at).min() {
                Some(at) if at <= now => {
                    let first = state.indexes.pop_first();
                    if let Some((_, (loaded, look))) = first
                        && let Some(loaded) = loaded.upgrade()
                    {
                        return Task::Keep(loaded, look);
                    }
                    state
                }
                Some(at) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The threads; dropping it ends them, after what they are doing, unless that takes too long: nothing of it would be lost.
pub(crate) struct Keeper {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(catalog: &Arc<Catalog>) -> std::io::Result<Self> {
        let queue = Arc::clone(&catalog.queue);
        let mut keeper = Self { queue, threads: Vec::new() };
        for number in 0..THREADS {
            let catalog = Arc::clone(catalog);
            let thread = std::thread::Builder::new().name(format!("vector-keeper-{number}"));
            keeper.threads.push(thread.spawn(move || run(&catalog))?);
        }
        Ok(keeper)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.queue.end();
        let until = Instant::now() + END_MAX;
        while Instant::now() < until && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(END_LOOK);
        }
        for thread in self.threads.drain(..) {
            if !thread.is_finished() {
                tracing::info!("an index is still being looked after; it is left to the end of the process");
            } else if thread.join().is_err() {
                tracing::error!("a thread that looks after indexes ended in a panic");
            }
        }
    }
}

fn run(catalog: &Catalog) {
    loop {
        match catalog.queue.next() {
            Task::End => return,
            Task::MakeRoom => {
                if !catalog.make_room() {
                    // All that is too much was in use.
                    catalog.queue.want_room_at(Instant::now() + ROOM_AGAIN);
                }
            }
            Task::Keep(loaded, look) => {
                keep(&catalog.queue, loaded, look);
                // It may have grown.
                catalog.queue.want_room();
            }
        }
    }
}

fn keep(queue: &Queue, loaded: Arc<Loaded>, look: Look) {
    let flag = if look == Look::Changed { &loaded.is_queued } else { &loaded.is_resting };
    flag.store(false, Ordering::Release);
    match loaded.keep() {
        Ok(true) => queue.look_at(&loaded),
        Ok(false) => {}
        Err(error) => {
            tracing::error!(%error, folder = %loaded.folder.display(), "an index cannot be looked after");
            return;
        }
    }
    queue.look_when_it_rests(&loaded);
}
