//! The records of one tenant's work: what they hold and how they are written (kv-schemas/host-work.json).
//!
//! ```text
//! index       which work is pending, in order of arrival, as JSON; or that there is none and the tenant is off the list
//! state/ID    attempts, when the next may be made, who holds it, as JSON
//! work/ID     4 bytes, big-endian, the length of the head; the head as JSON; the body
//! ```
//! What changes is apart from what does not: a claim never writes the body again.

use crate::store::{Pending, StoreFailure, Terms};
use crate::work::{Work, WorkId};
use bytes::{BufMut, Bytes, BytesMut};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

pub(crate) const INDEX_KEY: &str = "index";
const HEAD_LENGTH_BYTES: usize = 4;
/// How much the clocks of hosts that share a store, or of one host before and after a restart, may differ without notice.
const CLOCKS_DIFFER_MS_MAX: u64 = 60_000;

pub(crate) fn state_key(id: &WorkId) -> String {
    format!("state/{id}")
}

pub(crate) fn work_key(id: &WorkId) -> String {
    format!("work/{id}")
}

/// What of a tenant is pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Index {
    /// The tenant is on the list of those with work.
    Open(Vec<(WorkId, u64)>),
    /// There is none, and the tenant may be off the list. Each has a value of its own, so that whoever read an earlier one
    /// and has put the tenant back on the list since then notices when it was taken off once more.
    Closed(String),
}

impl Index {
    /// One like no other.
    pub(crate) fn closed() -> Self {
        let mut bytes = [0_u8; 16];
        rand::rng().fill_bytes(&mut bytes);
        Self::Closed(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    pub(crate) fn entries(self) -> Vec<(WorkId, u64)> {
        match self {
            Self::Open(entries) => entries,
            Self::Closed(_) => Vec::new(),
        }
    }

    pub(crate) fn pending(self) -> Vec<Pending> {
        self.entries().into_iter().map(|(id, arrived_ms)| Pending { id, arrived_ms }).collect()
    }
}

/// How far a piece of work is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Attempts that are used up, one that is under way included.
    pub(crate) attempts: u32,
    /// When the next may be made, milliseconds since 1970.
    pub(crate) not_before_ms: u64,
    /// Who delivers it now, if somebody does.
    pub(crate) lease: Option<Lease>,
}

/// Who holds work, and until when nobody else may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lease {
    pub(crate) owner: String,
    pub(crate) until_ms: u64,
}

/// What a host that wants to deliver work finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may; this is the state from then on.
    Now(State),
    /// Not before then.
    Later(u64),
    /// No attempt is left.
    Spent,
}

impl State {
    /// Whether `owner` may deliver now. A lease of somebody else counts only where there can be somebody else; one of
    /// the owner's own is left over from a delivery whose outcome could not be written.
    pub(crate) fn turn(&self, owner: &str, is_shared: bool, terms: &Terms) -> Turn {
        let foreign = self.lease.as_ref().filter(|lease| is_shared && lease.owner != owner);
        if let Some(lease) = foreign.filter(|lease| lease.until_ms > terms.now_ms) {
            return Turn::Later(lease.until_ms);
        }
        if self.attempts >= terms.attempts_max {
            return Turn::Spent;
        }
        // A clock that was far ahead when the wait was written, and has been set right since, must not make it longer.
        let waits_until_max =
            terms.now_ms.saturating_add(terms.wait_ms_max).saturating_add(CLOCKS_DIFFER_MS_MAX);
        if (terms.now_ms + 1..=waits_until_max).contains(&self.not_before_ms) {
            return Turn::Later(self.not_before_ms);
        }
        let lease = Lease { owner: owner.to_owned(), until_ms: terms.until_ms };
        Turn::Now(Self { attempts: self.attempts + 1, lease: Some(lease), ..*self })
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, StoreFailure> {
    let text = serde_json::to_vec(value);
    text.map(Bytes::from).map_err(|error| StoreFailure::new(format!("a record cannot be written: {error}")))
}

/// `key` is for the message only, which says nothing of the value.
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(key: &str, value: &[u8]) -> Result<T, StoreFailure> {
    serde_json::from_slice(value).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        StoreFailure::new(format!("the record `{key}` is damaged at {line}:{column}"))
    })
}

/// What stands before the body.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    function: String,
    path: String,
    content_type: Option<String>,
    caller: Vec<(String, String)>,
}

pub(crate) fn encode_work(work: &Work) -> Result<Bytes, StoreFailure> {
    let Work { function, path, content_type, caller, body } = work.clone();
    let head = encode(&Head { function, path, content_type, caller })?;
    let length = u32::try_from(head.len()).map_err(|_| StoreFailure::new("the head of work is too long"))?;
    let mut record = BytesMut::with_capacity(HEAD_LENGTH_BYTES + head.len() + body.len());
    record.put_u32(length);
    record.put_slice(&head);
    record.put_slice(&body);
    Ok(record.freeze())
}

pub(crate) fn decode_work(key: &str, record: &Bytes) -> Result<Work, StoreFailure> {
    let cut = || StoreFailure::new(format!("the record `{key}` is too short"));
    let (length, _rest) = record.split_first_chunk::<HEAD_LENGTH_BYTES>().ok_or_else(cut)?;
    let end =
        usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|n| n.checked_add(HEAD_LENGTH_BYTES));
    let end = end.filter(|end| *end <= record.len()).ok_or_else(cut)?;
    let Head { function, path, content_type, caller } = decode(key, &record[HEAD_LENGTH_BYTES..end])?;
    Ok(Work { function, path, content_type, caller, body: record.slice(end..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(owner: &str, until_ms: u64) -> Lease {
        Lease { owner: owner.to_owned(), until_ms }
    }

    #[test]
    fn work_is_read_as_it_was_written() {
        let work = Work {
            function: "chat".into(),
            path: "/v1?a=b".into(),
            content_type: Some("application/json".into()),
            caller: vec![("waggle-user".into(), "\u{e9}".into())],
            body: Bytes::from_static(b"\0\xff{}"),
        };
        let record = encode_work(&work).unwrap();
        assert_eq!(decode_work("k", &record).unwrap(), work);
        for wrong in [&b""[..], b"\0\0\0", b"\0\0\0\x05{}", b"\xff\xff\xff\xff{}", b"\0\0\0\x02{}"] {
            assert!(decode_work("k", &Bytes::from_static(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_may_deliver_and_when() {
        let check = |state: State, is_shared: bool, expected: Turn| {
            let terms = Terms { now_ms: 100, until_ms: 900, attempts_max: 3, wait_ms_max: 1_000 };
            let turn = state.turn("me", is_shared, &terms);
            assert_eq!(turn, expected, "{state:?} shared: {is_shared}");
        };
        let state = |attempts, not_before_ms, lease| State { attempts, not_before_ms, lease };
        let now = |attempts, not_before_ms| Turn::Now(state(attempts, not_before_ms, Some(lease("me", 900))));
        check(State::default(), true, now(1, 0));
        check(state(2, 100, None), true, now(3, 100));
        check(state(1, 101, None), true, Turn::Later(101));
        // The longest wait there is, by a clock that is a minute ahead; beyond it the clock was wrong.
        check(state(2, 61_100, None), true, Turn::Later(61_100));
        check(state(2, 61_101, None), true, now(3, 61_101));
        check(state(3, 0, None), true, Turn::Spent);
        check(state(1, 0, Some(lease("other", 101))), true, Turn::Later(101));
        check(state(1, 0, Some(lease("other", 100))), true, now(2, 0));
        check(state(1, 0, Some(lease("me", 101))), true, now(2, 0));
        check(state(1, 0, Some(lease("other", 101))), false, now(2, 0));
        // Somebody is at the last attempt: that is not over yet.
        check(state(3, 0, Some(lease("other", 101))), true, Turn::Later(101));
    }

    #[test]
    fn closed_indexes_are_told_from_each_other() {
        assert_ne!(Index::closed(), Index::closed());
        let index = Index::Open(vec![(WorkId::random(), 7)]);
        assert_eq!(decode::<Index>("k", &encode(&index).unwrap()).unwrap(), index);
    }
}
