//! What one tenant has, no other sees.

use crate::Fixture;
use crate::chunks::{SETTINGS, by_both, with_vector};
use waggle_vector::VectorError;

pub(crate) async fn two_tenants_never_see_each_other(fixture: Fixture) {
    let tenants = ["acme", "globex"];
    for tenant in tenants {
        let indexes = fixture.of(tenant);
        indexes.create("docs", SETTINGS).await.unwrap();
        // The same words and the same vectors: nothing but the tenant tells them apart.
        let chunk = with_vector(0, "the same canary", [1.0, 2.0, 3.0, 4.0]);
        let own = waggle_vector::Chunk { note: tenant.into(), ..chunk };
        indexes.stage("docs", "g", 1, vec![own]).await.unwrap();
        indexes.publish("docs", "g", 1, 1, vec![]).await.unwrap();
    }
    for tenant in tenants {
        let indexes = fixture.of(tenant);
        let hits = indexes.search(&["docs"], by_both("canary", [1.0, 2.0, 3.0, 4.0])).await.unwrap();
        assert_eq!(hits.iter().map(|hit| hit.note.as_str()).collect::<Vec<_>>(), [tenant]);
        assert_eq!(indexes.list_indexes(None, 9).await.unwrap(), ["docs"]);
    }
    let third = fixture.of("third");
    assert_eq!(third.describe("docs").await.unwrap_err(), VectorError::NoSuchIndex);
    assert!(third.list_indexes(None, 9).await.unwrap().is_empty());
    fixture.of("acme").drop_index("docs").await.unwrap();
    assert_eq!(fixture.of("globex").describe("docs").await.unwrap().chunks, 1);
}

pub(crate) async fn tenants_with_like_names_are_different(fixture: Fixture) {
    let names = ["a", "A", "a/docs", "a.", "..", "n-a", "ä", "a\\..", "x-me"];
    for (at, tenant) in names.iter().enumerate() {
        let indexes = fixture.of(tenant);
        for index in ["docs", "Docs", "DOCS"].iter().take(1 + at % 3) {
            indexes.create(index, SETTINGS).await.unwrap();
        }
    }
    for (at, tenant) in names.iter().enumerate() {
        assert_eq!(fixture.of(tenant).usage().await.unwrap().indexes, 1 + at as u64 % 3, "{tenant}");
    }
}
