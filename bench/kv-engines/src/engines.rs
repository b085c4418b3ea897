//! The engines under comparison, each with group commit: concurrent turns share one flush of the device.

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use redb::{ReadableDatabase, TableDefinition};
use std::{
    fs::File,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread::{JoinHandle, Thread},
};
use tokio::sync::{Notify, oneshot};
use waggle_kv::{Embedded, EmbeddedOptions, Partition, Store, StoreOptions};

pub type Batch = Vec<(Vec<u8>, Vec<u8>)>;

/// Resolves when the batch it came from survives a power cut.
pub enum Ticket {
    Answer(oneshot::Receiver<()>),
    Sequence(u64, Arc<Progress>),
    Commit(waggle_kv::Commit),
}

impl Ticket {
    pub async fn durable(self) {
        match self {
            Self::Answer(answer) => answer.await.expect("the committer lives"),
            Self::Sequence(sequence, progress) => progress.wait(sequence).await,
            Self::Commit(commit) => commit.durable().await.expect("the device works"),
        }
    }
}

pub trait Engine: Send + std::marker::Sync {
    /// Reads the keys in one consistent view and returns how many bytes it found.
    fn get_many(&self, keys: &[Vec<u8>]) -> usize;
    /// Applies the batch atomically (fjall), or queues it (redb, where applying and flushing are one step).
    fn write(&self, batch: Batch) -> Ticket;
    /// For filling: no waiting for the device.
    fn fill(&self, batch: Batch);
}

pub struct Progress {
    durable: AtomicU64,
    changed: Notify,
}

impl Progress {
    async fn wait(&self, sequence: u64) {
        loop {
            let changed = self.changed.notified();
            if self.durable.load(Ordering::Acquire) >= sequence {
                return;
            }
            changed.await;
        }
    }
}

/// How the journal of fjall reaches the device.
#[derive(Clone, Copy, PartialEq)]
pub enum Sync {
    /// `Database::persist`, which holds the journal's lock during the flush: writers wait.
    UnderItsLock,
    /// `fdatasync` through a second handle on the journal file: writers go on.
    OwnHandle,
}

pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    committer: Option<JoinHandle<()>>,
    wake: Thread,
}

impl Fjall {
    pub fn open(directory: &Path, sync: Sync) -> Self {
        let database = Database::builder(directory).cache_size(256 << 20).open().expect("fjall opens");
        let keyspace = database.keyspace("data", KeyspaceCreateOptions::default).expect("keyspace opens");
        let progress = Arc::new(Progress { durable: AtomicU64::new(0), changed: Notify::new() });
        let stop = Arc::new(AtomicBool::new(false));
        let committer = std::thread::spawn({
            let (database, progress, stop) = (database.clone(), progress.clone(), stop.clone());
            let directory = directory.to_path_buf();
            move || commit_loop(&database, &directory, sync, &progress, &stop)
        });
        let wake = committer.thread().clone();
        Self { database, keyspace, progress, stop, committer: Some(committer), wake }
    }
}

impl Drop for Fjall {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake.unpark();
        if let Some(committer) = self.committer.take() {
            committer.join().expect("the committer ended");
        }
    }
}

fn commit_loop(database: &Database, directory: &Path, sync: Sync, progress: &Progress, stop: &AtomicBool) {
    let mut journal = newest_journal(directory, 0).expect("a journal exists");
    while !stop.load(Ordering::Acquire) {
        let target = database.visible_seqno();
        if progress.durable.load(Ordering::Relaxed) >= target {
            std::thread::park();
            continue;
        }
        if sync == Sync::UnderItsLock {
            database.persist(PersistMode::SyncData).expect("persist");
        } else {
            journal.1.sync_data().expect("fdatasync");
            while let Some(next) = newest_journal(directory, journal.0 + 1) {
                journal = next;
                journal.1.sync_data().expect("fdatasync");
            }
        }
        progress.durable.store(target, Ordering::Release);
        progress.changed.notify_waiters();
    }
}

fn newest_journal(directory: &Path, from: u64) -> Option<(u64, File)> {
    let path = |id: u64| -> PathBuf { directory.join(format!("{id}.jnl")) };
    if from > 0 {
        return File::open(path(from)).ok().map(|file| (from, file));
    }
    let ids = std::fs::read_dir(directory)
        .expect("readable")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
    let id = ids.max()?;
    Some((id, File::open(path(id)).expect("the journal opens")))
}

impl Engine for Fjall {
    fn get_many(&self, keys: &[Vec<u8>]) -> usize {
        let snapshot = self.database.snapshot();
        keys.iter()
            .filter_map(|key| snapshot.get(&self.keyspace, key).expect("read"))
            .map(|value| value.len())
            .sum()
    }

    fn write(&self, batch: Batch) -> Ticket {
        self.fill(batch);
        let ticket = Ticket::Sequence(self.database.visible_seqno(), self.progress.clone());
        self.wake.unpark();
        ticket
    }

    fn fill(&self, batch: Batch) {
        let mut write = self.database.batch().durability(Some(PersistMode::Buffer));
        for (key, value) in batch {
            write.insert(&self.keyspace, key, value);
        }
        write.commit().expect("commit");
    }
}

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("data");
/// Batches that one transaction of redb takes from the queue.
const GROUP_BATCHES_MAX: usize = 256;

pub struct Redb {
    database: Arc<redb::Database>,
    queue: Option<mpsc::SyncSender<(Batch, oneshot::Sender<()>)>>,
    committer: Option<JoinHandle<()>>,
}

impl Redb {
    pub fn open(directory: &Path) -> Self {
        let database = redb::Builder::new()
            .set_cache_size(256 << 20)
            .create(directory.join("store.redb"))
            .expect("redb opens");
        let database = Arc::new(database);
        let write = database.begin_write().expect("begin");
        write.open_table(TABLE).expect("table");
        write.commit().expect("commit");
        let (queue, batches) = mpsc::sync_channel::<(Batch, oneshot::Sender<()>)>(1024);
        let committer = std::thread::spawn({
            let database = database.clone();
            move || {
                while let Ok(first) = batches.recv() {
                    let mut group = vec![first];
                    group.extend(batches.try_iter().take(GROUP_BATCHES_MAX - 1));
                    insert(&database, group.iter().flat_map(|(batch, _)| batch), redb::Durability::Immediate);
                    for (_, answer) in group {
                        let _ = answer.send(());
                    }
                }
            }
        });
        Self { database, queue: Some(queue), committer: Some(committer) }
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(committer) = self.committer.take() {
            committer.join().expect("the committer ended");
        }
    }
}

fn insert<'a>(
    database: &redb::Database,
    batch: impl Iterator<Item = &'a (Vec<u8>, Vec<u8>)>,
    durability: redb::Durability,
) {
    let mut write = database.begin_write().expect("begin");
    write.set_durability(durability).expect("no savepoints");
    {
        let mut table = write.open_table(TABLE).expect("table");
        for (key, value) in batch {
            table.insert(key.as_slice(), value.as_slice()).expect("insert");
        }
    }
    write.commit().expect("commit");
}

impl Engine for Redb {
    fn get_many(&self, keys: &[Vec<u8>]) -> usize {
        let read = self.database.begin_read().expect("begin");
        let table = read.open_table(TABLE).expect("table");
        // The value is copied out, as a store must do to hand it on.
        keys.iter()
            .filter_map(|key| table.get(key.as_slice()).expect("read"))
            .map(|value| value.value().to_vec().len())
            .sum()
    }

    fn write(&self, batch: Batch) -> Ticket {
        let (answer, durable) = oneshot::channel();
        self.queue.as_ref().expect("open").send((batch, answer)).expect("the committer lives");
        Ticket::Answer(durable)
    }

    fn fill(&self, batch: Batch) {
        insert(&self.database, batch.iter(), redb::Durability::Immediate);
    }
}

/// The store that the product uses, with its partitions, expiry headers and locks per key.
pub struct Waggle {
    store: Arc<dyn Store>,
    partition: Partition,
}

impl Waggle {
    pub fn open(directory: &Path) -> Self {
        let options = EmbeddedOptions { cache_bytes: 256 << 20, ..EmbeddedOptions::default() };
        let engine = Embedded::open_with(directory, options).expect("waggle-kv opens");
        let partition = Partition::new("tenant", "default").expect("a good name");
        Self { store: engine.store(StoreOptions::default()), partition }
    }
}

impl Engine for Waggle {
    fn get_many(&self, keys: &[Vec<u8>]) -> usize {
        let keys: Vec<String> = keys.iter().cloned().map(text).collect();
        let values = now(self.store.get_many(&self.partition, &keys));
        values.iter().flatten().map(bytes::Bytes::len).sum()
    }

    fn write(&self, batch: Batch) -> Ticket {
        let entries = batch.into_iter().map(|(key, value)| (text(key), value.into())).collect();
        Ticket::Commit(now(self.store.set_many(&self.partition, entries)))
    }

    fn fill(&self, batch: Batch) {
        // Small enough for the store to write them in this thread.
        for part in batch.chunks(100) {
            let _: Ticket = self.write(part.to_vec());
        }
    }
}

fn text(key: Vec<u8>) -> String {
    String::from_utf8(key).expect("keys are text")
}

/// The result of a future that never waits, as those of the embedded store are.
fn now<T>(mut future: Pin<Box<dyn Future<Output = Result<T, waggle_kv::Error>> + Send + '_>>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.expect("the store works"),
        Poll::Pending => unreachable!("the embedded store answers at once"),
    }
}
