//! A run that is interrupted anywhere, as often as you like, goes on without doing anything twice that must not be.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::executor::block_on;
use proptest::prelude::*;
use serde_json::value::to_raw_value;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use waggle_agent::cost::{Cost, Spent};
use waggle_agent::journal::{CallAt, Entry, Journal, JournalError};
use waggle_agent::recorded::{Decision, OUTCOME_UNKNOWN, Recorded};
use waggle_agent::{budget, caps, key};
use waggle_conversation::memory::MemoryStore;
use waggle_conversation::{Store, StoreError, run};
use waggle_openai::Nonce;

/// The power fails.
#[derive(Debug, PartialEq)]
struct Crash;

impl From<JournalError> for Crash {
    fn from(error: JournalError) -> Self {
        let JournalError::Store(StoreError::Failed { .. }) = error else { panic!("{error}") };
        Self
    }
}

/// How many more moments the power lasts.
#[derive(Debug, Clone)]
struct Power(Rc<Cell<usize>>);

impl Power {
    fn last(moments: usize) -> Self {
        Self(Rc::new(Cell::new(moments)))
    }

    fn moment(&self) -> Result<(), Crash> {
        let left = self.0.get().checked_sub(1).ok_or(Crash)?;
        self.0.set(left);
        Ok(())
    }
}

/// A store that the power can leave before and after it has written.
#[derive(Debug, Clone)]
struct Failing {
    store: MemoryStore,
    power: Power,
}

impl Failing {
    fn moment(&self) -> Result<(), StoreError> {
        let failed = |_| StoreError::Failed { operation: "live", reason: "the power has failed".to_owned() };
        self.power.moment().map_err(failed)
    }
}

impl Store for Failing {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.moment()?;
        self.store.get(key).await
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.moment()?;
        self.store.get_many(keys).await
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.moment()?;
        self.store.set_many(pairs).await?;
        self.moment()
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        self.moment()?;
        self.store.delete_many(keys).await?;
        self.moment()
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        self.moment()?;
        self.store.increment(key).await
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        self.moment()?;
        let swapped = self.store.swap(key, expected, value).await?;
        self.moment()?;
        Ok(swapped)
    }
}

/// Whether each call of each step may be repeated. The step after the last has no calls: it is the answer.
type Script = Vec<Vec<bool>>;

/// What happens outside, which no crash undoes.
#[derive(Debug, Default)]
struct Outside {
    /// How often a model answered, by the key of the call.
    paid: RefCell<BTreeMap<String, u32>>,
    /// How often a tool was called, by the key of the call.
    done: RefCell<BTreeMap<String, u32>>,
    /// The response, once it is stored.
    stored: RefCell<Option<Vec<String>>>,
}

fn count(counts: &RefCell<BTreeMap<String, u32>>, key: String) {
    *counts.borrow_mut().entry(key).or_default() += 1;
}

const SPENT: Spent =
    Spent { input_tokens: 10, cached_tokens: 0, output_tokens: 1, reasoning_tokens: 0, cost: Cost(7) };

struct Runner<'a> {
    response: Nonce,
    power: &'a Power,
    script: &'a Script,
    outside: &'a Outside,
    journal: Journal<Failing>,
    recorded: Recorded,
    now_ms: u64,
}

impl Runner<'_> {
    /// Asks the model, unless it has answered, and records that it was asked together with what ended just then.
    async fn step(&mut self, step: u32, before: Entry) -> Result<usize, Crash> {
        let calls = self.script.get(step as usize - 1).map_or(0, Vec::len);
        if let Some((answer, spent)) = self.recorded.answer(step) {
            assert_eq!((answer.get(), spent), (calls.to_string().as_str(), SPENT));
            if !before.is_empty() {
                self.journal.append(before, self.now_ms).await?;
            }
            return Ok(calls);
        }
        self.journal.append(before.asked(step), self.now_ms).await?;
        self.power.moment()?;
        count(&self.outside.paid, key::of_model(self.response, step));
        self.power.moment()?;
        let answer = to_raw_value(&calls).unwrap();
        self.journal.append(Entry::new().answered(step, answer, SPENT), self.now_ms).await?;
        Ok(calls)
    }

    /// Makes the calls of a step that are to be made. What came of the last is recorded by the next entry.
    async fn calls(&mut self, step: u32, calls: usize) -> Result<(Vec<String>, Entry), Crash> {
        let (mut results, mut open) = (Vec::new(), Entry::new());
        for index in 0..calls {
            let at = CallAt { step, index };
            let repeatable = self.script[step as usize - 1][index];
            let result = match self.recorded.decide(at) {
                Decision::Known(result) => {
                    results.push(serde_json::from_str(result.get()).unwrap());
                    continue;
                }
                Decision::Unknown => OUTCOME_UNKNOWN.to_owned(),
                decision => {
                    if matches!(decision, Decision::Make) {
                        let entry = std::mem::take(&mut open).begun(at, repeatable);
                        self.journal.append(entry, self.now_ms).await?;
                    }
                    self.power.moment()?;
                    count(&self.outside.done, key::of_call(self.response, step, index));
                    self.power.moment()?;
                    format!("{step}.{index}")
                }
            };
            open = open.done(at, to_raw_value(&result).unwrap());
            results.push(result);
        }
        Ok((results, open))
    }

    async fn run(mut self) -> Result<Vec<String>, Crash> {
        let (mut told, mut open) = (Vec::new(), Entry::new());
        for step in 1..=self.script.len() as u32 + 1 {
            self.now_ms += 100;
            let calls = self.step(step, std::mem::take(&mut open)).await?;
            let (results, entry) = self.calls(step, calls).await?;
            told.extend(results);
            open = entry;
        }
        assert!(open.is_empty());
        self.power.moment()?;
        self.outside.stored.replace(Some(told.clone()));
        self.power.moment()?;
        self.journal.forget().await.map_err(|error| Crash::from(JournalError::from(error)))?;
        Ok(told)
    }
}

/// Runs once, as the runner of that number, for so many moments.
async fn attempt(
    store: &MemoryStore,
    script: &Script,
    outside: &Outside,
    (number, moments): (usize, usize),
) -> Result<Vec<String>, Crash> {
    let power = Power::last(moments);
    let failing = Failing { store: store.clone(), power: power.clone() };
    let (response, by) = (Nonce::mint(1, 1), Nonce::mint(2, number as u128));
    let stored = outside.stored.borrow().clone();
    if let Some(told) = stored {
        run::remove(&failing, &[response]).await.map_err(|error| Crash::from(JournalError::from(error)))?;
        return Ok(told);
    }
    let now_ms = 1_000_000 * number as u64;
    let (journal, recorded) = Journal::take_up(failing, response, by, now_ms).await?;
    let caps = caps::Caps::of(caps::Values::default(), None);
    let budget = budget::Budget::resumed(caps, &recorded, now_ms);
    assert!(budget.elapsed_ms(now_ms) < 100_000, "the time in which nobody ran it does not count");
    Runner { response, power: &power, script, outside, journal, recorded, now_ms }.run().await
}

fn script() -> impl Strategy<Value = Script> {
    prop::collection::vec(prop::collection::vec(any::<bool>(), 0..4), 0..5)
}

const ENDLESS: usize = 100_000;

fn undisturbed(script: &Script) -> Vec<String> {
    let steps = script.iter().enumerate();
    steps
        .flat_map(|(step, calls)| (0..calls.len()).map(move |index| format!("{}.{index}", step + 1)))
        .collect()
}

/// Holds what happened to what may have happened.
fn check(script: &Script, outside: &Outside, told: &[String], crashes: usize) -> Result<(), TestCaseError> {
    let response = Nonce::mint(1, 1);
    for step in 1..=script.len() as u32 + 1 {
        let paid = outside.paid.borrow().get(&key::of_model(response, step)).copied();
        prop_assert!(
            paid.is_some_and(|paid| paid as usize <= crashes + 1),
            "step {} was paid {:?}",
            step,
            paid
        );
    }
    // Each crash makes at most one call of a model or a tool be made again.
    let again = |counts: &RefCell<BTreeMap<String, u32>>| {
        counts.borrow().values().map(|count| *count as usize - 1).sum::<usize>()
    };
    prop_assert!(again(&outside.paid) + again(&outside.done) <= crashes);
    let mut results = told.iter();
    for (step, calls) in (1..).zip(script) {
        for (index, repeatable) in calls.iter().enumerate() {
            let result = results.next().unwrap();
            let done = outside.done.borrow().get(&key::of_call(response, step, index)).copied().unwrap_or(0);
            let expected = format!("{step}.{index}");
            if *repeatable {
                prop_assert!(
                    done >= 1 && *result == expected,
                    "{} was done {} times: {}",
                    expected,
                    done,
                    result
                );
            } else {
                prop_assert!(done <= 1, "{} was done {} times", expected, done);
                prop_assert!(*result == OUTCOME_UNKNOWN || (*result == expected && done == 1));
            }
        }
    }
    prop_assert_eq!(results.next(), None);
    Ok(())
}

proptest! {
    #[test]
    fn a_run_that_is_interrupted_anywhere_does_nothing_twice_that_must_not_be(
        script in script(),
        crashes in prop::collection::vec(0usize..60, 0..6),
    ) {
        let (store, outside) = (MemoryStore::default(), Outside::default());
        let lasting = crashes.iter().copied().chain([ENDLESS]).enumerate();
        let mut number = 0;
        let told = lasting
            .map(|(number, moments)| block_on(attempt(&store, &script, &outside, (number + 1, moments))))
            .inspect(|_| number += 1)
            .find_map(Result::ok)
            .unwrap();
        check(&script, &outside, &told, number - 1)?;
        prop_assert!(store.dump().is_empty(), "what is over leaves nothing");
    }
}

#[test]
fn every_single_moment_can_be_the_last() {
    let script = vec![vec![false, true], vec![false]];
    let whole = undisturbed(&script);
    for moments in 0..200 {
        let (store, outside) = (MemoryStore::default(), Outside::default());
        let first = block_on(attempt(&store, &script, &outside, (1, moments)));
        if first.is_ok() {
            assert_eq!(first, Ok(whole));
            assert!(moments > 20, "a run has moments enough for this to be a test");
            return;
        }
        let told = block_on(attempt(&store, &script, &outside, (2, ENDLESS))).unwrap();
        check(&script, &outside, &told, 1).unwrap();
    }
    panic!("the run never came to its end");
}

#[test]
fn whoever_was_taken_for_dead_writes_no_more() {
    block_on(async {
        let store = MemoryStore::default();
        let response = Nonce::mint(1, 1);
        let mut first = Journal::begin(store.clone(), response, Nonce::mint(2, 1));
        first.append(Entry::new().asked(1), 1).await.unwrap();
        let (mut second, recorded) =
            Journal::take_up(store.clone(), response, Nonce::mint(2, 2), 2).await.unwrap();
        assert!(!recorded.is_empty() && recorded.answer(1).is_none());
        let answer = || Entry::new().answered(1, to_raw_value("x").unwrap(), SPENT);
        assert_eq!(first.append(answer(), 3).await, Err(JournalError::Overtaken));
        second.append(answer(), 3).await.unwrap();
        let mut third = Journal::begin(store, response, Nonce::mint(2, 3));
        assert_eq!(third.append(Entry::new().asked(1), 4).await, Err(JournalError::Overtaken));
    });
}

#[test]
fn a_moment_costs_one_operation_and_a_journal_that_is_off_none() {
    block_on(async {
        let store = MemoryStore::default();
        let (response, by) = (Nonce::mint(1, 1), Nonce::mint(2, 1));
        let mut journal = Journal::begin(store.clone(), response, by);
        let at = |index| CallAt { step: 1, index };
        let raw = || to_raw_value("x").unwrap();
        let begun = Entry::new().answered(1, raw(), SPENT).begun(at(0), true).begun(at(1), false);
        let done = Entry::new().done(at(0), raw()).done(at(1), raw()).asked(2);
        for entry in [Entry::new().asked(1), begun, done] {
            journal.append(entry, 1).await.unwrap();
            assert_eq!(store.operations(), ["swap 1"]);
        }
        journal.forget().await.unwrap();
        assert_eq!(store.operations(), ["delete_many 3"]);
        let mut off = Journal::<MemoryStore>::off(response);
        off.append(Entry::new().asked(1), 1).await.unwrap();
        assert!(!off.is_on() && !off.is_begun());
    });
}

#[test]
fn a_store_that_did_not_say_whether_it_wrote_is_told_the_same_once_more() {
    block_on(async {
        let store = MemoryStore::default();
        let power = Power::last(1);
        let failing = Failing { store: store.clone(), power: power.clone() };
        let mut journal = Journal::begin(failing, Nonce::mint(1, 1), Nonce::mint(2, 1));
        assert!(matches!(journal.append(Entry::new().asked(1), 1).await, Err(JournalError::Store(_))));
        assert_eq!(store.dump().len(), 1, "it has written");
        power.0.set(ENDLESS);
        journal.append(Entry::new().asked(1), 1).await.unwrap();
        assert_eq!(store.dump().len(), 1);
    });
}
