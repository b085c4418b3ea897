//! Who is before whom in a conversation: from the entries before a place to whether it is its turn, and the burial of
//! those who died in the queue.

use crate::entries::{PAGE_RECORDS_MAX, Run};
use crate::key;
use crate::record::{Entry, Standing, State, write_tombstone};
use crate::store::{Store, StoreError};
use waggle_openai::Nonce;

/// How long a turn may be silent after it has drawn its number, in milliseconds, until it is taken for dead.
pub(crate) const SILENCE_MS_MAX: u64 = 8_000;

/// What stands before a place.
#[derive(Debug)]
pub(crate) enum Before {
    /// All of it is settled.
    Settled(Settled),
    /// A turn is under way there.
    Busy(Busy),
    /// Turns that died, and are to be buried before anybody goes on.
    Dead(Dead),
}

/// All before a place is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// How many turns have joined so far.
    pub(crate) turns: u64,
    /// The newest entry that is no tombstone; 0 for none.
    pub(crate) newest: u64,
}

/// A turn is under way.
#[derive(Debug)]
pub(crate) struct Busy {
    /// Its place.
    pub(crate) at: u64,
    /// What it has left there so far.
    pub(crate) seen: Option<Vec<u8>>,
    /// The newest place that holds no tombstone.
    pub(crate) newest: u64,
}

/// Turns that died, newest first, among what else is no tombstone.
#[derive(Debug)]
pub(crate) struct Dead {
    visited: Vec<Visited>,
    settled: Settled,
}

#[derive(Debug)]
struct Visited {
    at: u64,
    /// For one that died: what it left there.
    dead: Option<Option<Vec<u8>>>,
}

/// When a turn that has not settled is taken for dead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge {
    pub(crate) now_ms: u64,
    /// For how long whoever looks has been waiting behind it, with a number drawn later.
    pub(crate) waited_ms: u64,
}

impl Judge {
    pub(crate) fn is_dead(self, state: Option<State>) -> bool {
        match state {
            None => self.waited_ms >= SILENCE_MS_MAX,
            Some(State::Pending(until_ms)) => until_ms <= self.now_ms,
            Some(State::Settled | State::Abandoned) => false,
        }
    }
}

/// Reads what stands at a place and before it. `run` begins there.
pub(crate) async fn look<S: Store>(
    store: &S,
    conversation: Nonce,
    newest: u64,
    run: &Run,
    judge: Judge,
) -> Result<Before, StoreError> {
    let mut visited: Vec<Visited> = Vec::new();
    let mut further: Option<Run> = None;
    let mut at = newest;
    // Each step goes to an older place.
    while at > 0 {
        let known = run.at(at).or_else(|| further.as_ref().and_then(|run| run.at(at)));
        let Some(entry) = known else {
            further = Some(Run::read(store, conversation, at, PAGE_RECORDS_MAX).await?);
            continue;
        };
        let seen = || entry.map(|entry| entry.as_bytes().to_vec());
        match entry.map(|entry| (entry.state, entry.standing)) {
            state @ (None | Some((State::Pending(_), _))) => {
                if !judge.is_dead(state.map(|(state, _)| state)) {
                    let newest = visited.first().map_or(at, |first| first.at);
                    return Ok(Before::Busy(Busy { at, seen: seen(), newest }));
                }
                visited.push(Visited { at, dead: Some(seen()) });
                at -= 1;
            }
            Some((State::Abandoned, Standing { turns, after })) => {
                let after = after.unwrap_or(at - 1).min(at - 1);
                if let Some(turns) = turns {
                    return Ok(settled(visited, turns, after));
                }
                at = after;
            }
            Some((State::Settled, Standing { turns, after })) => match (turns, after) {
                (None, Some(after)) => {
                    visited.push(Visited { at, dead: None });
                    at = after.min(at - 1);
                }
                (turns, _) => return Ok(settled(visited, turns.unwrap_or(at), at)),
            },
        }
    }
    Ok(settled(visited, 0, 0))
}

fn settled(visited: Vec<Visited>, turns: u64, base: u64) -> Before {
    let newest = visited.first().map_or(base, |first| first.at);
    if visited.iter().any(|visited| visited.dead.is_some()) {
        return Before::Dead(Dead { visited, settled: Settled { turns, newest: base } });
    }
    Before::Settled(Settled { turns, newest })
}

/// What stands in place of a response's nonce where no response is: whoever erases entries erases the responses that
/// they name, and a turn that died, or gave up, may yet be made in another place, or was never known.
pub(crate) fn nobody() -> Nonce {
    Nonce::mint(0, 0)
}

/// Puts tombstones where turns died, oldest first, so that each says the truth about those before it. One that has come
/// alive meanwhile is left alone, and so are all behind it.
pub(crate) async fn bury<S: Store>(store: &S, conversation: Nonce, dead: Dead) -> Result<(), StoreError> {
    let Settled { turns, newest: mut below } = dead.settled;
    for Visited { at, dead } in dead.visited.into_iter().rev() {
        let Some(seen) = dead else {
            below = at;
            continue;
        };
        let tombstone = write_tombstone(nobody(), Standing { turns: Some(turns), after: Some(below) });
        if !store.swap(&key::entry(conversation, at), seen.as_deref(), tombstone).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// What an entry that is added by hand can tell of those before it, from the one just before it.
pub(crate) fn standing_after(sequence: u64, previous: Option<&Entry>) -> Standing {
    let known = |turns| Standing { turns: Some(turns), after: None };
    let open = |after| Standing { turns: None, after: Some(after) };
    let before = sequence.saturating_sub(1);
    if before == 0 {
        return known(0);
    }
    match previous.map(|entry| (entry.state, entry.standing)) {
        None | Some((State::Pending(_), _)) => open(before),
        Some((_, Standing { turns: Some(turns), .. })) => known(turns),
        Some((_, Standing { turns: None, after: Some(after) })) => open(after),
        Some((_, Standing { turns: None, after: None })) => known(before),
    }
}
