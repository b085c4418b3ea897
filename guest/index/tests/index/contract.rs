//! What the interface says of each function.

use crate::support::{World, attribute, by_text, by_vector, chunk, placed, places, run};
use waggle_index::{Index, IndexError, Settings, Value};

#[test]
fn an_index_is_made_once_and_keeps_its_settings() {
    let world = World::new();
    world.create("a", 3);
    world.publish("a", "g", 1, &[placed(0, "apple", &[1.0, 0.0, 0.0])], &Vec::new());
    world.create("a", 3);
    assert_eq!(world.groups("a").len(), 1);
    let error = run(world.index.create("a", Settings { dimensions: 4 })).unwrap_err();
    assert_eq!(error, IndexError::Invalid("there is an index of this name with 3 dimensions".to_owned()));
    let described = run(world.index.describe("a")).unwrap();
    assert_eq!((described.settings.dimensions, described.groups, described.chunks), (3, 1, 1));
}

#[test]
fn what_is_asked_of_an_index_that_is_not_there_says_so() {
    let world = World::new();
    world.create("there", 0);
    let index = &world.index;
    let name = "missing";
    let results = [
        run(index.describe(name)).map(drop),
        run(index.stage(name, "g", 1, vec![chunk(0, "x")])),
        run(index.stage(name, "g", 1, Vec::new())),
        run(index.staged(name, "g", 1)).map(drop),
        run(index.publish(name, "g", 1, 0, Vec::new())),
        run(index.discard(name, "g", 1)),
        run(index.remove(name, vec!["g".to_owned()])),
        run(index.set_attributes(name, "g", Vec::new())),
        run(index.list_groups(name, None, 1)).map(drop),
        run(index.read(name, "g", 0, 1)).map(drop),
        run(index.search(&["there", name], by_text("x"))).map(drop),
    ];
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result, Err(IndexError::NoSuchIndex), "call {number}");
    }
    assert_eq!(run(index.drop_index(name)), Ok(()));
}

#[test]
fn indexes_are_listed_in_order_and_in_pages() {
    let world = World::new();
    let names: Vec<String> = (0..150).map(|number| format!("vs_{number}")).collect();
    names.iter().for_each(|name| world.create(name, 0));
    let mut expected = names;
    expected.sort_unstable();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = run(world.index.list_indexes(seen.last().map(String::as_str), 40)).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 40);
        seen.extend(page);
    }
    assert_eq!(seen, expected);
    assert_eq!(run(world.index.list_indexes(None, 0)).unwrap(), Vec::<String>::new());
    assert_eq!(run(world.index.list_indexes(Some("vs_99"), 10)).unwrap(), Vec::<String>::new());
}

#[test]
fn an_index_that_is_dropped_leaves_nothing_and_a_new_one_is_empty() {
    let world = World::new();
    world.create("a", 0);
    world.publish("a", "g", 1, &[chunk(0, "apple")], &Vec::new());
    world.stage("a", "h", 1, &[chunk(0, "pear")]);
    let revision = world.revision("a");
    run(world.index.drop_index("a")).unwrap();
    run(world.index.drop_index("a")).unwrap();
    assert_eq!(run(world.index.list_indexes(None, 10)).unwrap(), Vec::<String>::new());
    let left: Vec<String> = world.store.dump().into_keys().collect();
    assert!(left.iter().all(|key| !key.starts_with("vector/index/")), "{left:?}");
    world.create("a", 2);
    assert_eq!(world.groups("a"), []);
    assert_eq!(run(world.index.staged("a", "h", 1)), Ok(0));
    assert!(world.revision("a") > revision, "an index of the same name looks like the one before");
}

#[test]
fn nothing_is_found_before_it_is_published_and_then_all_of_it() {
    let world = World::new();
    world.create("a", 0);
    let found = || places(&world.search(&["a"], by_text("apple"))).len();
    world.stage("a", "g", 1, &[chunk(0, "apple"), chunk(1, "apple")]);
    assert_eq!((found(), world.groups("a").len()), (0, 0));
    assert_eq!(run(world.index.read("a", "g", 0, 10)), Err(IndexError::NoSuchGroup));
    run(world.index.publish("a", "g", 1, 2, Vec::new())).unwrap();
    assert_eq!((found(), world.groups("a").len()), (2, 1));
    world.stage("a", "g", 2, &[chunk(0, "apple")]);
    assert_eq!(found(), 2);
    run(world.index.publish("a", "g", 2, 1, Vec::new())).unwrap();
    assert_eq!(found(), 1);
    world.check_pages();
}

#[test]
fn a_chunk_that_is_staged_again_replaces_the_one_before() {
    let world = World::new();
    world.create("a", 0);
    world.stage("a", "g", 1, &[chunk(0, "apple"), chunk(1, "apple"), chunk(2, "apple")]);
    world.stage("a", "g", 1, &[chunk(1, "pear")]);
    // Of two in one call the later one counts.
    world.stage("a", "g", 1, &[chunk(2, "cherry"), chunk(2, "plum")]);
    run(world.index.publish("a", "g", 1, 3, Vec::new())).unwrap();
    let texts: Vec<String> = world.read("a", "g").into_iter().map(|chunk| chunk.text).collect();
    assert_eq!(texts, ["apple", "pear", "plum"]);
    for (text, expected) in [("apple", vec![0]), ("pear", vec![1]), ("plum", vec![2]), ("cherry", vec![])] {
        let hits = world.search(&["a"], by_text(text));
        let ordinals: Vec<u32> = hits.iter().map(|hit| hit.ordinal).collect();
        assert_eq!(ordinals, expected, "{text}");
    }
    world.stage("a", "h", 1, &[chunk(0, "apple")]);
    world.stage("a", "h", 1, &[chunk(0, "pear")]);
    world.check_pages();
}

#[test]
fn staged_counts_to_the_first_gap() {
    let world = World::new();
    world.create("a", 0);
    let staged = |version| run(world.index.staged("a", "g", version)).unwrap();
    assert_eq!(staged(1), 0);
    world.stage("a", "g", 1, &[chunk(1, "x"), chunk(3, "x")]);
    assert_eq!(staged(1), 0);
    world.stage("a", "g", 1, &[chunk(0, "x")]);
    assert_eq!((staged(1), staged(2)), (2, 0));
    world.stage("a", "g", 1, &[chunk(2, "x")]);
    assert_eq!(staged(1), 4);
    run(world.index.publish("a", "g", 1, 4, Vec::new())).unwrap();
    assert_eq!(staged(1), 0);
}

#[test]
fn only_exactly_the_chunks_that_are_said_are_published() {
    let world = World::new();
    world.create("a", 0);
    world.stage("a", "g", 1, &[chunk(0, "x"), chunk(1, "x"), chunk(3, "x")]);
    let publish = |version, chunks| run(world.index.publish("a", "g", version, chunks, Vec::new()));
    for (chunks, expected) in [
        (4, "version 1 is to have 4 chunks, and 2 is missing"),
        (3, "version 1 is to have 3 chunks, and 2 is missing"),
        (2, "version 1 is to have 2 chunks, and has others as well"),
        (1, "version 1 is to have 1 chunks, and has others as well"),
        (0, "version 1 is to have 0 chunks, and has others as well"),
    ] {
        assert_eq!(publish(1, chunks), Err(IndexError::Invalid(expected.to_owned())));
    }
    assert_eq!(publish(2, 1), Err(IndexError::NoSuchGroup));
    assert_eq!(world.groups("a"), []);
    world.stage("a", "g", 1, &[chunk(2, "x")]);
    assert_eq!(publish(1, 4), Ok(()));
    let missing = run(world.index.publish("a", "missing", 1, 1, Vec::new()));
    assert_eq!(missing, Err(IndexError::NoSuchGroup));
}

#[test]
fn a_group_without_chunks_is_a_group() {
    let world = World::new();
    world.create("a", 0);
    run(world.index.publish("a", "g", 1, 0, vec![attribute("k", "v")])).unwrap();
    assert_eq!(world.groups("a")[0].chunks, 0);
    assert_eq!(world.read("a", "g"), []);
    world.stage("a", "g", 2, &[]);
    assert_eq!(run(world.index.staged("a", "g", 2)), Ok(0));
}

#[test]
fn publishing_again_changes_the_attributes_only() {
    let world = World::new();
    world.create("a", 0);
    world.publish("a", "g", 3, &[chunk(0, "apple")], &vec![attribute("k", "old")]);
    let revision = world.revision("a");
    let publish = |attributes| run(world.index.publish("a", "g", 3, 1, attributes));
    assert_eq!(publish(vec![attribute("k", "old")]), Ok(()));
    assert_eq!(world.revision("a"), revision, "nothing has changed");
    assert_eq!(publish(vec![attribute("k", "new")]), Ok(()));
    assert!(world.revision("a") > revision);
    assert_eq!(world.groups("a")[0].attributes, [attribute("k", "new")]);
    assert_eq!(world.read("a", "g").len(), 1);
}

#[test]
fn versions_grow() {
    let world = World::new();
    world.create("a", 0);
    world.stage("a", "g", 2, &[chunk(0, "two")]);
    world.stage("a", "g", 7, &[chunk(0, "seven")]);
    world.publish("a", "g", 5, &[chunk(0, "five")], &Vec::new());
    for version in [0, 2, 5] {
        let error = run(world.index.stage("a", "g", version, vec![chunk(0, "x")])).unwrap_err();
        assert!(
            matches!(&error, IndexError::Invalid(text) if text.contains("it must be greater")),
            "{error:?}"
        );
    }
    // What was staged of a version before it is gone, of one behind it not.
    assert_eq!(run(world.index.staged("a", "g", 2)), Ok(0));
    assert_eq!(run(world.index.staged("a", "g", 7)), Ok(1));
    let back = run(world.index.publish("a", "g", 2, 1, Vec::new()));
    assert!(matches!(back, Err(IndexError::Invalid(_))), "{back:?}");
    run(world.index.publish("a", "g", 7, 1, Vec::new())).unwrap();
    assert_eq!(world.read("a", "g")[0].text, "seven");
    world.publish("a", "g", u64::MAX, &[chunk(0, "last")], &Vec::new());
    assert_eq!(world.groups("a")[0].version, u64::MAX);
    world.check_pages();
}

#[test]
fn what_is_discarded_is_not_published() {
    let world = World::new();
    world.create("a", 0);
    world.publish("a", "g", 1, &[chunk(0, "apple")], &Vec::new());
    world.stage("a", "g", 2, &[chunk(0, "pear")]);
    for _ in 0..2 {
        assert_eq!(run(world.index.discard("a", "g", 2)), Ok(()));
    }
    assert_eq!(run(world.index.publish("a", "g", 2, 1, Vec::new())), Err(IndexError::NoSuchGroup));
    assert_eq!(run(world.index.discard("a", "g", 1)), Ok(()));
    assert_eq!(run(world.index.discard("a", "missing", 1)), Ok(()));
    assert_eq!(world.read("a", "g")[0].text, "apple");
    world.check_pages();
}

#[test]
fn groups_are_removed_with_all_that_was_staged_of_them() {
    let world = World::new();
    world.create("a", 0);
    world.publish("a", "g", 1, &[chunk(0, "apple")], &Vec::new());
    world.publish("a", "h", 1, &[chunk(0, "apple")], &Vec::new());
    world.stage("a", "g", 2, &[chunk(0, "pear")]);
    let revision = world.revision("a");
    let groups = ["g", "missing", "g"].map(str::to_owned).to_vec();
    run(world.index.remove("a", groups.clone())).unwrap();
    assert!(world.revision("a") > revision);
    assert_eq!(places(&world.search(&["a"], by_text("apple pear"))), [("h", 0)]);
    assert_eq!(run(world.index.staged("a", "g", 2)), Ok(0));
    let revision = world.revision("a");
    run(world.index.remove("a", groups)).unwrap();
    assert_eq!(world.revision("a"), revision, "nothing has changed");
    // A group that comes again may begin with any version.
    world.publish("a", "g", 1, &[chunk(0, "apple")], &Vec::new());
    world.check_pages();
}

#[test]
fn attributes_are_replaced_as_a_whole() {
    let world = World::new();
    world.create("a", 0);
    let number = |number: f64| ("n".to_owned(), Value::Number(number));
    world.publish("a", "g", 1, &[chunk(0, "apple")], &vec![attribute("k", "v"), number(0.1)]);
    // The nearest neighbours of numbers, which must come back as they were given.
    for given in [0.1 + 0.2, f64::MAX, -0.0, 5e-324, 1e21, 9_007_199_254_740_993.0] {
        run(world.index.set_attributes("a", "g", vec![number(given)])).unwrap();
        assert_eq!(world.groups("a")[0].attributes, [number(given)]);
    }
    let missing = run(world.index.set_attributes("a", "missing", Vec::new()));
    assert_eq!(missing, Err(IndexError::NoSuchGroup));
    world.stage("a", "staged", 1, &[chunk(0, "x")]);
    let staged = run(world.index.set_attributes("a", "staged", Vec::new()));
    assert_eq!(staged, Err(IndexError::NoSuchGroup));
}

#[test]
fn groups_are_listed_in_order_and_in_pages() {
    let world = World::new();
    world.create("a", 0);
    let mut names = vec!["Z", "a", "a/b", "é", "退款", " ", "\"\\\u{0}", "z"];
    for name in &names {
        world.publish("a", name, 1, &[chunk(0, "x")], &vec![attribute("name", name)]);
    }
    names.sort_unstable();
    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = run(world.index.list_groups("a", seen.last().map(String::as_str), 3)).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        for group in &page {
            assert_eq!((group.version, group.chunks), (1, 1));
            assert_eq!(group.attributes, [attribute("name", &group.name)]);
        }
        seen.extend(page.into_iter().map(|group| group.name));
    }
    assert_eq!(seen, names);
}

#[test]
fn chunks_are_read_as_they_were_given_but_for_their_vectors() {
    let world = World::new();
    world.create("a", 2);
    let text = |number: u32| "apple ".repeat(1 + number as usize * 20);
    let chunks: Vec<_> =
        (0..100).map(|number| placed(number, &text(number), &[1.0, number as f32])).collect();
    world.publish("a", "g", 1, &chunks, &Vec::new());
    let read = |start, count| run(world.index.read("a", "g", start, count)).unwrap();
    let all = read(0, 256);
    assert_eq!(all.len(), 100);
    for (given, found) in chunks.iter().zip(&all) {
        assert_eq!(found.vector, None);
        assert_eq!((found.ordinal, &found.heading), (given.ordinal, &given.heading));
        assert_eq!((&found.text, &found.note), (&given.text, &given.note));
    }
    let check = |start: u32, count: u32, expected: std::ops::Range<u32>| {
        let found: Vec<u32> = read(start, count).iter().map(|chunk| chunk.ordinal).collect();
        assert_eq!(found, expected.collect::<Vec<_>>(), "{start} {count}");
    };
    check(10, 5, 10..15);
    check(98, 5, 98..100);
    check(100, 5, 0..0);
    check(0, 0, 0..0);
    check(0, u32::MAX, 0..100);
    check(u32::MAX, u32::MAX, 0..0);
    check(99, 1, 99..100);
    assert_eq!(run(world.index.read("a", "missing", 0, 0)), Err(IndexError::NoSuchGroup));
}

#[test]
fn what_is_described_is_what_is_there() {
    let world = World::new();
    world.create("a", 2);
    let describe = || run(world.index.describe("a")).unwrap();
    let empty = describe();
    assert_eq!((empty.groups, empty.chunks, empty.bytes), (0, 0, 0));
    world.stage("a", "g", 1, &[placed(0, &"apple ".repeat(1_000), &[1.0, 0.0])]);
    let staged = describe();
    assert_eq!((staged.groups, staged.chunks, staged.revision), (0, 0, empty.revision));
    assert!(staged.bytes > 6_000, "{staged:?}");
    run(world.index.publish("a", "g", 1, 1, Vec::new())).unwrap();
    let published = describe();
    assert_eq!((published.groups, published.chunks), (1, 1));
    assert!(published.revision > staged.revision);
    let stored: usize = world
        .store
        .dump()
        .iter()
        .filter(|(key, _)| key.starts_with("vector/index/"))
        .map(|(_, value)| value.len())
        .sum();
    assert_eq!(published.bytes, stored as u64);
    world.search(&["a"], by_vector(&[1.0, 1.0]));
    assert_eq!(describe(), published);
}
