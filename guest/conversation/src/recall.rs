//! What a turn sees of a conversation besides its window: the summary of what fell out of it, and what is pinned.

use crate::items::has_id;
use crate::key;
use crate::record::{Pin, StoredTurn, read_entry};
use crate::store::{Store, StoreError};
use crate::summary::{self, Behind, Recorded};
use crate::window::{Window, WindowLimits};
use waggle_openai::Nonce;

/// An estimate of the tokens around a summary, which say what it is.
const FRAME_TOKENS: u64 = 60;

/// Whether a conversation of so many entries has probably outgrown its window, as one of turns with two items each has. Then
/// its summary is read together with the entries.
pub(crate) fn is_long(newest: u64, limits: WindowLimits) -> bool {
    newest.saturating_mul(2) > limits.items_max as u64
}

/// What of a conversation lies beyond a window.
#[derive(Debug)]
pub struct Beyond {
    pub(crate) conversation: Nonce,
    /// The number of the newest entry that the window has left out.
    pub(crate) left_out: u64,
    pub(crate) pinned: Vec<Pin>,
    /// The record of the summary, where it was read already.
    pub(crate) summary: Option<Option<Vec<u8>>>,
}

/// What comes before the window.
#[derive(Debug, Default)]
pub struct Recalled {
    /// What fell out of the window, in short.
    pub summary: Option<String>,
    /// The pinned items that fell out of it, oldest first, each as JSON.
    pub pinned: Vec<String>,
    /// An estimate of the tokens of both.
    pub tokens: u64,
    /// Where the summary lacks something that fell out, or will when the next turn has.
    pub behind: Option<Behind>,
}

/// Reads what comes before the window, in one operation at most. The window makes room for it. `summarises`: the summary is
/// wanted.
///
/// # Errors
/// The store's.
pub async fn recall<S: Store>(
    store: &S,
    beyond: Beyond,
    window: &mut Window,
    summarises: bool,
) -> Result<Recalled, StoreError> {
    let (recorded, mut entries) = read(store, &beyond, summarises).await?;
    let Beyond { conversation, mut left_out, pinned, .. } = beyond;
    let summary = recorded.as_ref().map(|recorded| &recorded.summary).filter(|it| !it.text.is_empty());
    let mut recalled = Recalled { summary: summary.map(|it| it.text.clone()), ..Recalled::default() };
    let mut needed = summary.map_or(0, |it| it.tokens + FRAME_TOKENS);
    let mut counted = 0;
    loop {
        // In order of their entries, so those that are counted already come first.
        let fallen = pinned.iter().take_while(|pin| pin.entry <= left_out).count();
        needed += pinned.iter().take(fallen).skip(counted).map(|pin| pin.tokens).sum::<u64>();
        counted = fallen;
        recalled.tokens += needed;
        let given_up = window.make_room(std::mem::take(&mut needed));
        let Some((newest, _)) = given_up.last() else { break };
        left_out = *newest;
        entries.extend(given_up);
    }
    for pin in pinned.iter().take(counted) {
        let items = entries.iter().filter(|(sequence, _)| *sequence == pin.entry);
        // One that was deleted is pinned no more.
        let item = items.flat_map(|(_, turn)| turn.items()).find(|item| has_id(item, &pin.id));
        recalled.pinned.extend(item.map(str::to_owned));
    }
    let through = recorded.as_ref().map_or(0, |recorded| recorded.summary.through);
    // One turn before it would lack anything, so that it is there when it is needed.
    if summarises && through <= left_out {
        recalled.behind = Some(Behind { conversation, left_out, seen: recorded });
    }
    Ok(recalled)
}

/// Reads the summary, unless it was read, and the entries of what is pinned and fell out of the window.
async fn read<S: Store>(
    store: &S,
    beyond: &Beyond,
    summarises: bool,
) -> Result<(Option<Recorded>, Vec<(u64, StoredTurn)>), StoreError> {
    let Beyond { conversation, left_out, pinned, summary } = beyond;
    let summary_key = key::summary(*conversation);
    let mut numbers: Vec<u64> = pinned.iter().map(|pin| pin.entry).filter(|at| at <= left_out).collect();
    numbers.dedup();
    let mut keys: Vec<String> = numbers.iter().map(|number| key::entry(*conversation, *number)).collect();
    let reads_summary = summarises && summary.is_none();
    keys.extend(reads_summary.then(|| summary_key.clone()));
    let mut values = if keys.is_empty() { Vec::new() } else { store.get_many(keys.clone()).await? };
    let record = if reads_summary { values.pop().flatten() } else { summary.clone().flatten() };
    let record = record.filter(|_| summarises);
    let recorded = record.map(|record| summary::parse(&summary_key, record)).transpose()?;
    let mut entries = Vec::with_capacity(numbers.len());
    for (number, (key, value)) in numbers.into_iter().zip(keys.iter().zip(values)) {
        let Some(value) = value else { continue };
        entries.push((number, read_entry(key, value)?.turn));
    }
    Ok((recorded, entries))
}
