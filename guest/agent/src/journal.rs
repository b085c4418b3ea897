//! The journal of a run: what was about to be done, and what came of it, written before and after, so that whoever takes the
//! run up knows what to do again and what never.
//!
//! One record for each moment, written once and in one operation: what ends and what begins at the same moment stand in
//! one. Every record says who writes it. A runner that was taken for dead and is not finds another's record in the place of
//! its next one, and must stop: [`JournalError::Overtaken`].

use crate::cost::Spent;
use crate::recorded::Recorded;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waggle_conversation::run::{self, RECORDS_MAX};
use waggle_conversation::{Store, StoreError};
use waggle_openai::Nonce;
use waggle_openai::json;

/// The longest record, in bytes: an answer of a model as long as any is taken, and more.
pub const RECORD_BYTES_MAX: usize = 20 << 20;
/// How often a run is taken up again when its last runner writes on meanwhile.
const TAKE_UPS_MAX: usize = 8;

/// Why a run cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Somebody else runs it now; what is done from here on is theirs to do.
    #[error("the run has been taken up by another")]
    Overtaken,
    /// It has as many records as a run may have.
    #[error("the run has more than {RECORDS_MAX} records")]
    Full,
    /// What is to be recorded is too long.
    #[error("a record of {0} bytes; at most {RECORD_BYTES_MAX} are kept")]
    TooLong(usize),
    /// The store failed, or holds what it should not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A call of a tool: the step in which the model asked for it, and its place among that step's. Step 0 has the calls that
/// were asked for in a turn before and are approved in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallAt {
    /// The step, from 1; or 0.
    pub step: u32,
    /// The place, from 0.
    pub index: usize,
}

/// What a model answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {
    pub(crate) step: u32,
    pub(crate) answer: Box<RawValue>,
    pub(crate) spent: Spent,
}

/// A call that is about to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begun {
    pub(crate) step: u32,
    pub(crate) index: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) repeatable: bool,
}

/// What came of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Done {
    pub(crate) step: u32,
    pub(crate) index: usize,
    pub(crate) result: Box<RawValue>,
}

/// What is recorded at one moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answered: Option<Answered>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) begun: Vec<Begun>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) done: Vec<Done>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<Box<RawValue>>,
}

impl Entry {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The model is about to be asked in this step.
    #[must_use]
    pub fn asked(self, step: u32) -> Self {
        Self { asked: Some(step), ..self }
    }

    /// The model has answered: `answer` is whatever its reader needs to go on from there.
    #[must_use]
    pub fn answered(self, step: u32, answer: Box<RawValue>, spent: Spent) -> Self {
        Self { answered: Some(Answered { step, answer, spent }), ..self }
    }

    /// A call is about to be made. `repeatable` says whether it may be made again if nobody learns what came of it: it
    /// changes nothing, or is idempotent.
    #[must_use]
    pub fn begun(mut self, at: CallAt, repeatable: bool) -> Self {
        let CallAt { step, index } = at;
        self.begun.push(Begun { step, index, repeatable });
        self
    }

    /// This came of a call, for the model: also of one that failed, or was not made at all.
    #[must_use]
    pub fn done(mut self, at: CallAt, result: Box<RawValue>) -> Self {
        let CallAt { step, index } = at;
        self.done.push(Done { step, index, result });
        self
    }

    /// Anything else its reader needs; the newest counts.
    #[must_use]
    pub fn note(self, note: Box<RawValue>) -> Self {
        Self { note: Some(note), ..self }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let Self { asked, answered, begun, done, note } = self;
        asked.is_none() && answered.is_none() && begun.is_empty() && done.is_empty() && note.is_none()
    }
}

/// A record, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Who writes it: a nonce that is made for each runner.
    pub(crate) by: String,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// What happens then; nothing where it only says who writes from here on.
    #[serde(default, skip_serializing_if = "Entry::is_empty")]
    pub(crate) entry: Entry,
}

/// The journal of one run, in the hands of the one who runs it.
#[derive(Debug)]
pub struct Journal<S> {
    /// None where nothing is kept.
    store: Option<S>,
    response: Nonce,
    by: Nonce,
    next: u64,
}

impl<S: Store> Journal<S> {
    /// A journal that keeps nothing: of a run that nobody takes up if it is interrupted.
    pub fn off(response: Nonce) -> Self {
        Self { store: None, response, by: response, next: 0 }
    }

    /// The journal of a run that begins now. Nothing is written before the first entry; where there is a record already,
    /// that fails as [`JournalError::Overtaken`]. `by` is a new nonce, for this runner.
    pub fn begin(store: S, response: Nonce, by: Nonce) -> Self {
        Self { store: Some(store), response, by, next: 0 }
    }

    /// Takes up a run that was begun and is not over, or begins it: what is recorded, and the journal to go on with. From
    /// here on its former runner writes no more.
    ///
    /// # Errors
    /// [`JournalError::Overtaken`] where others take it up at the same time; the store's.
    pub async fn take_up(
        store: S,
        response: Nonce,
        by: Nonce,
        now_ms: u64,
    ) -> Result<(Self, Recorded), JournalError> {
        for _ in 0..TAKE_UPS_MAX {
            let records = run::load(&store, response).await?;
            let next = records.len() as u64;
            let recorded = Recorded::read(response, &records)?;
            let mut journal = Self { store: Some(store.clone()), response, by, next };
            if records.is_empty() {
                return Ok((journal, recorded));
            }
            match journal.append(Entry::new(), now_ms).await {
                Ok(()) => return Ok((journal, recorded)),
                // Its former runner has written on meanwhile.
                Err(JournalError::Overtaken) => {}
                Err(error) => return Err(error),
            }
        }
        Err(JournalError::Overtaken)
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.store.is_some()
    }

    /// Whether anything was recorded, by this runner or one before.
    pub fn is_begun(&self) -> bool {
        self.next > 0
    }

    /// Records what happens at this moment, in one operation. It is written when this returns, and what begins by it may
    /// be done.
    ///
    /// # Errors
    /// Nothing that begins by the entry may be done then. After an error of the store it may have been written all the
    /// same; only the same entry can be recorded next, at the same moment, or the run be taken up anew.
    pub async fn append(&mut self, entry: Entry, now_ms: u64) -> Result<(), JournalError> {
        let Some(store) = &self.store else { return Ok(()) };
        if self.next >= RECORDS_MAX {
            return Err(JournalError::Full);
        }
        let record = Record { by: self.by.as_str().to_owned(), at_ms: now_ms, entry };
        let mut bytes = Vec::with_capacity(256);
        json::push(&mut bytes, &record);
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(JournalError::TooLong(bytes.len()));
        }
        if !run::append(store, self.response, self.next, bytes).await? {
            return Err(JournalError::Overtaken);
        }
        self.next += 1;
        Ok(())
    }

    /// Deletes the journal of a run that is over, once its response is stored. What is left of it after a failure goes
    /// with the response.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(self) -> Result<(), StoreError> {
        match &self.store {
            Some(store) => run::forget(store, self.response, self.next).await,
            None => Ok(()),
        }
    }
}
