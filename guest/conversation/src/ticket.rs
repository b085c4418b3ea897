//! One turn at a time in a conversation: a turn draws its number, its *ticket*, when it arrives, goes on when all before
//! it is settled, and settles its own place however it ends.
//!
//! `docs/decisions/0010-conversation-tickets.md` says why it is so. What a turn owes whoever comes after it:
//! [`Ticket::beat`] every [`BEAT_MS`] while it lasts, and in the end [`crate::turn::FinishedTurn::commit`] or
//! [`Ticket::give_up`]. One that does neither, because its host has died, is taken for dead after some seconds.

use crate::entries::{Run, fill, page};
use crate::handover::Handover;
use crate::history::{Continuation, History};
use crate::key;
use crate::queue::{Before, Busy, Judge, SILENCE_MS_MAX, Settled, bury, look, nobody};
use crate::recall::{Beyond, is_long};
use crate::record::{
    Known, Lineage, Pin, Standing, State, read_entry, read_known, write_pending, write_tombstone,
};
use crate::store::{SWAPS_MAX, Store, StoreError, read_counter};
use crate::viewer::{Owner, Viewer};
use crate::window::{Window, WindowLimits};
use std::future::Future;
use waggle_openai::Nonce;

/// How often a turn that lasts shows that it lives, in milliseconds.
pub const BEAT_MS: u64 = 4_000;
/// For how long that holds, in milliseconds.
const LEASE_MS: u64 = 12_000;
/// The pauses between two looks of a turn that waits, in milliseconds; each is twice as long as the one before.
const PAUSE_MS_MIN: u64 = 10;
const PAUSE_MS_MAX: u64 = 100;

/// What waiting needs.
pub trait Clock {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Returns after `ms` milliseconds, not before.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()>;

    /// Whether whoever waits is wanted no longer: then it waits no longer.
    fn is_over(&self) -> bool {
        false
    }
}

/// A turn that wants to join a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The conversation.
    pub conversation: Nonce,
    /// The nonce of the turn's response.
    pub nonce: Nonce,
    /// How much of what came before it wants to read.
    pub limits: WindowLimits,
    /// How long it waits for the turns before it, in milliseconds; 0: not at all.
    pub wait_ms_max: u64,
}

/// Why a turn may not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnterError {
    /// Another turn is under way, and still was after the wait.
    #[error("another turn is under way in the conversation")]
    Locked,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A number that was drawn: a turn's place in its conversation.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub(crate) conversation: Nonce,
    pub(crate) sequence: u64,
    nonce: Nonce,
    /// Before the number was drawn, so that it is never too late.
    drawn_ms: u64,
    /// What stands before it, once that is known.
    pub(crate) before: Option<Settled>,
    /// The newest entry before it that is no tombstone, as far as it is known.
    newest: u64,
}

/// What a turn finds at its place.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is still its own. With the record of the conversation.
    Held(Vec<u8>),
    /// It was taken for dead, and others went on.
    Lost,
    /// The conversation was deleted.
    Gone,
}

/// Lets a turn into a conversation, in its order: when this returns, all before it is settled, and what it returns has
/// the newest of it. `None`: there is no such conversation that the viewer sees.
///
/// # Errors
/// Another turn is under way for longer than this one waits; the store's. Then the place is given up already.
pub async fn enter<S: Store, C: Clock>(
    store: &S,
    clock: &C,
    viewer: &Viewer,
    arrival: Arrival,
) -> Result<Option<History>, EnterError> {
    let refusing = arrival.wait_ms_max == 0;
    let opened = open(store, viewer, arrival.conversation, refusing).await?;
    let Some((Opened { owner, pinned, handover }, newest)) = opened else { return Ok(None) };
    if refusing {
        // A look before: a turn that would be refused leaves no trace.
        Visit { store, clock, arrival }.settled(newest, &mut Patience::none()).await?;
    }
    let mut ticket = Ticket::draw(store, clock, arrival).await?;
    let visit = Visit { store, clock, arrival };
    let mut patience =
        Patience { left_ms: arrival.wait_ms_max, ticket: Some(&mut ticket), handover, ..Patience::none() };
    let entered = visit.settled(patience.place(), &mut patience).await;
    let (settled, mut run) = match entered {
        Ok(Some(entered)) => entered,
        Ok(None) => return Ok(None),
        Err(error) => {
            // Best effort: what the store does not take now is found to be dead later.
            let _unsettled = ticket.give_up(store).await;
            return Err(error);
        }
    };
    let handover = patience.handover;
    ticket.newest = settled.newest;
    ticket.before = Some(settled);
    let mut window = Window::new(arrival.limits);
    let summary = run.take_summary();
    let left_out = match fill(store, arrival.conversation, run, &mut window).await {
        Ok(left_out) => left_out,
        Err(error) => {
            let _unsettled = ticket.give_up(store).await;
            return Err(error.into());
        }
    };
    let conversation = arrival.conversation;
    let beyond = (left_out > 0).then_some(Beyond { conversation, left_out, pinned, summary });
    let continuation = Continuation { owner, ticket: Some(ticket), lineage: Lineage::default() };
    Ok(Some(History { window, continuation, beyond, handover }))
}

/// What a turn learns of a conversation's record.
struct Opened {
    owner: Owner,
    pinned: Vec<Pin>,
    handover: Option<Handover>,
}

/// Whose the conversation is, and where `with_newest` the number of its newest entry, else 0.
async fn open<S: Store>(
    store: &S,
    viewer: &Viewer,
    conversation: Nonce,
    with_newest: bool,
) -> Result<Option<(Opened, u64)>, StoreError> {
    let (key, sequence_key) = (key::conversation(conversation), key::sequence(conversation));
    let (record, newest) = if with_newest {
        let mut values = store.get_many(vec![key.clone(), sequence_key.clone()]).await?.into_iter();
        (values.next().flatten(), read_counter(&sequence_key, values.next().flatten().as_deref())?)
    } else {
        (store.get(&key).await?, 0)
    };
    let Some(record) = record else { return Ok(None) };
    let opened = read_known(&key, &record)?.open(viewer);
    Ok(opened.map(|(Known { pinned, handover }, owner)| (Opened { owner, pinned, handover }, newest)))
}

/// How long a turn still waits, and for how long it has.
struct Patience<'a> {
    left_ms: u64,
    waited_ms: u64,
    beaten_ms: u64,
    /// The number it has drawn, if it has.
    ticket: Option<&'a mut Ticket>,
    /// Whether the conversation is handed over, as it was seen last: a turn before this one may have done it.
    handover: Option<Handover>,
}

impl Patience<'_> {
    fn none() -> Self {
        Self { left_ms: 0, waited_ms: 0, beaten_ms: 0, ticket: None, handover: None }
    }

    /// The place just before the ticket's.
    fn place(&self) -> u64 {
        self.ticket.as_ref().map_or(0, |ticket| ticket.sequence.saturating_sub(1))
    }
}

struct Visit<'a, S, C> {
    store: &'a S,
    clock: &'a C,
    arrival: Arrival,
}

impl<S: Store, C: Clock> Visit<'_, S, C> {
    /// Waits until all up to `newest` is settled, and returns that with the entries that end there. `None`: the
    /// conversation was deleted meanwhile.
    async fn settled(
        &self,
        newest: u64,
        patience: &mut Patience<'_>,
    ) -> Result<Option<(Settled, Run)>, EnterError> {
        let Arrival { conversation, limits, .. } = self.arrival;
        let count = page(&Window::new(limits)).max(1);
        loop {
            let run =
                Run::read_with(self.store, conversation, newest, count, is_long(newest, limits)).await?;
            let judge = Judge { now_ms: self.clock.now_ms(), waited_ms: patience.waited_ms };
            match look(self.store, conversation, newest, &run, judge).await? {
                Before::Settled(settled) => return Ok(Some((settled, run))),
                Before::Dead(dead) => bury(self.store, conversation, dead).await?,
                Before::Busy(busy) => {
                    if let Some(ticket) = &mut patience.ticket {
                        ticket.newest = busy.newest;
                    }
                    if !self.wait(&busy, patience).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until something has changed at a place, or whoever holds it is taken for dead; `false`: the conversation
    /// was deleted.
    async fn wait(&self, busy: &Busy, patience: &mut Patience<'_>) -> Result<bool, EnterError> {
        let Arrival { conversation, .. } = self.arrival;
        let key = key::entry(conversation, busy.at);
        let state =
            busy.seen.clone().map(|seen| read_entry(&key, seen)).transpose()?.map(|entry| entry.state);
        let mut pause_ms = PAUSE_MS_MIN;
        loop {
            let ms = pause_ms.min(patience.left_ms);
            if ms == 0 || self.clock.is_over() {
                if busy.seen.is_none() {
                    // Nobody may ever wait here for long enough to find out that its holder is dead. So the silence is
                    // given an end that all can see.
                    let until_ms = self.clock.now_ms() + LEASE_MS;
                    self.store.swap(&key, None, write_pending(nobody(), until_ms)).await?;
                }
                return Err(EnterError::Locked);
            }
            self.clock.sleep(ms).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
            patience.left_ms -= ms;
            patience.waited_ms += ms;
            self.beat(patience).await?;
            let record_key = key::conversation(conversation);
            let mut values = self.store.get_many(vec![record_key.clone(), key.clone()]).await?.into_iter();
            let Some(record) = values.next().flatten() else { return Ok(false) };
            let judge = Judge { now_ms: self.clock.now_ms(), waited_ms: patience.waited_ms };
            if values.next().flatten() != busy.seen || judge.is_dead(state) {
                let known = read_known(&record_key, &record)?.open(&Viewer::service());
                patience.handover = known.and_then(|(known, _)| known.handover);
                return Ok(true);
            }
        }
    }

    /// Shows those behind it that this turn waits, and has not died.
    async fn beat(&self, patience: &mut Patience<'_>) -> Result<(), EnterError> {
        let Some(ticket) = &patience.ticket else { return Ok(()) };
        if patience.waited_ms - patience.beaten_ms < BEAT_MS {
            return Ok(());
        }
        patience.beaten_ms = patience.waited_ms;
        match ticket.place(self.store, self.clock.now_ms(), LEASE_MS).await? {
            Place::Lost => Err(EnterError::Locked),
            Place::Held(_) | Place::Gone => Ok(()),
        }
    }
}

impl Ticket {
    /// The number, in order of arrival from 1. Numbers of turns that do not join stay empty.
    pub fn number(&self) -> u64 {
        self.sequence
    }

    async fn draw<S: Store, C: Clock>(store: &S, clock: &C, arrival: Arrival) -> Result<Self, StoreError> {
        let Arrival { conversation, nonce, .. } = arrival;
        let drawn_ms = clock.now_ms();
        let sequence = draw(store, conversation).await?;
        let newest = sequence.saturating_sub(1);
        Ok(Self { conversation, sequence, nonce, drawn_ms, before: None, newest })
    }

    /// What the turn's entry says of those before it.
    pub(crate) fn standing(&self, joins: bool) -> Standing {
        let turns = self.before.map(|before| before.turns + u64::from(joins));
        Standing { turns, after: (!joins).then_some(self.newest) }
    }

    /// The tombstone of a turn that does not join, whose response may be kept.
    pub(crate) fn tombstone(&self) -> Vec<u8> {
        write_tombstone(self.nonce, self.standing(false))
    }

    /// Makes sure that the place is the turn's own for `margin_ms` at least, and for [`BEAT_MS`] in any case.
    pub(crate) async fn place<S: Store>(
        &self,
        store: &S,
        now_ms: u64,
        margin_ms: u64,
    ) -> Result<Place, StoreError> {
        let key = key::entry(self.conversation, self.sequence);
        for _ in 0..SWAPS_MAX {
            let keys = vec![key::conversation(self.conversation), key.clone()];
            let mut values = store.get_many(keys).await?.into_iter();
            let Some(record) = values.next().flatten() else { return Ok(Place::Gone) };
            let seen = values.next().flatten();
            let state = seen.clone().map(|seen| read_entry(&key, seen)).transpose()?.map(|entry| entry.state);
            let holds = match state {
                None => now_ms.abs_diff(self.drawn_ms) + margin_ms <= SILENCE_MS_MAX,
                Some(State::Pending(until_ms)) => now_ms + margin_ms <= until_ms,
                Some(State::Settled | State::Abandoned) => return Ok(Place::Lost),
            };
            let pending = || write_pending(self.nonce, now_ms + LEASE_MS);
            if holds || store.swap(&key, seen.as_deref(), pending()).await? {
                return Ok(Place::Held(record));
            }
        }
        Err(StoreError::Contended(key))
    }

    /// Shows that the turn lives. To be called every [`BEAT_MS`] while it lasts; `false`: there is no point any more, its
    /// place is lost or its conversation deleted.
    ///
    /// # Errors
    /// The store's. What was shown before holds for a while.
    pub async fn beat<S: Store>(&self, store: &S, now_ms: u64) -> Result<bool, StoreError> {
        Ok(matches!(self.place(store, now_ms, LEASE_MS).await?, Place::Held(_)))
    }

    /// Gives the place up, so that others go on at once. For a turn that ends before there is anything to commit.
    ///
    /// # Errors
    /// The store's.
    pub async fn give_up<S: Store>(&self, store: &S) -> Result<(), StoreError> {
        let key = key::entry(self.conversation, self.sequence);
        for _ in 0..SWAPS_MAX {
            let keys = vec![key::conversation(self.conversation), key.clone()];
            let mut values = store.get_many(keys).await?.into_iter();
            if values.next().flatten().is_none() {
                return Ok(());
            }
            let seen = values.next().flatten();
            let state = seen.clone().map(|seen| read_entry(&key, seen)).transpose()?.map(|entry| entry.state);
            let settled = matches!(state, Some(State::Settled | State::Abandoned));
            let tombstone = || write_tombstone(nobody(), self.standing(false));
            if settled || store.swap(&key, seen.as_deref(), tombstone()).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended(key))
    }
}

/// Draws the next number of a conversation.
pub(crate) async fn draw<S: Store>(store: &S, conversation: Nonce) -> Result<u64, StoreError> {
    let key = key::sequence(conversation);
    u64::try_from(store.increment(&key).await?)
        .map_err(|_| StoreError::Unreadable { key, reason: "the counter is negative".to_owned() })
}
