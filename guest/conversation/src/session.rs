//! Sessions: conversations that end when they are not used, and that keep their last turns only.
//!
//! A session is a conversation whose record says so. Its turns are a conversation's turns, its items a conversation's items.

use crate::conversation::{self, Conversation, NewItems};
use crate::erase::{Erased, erase_conversation};
use crate::items::entry_of;
use crate::key;
use crate::owned::{self, Index, Kind, PAGE_ENTRIES_MAX};
use crate::record::{ConversationRecord, Entry, State, StoredTurn, read_conversation, read_entry};
use crate::store::{Store, StoreError, read_counter};
use crate::viewer::Viewer;
use waggle_openai::Nonce;

/// How many entries are read at once.
const PAGE_RECORDS_MAX: u64 = 20;
/// How many numbers in a row without a turn are passed over when turns are read.
const GAP_RECORDS_MAX: u64 = 200;
/// How many pages of an owner's list one listing reads.
const LIST_PAGES_MAX: usize = 100;
/// How many sessions that have ended one listing erases.
const SWEPT_SESSIONS_MAX: usize = 4;

/// What there is under a session's id.
#[derive(Debug)]
pub enum Opened {
    /// The session.
    Open(Box<Conversation>),
    /// A session that has ended. It is erased by now.
    Ended,
    /// No session that the viewer sees.
    Unknown,
}

/// A turn of a session.
#[derive(Debug)]
pub struct SessionTurn {
    /// Its number in the session.
    pub seq: u64,
    /// The nonce of its response.
    pub nonce: Nonce,
    /// Its items.
    pub items: StoredTurn,
}

/// A session in a list.
#[derive(Debug)]
pub struct ListedSession {
    /// Its nonce.
    pub nonce: Nonce,
    /// Its record.
    pub record: ConversationRecord,
}

/// A page of an owner's sessions.
#[derive(Debug, Default)]
pub struct SessionPage {
    /// The sessions, newest first.
    pub sessions: Vec<ListedSession>,
    /// Whether there are more behind them.
    pub has_more: bool,
    /// Where the next page begins, when so much else is listed that the search ended before the page was full.
    pub next: Option<u64>,
}

/// When a session is over.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime {
    /// After how many seconds without use a session ends; 0: never.
    pub ttl_s: u64,
    /// Now, in seconds since 1970.
    pub now_s: u64,
}

impl Lifetime {
    fn is_over(self, record: &ConversationRecord) -> bool {
        self.ttl_s > 0 && self.now_s.saturating_sub(record.used_at) >= self.ttl_s
    }
}

/// Begins a session, which is the viewer's.
///
/// # Errors
/// The store's.
pub async fn create<S: Store>(
    store: &S,
    viewer: &Viewer,
    session: Nonce,
    record: &ConversationRecord,
) -> Result<(), StoreError> {
    let record = ConversationRecord { session: true, ..record.clone() };
    let nothing = NewItems { nonce: session, items: &[], tokens: 0 };
    conversation::create(store, viewer, session, &record, nothing).await
}

/// Opens a session.
///
/// # Errors
/// The store's.
pub async fn open<S: Store>(
    store: &S,
    viewer: &Viewer,
    session: Nonce,
    lifetime: Lifetime,
) -> Result<Opened, StoreError> {
    let Some(found) = conversation::open(store, viewer, session).await? else { return Ok(Opened::Unknown) };
    if !found.record().session {
        return Ok(Opened::Unknown);
    }
    if lifetime.is_over(found.record()) {
        delete(store, &found).await?;
        return Ok(Opened::Ended);
    }
    Ok(Opened::Open(Box::new(found)))
}

/// Erases a session, the responses of its turns included.
///
/// # Errors
/// The store's.
pub async fn delete<S: Store>(store: &S, session: &Conversation) -> Result<(), StoreError> {
    erase_conversation(store, session.nonce(), &mut Erased::default()).await?;
    let listed = session.record().listed.and_then(|number| owned::entry_key(session.owner(), number));
    match listed {
        Some(key) => store.delete_many(vec![key]).await,
        None => Ok(()),
    }
}

/// Takes back a session that was begun and never told to anybody. Its entry in the list is found empty.
///
/// # Errors
/// The store's.
pub async fn forget<S: Store>(store: &S, session: Nonce) -> Result<(), StoreError> {
    erase_conversation(store, session, &mut Erased::default()).await
}

/// The number of the turn whose entry this is; `None` where none stands. Items added by hand have the number of the turn
/// before them, 0 before the first.
fn turn_number(entry: &Entry, sequence: u64) -> Option<u64> {
    let settled = entry.state == State::Settled && !entry.turn.is_empty();
    // One without a number is from before there were any, or was added by hand while a turn was under way.
    let old = entry.standing.after.is_none().then_some(sequence);
    entry.standing.turns.or(old).filter(|number| settled && *number > 0)
}

/// How many turns had joined a session with the turn of this response, which is its number; `None` where it has not joined.
///
/// # Errors
/// The store's.
pub async fn number_of<S: Store>(
    store: &S,
    session: Nonce,
    response: Nonce,
) -> Result<Option<u64>, StoreError> {
    let Some((key, value)) = entry_of(store, session, response).await? else { return Ok(None) };
    Ok(read_entry(&key, value)?.standing.turns)
}

/// The last turns of a session, oldest first, at most `limit` of them.
///
/// # Errors
/// The store's.
pub async fn turns<S: Store>(
    store: &S,
    session: &Conversation,
    limit: usize,
) -> Result<Vec<SessionTurn>, StoreError> {
    let key = key::sequence(session.nonce());
    let mut next = read_counter(&key, store.get(&key).await?.as_deref())?;
    let mut turns = Vec::with_capacity(limit);
    let mut gap = 0;
    while next > 0 && turns.len() < limit && gap < GAP_RECORDS_MAX {
        let oldest = next.saturating_sub(PAGE_RECORDS_MAX.min(limit as u64) - 1).max(1);
        let keys: Vec<String> =
            (oldest..=next).rev().map(|number| key::entry(session.nonce(), number)).collect();
        let values = store.get_many(keys.clone()).await?;
        let newest = next;
        next = oldest - 1;
        // The newest that is worth reading: tombstones know which that is.
        let mut wanted = newest;
        for ((key, value), sequence) in keys.iter().zip(values).zip((oldest..=newest).rev()) {
            if sequence > wanted {
                continue;
            }
            let entry = value.map(|value| read_entry(key, value)).transpose()?;
            let Some(entry) = entry else {
                gap += 1;
                continue;
            };
            if entry.state == State::Abandoned {
                wanted = entry.standing.after.unwrap_or(wanted).min(sequence.saturating_sub(1));
                next = next.min(wanted);
                continue;
            }
            if let Some(seq) = turn_number(&entry, sequence)
                && turns.len() < limit
            {
                gap = 0;
                turns.push(SessionTurn { seq, nonce: entry.nonce, items: entry.turn });
            }
        }
    }
    turns.reverse();
    turns.dedup_by_key(|turn| turn.seq);
    Ok(turns)
}

/// A page of the sessions of a user, newest first. `after` is the number under which the last one of the page before is
/// listed. Some of those that have ended are erased on the way.
///
/// # Errors
/// The store's.
pub async fn list<S: Store>(
    store: &S,
    viewer: &Viewer,
    lifetime: Lifetime,
    after: Option<u64>,
    limit: usize,
) -> Result<SessionPage, StoreError> {
    let Some(index) = Index::open(store, &viewer.owner()).await? else { return Ok(SessionPage::default()) };
    let mut next = after.map_or(index.newest, |after| after.saturating_sub(1).min(index.newest));
    let mut page = SessionPage::default();
    let mut ended = Vec::new();
    for _ in 0..LIST_PAGES_MAX {
        if next <= index.floor || page.sessions.len() > limit {
            break;
        }
        let oldest = next.saturating_sub(PAGE_ENTRIES_MAX - 1).max(index.floor + 1);
        let mut entries = index.page(store, oldest, next).await?;
        entries.reverse();
        let listed = entries.into_iter().filter_map(|(_, listed)| listed);
        let nonces: Vec<Nonce> =
            listed.filter(|listed| listed.kind == Kind::Session).flat_map(|listed| listed.ids).collect();
        for (nonce, record) in records(store, viewer, nonces).await? {
            if lifetime.is_over(&record) {
                ended.push(nonce);
            } else {
                page.sessions.push(ListedSession { nonce, record });
            }
        }
        next = oldest - 1;
    }
    page.has_more = page.sessions.len() > limit || next > index.floor;
    page.next = (page.sessions.len() <= limit && page.has_more).then_some(next + 1);
    page.sessions.truncate(limit);
    for nonce in ended.into_iter().take(SWEPT_SESSIONS_MAX) {
        open(store, viewer, nonce, lifetime).await?;
    }
    Ok(page)
}

/// The records of those that are there.
async fn records<S: Store>(
    store: &S,
    viewer: &Viewer,
    nonces: Vec<Nonce>,
) -> Result<Vec<(Nonce, ConversationRecord)>, StoreError> {
    if nonces.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = nonces.iter().map(|nonce| key::conversation(*nonce)).collect();
    let values = store.get_many(keys.clone()).await?;
    let mut records = Vec::with_capacity(nonces.len());
    for ((nonce, key), value) in nonces.into_iter().zip(keys).zip(values) {
        let Some(value) = value else { continue };
        records.extend(read_conversation(&key, &value)?.open(viewer).map(|(record, _)| (nonce, record)));
    }
    Ok(records)
}
