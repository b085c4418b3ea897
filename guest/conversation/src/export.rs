//! All that a user owns, in pages: their list, oldest first, each conversation with its entries and the responses of its
//! turns, each response by itself.

use crate::key;
use crate::owned::{Index, Kind, PAGE_ENTRIES_MAX};
use crate::record::{
    ConversationRecord, State, StoredTurn, read_conversation, read_entry, read_input, read_object,
    read_response,
};
use crate::store::{Store, StoreError, read_counter};
use crate::summary;
use crate::viewer::Viewer;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;

/// How many records are read at once.
const PAGE_RECORDS_MAX: usize = 10;

/// A thing that is exported.
#[derive(Debug)]
pub enum Exported {
    /// A conversation. Its items follow.
    Conversation {
        /// Its nonce.
        nonce: Nonce,
        /// Its record.
        record: ConversationRecord,
        /// What its oldest part was summarised to.
        summary: Option<String>,
    },
    /// The items of one commit.
    Entry {
        /// Where they stand.
        conversation: Nonce,
        /// The items.
        turn: StoredTurn,
    },
    /// A response.
    Response {
        /// Its nonce.
        nonce: Nonce,
        /// Its object.
        object: Box<RawValue>,
        /// Its input.
        input: Vec<RawItem>,
    },
}

/// What is to be read next.
#[derive(Debug)]
enum Task {
    Conversation(Nonce),
    Entries { conversation: Nonce, next: u64, newest: u64 },
    Responses(Vec<Nonce>),
    Background(Nonce),
}

/// Reads all of it. It ends where the list ended when it was opened.
#[derive(Debug)]
pub struct Exporter<'a, S> {
    store: &'a S,
    user: &'a Viewer,
    index: &'a Index,
    next: u64,
    /// At most a page of the list, and what one of them leads to.
    tasks: VecDeque<Task>,
}

impl<'a, S: Store> Exporter<'a, S> {
    /// Begins at the beginning.
    pub fn new(store: &'a S, user: &'a Viewer, index: &'a Index) -> Self {
        Self { store, user, index, next: index.floor + 1, tasks: VecDeque::new() }
    }

    /// The next page, which may be empty; `None` at the end.
    ///
    /// # Errors
    /// The store's.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Exported>>, StoreError> {
        if self.tasks.is_empty() {
            if self.next > self.index.newest {
                return Ok(None);
            }
            let newest = self.index.newest.min(self.next + PAGE_ENTRIES_MAX - 1);
            for (_, listed) in self.index.page(self.store, self.next, newest).await? {
                let Some(listed) = listed else { continue };
                match listed.kind {
                    Kind::Conversation | Kind::Session => {
                        self.tasks.extend(listed.ids.into_iter().map(Task::Conversation));
                    }
                    // What was answered under a key is a response of the list, or was told once and is kept for no more
                    // than being told again.
                    Kind::Answer => {}
                    Kind::Background => {
                        self.tasks.extend(listed.ids.into_iter().map(Task::Background));
                    }
                    Kind::Response => {
                        let parts = listed.ids.chunks(PAGE_RECORDS_MAX);
                        self.tasks.extend(parts.map(|part| Task::Responses(part.to_vec())));
                    }
                }
            }
            self.next = newest + 1;
        }
        match self.tasks.pop_front() {
            None => Ok(Some(Vec::new())),
            Some(Task::Conversation(nonce)) => self.conversation(nonce).await.map(Some),
            Some(Task::Entries { conversation, next, newest }) => {
                self.entries(conversation, next, newest).await.map(Some)
            }
            Some(Task::Responses(nonces)) => self.responses(&nonces).await.map(Some),
            Some(Task::Background(nonce)) => self.background(nonce).await.map(Some),
        }
    }

    async fn conversation(&mut self, nonce: Nonce) -> Result<Vec<Exported>, StoreError> {
        let (key, sequence_key) = (key::conversation(nonce), key::sequence(nonce));
        let summary_key = key::summary(nonce);
        let keys = vec![key.clone(), sequence_key.clone(), summary_key.clone()];
        let mut values = self.store.get_many(keys).await?.into_iter();
        let Some(record) = values.next().flatten() else { return Ok(Vec::new()) };
        let Some((record, _)) = read_conversation(&key, &record)?.open(self.user) else {
            return Ok(Vec::new());
        };
        let newest = read_counter(&sequence_key, values.next().flatten().as_deref())?;
        let summary = values.next().flatten().map(|value| summary::text(&summary_key, &value)).transpose()?;
        let summary = summary.filter(|text| !text.is_empty());
        self.tasks.push_front(Task::Entries { conversation: nonce, next: 1, newest });
        Ok(vec![Exported::Conversation { nonce, record, summary }])
    }

    async fn entries(
        &mut self,
        conversation: Nonce,
        next: u64,
        newest: u64,
    ) -> Result<Vec<Exported>, StoreError> {
        let last = newest.min(next + PAGE_RECORDS_MAX as u64 - 1);
        if next > last {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = (next..=last).map(|number| key::entry(conversation, number)).collect();
        let values = self.store.get_many(keys.clone()).await?;
        let (mut exported, mut nonces) = (Vec::new(), Vec::new());
        for (key, value) in keys.iter().zip(values) {
            let Some(value) = value else { continue };
            let entry = read_entry(key, value)?;
            // The response of a turn that has not joined is listed by itself.
            if entry.state == State::Settled {
                nonces.push(entry.nonce);
            }
            exported.push(Exported::Entry { conversation, turn: entry.turn });
        }
        self.tasks.push_front(Task::Entries { conversation, next: last + 1, newest });
        if !nonces.is_empty() {
            self.tasks.push_front(Task::Responses(nonces));
        }
        Ok(exported)
    }

    /// A response that was made in the background, unless it has joined a conversation, whose entries lead to it.
    async fn background(&self, nonce: Nonce) -> Result<Vec<Exported>, StoreError> {
        let key = key::response(nonce);
        let Some(value) = self.store.get(&key).await? else { return Ok(Vec::new()) };
        let Some(((_, lineage, _), _)) = read_response(&key, value)?.open(self.user) else {
            return Ok(Vec::new());
        };
        let joined = lineage.ancestors.is_empty() && lineage.origin.is_some();
        if joined { Ok(Vec::new()) } else { self.responses(&[nonce]).await }
    }

    async fn responses(&self, nonces: &[Nonce]) -> Result<Vec<Exported>, StoreError> {
        let keys: Vec<String> = nonces.iter().map(|nonce| key::response(*nonce)).collect();
        let values = self.store.get_many(keys.clone()).await?;
        let mut exported = Vec::with_capacity(nonces.len());
        for ((nonce, key), value) in nonces.iter().zip(&keys).zip(values) {
            let Some(value) = value else { continue };
            let Some((object, _)) = read_object(key, &value)?.open(self.user) else { continue };
            let Some((input, _)) = read_input(key, &value)?.open(self.user) else { continue };
            exported.push(Exported::Response { nonce: *nonce, object, input });
        }
        Ok(exported)
    }
}
