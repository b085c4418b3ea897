//! A store in memory, for tests: it counts what is asked of it and can be told to fail.

use crate::store::{Store, StoreError, read_counter};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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
        self.content.values.borrow_mut().extend(pairs);
        Ok(())
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
        let mut values = self.content.values.borrow_mut();
        let same = values.get(key).map(Vec::as_slice) == expected;
        if same {
            values.insert(key.to_owned(), value);
        }
        Ok(same)
    }
}
