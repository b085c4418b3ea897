//! A conversation over the store in memory behaves like a list, whatever is added, deleted and asked for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::executor::block_on;
use proptest::prelude::*;
use waggle_conversation::conversation::{Conversation, NewItems, add, create, delete, open, record};
use waggle_conversation::memory::MemoryStore;
use waggle_conversation::window::WindowLimits;
use waggle_conversation::{Viewer, history, items};
use waggle_openai::item::{Item, Part, RawItem, Role, to_raw_items};
use waggle_openai::list::{Order, PageQuery, id};
use waggle_openai::metadata::Metadata;
use waggle_openai::{ItemId, Nonce};

#[derive(Debug, Clone)]
enum Step {
    /// So many items in one commit.
    Add(usize),
    /// A commit that drew its number and failed.
    Lose,
    /// One of the items there are.
    Delete(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1usize..5).prop_map(Step::Add),
        1 => Just(Step::Lose),
        2 => any::<prop::sample::Index>().prop_map(Step::Delete),
    ]
}

fn nonce(number: usize) -> Nonce {
    Nonce::mint(1, number as u128)
}

fn messages(nonce: Nonce, count: usize) -> Vec<RawItem> {
    let item = |number: usize| Item::Message {
        role: Role::User,
        parts: vec![Part::text(number.to_string())],
        phase: None,
    };
    let items: Vec<Item<'_>> = (0..count).map(item).collect();
    to_raw_items(&items, nonce, 0).unwrap()
}

fn ids(items: &[RawItem]) -> Vec<String> {
    items.iter().map(|item| id(item).unwrap().to_owned()).collect()
}

fn viewer() -> Viewer {
    Viewer::from_field(&["ada"]).unwrap()
}

async fn opened(store: &MemoryStore, conversation: Nonce) -> Conversation {
    open(store, &viewer(), conversation).await.unwrap().unwrap()
}

/// Runs the steps against the store and returns the ids that a list would hold, oldest first.
async fn run(store: &MemoryStore, id_nonce: Nonce, steps: &[Step]) -> Vec<String> {
    let record = record(1, 1, &Metadata::default()).unwrap();
    let none = NewItems { nonce: nonce(0), items: &[], tokens: 0 };
    create(store, &viewer(), id_nonce, &record, none).await.unwrap();
    let conversation = &opened(store, id_nonce).await;
    let mut expected = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Add(count) => {
                let nonce = nonce(number + 1);
                let items = messages(nonce, *count);
                add(store, conversation, NewItems { nonce, items: &items, tokens: 1 }).await.unwrap();
                expected.extend(ids(&items));
            }
            Step::Lose => {
                let nonce = nonce(number + 1);
                let items = messages(nonce, 1);
                store.fail(Some("set_many"));
                add(store, conversation, NewItems { nonce, items: &items, tokens: 1 }).await.unwrap_err();
                store.fail(None);
            }
            Step::Delete(index) if !expected.is_empty() => {
                let id = expected.remove(index.index(expected.len()));
                let id = ItemId::parse(&id).unwrap();
                assert!(items::delete(store, conversation, id, Nonce::mint(1, 1)).await.unwrap());
                assert!(!items::delete(store, conversation, id, Nonce::mint(1, 2)).await.unwrap());
                assert!(items::get(store, conversation, id).await.unwrap().is_none());
            }
            Step::Delete(_) => {}
        }
    }
    expected
}

async fn paged(store: &MemoryStore, conversation: &Conversation, order: Order, limit: usize) -> Vec<String> {
    let mut query = PageQuery { limit, order, after: None };
    let mut seen = Vec::new();
    loop {
        let page = items::page(store, conversation, query).await.unwrap();
        assert!(page.items.len() == limit || !page.has_more);
        seen.extend(ids(&page.items));
        if !page.has_more {
            return seen;
        }
        query.after = page.items.last().and_then(id).and_then(ItemId::parse);
    }
}

proptest! {
    #[test]
    fn pages_put_together_are_the_list(steps in prop::collection::vec(step(), 0..25), limit in 1usize..8) {
        let store = MemoryStore::default();
        let conversation = Nonce::mint(0, 0);
        block_on(async {
            let mut expected = run(&store, conversation, &steps).await;
            let conversation = &opened(&store, conversation).await;
            let seen = paged(&store, conversation, Order::Ascending, limit).await;
            prop_assert_eq!(&seen, &expected);
            for id in &expected {
                let found = items::get(&store, conversation, ItemId::parse(id).unwrap()).await.unwrap();
                prop_assert_eq!(found.as_ref().and_then(waggle_openai::list::id), Some(id.as_str()));
            }
            expected.reverse();
            prop_assert_eq!(paged(&store, conversation, Order::Descending, limit).await, expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_window_is_the_end_of_the_list(steps in prop::collection::vec(step(), 0..60), items_max in 1usize..60) {
        let store = MemoryStore::default();
        let conversation = Nonce::mint(0, 0);
        block_on(async {
            let expected = run(&store, conversation, &steps).await;
            let limits = WindowLimits { items_max, tokens_max: 1_000_000 };
            let history = history::of_conversation(&store, &viewer(), conversation, limits).await.unwrap().unwrap();
            let seen: Vec<String> = history
                .window
                .items()
                .map(|item| id(&serde_json::value::RawValue::from_string(item.to_owned()).unwrap()).unwrap().to_owned())
                .collect();
            prop_assert!(seen.len() <= items_max);
            prop_assert!(expected.ends_with(&seen), "{seen:?} is not the end of {expected:?}");
            if seen.len() < expected.len() {
                // Only a whole commit that does not fit may be missing.
                let before = &expected[expected.len() - seen.len() - 1];
                let turn = ItemId::parse(before).unwrap().nonce;
                let size = expected.iter().filter(|id| ItemId::parse(id).unwrap().nonce == turn).count();
                prop_assert!(seen.len() + size > items_max);
            }
            Ok(())
        })?;
    }

    #[test]
    fn deleting_a_conversation_leaves_nothing(steps in prop::collection::vec(step(), 0..25)) {
        let store = MemoryStore::default();
        let conversation = Nonce::mint(0, 0);
        block_on(async {
            run(&store, conversation, &steps).await;
            prop_assert!(delete(&store, &viewer(), conversation).await.unwrap());
            // Only that their owner has had something, and which responses may still be theirs.
            let of_owner = |key: &String| key.starts_with("owner/");
            prop_assert!(store.dump().keys().all(of_owner), "{:?}", store.dump().keys());
            prop_assert!(!delete(&store, &viewer(), conversation).await.unwrap());
            Ok(())
        })?;
    }
}
