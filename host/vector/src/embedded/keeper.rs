//! The threads that look after indexes in the background, and what waits for them. Their number bounds what is done at once.

use super::catalog::Catalog;
use super::loaded::Loaded;
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    thread::JoinHandle,
    time::Instant,
};

/// So that a large index does not keep the small ones waiting.
const THREADS: usize = 2;

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
    wants_room: bool,
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
        self.lock().wants_room = true;
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
            if std::mem::take(&mut state.wants_room) {
                return Task::MakeRoom;
            }
            let now = Instant::now();
            let due = state.indexes.first_key_value().map(|((at, _), _)| *at);
            state = match due {
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

/// The threads; dropping it ends them, after what they are doing.
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
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that looks after indexes ended in a panic");
            }
        }
    }
}

fn run(catalog: &Catalog) {
    loop {
        match catalog.queue.next() {
            Task::End => return,
            Task::MakeRoom => catalog.make_room(),
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
