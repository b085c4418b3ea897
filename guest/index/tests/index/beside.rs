//! Two at the same time: whenever the one comes in between, it is as if they had come one after the other.

use crate::support::{Change, Other, SharedStore, State, World, by_text, changes, run, settled};
use std::cell::RefCell;
use std::rc::Rc;
use waggle_index::key_value::KeyValueIndex;
use waggle_index::{Index, IndexError, Query};

type Told = Result<(), IndexError>;

/// What both changes are told, and what there is afterwards, when `first` comes before `second`.
fn in_turn(base: &World, first: &Change, second: &Change) -> (Told, Told, State) {
    let world = base.copy();
    let (first, second) = (first.apply(&world.store), second.apply(&world.store));
    (first, second, world.state())
}

fn check(base: &World, change: &Change, other: &Change) {
    let (first, then, change_first) = in_turn(base, change, other);
    let (before, second, other_first) = in_turn(base, other, change);
    let alone = base.copy();
    let other_alone = (other.apply(&alone.store), alone.state());
    for at in 0.. {
        let world = base.copy();
        let told: Rc<RefCell<Option<Told>>> = Rc::default();
        let (tell, done) = (Rc::clone(&told), other.clone());
        let beside: Other = Rc::new(move |world: &World| {
            tell.replace(Some(done.apply(&world.store)));
        });
        let shared = SharedStore::new(&world.store, at, &beside);
        let result = change.apply(&shared);
        if !shared.had_its_turn() {
            return;
        }
        let (told, found) = (told.take().unwrap(), world.state());
        let is_first = (&result, &told) == (&first, &then) && found == change_first;
        let is_second = (&told, &result) == (&before, &second) && found == other_first;
        let gave_up = matches!(result, Err(IndexError::Unavailable(_))) && (told, found) == other_alone;
        assert!(is_first || is_second || gave_up, "{change:?} {result:?}, {other:?} before operation {at}");
    }
}

#[test]
fn changes_at_the_same_time_are_as_if_in_turn() {
    let base = settled();
    for change in changes() {
        for other in changes() {
            check(&base, &change, &other);
        }
    }
}

#[test]
fn a_search_beside_a_change_finds_the_old_or_the_new() {
    let base = settled();
    for change in changes() {
        let search = |store| {
            let index = KeyValueIndex::new(store);
            let found = run(index.search(&["a"], Query { limit: 100, ..by_text("apple pear plum") }));
            let read = run(index.read("a", "one", 0, 9));
            (found, read)
        };
        let (old_found, old_read) = search(SharedStore::new(&base.store, usize::MAX, &nothing()));
        let changed = base.copy();
        change.apply(&changed.store).unwrap();
        let (new_found, new_read) = search(SharedStore::new(&changed.store, usize::MAX, &nothing()));
        for at in 0.. {
            let world = base.copy();
            let done = change.clone();
            let beside: Other = Rc::new(move |world: &World| done.apply(&world.store).unwrap());
            let shared = SharedStore::new(&world.store, at, &beside);
            let (found, read) = search(shared.clone());
            assert!(found == old_found || found == new_found, "{change:?} before operation {at}: {found:?}");
            assert!(read == old_read || read == new_read, "{change:?} before operation {at}: {read:?}");
            if !shared.had_its_turn() {
                break;
            }
        }
    }
}

fn nothing() -> Other {
    Rc::new(|_| {})
}

#[test]
fn an_index_that_is_dropped_while_it_is_staged_to_keeps_nothing() {
    let base = settled();
    let stage = Change::Stage("a", "three", 1, vec![crate::support::chunk(0, "pear")]);
    for at in 0.. {
        let world = base.copy();
        let beside: Other = Rc::new(|world: &World| Change::Drop("a").apply(&world.store).unwrap());
        let shared = SharedStore::new(&world.store, at, &beside);
        let result = stage.apply(&shared);
        if !shared.had_its_turn() {
            return;
        }
        let left: Vec<String> = world.store.dump().into_keys().collect();
        assert!(left.iter().all(|key| !key.starts_with("vector/index/")), "{at}, {result:?}: {left:?}");
    }
}
