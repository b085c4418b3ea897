//! `DELETE /v1/retrieval/users/{user}/data`: all files and vector stores of a user go.

use crate::key;
use crate::problem::Problem;
use crate::record::{FileEntry, StoreEntry, StoreRecord};
use crate::recorded::read_many;
use crate::roster::Roster;
use crate::service::{Beside, Service};
use serde::Serialize;
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::{ApiError, VectorStoreId, json};
use waggle_platform::{Platform, Reply};

/// How many files, and how many vector stores, one call erases. A user who has more is called for again.
const ERASED_MAX: usize = 500;

#[derive(Serialize)]
struct Erased<'a> {
    object: &'static str,
    user: &'a str,
    files: usize,
    vector_stores: usize,
    /// Whether there is more, so that the same is to be asked for again.
    has_more: bool,
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    pub(crate) async fn erase_user(
        &self,
        caller: &Viewer,
        user: &str,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let unknown = || ApiError::not_found("User", user);
        let subject = Viewer::user(user).ok_or_else(unknown)?;
        if !caller.is_service() && *caller != subject {
            return Err(unknown().into());
        }
        let owner = key::owner(&subject.owner());
        let stores: Vec<(u32, StoreEntry)> = Roster::new(&self.store, key::stores(&owner)).all().await?;
        let keys = stores.iter().map(|(_, entry)| key::store(entry.id)).collect();
        let records: Vec<Option<StoreRecord>> = read_many(&self.store, keys).await?;
        // What is being deleted stays in the list until it is swept: it comes after all others, and counts no second time.
        let mut begun = Vec::new();
        let mut unbegun = Vec::new();
        for ((_, entry), record) in stores.iter().zip(&records) {
            let is_begun = record.as_ref().is_some_and(|record| record.deleting);
            let group = if is_begun { &mut begun } else { &mut unbegun };
            group.push(VectorStoreId(entry.id));
        }
        for id in unbegun.iter().chain(&begun).take(ERASED_MAX) {
            self.begin_deletion(*id, beside).await?;
        }
        let files: Vec<(u32, FileEntry)> = Roster::new(&self.store, key::files(&owner)).all().await?;
        for (page, entry) in files.iter().take(ERASED_MAX) {
            self.erase_file(&owner, *page, entry.id, beside).await?;
        }
        let erased = Erased {
            object: "user.data.deleted",
            user,
            files: files.len().min(ERASED_MAX),
            vector_stores: unbegun.len().min(ERASED_MAX),
            has_more: files.len() > ERASED_MAX || unbegun.len() > ERASED_MAX,
        };
        let mut out = Vec::with_capacity(128);
        json::push(&mut out, &erased);
        Ok(Reply::json(out))
    }
}
