//! Who has a lane of a vector store. Holding it keeps others from doing the same work twice; that it is done right does not
//! depend on it.

use crate::key;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::record::{Lane, StoreRecord};
use crate::recorded::{self, Recorded};
use crate::roster::Roster;
use crate::route::WorkRoute;
use crate::service::{Beside, Service};
use waggle_conversation::Store;
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::{ApiError, Nonce, VectorStoreId};
use waggle_platform::Platform;

/// For how long somebody is taken to be at work who has last said so, in milliseconds: longer than a step takes, an
/// embedding model that answers slowly included.
const LEASE_MS: u64 = 90_000;
/// How often an heir looks whether the lane is free, in milliseconds.
const LOOK_MS: u64 = 500;
/// For how long, until it has itself called again.
const HEIR_WAIT_MS_MAX: u64 = 300_000;
/// How long work waits that failed and that no queue takes, in milliseconds.
pub(super) const RETRY_MS: u64 = 1_000;
/// How often in a row work on a lane may fail until nobody is called for it any more. A single file is given up before.
const FAILURES_MAX: u32 = 12;
/// How often a lane is tried for when others are at it.
const TRIES_MAX: usize = 64;

/// A lane that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) store: VectorStoreId,
    pub(super) lane: u8,
    state: Lane,
    lost: bool,
}

/// What came of work on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It got on.
    GotOn,
    /// It waits for a model endpoint, which is bounded by time.
    Waits,
    /// It failed.
    Failed,
}

/// Whether a lane was to be had.
pub(super) enum Taken {
    Held(Held),
    /// Somebody is at work there and looks once more before they are done.
    Busy,
}

/// 409: the host is to come again.
fn busy() -> Problem {
    let error = ApiError::invalid("Somebody else is at this work.");
    ApiError { status: 409, code: Some("ingestion_running"), ..error }.into()
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Takes hold of a lane.
    ///
    /// # Errors
    /// The store's; 409 when it is awaited for too long.
    pub(super) async fn take_lane(
        &self,
        store: VectorStoreId,
        lane: u8,
        ticket: Nonce,
    ) -> Result<Taken, Problem> {
        let key = key::lane(store.0, lane);
        let ticket = ticket.to_string();
        let (mut waited_ms, mut tries) = (0, 0);
        while waited_ms <= HEIR_WAIT_MS_MAX && tries < TRIES_MAX {
            let seen: Option<Recorded<Lane>> = recorded::read(&self.store, &key).await?;
            let now_ms = self.platform.now_ms();
            let failures = seen.as_ref().map_or(0, |seen| seen.value.failures);
            let held = Lane { until_ms: now_ms + LEASE_MS, ticket: ticket.clone(), heir: None, failures };
            let is_free = seen.as_ref().is_none_or(|seen| {
                // The same work is delivered once more only when who had it before is gone.
                seen.value.until_ms <= now_ms || seen.value.ticket == ticket
            });
            if is_free {
                tries += 1;
                let stored = match &seen {
                    Some(seen) => recorded::replace(&self.store, &key, seen, &held).await?,
                    None => recorded::create(&self.store, &key, &held).await?,
                };
                if stored {
                    return Ok(Taken::Held(Held { store, lane, state: held, lost: false }));
                }
            } else if seen.is_some_and(|seen| seen.value.heir.as_ref() == Some(&ticket)) {
                self.platform.sleep(LOOK_MS).await;
                waited_ms += LOOK_MS;
            } else {
                return Ok(Taken::Busy);
            }
        }
        Err(busy())
    }

    /// Has somebody wait for the lane who goes on if this one dies or fails, unless that has come to nothing too often: then
    /// it is left to whoever looks.
    ///
    /// # Errors
    /// The store's; nobody takes the work.
    pub(super) async fn name_heir(&self, held: &mut Held, beside: &mut Beside) -> Result<(), Problem> {
        if held.state.failures >= FAILURES_MAX {
            return Ok(());
        }
        let heir = self.nonce();
        let next = Lane { heir: Some(heir.to_string()), ..held.state.clone() };
        if self.put_lane(held, next).await? {
            self.hand_over(WorkRoute::Ingest(held.store, held.lane, heir), beside).await?;
        }
        Ok(())
    }

    /// Says that the lane is still worked on. `false` when another has it: whoever is told so stops.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn renew(&self, held: &mut Held) -> Result<bool, Problem> {
        let until_ms = self.platform.now_ms() + LEASE_MS;
        if until_ms.saturating_sub(held.state.until_ms) < LEASE_MS / 10 {
            return Ok(!held.lost);
        }
        let next = Lane { until_ms, ..held.state.clone() };
        self.put_lane(held, next).await
    }

    /// Lets go of the lane, and notes what has come of it.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn let_go(&self, mut held: Held, outcome: Outcome) -> Result<(), Problem> {
        let failures = match outcome {
            Outcome::GotOn => 0,
            Outcome::Waits => held.state.failures,
            Outcome::Failed => held.state.failures.saturating_add(1),
        };
        let next = Lane { until_ms: 0, heir: None, failures, ..held.state.clone() };
        self.put_lane(&mut held, next).await?;
        Ok(())
    }

    async fn put_lane(&self, held: &mut Held, next: Lane) -> Result<bool, Problem> {
        let (before, bytes) = (recorded::encode(&held.state), recorded::encode(&next));
        let key = key::lane(held.store.0, held.lane);
        if held.lost || !self.store.swap(&key, Some(&before), bytes).await? {
            held.lost = true;
            return Ok(false);
        }
        held.state = next;
        Ok(true)
    }

    /// Has the lane gone on with where there is something left to do.
    ///
    /// # Errors
    /// The store's; nobody takes the work.
    pub(super) async fn call_on(
        &self,
        store: VectorStoreId,
        lane: u8,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let record: Option<Recorded<StoreRecord>> = recorded::read(&self.store, &key::store(store.0)).await?;
        let Some(record) = record.filter(|record| !record.value.deleting) else { return Ok(()) };
        let entries = Roster::new(&self.store, key::members(store.0)).all().await?;
        let target = record.value.target().map_or(0, |target| target.generation);
        if Plan::new(entries).tasks(lane, target).is_empty() {
            return Ok(());
        }
        self.call_lanes(store, &[lane], beside).await
    }
}
