//! How often questions are asked, about: enough to know which ones to have answered ahead.
//!
//! An instance counts in its memory and writes when a question has to go to a model anyway, so that one which is answered
//! from the cache costs no write. In the store each question falls on one of a few hundred places; where two fall on one,
//! they take from each other's count, and the one that is asked more stays (Misra and Gries, in each place).

use crate::hash::{hash, number};
use crate::key;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use waggle_conversation::{Store, StoreError};
use waggle_openai::json;

/// How many places there are.
const SLOTS: u64 = 512;
/// The longest question that is counted, in bytes.
const QUESTION_BYTES_MAX: usize = 512;
/// How many questions an instance counts before it writes, and how often they may be asked by then.
const PENDING_MAX: usize = 64;
const PENDING_COUNT_MAX: u64 = 256;
/// A count is halved each time so many seconds have passed since the question was asked.
const HALF_LIFE_S: u64 = 7 * 24 * 3600;

/// A question that is asked often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrequentQuestion {
    /// The question, as it was asked once.
    pub question: String,
    /// How often it is asked, about; what is long ago counts less.
    pub count: u64,
}

/// What an instance has counted and not written yet. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pending: Rc<RefCell<Vec<Asked>>>,
}

/// A question that was asked since the last write.
#[derive(Debug)]
struct Asked {
    /// [`normal`], by which questions are compared: once for each request is enough.
    normal: String,
    question: String,
    count: u64,
}

thread_local! {
    static OF_INSTANCE: Counts = Counts::default();
}

#[derive(Serialize, Deserialize)]
struct Counted {
    question: String,
    count: u64,
    /// When it was last asked, in seconds since 1970.
    at_s: u64,
}

/// A question without what does not tell it from others: capitals, and space beyond what parts its words.
pub(super) fn normal(question: &str) -> String {
    question.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

impl Counted {
    fn aged(self, now_s: u64) -> Self {
        let halved = now_s.saturating_sub(self.at_s) / HALF_LIFE_S;
        let count = u32::try_from(halved).ok().and_then(|halved| self.count.checked_shr(halved)).unwrap_or(0);
        Self { count, ..self }
    }

    /// The place after `question` was asked `count` times more.
    fn and(before: Option<Self>, question: String, count: u64, now_s: u64) -> Self {
        let asked = Self { question, count, at_s: now_s };
        match before.map(|before| before.aged(now_s)) {
            Some(before) if normal(&before.question) == normal(&asked.question) => {
                Self { count: before.count.saturating_add(count), at_s: now_s, ..before }
            }
            Some(before) if before.count > count => {
                Self { count: before.count - count, at_s: now_s, ..before }
            }
            _ => asked,
        }
    }
}

impl Counts {
    /// What this instance has counted.
    pub fn of_instance() -> Self {
        OF_INSTANCE.with(Clone::clone)
    }

    /// Counts a question.
    pub(crate) fn note(&self, question: &str) {
        if question.len() > QUESTION_BYTES_MAX {
            return;
        }
        let mut pending = self.pending.borrow_mut();
        let wanted = normal(question);
        if let Some(asked) = pending.iter_mut().find(|asked| asked.normal == wanted) {
            asked.count += 1;
        } else if pending.len() < PENDING_MAX {
            pending.push(Asked { normal: wanted, question: question.trim().to_owned(), count: 1 });
        }
    }

    /// What is to be written now: all of it `anyway`, else only when it has become much.
    fn due(&self, anyway: bool) -> Vec<Asked> {
        let mut pending = self.pending.borrow_mut();
        let count: u64 = pending.iter().map(|asked| asked.count).sum();
        if anyway || count >= PENDING_COUNT_MAX { std::mem::take(&mut *pending) } else { Vec::new() }
    }

    /// Writes what is due.
    pub(crate) async fn write<S: Store>(
        &self,
        store: &S,
        now_s: u64,
        anyway: bool,
    ) -> Result<(), StoreError> {
        let due = self.due(anyway);
        if due.is_empty() {
            return Ok(());
        }
        let slot = |asked: &Asked| number(&hash(&[asked.normal.as_bytes()])) % SLOTS;
        let keys: Vec<String> = due.iter().map(|asked| key::question(slot(asked))).collect();
        let values = store.get_many(keys.clone()).await?;
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::with_capacity(due.len());
        for ((key, value), Asked { question, count, .. }) in keys.into_iter().zip(values).zip(due) {
            // Of two that fall together, the second one is counted the next time.
            if pairs.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let before = value.and_then(|json| serde_json::from_slice::<Counted>(&json).ok());
            let mut json = Vec::new();
            json::push(&mut json, &Counted::and(before, question, count, now_s));
            pairs.push((key, json));
        }
        store.set_many(pairs).await
    }
}

/// The questions that are asked most, at most `limit` of them.
pub(crate) async fn most_frequent<S: Store>(
    store: &S,
    now_s: u64,
    limit: usize,
) -> Result<Vec<FrequentQuestion>, StoreError> {
    let values = store.get_many((0..SLOTS).map(key::question).collect()).await?;
    let read = |value: Vec<u8>| serde_json::from_slice::<Counted>(&value).ok();
    let counted = values.into_iter().flatten().filter_map(read).map(|counted| counted.aged(now_s));
    let mut all: Vec<FrequentQuestion> = counted
        .filter(|counted| counted.count > 0)
        .map(|Counted { question, count, .. }| FrequentQuestion { question, count })
        .collect();
    all.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.question.cmp(&other.question)));
    all.truncate(limit);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use waggle_conversation::memory::MemoryStore;

    const NOW_S: u64 = 1_700_000_000;

    fn questions(store: &MemoryStore, now_s: u64) -> Vec<(String, u64)> {
        let all = block_on(most_frequent(store, now_s, 10)).unwrap();
        all.into_iter().map(|one| (one.question, one.count)).collect()
    }

    fn ask(store: &MemoryStore, question: &str, times: u64) {
        let counts = Counts::default();
        for _ in 0..times {
            counts.note(question);
        }
        block_on(counts.write(store, NOW_S, true)).unwrap();
    }

    #[test]
    fn the_most_frequent_come_first() {
        let store = MemoryStore::default();
        ask(&store, "Where?", 2);
        ask(&store, "  How  much? ", 3);
        ask(&store, "how much?", 1);
        let expected = [("How  much?".to_owned(), 4), ("Where?".to_owned(), 2)];
        assert_eq!(questions(&store, NOW_S), expected);
    }

    #[test]
    fn what_is_long_ago_counts_less() {
        let store = MemoryStore::default();
        ask(&store, "Where?", 4);
        assert_eq!(questions(&store, NOW_S + HALF_LIFE_S), [("Where?".to_owned(), 2)]);
        assert_eq!(questions(&store, NOW_S + 500 * HALF_LIFE_S), []);
    }

    #[test]
    fn of_two_in_one_place_the_more_frequent_stays() {
        let place =
            |question: &str, count| Some(Counted { question: question.to_owned(), count, at_s: NOW_S });
        let check = |before, count, expected: (&str, u64)| {
            let after = Counted::and(before, "new".to_owned(), count, NOW_S);
            assert_eq!((after.question.as_str(), after.count), expected);
        };
        check(None, 2, ("new", 2));
        check(place("old", 5), 2, ("old", 3));
        check(place("old", 2), 2, ("new", 2));
        check(place("NEW", 5), 2, ("NEW", 7));
    }

    #[test]
    fn hits_are_written_seldom_and_memory_is_bounded() {
        let (store, counts) = (MemoryStore::default(), Counts::default());
        for number in 0..200 {
            counts.note(&format!("question {number}"));
        }
        counts.note(&"x".repeat(QUESTION_BYTES_MAX + 1));
        assert_eq!(counts.pending.borrow().len(), PENDING_MAX);
        block_on(counts.write(&store, NOW_S, false)).unwrap();
        assert!(store.operations().is_empty());
        for _ in 0..PENDING_COUNT_MAX {
            counts.note("question 1");
        }
        block_on(counts.write(&store, NOW_S, false)).unwrap();
        assert_eq!(store.operations().len(), 2);
        assert!(counts.pending.borrow().is_empty());
    }
}
