//! `/v1/files`: list, read, delete.

use crate::blob;
use crate::download::Download;
use crate::key;
use crate::problem::Problem;
use crate::query::{PageQuery, list_json};
use crate::record::{File, FileEntry};
use crate::recorded::{self, Recorded, read_many};
use crate::roster::Roster;
use crate::service::{Answer, Beside, Service};
use serde::Serialize;
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::{ApiError, FileId, Nonce, VectorStoreId, json};
use waggle_platform::{Platform, Reply};

/// A file as clients read it.
#[derive(Debug, Serialize)]
pub(crate) struct FileObject<'a> {
    id: FileId,
    object: &'static str,
    bytes: u64,
    created_at: u64,
    expires_at: Option<u64>,
    filename: &'a str,
    purpose: &'a str,
    status: &'static str,
    status_details: Option<&'static str>,
}

impl<'a> FileObject<'a> {
    pub(crate) fn new(id: FileId, file: &'a File) -> Self {
        Self {
            id,
            object: "file",
            bytes: file.bytes,
            created_at: file.created_at,
            expires_at: file.expires_at,
            filename: &file.filename,
            purpose: &file.purpose,
            status: "processed",
            status_details: None,
        }
    }
}

/// That something is deleted.
#[derive(Debug, Serialize)]
pub(crate) struct Deleted<T> {
    id: T,
    object: &'static str,
    deleted: bool,
}

/// The answer to a deletion.
pub(crate) fn deleted_json<T: Serialize>(id: T, object: &'static str) -> Reply {
    let mut out = Vec::with_capacity(96);
    json::push(&mut out, &Deleted { id, object, deleted: true });
    Reply::json(out)
}

pub(crate) fn file_not_found(id: FileId) -> ApiError {
    ApiError::not_found("File", &id.to_string())
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// The record of a file that is there for the viewer.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn file(&self, viewer: &Viewer, id: FileId) -> Result<Option<File>, Problem> {
        let file: Option<Recorded<File>> = recorded::read(&self.store, &key::file(id.0)).await?;
        let now_s = self.now_s();
        Ok(file.map(|file| file.value).filter(|file| viewer.sees(&file.user) && file.is_there(now_s)))
    }

    pub(crate) async fn get_file(&self, viewer: &Viewer, id: FileId) -> Result<Reply, Problem> {
        let file = self.file(viewer, id).await?.ok_or_else(|| file_not_found(id))?;
        let mut out = Vec::with_capacity(256);
        json::push(&mut out, &FileObject::new(id, &file));
        Ok(Reply::json(out))
    }

    pub(crate) async fn get_file_content(
        &self,
        viewer: &Viewer,
        id: FileId,
    ) -> Result<Answer<S, P>, Problem> {
        let file = self.file(viewer, id).await?.ok_or_else(|| file_not_found(id))?;
        let (store, platform) = (self.store.clone(), self.platform.clone());
        Ok(Answer::Stream(Download { store, platform, blob: file.blob, parts: file.parts }))
    }

    pub(crate) async fn list_files(&self, viewer: &Viewer, query: &str) -> Result<Reply, Problem> {
        let query = PageQuery::read_files(query)?;
        let owner = query.on_behalf_of(viewer)?.owner();
        let roster = Roster::new(&self.store, key::files(&key::owner(&owner)));
        let entries: Vec<(u32, FileEntry)> = roster.all().await?;
        let now_s = self.now_s();
        let is_listed = |entry: &FileEntry| {
            let is_there = entry.ready && entry.expires_at.is_none_or(|at| at > now_s);
            is_there && query.purpose.as_ref().is_none_or(|purpose| entry.purpose == *purpose)
        };
        let entries = entries.into_iter().map(|(_, entry)| entry).filter(is_listed).collect();
        let (page, has_more) = query.select(entries, |entry: &FileEntry| FileId(entry.id).to_string())?;
        let keys = page.iter().map(|entry| key::file(entry.id)).collect();
        let files: Vec<Option<File>> = read_many(&self.store, keys).await?;
        let found = page.iter().zip(&files).filter_map(|(entry, file)| {
            let file = file.as_ref().filter(|file| file.is_there(now_s))?;
            Some(FileObject::new(FileId(entry.id), file))
        });
        let objects: Vec<FileObject<'_>> = found.collect();
        Ok(Reply::json(list_json(&objects, |object| object.id.to_string(), has_more)))
    }

    pub(crate) async fn delete_file(
        &self,
        viewer: &Viewer,
        id: FileId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let file: Option<Recorded<File>> = recorded::read(&self.store, &key::file(id.0)).await?;
        let now_s = self.now_s();
        // A deletion that was interrupted goes on when it is asked for again.
        let is_there = |file: &File| viewer.sees(&file.user) && (file.deleting || file.is_there(now_s));
        let file = file.map(|file| file.value).filter(is_there).ok_or_else(|| file_not_found(id))?;
        self.erase_file(&key::owner(&file.user), file.page, id.0, beside).await?;
        Ok(deleted_json(id, "file"))
    }

    /// Erases a file, or what there is of one that was not stored to its end. Nobody sees it from the first step on.
    ///
    /// # Errors
    /// Store or index failed.
    pub(crate) async fn erase_file(
        &self,
        owner: &str,
        page: u32,
        id: Nonce,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let key = key::file(id);
        let changed = recorded::change(&self.store, &key, |file: &mut File| {
            let begins = !file.deleting;
            file.deleting = true;
            begins
        });
        let changed = changed.await?.value();
        // From here on whoever clears away finds it, should this end early.
        let roster = Roster::new(&self.store, key::files(owner));
        roster
            .update(page, |entries: &mut Vec<FileEntry>| {
                let entry = entries.iter_mut().find(|entry| entry.id == id && entry.ready);
                entry.map(|entry| entry.ready = false).is_some()
            })
            .await?;
        let unused = match changed {
            Some(file) => {
                for store in &file.stores {
                    self.detach(VectorStoreId(*store), id, beside).await?;
                }
                blob::release(&self.store, owner, &file.hash, id).await?
            }
            None => vec![id],
        };
        for blob in unused {
            blob::erase(&self.store, blob).await?;
        }
        self.store.delete_many(vec![key]).await?;
        roster
            .update(page, |entries: &mut Vec<FileEntry>| {
                let count = entries.len();
                entries.retain(|entry| entry.id != id);
                entries.len() < count
            })
            .await?;
        Ok(())
    }
}
