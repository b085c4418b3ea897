//! The embedded store: one engine in one directory, shared by any number of store labels.
//!
//! Writes are applied in the caller's thread; a background thread hands them to the operating system and flushes them to
//! the device, as soon as somebody waits for one (see `committer`). Reads run
//! in the caller's thread too: most are answered from memory, and a hop to another thread costs more than they do.

mod batch;
mod committer;
mod counting;
mod directory;
mod engine;
mod erase;
mod integrity;
mod purge;
mod record;
mod stripes;
mod sweeper;
mod view;

use crate::{Clock, Error, Store, StoreOptions, SystemClock};
use engine::Engine;
use std::{io, path::Path, sync::Arc, time::Duration};
use sweeper::Sweeper;
use view::View;

/// Bytes of data blocks kept in memory, for all labels of one engine.
const CACHE_BYTES: u64 = 128 * 1024 * 1024;
/// Bytes of recent writes kept in memory, per keyspace of the engine, before they go to a file of their own.
const MEMTABLE_BYTES: u64 = 64 * 1024 * 1024;
/// How often expired keys are looked for.
const SWEEP_INTERVAL_MS: u64 = 30_000;

/// Runs before each flush to the device; an error counts as the device's. A seam for tests.
pub type FlushHook = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// What an engine is opened with; the default is right for everything but tests.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// The clock that expiry is measured by.
    pub clock: Arc<dyn Clock>,
    /// Bytes of data blocks kept in memory.
    pub cache_bytes: u64,
    /// Bytes of recent writes kept in memory before they are written to a sorted file; fixed when the store is
    /// created.
    pub memtable_bytes: u64,
    /// How often expired keys are deleted in the background; they are gone for reads at once.
    pub sweep_interval: Duration,
    /// Where a test makes flushing fail or wait.
    pub before_flush: Option<FlushHook>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            cache_bytes: CACHE_BYTES,
            memtable_bytes: MEMTABLE_BYTES,
            sweep_interval: Duration::from_millis(SWEEP_INTERVAL_MS),
            before_flush: None,
        }
    }
}

/// An open engine. Cloning is cheap; the directory is free for others when the last clone and the last store of it
/// are dropped.
#[derive(Clone)]
pub struct Embedded {
    engine: Arc<Engine>,
    /// Ends its thread when the last clone is dropped.
    sweeper: Arc<Sweeper>,
}

impl Embedded {
    /// Opens the store in `directory`, creating it if it is not there. Blocks for the time it takes to read the
    /// journal, below a second as a rule.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NewerVersion`], [`Error::Damaged`], [`Error::NotAStore`],
    /// [`Error::NoPermission`], [`Error::Io`].
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with(directory, EmbeddedOptions::default())
    }

    /// As [`Embedded::open`], with everything that can be chosen.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(directory: &Path, options: EmbeddedOptions) -> Result<Self, Error> {
        let interval = options.sweep_interval;
        let engine = Arc::new(Engine::open(directory, options)?);
        let sweeper = Arc::new(Sweeper::start(&engine, interval)?);
        Ok(Self { engine, sweeper })
    }

    /// A store on this engine with options of its own. Stores of one engine share their data: what keeps labels
    /// apart is the label in the [`Partition`](crate::Partition).
    pub fn store(&self, options: StoreOptions) -> Arc<dyn Store> {
        Arc::new(View::new(self.clone(), options))
    }

    /// Deletes keys that have expired and returns how many; what the background does now and then.
    ///
    /// # Errors
    /// Those of a write.
    pub fn sweep(&self) -> Result<usize, Error> {
        self.sweeper.sweep(&self.engine)
    }

    /// How many expired keys have been deleted since the engine was opened; for metrics.
    pub fn swept_keys(&self) -> u64 {
        self.sweeper.swept_keys()
    }

    /// Makes everything applied durable and then takes no more writes, of any label. Closing twice is a success.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when flushing failed.
    pub async fn close(&self) -> Result<(), Error> {
        self.sweeper.stop();
        self.engine.refuse_writes();
        self.engine.applied().durable().await
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}
