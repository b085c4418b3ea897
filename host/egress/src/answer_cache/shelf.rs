//! What one tenant has: the answers that are kept, and the calls under way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Weighter};
use tokio::time::Instant;

use super::flight::Flight;
use super::kept::Kept;
use super::key::Key;
use super::locked;

/// The most calls of one tenant that can be followed at once; others are made by themselves.
const FLIGHTS_MAX: usize = 4_096;
/// For how many a tenant without any keeps the memory.
const FLIGHTS_USUAL: usize = 16;
/// What an answer takes on average, in bytes: by this is chosen how many keys are remembered of answers that had to go.
const ANSWER_BYTES_USUAL: u64 = 4 * 1024;

/// What the answer cache has done, and holds. All counts are since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerStats {
    /// Questions answered from what was kept.
    pub hits: u64,
    /// Questions for which a call was made, though the cache is on.
    pub misses: u64,
    /// Questions that followed a call under way. One whose leader failed, and that called itself, is also a miss.
    pub waits: u64,
    /// Answers that had to make room.
    pub evictions: u64,
    /// Answers whose time was over.
    pub expired: u64,
    /// Answers that are kept.
    pub answers: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Calls under way that can be followed.
    pub calls: u64,
}

/// Counts of [`AnswerStats`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) expired: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> AnswerStats {
        AnswerStats {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            waits: self.waits.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            expired: self.expired.load(Relaxed),
            ..AnswerStats::default()
        }
    }
}

/// What all shelves share: the bound over all of them, and the counts.
pub(crate) struct Account {
    pub(crate) bytes: AtomicU64,
    pub(crate) bytes_max: u64,
    pub(crate) counters: Counters,
}

impl Account {
    /// Takes `bytes` of the bound if they are there.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.bytes.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

struct ByBytes;

impl Weighter<Key, Arc<Kept>> for ByBytes {
    fn weight(&self, _key: &Key, kept: &Arc<Kept>) -> u64 {
        kept.weight()
    }
}

type Answers = Cache<Key, Arc<Kept>, ByBytes>;

/// One tenant's answers and calls.
pub(crate) struct Shelf {
    /// Drawn once, and a part of every key.
    pub(crate) number: u64,
    time_to_live_ms: AtomicU64,
    bytes_max: u64,
    content: Mutex<Content>,
    counters: Counters,
    account: Arc<Account>,
}

#[derive(Default)]
struct Content {
    /// Made with the first answer, so that a tenant without one takes next to nothing.
    answers: Option<Answers>,
    flights: HashMap<Key, Arc<Flight>>,
}

impl Content {
    fn weight(&self) -> u64 {
        self.answers.as_ref().map_or(0, Cache::weight)
    }

    fn len(&self) -> u64 {
        self.answers.as_ref().map_or(0, |answers| answers.len() as u64)
    }

    /// Takes `flight` out, after which nobody can join it. Returns whether it was still there.
    fn take_out(&mut self, key: &Key, flight: &Arc<Flight>) -> bool {
        let is_there = self.flights.get(key).is_some_and(|found| Arc::ptr_eq(found, flight));
        if is_there {
            self.flights.remove(key);
            if self.flights.is_empty() {
                self.flights.shrink_to(FLIGHTS_USUAL);
            }
        }
        is_there
    }
}

/// What is found for a question.
pub(crate) enum Found {
    Kept(Arc<Kept>),
    /// A call, and whether somebody had it under way already.
    Call(Seat, bool),
    /// More calls than can be followed.
    Full,
}

impl Shelf {
    pub(crate) fn new(number: u64, bytes_max: u64, account: Arc<Account>) -> Self {
        Self {
            number,
            time_to_live_ms: AtomicU64::new(0),
            bytes_max,
            content: Mutex::default(),
            counters: Counters::default(),
            account,
        }
    }

    pub(crate) fn set_time_to_live(&self, time_to_live: Duration) {
        let ms = u64::try_from(time_to_live.as_millis()).unwrap_or(u64::MAX);
        self.time_to_live_ms.store(ms, Relaxed);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.time_to_live_ms.load(Relaxed) > 0
    }

    fn is_fresh(&self, kept: &Kept, now: Instant) -> bool {
        now.duration_since(kept.since) < Duration::from_millis(self.time_to_live_ms.load(Relaxed))
    }

    /// Counts something, for this tenant and for all.
    pub(crate) fn count(&self, which: fn(&Counters) -> &AtomicU64, how_many: u64) {
        which(&self.counters).fetch_add(how_many, Relaxed);
        which(&self.account.counters).fetch_add(how_many, Relaxed);
    }

    /// What there is for `key`: an answer, or a call and a seat in it.
    pub(crate) fn find(self: &Arc<Self>, key: Key) -> Found {
        let now = Instant::now();
        let mut content = locked(&self.content);
        if let Some(answers) = &mut content.answers
            && let Some(kept) = answers.get(&key)
        {
            if self.is_fresh(kept, now) {
                let kept = Arc::clone(kept);
                drop(content);
                self.count(|counters| &counters.hits, 1);
                return Found::Kept(kept);
            }
            let before = answers.weight();
            answers.remove(&key);
            self.account.give_back(before - answers.weight());
            self.count(|counters| &counters.expired, 1);
        }
        let is_full = content.flights.len() >= FLIGHTS_MAX;
        let (flight, is_under_way) = match content.flights.entry(key) {
            Entry::Occupied(entry) => (Arc::clone(entry.get()), true),
            Entry::Vacant(_) if is_full => return Found::Full,
            Entry::Vacant(entry) => (Arc::clone(entry.insert(Arc::default())), false),
        };
        flight.seats.fetch_add(1, Relaxed);
        Found::Call(Seat { shelf: Arc::clone(self), flight, key }, is_under_way)
    }

    /// The call has brought an answer to keep, for which the account has been charged. It is kept if nothing has made it
    /// invalid since the call began.
    pub(crate) fn keep(&self, key: Key, flight: &Arc<Flight>, kept: Kept) {
        let weight = kept.weight();
        let mut content = locked(&self.content);
        if !content.take_out(&key, flight) || !self.is_on() {
            drop(content);
            return self.account.give_back(weight);
        }
        let answers = content.answers.get_or_insert_with(|| new_answers(self.bytes_max));
        let charged = answers.weight() + weight;
        let count = answers.len() + 1;
        answers.insert(key, Arc::new(kept));
        self.account.give_back(charged - answers.weight());
        self.count(|counters| &counters.evictions, (count - answers.len()) as u64);
    }

    /// Nobody can join the call any more.
    pub(crate) fn detach(&self, key: &Key, flight: &Arc<Flight>) {
        locked(&self.content).take_out(key, flight);
    }

    /// Forgets all answers, and keeps none of the calls under way.
    pub(crate) fn clear(&self) {
        let old = std::mem::take(&mut *locked(&self.content));
        self.account.give_back(old.weight());
    }

    /// Turns it off for all who hold it.
    pub(crate) fn close(&self) {
        self.set_time_to_live(Duration::ZERO);
        self.clear();
    }

    /// Lets go of what is too old. Returns what the rest takes, in bytes.
    pub(crate) fn sweep(&self, now: Instant) -> u64 {
        let mut content = locked(&self.content);
        let (weight, count) = (content.weight(), content.len());
        let Some(answers) = &mut content.answers else { return 0 };
        answers.retain(|_key, kept| self.is_fresh(kept, now));
        if answers.is_empty() {
            content.answers = None;
        }
        self.account.give_back(weight - content.weight());
        self.count(|counters| &counters.expired, count - content.len());
        content.weight()
    }

    /// Lets go of answers until they take `bytes_max` at most, those first that were asked for least.
    pub(crate) fn cut(&self, bytes_max: u64) {
        let mut content = locked(&self.content);
        let Some(answers) = &mut content.answers else { return };
        let (weight, count) = (answers.weight(), answers.len());
        if weight <= bytes_max {
            return;
        }
        answers.set_capacity(bytes_max.max(1));
        answers.set_capacity(self.bytes_max);
        self.account.give_back(weight - answers.weight());
        self.count(|counters| &counters.evictions, (count - answers.len()) as u64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        let content = locked(&self.content);
        content.len() == 0 && content.flights.is_empty()
    }

    pub(crate) fn stats(&self) -> AnswerStats {
        let content = locked(&self.content);
        AnswerStats {
            answers: content.len(),
            bytes: content.weight(),
            calls: content.flights.len() as u64,
            ..self.counters.stats()
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.clear();
    }
}

fn new_answers(bytes_max: u64) -> Answers {
    let count = usize::try_from(bytes_max / ANSWER_BYTES_USUAL).unwrap_or(usize::MAX);
    Cache::with(count, bytes_max, ByBytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

/// Somebody's part in a call: as long as it is held, the call goes on.
pub(crate) struct Seat {
    shelf: Arc<Shelf>,
    pub(crate) flight: Arc<Flight>,
    pub(crate) key: Key,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut content = locked(&self.shelf.content);
        if self.flight.seats.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        if self.flight.abandon() {
            content.take_out(&self.key, &self.flight);
        }
    }
}
