//! One file on its way into an index: cut into pieces, which wait in pages until they are all there; and what is noted of it.

use super::work::{Means, Step};
use crate::blob;
use crate::key;
use crate::pipeline::{Piece, invalid};
use crate::problem::Problem;
use crate::record::{File, LastError, Member, MemberEntry, Split, Wish};
use crate::recorded::{self, Recorded, encode};
use crate::roster::Roster;
use crate::service::Service;
use waggle_conversation::Store;
use waggle_index::{Index, IndexError};
use waggle_model::transport::Upstream;
use waggle_openai::FileId;
use waggle_platform::Platform;

/// How many pieces a page has, but for the last: what is embedded, staged and done again at once.
pub(super) const PAGE_PIECES: u32 = 64;

/// How many bytes a file has whose cutting is a step like any other.
const LIGHT_BYTES_MAX: u64 = 256 << 10;

/// A file, for one step: where its entry is, the entry, its record, and what it is taken in with.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    pub(super) means: &'a Means,
    pub(super) page: u32,
    pub(super) entry: &'a MemberEntry,
    pub(super) member: Member,
}

impl Taking<'_> {
    pub(super) fn key(&self) -> String {
        key::member(self.means.store.0, self.entry.id)
    }

    /// The name of its group.
    pub(super) fn group(&self) -> String {
        FileId(self.entry.id).to_string()
    }

    fn chunks_key(&self, page: u32) -> String {
        key::chunks(self.means.store.0, self.entry.id, self.entry.version, page)
    }
}

/// Whether two entries are of the same addition.
fn is_same(one: &MemberEntry, other: &MemberEntry) -> bool {
    one.id == other.id && one.version == other.version
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Cuts a file into pieces and keeps them.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn split_file(&self, taking: &Taking<'_>) -> Result<Step, Problem> {
        let read: Option<Recorded<File>> = recorded::read(&self.store, &key::file(taking.entry.id)).await?;
        let Some(file) = read.map(|file| file.value).filter(|file| file.is_there(self.now_s())) else {
            return self.fail(taking, invalid("The file is not there any more.")).await;
        };
        let Some(bytes) = blob::whole(&self.store, file.blob, file.parts).await? else {
            return self.fail(taking, invalid("The file's content is not there any more.")).await;
        };
        // Should this end the instance, it counts.
        self.note(taking, |member| member.attempts += 1).await?;
        let model = &taking.means.target.model;
        let pieces = self.split(&file, bytes, taking.member.strategy, &taking.means.bounds, model);
        let pieces = match pieces {
            Ok(pieces) if pieces.is_empty() => {
                return self.fail(taking, invalid("The file has no text.")).await;
            }
            Ok(pieces) => pieces,
            Err(error) => return self.fail(taking, error).await,
        };
        let split = self.keep_pieces(taking, &pieces).await?;
        self.note(taking, |member| {
            member.split = Some(split);
            member.got_on();
        })
        .await?;
        Ok(if file.bytes > LIGHT_BYTES_MAX { Step::Heavy } else { Step::More })
    }

    async fn keep_pieces(&self, taking: &Taking<'_>, pieces: &[Piece]) -> Result<Split, Problem> {
        let mut pages = 0;
        for page in pieces.chunks(PAGE_PIECES as usize) {
            self.store.set_many(vec![(taking.chunks_key(pages), encode(&page))]).await?;
            pages += 1;
        }
        let bytes = pieces.iter().map(|piece| (piece.heading.len() + piece.text.len()) as u64).sum();
        Ok(Split { chunks: u32::try_from(pieces.len()).unwrap_or(u32::MAX), pages, bytes })
    }

    /// The pieces of one page: as they wait, or from an index that has them; `None` when they are nowhere.
    ///
    /// # Errors
    /// Store or index failed.
    pub(super) async fn pieces(
        &self,
        taking: &Taking<'_>,
        split: Split,
        page: u32,
    ) -> Result<Option<Vec<Piece>>, Problem> {
        if split.pages > 0 {
            let read: Option<Recorded<Vec<Piece>>> =
                recorded::read(&self.store, &taking.chunks_key(page)).await?;
            return Ok(read.map(|read| read.value));
        }
        let kept = taking.means.current.as_ref().map(|current| current.generation);
        let Some(generation) = kept.filter(|kept| taking.entry.published.contains(kept)) else {
            return Ok(None);
        };
        let (index, start) = (taking.means.index(generation), page * PAGE_PIECES);
        match self.index.read(&index, &taking.group(), start, PAGE_PIECES).await {
            Ok(chunks) => {
                let piece = |chunk: waggle_index::Chunk| Piece { heading: chunk.heading, text: chunk.text };
                Ok(Some(chunks.into_iter().map(piece).collect()))
            }
            Err(IndexError::NoSuchGroup | IndexError::NoSuchIndex) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the record of a file, if it still is of the same addition; what it is then.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn note(
        &self,
        taking: &Taking<'_>,
        mut change: impl FnMut(&mut Member),
    ) -> Result<Option<Member>, Problem> {
        let version = taking.entry.version;
        let changed = recorded::change(&self.store, taking.key(), |member: &mut Member| {
            let is_same = member.version == version;
            if is_same {
                change(member);
            }
            is_same
        });
        let changed = changed.await?;
        Ok(if changed.is_stored() { changed.value() } else { None })
    }

    /// Changes the entry of a file that is still to be found; whether it is.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn mark(
        &self,
        taking: &Taking<'_>,
        mut change: impl FnMut(&mut MemberEntry),
    ) -> Result<bool, Problem> {
        let roster = Roster::new(&self.store, key::members(taking.means.store.0));
        let marked = roster.update(taking.page, |entries: &mut Vec<MemberEntry>| {
            let found = entries.iter_mut().find(|other| is_same(other, taking.entry));
            match found.filter(|found| found.wish == Wish::Live) {
                Some(found) => {
                    change(found);
                    true
                }
                None => false,
            }
        });
        Ok(marked.await?)
    }

    /// Gives a file up, for a reason that is shown.
    ///
    /// # Errors
    /// Store or index failed.
    pub(super) async fn fail(&self, taking: &Taking<'_>, error: LastError) -> Result<Step, Problem> {
        self.note(taking, |member| {
            member.last_error = Some(error.clone());
            member.got_on();
            member.split = None;
        })
        .await?;
        self.mark(taking, |entry| {
            entry.wish = Wish::Failed;
            entry.published.clear();
            entry.bytes = 0;
        })
        .await?;
        for generation in taking.means.generations() {
            let index = taking.means.index(generation);
            super::forget::or_gone(self.index.remove(&index, vec![taking.group()]).await)?;
        }
        self.erase_pages(taking.means.store, taking.entry).await?;
        Ok(Step::Done)
    }
}
