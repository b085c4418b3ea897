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

/// A conversation whose summary lacks something that its last turn did not see, or the next one will not.
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
    let summary =
        read.map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })?;
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
        let summary = Summary { stamp: stamp.to_string(), through, text, tokens, asked_ms, ..self.summary };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{self, NewItems};
    use crate::items;
    use crate::memory::MemoryStore;
    use crate::record::{Standing, write_entry, write_pending};
    use crate::viewer::Viewer;
    use futures::executor::block_on;
    use waggle_openai::item::{Item, RawItem, to_raw_items};
    use waggle_openai::metadata::Metadata;
    use waggle_openai::{ItemId, list};

    fn nonce(number: u64) -> Nonce {
        Nonce::mint(number, 0)
    }

    fn said(number: u64) -> Vec<RawItem> {
        let text = format!(r#"{{"role":"user","content":"number {number}"}}"#);
        let item: Item<'_> = serde_json::from_str(&text).unwrap();
        to_raw_items(&[item], nonce(number), 0).unwrap()
    }

    /// A store with a conversation of so many entries, of one item each.
    fn filled(entries: u64) -> (MemoryStore, Conversation) {
        let store = MemoryStore::default();
        let (viewer, id) = (Viewer::service(), nonce(1000));
        let record = conversation::record(1, 1, &Metadata::default()).unwrap();
        let nothing = NewItems { nonce: id, items: &[], tokens: 0 };
        block_on(conversation::create(&store, &viewer, id, &record, nothing)).unwrap();
        let opened = block_on(conversation::open(&store, &viewer, id)).unwrap().unwrap();
        for number in 1..=entries {
            let new = NewItems { nonce: nonce(number), items: &said(number), tokens: 3 };
            block_on(conversation::add(&store, &opened, new)).unwrap();
        }
        (store, opened)
    }

    fn asks(store: &MemoryStore, conversation: &Conversation, stamp: u64) -> bool {
        let seen = block_on(read(store, conversation.nonce())).unwrap();
        let behind = Behind { conversation: conversation.nonce(), left_out: 4, seen };
        let asking = Asking { stamp: nonce(stamp), now_ms: 1_000_000, model: "m" };
        block_on(ask(store, &behind, asking)).unwrap()
    }

    fn opened(store: &MemoryStore, conversation: &Conversation) -> Recorded {
        block_on(open(store, conversation)).unwrap().unwrap()
    }

    fn replaced(
        store: &MemoryStore,
        conversation: &Conversation,
        seen: Recorded,
        through: u64,
        text: &str,
    ) -> bool {
        let made = (through, text.to_owned(), 1);
        let stamp = (nonce(through + 2000), None);
        block_on(seen.replace(store, conversation, made, stamp)).unwrap().is_some()
    }

    fn through(seen: &Recorded, store: &MemoryStore, conversation: &Conversation, bytes_max: usize) -> u64 {
        let batch = block_on(seen.batch(store, conversation, 6, bytes_max)).unwrap();
        batch.map_or(0, |batch| batch.through)
    }

    #[test]
    fn of_those_who_make_one_at_once_one_keeps_it() {
        let (store, conversation) = filled(8);
        assert!(asks(&store, &conversation, 1) && !asks(&store, &conversation, 2));
        let (one, other) = (opened(&store, &conversation), opened(&store, &conversation));
        assert!(replaced(&store, &conversation, one, 4, "one"));
        assert!(!replaced(&store, &conversation, other, 6, "other"));
        let known = opened(&store, &conversation);
        assert_eq!((known.summary.text.as_str(), known.summary.through), ("one", 4));
        // It was made, so it may be asked for again.
        assert!(asks(&store, &conversation, 3));
    }

    #[test]
    fn what_was_made_of_a_deleted_item_is_not_kept() {
        for made_before in [false, true] {
            let (store, conversation) = filled(8);
            assert!(asks(&store, &conversation, 1));
            if made_before {
                let seen = opened(&store, &conversation);
                assert!(replaced(&store, &conversation, seen, 4, "number 2"));
            }
            let seen = opened(&store, &conversation);
            let id = ItemId::parse(list::id(&said(2)[0]).unwrap()).unwrap();
            assert!(block_on(items::delete(&store, &conversation, id, nonce(9))).unwrap());
            assert!(!replaced(&store, &conversation, seen, 6, "number 2"), "{made_before}");
            assert_eq!(opened(&store, &conversation).summary.text, "");
            let batch =
                block_on(opened(&store, &conversation).batch(&store, &conversation, 6, 1000)).unwrap();
            let batch = batch.unwrap();
            assert_eq!((batch.through, batch.turns.len()), (6, 5));
        }
    }

    #[test]
    fn what_is_made_for_a_conversation_that_is_gone_leaves_nothing() {
        let (store, conversation) = filled(8);
        assert!(asks(&store, &conversation, 1));
        let seen = opened(&store, &conversation);
        block_on(conversation::delete(&store, &Viewer::service(), conversation.nonce())).unwrap();
        assert!(!replaced(&store, &conversation, seen, 4, "gone"));
        assert!(!asks(&store, &conversation, 2));
        assert!(store.dump().is_empty());
    }

    #[test]
    fn a_batch_ends_where_it_is_long_enough_or_something_is_under_way() {
        let (store, conversation) = filled(8);
        assert!(asks(&store, &conversation, 1));
        let seen = opened(&store, &conversation);
        let item_bytes = said(1)[0].get().len();
        assert_eq!(through(&seen, &store, &conversation, 1), 1, "one at least");
        assert_eq!(through(&seen, &store, &conversation, 2 * item_bytes), 2);
        assert_eq!(through(&seen, &store, &conversation, 1_000_000), 6);
        // A turn that is under way has perhaps something to say yet; what was added behind it does not know.
        let at = |number| key::entry(conversation.nonce(), number);
        let added = |number| {
            let standing = Standing { turns: None, after: Some(3) };
            write_entry(nonce(number), said(number).iter().map(|item| item.get()), 3, standing)
        };
        store.put(&at(3), &write_pending(nonce(3), 2_000_000));
        for number in 4..=6 {
            store.put(&at(number), &added(number));
        }
        assert_eq!(through(&seen, &store, &conversation, 1_000_000), 2);
        // A turn that has joined does: what stands open before it is dead, and was passed over.
        let standing = Standing { turns: Some(1), after: None };
        let joined = write_entry(nonce(6), said(6).iter().map(|item| item.get()), 3, standing);
        store.put(&at(6), &joined);
        assert_eq!(through(&seen, &store, &conversation, 1_000_000), 6);
        assert_eq!(block_on(due(&store, &conversation, &seen, limits(2))).unwrap(), 6);
        assert_eq!(
            block_on(due(&store, &conversation, &seen, limits(7))).unwrap(),
            4,
            "what the turn did not see"
        );
    }

    fn limits(items_max: usize) -> WindowLimits {
        WindowLimits { items_max, tokens_max: 1000 }
    }
}
