//! Whatever operation of the store is the last one, what is found is the old or the new, never half of either; and the
//! same change done again brings the new, and leaves no page that nothing leads to.

use crate::support::{Change, DyingStore, Failing, World, changes, run, settled};
use waggle_index::{Index, IndexError};

fn check(base: &World, change: &Change, failing: Failing) {
    let before = base.state();
    let changed = base.copy();
    change.apply(&changed.store).unwrap();
    let after = changed.state();
    for operations in 1.. {
        let world = base.copy();
        let dying = DyingStore::new(&world.store, operations, failing);
        let result = change.apply(&dying);
        let told = || format!("{change:?}, {failing:?}, operation {operations}: {result:?}");
        let found = world.state();
        assert!(found == after || (found == before && result.is_err()), "{}", told());
        if dying.operations_left.get() > 0 {
            assert!(operations > 2, "{}: the store is not used", told());
            return;
        }
        assert_eq!(change.apply(&world.store), Ok(()), "{}", told());
        assert!(world.state() == after, "{}", told());
        leaves_nothing(&world);
    }
}

fn leaves_nothing(world: &World) {
    let groups = ["one", "two", "three"].map(str::to_owned).to_vec();
    match run(world.index.remove("a", groups)) {
        Ok(()) => world.check_pages(),
        Err(error) => assert_eq!(error, IndexError::NoSuchIndex),
    }
    for index in ["a", "b"] {
        run(world.index.drop_index(index)).unwrap();
    }
    let left: Vec<String> = world.store.dump().into_keys().collect();
    assert!(left.iter().all(|key| !key.starts_with("vector/index/")), "{left:?}");
}

#[test]
fn after_any_failure_the_old_or_the_new_is_found() {
    let base = settled();
    for change in changes() {
        for failing in [Failing::Before, Failing::After, Failing::Half] {
            check(&base, &change, failing);
        }
    }
}

#[test]
fn a_failing_store_is_not_the_callers_fault() {
    let world = settled();
    let dead = DyingStore::new(&world.store, 0, Failing::Before);
    for change in changes() {
        let result = change.apply(&dead);
        assert!(matches!(result, Err(IndexError::Unavailable(_))), "{change:?}: {result:?}");
    }
}

#[test]
fn what_cannot_be_read_is_damaged_and_says_where() {
    let check = |part: &str, value: Option<&[u8]>| {
        let world = settled();
        let key = world.store.dump().into_keys().find(|key| key.contains(part)).unwrap();
        match value {
            Some(value) => world.store.put(&key, value),
            None => world.store.remove(&key),
        }
        let results = [
            run(world.index.search(&["a"], crate::support::by_text("apple plum"))).map(drop),
            run(world.index.read("a", "one", 0, 9)).and(run(world.index.read("a", "two", 0, 9))).map(drop),
        ];
        let told = results.iter().any(|result| match result {
            Err(IndexError::Damaged(text)) => text.contains(&key),
            _ => false,
        });
        assert!(told, "{key}: {results:?}");
        // It can be removed all the same.
        run(world.index.drop_index("a"))
            .or_else(|_| if part == "catalogue" { Ok(()) } else { Err(()) })
            .unwrap();
    };
    check("catalogue", Some(b"{"));
    check("groups", Some(b"[]"));
    for part in ["/words", "/texts"] {
        check(part, None);
        check(part, Some(b""));
        check(part, Some(&[2, 0]));
        check(part, Some(&[1, 9, 9]));
    }
}
