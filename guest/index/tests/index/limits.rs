//! Each bound of the interface: what is within it is taken, what is beyond it is refused with its name.

use crate::support::{World, attribute, by_text, by_vector, chunk, placed, query, run};
use waggle_index::bounds::INDEXES_MAX;
use waggle_index::{Attributes, Chunk, Index, IndexError, Query, Settings, Value};

fn check<T: std::fmt::Debug>(result: Result<T, IndexError>, expected: &str) {
    match result {
        Err(IndexError::Invalid(text)) => assert!(text.contains(expected), "{text}, not {expected}"),
        other => panic!("{other:?}, not {expected}"),
    }
}

fn world() -> World {
    let world = World::new();
    world.create("words", 0);
    world.create("both", 2);
    world
}

#[test]
fn names_of_indexes() {
    let world = world();
    let create = |name: &str| run(world.index.create(name, Settings { dimensions: 1 }));
    for name in ["a", "_", "-x", "vs_1.2", "AZaz09_-.", &"n".repeat(128)] {
        assert_eq!(create(name), Ok(()), "{name}");
    }
    check(create(""), "the name of an index is empty");
    check(create(&"n".repeat(129)), "129 bytes, where at most 128 are allowed");
    check(create(".a"), "begins with a dot");
    for name in ["a b", "a/b", "é", "a\0", "a:"] {
        check(create(name), "another character than a-z A-Z 0-9 _ - .");
        check(run(world.index.describe(name)), "another character");
        check(run(world.index.drop_index(name)), "another character");
        check(run(world.index.search(&[name], by_text("x"))), "another character");
    }
}

#[test]
fn dimensions_and_the_number_of_indexes() {
    let world = world();
    let create = |name: &str, dimensions| run(world.index.create(name, Settings { dimensions }));
    assert_eq!(create("most", 4_096), Ok(()));
    check(create("more", 4_097), "4097 dimensions, where at most 4096 are allowed");
    let entries: Vec<String> =
        (0..INDEXES_MAX).map(|number| format!("\"i{number}\":{{\"number\":1,\"dimensions\":0}}")).collect();
    let full = format!("{{\"indexes\":{{{}}}}}", entries.join(","));
    world.store.put("vector/catalogue/00", full.as_bytes());
    let error = create("one-more", 0).unwrap_err();
    assert!(matches!(&error, IndexError::Full(text) if text.contains("10000 indexes")), "{error:?}");
    assert_eq!(create("most", 4_096), Ok(()), "it is there already");
}

#[test]
fn names_of_groups() {
    let world = world();
    let stage = |group: &str| run(world.index.stage("words", group, 1, vec![chunk(0, "x")]));
    assert_eq!(stage(&"退".repeat(42)), Ok(()));
    for (group, expected) in [("", "the name of a group is empty"), (&"g".repeat(129), "at most 128")] {
        check(stage(group), expected);
        check(run(world.index.staged("words", group, 1)), expected);
        check(run(world.index.publish("words", group, 1, 1, Vec::new())), expected);
        check(run(world.index.discard("words", group, 1)), expected);
        check(run(world.index.remove("words", vec![group.to_owned()])), expected);
        check(run(world.index.set_attributes("words", group, Vec::new())), expected);
        check(run(world.index.read("words", group, 0, 1)), expected);
    }
}

#[test]
fn chunks() {
    let world = world();
    let stage = |chunk: Chunk| run(world.index.stage("words", "g", 1, vec![chunk]));
    let fits = Chunk {
        ordinal: 99_999,
        heading: "h".repeat(1_024),
        text: "退".repeat(10_922),
        note: "n".repeat(1_024),
        vector: None,
    };
    assert_eq!(stage(fits.clone()), Ok(()));
    check(
        stage(Chunk { ordinal: 100_000, ..fits.clone() }),
        "chunk 100000: the number of a chunk is at most 99999",
    );
    check(stage(Chunk { heading: "h".repeat(1_025), ..fits.clone() }), "its heading: 1025 bytes");
    check(stage(Chunk { text: "t".repeat(32_769), ..fits.clone() }), "its text: 32769 bytes");
    check(stage(Chunk { text: String::new(), ..fits.clone() }), "its text is empty");
    check(stage(Chunk { note: "n".repeat(1_025), ..fits }), "its note: 1025 bytes");
    let many = |count| (0..count).map(|number| chunk(number, "x")).collect::<Vec<_>>();
    assert_eq!(run(world.index.stage("words", "h", 1, many(256))), Ok(()));
    check(run(world.index.stage("words", "h", 1, many(257))), "257 chunks, where at most 256");
    let large = |count| (0..count).map(|number| chunk(number, &"t".repeat(32_000))).collect::<Vec<_>>();
    assert_eq!(run(world.index.stage("words", "h", 1, large(130))), Ok(()));
    check(run(world.index.stage("words", "h", 1, large(132))), "bytes, where at most 4194304");
    check(
        run(world.index.publish("words", "h", 1, 100_001, Vec::new())),
        "100001 chunks, where at most 100000",
    );
}

#[test]
fn vectors() {
    let world = world();
    let stage =
        |index: &str, vector: &[f32]| run(world.index.stage(index, "g", 1, vec![placed(0, "x", vector)]));
    let search = |index: &str, vector: &[f32]| run(world.index.search(&[index], by_vector(vector))).map(drop);
    for (index, vector, expected) in [
        ("words", &[1.0, 0.0][..], "there is a vector, and the index has none"),
        ("both", &[1.0], "a vector of 1 dimensions, where the index has 2"),
        ("both", &[1.0, 0.0, 0.0], "a vector of 3 dimensions"),
        ("both", &[], "a vector of 0 dimensions"),
        ("both", &[0.0, -0.0], "all zeros"),
        ("both", &[1.0, f32::NAN], "not finite"),
        ("both", &[f32::INFINITY, 1.0], "not finite"),
    ] {
        check(stage(index, vector), expected);
        check(search(index, vector), expected);
    }
    for vector in [[f32::MAX, f32::MAX], [f32::MIN_POSITIVE, 0.0], [1e-45, 0.0]] {
        assert_eq!((stage("both", &vector), search("both", &vector)), (Ok(()), Ok(())), "{vector:?}");
    }
    // Another index that is searched beside is looked at as well.
    check(run(world.index.search(&["both", "words"], by_vector(&[1.0, 0.0]))), "the index has none");
    // A vector that is not searched by is none the less one that the index has to have.
    let silent = Query { vector_weight: 0.0, text: Some("x".to_owned()), ..by_vector(&[1.0]) };
    check(run(world.index.search(&["both"], silent)), "a vector of 1 dimensions");
}

#[test]
fn attributes() {
    let world = world();
    world.publish("words", "g", 1, &[chunk(0, "x")], &Vec::new());
    let many = |count| (0..count).map(|number| attribute(&format!("a{number}"), "v")).collect::<Attributes>();
    let given = |attributes: Attributes| {
        let set = run(world.index.set_attributes("words", "g", attributes.clone()));
        let published = run(world.index.publish("words", "g", 1, 1, attributes));
        assert_eq!(set, published);
        set
    };
    assert_eq!(given(many(32)), Ok(()));
    check(given(many(33)), "33 attributes, where at most 32");
    assert_eq!(given(vec![attribute(&"n".repeat(64), &"v".repeat(512))]), Ok(()));
    check(given(vec![attribute("", "v")]), "the name of an attribute is empty");
    check(given(vec![attribute(&"n".repeat(65), "v")]), "65 bytes");
    check(given(vec![attribute("n", &"v".repeat(513))]), "513 bytes");
    check(given(vec![attribute("n", "a"), attribute("n", "b")]), "`n` is given twice");
    check(given(vec![("n".to_owned(), Value::Number(f64::INFINITY))]), "no finite number");
}

#[test]
fn removals() {
    let world = world();
    let remove = |count: usize| {
        let groups = (0..count).map(|number| format!("g{number}")).collect();
        run(world.index.remove("words", groups))
    };
    assert_eq!(remove(1_000), Ok(()));
    check(remove(1_001), "1001 groups, where at most 1000");
}

#[test]
fn queries() {
    let world = world();
    let search = |query: Query| run(world.index.search(&["words"], query)).map(drop);
    let text = || by_text("x");
    assert_eq!(search(Query { limit: 100, candidates: 1_000, rank_constant: 0.0, ..text() }), Ok(()));
    check(search(Query { limit: 0, ..text() }), "at least 1");
    check(search(Query { limit: 101, ..text() }), "101 hits, where at most 100");
    check(search(Query { candidates: 1_001, ..text() }), "1001 candidates");
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        check(search(Query { text_weight: wrong, ..text() }), "text-weight is no finite number");
        check(search(Query { vector_weight: wrong, ..text() }), "vector-weight is no finite number");
        check(search(Query { rank_constant: wrong, ..text() }), "rank-constant is no finite number");
    }
    check(search(Query { vector_score_min: Some(f32::NAN), ..text() }), "vector-score-min");
    check(search(query()), "needs a text or a vector");
    check(search(Query { text_weight: 0.0, ..text() }), "needs a text or a vector");
    let filter = vec![waggle_index::FilterNode::All(vec![0])];
    check(search(Query { filter, ..text() }), "node 0 of the filter");
    check(run(world.index.search(&[], text())), "names no index");
    assert_eq!(run(world.index.search(&["words"; 16], text())), Ok(Vec::new()));
    check(run(world.index.search(&["words"; 17], text())), "17 indexes, where at most 16");
}

#[test]
fn of_a_long_question_the_beginning_counts() {
    let world = world();
    world.publish("words", "g", 1, &[chunk(0, "apple"), chunk(1, "pear")], &Vec::new());
    let question = |padding: usize| format!("apple {} pear", "退".repeat(padding));
    let found = |question: &str| world.search(&["words"], by_text(question)).len();
    assert_eq!(found(&question(2_000)), 2);
    assert_eq!(found(&question(8_000)), 1);
}

#[test]
fn where_there_is_no_room_nothing_is_half_done() {
    let world = world();
    world.publish("words", "g", 1, &[chunk(0, "apple")], &Vec::new());
    let before = world.state();
    world.store.fill(true);
    let results = [
        run(world.index.create("more", Settings { dimensions: 0 })),
        run(world.index.stage("words", "h", 1, vec![chunk(0, "x")])),
        run(world.index.set_attributes("words", "g", vec![attribute("k", "v")])),
    ];
    for result in results {
        assert!(matches!(result, Err(IndexError::Full(_))), "{result:?}");
    }
    assert_eq!(world.state(), before);
    world.store.fill(false);
    world.check_pages();
}

#[test]
fn groups_that_no_longer_fit_are_refused_and_can_be_removed() {
    let world = world();
    let attributes: Attributes =
        (0..32).map(|number| attribute(&format!("a{number}"), &"v".repeat(512))).collect();
    let publish = |version| run(world.index.publish("words", "g", version, 0, attributes.clone()));
    publish(1).unwrap();
    let key = world.store.dump().into_keys().find(|key| key.contains("/groups/")).unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&world.store.dump()[&key]).unwrap();
    let group = record["groups"]["g"].clone();
    for number in 0..51 {
        record["groups"][format!("other{number}")] = group.clone();
    }
    record["groups"]["g"]["published"]["attributes"] = serde_json::json!([]);
    world.store.put(&key, &serde_json::to_vec(&record).unwrap());
    assert!(matches!(publish(2), Err(IndexError::Full(_))), "{:?}", publish(2));
    run(world.index.remove("words", vec!["g".to_owned()])).unwrap();
    assert!(matches!(publish(2), Err(IndexError::Full(_))), "{:?}", publish(2));
    // As if the others were groups of this record.
    record["groups"] = serde_json::json!({});
    world.store.put(&key, &serde_json::to_vec(&record).unwrap());
    assert_eq!(publish(2), Ok(()));
}
