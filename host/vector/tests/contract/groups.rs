//! Staging, publishing and removing groups, and reading what they have.

use crate::chunks::{attribute, by_words, chunk, chunks};
use crate::{Fixture, is_invalid, places, put, put_with, search};
use waggle_vector::{Chunk, Group, Value, VectorError};

pub(crate) async fn staged_chunks_are_found_when_they_are_published(fixture: Fixture) {
    let indexes = fixture.docs().await;
    indexes.stage("docs", "a", 1, vec![chunk(1, "second word")]).await.unwrap();
    indexes.stage("docs", "a", 1, vec![chunk(0, "first")]).await.unwrap();
    indexes.stage("docs", "a", 1, vec![chunk(0, "first word")]).await.unwrap();
    assert!(search(&indexes, by_words("word")).await.is_empty());
    let attributes = vec![attribute("language", Value::Text("en".into()))];
    indexes.publish("docs", "a", 1, 2, attributes.clone()).await.unwrap();
    let hits = search(&indexes, by_words("first word")).await;
    assert_eq!(places(&hits), [("a", 0), ("a", 1)]);
    let first = &hits[0];
    assert_eq!((first.index, first.version, first.chunks, &first.attributes), (0, 1, 2, &attributes));
    assert_eq!(
        (first.text.as_str(), first.heading.as_str(), first.note.as_str()),
        ("first word", "Heading 0", "note 0")
    );
    assert!(first.text_score.unwrap() > hits[1].text_score.unwrap());
    assert_eq!(first.vector_score, None);
}

pub(crate) async fn a_new_version_takes_the_place_of_the_old_one(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, chunks("old", 3)).await;
    put(&indexes, "b", 1, chunks("old", 1)).await;
    indexes.stage("docs", "a", 2, chunks("new", 2)).await.unwrap();
    indexes.stage("docs", "a", 5, chunks("later", 1)).await.unwrap();
    assert_eq!(search(&indexes, by_words("old")).await.len(), 4);
    assert!(search(&indexes, by_words("new")).await.is_empty());
    indexes.publish("docs", "a", 2, 2, vec![]).await.unwrap();
    assert_eq!(places(&search(&indexes, by_words("old")).await), [("b", 0)]);
    assert_eq!(search(&indexes, by_words("new")).await.len(), 2);
    assert_eq!(indexes.staged("docs", "a", 5).await.unwrap(), 1, "a later version stays");
    assert_eq!(indexes.describe("docs").await.unwrap().chunks, 3);
}

pub(crate) async fn staged_chunks_are_counted_to_the_first_that_is_missing(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let check = async |expected: u32| assert_eq!(indexes.staged("docs", "a", 1).await.unwrap(), expected);
    check(0).await;
    indexes.stage("docs", "a", 1, vec![chunk(0, "x"), chunk(1, "x"), chunk(3, "x")]).await.unwrap();
    check(2).await;
    indexes.stage("docs", "a", 1, vec![chunk(2, "x")]).await.unwrap();
    check(4).await;
    assert_eq!(indexes.staged("docs", "a", 2).await.unwrap(), 0);
}

pub(crate) async fn publishing_needs_exactly_the_chunks_that_are_said(fixture: Fixture) {
    let indexes = fixture.docs().await;
    indexes.stage("docs", "a", 1, vec![chunk(0, "x"), chunk(2, "x")]).await.unwrap();
    for count in [0, 1, 2, 3] {
        is_invalid(indexes.publish("docs", "a", 1, count, vec![]).await, "2 are staged");
    }
    indexes.stage("docs", "a", 1, vec![chunk(1, "x")]).await.unwrap();
    is_invalid(indexes.publish("docs", "a", 1, 2, vec![]).await, "3 are staged");
    indexes.publish("docs", "a", 1, 3, vec![]).await.unwrap();
}

pub(crate) async fn publishing_again_changes_the_attributes(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, chunks("word", 1)).await;
    let before = indexes.describe("docs").await.unwrap().revision;
    let attributes = vec![attribute("n", Value::Number(1.0))];
    for _ in 0..2 {
        indexes.publish("docs", "a", 1, 99, attributes.clone()).await.unwrap();
        assert_eq!(search(&indexes, by_words("word")).await[0].attributes, attributes);
    }
    assert!(indexes.describe("docs").await.unwrap().revision > before);
}

pub(crate) async fn versions_only_grow(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 5, chunks("word", 1)).await;
    is_invalid(indexes.stage("docs", "a", 5, chunks("word", 1)).await, "version 5");
    is_invalid(indexes.stage("docs", "a", 4, chunks("word", 1)).await, "version 5");
    is_invalid(indexes.publish("docs", "a", 4, 0, vec![]).await, "not greater");
    indexes.remove("docs", vec!["a".into()]).await.unwrap();
    put(&indexes, "a", 1, chunks("word", 1)).await;
}

pub(crate) async fn discarding_forgets_one_version(fixture: Fixture) {
    let indexes = fixture.docs().await;
    indexes.stage("docs", "a", 1, chunks("x", 2)).await.unwrap();
    indexes.stage("docs", "a", 2, chunks("x", 3)).await.unwrap();
    indexes.discard("docs", "a", 1).await.unwrap();
    indexes.discard("docs", "a", 1).await.unwrap();
    indexes.discard("docs", "nothing", 1).await.unwrap();
    assert_eq!(indexes.staged("docs", "a", 1).await.unwrap(), 0);
    assert_eq!(indexes.staged("docs", "a", 2).await.unwrap(), 3);
}

pub(crate) async fn removing_skips_what_is_not_there(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, chunks("word", 2)).await;
    put(&indexes, "b", 1, chunks("word", 1)).await;
    indexes.stage("docs", "c", 1, chunks("word", 1)).await.unwrap();
    let removed = ["a", "c", "nothing", "a"].map(str::to_owned).to_vec();
    indexes.remove("docs", removed).await.unwrap();
    assert_eq!(places(&search(&indexes, by_words("word")).await), [("b", 0)]);
    assert_eq!(indexes.staged("docs", "c", 1).await.unwrap(), 0);
    let described = indexes.describe("docs").await.unwrap();
    assert_eq!((described.groups, described.chunks), (1, 1));
    is_invalid(indexes.remove("docs", vec!["x".into(); 1_001]).await, "1001 groups");
}

pub(crate) async fn groups_come_in_pages(fixture: Fixture) {
    let indexes = fixture.docs().await;
    for name in ["b", "a", "C", "b2"] {
        put(&indexes, name, 3, chunks("word", 1)).await;
    }
    indexes.stage("docs", "staged", 1, chunks("word", 1)).await.unwrap();
    let names = async |after: Option<&str>, limit: u32| {
        let groups = indexes.list_groups("docs", after, limit).await.unwrap();
        groups.into_iter().map(|group| group.name).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 9).await, ["C", "a", "b", "b2"]);
    assert_eq!(names(Some("a"), 1).await, ["b"]);
    assert!(names(Some("b2"), 9).await.is_empty());
    let first = indexes.list_groups("docs", None, 1).await.unwrap();
    assert_eq!(first, [Group { name: "C".into(), version: 3, chunks: 1, attributes: vec![] }]);
}

pub(crate) async fn chunks_are_read_in_their_order(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let all = chunks("word", 10);
    put(&indexes, "a", 1, all.iter().rev().cloned().collect()).await;
    let read = async |start: u32, count: u32| indexes.read("docs", "a", start, count).await.unwrap();
    assert_eq!(read(0, 256).await, all);
    assert_eq!(read(8, 5).await, all[8..]);
    assert_eq!(read(3, 1).await, all[3..4]);
    assert_eq!(read(10, 1).await, Vec::<Chunk>::new());
    assert_eq!(indexes.read("docs", "b", 0, 1).await.unwrap_err(), VectorError::NoSuchGroup);
    is_invalid(indexes.read("docs", "a", 0, 257).await, "257");
    indexes.stage("docs", "b", 1, chunks("word", 1)).await.unwrap();
    assert_eq!(indexes.read("docs", "b", 0, 1).await.unwrap_err(), VectorError::NoSuchGroup);
}

pub(crate) async fn a_group_may_be_empty(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, chunks("word", 2)).await;
    indexes.publish("docs", "a", 2, 0, vec![]).await.unwrap();
    assert!(search(&indexes, by_words("word")).await.is_empty());
    assert!(indexes.read("docs", "a", 0, 9).await.unwrap().is_empty());
    assert_eq!(indexes.list_groups("docs", None, 9).await.unwrap()[0].chunks, 0);
}

pub(crate) async fn attributes_are_those_of_published_groups(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let attributes =
        |number: f64| vec![attribute("n", Value::Number(number)), attribute("ü", Value::Boolean(true))];
    let missing = indexes.set_attributes("docs", "a", attributes(1.0)).await;
    assert_eq!(missing, Err(VectorError::NoSuchGroup));
    put_with(&indexes, "a", 1, chunks("word", 1), attributes(1.0)).await;
    indexes.set_attributes("docs", "a", attributes(2.0)).await.unwrap();
    assert_eq!(indexes.list_groups("docs", None, 1).await.unwrap()[0].attributes, attributes(2.0));
    is_invalid(
        indexes.set_attributes("docs", "a", vec![attribute("n", Value::Boolean(true)); 33]).await,
        "33 attributes",
    );
    let long = attribute("n", Value::Text("x".repeat(513)));
    is_invalid(indexes.set_attributes("docs", "a", vec![long]).await, "513 bytes");
}
