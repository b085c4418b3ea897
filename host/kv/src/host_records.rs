//! The host's own records (of tenants, for one) in a store that several hosts may share.
//!
//! They lie in a partition that no tenant id leads to:
//!
//! ```text
//! version        how many changes there were, as decimal text
//! record/ID      8 bytes, big-endian, the record's revision; then its value
//! index/NN       the ids of one of 64 buckets (by XXH3-64 of the id): each after its length in two bytes, big-endian
//! ```
//! The index is there because listing keys costs a walk over the whole database of a Redis. Every change is one atomic
//! swap that also moves the version on, and is made only if the version is still the one it was worked out from; so of
//! two changes at the same time one is worked out again, and none is lost.

use crate::{Error, Partition, Store};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a record's id in UTF-8.
pub const RECORD_ID_BYTES_MAX: usize = 256;
/// Times a change is worked out anew because another one came in between: each time that one has succeeded.
const CHANGE_ATTEMPTS_MAX: usize = 1_000;
/// Times that loading begins anew because a change came in between.
const LOAD_ATTEMPTS_MAX: usize = 100;
/// Records that one read of a load asks for.
const LOAD_PAGE_RECORDS: usize = 500;
const INDEX_BUCKETS: u64 = 64;
const VERSION_KEY: &str = "version";
const REVISION_BYTES: usize = 8;

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is made, and durable.
    Done {
        /// The record's revision from now on (or, of a removed one, that of its removal): no later change of any
        /// record has the same.
        revision: u64,
        /// The version of all records from now on.
        version: u64,
    },
    /// Nothing is changed, because the record has another revision than expected; `None`: there is no such record.
    Changed {
        /// The revision it has.
        revision: Option<u64>,
    },
}

/// A record as it is loaded: its id, revision and value.
pub type Record = (String, u64, Bytes);

/// Records of the host in one store. Cloning is cheap.
#[derive(Clone)]
pub struct HostRecords {
    store: Arc<dyn Store>,
    at: Partition,
}

impl HostRecords {
    /// `family` keeps different kinds of records apart, each with a version of its own.
    ///
    /// # Errors
    /// [`Error::PartitionName`] when the family is empty or too long, [`Error::Config`] when the store lets keys
    /// expire, which records must not.
    pub fn new(store: Arc<dyn Store>, family: &str) -> Result<Self, Error> {
        if store.options().time_to_live.is_some() {
            let reason = "must not be set for the store that holds the host's own records".into();
            return Err(Error::Config { field: "time_to_live", reason });
        }
        Ok(Self { store, at: Partition::host(family)? })
    }

    /// How many changes were ever made to these records, by any host. One small read.
    ///
    /// # Errors
    /// Those of [`Store`], and [`Error::Record`].
    pub async fn version(&self) -> Result<u64, Error> {
        parse_version(self.store.get(&self.at, VERSION_KEY).await?.as_ref())
    }

    /// Whether a record was ever written.
    ///
    /// # Errors
    /// As [`HostRecords::version`].
    pub async fn claimed(&self) -> Result<bool, Error> {
        Ok(self.version().await? > 0)
    }

    /// All records as they were at one version, sorted by id.
    ///
    /// # Errors
    /// Those of [`Store`], [`Error::Record`], and [`Error::Contended`] when changes came again and again meanwhile.
    pub async fn load(&self) -> Result<(u64, Vec<Record>), Error> {
        let mut keys: Vec<String> = (0..INDEX_BUCKETS).map(index_key).collect();
        keys.push(VERSION_KEY.to_owned());
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let mut found = self.store.get_many(&self.at, &keys).await?;
            let version = parse_version(found.pop().flatten().as_ref())?;
            let mut ids = Vec::new();
            for (key, bucket) in keys.iter().zip(found) {
                ids.extend(decode_index(key, bucket.as_ref())?);
            }
            ids.sort_unstable();
            if let Some(records) = self.records(ids).await?
                && self.version().await? == version
            {
                return Ok((version, records));
            }
        }
        Err(Error::Contended { attempts: LOAD_ATTEMPTS_MAX })
    }

    /// The records with these ids; `None` if one is gone.
    async fn records(&self, ids: Vec<String>) -> Result<Option<Vec<Record>>, Error> {
        let mut records = Vec::with_capacity(ids.len());
        for page in ids.chunks(LOAD_PAGE_RECORDS) {
            let keys: Vec<String> = page.iter().map(|id| record_key(id)).collect();
            let found = self.store.get_many(&self.at, &keys).await?;
            for ((id, key), content) in page.iter().zip(&keys).zip(found) {
                let Some((revision, value)) = decode_record(key, content)? else { return Ok(None) };
                records.push((id.clone(), revision, value));
            }
        }
        Ok(Some(records))
    }

    /// Writes a record if it has the expected revision (`None`: if there is none with this id). Durable when it
    /// returns.
    ///
    /// # Errors
    /// Those of [`Store`], of which [`Error::Unreachable`] leaves open whether the change was made; [`Error::Record`];
    /// [`Error::Contended`]; [`Error::PartitionName`] when the id is empty or longer than [`RECORD_ID_BYTES_MAX`].
    pub async fn put(&self, id: &str, value: Bytes, expected_revision: Option<u64>) -> Result<Put, Error> {
        self.change(id, Some(&value), expected_revision).await
    }

    /// Removes a record if it has the expected revision. Durable when it returns.
    ///
    /// # Errors
    /// As [`HostRecords::put`].
    pub async fn remove(&self, id: &str, expected_revision: u64) -> Result<Put, Error> {
        self.change(id, None, Some(expected_revision)).await
    }

    async fn change(&self, id: &str, value: Option<&Bytes>, expected: Option<u64>) -> Result<Put, Error> {
        if id.is_empty() || id.len() > RECORD_ID_BYTES_MAX {
            let (bytes, max) = (id.len(), RECORD_ID_BYTES_MAX);
            return Err(Error::PartitionName { what: "id of the record", bytes, max });
        }
        let keys =
            [VERSION_KEY.to_owned(), record_key(id), index_key(xxh3_64(id.as_bytes()) % INDEX_BUCKETS)];
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let mut found = self.store.get_many(&self.at, &keys).await?.into_iter();
            let mut next = || found.next().flatten();
            let (old_version, record, index) = (next(), next(), next());
            let revision = decode_record(&keys[1], record)?.map(|(revision, _)| revision);
            if revision != expected {
                return Ok(Put::Changed { revision });
            }
            let version = parse_version(old_version.as_ref())? + 1;
            let mut changes = vec![
                (keys[0].clone(), Some(Bytes::from(version.to_string()))),
                (keys[1].clone(), value.map(|value| encode_record(version, value))),
            ];
            if revision.is_some() != value.is_some() {
                let mut ids = decode_index(&keys[2], index.as_ref())?;
                ids.retain(|known| known != id);
                ids.extend(value.map(|_| id.to_owned()));
                changes.push((keys[2].clone(), encode_index(&ids)));
            }
            // Every change moves the version on, so it speaks for all that was read.
            let unchanged = vec![(keys[0].clone(), old_version)];
            if let Some(commit) = self.store.swap_many(&self.at, unchanged, changes).await? {
                commit.durable().await?;
                return Ok(Put::Done { revision: version, version });
            }
            tokio::task::yield_now().await;
        }
        Err(Error::Contended { attempts: CHANGE_ATTEMPTS_MAX })
    }
}

fn record_key(id: &str) -> String {
    format!("record/{id}")
}

fn index_key(bucket: u64) -> String {
    format!("index/{bucket:02}")
}

fn parse_version(text: Option<&Bytes>) -> Result<u64, Error> {
    let Some(text) = text else { return Ok(0) };
    let version = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    version.ok_or_else(|| wrong(VERSION_KEY, "it is not a number"))
}

fn encode_record(revision: u64, value: &[u8]) -> Bytes {
    let mut content = BytesMut::with_capacity(REVISION_BYTES + value.len());
    content.put_u64(revision);
    content.put_slice(value);
    content.freeze()
}

fn decode_record(key: &str, content: Option<Bytes>) -> Result<Option<(u64, Bytes)>, Error> {
    let Some(content) = content else { return Ok(None) };
    let revision = content.first_chunk::<REVISION_BYTES>().map(|bytes| u64::from_be_bytes(*bytes));
    let revision = revision.ok_or_else(|| wrong(key, "it is shorter than its revision"))?;
    Ok(Some((revision, content.slice(REVISION_BYTES..))))
}

/// Nothing, if there are no ids.
fn encode_index(ids: &[String]) -> Option<Bytes> {
    let mut content = BytesMut::new();
    for id in ids {
        // Ids are checked to be far shorter than two bytes can say.
        content.put_u16(u16::try_from(id.len()).unwrap_or(u16::MAX));
        content.put_slice(id.as_bytes());
    }
    (!content.is_empty()).then(|| content.freeze())
}

fn decode_index(key: &str, content: Option<&Bytes>) -> Result<Vec<String>, Error> {
    let mut rest = content.map_or(&[][..], |content| content);
    let mut ids = Vec::new();
    while !rest.is_empty() {
        let id = rest.split_first_chunk::<2>().and_then(|(length, behind)| {
            let (id, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = behind;
            std::str::from_utf8(id).ok()
        });
        ids.push(id.ok_or_else(|| wrong(key, "it is not a list of ids"))?.to_owned());
    }
    Ok(ids)
}

fn wrong(key: &str, reason: &'static str) -> Error {
    Error::Record { key: key.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_gives_back_its_ids_and_refuses_what_it_is_not() {
        let check = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(decode_index("k", encode_index(&ids).as_ref()).unwrap(), ids);
        };
        check(&[]);
        check(&["a"]);
        check(&["acme", "\n", "é", &"x".repeat(RECORD_ID_BYTES_MAX)]);
        for wrong in [&b"\0"[..], b"\0\x02a", b"\0\x01a\0", b"\0\x01\xff"] {
            let error = decode_index("k", Some(&Bytes::copy_from_slice(wrong))).unwrap_err();
            assert!(matches!(error, Error::Record { .. }), "{wrong:?}: {error}");
        }
        assert!(matches!(
            decode_record("k", Some(Bytes::from_static(b"1234567"))),
            Err(Error::Record { .. })
        ));
        assert!(matches!(parse_version(Some(&Bytes::from_static(b"x"))), Err(Error::Record { .. })));
    }
}
