//! What a backend counts of itself.

use crate::VectorError;
use std::{future::Future, time::Instant};
use waggle_measure::{Bounds, Counter, Gauge, Histogram, HistogramSnapshot};

/// What is asked of indexes; the functions of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes an index.
    Create,
    /// What an index holds.
    Describe,
    /// Names of indexes.
    ListIndexes,
    /// Removes an index.
    DropIndex,
    /// Adds chunks.
    Stage,
    /// How many chunks are staged.
    Staged,
    /// Makes a version the one that is found.
    Publish,
    /// Forgets what was staged.
    Discard,
    /// Removes groups.
    Remove,
    /// Changes a group's attributes.
    SetAttributes,
    /// Names of groups.
    ListGroups,
    /// Chunks of a group.
    Read,
    /// A search.
    Search,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Describe,
        Self::ListIndexes,
        Self::DropIndex,
        Self::Stage,
        Self::Staged,
        Self::Publish,
        Self::Discard,
        Self::Remove,
        Self::SetAttributes,
        Self::ListGroups,
        Self::Read,
        Self::Search,
    ];

    /// Its name in metrics and spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Describe => "describe",
            Self::ListIndexes => "list_indexes",
            Self::DropIndex => "drop_index",
            Self::Stage => "stage",
            Self::Staged => "staged",
            Self::Publish => "publish",
            Self::Discard => "discard",
            Self::Remove => "remove",
            Self::SetAttributes => "set_attributes",
            Self::ListGroups => "list_groups",
            Self::Read => "read",
            Self::Search => "search",
        }
    }
}

/// The operations of one kind at one moment.
#[derive(Clone, Debug)]
pub struct OperationSnapshot {
    /// Which.
    pub operation: Operation,
    /// How long they took, however they ended; of a change, until it was durable.
    pub durations: HistogramSnapshot,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that were against a bound, over a limit, or of what is not there.
    pub refused: u64,
    /// Those that could not be done now, or for the host's own trouble.
    pub failed: u64,
    /// Those that met what cannot be read.
    pub damaged: u64,
}

/// What a backend counts, at one moment.
#[derive(Clone, Debug)]
pub struct VectorSnapshot {
    /// One entry of each [`Operation`].
    pub operations: Vec<OperationSnapshot>,
    /// How long flushes of changes to the device took.
    pub flushes: HistogramSnapshot,
    /// Indexes in memory.
    pub loaded_indexes: u64,
    /// Published chunks of them.
    pub loaded_chunks: u64,
    /// About how much memory they take, bytes.
    pub memory_bytes: u64,
    /// Indexes that were read into memory.
    pub loads: u64,
    /// Indexes that made room for others.
    pub evictions: u64,
    /// Parts of indexes that were merged in the background.
    pub merges: u64,
}

/// The counters behind [`OperationSnapshot`].
#[derive(Debug)]
struct OperationMetrics {
    durations: Histogram,
    succeeded: Counter,
    refused: Counter,
    failed: Counter,
    damaged: Counter,
}

impl Default for OperationMetrics {
    fn default() -> Self {
        Self {
            durations: Histogram::new(Bounds::OPERATIONS),
            succeeded: Counter::new(),
            refused: Counter::new(),
            failed: Counter::new(),
            damaged: Counter::new(),
        }
    }
}

/// The counters behind [`VectorSnapshot`].
#[derive(Debug)]
pub struct Metrics {
    operations: [OperationMetrics; Operation::ALL.len()],
    pub(crate) flushes: Histogram,
    pub(crate) loaded_indexes: Gauge,
    pub(crate) loads: Counter,
    pub(crate) evictions: Counter,
    pub(crate) merges: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            operations: std::array::from_fn(|_operation| OperationMetrics::default()),
            flushes: Histogram::new(Bounds::OPERATIONS),
            loaded_indexes: Gauge::new(),
            loads: Counter::new(),
            evictions: Counter::new(),
            merges: Counter::new(),
        }
    }
}

impl Metrics {
    /// Measures one operation.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn measured<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, VectorError>>,
    ) -> Result<T, VectorError> {
        let began = Instant::now();
        let outcome = work.await;
        let metrics = &self.operations[operation as usize];
        metrics.durations.observe(began.elapsed());
        let counter = match &outcome {
            Ok(_) => &metrics.succeeded,
            Err(VectorError::Damaged(_)) => &metrics.damaged,
            Err(VectorError::Unavailable(_) | VectorError::Other(_)) => &metrics.failed,
            Err(_) => &metrics.refused,
        };
        counter.increment();
        outcome
    }

    /// All of it, with what the caller knows of memory.
    #[must_use]
    pub fn snapshot(&self, loaded_chunks: u64, memory_bytes: u64) -> VectorSnapshot {
        let operations = Operation::ALL.into_iter().zip(&self.operations);
        let operations = operations.map(|(operation, metrics)| OperationSnapshot {
            operation,
            durations: metrics.durations.snapshot(),
            succeeded: metrics.succeeded.get(),
            refused: metrics.refused.get(),
            failed: metrics.failed.get(),
            damaged: metrics.damaged.get(),
        });
        VectorSnapshot {
            operations: operations.collect(),
            flushes: self.flushes.snapshot(),
            loaded_indexes: u64::try_from(self.loaded_indexes.get()).unwrap_or_default(),
            loaded_chunks,
            memory_bytes,
            loads: self.loads.get(),
            evictions: self.evictions.get(),
            merges: self.merges.get(),
        }
    }
}
