//! The values: how they are written, and the views by which they are read without copying their items.

use crate::handover::Handover;
use crate::plain::PlainEntry;
use crate::response::Streamed;
use crate::store::StoreError;
use crate::viewer::{Owned, Owner, Viewer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::ops::Range;
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;
use waggle_openai::json::{self, Text};

/// The most ancestors a response record lists.
pub const ANCESTORS_MAX: usize = 100;

/// A conversation's own record, without its owner.
#[derive(Debug, Clone)]
pub struct ConversationRecord {
    /// In seconds since 1970.
    pub created_at: u64,
    /// When the record was last written, in seconds since 1970: a store's time to live counts from there.
    pub used_at: u64,
    /// The client's pairs, as an object of strings.
    pub metadata: Box<RawValue>,
    /// Whether it is a session, which ends when it is not used.
    pub session: bool,
    /// The number under which its owner's list has it; a service has no list.
    pub listed: Option<u64>,
    /// The items that its turns see even when they have fallen out of the window, in the order in which they stand.
    pub pinned: Vec<Pin>,
    /// Set while it is handed over to people.
    pub handover: Option<Handover>,
}

/// An item that is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its id.
    pub id: String,
    /// The number of its entry.
    pub entry: u64,
    /// An estimate of its tokens.
    pub tokens: u64,
}

#[derive(Serialize, Deserialize)]
struct ConversationView<'a> {
    #[serde(default, skip_serializing_if = "Owner::is_services")]
    user: Owner,
    created_at: u64,
    /// Absent where it was never written again, in a record of an earlier version.
    #[serde(default)]
    used_at: Option<u64>,
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    session: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listed: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pinned: Vec<Pin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handover: Option<Handover>,
}

#[derive(Deserialize)]
struct OwnerView {
    #[serde(default)]
    user: Owner,
}

#[derive(Deserialize)]
struct KnownView {
    #[serde(default)]
    user: Owner,
    #[serde(default)]
    pinned: Vec<Pin>,
    #[serde(default)]
    handover: Option<Handover>,
}

/// What a turn wants to know of its conversation's record.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The items that are pinned.
    pub(crate) pinned: Vec<Pin>,
    /// Set while it is handed over to people.
    pub(crate) handover: Option<Handover>,
}

/// What came before a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// The responses before it in its chain, newest first, at most [`ANCESTORS_MAX`].
    pub ancestors: Vec<Nonce>,
    /// Where the chain's oldest member stands in a conversation, when it does: what came before is to be read there.
    pub origin: Option<Origin>,
}

impl Lineage {
    /// The lineage of a response that continues `parent`.
    pub fn continuing(parent: Nonce, lineage: Lineage) -> Self {
        let whole = lineage.ancestors.len() < ANCESTORS_MAX;
        let ancestors = std::iter::once(parent).chain(lineage.ancestors).take(ANCESTORS_MAX).collect();
        Self { ancestors, origin: lineage.origin.filter(|_| whole) }
    }
}

/// A place in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The conversation.
    pub conversation: Nonce,
    /// The number of the entry.
    pub sequence: u64,
}

/// A turn read from the store: its text, and where in it the items stand.
#[derive(Debug, Clone)]
pub struct StoredTurn {
    text: String,
    items: Vec<Range<usize>>,
    /// An estimate of the tokens a model counts for its items.
    pub tokens: u64,
}

impl StoredTurn {
    fn new(text: String, items: Vec<Range<usize>>, tokens: u64) -> Self {
        Self { text, items, tokens }
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Its items, oldest first, each as JSON.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.items.iter().filter_map(|range| self.text.get(range.clone()))
    }
}

#[derive(Deserialize)]
struct EntryView<'a> {
    nonce: &'a str,
    tokens: u64,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    #[serde(default)]
    turn: Option<u64>,
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    abandoned: bool,
    #[serde(default)]
    pending_until_ms: Option<u64>,
}

#[derive(Deserialize)]
struct ResponseView<'a> {
    #[serde(default)]
    user: Owner,
    tokens: u64,
    #[serde(borrow)]
    ancestors: Vec<&'a str>,
    #[serde(borrow)]
    origin: Option<OriginView<'a>>,
    #[serde(borrow)]
    response: OutputView<'a>,
    #[serde(borrow)]
    input: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputView<'a> {
    status: Text<'a>,
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

/// The statuses of a response that is not over, as background responses have them.
const PENDING: [&str; 2] = ["queued", "in_progress"];

#[derive(Deserialize)]
struct OriginView<'a> {
    conversation: &'a str,
    sequence: u64,
}

#[derive(Deserialize)]
struct ObjectView {
    #[serde(default)]
    user: Owner,
    response: Box<RawValue>,
}

#[derive(Deserialize)]
struct StreamedView {
    #[serde(default)]
    user: Owner,
    response: Box<RawValue>,
    stream: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct InputView {
    #[serde(default)]
    user: Owner,
    input: Vec<RawItem>,
}

/// What an entry tells of those before it. An entry from before there were tickets tells nothing: all before it is
/// settled, and its number counts as that of the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// How many turns have joined the conversation up to and with this entry. Where it is told, all before it is settled.
    pub(crate) turns: Option<u64>,
    /// Where to look next: for a tombstone the newest entry before it that is none, 0 for no such entry; for items added
    /// by hand the newest place before them that was not settled.
    pub(crate) after: Option<u64>,
}

/// What stands at a place of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Items, for good; also those that were all deleted since.
    Settled,
    /// A tombstone: nothing, for good. Whoever drew the number joins no more.
    Abandoned,
    /// A turn under way, whose lease holds that long, in milliseconds since 1970.
    Pending(u64),
}

/// An entry of a conversation: the items of one commit, or what stands where some might have been.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The nonce its items' ids carry.
    pub(crate) nonce: Nonce,
    /// Its items.
    pub(crate) turn: StoredTurn,
    /// What it tells of those before it.
    pub(crate) standing: Standing,
    /// What it is.
    pub(crate) state: State,
}

impl Entry {
    /// The record as it lies in the store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.turn.text.as_bytes()
    }
}

fn unreadable(key: &str, reason: impl ToString) -> StoreError {
    StoreError::Unreadable { key: key.to_owned(), reason: reason.to_string() }
}

fn text(key: &str, value: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(value).map_err(|error| unreadable(key, error))
}

/// Where in `text` the raw values stand that were borrowed from it.
fn ranges<'a>(text: &str, items: impl Iterator<Item = &'a RawValue>) -> Vec<Range<usize>> {
    let base = text.as_ptr() as usize;
    items
        .map(|item| {
            let start = (item.get().as_ptr() as usize).saturating_sub(base);
            start..start + item.get().len()
        })
        .collect()
}

fn nonce(key: &str, text: &str) -> Result<Nonce, StoreError> {
    Nonce::parse(text).ok_or_else(|| unreadable(key, "a nonce in it is none"))
}

fn view<'a, T: Deserialize<'a>>(key: &str, value: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| unreadable(key, error))
}

/// Whether `viewer` sees the record. A service sees even one that cannot be read, so that it can be deleted.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn is_seen(key: &str, value: &[u8], viewer: &Viewer) -> Result<bool, StoreError> {
    if viewer.is_service() {
        return Ok(true);
    }
    Ok(read_owner(key, value)?.open(viewer).is_some())
}

/// Reads a conversation's record.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_conversation(key: &str, value: &[u8]) -> Result<Owned<ConversationRecord>, StoreError> {
    let ConversationView { user, created_at, used_at, metadata, session, listed, pinned, handover } =
        view(key, value)?;
    let (used_at, metadata) = (used_at.unwrap_or(created_at), metadata.to_owned());
    let record = ConversationRecord { created_at, used_at, metadata, session, listed, pinned, handover };
    Ok(Owned::new(user, record))
}

/// A conversation's record as it is to be written when the conversation is used: `None` where it was written less than
/// `renewal_s` before `now_s`.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn renewed(
    key: &str,
    value: &[u8],
    now_s: u64,
    renewal_s: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut record: ConversationView<'_> = view(key, value)?;
    let used_at = record.used_at.unwrap_or(record.created_at);
    // A clock that has gone back must not keep a conversation from being renewed.
    if renewal_s > 0 && now_s.abs_diff(used_at) < renewal_s {
        return Ok(None);
    }
    record.used_at = Some(now_s);
    Ok(Some(write_view(&record)))
}

/// Reads only whose a conversation is.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_owner(key: &str, value: &[u8]) -> Result<Owned<()>, StoreError> {
    let OwnerView { user } = view(key, value)?;
    Ok(Owned::new(user, ()))
}

/// Reads whose a conversation is, and what a turn wants to know of it.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_known(key: &str, value: &[u8]) -> Result<Owned<Known>, StoreError> {
    let KnownView { user, pinned, handover } = view(key, value)?;
    Ok(Owned::new(user, Known { pinned, handover }))
}

/// A conversation's record with a mark; `None` where one stands already.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn marked(key: &str, value: &[u8], new: &Handover) -> Result<Option<Vec<u8>>, StoreError> {
    let mut record: ConversationView<'_> = view(key, value)?;
    if record.handover.is_some() {
        return Ok(None);
    }
    record.handover = Some(new.clone());
    Ok(Some(write_view(&record)))
}

/// Reads the object of a response record.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_object(key: &str, value: &[u8]) -> Result<Owned<Box<RawValue>>, StoreError> {
    let ObjectView { user, response } = view(key, value)?;
    Ok(Owned::new(user, response))
}

/// Reads the object of a response record, and how it grew.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_streamed(key: &str, value: &[u8]) -> Result<Owned<Streamed>, StoreError> {
    let StreamedView { user, response, stream } = view(key, value)?;
    Ok(Owned::new(user, Streamed { object: response, stream }))
}

/// Reads the input items of a response record.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_input(key: &str, value: &[u8]) -> Result<Owned<Vec<RawItem>>, StoreError> {
    let InputView { user, input } = view(key, value)?;
    Ok(Owned::new(user, input))
}

/// Reads an entry.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_entry(key: &str, value: Vec<u8>) -> Result<Entry, StoreError> {
    let text = text(key, value)?;
    if let Some(PlainEntry { nonce, tokens, items, turn, after }) = PlainEntry::read(&text) {
        let (turn, standing) = (StoredTurn::new(text, items, tokens), Standing { turns: turn, after });
        return Ok(Entry { nonce, turn, standing, state: State::Settled });
    }
    let view: EntryView<'_> = serde_json::from_str(&text).map_err(|error| unreadable(key, error))?;
    let (nonce, tokens) = (nonce(key, view.nonce)?, view.tokens);
    let standing = Standing { turns: view.turn, after: view.after };
    let state = match view.pending_until_ms {
        Some(until_ms) => State::Pending(until_ms),
        None if view.abandoned => State::Abandoned,
        None => State::Settled,
    };
    let items = ranges(&text, view.items.into_iter());
    Ok(Entry { nonce, turn: StoredTurn::new(text, items, tokens), standing, state })
}

/// Reads a response record as a turn of a chain, with its lineage; the last says whether it is still to be made.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn read_response(
    key: &str,
    value: Vec<u8>,
) -> Result<Owned<(StoredTurn, Lineage, bool)>, StoreError> {
    let text = text(key, value)?;
    let view: ResponseView<'_> = serde_json::from_str(&text).map_err(|error| unreadable(key, error))?;
    let ancestors = view.ancestors.iter().map(|text| nonce(key, text)).collect::<Result<_, _>>()?;
    let origin = view
        .origin
        .map(|origin| {
            Ok(Origin { conversation: nonce(key, origin.conversation)?, sequence: origin.sequence })
        })
        .transpose()?;
    let (user, tokens) = (view.user, view.tokens);
    let pending = PENDING.contains(&&*view.response.status);
    let items = ranges(&text, view.input.into_iter().chain(view.response.output));
    Ok(Owned::new(user, (StoredTurn::new(text, items, tokens), Lineage { ancestors, origin }, pending)))
}

/// Writes a conversation's record.
pub(crate) fn write_conversation(record: &ConversationRecord, owner: &Owner) -> Vec<u8> {
    write_view(&ConversationView {
        user: owner.clone(),
        created_at: record.created_at,
        used_at: Some(record.used_at),
        metadata: &record.metadata,
        session: record.session,
        listed: record.listed,
        pinned: record.pinned.clone(),
        handover: record.handover.clone(),
    })
}

fn write_view(view: &ConversationView<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json::push(&mut out, view);
    out
}

/// Writes an entry.
pub(crate) fn write_entry<'a>(
    nonce: Nonce,
    items: impl Iterator<Item = &'a str>,
    tokens: u64,
    standing: Standing,
) -> Vec<u8> {
    let mut out = begin_entry(nonce, items, tokens);
    stand(&mut out, standing);
    out.push(b'}');
    out
}

/// Writes a tombstone: the entry of a turn that does not join.
pub(crate) fn write_tombstone(nonce: Nonce, standing: Standing) -> Vec<u8> {
    let mut out = begin_entry(nonce, std::iter::empty(), 0);
    stand(&mut out, standing);
    out.extend_from_slice(b",\"abandoned\":true}");
    out
}

/// Writes what stands in the place of an entry while its turn is under way.
pub(crate) fn write_pending(nonce: Nonce, until_ms: u64) -> Vec<u8> {
    let mut out = begin_entry(nonce, std::iter::empty(), 0);
    number(&mut out, b",\"pending_until_ms\":", Some(until_ms));
    out.push(b'}');
    out
}

fn stand(out: &mut Vec<u8>, standing: Standing) {
    number(out, b",\"turn\":", standing.turns);
    number(out, b",\"after\":", standing.after);
}

fn number(out: &mut Vec<u8>, name: &[u8], value: Option<u64>) {
    if let Some(value) = value {
        out.extend_from_slice(name);
        json::push(out, &value);
    }
}

fn begin_entry<'a>(nonce: Nonce, items: impl Iterator<Item = &'a str>, tokens: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"nonce\":\"");
    out.extend_from_slice(nonce.as_str().as_bytes());
    out.extend_from_slice(b"\",\"tokens\":");
    json::push(&mut out, &tokens);
    out.extend_from_slice(b",\"items\":");
    array(&mut out, items);
    out
}

/// Writes a response record.
pub(crate) fn write_response(
    response: &[u8],
    input: &[RawItem],
    tokens: u64,
    lineage: &Lineage,
    owner: &Owner,
    stream: Option<&[u8]>,
) -> Vec<u8> {
    let inputs: usize = input.iter().map(|item| item.get().len() + 1).sum();
    let mut out = Vec::with_capacity(response.len() + inputs + 256);
    out.push(b'{');
    if let Some(user) = owner.user() {
        out.extend_from_slice(b"\"user\":");
        json::push(&mut out, user);
        out.push(b',');
    }
    out.extend_from_slice(b"\"tokens\":");
    json::push(&mut out, &tokens);
    out.extend_from_slice(b",\"ancestors\":[");
    for (index, ancestor) in lineage.ancestors.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(ancestor.as_str().as_bytes());
        out.push(b'"');
    }
    out.push(b']');
    if let Some(origin) = &lineage.origin {
        out.extend_from_slice(b",\"origin\":{\"conversation\":\"");
        out.extend_from_slice(origin.conversation.as_str().as_bytes());
        out.extend_from_slice(b"\",\"sequence\":");
        json::push(&mut out, &origin.sequence);
        out.push(b'}');
    }
    out.extend_from_slice(b",\"response\":");
    out.extend_from_slice(response);
    out.extend_from_slice(b",\"input\":");
    array(&mut out, input.iter().map(|item| item.get()));
    if let Some(stream) = stream {
        out.extend_from_slice(b",\"stream\":");
        out.extend_from_slice(stream);
    }
    out.push(b'}');
    out
}

fn array<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
    out.push(b']');
}
