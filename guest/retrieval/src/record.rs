//! What is stored: files, vector stores and their files, batches, and who works on them.

use crate::attributes::Attributes;
use crate::roster::{nonce, nonces};
use crate::strategy::Strategy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waggle_conversation::Owner;
use waggle_openai::Nonce;

/// The most vector stores that one file is in.
pub(crate) const STORES_PER_FILE_MAX: usize = 100;

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct File {
    #[serde(default, skip_serializing_if = "Owner::is_services")]
    pub(crate) user: Owner,
    /// In seconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) filename: String,
    pub(crate) bytes: u64,
    pub(crate) purpose: String,
    /// What its uploader says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    /// In seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub(crate) hash: String,
    /// The file that brought the bytes: this one, or an earlier one with the same content.
    #[serde(with = "nonce")]
    pub(crate) blob: Nonce,
    /// In how many parts they are.
    pub(crate) parts: u64,
    /// The page of its owner's list.
    pub(crate) page: u32,
    /// Whether all of it is stored and its content is counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) ready: bool,
    /// The vector stores it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "nonces")]
    pub(crate) stores: Vec<Nonce>,
    /// Whether it is being deleted: nobody sees it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) deleting: bool,
}

impl File {
    /// Whether it is there for those who may see it.
    pub(crate) fn is_there(&self, now_s: u64) -> bool {
        self.ready && !self.deleting && self.expires_at.is_none_or(|at| at > now_s)
    }
}

/// A file in its owner's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    #[serde(with = "nonce")]
    pub(crate) id: Nonce,
    /// In seconds since 1970.
    pub(crate) created_at: u64,
    /// 0 until it is stored.
    pub(crate) bytes: u64,
    pub(crate) purpose: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
    /// Whether all of it is stored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) ready: bool,
}

/// What is stored of an owner's contents whose hashes begin alike.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) contents: Vec<Content>,
}

/// Bytes that are stored once, however many files have them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) hash: String,
    #[serde(with = "nonce")]
    pub(crate) blob: Nonce,
    pub(crate) parts: u64,
    #[serde(with = "nonces")]
    pub(crate) files: Vec<Nonce>,
}

/// How a vector store's chunks are embedded, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Embedding {
    /// The model's name; empty: none, so it is searched by words alone.
    pub(crate) model: String,
    /// What the variable `embedding_dimensions` asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<u32>,
    /// The length of a vector; 0 without a model.
    pub(crate) dimensions: u32,
    /// Counts the indexes that a store has had, from 1.
    pub(crate) generation: u32,
}

/// A vector store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoreRecord {
    #[serde(default, skip_serializing_if = "Owner::is_services")]
    pub(crate) user: Owner,
    /// In seconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// An object of strings.
    pub(crate) metadata: Box<RawValue>,
    /// It expires so many days after it was last active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_after_days: Option<u32>,
    /// In seconds since 1970.
    pub(crate) last_active_at: u64,
    /// The page of its owner's list.
    pub(crate) page: u32,
    /// The index that is searched; none before the first file is taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) embedding: Option<Embedding>,
    /// The one that will take its place when all files are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Embedding>,
    /// Generations whose indexes are still to be dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired: Vec<u32>,
    /// Whether a file in it expires, or one did.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) expiring: bool,
    /// When somebody was last called to look after it, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) called_at_ms: u64,
    /// Whether it is being deleted: nobody sees it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) deleting: bool,
}

impl StoreRecord {
    /// The generation whose index is searched; 0: none yet.
    pub(crate) fn generation(&self) -> u32 {
        self.embedding.as_ref().map_or(0, |embedding| embedding.generation)
    }

    /// What files are taken into: the index that is coming, or else the one that is searched.
    pub(crate) fn target(&self) -> Option<&Embedding> {
        self.next.as_ref().or(self.embedding.as_ref())
    }

    /// When it expires, in seconds since 1970.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.expires_after_days.map(|days| self.last_active_at + u64::from(days) * 86_400)
    }

    /// Whether it has expired.
    pub(crate) fn has_expired(&self, now_s: u64) -> bool {
        self.expires_at().is_some_and(|at| at <= now_s)
    }
}

/// A vector store in its owner's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoreEntry {
    #[serde(with = "nonce")]
    pub(crate) id: Nonce,
}

/// What is to become of a file in a vector store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// To be found.
    Live,
    /// Nothing: it could not be taken in.
    Failed,
    /// Nothing: somebody did not want it any more.
    Cancelled,
    /// The same, once what was taken in of it is gone.
    Cancelling,
    /// To go; nobody sees it.
    Removing,
}

/// A file in a vector store's list. How far it has come stands here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberEntry {
    #[serde(with = "nonce")]
    pub(crate) id: Nonce,
    /// Which addition of the file this is, and which version of its group. Later ones are greater.
    pub(crate) version: u64,
    /// In seconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) wish: Wish,
    /// What its chunks are made of, as a hash over content, strategy and attributes: of those that are alike only the first
    /// is taken in.
    pub(crate) alike: String,
    /// The generations in whose indexes its chunks are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) published: Vec<u32>,
    /// About how many bytes its chunks take.
    #[serde(default)]
    pub(crate) bytes: u64,
}

/// Why a file was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastError {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What a file was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Split {
    pub(crate) chunks: u32,
    /// In how many pages they wait; 0 when they are in an index and nowhere else.
    pub(crate) pages: u32,
    /// How many bytes they have, without vectors.
    pub(crate) bytes: u64,
}

/// A file in a vector store, but for how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its entry has the same; one that has another is of an earlier addition.
    pub(crate) version: u64,
    /// The page of its entry.
    pub(crate) page: u32,
    /// In seconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) filename: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub(crate) hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
    pub(crate) attributes: Attributes,
    pub(crate) strategy: Strategy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<LastError>,
    /// How often work on it began or failed in a row without getting on.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Since when the model endpoint has been away, without the file getting on, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waiting_since: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<Split>,
}

impl Member {
    /// Notes that it has got on, or needs no more.
    pub(crate) fn got_on(&mut self) {
        self.attempts = 0;
        self.waiting_since = None;
    }
}

/// Files that were added together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// In seconds since 1970.
    pub(crate) created_at: u64,
    #[serde(with = "nonces")]
    pub(crate) files: Vec<Nonce>,
    /// Whether the rest of it is not wanted any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) cancelled: bool,
}

/// A batch in its vector store's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BatchEntry {
    #[serde(with = "nonce")]
    pub(crate) id: Nonce,
}

/// Who works on a lane of a vector store. Those who come meanwhile have nothing to do: whoever works looks once more after
/// letting go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// Until when whoever has it is taken to be at work, in milliseconds since 1970; 0: nobody has it.
    pub(crate) until_ms: u64,
    /// The ticket of the work that has it. The same ticket coming again means that whoever had it has died.
    pub(crate) ticket: String,
    /// The ticket of the work that is to wait and go on, should this one die.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heir: Option<String>,
    /// How often in a row work on it has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) failures: u32,
}
