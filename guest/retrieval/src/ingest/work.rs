//! What whoever has a lane does: the files that need something, oldest first, until there are none or it is time to let
//! others in.

use super::lane::Held;
use crate::key;
use crate::pipeline;
use crate::plan::{Need, Plan};
use crate::problem::Problem;
use crate::record::{Embedding, MemberEntry, StoreRecord};
use crate::recorded;
use crate::roster::Roster;
use crate::service::{Beside, Service};
use crate::settings::Bounds;
use waggle_conversation::Store;
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::VectorStoreId;
use waggle_platform::Platform;
use waggle_search::SearchSettings;

/// How much is done in one delivery: a host bounds the CPU time of each, and tenants take turns. A step is a page of chunks
/// or a file that is cut into them.
const STEPS_MAX: u32 = 16;
/// For how long, in milliseconds, models waited for included.
const SLICE_MS_MAX: u64 = 5_000;

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do about the file.
    More,
    /// There is more, and what was done was much.
    Heavy,
    /// There is nothing more to do about the file.
    Done,
}

/// What all files of a lane are taken in with.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) store: VectorStoreId,
    pub(super) settings: SearchSettings,
    pub(super) bounds: Bounds,
    /// The index that files are taken into.
    pub(super) target: Embedding,
    /// The one that is searched, where that is another.
    pub(super) current: Option<Embedding>,
    /// Whether a model endpoint that is away is waited for.
    pub(super) is_patient: bool,
}

impl Means {
    /// The name of an index of the vector store.
    pub(super) fn index(&self, generation: u32) -> String {
        index_name(self.store, generation)
    }

    /// The generations that are not about to go.
    pub(super) fn generations(&self) -> Vec<u32> {
        let current = self.current.as_ref().map(|current| current.generation);
        current.into_iter().chain([self.target.generation]).collect()
    }
}

/// The name of an index of a vector store.
pub(crate) fn index_name(store: VectorStoreId, generation: u32) -> String {
    format!("{store}.{generation}")
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// The record of a vector store that is not being deleted, without asking who wants to know.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn living(&self, store: VectorStoreId) -> Result<Option<StoreRecord>, Problem> {
        let record: Option<recorded::Recorded<StoreRecord>> =
            recorded::read(&self.store, &key::store(store.0)).await?;
        Ok(record.map(|record| record.value).filter(|record| !record.deleting))
    }

    /// Works on a lane that is held, for a while.
    ///
    /// # Errors
    /// Something failed that may go better later.
    pub(super) async fn work_lane(
        &self,
        held: &mut Held,
        is_patient: bool,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let store = held.store;
        let Some(record) = self.living(store).await? else { return Ok(()) };
        let settings = pipeline::settings(&self.platform).await?;
        let bounds = Bounds::read(&self.platform).await?;
        let record = match self.align(store, record, &settings, beside).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(problem) => return self.blame_first(held, (settings, bounds, is_patient), problem).await,
        };
        let Some(target) = record.target().cloned() else { return Ok(()) };
        let current = record.embedding.clone().filter(|current| *current != target);
        let means = Means { store, settings, bounds, target, current, is_patient };
        let begun_ms = self.platform.now_ms();
        let mut steps = 0;
        let entries = Roster::new(&self.store, key::members(store.0)).all().await?;
        for (page, entry, need) in Plan::new(entries).tasks(held.lane, means.target.generation) {
            loop {
                let passed_ms = self.platform.now_ms().saturating_sub(begun_ms);
                let is_over = steps >= STEPS_MAX || passed_ms >= SLICE_MS_MAX;
                if is_over || !self.renew(held).await? || self.living(store).await?.is_none() {
                    return Ok(());
                }
                steps += 1;
                match self.step(&means, page, &entry, need).await? {
                    Step::More => {}
                    Step::Heavy => return Ok(()),
                    Step::Done => break,
                }
            }
        }
        self.switch(store).await
    }

    /// Counts what keeps all files from being taken in as a failure of the first, so that they do not wait for ever.
    async fn blame_first(
        &self,
        held: &Held,
        (settings, bounds, is_patient): (SearchSettings, Bounds, bool),
        problem: Problem,
    ) -> Result<(), Problem> {
        let nowhere = Embedding { model: String::new(), asked: None, dimensions: 0, generation: 0 };
        let means = Means { store: held.store, settings, bounds, target: nowhere, current: None, is_patient };
        let entries = Roster::new(&self.store, key::members(held.store.0)).all().await?;
        let tasks = Plan::new(entries).tasks(held.lane, 0);
        let Some((page, entry, _)) = tasks.iter().find(|(_, _, need)| *need == Need::Take) else {
            return Err(problem);
        };
        self.blame(&means, (*page, entry), problem).await
    }

    async fn step(&self, means: &Means, page: u32, entry: &MemberEntry, need: Need) -> Result<Step, Problem> {
        match need {
            Need::Forget => self.forget(means.store, &means.generations(), page, entry).await,
            Need::Take => self.take(means, page, entry).await,
        }
    }
}
