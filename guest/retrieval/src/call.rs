//! Handing work over: to the host's queue, or where there is none to this very request.

use crate::key;
use crate::plan::Plan;
use crate::problem::{Problem, not_queued};
use crate::record::StoreRecord;
use crate::recorded::{self, Changed};
use crate::route::WorkRoute;
use crate::service::{Beside, Service};
use waggle_conversation::Store;
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::VectorStoreId;
use waggle_platform::{Platform, QueueFailure};

/// After how long somebody is called once more for files that do not get on, in milliseconds: whoever was called may have
/// used up its deliveries.
const CALL_AGAIN_MS: u64 = 60_000;

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Hands work over; `beside` gets it where there is nobody who takes it.
    ///
    /// # Errors
    /// Nobody has taken it, though there is a queue.
    pub(crate) async fn hand_over(&self, work: WorkRoute, beside: &mut Beside) -> Result<(), Problem> {
        match self.platform.enqueue(&work.path()).await {
            Ok(()) => Ok(()),
            Err(QueueFailure::Absent) => {
                beside.push(work);
                Ok(())
            }
            Err(failure) => Err(not_queued(&failure)),
        }
    }

    /// Has these lanes of a vector store worked on.
    ///
    /// # Errors
    /// As [`hand_over`](Self::hand_over).
    pub(crate) async fn call_lanes(
        &self,
        store: VectorStoreId,
        lanes: &[u8],
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        for lane in lanes {
            self.hand_over(WorkRoute::Ingest(store, *lane, self.nonce()), beside).await?;
        }
        Ok(())
    }

    /// Calls somebody once more where files have not got on for a while. It is no part of what was asked, so that it fails
    /// is told to the log alone.
    pub(crate) async fn look_after(
        &self,
        id: VectorStoreId,
        record: &StoreRecord,
        plan: &Plan,
        beside: &mut Beside,
    ) {
        let target = record.target().map_or(0, |target| target.generation);
        let lanes = plan.lanes(target);
        let newest = plan.seen().map(|entry| entry.created_at).max().unwrap_or_default();
        let now_ms = self.platform.now_ms();
        let called_ms = record.called_at_ms.max(newest * 1000);
        if lanes.is_empty() || now_ms.saturating_sub(called_ms) < CALL_AGAIN_MS {
            return;
        }
        if let Err(problem) = self.call_again(id, &lanes, beside).await {
            let reason = problem.log.unwrap_or(problem.error.message);
            self.platform.log(&format!("vector_store={id} nobody was called again: {reason}"));
        }
    }

    /// Calls somebody, unless another has just done so.
    ///
    /// # Errors
    /// The store's; as [`hand_over`](Self::hand_over).
    pub(crate) async fn call_again(
        &self,
        id: VectorStoreId,
        lanes: &[u8],
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let now_ms = self.platform.now_ms();
        let changed = recorded::change(&self.store, key::store(id.0), |record: &mut StoreRecord| {
            let is_due = now_ms.saturating_sub(record.called_at_ms) >= CALL_AGAIN_MS;
            record.called_at_ms = now_ms;
            is_due
        });
        match changed.await? {
            Changed::Stored(_) => self.call_lanes(id, lanes, beside).await,
            Changed::Unwanted(_) | Changed::Missing => Ok(()),
        }
    }
}
