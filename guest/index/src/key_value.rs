//! An index over a plain key-value store: for hosts that keep no indexes, and for tests. It looks at every chunk of a
//! search, so it is made for some ten thousands of them.
//!
//! A group's record says which of its pages count (`record.rs`); all that makes a version found, and the one before not,
//! is one swap of that record. Pages are never changed once they are written, so a search that has read the records sees
//! every group whole; if a page is gone when it comes to it, its group was replaced meanwhile, and it begins again.

mod catalogue;
mod codec;
mod dense;
mod groups;
mod lexical;
mod ordinals;
mod page;
mod record;
mod search;
mod store;
mod top;

use crate::bounds::{self, ORDINAL_MAX, READ_CHUNKS_MAX, invalid};
use crate::filter::Filter;
use crate::{Attributes, Chunk, Description, Group, Hit, Index, IndexError, Query, Settings, key};
use catalogue::Opened;
use groups::Groups;
use page::Written;
use record::{Page, Waste, attribute_records};
use std::collections::BTreeMap;
use store::{Fault, Kind, each, failed, key_of};
use waggle_conversation::Store;

/// How often a search or a reading begins again when what it reads is replaced meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// Indexes in a key-value store. The store's keys that begin with `vector/` are theirs alone.
#[derive(Debug, Clone)]
pub struct KeyValueIndex<S> {
    store: S,
}

impl<S: Store> KeyValueIndex<S> {
    /// The indexes in this store.
    pub fn new(store: S) -> Self {
        Self { store }
    }

    async fn open(&self, index: &str) -> Result<Groups<'_, S>, IndexError> {
        bounds::index_name(index)?;
        catalogue::open(&self.store, index).await
    }

    async fn open_for(&self, index: &str, group: &str) -> Result<Groups<'_, S>, IndexError> {
        bounds::group_name(group)?;
        self.open(index).await
    }

    /// An index with all its records.
    async fn read_whole(&self, index: &str) -> Result<Opened<'_, S>, IndexError> {
        bounds::index_name(index)?;
        let mut opened = catalogue::read_all(&self.store, &[index]).await?;
        opened.pop().ok_or(IndexError::NoSuchIndex)
    }

    /// What a change of an index has led to: nothing, if the index was dropped meanwhile.
    async fn confirm(
        &self,
        index: &str,
        groups: &Groups<'_, S>,
        result: Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        match self.open(index).await {
            Ok(found) if found.index != groups.index => {}
            Err(IndexError::NoSuchIndex) => {}
            _ => return result,
        }
        // The change may have written where all had been deleted.
        groups.erase().await?;
        Err(IndexError::NoSuchIndex)
    }

    /// Chunks of a group, of those with these numbers.
    async fn read_once(&self, index: &str, group: &str, first: u32, last: u32) -> Result<Vec<Chunk>, Fault> {
        let groups = self.open_for(index, group).await?;
        let shard = groups.of(group).await?;
        let published = shard.groups.get(group).and_then(|found| found.published.as_ref());
        let Some(published) = published else {
            // The index may be gone since it was opened.
            self.open(index).await?;
            return Err(Fault::Failed(IndexError::NoSuchGroup));
        };
        let pages: Vec<&Page> =
            published.pages.iter().filter(|page| page.chunks.meets(first, last)).collect();
        let keys: Vec<String> = pages.iter().map(|page| key_of(groups.index, page, Kind::Texts)).collect();
        let mut chunks = BTreeMap::new();
        each(&self.store, &keys, |place, value| {
            let counting = &pages.get(place)?.chunks;
            page::read_texts(value, |chunk| {
                if (first..=last).contains(&chunk.ordinal) && counting.contains(chunk.ordinal) {
                    chunks.insert(chunk.ordinal, chunk);
                }
            })
        })
        .await?;
        Ok(chunks.into_values().collect())
    }
}

/// Does something until no page is missing. One that is missing twice is lost: after the first time the records were read
/// anew, and none of those names a page that was deleted before.
async fn patiently<T, F: Future<Output = Result<T, Fault>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, IndexError> {
    let mut missing = None;
    for _ in 0..ATTEMPTS_MAX {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Missing(key)) if missing.as_ref() == Some(&key) => {
                return Err(IndexError::Damaged(format!("the page at '{key}' is not there")));
            }
            Err(Fault::Missing(key)) => missing = Some(key),
        }
    }
    Err(IndexError::Unavailable("the index is changed faster than it is read".to_owned()))
}

/// A page with where its values go.
fn placed(index: u64, batch: u64, part: u32, written: Written) -> (Page, Vec<(String, Vec<u8>)>) {
    let vectors = written.vectors.is_some();
    let mut page = Page { batch, part, bytes: 0, vectors, chunks: written.ordinals };
    let mut values = vec![
        (key_of(index, &page, Kind::Words), written.words),
        (key_of(index, &page, Kind::Texts), written.texts),
    ];
    values.extend(written.vectors.map(|vectors| (key_of(index, &page, Kind::Vectors), vectors)));
    page.bytes = values.iter().map(|(_, value)| value.len() as u64).sum();
    (page, values)
}

impl<S: Store> Index for KeyValueIndex<S> {
    async fn create(&self, index: &str, settings: Settings) -> Result<(), IndexError> {
        bounds::index_name(index)?;
        bounds::settings(settings)?;
        catalogue::create(&self.store, index, settings).await
    }

    async fn describe(&self, index: &str) -> Result<Description, IndexError> {
        let Opened { groups: opened, shards, mut bytes } = self.read_whole(index).await?;
        // A later index of the same name never has a revision that an earlier one had.
        let mut revision = opened.index << REVISION_BITS;
        let (mut groups, mut chunks) = (0, 0);
        for shard in &shards {
            revision += shard.revision;
            for group in shard.groups.values() {
                bytes += group.pages().map(|page| page.bytes).sum::<u64>();
                groups += u64::from(group.published.is_some());
                chunks += group.published.as_ref().map_or(0, |published| u64::from(published.chunks));
            }
        }
        Ok(Description { settings: opened.settings, groups, chunks, bytes, revision })
    }

    async fn list_indexes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, IndexError> {
        let mut names = catalogue::all(&self.store).await?;
        names.retain(|name| after.is_none_or(|after| name.as_str() > after));
        names.truncate(bounds::listed(limit));
        Ok(names)
    }

    async fn drop_index(&self, index: &str) -> Result<(), IndexError> {
        bounds::index_name(index)?;
        catalogue::drop_index(&self.store, index).await
    }

    async fn stage(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), IndexError> {
        let groups = self.open_for(index, group).await?;
        bounds::chunks(&chunks, groups.settings.dimensions)?;
        let written = page::pack(chunks);
        let count =
            u32::try_from(written.len()).map_err(|_| invalid("one call of stage has too many pages"))?;
        if count == 0 {
            return Ok(());
        }
        let batch = catalogue::draw(&self.store).await?;
        let (pages, values): (Vec<Page>, Vec<_>) =
            (0..).zip(written).map(|(part, written)| placed(groups.index, batch, part, written)).unzip();
        groups.change(group, |shard| shard.reserve(group, version, batch, count)).await?;
        let written = self.store.set_many(values.into_iter().flatten().collect()).await.map_err(failed);
        let filled = match written {
            Ok(()) => groups.change(group, |shard| shard.fill(group, version, batch, &pages)).await,
            Err(error) => Err(error),
        };
        if filled.is_err() {
            let_go(&groups, group, version, Waste { batch, part: 0, count }).await;
        }
        self.confirm(index, &groups, filled).await
    }

    async fn staged(&self, index: &str, group: &str, version: u64) -> Result<u32, IndexError> {
        let staged = self.open_for(index, group).await?.of(group).await?.staged(group, version);
        if staged == 0 {
            // The index may be gone since it was opened.
            self.open(index).await?;
        }
        Ok(staged)
    }

    async fn publish(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: Attributes,
    ) -> Result<(), IndexError> {
        bounds::published_chunks(chunks)?;
        bounds::attributes(&attributes)?;
        let attributes = attribute_records(attributes);
        let groups = self.open_for(index, group).await?;
        let published =
            groups.change(group, |shard| shard.publish(group, version, chunks, &attributes)).await;
        self.confirm(index, &groups, published).await
    }

    async fn discard(&self, index: &str, group: &str, version: u64) -> Result<(), IndexError> {
        let groups = self.open_for(index, group).await?;
        let discard = |shard: &mut record::Shard| {
            shard.discard(group, version);
            Ok(())
        };
        groups.change(group, discard).await
    }

    async fn remove(&self, index: &str, groups: Vec<String>) -> Result<(), IndexError> {
        bounds::removed_groups(&groups)?;
        let opened = self.open(index).await?;
        let mut by_shard: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for group in groups {
            by_shard.entry(key::groups_of(opened.index, &group)).or_default().push(group);
        }
        for groups in by_shard.into_values() {
            let Some(any) = groups.first() else { continue };
            let remove = |shard: &mut record::Shard| {
                groups.iter().for_each(|group| shard.remove(group));
                Ok(())
            };
            opened.change(any, remove).await?;
        }
        Ok(())
    }

    async fn set_attributes(
        &self,
        index: &str,
        group: &str,
        attributes: Attributes,
    ) -> Result<(), IndexError> {
        bounds::attributes(&attributes)?;
        let attributes = attribute_records(attributes);
        let groups = self.open_for(index, group).await?;
        let set = groups.change(group, |shard| shard.set_attributes(group, &attributes)).await;
        self.confirm(index, &groups, set).await
    }

    async fn list_groups(
        &self,
        index: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, IndexError> {
        let mut groups = BTreeMap::new();
        for shard in self.read_whole(index).await?.shards {
            let published =
                shard.groups.into_iter().filter_map(|(name, group)| Some((name, group.published?)));
            groups.extend(published.filter(|(name, _)| after.is_none_or(|after| name.as_str() > after)));
        }
        let group = |(name, published): (String, record::Publication)| Group {
            name,
            version: published.version,
            chunks: published.chunks,
            attributes: published.attributes(),
        };
        Ok(groups.into_iter().take(bounds::listed(limit)).map(group).collect())
    }

    async fn read(&self, index: &str, group: &str, start: u32, count: u32) -> Result<Vec<Chunk>, IndexError> {
        let count = count.min(READ_CHUNKS_MAX);
        let last = start.saturating_add(count.saturating_sub(1));
        // Of none, or of those behind the last there can be, only whether there is such a group is asked.
        let (first, last) =
            if count == 0 || start > ORDINAL_MAX { (u32::MAX, u32::MAX) } else { (start, last) };
        patiently(|| self.read_once(index, group, first, last)).await
    }

    async fn search(&self, indexes: &[&str], query: Query) -> Result<Vec<Hit>, IndexError> {
        indexes.iter().try_for_each(|index| bounds::index_name(index))?;
        bounds::query(indexes.len(), &query)?;
        let filter = Filter::new(query.filter.clone())?;
        patiently(|| search::search(&self.store, indexes, &query, &filter)).await
    }
}

/// By how many bits an index's number goes before its groups' revisions.
const REVISION_BITS: u32 = 24;

/// Lets go of the pages of a call of `stage` that failed, as far as the store allows it: what stays goes with its version.
async fn let_go<S: Store>(groups: &Groups<'_, S>, group: &str, version: u64, pages: Waste) {
    let cancel = |shard: &mut record::Shard| {
        shard.cancel(group, version, &pages);
        Ok(())
    };
    let _goes_with_the_version = groups.change(group, cancel).await;
}
