//! The row of a conversation's entries, read newest first.

use crate::key;
use crate::record::{Entry, State, read_entry};
use crate::store::{Store, StoreError};
use crate::window::Window;
use waggle_openai::Nonce;

/// The most records asked for at once.
pub(crate) const PAGE_RECORDS_MAX: usize = 20;
/// How many numbers without an entry (commits that failed, entries whose items were deleted) are passed over in one
/// read. What lies behind so long a gap is out of the window.
const GAP_RECORDS_MAX: usize = 200;
/// How many pages are read at most. Tombstones are no gap, and of many in a row most are passed over unread.
const PAGES_MAX: usize = 200;

/// Neighbouring entries, as they were at one time.
#[derive(Debug)]
pub(crate) struct Run {
    newest: u64,
    /// From the newest on; `None` where nothing stands.
    entries: Vec<Option<Entry>>,
    /// The conversation's summary, where it was read as well.
    summary: Option<Option<Vec<u8>>>,
}

impl Run {
    /// Reads up to `count` entries, the newest of which is `newest`.
    pub(crate) async fn read<S: Store>(
        store: &S,
        conversation: Nonce,
        newest: u64,
        count: usize,
    ) -> Result<Self, StoreError> {
        Self::read_with(store, conversation, newest, count, false).await
    }

    /// As [`read`](Self::read), in the same operation with the conversation's summary where `summary` says so.
    pub(crate) async fn read_with<S: Store>(
        store: &S,
        conversation: Nonce,
        newest: u64,
        count: usize,
        summary: bool,
    ) -> Result<Self, StoreError> {
        let oldest = newest.saturating_sub(count as u64) + 1;
        let mut keys: Vec<String> =
            (oldest..=newest).rev().map(|sequence| key::entry(conversation, sequence)).collect();
        if keys.is_empty() {
            return Ok(Self { newest, entries: Vec::new(), summary: None });
        }
        keys.extend(summary.then(|| key::summary(conversation)));
        let mut values = store.get_many(keys.clone()).await?;
        let summary = if summary { values.pop() } else { None };
        let read = keys.iter().zip(values).map(|(key, value)| value.map(|value| read_entry(key, value)));
        Ok(Self { newest, entries: read.map(Option::transpose).collect::<Result<_, _>>()?, summary })
    }

    /// The record of the summary, where it was read: `None` in it where there is none.
    pub(crate) fn take_summary(&mut self) -> Option<Option<Vec<u8>>> {
        self.summary.take()
    }

    /// What stands at a place; `None` when the run does not reach there.
    pub(crate) fn at(&self, sequence: u64) -> Option<Option<&Entry>> {
        let index = usize::try_from(self.newest.checked_sub(sequence)?).ok()?;
        self.entries.get(index).map(Option::as_ref)
    }

    /// Offers all of it to the window and returns the number to read on from.
    fn offer(self, window: &mut Window, gap: &mut usize, left_out: &mut Option<u64>) -> u64 {
        let mut next = self.newest;
        let mut sequence = self.newest + 1;
        for entry in self.entries {
            sequence -= 1;
            if sequence > next {
                // Passed over by a tombstone, which knows what is worth reading.
                continue;
            }
            next = sequence - 1;
            let Some(entry) = entry else {
                *gap += 1;
                continue;
            };
            if entry.state == State::Abandoned {
                next = entry.standing.after.map_or(next, |after| after.min(next));
                continue;
            }
            *gap = if entry.turn.is_empty() { *gap + 1 } else { 0 };
            if window.offer_entry(sequence, entry.turn) {
                left_out.get_or_insert(sequence);
            }
        }
        next
    }
}

/// How many entries to read at once for what a window still has room for: each that is of use has at least one item.
pub(crate) fn page(window: &Window) -> usize {
    window.items_left().min(PAGE_RECORDS_MAX)
}

/// Fills a window with a run that was read, and with all before it that fit. Returns the number of the newest entry that
/// may have been left out; 0: the window has all there is.
pub(crate) async fn fill<S: Store>(
    store: &S,
    conversation: Nonce,
    first: Run,
    window: &mut Window,
) -> Result<u64, StoreError> {
    let (mut gap, mut left_out) = (0, None);
    let mut next = first.offer(window, &mut gap, &mut left_out);
    for _ in 0..PAGES_MAX {
        if next == 0 || window.is_full() || gap >= GAP_RECORDS_MAX {
            break;
        }
        let run = Run::read(store, conversation, next, page(window)).await?;
        next = run.offer(window, &mut gap, &mut left_out);
    }
    // What was not read lies behind a full window, or behind a gap that is too long.
    Ok(left_out.unwrap_or(next))
}
