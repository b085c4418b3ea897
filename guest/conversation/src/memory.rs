//! A store in memory, for tests: it counts what is asked of it and can be told to fail.

use crate::store::{Store, StoreError, read_counter};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;

/// The operations that need room.
const WRITES: [&str; 3] = ["set_many", "increment", "swap"];

/// A store in memory. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    content: Rc<Content>,
}

#[derive(Debug, Default)]
struct Content {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    operations: RefCell<Vec<String>>,
    failing: Cell<Option<&'static str>>,
    full: Cell<bool>,
    /// After how many writes it stands still, and whether the last of them is done.
    stands_after: Cell<Option<(usize, bool)>>,
}

impl MemoryStore {
    /// Makes every later operation of this name fail, or of this name and number of keys (`set_many 2`); `None` ends that.
    pub fn fail(&self, operation: Option<&'static str>) {
        self.content.failing.set(operation);
    }

    /// From now on there is no room for anything, or there is again.
    pub fn fill(&self, full: bool) {
        self.content.full.set(full);
    }

    /// Stands still at the write after so many: whoever waits for it waits for ever, as if the host had died there. `done`
    /// says whether that write was done, without anybody being told. `None` ends that.
    pub fn stand_still(&self, after: Option<usize>, done: bool) {
        self.content.stands_after.set(after.map(|after| (after, done)));
    }

    /// Whether it stands still.
    pub fn stands_still(&self) -> bool {
        self.content.stands_after.get().is_some_and(|(after, _)| after == 0)
    }

    /// Counts a write: whether it is done, and whether it comes back.
    fn count(&self) -> (bool, bool) {
        match self.content.stands_after.get() {
            None => (true, true),
            Some((0, done)) => {
                self.content.stands_after.set(Some((0, false)));
                (done, false)
            }
            Some((left, done)) => {
                self.content.stands_after.set(Some((left - 1, done)));
                (true, true)
            }
        }
    }

    /// Every key and value.
    pub fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        self.content.values.borrow().clone()
    }

    /// Sets a value behind the back of the code under test.
    pub fn put(&self, key: &str, value: &[u8]) {
        self.content.values.borrow_mut().insert(key.to_owned(), value.to_vec());
    }

    /// Deletes a value behind the back of the code under test.
    pub fn remove(&self, key: &str) {
        self.content.values.borrow_mut().remove(key);
    }

    /// What was asked since the last call: the operations, each with its number of keys.
    pub fn operations(&self) -> Vec<String> {
        self.content.operations.take()
    }

    fn begin(&self, operation: &'static str, keys: usize) -> Result<(), StoreError> {
        let told = format!("{operation} {keys}");
        let fails = self.content.failing.get().is_some_and(|failing| failing == operation || failing == told);
        self.content.operations.borrow_mut().push(told);
        if fails {
            return Err(StoreError::Failed { operation, reason: "secret detail of the store".to_owned() });
        }
        if self.content.full.get() && WRITES.contains(&operation) {
            return Err(StoreError::Full { operation, reason: "secret detail of the store".to_owned() });
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.begin("get", 1)?;
        Ok(self.content.values.borrow().get(key).cloned())
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.begin("get_many", keys.len())?;
        let values = self.content.values.borrow();
        Ok(keys.iter().map(|key| values.get(key).cloned()).collect())
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.begin("set_many", pairs.len())?;
        let (is_done, comes_back) = self.count();
        if is_done {
            self.content.values.borrow_mut().extend(pairs);
        }
        if comes_back { Ok(()) } else { pending().await }
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        self.begin("delete_many", keys.len())?;
        let mut values = self.content.values.borrow_mut();
        for key in &keys {
            values.remove(key);
        }
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        self.begin("increment", 1)?;
        let mut values = self.content.values.borrow_mut();
        let next = read_counter(key, values.get(key).map(Vec::as_slice))? + 1;
        values.insert(key.to_owned(), next.to_string().into_bytes());
        Ok(i64::try_from(next).unwrap_or(i64::MAX))
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        self.begin("swap", 1)?;
        let (is_done, comes_back) = self.count();
        let same = self.content.values.borrow().get(key).map(Vec::as_slice) == expected;
        if same && is_done {
            self.content.values.borrow_mut().insert(key.to_owned(), value);
        }
        if comes_back { Ok(same) } else { pending().await }
    }
}
