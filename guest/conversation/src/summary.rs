//! The summary of a conversation: one record beside it, which stands for the oldest entries, up to a number.
//!
//! It is only ever changed by compare-and-set, and every writing has a stamp of its own: whoever makes a summary of what
//! they have read finds the record changed when an item was deleted meanwhile, or another was faster, and keeps nothing.
//! Only [`ask`] makes a record where there is none, so what was made for a conversation that is gone finds no place either.

use crate::conversation::Conversation;
use crate::entries::{PAGE_RECORDS_MAX, Run, fill, page};
use crate::key;
use crate::record::{State, StoredTurn, read_entry};
use crate::store::{SWAPS_MAX, Store, StoreError, read_counter};
use crate::window::{Window, WindowLimits};
use serde::{Deserialize, Serialize};
use waggle_openai::{Nonce, json};

/// For how long nobody asks again for a summary that was asked for, in milliseconds.
const ASKED_MS: u64 = 300_000;

/// A summary, and what is known of its making.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// A nonce, new with every writing.
    stamp: String,
    /// It stands for all entries up to this number.
    pub through: u64,
    /// All entries up to this number are erased.
    #[serde(default)]
    floor: u64,
    /// The text; empty where there is none yet, or none any more.
    pub text: String,
    /// An estimate of its tokens.
    pub tokens: u64,
    /// The number of the newest entry that the turn which asked did not see.
    due: u64,
    /// When it was last asked for, in milliseconds since 1970; 0 where that was done.
    asked_ms: u64,
    /// The model of the turn that asked.
    pub model: String,
}

/// A summary as it was read or written, so that it can be changed if it still is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The summary.
    pub summary: Summary,
    bytes: Vec<u8>,
}

/// A conversation whose summary lacks something that its last turn did not see.
#[derive(Debug, Clone)]
pub struct Behind {
    pub(crate) conversation: Nonce,
    pub(crate) left_out: u64,
    pub(crate) seen: Option<Recorded>,
}

impl Behind {
    /// The conversation.
    pub fn conversation(&self) -> Nonce {
        self.conversation
    }
}

/// Who asks for a summary.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// A new nonce.
    pub stamp: Nonce,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// The model of the turn.
    pub model: &'a str,
}

/// Neighbouring entries that are to be summarised.
#[derive(Debug)]
pub struct Batch {
    /// The number of the last.
    pub through: u64,
    /// Those that have items, oldest first.
    pub turns: Vec<StoredTurn>,
}

fn written(summary: &Summary) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + summary.text.len());
    json::push(&mut out, summary);
    out
}

/// Reads a record.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn parse(key: &str, bytes: Vec<u8>) -> Result<Recorded, StoreError> {
    let read = serde_json::from_slice(&bytes);
    let summary = read
        .map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })?;
    Ok(Recorded { summary, bytes })
}

/// Only the text of a record.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn text(key: &str, bytes: &[u8]) -> Result<String, StoreError> {
    parse(key, bytes.to_vec()).map(|recorded| recorded.summary.text)
}

async fn read<S: Store>(store: &S, conversation: Nonce) -> Result<Option<Recorded>, StoreError> {
    let key = key::summary(conversation);
    store.get(&key).await?.map(|bytes| parse(&key, bytes)).transpose()
}

/// Notes that the summary is asked for. `true`: the caller has to see to it that it is made; `false`: another has, or the
/// conversation is gone.
///
/// # Errors
/// The store's.
pub async fn ask<S: Store>(store: &S, behind: &Behind, asking: Asking<'_>) -> Result<bool, StoreError> {
    let Asking { stamp, now_ms, model } = asking;
    let seen = behind.seen.as_ref();
    if seen.is_some_and(|seen| now_ms.abs_diff(seen.summary.asked_ms) < ASKED_MS) {
        return Ok(false);
    }
    let known = seen.map(|seen| seen.summary.clone()).unwrap_or_default();
    let (due, model) = (behind.left_out, model.to_owned());
    let next = Summary { stamp: stamp.to_string(), due, asked_ms: now_ms, model, ..known };
    let key = key::summary(behind.conversation);
    if !store.swap(&key, seen.map(|seen| &*seen.bytes), written(&next)).await? {
        return Ok(false);
    }
    let is_there = seen.is_some() || store.get(&key::conversation(behind.conversation)).await?.is_some();
    if !is_there {
        store.delete_many(vec![key]).await?;
    }
    Ok(is_there)
}

/// The summary that is to be made; `None` where it was not asked for, or was forgotten with its conversation.
///
/// # Errors
/// The store's.
pub async fn open<S: Store>(store: &S, conversation: &Conversation) -> Result<Option<Recorded>, StoreError> {
    read(store, conversation.nonce()).await
}

/// The number up to which a summary is to reach: of the newest entry that a window within `limits` leaves out, or the turn
/// that asked did not see.
///
/// # Errors
/// The store's.
pub async fn due<S: Store>(
    store: &S,
    conversation: &Conversation,
    asked: &Recorded,
    limits: WindowLimits,
) -> Result<u64, StoreError> {
    let nonce = conversation.nonce();
    let key = key::sequence(nonce);
    let newest = read_counter(&key, store.get(&key).await?.as_deref())?;
    let mut window = Window::new(limits);
    let run = Run::read(store, nonce, newest, page(&window)).await?;
    Ok(fill(store, nonce, run, &mut window).await?.max(asked.summary.due.min(newest)))
}

impl Recorded {
    /// The number of the first entry that is not in the summary.
    fn next(&self) -> u64 {
        self.summary.through.max(self.summary.floor) + 1
    }

    /// The entries after those that it stands for, up to number `due`: whole ones until their texts have `bytes_max`, but
    /// one at least. `None` where there are none that are settled.
    ///
    /// # Errors
    /// The store's.
    pub async fn batch<S: Store>(
        &self,
        store: &S,
        conversation: &Conversation,
        due: u64,
        bytes_max: usize,
    ) -> Result<Option<Batch>, StoreError> {
        let mut collected = Collected::after(self.next() - 1);
        let mut next = self.next();
        while next <= due && !collected.is_full(bytes_max) {
            let last = due.min(next + PAGE_RECORDS_MAX as u64 - 1);
            let keys: Vec<String> =
                (next..=last).map(|number| key::entry(conversation.nonce(), number)).collect();
            let values = store.get_many(keys.clone()).await?;
            for ((key, value), sequence) in keys.iter().zip(values).zip(next..) {
                if collected.is_full(bytes_max) {
                    break;
                }
                collected.take(sequence, value.map(|value| read_entry(key, value)).transpose()?);
            }
            next = last + 1;
        }
        Ok(collected.batch(self.next()))
    }

    /// Puts a text that stands for all up to `through` in its place. `more`: it is still asked for. `None`, and nothing is
    /// written, when it was changed meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn replace<S: Store>(
        self,
        store: &S,
        conversation: &Conversation,
        (through, text, tokens): (u64, String, u64),
        (stamp, more): (Nonce, Option<u64>),
    ) -> Result<Option<Self>, StoreError> {
        let asked_ms = more.unwrap_or(0);
        let summary =
            Summary { stamp: stamp.to_string(), through, text, tokens, asked_ms, ..self.summary };
        let bytes = written(&summary);
        let key = key::summary(conversation.nonce());
        let written = store.swap(&key, Some(&self.bytes), bytes.clone()).await?;
        Ok(written.then_some(Self { summary, bytes }))
    }
}

/// Entries, as far as all up to them is known to be settled.
struct Collected {
    turns: Vec<(u64, StoredTurn)>,
    bytes: usize,
    /// The last number up to which all is settled.
    settled: u64,
}

impl Collected {
    fn after(number: u64) -> Self {
        Self { turns: Vec::new(), bytes: 0, settled: number }
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        self.bytes >= bytes_max && self.turns.first().is_some_and(|(first, _)| *first <= self.settled)
    }

    fn take(&mut self, sequence: u64, entry: Option<crate::record::Entry>) {
        let Some(entry) = entry else { return };
        if matches!(entry.state, State::Pending(_)) {
            return;
        }
        // One that tells how many turns there are knows that all before it is settled, and so does one from before there
        // were tickets.
        let tells = entry.standing.turns.is_some() || entry.standing.after.is_none();
        if tells || self.settled + 1 == sequence {
            self.settled = sequence;
        }
        if !entry.turn.is_empty() {
            self.bytes += entry.turn.items().map(str::len).sum::<usize>();
            self.turns.push((sequence, entry.turn));
        }
    }

    fn batch(self, next: u64) -> Option<Batch> {
        let Self { turns, settled, .. } = self;
        let turns = turns.into_iter().take_while(|(sequence, _)| *sequence <= settled);
        let turns = turns.map(|(_, turn)| turn).collect();
        (settled >= next).then_some(Batch { through: settled, turns })
    }
}

/// Forgets the summary if it stands for entry `sequence`, and lets none be kept that is being made. All entries up to
/// `floor` are going to be erased. Nothing is done where there is no summary.
///
/// # Errors
/// The store's; others changed it again and again.
pub(crate) async fn forget<S: Store>(
    store: &S,
    conversation: Nonce,
    sequence: u64,
    floor: u64,
    stamp: Nonce,
) -> Result<(), StoreError> {
    for _ in 0..SWAPS_MAX {
        let Some(Recorded { summary, bytes }) = read(store, conversation).await? else { return Ok(()) };
        let floor = floor.max(summary.floor);
        let stamp = stamp.to_string();
        let next = if summary.through >= sequence {
            Summary { stamp, floor, model: summary.model, due: summary.due, ..Summary::default() }
        } else {
            Summary { stamp, floor, asked_ms: 0, ..summary }
        };
        if store.swap(&key::summary(conversation), Some(&bytes), written(&next)).await? {
            return Ok(());
        }
    }
    Err(StoreError::Contended(key::summary(conversation)))
}
