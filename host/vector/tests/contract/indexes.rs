//! Making, describing, listing and dropping indexes.

use crate::chunks::{SETTINGS, by_words, chunks};
use crate::{BOUNDS, Fixture, is_invalid, put, search};
use waggle_vector::{Description, Settings, TenantBounds, VectorError};

pub(crate) async fn an_index_is_made_once_and_described(fixture: Fixture) {
    let indexes = fixture.of("acme");
    indexes.create("docs", SETTINGS).await.unwrap();
    indexes.create("docs", SETTINGS).await.unwrap();
    let expected = Description { settings: SETTINGS, groups: 0, chunks: 0, bytes: 0, revision: 0 };
    assert_eq!(indexes.describe("docs").await.unwrap(), expected);
    put(&indexes, "a", 1, chunks("word", 3)).await;
    indexes.stage("docs", "b", 1, chunks("word", 2)).await.unwrap();
    let described = indexes.describe("docs").await.unwrap();
    assert_eq!((described.groups, described.chunks), (1, 3));
    assert!(described.revision > 0 && described.bytes > 5 * 20, "{described:?}");
    indexes.discard("docs", "b", 1).await.unwrap();
    let less = indexes.describe("docs").await.unwrap();
    assert!(less.bytes < described.bytes, "{less:?}");
    assert_eq!(less.revision, described.revision, "no search can notice what was staged");
}

pub(crate) async fn an_index_of_other_settings_is_refused(fixture: Fixture) {
    let indexes = fixture.docs().await;
    is_invalid(indexes.create("docs", Settings { dimensions: 5 }).await, "4 dimensions");
    is_invalid(indexes.create("more", Settings { dimensions: 4_097 }).await, "4097");
    is_invalid(indexes.create("a/b", SETTINGS).await, "an index's name");
    indexes.create("words", Settings { dimensions: 0 }).await.unwrap();
    assert_eq!(indexes.describe("words").await.unwrap().settings, Settings { dimensions: 0 });
}

pub(crate) async fn names_come_in_pages(fixture: Fixture) {
    let indexes = fixture.of("acme");
    for name in ["b", "Z", "a", "b.c", "_"] {
        indexes.create(name, SETTINGS).await.unwrap();
    }
    assert_eq!(indexes.list_indexes(None, 9).await.unwrap(), ["Z", "_", "a", "b", "b.c"]);
    assert_eq!(indexes.list_indexes(Some("_"), 2).await.unwrap(), ["a", "b"]);
    assert_eq!(indexes.list_indexes(Some("aa"), 9).await.unwrap(), ["b", "b.c"]);
    assert!(indexes.list_indexes(Some("z"), 9).await.unwrap().is_empty());
}

pub(crate) async fn what_is_not_there_is_told(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let missing = VectorError::NoSuchIndex;
    assert_eq!(indexes.describe("other").await.unwrap_err(), missing);
    assert_eq!(indexes.stage("other", "g", 1, chunks("word", 1)).await.unwrap_err(), missing);
    assert_eq!(indexes.staged("other", "g", 1).await.unwrap_err(), missing);
    assert_eq!(indexes.publish("other", "g", 1, 0, vec![]).await.unwrap_err(), missing);
    assert_eq!(indexes.remove("other", vec!["g".into()]).await.unwrap_err(), missing);
    assert_eq!(indexes.search(&["docs", "other"], by_words("word")).await.unwrap_err(), missing);
    assert_eq!(indexes.drop_index("other").await, Ok(()));
}

pub(crate) async fn dropping_an_index_leaves_nothing_of_it(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, chunks("word", 3)).await;
    indexes.drop_index("docs").await.unwrap();
    assert_eq!(indexes.describe("docs").await.unwrap_err(), VectorError::NoSuchIndex);
    assert!(indexes.list_indexes(None, 9).await.unwrap().is_empty());
    indexes.create("docs", Settings { dimensions: 0 }).await.unwrap();
    assert!(search(&indexes, by_words("word")).await.is_empty());
    put(&indexes, "a", 1, chunks("word", 1)).await;
    assert_eq!(search(&indexes, by_words("word")).await.len(), 1);
}

pub(crate) async fn no_more_indexes_than_the_tenant_may_have(fixture: Fixture) {
    let indexes = fixture.within("acme", TenantBounds { indexes_max: 1, ..BOUNDS });
    indexes.create("docs", SETTINGS).await.unwrap();
    assert!(matches!(indexes.create("more", SETTINGS).await, Err(VectorError::Full(_))));
    assert_eq!(indexes.create("docs", SETTINGS).await, Ok(()), "it is there already");
    indexes.drop_index("docs").await.unwrap();
    assert_eq!(indexes.create("more", SETTINGS).await, Ok(()));
}

pub(crate) async fn no_more_bytes_than_the_tenant_may_have(fixture: Fixture) {
    let indexes = fixture.within("acme", TenantBounds { bytes_max: Some(2_000), ..BOUNDS });
    indexes.create("docs", SETTINGS).await.unwrap();
    indexes.stage("docs", "a", 1, chunks(&"x".repeat(1_400), 1)).await.unwrap();
    let refused = indexes.stage("docs", "b", 1, chunks(&"x".repeat(1_400), 1)).await;
    assert!(matches!(&refused, Err(VectorError::Full(text)) if text.contains("2000")), "{refused:?}");
    indexes.discard("docs", "a", 1).await.unwrap();
    indexes.stage("docs", "b", 1, chunks(&"x".repeat(1_400), 1)).await.unwrap();
}
