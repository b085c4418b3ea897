//! What an index holds, without its words and vectors: groups, versions, and where each chunk is. Changes are applied here
//! in the order of the log, so that a replay leads to the same.
//!
//! Each chunk has a *slot*, a number of its own as long as it is there. A slot is used again only when nothing that is
//! searched names it any more ([`State::release`]).

use super::operation::{Change, Located, RECORD_HEAD_BYTES};
use super::{
    codec::SUM_BYTES,
    pages::{Bits, Pages},
};
use crate::{Attribute, Description, Group, Settings, VectorError};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// No group: a slot without a chunk.
pub(crate) const NO_GROUP: u32 = u32::MAX;

/// Where the chunk of a slot is, and what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The group's number, or [`NO_GROUP`].
    pub(crate) group: u32,
    pub(crate) located: Located,
}

impl Default for Entry {
    fn default() -> Self {
        let located = Located { ordinal: 0, file: 0, offset: 0, words_bytes: 0, has_vector: false };
        Self { group: NO_GROUP, located }
    }
}

impl Entry {
    pub(crate) fn is_there(&self) -> bool {
        self.group != NO_GROUP
    }
}

/// A published version.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) version: u64,
    pub(crate) attributes: Arc<[Attribute]>,
    /// The slots of its chunks, by their numbers.
    pub(crate) slots: Arc<[u32]>,
}

/// A group with a number.
#[derive(Clone, Debug)]
pub(crate) struct NumberedGroup {
    pub(crate) name: Arc<str>,
    pub(crate) published: Option<Published>,
}

impl NumberedGroup {
    fn described(&self) -> Option<Group> {
        let published = self.published.as_ref()?;
        Some(Group {
            name: self.name.to_string(),
            version: published.version,
            chunks: count(published.slots.len()),
            attributes: published.attributes.to_vec(),
        })
    }
}

/// The chunks of a version that is not published: slots by number.
pub(crate) type Staged = BTreeMap<u32, u32>;

/// What a search looks at. Cloning shares nearly all.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) settings: Settings,
    pub(crate) revision: u64,
    pub(crate) groups: Pages<Option<Arc<NumberedGroup>>>,
    pub(crate) entries: Pages<Entry>,
    /// Slots of published chunks.
    pub(crate) live: Bits,
    pub(crate) published_groups: u64,
    pub(crate) published_chunks: u64,
    pub(crate) bytes: u64,
    /// Chunks that were there and are no more, since the index was read into memory.
    pub(crate) deaths: u64,
}

impl View {
    /// Bytes of a vector on disk, without its checksum.
    pub(crate) fn vector_bytes(&self) -> usize {
        self.settings.dimensions as usize * size_of::<f32>()
    }

    pub(crate) fn described(&self) -> Description {
        Description {
            settings: self.settings,
            groups: self.published_groups,
            chunks: self.published_chunks,
            bytes: self.bytes,
            revision: self.revision,
        }
    }

    /// The chunk of a slot; an entry without a group if there is none.
    pub(crate) fn entry(&self, slot: u32) -> Entry {
        self.entries.get(slot).copied().unwrap_or_default()
    }

    pub(crate) fn group(&self, number: u32) -> Option<&Arc<NumberedGroup>> {
        self.groups.get(number)?.as_ref()
    }
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) view: View,
    pub(crate) names: BTreeMap<Arc<str>, u32>,
    /// By the group's number and the version.
    pub(crate) staged: BTreeMap<(u32, u64), Staged>,
    /// Slots that may be used again.
    free: Vec<u32>,
    free_groups: Vec<u32>,
    /// Bytes of records that are still needed, by log file.
    pub(crate) file_bytes: BTreeMap<u32, u64>,
}

pub(crate) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        let view = View {
            settings,
            revision: 0,
            groups: Pages::default(),
            entries: Pages::default(),
            live: Bits::default(),
            published_groups: 0,
            published_chunks: 0,
            bytes: 0,
            deaths: 0,
        };
        Self {
            view,
            names: BTreeMap::new(),
            staged: BTreeMap::new(),
            free: Vec::new(),
            free_groups: Vec::new(),
            file_bytes: BTreeMap::new(),
        }
    }

    fn record_bytes(&self, located: &Located) -> u64 {
        let vector = if located.has_vector { self.view.vector_bytes() + SUM_BYTES } else { 0 };
        (RECORD_HEAD_BYTES + located.words_bytes as usize + vector) as u64
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Arc<NumberedGroup>> {
        self.view.group(*self.names.get(name)?)
    }

    pub(crate) fn published(&self, name: &str) -> Result<&Published, VectorError> {
        self.group(name).and_then(|group| group.published.as_ref()).ok_or(VectorError::NoSuchGroup)
    }

    fn staged_of(&self, name: &str, version: u64) -> Option<&Staged> {
        self.staged.get(&(*self.names.get(name)?, version))
    }

    /// How many chunks are staged, counted from 0 to the first that is missing.
    pub(crate) fn staged_count(&self, name: &str, version: u64) -> u32 {
        let Some(staged) = self.staged_of(name, version) else { return 0 };
        count(staged.keys().zip(0..).take_while(|(ordinal, expected)| **ordinal == *expected).count())
    }

    pub(crate) fn list(&self, after: Option<&str>, limit: u32) -> Vec<Group> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let numbers = self.names.range::<str, _>((start, Bound::Unbounded)).map(|(_, number)| *number);
        let groups = numbers.filter_map(|number| self.view.group(number)?.described());
        groups.take(limit as usize).collect()
    }

    /// Whether chunks of this version may be staged.
    pub(crate) fn check_stage(&self, name: &str, version: u64) -> Result<(), VectorError> {
        match self.published(name) {
            Ok(published) if version <= published.version => Err(VectorError::Invalid(format!(
                "version {} of the group is published; chunks can be staged of greater versions only, not of {version}",
                published.version
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the version may be published with so many chunks; whether it is already.
    pub(crate) fn check_publish(&self, name: &str, version: u64, chunks: u32) -> Result<bool, VectorError> {
        if let Ok(published) = self.published(name) {
            if version == published.version {
                return Ok(true);
            }
            if version < published.version {
                return Err(VectorError::Invalid(format!(
                    "version {} of the group is published; {version} is not greater",
                    published.version
                )));
            }
        }
        let staged = self.staged_of(name, version).map_or(0, BTreeMap::len);
        if staged == 0 && chunks > 0 {
            return Err(VectorError::NoSuchGroup);
        }
        let in_order = self.staged_count(name, version);
        if count(staged) == chunks && in_order == chunks {
            return Ok(false);
        }
        Err(VectorError::Invalid(format!(
            "the version was to have the chunks from 0 on, {chunks} of them; {staged} are staged, and up to the first \
             that is missing {in_order}"
        )))
    }

    /// Applies a change of the log, whatever it is. Returns the slots of chunks that were staged, in their order.
    pub(crate) fn apply(&mut self, change: &Change<'_>) -> Vec<u32> {
        match change {
            Change::Stage { group, version, chunks } => return self.stage(group, *version, chunks),
            Change::Publish { group, version, attributes } => self.publish(group, *version, attributes),
            Change::Discard { group, version } => self.discard(group, *version),
            Change::Remove { groups } => self.remove(groups),
            Change::SetAttributes { group, attributes } => self.set_attributes(group, attributes),
            Change::Move { group, version, chunks } => self.relocate(group, *version, chunks),
        }
        Vec::new()
    }

    fn numbered(&mut self, name: &str) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = self.free_groups.pop().unwrap_or(self.view.groups.len());
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name), number);
        self.view.groups.set(number, Some(Arc::new(NumberedGroup { name, published: None })));
        number
    }

    pub(crate) fn stage(&mut self, name: &str, version: u64, chunks: &[Located]) -> Vec<u32> {
        let group = self.numbered(name);
        let mut slots = Vec::with_capacity(chunks.len());
        for located in chunks {
            let slot = self.free.pop().unwrap_or(self.view.entries.len());
            self.put(slot, Entry { group, located: *located });
            slots.push(slot);
            let replaced = self.staged.entry((group, version)).or_default().insert(located.ordinal, slot);
            replaced.into_iter().for_each(|slot| self.clear(slot));
        }
        self.forget_if_empty(name);
        slots
    }

    fn put(&mut self, slot: u32, entry: Entry) {
        let bytes = self.record_bytes(&entry.located);
        self.view.bytes += bytes;
        *self.file_bytes.entry(entry.located.file).or_default() += bytes;
        self.view.entries.set(slot, entry);
    }

    /// The chunk of a slot is there no more.
    fn clear(&mut self, slot: u32) {
        let Some(entry) = self.view.entries.get(slot).copied().filter(Entry::is_there) else { return };
        let bytes = self.record_bytes(&entry.located);
        self.view.bytes = self.view.bytes.saturating_sub(bytes);
        if let Some(file_bytes) = self.file_bytes.get_mut(&entry.located.file) {
            *file_bytes = file_bytes.saturating_sub(bytes);
        }
        self.view.entries.set(slot, Entry::default());
        self.view.live.remove(slot);
        self.view.deaths += 1;
    }

    pub(crate) fn publish(&mut self, name: &str, version: u64, attributes: &[Attribute]) {
        self.view.revision += 1;
        let number = self.numbered(name);
        let Some(before) = self.view.group(number).cloned() else { return };
        let attributes: Arc<[Attribute]> = attributes.into();
        let mut slots = None;
        match &before.published {
            Some(published) if published.version == version => slots = Some(Arc::clone(&published.slots)),
            Some(published) => self.unpublish(published),
            None => {}
        }
        let slots = slots.unwrap_or_else(|| self.publish_staged(number, version));
        let published = Some(Published { version, attributes, slots });
        self.view
            .groups
            .set(number, Some(Arc::new(NumberedGroup { name: Arc::clone(&before.name), published })));
    }

    fn unpublish(&mut self, published: &Published) {
        self.view.published_groups = self.view.published_groups.saturating_sub(1);
        self.view.published_chunks = self.view.published_chunks.saturating_sub(published.slots.len() as u64);
        published.slots.iter().for_each(|slot| self.clear(*slot));
    }

    /// What was staged of the version is found from now on; of lesser versions it goes.
    fn publish_staged(&mut self, number: u32, version: u64) -> Arc<[u32]> {
        let staged = self.staged.remove(&(number, version)).unwrap_or_default();
        let older: Vec<_> = self.staged.range((number, 0)..(number, version)).map(|(key, _)| *key).collect();
        older.into_iter().for_each(|key| self.drop_staged(key));
        let slots: Arc<[u32]> = staged.into_values().collect();
        slots.iter().for_each(|slot| self.view.live.insert(*slot));
        self.view.published_groups += 1;
        self.view.published_chunks += slots.len() as u64;
        slots
    }

    fn drop_staged(&mut self, key: (u32, u64)) {
        let staged = self.staged.remove(&key).unwrap_or_default();
        staged.into_values().for_each(|slot| self.clear(slot));
    }

    pub(crate) fn discard(&mut self, name: &str, version: u64) {
        if let Some(number) = self.names.get(name).copied() {
            self.drop_staged((number, version));
            self.forget_if_empty(name);
        }
    }

    /// A group with nothing published and nothing staged has no number.
    fn forget_if_empty(&mut self, name: &str) {
        let Some(number) = self.names.get(name).copied() else { return };
        let is_published = self.view.group(number).is_some_and(|group| group.published.is_some());
        if !is_published && self.staged.range((number, 0)..=(number, u64::MAX)).next().is_none() {
            self.names.remove(name);
            self.view.groups.set(number, None);
            self.free_groups.push(number);
        }
    }

    pub(crate) fn remove(&mut self, names: &[&str]) {
        for name in names {
            let Some(number) = self.names.get(*name).copied() else { continue };
            let staged: Vec<_> =
                self.staged.range((number, 0)..=(number, u64::MAX)).map(|(key, _)| *key).collect();
            staged.into_iter().for_each(|key| self.drop_staged(key));
            let Some(group) = self.view.group(number).cloned() else { continue };
            if let Some(published) = &group.published {
                self.view.revision += 1;
                self.unpublish(published);
                self.view.groups.set(
                    number,
                    Some(Arc::new(NumberedGroup { name: Arc::clone(&group.name), published: None })),
                );
            }
            self.forget_if_empty(name);
        }
    }

    pub(crate) fn set_attributes(&mut self, name: &str, attributes: &[Attribute]) {
        let Ok(published) = self.published(name) else { return };
        self.publish(name, published.version, attributes);
    }

    /// The records of chunks are elsewhere, if they are still those that were copied.
    pub(crate) fn relocate(&mut self, name: &str, version: u64, chunks: &[Located]) {
        for located in chunks {
            let Some(slot) = self.slot(name, version, located.ordinal) else { continue };
            let Some(entry) = self.view.entries.get(slot).copied() else { continue };
            let is_live = self.view.live.contains(slot);
            self.clear(slot);
            self.put(slot, Entry { located: *located, ..entry });
            if is_live {
                self.view.live.insert(slot);
            }
        }
    }

    /// The slot of a chunk, published or staged.
    pub(crate) fn slot(&self, name: &str, version: u64, ordinal: u32) -> Option<u32> {
        match self.published(name) {
            Ok(published) if published.version == version => published.slots.get(ordinal as usize).copied(),
            _ => self.staged_of(name, version)?.get(&ordinal).copied(),
        }
    }

    /// These slots may be used again: nothing that is searched from now on names them.
    pub(crate) fn release(&mut self, slots: impl IntoIterator<Item = u32>) {
        let entries = &self.view.entries;
        self.free.extend(slots.into_iter().filter(|slot| !entries.get(*slot).is_some_and(Entry::is_there)));
    }

    /// A group as a checkpoint has it.
    pub(crate) fn restore_group(&mut self, name: &str, number: u32, published: Option<Published>) {
        let name: Arc<str> = name.into();
        if let Some(published) = &published {
            self.view.published_groups += 1;
            self.view.published_chunks += published.slots.len() as u64;
            published.slots.iter().for_each(|slot| self.view.live.insert(*slot));
        }
        self.names.insert(Arc::clone(&name), number);
        self.view.groups.set(number, Some(Arc::new(NumberedGroup { name, published })));
    }

    /// So many slots have been given, though not all have a chunk: parts on disk may still name them.
    pub(crate) fn restore_slots(&mut self, slots: u32) {
        if let Some(last) = slots.checked_sub(1) {
            self.view.entries.set(last, Entry::default());
        }
    }

    /// A chunk as a checkpoint has it.
    pub(crate) fn restore_entry(&mut self, slot: u32, entry: Entry) {
        self.put(slot, entry);
    }

    /// Numbers of groups that are not used, once all groups are restored.
    pub(crate) fn restore_free_groups(&mut self) {
        self.free_groups =
            self.view.groups.iter().filter(|(_, group)| group.is_none()).map(|(number, _)| number).collect();
    }
}
