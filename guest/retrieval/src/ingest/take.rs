//! How a file gets into an index: cut, embedded and staged a page at a time, published at once. Each step finds out from
//! what is stored how far the last one has come.

use super::file::{PAGE_PIECES, Taking};
use super::work::{Means, Step};
use crate::key;
use crate::pipeline::{Piece, note, server_error};
use crate::problem::Problem;
use crate::record::{Member, MemberEntry, Split};
use crate::recorded::{self, Recorded};
use crate::roster::Roster;
use crate::service::Service;
use waggle_conversation::Store;
use waggle_index::{Chunk, Index, IndexError};
use waggle_model::transport::Upstream;
use waggle_platform::Platform;

/// How often in a row work on a file may fail, or end its instance, until the file is given up.
const ATTEMPTS_MAX: u32 = 8;
/// What a failure that passes is told by: a model endpoint is away, or slow, or has as much to do as it may.
const PASSING_CODES: [&str; 3] =
    ["model_endpoint_overloaded", "model_endpoint_unreachable", "model_endpoint_timeout"];
/// For how long such failures are put up with, in seconds.
const PATIENCE_S: u64 = 6 * 3600;
/// An entry without a record that is so old, in seconds, is what an addition left behind that did not come to its end.
const DANGLING_S: u64 = 60;

/// Whether it is no fault of the file, and goes better when some time has passed.
pub(super) fn is_passing(problem: &Problem) -> bool {
    let error = &problem.error;
    error.status == 429 || error.code.is_some_and(|code| PASSING_CODES.contains(&code))
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Does the next step for a file that is to be found.
    ///
    /// # Errors
    /// Something failed that may go better later.
    pub(super) async fn take(&self, means: &Means, page: u32, entry: &MemberEntry) -> Result<Step, Problem> {
        let key = key::member(means.store.0, entry.id);
        let member: Option<Recorded<Member>> = recorded::read(&self.store, &key).await?;
        let member = member.map(|member| member.value).filter(|member| member.version == entry.version);
        let Some(member) = member else { return self.drop_dangling(means, page, entry).await };
        let taking = Taking { means, page, entry, member };
        if taking.member.attempts >= ATTEMPTS_MAX && !self.is_found(&taking) {
            let message = "The file could not be taken in: again and again that failed, or took more time or memory than \
                           there is.";
            return self.fail(&taking, server_error(message)).await;
        }
        let Some(split) = taking.member.split else { return self.split_file(&taking).await };
        match self.stage_next(&taking, split).await {
            Ok(step) => Ok(step),
            Err(problem) => self.count_failure(&taking, problem).await,
        }
    }

    /// Counts a failure that comes before any step.
    ///
    /// # Errors
    /// The failure, unless the file is given up for it.
    pub(super) async fn blame(
        &self,
        means: &Means,
        (page, entry): (u32, &MemberEntry),
        problem: Problem,
    ) -> Result<(), Problem> {
        let key = key::member(means.store.0, entry.id);
        let member: Option<Recorded<Member>> = recorded::read(&self.store, &key).await?;
        let Some(member) = member.map(|member| member.value) else { return Err(problem) };
        let taking = Taking { means, page, entry, member };
        self.count_failure(&taking, problem).await?;
        Ok(())
    }

    /// Whether searches find the file in the index that another is to take the place of. What is found is not given up for
    /// an index that is still being made.
    fn is_found(&self, taking: &Taking<'_>) -> bool {
        let current = taking.means.current.as_ref().map(|current| current.generation);
        current.is_some_and(|current| taking.entry.published.contains(&current))
    }

    /// Notes that a step failed. The file that has failed too often is given up, so that those behind it get their turn;
    /// one that waits for a model endpoint that is away, once it has waited for long.
    async fn count_failure(&self, taking: &Taking<'_>, problem: Problem) -> Result<Step, Problem> {
        let now_s = self.now_s();
        let is_passing = taking.means.is_patient && is_passing(&problem);
        let noted = self.note(taking, |member| match is_passing {
            true => member.waiting_since = member.waiting_since.or(Some(now_s)),
            false => member.attempts += 1,
        });
        let goes_on = noted.await?.is_none_or(|member| match is_passing {
            true => member.waiting_since.is_none_or(|since| now_s < since + PATIENCE_S),
            false => member.attempts < ATTEMPTS_MAX,
        });
        if goes_on || self.is_found(taking) {
            return Err(problem);
        }
        if let Some(line) = &problem.log {
            self.platform.log(&format!("vector_store={} {} {line}", taking.means.store, taking.group()));
        }
        let message = format!("The file could not be taken in. {}", problem.error.message);
        self.fail(taking, server_error(&message)).await
    }

    /// Stages the next page, or publishes when there is none.
    async fn stage_next(&self, taking: &Taking<'_>, split: Split) -> Result<Step, Problem> {
        let (means, version) = (taking.means, taking.entry.version);
        let (index, group) = (means.index(means.target.generation), taking.group());
        let staged = self.index.staged(&index, &group, version).await?;
        if staged == 0 && self.publish(taking, split).await? {
            // It was published before, and what comes after that was not done.
            return self.finish(taking, split).await;
        }
        if staged < split.chunks {
            let page = staged / PAGE_PIECES;
            let Some(pieces) = self.pieces(taking, split, page).await? else {
                self.note(taking, |member| member.split = None).await?;
                return Ok(Step::More);
            };
            self.stage_page(taking, page, pieces).await?;
            if taking.member.attempts > 0 || taking.member.waiting_since.is_some() {
                self.note(taking, Member::got_on).await?;
            }
            return Ok(Step::More);
        }
        if !self.publish(taking, split).await? {
            // More was staged than there is, under another cut: from the beginning.
            self.index.discard(&index, &group, version).await?;
            self.note(taking, |member| member.attempts += 1).await?;
            return Ok(Step::More);
        }
        self.finish(taking, split).await
    }

    async fn stage_page(&self, taking: &Taking<'_>, page: u32, pieces: Vec<Piece>) -> Result<(), Problem> {
        let means = taking.means;
        let vectors = self.embed(&means.settings, &means.target, &pieces).await?;
        let first = page * PAGE_PIECES;
        let chunks = (first..).zip(pieces).zip(vectors).map(|((ordinal, piece), vector)| Chunk {
            ordinal,
            heading: piece.heading,
            text: piece.text,
            note: note(&taking.member.filename),
            vector,
        });
        let index = means.index(means.target.generation);
        Ok(self.index.stage(&index, &taking.group(), taking.entry.version, chunks.collect()).await?)
    }

    /// Publishes what is staged; `false` when that is not all of the file, or nothing.
    async fn publish(&self, taking: &Taking<'_>, split: Split) -> Result<bool, Problem> {
        let index = taking.means.index(taking.means.target.generation);
        let attributes = taking.member.attributes.of_group(taking.member.expires_at);
        let group = taking.group();
        let published =
            self.index.publish(&index, &group, taking.entry.version, split.chunks, attributes).await;
        match published {
            Ok(()) => Ok(true),
            Err(IndexError::NoSuchGroup | IndexError::Invalid(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that a file is published, and clears away what was needed for that.
    async fn finish(&self, taking: &Taking<'_>, split: Split) -> Result<Step, Problem> {
        let means = taking.means;
        let generations = means.generations();
        let vectors = u64::from(split.chunks) * 4 * u64::from(means.target.dimensions);
        // Before the entry says so: an entry that is published is looked at no more.
        self.note(taking, |member| {
            member.got_on();
            member.last_error = None;
            member.split = Some(Split { pages: 0, ..split });
        })
        .await?;
        self.erase_pages(means.store, taking.entry).await?;
        let marked = self
            .mark(taking, |entry| {
                entry.published.retain(|generation| generations.contains(generation));
                if !entry.published.contains(&means.target.generation) {
                    entry.published.push(means.target.generation);
                }
                entry.bytes = split.bytes + vectors;
            })
            .await?;
        if !marked {
            // It was cancelled or removed in this moment: whoever comes next takes it out again.
            return Ok(Step::Done);
        }
        let noted = self.note(taking, |_| {}).await?;
        if let Some(member) = noted.filter(|member| member.attributes != taking.member.attributes) {
            // They were changed after they had been read, and whoever changed them found no group.
            let index = means.index(means.target.generation);
            let attributes = member.attributes.of_group(member.expires_at);
            super::forget::or_gone(self.index.set_attributes(&index, &taking.group(), attributes).await)?;
        }
        Ok(Step::Done)
    }

    /// Takes an entry out of the list that an addition left behind which died before it had written the record.
    async fn drop_dangling(&self, means: &Means, page: u32, entry: &MemberEntry) -> Result<Step, Problem> {
        if self.now_s().saturating_sub(entry.created_at) >= DANGLING_S {
            let roster = Roster::new(&self.store, key::members(means.store.0));
            roster
                .update(page, |entries: &mut Vec<MemberEntry>| {
                    entries.retain(|other| other.id != entry.id || other.version != entry.version);
                    true
                })
                .await?;
        }
        Ok(Step::Done)
    }
}
