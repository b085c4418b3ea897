//! What the journal of a run tells to whoever takes it up.

use crate::cost::Spent;
use crate::journal::{Answered, Begun, CallAt, Done, Record};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use waggle_conversation::StoreError;
use waggle_openai::Nonce;

/// What was done, and what was about to be done.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    steps: BTreeMap<u32, Step>,
    note: Option<Box<RawValue>>,
    runners: u32,
    active_ms: u64,
}

/// A step of it.
#[derive(Debug, Clone, Default)]
pub struct Step {
    answer: Option<(Box<RawValue>, Spent)>,
    calls: BTreeMap<usize, Call>,
}

#[derive(Debug, Clone, Default)]
struct Call {
    begun: bool,
    repeatable: bool,
    result: Option<Box<RawValue>>,
}

/// What is to be done with a call that the model asked for.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// It was never begun: it is made.
    Make,
    /// This came of it: it is not made again.
    Known(&'a RawValue),
    /// It was begun, nobody knows what came of it, and it may be made again: under the same key, and marked as repeated.
    Repeat,
    /// It was begun, nobody knows what came of it, and making it again may do it twice: the model is told
    /// [`OUTCOME_UNKNOWN`].
    Unknown,
}

/// What a model is told of a call that may or may not have been made.
pub const OUTCOME_UNKNOWN: &str = "The outcome of this call is unknown: the server was interrupted while it was being made, \
    and it is not safe to make it again. It may have happened. Say so, and do not call it again with the same arguments \
    before you have found out, by another tool or by asking the user.";

impl Recorded {
    /// Reads the records of a run, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub(crate) fn read(response: Nonce, records: &[Vec<u8>]) -> Result<Self, StoreError> {
        let mut recorded = Self::default();
        // Who wrote the last record, and when they began and last wrote.
        let mut runner: Option<(String, u64, u64)> = None;
        for (number, bytes) in records.iter().enumerate() {
            let record: Record = serde_json::from_slice(bytes).map_err(|error| StoreError::Unreadable {
                key: format!("record {number} of the run of {response}"),
                reason: error.to_string(),
            })?;
            match &mut runner {
                Some((by, _, last_ms)) if *by == record.by => *last_ms = record.at_ms.max(*last_ms),
                _ => {
                    recorded.note_runner(runner.take());
                    recorded.runners += 1;
                    runner = Some((record.by.clone(), record.at_ms, record.at_ms));
                }
            }
            recorded.apply(record);
        }
        recorded.note_runner(runner);
        Ok(recorded)
    }

    fn note_runner(&mut self, runner: Option<(String, u64, u64)>) {
        if let Some((_, first_ms, last_ms)) = runner {
            self.active_ms = self.active_ms.saturating_add(last_ms.saturating_sub(first_ms));
        }
    }

    fn apply(&mut self, record: Record) {
        let entry = record.entry;
        if let Some(step) = entry.asked {
            self.steps.entry(step).or_default();
        }
        if let Some(Answered { step, answer, spent }) = entry.answered {
            // The first counts: nothing that was paid is taken for another.
            self.steps.entry(step).or_default().answer.get_or_insert((answer, spent));
        }
        for Begun { step, index, repeatable } in entry.begun {
            let call = self.steps.entry(step).or_default().calls.entry(index).or_default();
            (call.begun, call.repeatable) = (true, repeatable);
        }
        for Done { step, index, result } in entry.done {
            let call = self.steps.entry(step).or_default().calls.entry(index).or_default();
            call.result.get_or_insert(result);
        }
        self.note = entry.note.or_else(|| self.note.take());
    }

    /// Whether nothing was recorded: the run begins.
    pub fn is_empty(&self) -> bool {
        self.runners == 0
    }

    /// How many have run it so far.
    pub fn runners(&self) -> u32 {
        self.runners
    }

    /// For how long it ran, between the first and the last record of each of its runners, in milliseconds.
    pub fn active_ms(&self) -> u64 {
        self.active_ms
    }

    /// The newest note.
    pub fn note(&self) -> Option<&RawValue> {
        self.note.as_deref()
    }

    /// What the model answered in that step, and what it took; `None` where it is to be asked, perhaps again: then under
    /// the same key.
    pub fn answer(&self, step: u32) -> Option<(&RawValue, Spent)> {
        let (answer, spent) = self.steps.get(&step)?.answer.as_ref()?;
        Some((answer, *spent))
    }

    /// How many steps, from the first on, have their model's answer.
    pub fn answered_steps(&self) -> u32 {
        (1..).take_while(|step| self.answer(*step).is_some()).last().unwrap_or(0)
    }

    /// How many calls were begun.
    pub fn calls_begun(&self) -> u32 {
        let calls = self.steps.values().flat_map(|step| step.calls.values());
        u32::try_from(calls.filter(|call| call.begun).count()).unwrap_or(u32::MAX)
    }

    /// All that models took.
    pub fn spent(&self) -> Spent {
        let answers = self.steps.values().filter_map(|step| step.answer.as_ref());
        answers.fold(Spent::default(), |sum, (_, spent)| sum.plus(*spent))
    }

    /// What is to be done with a call.
    pub fn decide(&self, at: CallAt) -> Decision<'_> {
        match self.steps.get(&at.step).and_then(|step| step.calls.get(&at.index)) {
            None => Decision::Make,
            Some(Call { result: Some(result), .. }) => Decision::Known(result),
            Some(Call { begun: false, .. }) => Decision::Make,
            Some(Call { repeatable: true, .. }) => Decision::Repeat,
            Some(_) => Decision::Unknown,
        }
    }
}
