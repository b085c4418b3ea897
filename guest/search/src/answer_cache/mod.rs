//! The semantic answer cache: a question that is close enough to one that was answered gets that answer, without a model.
//!
//! An answer is kept with its *version*: a hash of what the indexes held, of how is searched, and of the caller's prompt. A
//! document or a setting that changes makes another version, under which no earlier answer is found; those make room as
//! new ones come. `flight.rs` sees to it that of many who ask the same at once, one has it answered; `frequent.rs` counts
//! what is asked; `entry.rs` is what is kept.
//!
//! Questions lie in an index of their own, as groups of one chunk with a vector; answers in the key-value store. Both have
//! as many places as `answer_cache_entries_max` says, and are filled in turn. All of it is the tenant's, as store and index
//! are: no call here could name another's.

mod entry;
mod flight;
mod frequent;

pub use entry::CachedAnswer;
pub(crate) use frequent::most_frequent;
pub use frequent::{Counts, FrequentQuestion};

pub(crate) use entry::{ENTRY_BYTES_MAX, TEXT_BYTES_MAX};
pub(crate) use flight::{AnswerKey, Flight};

use crate::hash::{hash, number};
use crate::key;
use crate::settings::{AnswerCacheSettings, EmbeddingModel};
use entry::Entry;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waggle_conversation::{Store, StoreError, hex};
use waggle_index::{Chunk, Comparison, FilterNode, Fusion, Index, IndexError, Query, Settings, Value};
use waggle_openai::json;
use waggle_platform::Platform;

/// How often it is looked whether an answer that others wait for is there, in milliseconds.
const POLL_MS: u64 = 100;
/// How the names of attributes are, by which answers are told apart.
const VERSION: &str = "version";
const AT: &str = "at";

/// Why an answer was not kept, or not looked for. It costs a model call and nothing else, so it is for the log alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheFailure {
    #[error("the answer cache: {0}")]
    Store(#[from] StoreError),
    #[error("the answer cache: {0}")]
    Index(#[from] IndexError),
}

/// What an answer depends on besides its question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basis {
    /// A hash of the caller's prompt, of the settings, and of how the request wants to be searched.
    pub(crate) asked: String,
    /// The names of the indexes.
    pub(crate) indexes: Vec<String>,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct AnswerCache<'a, S, I, P> {
    pub(crate) store: &'a S,
    pub(crate) index: &'a I,
    pub(crate) platform: &'a P,
    pub(crate) settings: AnswerCacheSettings,
    /// The index with the questions.
    pub(crate) name: String,
}

/// Who has a question answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This caller, who may keep the answer under this key.
    Ours(AnswerKey),
    /// Another, whose answer may be waited for.
    Others(u64),
    /// Nobody can tell: this caller has it answered, and does not keep it.
    Crowded,
}

/// The index of the answers to questions that are embedded by `model`.
pub(crate) fn index_name(model: &EmbeddingModel) -> String {
    let dimensions = model.dimensions.unwrap_or(0).to_le_bytes();
    let hash = hex(&hash(&[model.name.as_bytes(), &dimensions]));
    format!("answers.{}", hash.get(..16).unwrap_or_default())
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut json = Vec::new();
    json::push(&mut json, value);
    json
}

impl<S: Store, I: Index, P: Platform> AnswerCache<'_, S, I, P> {
    /// The version of what is known now.
    pub(crate) async fn version(&self, basis: &Basis) -> Result<String, CacheFailure> {
        let mut known = basis.asked.clone();
        for index in &basis.indexes {
            let description = self.index.describe(index).await?;
            known.push_str(&format!("\n{index} {} {}", description.revision, description.chunks));
        }
        Ok(hex(&hash(&[known.as_bytes()])))
    }

    /// The answer to a question that is alike, if there is one.
    pub(crate) async fn find(
        &self,
        version: &str,
        vector: &[f32],
    ) -> Result<Option<CachedAnswer>, CacheFailure> {
        let now_ms = self.platform.now_ms();
        let oldest_s = (now_ms / 1_000).saturating_sub(self.settings.ttl_s);
        let hits = match self.index.search(&[self.name.as_str()], self.query(version, vector, oldest_s)).await
        {
            Err(IndexError::NoSuchIndex) => return Ok(None),
            hits => hits?,
        };
        let Some(hit) = hits.into_iter().next() else { return Ok(None) };
        let Some(slot) = hit.group.parse().ok() else { return Ok(None) };
        let Some(value) = self.store.get(&key::answer(slot)).await? else { return Ok(None) };
        let entry: Option<Entry> = serde_json::from_slice(&value).ok();
        // Another answer may just be taking the place.
        let entry = entry.filter(|entry| entry.stamp == hit.version && entry.version == version);
        Ok(entry.map(|entry| entry.into_answer(now_ms)))
    }

    fn query(&self, version: &str, vector: &[f32], oldest_s: u64) -> Query {
        let compare = |attribute: &str, comparison, value| FilterNode::Compare {
            attribute: attribute.to_owned(),
            comparison,
            values: vec![value],
        };
        Query {
            text: None,
            vector: Some(vector.to_vec()),
            filter: vec![
                compare(VERSION, Comparison::Equal, Value::Text(version.to_owned())),
                compare(AT, Comparison::Greater, Value::Number(oldest_s as f64)),
                FilterNode::All(vec![0, 1]),
            ],
            limit: 1,
            candidates: 0,
            fusion: Fusion::Scores,
            text_weight: 0.0,
            vector_weight: 1.0,
            rank_constant: 1.0,
            vector_score_min: Some(self.settings.threshold),
        }
    }

    /// Sees who has a question answered, and takes it if nobody has.
    pub(crate) async fn claim(
        &self,
        question: &str,
        version: &str,
        basis: &Basis,
    ) -> Result<Claim, CacheFailure> {
        const ATTEMPTS_MAX: usize = 2;
        let asked = hash(&[version.as_bytes(), frequent::normal(question).as_bytes()]);
        let slot = number(&asked) % flight::SLOTS;
        for _ in 0..ATTEMPTS_MAX {
            let now_ms = self.platform.now_ms();
            let before = self.store.get(&key::flight(slot)).await?;
            let under_way =
                before.as_deref().and_then(Flight::read).filter(|flight| flight.until_ms > now_ms);
            if let Some(flight) = under_way {
                let is_same = flight.asked == hex(&asked);
                return Ok(if is_same { Claim::Others(slot) } else { Claim::Crowded });
            }
            let holder = format!("{:032x}", self.platform.random());
            let flight = Flight {
                asked: hex(&asked),
                holder: holder.clone(),
                until_ms: now_ms + flight::LEASE_MS,
                question: question.to_owned(),
                version: version.to_owned(),
                basis: basis.clone(),
            };
            if self.store.swap(&key::flight(slot), before.as_deref(), to_json(&flight)).await? {
                return Ok(Claim::Ours(AnswerKey { slot, holder }));
            }
        }
        Ok(Claim::Crowded)
    }

    /// Waits until whoever has the question of `slot` answered is done, and looks for the answer then; at most as long as
    /// the tenant has it wait.
    pub(crate) async fn wait(
        &self,
        slot: u64,
        version: &str,
        vector: &[f32],
    ) -> Result<Option<CachedAnswer>, CacheFailure> {
        let until_ms = self.platform.now_ms() + self.settings.wait_ms;
        let polls_max = self.settings.wait_ms.div_ceil(POLL_MS);
        for _ in 0..polls_max {
            let now_ms = self.platform.now_ms();
            if now_ms >= until_ms {
                break;
            }
            self.platform.sleep(POLL_MS.min(until_ms - now_ms)).await;
            let flight = self.store.get(&key::flight(slot)).await?;
            let flight = flight.as_deref().and_then(Flight::read);
            let now_ms = self.platform.now_ms();
            if flight.is_none_or(|flight| flight.until_ms <= now_ms || flight.version != version) {
                return self.find(version, vector).await;
            }
        }
        Ok(None)
    }

    /// Lets others have the question answered.
    pub(crate) async fn release(&self, key: &AnswerKey) -> Result<(), CacheFailure> {
        if self.held(key).await?.is_some() {
            self.store.delete_many(vec![key::flight(key.slot)]).await?;
        }
        Ok(())
    }

    /// What the key was given for, if it still holds.
    pub(crate) async fn held(&self, key: &AnswerKey) -> Result<Option<Flight>, CacheFailure> {
        let value = self.store.get(&key::flight(key.slot)).await?;
        let flight = value.as_deref().and_then(Flight::read);
        Ok(flight.filter(|flight| flight.holder == key.holder && flight.until_ms > self.platform.now_ms()))
    }

    /// Keeps an answer. `false`: what is known has changed since the question was asked, or the answer is too long.
    pub(crate) async fn keep(
        &self,
        flight: &Flight,
        vector: Vec<f32>,
        text: &str,
        data: Vec<Box<RawValue>>,
    ) -> Result<bool, CacheFailure> {
        if self.version(&flight.basis).await? != flight.version {
            return Ok(false);
        }
        let drawn = self.store.increment(key::ANSWER_SEQUENCE).await?;
        let slot = u64::try_from(drawn).unwrap_or(0) % self.settings.entries_max;
        let at_ms = self.platform.now_ms();
        let Flight { question, version, .. } = flight;
        let entry = Entry {
            stamp: at_ms,
            version: version.clone(),
            question: question.clone(),
            text: text.to_owned(),
            data,
            at_ms,
        };
        let value = to_json(&entry);
        if value.len() > ENTRY_BYTES_MAX {
            return Ok(false);
        }
        self.store.set_many(vec![(key::answer(slot), value)]).await?;
        let attributes = vec![
            (VERSION.to_owned(), Value::Text(version.clone())),
            (AT.to_owned(), Value::Number((at_ms / 1_000) as f64)),
        ];
        let group = slot.to_string();
        self.stage(&group, at_ms, question, vector).await?;
        self.index.publish(&self.name, &group, at_ms, 1, attributes).await?;
        Ok(true)
    }

    async fn stage(
        &self,
        group: &str,
        stamp: u64,
        question: &str,
        vector: Vec<f32>,
    ) -> Result<(), CacheFailure> {
        let dimensions = u32::try_from(vector.len()).unwrap_or(u32::MAX);
        let chunk = Chunk {
            ordinal: 0,
            heading: String::new(),
            text: question.to_owned(),
            note: String::new(),
            vector: Some(vector),
        };
        match self.index.stage(&self.name, group, stamp, vec![chunk.clone()]).await {
            Err(IndexError::NoSuchIndex) => {}
            staged => return Ok(staged?),
        }
        self.make_index(dimensions).await?;
        Ok(self.index.stage(&self.name, group, stamp, vec![chunk]).await?)
    }

    /// Makes the index of questions in place of one for another model, which nobody would find again.
    async fn make_index(&self, dimensions: u32) -> Result<(), CacheFailure> {
        let before = self.store.get(key::ANSWER_INDEX).await?;
        let before = before.and_then(|json| serde_json::from_slice::<String>(&json).ok());
        if let Some(before) = before.filter(|before| *before != self.name) {
            self.index.drop_index(&before).await?;
        }
        // Written first: what is written and not made is made the next time, and the reverse would be forgotten.
        self.store.set_many(vec![(key::ANSWER_INDEX.to_owned(), to_json(&self.name))]).await?;
        Ok(self.index.create(&self.name, Settings { dimensions }).await?)
    }
}

#[cfg(test)]
mod tests;
