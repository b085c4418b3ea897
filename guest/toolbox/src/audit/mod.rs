//! The audit log: who asked, what ran, with which arguments, what came back. A row of numbered entries, of which the
//! oldest go when there are too many or they are too old.
//!
//! A call that may change something is noted before it is made, so that none goes without a trace, and again when it is
//! over.

mod entry;
mod key;
mod list;

pub(crate) use entry::{Entry, Status, Via};
pub use list::EntryQuery;
pub(crate) use list::read_query;

use crate::problem::Problem;
use crate::settings::AuditSettings;
use serde::Serialize;
use waggle_conversation::store::read_counter;
use waggle_conversation::{Store, StoreError, Viewer};
use waggle_openai::{ApiError, json};
use waggle_platform::Reply;

/// After how many entries the oldest are looked at.
const SWEEP_EVERY: u64 = 16;
/// How many of them go at once because they are too many, and how many are looked at for being too old.
const SWEPT_MAX: u64 = 64;
/// How many entries are read at once.
pub(crate) const PAGE_ENTRIES: u64 = 50;
const MS_PER_DAY: u64 = 86_400_000;

/// The log of a tenant.
#[derive(Debug)]
pub(crate) struct Log<'a, S> {
    /// Where it is kept.
    pub(crate) store: &'a S,
    /// What it keeps.
    pub(crate) settings: &'a AuditSettings,
    /// Now, milliseconds since 1970.
    pub(crate) now_ms: u64,
}

fn key_of(number: u64) -> String {
    key::entry(number)
}

impl<S: Store> Log<'_, S> {
    /// Writes an entry under a number of its own.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn append(&self, entry: &Entry) -> Result<u64, StoreError> {
        let number = self.store.increment(key::SEQUENCE).await?;
        let number = u64::try_from(number).map_err(|_| StoreError::Unreadable {
            key: key::SEQUENCE.to_owned(),
            reason: "the counter is negative".to_owned(),
        })?;
        self.write(number, entry).await?;
        if number.is_multiple_of(SWEEP_EVERY) {
            self.sweep(number).await?;
        }
        Ok(number)
    }

    /// Writes an entry anew.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn write(&self, number: u64, entry: &Entry) -> Result<(), StoreError> {
        self.store.set_many(vec![(key_of(number), entry.write(&self.settings.mask))]).await
    }

    /// Since when entries are kept, milliseconds since 1970.
    fn since_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.settings.days_max.saturating_mul(MS_PER_DAY))
    }

    /// The number up to which all are gone, and the newest.
    async fn ends(&self) -> Result<(u64, u64), StoreError> {
        let keys = vec![key::FLOOR.to_owned(), key::SEQUENCE.to_owned()];
        let mut values = self.store.get_many(keys).await?.into_iter();
        let floor = read_counter(key::FLOOR, values.next().flatten().as_deref())?;
        let newest = read_counter(key::SEQUENCE, values.next().flatten().as_deref())?;
        Ok((floor.max(newest.saturating_sub(self.settings.entries_max)), newest))
    }

    async fn sweep(&self, newest: u64) -> Result<(), StoreError> {
        let floor = read_counter(key::FLOOR, self.store.get(key::FLOOR).await?.as_deref())?;
        let wanted = newest.saturating_sub(self.settings.entries_max);
        let mut last = wanted.clamp(floor, floor.saturating_add(SWEPT_MAX));
        if last == wanted.max(floor) {
            // None are too many, so the oldest may be too old.
            let numbers: Vec<u64> = (last + 1..=newest.min(last + SWEPT_MAX)).collect();
            let values = self.store.get_many(numbers.iter().copied().map(key_of).collect()).await?;
            let since_ms = self.since_ms();
            let old = values.iter().take_while(|value| {
                value
                    .as_deref()
                    .is_none_or(|value| Entry::read(value).is_none_or(|entry| entry.at_ms < since_ms))
            });
            last += old.count() as u64;
        }
        if last == floor {
            return Ok(());
        }
        self.store.delete_many((floor + 1..=last).map(key_of).collect()).await?;
        self.store.set_many(vec![(key::FLOOR.to_owned(), last.to_string().into_bytes())]).await
    }

    /// Erases the entries of a user.
    ///
    /// # Errors
    /// 404: there can be no such user, or the caller may not; 500: the store's.
    pub(crate) async fn erase(&self, caller: &Viewer, user: &str) -> Result<Reply, Problem> {
        #[derive(Serialize)]
        struct Erased<'a> {
            object: &'static str,
            user: &'a str,
            tool_calls: usize,
        }
        let unknown = || ApiError::not_found("User", user);
        let subject = Viewer::user(user).ok_or_else(unknown)?;
        if !caller.is_service() && *caller != subject {
            return Err(unknown().into());
        }
        let (floor, newest) = self.ends().await?;
        let mut erased = 0;
        let mut number = floor + 1;
        while number <= newest {
            let end = newest.min(number + PAGE_ENTRIES - 1);
            let keys: Vec<String> = (number..=end).map(key_of).collect();
            let values = self.store.get_many(keys.clone()).await?;
            let is_theirs =
                |value: &Vec<u8>| Entry::read(value).is_some_and(|entry| entry.user.as_deref() == Some(user));
            let found =
                keys.into_iter().zip(values).filter(|(_, value)| value.as_ref().is_some_and(is_theirs));
            let theirs: Vec<String> = found.map(|(key, _)| key).collect();
            erased += theirs.len();
            if !theirs.is_empty() {
                self.store.delete_many(theirs).await?;
            }
            number = end + 1;
        }
        let mut out = Vec::with_capacity(128);
        json::push(&mut out, &Erased { object: "user.data.deleted", user, tool_calls: erased });
        Ok(Reply::json(out))
    }
}
