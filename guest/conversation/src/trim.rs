//! Trimming a session: what is older than its last turns is erased, a bounded number of entries at once.
//!
//! Entries are more than turns: turns that failed and items added by hand have numbers as well. What an entry says of the
//! turns before it grows with its number, so the newest one to be erased is found by halving.

use crate::erase::{Erased, erase_entries};
use crate::key;
use crate::record::read_entry;
use crate::store::{Store, StoreError, read_counter};
use crate::summary;
use waggle_openai::Nonce;

/// A session is trimmed when so many turns have joined since it was trimmed last.
const TRIM_TURNS: u64 = 16;
/// How many entries are read for each look.
const PROBE_RECORDS_MAX: u64 = 8;
/// How many entries are erased in one go, and how many times at most. Where more have come up since the last trimming,
/// the oldest of them stay as long as the session.
const ERASED_RECORDS_MAX: u64 = 20;
const ERASED_BATCHES_MAX: usize = 50;

/// Erases turns that are older than the last `turns_max`, with their responses and all between them, every few turns.
/// `turn` is the number of the turn that has just joined, `stamp` a new nonce.
///
/// # Errors
/// The store's.
pub async fn trim<S: Store>(
    store: &S,
    session: Nonce,
    turn: u64,
    turns_max: u64,
    stamp: Nonce,
) -> Result<(), StoreError> {
    if turn <= turns_max || !turn.is_multiple_of(TRIM_TURNS) {
        return Ok(());
    }
    let (key, summary_key) = (key::sequence(session), key::summary(session));
    let mut values = store.get_many(vec![key.clone(), summary_key]).await?.into_iter();
    let newest = read_counter(&key, values.next().flatten().as_deref())?;
    let is_summarised = values.next().flatten().is_some();
    let mut next = newest_to_erase(store, session, newest, turn - turns_max).await?;
    if is_summarised && next > 0 {
        // Before the entries: what is summarised from now on is summarised without them.
        summary::forget(store, session, next, next, stamp).await?;
    }
    for _ in 0..ERASED_BATCHES_MAX {
        let oldest = next.saturating_sub(ERASED_RECORDS_MAX - 1).max(1);
        if next == 0 || is_empty(store, session, (oldest, next)).await? {
            return Ok(());
        }
        erase_entries(store, session, (oldest, next), &mut Erased::default()).await?;
        next = oldest - 1;
    }
    Ok(())
}

/// What some entries tell of where the boundary is.
enum Seen {
    /// None of them is there: they were erased.
    Nothing,
    /// None of them knows.
    Unknown,
    /// The entry of this number knows that so many turns had joined up to it.
    Turns(u64, u64),
}

/// The number of the newest entry that belongs to the first `turns` turns; 0 where none is found. Whatever stands before
/// it belongs to them as well.
async fn newest_to_erase<S: Store>(
    store: &S,
    session: Nonce,
    newest: u64,
    turns: u64,
) -> Result<u64, StoreError> {
    let (mut found, mut low, mut high) = (0, 1, newest);
    while low <= high {
        let middle = low + (high - low) / 2;
        let oldest = middle.saturating_sub(PROBE_RECORDS_MAX - 1).max(low);
        match probe(store, session, (oldest, middle)).await? {
            Seen::Turns(at, joined) if joined <= turns => {
                found = at;
                low = middle + 1;
            }
            Seen::Turns(at, _) => high = at - 1,
            Seen::Nothing => low = middle + 1,
            Seen::Unknown => high = oldest - 1,
        }
    }
    Ok(found)
}

async fn values<S: Store>(
    store: &S,
    session: Nonce,
    (oldest, newest): (u64, u64),
) -> Result<Vec<(String, Option<Vec<u8>>)>, StoreError> {
    let keys: Vec<String> = (oldest..=newest).map(|number| key::entry(session, number)).collect();
    Ok(keys.clone().into_iter().zip(store.get_many(keys).await?).collect())
}

async fn is_empty<S: Store>(store: &S, session: Nonce, range: (u64, u64)) -> Result<bool, StoreError> {
    Ok(values(store, session, range).await?.iter().all(|(_, value)| value.is_none()))
}

async fn probe<S: Store>(store: &S, session: Nonce, range: (u64, u64)) -> Result<Seen, StoreError> {
    let mut seen = Seen::Nothing;
    for ((key, value), number) in values(store, session, range).await?.into_iter().zip(range.0..) {
        let Some(entry) = value.and_then(|value| read_entry(&key, value).ok()) else { continue };
        let known = entry.standing.turns;
        match known {
            Some(turns) => seen = Seen::Turns(number, turns),
            None if matches!(seen, Seen::Nothing) => seen = Seen::Unknown,
            None => {}
        }
    }
    Ok(seen)
}
