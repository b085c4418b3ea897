//! The record that a part of an index's groups stand in, and each change of it. Nothing here reads or writes the store:
//! what a change decides becomes true at once, when the record is swapped for the changed one.
//!
//! Pages are written before a record names them and deleted after no record does. So that a crash in between leaves none
//! behind, the record says beforehand which are going to be written ([`Draft::reserved`]), and afterwards which are to be
//! deleted ([`Shard::waste`]).

use super::ordinals::{Ordinals, Reach};
use crate::bounds::invalid;
use crate::{Attributes, IndexError, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A part of an index's groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shard {
    /// How many changes there were that a search can notice.
    pub(super) revision: u64,
    /// By name.
    pub(super) groups: BTreeMap<String, GroupRecord>,
    /// Pages that nothing leads to and that are not deleted yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) waste: Vec<Waste>,
}

/// A group: what of it is found, and what is being staged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<Publication>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) drafts: Vec<Draft>,
}

/// The version of a group that is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publication {
    pub(super) version: u64,
    pub(super) chunks: u32,
    pub(super) attributes: Vec<AttributeRecord>,
    /// In the order of the least number in each.
    pub(super) pages: Vec<Page>,
}

/// A version that is being staged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    pub(super) version: u64,
    pub(super) pages: Vec<Page>,
    /// Pages that a call is writing, or was when it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reserved: Vec<Waste>,
}

/// A page that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The number of the call that wrote it, and its place among that call's pages.
    pub(super) batch: u64,
    pub(super) part: u32,
    /// What its values take together.
    pub(super) bytes: u64,
    /// Whether any of its chunks has a vector.
    pub(super) vectors: bool,
    /// Which of its chunks count: the others were staged again later.
    pub(super) chunks: Ordinals,
}

/// Pages of one call that are to be deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waste {
    pub(super) batch: u64,
    pub(super) part: u32,
    /// So many from `part` on.
    pub(super) count: u32,
}

/// An attribute as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeRecord {
    name: String,
    value: ValueRecord,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ValueRecord {
    Text(String),
    /// As text: JSON's numbers are read back with a rounding error, and then compare as another.
    Number(String),
    Boolean(bool),
}

/// The attributes as they are stored.
pub(super) fn attribute_records(attributes: Attributes) -> Vec<AttributeRecord> {
    let record = |(name, value)| {
        let value = match value {
            Value::Text(text) => ValueRecord::Text(text),
            Value::Number(number) => ValueRecord::Number(format!("{number:e}")),
            Value::Boolean(boolean) => ValueRecord::Boolean(boolean),
        };
        AttributeRecord { name, value }
    };
    attributes.into_iter().map(record).collect()
}

impl Publication {
    /// The attributes as they were given; those that cannot be read are left out, as they match nothing.
    pub(super) fn attributes(&self) -> Attributes {
        let attribute = |record: &AttributeRecord| {
            let value = match &record.value {
                ValueRecord::Text(text) => Value::Text(text.clone()),
                ValueRecord::Number(number) => Value::Number(number.parse().ok()?),
                ValueRecord::Boolean(boolean) => Value::Boolean(*boolean),
            };
            Some((record.name.clone(), value))
        };
        self.attributes.iter().filter_map(attribute).collect()
    }
}

impl From<&Page> for Waste {
    fn from(page: &Page) -> Self {
        Self { batch: page.batch, part: page.part, count: 1 }
    }
}

impl GroupRecord {
    fn draft(&self, version: u64) -> Option<&Draft> {
        self.drafts.iter().find(|draft| draft.version == version)
    }

    /// All its pages, found or not.
    pub(super) fn pages(&self) -> impl Iterator<Item = &Page> {
        let published = self.published.iter().flat_map(|published| &published.pages);
        published.chain(self.drafts.iter().flat_map(|draft| &draft.pages))
    }

    fn is_empty(&self) -> bool {
        self.published.is_none() && self.drafts.is_empty()
    }

    fn greater_than_published(&self, version: u64) -> Result<(), IndexError> {
        match &self.published {
            Some(published) if version <= published.version => Err(invalid(format!(
                "version {version} of a group of which version {} is published: it must be greater",
                published.version
            ))),
            _ => Ok(()),
        }
    }
}

impl Draft {
    fn into_waste(self) -> impl Iterator<Item = Waste> {
        let pages: Vec<Waste> = self.pages.iter().map(Waste::from).collect();
        pages.into_iter().chain(self.reserved)
    }
}

impl Shard {
    /// Reads the record; one that was never written is empty.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub(super) fn read(key: &str, value: Option<&[u8]>) -> Result<Self, IndexError> {
        let Some(value) = value else { return Ok(Self::default()) };
        serde_json::from_slice(value)
            .map_err(|error| IndexError::Damaged(format!("the record at '{key}' cannot be read: {error}")))
    }

    /// Says that a call numbered `batch` is going to write so many pages for a version.
    ///
    /// # Errors
    /// [`IndexError::Invalid`]: the version is not greater than the published one.
    pub(super) fn reserve(
        &mut self,
        group: &str,
        version: u64,
        batch: u64,
        count: u32,
    ) -> Result<(), IndexError> {
        if let Some(found) = self.groups.get(group) {
            found.greater_than_published(version)?;
        }
        let found = self.groups.entry(group.to_owned()).or_default();
        let reserved = Waste { batch, part: 0, count };
        match found.drafts.iter_mut().find(|draft| draft.version == version) {
            Some(draft) => draft.reserved.push(reserved),
            None => found.drafts.push(Draft { version, pages: Vec::new(), reserved: vec![reserved] }),
        }
        Ok(())
    }

    /// Takes the pages of that call into the version: their chunks replace those of the same numbers.
    ///
    /// # Errors
    /// [`IndexError::Unavailable`]: the version was published or forgotten meanwhile.
    pub(super) fn fill(
        &mut self,
        group: &str,
        version: u64,
        batch: u64,
        pages: &[Page],
    ) -> Result<(), IndexError> {
        let draft = self.reserving_draft(group, version, batch).ok_or_else(|| {
            IndexError::Unavailable("the version was published or forgotten while it was staged".to_owned())
        })?;
        draft.reserved.retain(|reserved| reserved.batch != batch);
        let mut replaced = Vec::new();
        for page in &mut draft.pages {
            for newer in pages {
                page.chunks.remove(&newer.chunks);
            }
            if page.chunks.is_empty() {
                replaced.push(Waste::from(&*page));
            }
        }
        draft.pages.retain(|page| !page.chunks.is_empty());
        draft.pages.extend_from_slice(pages);
        self.waste.extend(replaced);
        Ok(())
    }

    /// Lets go of the pages of a call that failed, unless a version has them: the call may have failed after it had done
    /// all, and its version may have gone before.
    pub(super) fn cancel(&mut self, group: &str, version: u64, pages: &Waste) {
        if let Some(draft) = self.reserving_draft(group, version, pages.batch) {
            draft.reserved.retain(|reserved| reserved.batch != pages.batch);
            if draft.pages.is_empty() && draft.reserved.is_empty() {
                self.discard(group, version);
            }
        }
        let mut kept = self.groups.get(group).into_iter().flat_map(GroupRecord::pages);
        if !kept.any(|page| page.batch == pages.batch) {
            self.waste.push(pages.clone());
        }
    }

    fn reserving_draft(&mut self, group: &str, version: u64, batch: u64) -> Option<&mut Draft> {
        let mut drafts = self.groups.get_mut(group)?.drafts.iter_mut();
        let reserves = |draft: &Draft| draft.reserved.iter().any(|reserved| reserved.batch == batch);
        drafts.find(|draft| draft.version == version && reserves(draft))
    }

    /// How many chunks of a version are staged, to the first that is missing.
    pub(super) fn staged(&self, group: &str, version: u64) -> u32 {
        let draft = self.groups.get(group).and_then(|found| found.draft(version));
        draft.map_or(0, |draft| Reach::of(draft.pages.iter().map(|page| &page.chunks)).whole)
    }

    /// Makes a version the one that is found.
    ///
    /// # Errors
    /// [`IndexError::NoSuchGroup`]: nothing of it is staged. [`IndexError::Invalid`]: it is less than the published one,
    /// or has other chunks than the first so many.
    pub(super) fn publish(
        &mut self,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: &[AttributeRecord],
    ) -> Result<(), IndexError> {
        let published = self.groups.get(group).and_then(|found| found.published.as_ref());
        if published.is_some_and(|published| published.version == version) {
            return self.set_attributes(group, attributes);
        }
        self.publishable(group, version, chunks)?;
        let found = self.groups.entry(group.to_owned()).or_default();
        let (before, later): (Vec<Draft>, Vec<Draft>) =
            std::mem::take(&mut found.drafts).into_iter().partition(|draft| draft.version <= version);
        found.drafts = later;
        let old = found.published.take();
        self.waste.extend(old.iter().flat_map(|old| &old.pages).map(Waste::from));
        let mut pages = Vec::new();
        for mut draft in before {
            if draft.version == version {
                pages = std::mem::take(&mut draft.pages);
            }
            self.waste.extend(draft.into_waste());
        }
        pages.sort_by_key(|page| page.chunks.first());
        found.published = Some(Publication { version, chunks, attributes: attributes.to_vec(), pages });
        self.revision += 1;
        Ok(())
    }

    fn publishable(&self, group: &str, version: u64, chunks: u32) -> Result<(), IndexError> {
        let found = self.groups.get(group);
        if let Some(found) = found {
            found.greater_than_published(version)?;
        }
        let Some(draft) = found.and_then(|found| found.draft(version)) else {
            // A group without chunks is whole though nothing of it was staged.
            return if chunks == 0 { Ok(()) } else { Err(IndexError::NoSuchGroup) };
        };
        let reach = Reach::of(draft.pages.iter().map(|page| &page.chunks));
        if reach.whole < chunks {
            let missing = reach.whole;
            return Err(invalid(format!(
                "version {version} is to have {chunks} chunks, and {missing} is missing"
            )));
        }
        if reach.whole > chunks || reach.has_more {
            return Err(invalid(format!(
                "version {version} is to have {chunks} chunks, and has others as well"
            )));
        }
        Ok(())
    }

    /// Forgets what was staged of a version.
    pub(super) fn discard(&mut self, group: &str, version: u64) {
        let Some(found) = self.groups.get_mut(group) else { return };
        let (gone, kept): (Vec<Draft>, Vec<Draft>) =
            std::mem::take(&mut found.drafts).into_iter().partition(|draft| draft.version == version);
        found.drafts = kept;
        if found.is_empty() {
            self.groups.remove(group);
        }
        self.waste.extend(gone.into_iter().flat_map(Draft::into_waste));
    }

    /// Removes a group with all that was staged of it.
    pub(super) fn remove(&mut self, group: &str) {
        let Some(found) = self.groups.remove(group) else { return };
        self.revision += u64::from(found.published.is_some());
        self.waste.extend(found.published.iter().flat_map(|published| &published.pages).map(Waste::from));
        self.waste.extend(found.drafts.into_iter().flat_map(Draft::into_waste));
    }

    /// Gives a published group other attributes.
    ///
    /// # Errors
    /// [`IndexError::NoSuchGroup`].
    pub(super) fn set_attributes(
        &mut self,
        group: &str,
        attributes: &[AttributeRecord],
    ) -> Result<(), IndexError> {
        let found = self.groups.get_mut(group).and_then(|found| found.published.as_mut());
        let published = found.ok_or(IndexError::NoSuchGroup)?;
        if published.attributes != attributes {
            published.attributes = attributes.to_vec();
            self.revision += 1;
        }
        Ok(())
    }
}
