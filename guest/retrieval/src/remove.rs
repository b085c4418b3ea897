//! Taking a file out of a vector store: nobody sees it from the first step on; a lane does the rest.

use crate::ingest::{index_name, or_gone};
use crate::key;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::record::{Member, MemberEntry, StoreRecord, Wish};
use crate::recorded::{self, Recorded};
use crate::roster::Roster;
use crate::service::{Beside, Service};
use waggle_conversation::Store;
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::{FileId, Nonce, VectorStoreId};
use waggle_platform::Platform;

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Changes the entry of a file; `false` when there is none, or nothing to change.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn change_entry(
        &self,
        store: VectorStoreId,
        file: Nonce,
        member: &Member,
        mut change: impl FnMut(&mut MemberEntry) -> bool,
    ) -> Result<bool, Problem> {
        let roster = Roster::new(&self.store, key::members(store.0));
        let changed = roster.update(member.page, |entries: &mut Vec<MemberEntry>| {
            let same = |entry: &&mut MemberEntry| entry.id == file && entry.version == member.version;
            entries.iter_mut().find(same).is_some_and(&mut change)
        });
        Ok(changed.await?)
    }

    /// Has nobody see a file in a vector store any more; `false` when nobody does.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn hide(
        &self,
        store: VectorStoreId,
        file: Nonce,
        member: &Member,
    ) -> Result<bool, Problem> {
        let hide = |entry: &mut MemberEntry| {
            let is_seen = entry.wish != Wish::Removing;
            entry.wish = Wish::Removing;
            is_seen
        };
        self.change_entry(store, file, member, hide).await
    }

    /// Takes a file out of a vector store; `false` when it is not in there.
    ///
    /// # Errors
    /// Store or index failed.
    pub(crate) async fn detach(
        &self,
        store: VectorStoreId,
        file: Nonce,
        beside: &mut Beside,
    ) -> Result<bool, Problem> {
        let member: Option<Recorded<Member>> =
            recorded::read(&self.store, &key::member(store.0, file)).await?;
        let Some(member) = member.map(|member| member.value) else { return Ok(false) };
        if !self.hide(store, file, &member).await? {
            return Ok(false);
        }
        let record: Option<Recorded<StoreRecord>> = recorded::read(&self.store, &key::store(store.0)).await?;
        let Some(record) = record.map(|record| record.value).filter(|record| !record.deleting) else {
            return Ok(true);
        };
        let indexes = record.embedding.iter().chain(&record.next);
        for index in indexes {
            let name = index_name(store, index.generation);
            or_gone(self.index.remove(&name, vec![FileId(file).to_string()]).await)?;
        }
        self.call_quietly(store, &record, beside).await?;
        Ok(true)
    }

    /// Has done what is left to do. Nothing of what was asked for depends on it, so a queue that takes nothing is told to
    /// the log alone.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn call_quietly(
        &self,
        store: VectorStoreId,
        record: &StoreRecord,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let entries = Roster::new(&self.store, key::members(store.0)).all().await?;
        let lanes = Plan::new(entries).lanes(record.target().map_or(0, |target| target.generation));
        if let Err(problem) = self.call_lanes(store, &lanes, beside).await {
            let reason = problem.log.unwrap_or(problem.error.message);
            self.platform.log(&format!("vector_store={store} nobody was called: {reason}"));
        }
        Ok(())
    }
}
