//! An index over a store in memory, short ways to fill and ask it, and stores that fail or that others use as well.

use serde_json::Value as Json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use waggle_conversation::memory::MemoryStore;
use waggle_conversation::{Store, StoreError};
use waggle_index::key_value::KeyValueIndex;
use waggle_index::{Attributes, Chunk, Fusion, Group, Hit, Index, IndexError, Query, Settings, Value};

/// Runs what waits for nothing, within another such run too.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the store in memory waits for nothing"),
    }
}

pub(crate) fn chunk(ordinal: u32, text: &str) -> Chunk {
    Chunk {
        ordinal,
        heading: format!("Heading {ordinal}"),
        text: text.to_owned(),
        note: format!("{{\"page\":{ordinal}}}"),
        vector: None,
    }
}

pub(crate) fn placed(ordinal: u32, text: &str, vector: &[f32]) -> Chunk {
    Chunk { vector: Some(vector.to_vec()), ..chunk(ordinal, text) }
}

pub(crate) fn attribute(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), Value::Text(value.to_owned()))
}

/// A query for ten hits by nothing yet.
pub(crate) fn query() -> Query {
    Query {
        text: None,
        vector: None,
        filter: Vec::new(),
        limit: 10,
        candidates: 0,
        fusion: Fusion::Scores,
        text_weight: 1.0,
        vector_weight: 1.0,
        rank_constant: 60.0,
        vector_score_min: None,
    }
}

pub(crate) fn by_text(text: &str) -> Query {
    Query { text: Some(text.to_owned()), ..query() }
}

pub(crate) fn by_vector(vector: &[f32]) -> Query {
    Query { vector: Some(vector.to_vec()), ..query() }
}

/// Where hits are: their groups and numbers.
pub(crate) fn places(hits: &[Hit]) -> Vec<(&str, u32)> {
    hits.iter().map(|hit| (hit.group.as_str(), hit.ordinal)).collect()
}

/// What there is in all indexes.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    found: Vec<Found>,
    staged: [Result<u32, IndexError>; 2],
}

/// What there is in an index.
#[derive(Debug, PartialEq)]
struct Found {
    index: String,
    groups: Vec<(Group, Vec<Chunk>)>,
    hits: Vec<Hit>,
}

/// An index, with the store it lies in.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) index: KeyValueIndex<MemoryStore>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::default())
    }

    pub(crate) fn over(store: MemoryStore) -> Self {
        Self { index: KeyValueIndex::new(store.clone()), store }
    }

    /// The same content in a store of its own.
    pub(crate) fn copy(&self) -> Self {
        let store = MemoryStore::default();
        self.store.dump().iter().for_each(|(key, value)| store.put(key, value));
        Self::over(store)
    }

    pub(crate) fn create(&self, index: &str, dimensions: u32) {
        run(self.index.create(index, Settings { dimensions })).unwrap();
    }

    pub(crate) fn stage(&self, index: &str, group: &str, version: u64, chunks: &[Chunk]) {
        run(self.index.stage(index, group, version, chunks.to_vec())).unwrap();
    }

    /// Stages and publishes.
    pub(crate) fn publish(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: &[Chunk],
        attributes: &Attributes,
    ) {
        self.stage(index, group, version, chunks);
        let count = u32::try_from(chunks.len()).unwrap();
        run(self.index.publish(index, group, version, count, attributes.clone())).unwrap();
    }

    pub(crate) fn search(&self, indexes: &[&str], query: Query) -> Vec<Hit> {
        run(self.index.search(indexes, query)).unwrap()
    }

    pub(crate) fn groups(&self, index: &str) -> Vec<Group> {
        run(self.index.list_groups(index, None, 1_000)).unwrap()
    }

    pub(crate) fn read(&self, index: &str, group: &str) -> Vec<Chunk> {
        run(self.index.read(index, group, 0, 256)).unwrap()
    }

    pub(crate) fn revision(&self, index: &str) -> u64 {
        run(self.index.describe(index)).unwrap().revision
    }

    /// All that is found, and what is staged of what [`changes`] stages.
    pub(crate) fn state(&self) -> State {
        let names = run(self.index.list_indexes(None, 1_000)).unwrap();
        let of = |name: &String| {
            let groups = self.groups(name).into_iter();
            let groups = groups.map(|group| (group.clone(), self.read(name, &group.name))).collect();
            let hits = self.search(&[name], Query { limit: 100, ..by_text("apple pear plum") });
            Found { index: name.clone(), groups, hits }
        };
        let staged = [("one", 2), ("three", 1)];
        State {
            found: names.iter().map(of).collect(),
            staged: staged.map(|(group, version)| run(self.index.staged("a", group, version))),
        }
    }

    /// Pages that records lead to, as `INDEX/page/BATCH-PART`, and those that are there.
    fn pages(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut named, mut found) = (BTreeSet::new(), BTreeSet::new());
        for (key, value) in self.store.dump() {
            let Some(rest) = key.strip_prefix("vector/index/") else { continue };
            if let Some((index, _)) = rest.split_once("/groups/") {
                named.extend(named_pages(index, &serde_json::from_slice(&value).unwrap()));
            } else {
                let (page, _kind) = rest.rsplit_once('/').unwrap();
                found.insert(page.to_owned());
            }
        }
        (named, found)
    }

    /// Every page that is there is one that a record leads to, and the reverse.
    pub(crate) fn check_pages(&self) {
        let (named, found) = self.pages();
        assert_eq!(named, found);
    }
}

fn named_pages(index: &str, record: &Json) -> Vec<String> {
    assert_eq!(record.get("waste"), None, "{record:#}");
    let groups = record["groups"].as_object().unwrap().values();
    let pages = groups.flat_map(|group| {
        let drafts = group["drafts"].as_array().into_iter().flatten();
        let versions = drafts.chain(group.get("published"));
        versions.flat_map(|version| version["pages"].as_array().unwrap())
    });
    let named =
        pages.map(|page| format!("{index}/page/{:012}-{:03}", number(&page["batch"]), number(&page["part"])));
    named.collect()
}

fn number(value: &Json) -> u64 {
    value.as_u64().unwrap()
}

/// What an operation does that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// Nothing.
    Before,
    /// All, and nobody is told.
    After,
    /// Half of what it was to do, if that is more than one thing.
    Half,
}

/// A store that works for so many operations and then never again.
#[derive(Clone)]
pub(crate) struct DyingStore {
    pub(crate) store: MemoryStore,
    pub(crate) operations_left: Rc<Cell<usize>>,
    pub(crate) failing: Failing,
}

impl DyingStore {
    pub(crate) fn new(store: &MemoryStore, operations: usize, failing: Failing) -> Self {
        Self { store: store.clone(), operations_left: Rc::new(Cell::new(operations)), failing }
    }

    /// Whether this operation works; `Err(true)` if it is the one that fails, `Err(false)` if that was before.
    fn lives(&self) -> Result<(), bool> {
        match self.operations_left.get() {
            0 => Err(false),
            left => {
                self.operations_left.set(left - 1);
                if left == 1 { Err(true) } else { Ok(()) }
            }
        }
    }

    /// Whether the operation is done, and whether that is told.
    fn outcome(&self) -> (bool, bool) {
        match self.lives() {
            Ok(()) => (true, true),
            Err(dies) => (dies && self.failing == Failing::After, false),
        }
    }

    fn half<T>(&self, dies: bool, things: Vec<T>) -> Vec<T> {
        let half = things.len() / 2;
        match self.failing {
            Failing::After if dies => things,
            Failing::Half if dies => things.into_iter().take(half).collect(),
            _ => Vec::new(),
        }
    }
}

fn dead<T>() -> Result<T, StoreError> {
    Err(StoreError::Failed { operation: "anything", reason: "the store is dead".to_owned() })
}

impl Store for DyingStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if self.lives().is_ok() { self.store.get(key).await } else { dead() }
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if self.lives().is_ok() { self.store.get_many(keys).await } else { dead() }
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        match self.lives() {
            Ok(()) => self.store.set_many(pairs).await,
            Err(dies) => {
                self.store.set_many(self.half(dies, pairs)).await?;
                dead()
            }
        }
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        match self.lives() {
            Ok(()) => self.store.delete_many(keys).await,
            Err(dies) => {
                self.store.delete_many(self.half(dies, keys)).await?;
                dead()
            }
        }
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        let (done, told) = self.outcome();
        let result = if done { self.store.increment(key).await } else { dead() };
        if told { result } else { dead() }
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        let (done, told) = self.outcome();
        let result = if done { self.store.swap(key, expected, value).await } else { dead() };
        if told { result } else { dead() }
    }
}

/// What another does while an operation is about to be done.
pub(crate) type Other = Rc<dyn Fn(&World)>;

/// A store in which another does something before one of the operations.
#[derive(Clone)]
pub(crate) struct SharedStore {
    store: MemoryStore,
    /// Before which operation, counted from 0.
    at: usize,
    operations: Rc<Cell<usize>>,
    other: Rc<RefCell<Option<Other>>>,
}

impl SharedStore {
    pub(crate) fn new(store: &MemoryStore, at: usize, other: &Other) -> Self {
        let other = Rc::new(RefCell::new(Some(Rc::clone(other))));
        Self { store: store.clone(), at, operations: Rc::default(), other }
    }

    /// Whether the other one had its turn.
    pub(crate) fn had_its_turn(&self) -> bool {
        self.other.borrow().is_none()
    }

    fn step(&self) {
        let operation = self.operations.replace(self.operations.get() + 1);
        if operation == self.at
            && let Some(other) = self.other.take()
        {
            other(&World::over(self.store.clone()));
        }
    }
}

impl Store for SharedStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.step();
        self.store.get(key).await
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.step();
        self.store.get_many(keys).await
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.step();
        self.store.set_many(pairs).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        self.step();
        self.store.delete_many(keys).await
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        self.step();
        self.store.increment(key).await
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        self.step();
        self.store.swap(key, expected, value).await
    }
}

/// A change of an index, to be done over any store.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Create(&'static str),
    Drop(&'static str),
    Stage(&'static str, &'static str, u64, Vec<Chunk>),
    Publish(&'static str, &'static str, u64, u32, Attributes),
    Discard(&'static str, &'static str, u64),
    Remove(&'static str, Vec<&'static str>),
    SetAttributes(&'static str, &'static str, Attributes),
}

impl Change {
    pub(crate) fn apply<S: Store>(&self, store: &S) -> Result<(), IndexError> {
        let index = KeyValueIndex::new(store.clone());
        run(async {
            match self.clone() {
                Self::Create(name) => index.create(name, Settings { dimensions: 0 }).await,
                Self::Drop(name) => index.drop_index(name).await,
                Self::Stage(name, group, version, chunks) => index.stage(name, group, version, chunks).await,
                Self::Publish(name, group, version, chunks, attributes) => {
                    index.publish(name, group, version, chunks, attributes).await
                }
                Self::Discard(name, group, version) => index.discard(name, group, version).await,
                Self::Remove(name, groups) => {
                    index.remove(name, groups.into_iter().map(str::to_owned).collect()).await
                }
                Self::SetAttributes(name, group, attributes) => {
                    index.set_attributes(name, group, attributes).await
                }
            }
        })
    }
}

/// An index `a` with a group that is published and staged anew, and another group.
pub(crate) fn settled() -> World {
    let world = World::new();
    world.create("a", 0);
    let long = "apple ".repeat(4_000);
    let old = [chunk(0, &long), chunk(1, &long), chunk(2, &long), chunk(3, "pear")];
    world.publish("a", "one", 1, &old, &vec![attribute("lang", "en")]);
    world.publish("a", "two", 1, &[chunk(0, "plum")], &Vec::new());
    world.stage("a", "one", 2, &[chunk(0, "plum"), chunk(1, &long), chunk(2, &long), chunk(3, &long)]);
    world.check_pages();
    world
}

/// One change of each kind, for [`settled`].
pub(crate) fn changes() -> Vec<Change> {
    let long = "plum ".repeat(5_000);
    vec![
        Change::Create("b"),
        Change::Drop("a"),
        Change::Stage("a", "one", 2, vec![chunk(2, &long), chunk(3, &long), chunk(4, &long)]),
        Change::Stage("a", "three", 1, vec![chunk(0, "pear")]),
        Change::Publish("a", "one", 2, 4, vec![attribute("lang", "zh")]),
        Change::Publish("a", "two", 1, 1, vec![attribute("lang", "zh")]),
        Change::Discard("a", "one", 2),
        Change::Remove("a", vec!["one", "missing"]),
        Change::SetAttributes("a", "two", vec![attribute("lang", "fr")]),
    ]
}
