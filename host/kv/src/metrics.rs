//! What a store counts of itself.

use crate::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use waggle_measure::{Bounds, Counter, Histogram};

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// One value, or whether there is one.
    Get,
    /// Several values.
    GetMany,
    /// A page of keys.
    Keys,
    /// One value written.
    Set,
    /// One key deleted.
    Delete,
    /// Several values written.
    SetMany,
    /// Several keys deleted.
    DeleteMany,
    /// A number raised, or several with bounds.
    Increment,
    /// A compare-and-swap, of one key or several.
    Swap,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::GetMany,
        Self::Keys,
        Self::Set,
        Self::Delete,
        Self::SetMany,
        Self::DeleteMany,
        Self::Increment,
        Self::Swap,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Keys => "keys",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::SetMany => "set_many",
            Self::DeleteMany => "delete_many",
            Self::Increment => "increment",
            Self::Swap => "swap",
        }
    }
}

/// The operations of one kind.
#[derive(Debug)]
pub struct OperationMetrics {
    /// How long they took, however they ended. Of a write: until it was applied, not until it was durable.
    pub durations: Histogram,
    /// Those that failed: the store could not, or the request was out of bounds.
    pub failed: Counter,
}

impl Default for OperationMetrics {
    fn default() -> Self {
        Self { durations: Histogram::new(Bounds::OPERATIONS), failed: Counter::new() }
    }
}

/// What one store label counts.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    operations: [OperationMetrics; Operation::ALL.len()],
    /// Of an embedded store: how long flushes took. Labels of one engine have the same.
    pub flushes: Option<Arc<Histogram>>,
}

impl StoreMetrics {
    /// For a store that flushes by itself.
    pub(crate) fn with_flushes(flushes: Arc<Histogram>) -> Self {
        Self { flushes: Some(flushes), ..Self::default() }
    }

    /// The operations of one kind.
    #[must_use]
    pub fn of(&self, operation: Operation) -> &OperationMetrics {
        &self.operations[operation as usize]
    }

    /// Measures one operation.
    pub(crate) async fn measured<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let outcome = work.await;
        let metrics = self.of(operation);
        metrics.durations.observe(began.elapsed());
        if outcome.is_err() {
            metrics.failed.increment();
        }
        outcome
    }
}
