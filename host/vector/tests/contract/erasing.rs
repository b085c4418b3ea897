//! Counting and erasing all that a tenant has.

use crate::Fixture;
use crate::chunks::{SETTINGS, by_words, chunks};
use crate::{put, search};
use waggle_vector::Usage;

pub(crate) async fn erasing_leaves_nothing_of_one_tenant_and_all_of_the_others(fixture: Fixture) {
    for tenant in ["acme", "globex"] {
        let indexes = fixture.of(tenant);
        for index in ["docs", "more"] {
            indexes.create(index, SETTINGS).await.unwrap();
        }
        put(&indexes, "a", 1, chunks("word", 3)).await;
    }
    fixture.all.erase("acme").await.unwrap();
    fixture.all.erase("nobody").await.unwrap();
    let acme = fixture.of("acme");
    assert_eq!(acme.usage().await.unwrap(), Usage::default());
    assert!(acme.list_indexes(None, 9).await.unwrap().is_empty());
    assert_eq!(search(&fixture.of("globex"), by_words("word")).await.len(), 3);
    acme.create("docs", SETTINGS).await.unwrap();
    assert!(search(&acme, by_words("word")).await.is_empty());
    put(&acme, "a", 1, chunks("word", 1)).await;
    assert_eq!(search(&acme, by_words("word")).await.len(), 1);
}

pub(crate) async fn usage_counts_what_there_is(fixture: Fixture) {
    let indexes = fixture.docs().await;
    assert_eq!(indexes.usage().await.unwrap(), Usage { indexes: 1, chunks: 0, bytes: 0 });
    put(&indexes, "a", 1, chunks("word", 3)).await;
    indexes.stage("docs", "b", 1, chunks("word", 2)).await.unwrap();
    let usage = indexes.usage().await.unwrap();
    assert_eq!((usage.indexes, usage.chunks), (1, 3));
    assert_eq!(usage.bytes, indexes.describe("docs").await.unwrap().bytes);
    assert!(fixture.all.check().await.is_ok());
    let metrics = fixture.all.metrics();
    let staged =
        metrics.operations.iter().find(|one| one.operation == waggle_vector::Operation::Stage).unwrap();
    assert_eq!((staged.succeeded, staged.durations.count()), (2, 2));
}
