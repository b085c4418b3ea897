//! Lists that are read in the order in which they grew: of an owner's files, of a store's files.
//!
//! A store finds a value by its whole key and by nothing else, so what is to be listed stands in pages, and a head says
//! which pages there are. Entries are added to the last page only. Each page is changed by compare-and-swap and counts its
//! changes, so that none is mistaken for an earlier state of itself. A page that has become empty is sealed before the head
//! forgets it, so that nobody adds to a page that is about to go. There are never more pages than entries, and one.

use crate::key;
use crate::recorded::{self, Changed, create, read, read_many};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waggle_conversation::{Store, StoreError};

/// The most entries of a page.
pub(crate) const PAGE_ENTRIES_MAX: usize = 256;
/// How often an addition looks for the last page again.
const LOOKS_MAX: usize = 64;

/// What can stand in a list.
pub(crate) trait Entry: Serialize + DeserializeOwned + Clone {}

impl<E: Serialize + DeserializeOwned + Clone> Entry for E {}

/// A nonce as it stands in JSON.
pub(crate) mod nonce {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use waggle_openai::Nonce;

    pub(crate) fn serialize<S: Serializer>(nonce: &Nonce, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(nonce.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nonce, D::Error> {
        let text = String::deserialize(deserializer)?;
        Nonce::parse(&text).ok_or_else(|| D::Error::custom("it is no nonce"))
    }
}

/// Nonces as they stand in JSON.
pub(crate) mod nonces {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use waggle_openai::Nonce;

    pub(crate) fn serialize<S: Serializer>(nonces: &[Nonce], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(nonces.iter().map(Nonce::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Nonce>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let nonce = |text: &String| Nonce::parse(text).ok_or_else(|| D::Error::custom("it is no nonce"));
        texts.iter().map(nonce).collect()
    }
}

/// Which pages there are, in order, and the number that the next one gets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Head {
    next: u32,
    pages: Vec<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "E: Entry")]
struct Page<E> {
    /// How often it was changed.
    revision: u64,
    /// Whether nothing may be added any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sealed: bool,
    entries: Vec<E>,
}

impl<E> Page<E> {
    fn new() -> Self {
        Self { revision: 0, sealed: false, entries: Vec::new() }
    }
}

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct Roster<'a, S> {
    store: &'a S,
    prefix: String,
}

impl<'a, S: Store> Roster<'a, S> {
    /// The list whose keys begin with `prefix`, as `key` makes it.
    pub(crate) fn new(store: &'a S, prefix: String) -> Self {
        Self { store, prefix }
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let head = read(self.store, &key::roster_head(&self.prefix)).await?;
        Ok(head.map_or_else(Head::default, |head| head.value))
    }

    /// Adds `entries` at the end, in their order; the page of each. One that is interrupted has perhaps added the first
    /// few.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn append<E: Entry>(&self, entries: &[E]) -> Result<Vec<u32>, StoreError> {
        let mut pages = Vec::with_capacity(entries.len());
        for _ in 0..LOOKS_MAX + entries.len() {
            let Some(rest) = entries.get(pages.len()..).filter(|rest| !rest.is_empty()) else {
                return Ok(pages);
            };
            let number = match self.head().await?.pages.last() {
                Some(number) => *number,
                None => self.add_page(None).await?,
            };
            let mut added = 0;
            let changed = recorded::change(self.store, self.page_key(number), |page: &mut Page<E>| {
                let room = PAGE_ENTRIES_MAX.saturating_sub(page.entries.len());
                added = if page.sealed { 0 } else { room.min(rest.len()) };
                page.entries.extend(rest.iter().take(added).cloned());
                page.revision += 1;
                added > 0
            });
            if changed.await?.is_stored() {
                pages.extend(std::iter::repeat_n(number, added));
            } else {
                self.add_page(Some(number)).await?;
            }
        }
        Err(StoreError::Contended(key::roster_head(&self.prefix)))
    }

    /// Adds a page behind the page `last`, unless another has; the last page.
    async fn add_page(&self, last: Option<u32>) -> Result<u32, StoreError> {
        let head = self.head().await?;
        if head.pages.last().copied() != last
            && let Some(other) = head.pages.last()
        {
            return Ok(*other);
        }
        // The page first: what the head names is there. The entries' type does not matter to a page without any.
        let page: Page<Never> = Page::new();
        create(self.store, &self.page_key(head.next), &page).await?;
        let number = head.next;
        recorded::change_or_default(self.store, key::roster_head(&self.prefix), |head: &mut Head| {
            let ours = head.next == number;
            if ours {
                head.pages.push(number);
                head.next += 1;
            }
            ours
        })
        .await?;
        Ok(self.head().await?.pages.last().copied().unwrap_or(number))
    }

    /// Changes the entries of a page: `change` says whether it did anything. It must add none. Whether anything was
    /// changed.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn update<E: Entry>(
        &self,
        page: u32,
        mut change: impl FnMut(&mut Vec<E>) -> bool,
    ) -> Result<bool, StoreError> {
        let changed = recorded::change(self.store, self.page_key(page), |page: &mut Page<E>| {
            page.revision += 1;
            change(&mut page.entries)
        });
        match changed.await? {
            Changed::Stored(changed) => {
                if changed.entries.is_empty() {
                    self.retire::<E>(page).await?;
                }
                Ok(true)
            }
            Changed::Unwanted(_) | Changed::Missing => Ok(false),
        }
    }

    /// Takes an empty page that is not the last out of the list.
    async fn retire<E: Entry>(&self, number: u32) -> Result<(), StoreError> {
        if self.head().await?.pages.last() == Some(&number) {
            return Ok(());
        }
        let sealed = recorded::change(self.store, self.page_key(number), |page: &mut Page<E>| {
            page.revision += 1;
            page.sealed = page.entries.is_empty();
            page.sealed
        });
        if sealed.await?.is_stored() {
            let head_key = key::roster_head(&self.prefix);
            recorded::change(self.store, &head_key, |head: &mut Head| {
                let count = head.pages.len();
                head.pages.retain(|page| *page != number);
                head.pages.len() < count
            })
            .await?;
            self.store.delete_many(vec![self.page_key(number)]).await?;
        }
        Ok(())
    }

    /// All entries, oldest first, each with its page.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn all<E: Entry>(&self) -> Result<Vec<(u32, E)>, StoreError> {
        let numbers = self.head().await?.pages;
        let keys = numbers.iter().map(|number| self.page_key(*number)).collect();
        let pages: Vec<Option<Page<E>>> = read_many(self.store, keys).await?;
        let found = numbers.into_iter().zip(pages);
        Ok(found
            .flat_map(|(number, page)| {
                let entries = page.map(|page| page.entries).unwrap_or_default();
                entries.into_iter().map(move |entry| (number, entry))
            })
            .collect())
    }

    /// More entries than there can be, without looking at any.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn at_most(&self) -> Result<usize, StoreError> {
        Ok(self.head().await?.pages.len() * PAGE_ENTRIES_MAX)
    }

    /// Deletes the list with all its pages.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn delete(&self) -> Result<(), StoreError> {
        let mut keys: Vec<String> =
            self.head().await?.pages.iter().map(|number| self.page_key(*number)).collect();
        keys.push(key::roster_head(&self.prefix));
        self.store.delete_many(keys).await
    }

    fn page_key(&self, number: u32) -> String {
        key::roster_page(&self.prefix, number)
    }
}

/// The entry of a page that has none.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Never {}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use proptest::prelude::*;
    use waggle_conversation::memory::MemoryStore;
    use waggle_openai::Nonce;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Named {
        #[serde(with = "nonce")]
        id: Nonce,
    }

    fn named(number: u64) -> Named {
        Named { id: Nonce::mint(number, 0) }
    }

    fn all(roster: &Roster<'_, MemoryStore>) -> Vec<(u32, Named)> {
        block_on(roster.all()).unwrap()
    }

    #[test]
    fn entries_come_back_in_their_order_whatever_pages_they_take() {
        let store = MemoryStore::default();
        let roster = Roster::new(&store, "list".to_owned());
        assert_eq!(all(&roster), []);
        let entries: Vec<Named> = (0..600).map(named).collect();
        let pages = block_on(roster.append(&entries)).unwrap();
        let found = all(&roster);
        assert_eq!(found.iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>(), entries);
        assert_eq!(found.iter().map(|(page, _)| *page).collect::<Vec<_>>(), pages);
        assert_eq!(pages.iter().max(), Some(&2));
    }

    #[test]
    fn a_page_without_entries_goes_but_for_the_last() {
        let store = MemoryStore::default();
        let roster = Roster::new(&store, "list".to_owned());
        block_on(roster.append(&(0..600).map(named).collect::<Vec<_>>())).unwrap();
        for page in 0..3 {
            assert!(
                block_on(roster.update(page, |entries: &mut Vec<Named>| {
                    entries.clear();
                    true
                }))
                .unwrap()
            );
        }
        assert_eq!(store.dump().into_keys().collect::<Vec<_>>(), ["list/head", "list/page/000002"]);
        block_on(roster.append(&[named(7)])).unwrap();
        assert_eq!(all(&roster), [(2, named(7))]);
    }

    #[test]
    fn whoever_is_interrupted_while_adding_keeps_nobody_else_from_it() {
        // Every operation of an addition that needs a page fails once; what was added stays, and the next goes on.
        for failing in ["get", "swap"] {
            let store = MemoryStore::default();
            let roster = Roster::new(&store, "list".to_owned());
            let first: Vec<Named> = (0..PAGE_ENTRIES_MAX as u64).map(named).collect();
            block_on(roster.append(&first)).unwrap();
            store.fail(Some(failing));
            assert!(block_on(roster.append(&[named(900)])).is_err());
            store.fail(None);
            block_on(roster.append(&[named(901)])).unwrap();
            assert_eq!(all(&roster).last().unwrap().1, named(901));
        }
    }

    #[test]
    fn a_page_that_was_made_and_not_named_is_used_by_the_next() {
        let store = MemoryStore::default();
        let roster = Roster::new(&store, "list".to_owned());
        store.put("list/page/000000", br#"{"revision":0,"entries":[]}"#);
        block_on(roster.append(&[named(1)])).unwrap();
        assert_eq!(all(&roster), [(0, named(1))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_listed_is_what_was_added_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), 0usize..600), 1..8),
        ) {
            let store = MemoryStore::default();
            let roster = Roster::new(&store, "list".to_owned());
            let (mut next, mut model) = (0, Vec::<Named>::new());
            for (adds, count) in steps {
                if adds {
                    let entries: Vec<Named> = (next..next + count as u64).map(named).collect();
                    next += count as u64;
                    block_on(roster.append(&entries)).unwrap();
                    model.extend(entries);
                } else {
                    let gone: Vec<(u32, Named)> = all(&roster).into_iter().take(count).collect();
                    let mut pages: Vec<u32> = gone.iter().map(|(page, _)| *page).collect();
                    pages.dedup();
                    for page in pages {
                        block_on(roster.update(page, |entries: &mut Vec<Named>| {
                            entries.retain(|entry| !gone.iter().any(|(_, gone)| gone == entry));
                            true
                        })).unwrap();
                    }
                    model.drain(..gone.len());
                }
                let listed: Vec<Named> = all(&roster).into_iter().map(|(_, entry)| entry).collect();
                prop_assert_eq!(&listed, &model);
                prop_assert!(block_on(roster.at_most()).unwrap() >= model.len());
                prop_assert!(store.dump().len() <= model.len() + 2);
            }
        }
    }
}
