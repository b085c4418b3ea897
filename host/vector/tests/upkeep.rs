//! What happens in the background: merging, graphs, giving back space, putting away and reading again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chunks.rs"]
mod chunks;

use chunks::{SETTINGS, by_vector, by_words, chunk, index, with_vector};
use std::{path::Path, slice, sync::Arc};
use waggle_vector::{Chunk, Embedded, EmbeddedConfig, Prewarm, Query, VectorConfig, VectorIndexes as _};

const TENANT: &str = "acme";

async fn put(indexes: &Embedded, name: &str, group: &str, version: u64, chunks: Vec<Chunk>) {
    let count = u32::try_from(chunks.len()).unwrap();
    for some in chunks.chunks(200) {
        indexes.stage(TENANT, &index(name), group, version, some.to_vec()).await.unwrap();
    }
    indexes.publish(TENANT, &index(name), group, version, count, vec![]).await.unwrap();
}

fn bytes_of(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        bytes += if metadata.is_dir() { bytes_of(&entry.path()) } else { metadata.len() };
    }
    bytes
}

/// A vector that is different for each number, around one of ten centres.
fn vector(number: u32) -> [f32; 4] {
    let mix = |seed: u32| {
        let mixed =
            (number.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
        (mixed >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let centre = number % 10;
    [
        centre as f32 + mix(1),
        (centre * 7 % 10) as f32 + mix(2),
        (centre * 3 % 10) as f32 + mix(3),
        5.0 + mix(4),
    ]
}

#[tokio::test]
async fn a_large_index_finds_the_same_before_and_after_it_is_merged_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { exact_chunks_max: 1_000, ..EmbeddedConfig::default() };
    let docs = index("docs");
    let queries: Vec<u32> = (0..3_000).step_by(211).collect();
    let search = async |indexes: &Embedded| {
        let mut found = Vec::new();
        for number in &queries {
            let hits = indexes.search(TENANT, &[index("docs")], by_vector(vector(*number))).await.unwrap();
            assert!(hits[0].vector_score.unwrap() > 0.999_9, "{number}");
            found.push(hits.into_iter().map(|hit| (hit.group, hit.ordinal)).collect::<Vec<_>>());
        }
        found
    };
    let before = {
        let indexes = Embedded::open(folder.path(), config.clone()).unwrap();
        indexes.create(TENANT, &docs, SETTINGS).await.unwrap();
        for group in 0..6 {
            let numbers = group * 500..(group + 1) * 500;
            let all = numbers
                .zip(0..)
                .map(|(number, ordinal)| with_vector(ordinal, &format!("n{number}"), vector(number)));
            put(&indexes, "docs", &group.to_string(), 1, all.collect()).await;
        }
        let before = search(&indexes).await;
        indexes.settle(TENANT, &docs).await.unwrap();
        assert!(indexes.metrics().merges > 0);
        let merged = search(&indexes).await;
        let same = before
            .iter()
            .flatten()
            .filter(|place| merged.iter().flatten().any(|other| other == *place))
            .count();
        assert!(same * 100 >= before.iter().flatten().count() * 95, "{same}");
        indexes.remove(TENANT, &docs, vec!["2".into(), "4".into()]).await.unwrap();
        put(&indexes, "docs", "2", 2, vec![chunk(0, "n1000 again")]).await;
        merged
    };
    let indexes = Embedded::open(folder.path(), config).unwrap();
    let after: Vec<_> =
        indexes.search(TENANT, slice::from_ref(&docs), by_words("n2600 n1000")).await.unwrap();
    assert_eq!(after.iter().map(|hit| (hit.group.as_str(), hit.version)).collect::<Vec<_>>().len(), 2);
    for (number, before) in queries.iter().zip(before) {
        let query = Query { limit: 100, ..by_vector(vector(*number)) };
        let hits = indexes.search(TENANT, slice::from_ref(&docs), query).await.unwrap();
        assert!(hits.iter().all(|hit| hit.group != "4" && hit.version == 1), "{number}");
        let left = before.iter().filter(|(group, _)| group != "2" && group != "4");
        for place in left {
            assert!(
                hits.iter().any(|hit| (&hit.group, &hit.ordinal) == (&place.0, &place.1)),
                "{number} {place:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_space_of_what_is_gone_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let indexes = Embedded::open(folder.path(), EmbeddedConfig::default()).unwrap();
    let docs = index("docs");
    indexes.create(TENANT, &docs, SETTINGS).await.unwrap();
    let large = |version: u64| {
        (0..40).map(move |ordinal| chunk(ordinal, &format!("v{version} {}", "x ".repeat(8_000))))
    };
    put(&indexes, "docs", "stays", 1, large(0).collect()).await;
    for version in 1..8 {
        put(&indexes, "docs", "changes", version, large(version).collect()).await;
    }
    indexes.settle(TENANT, &docs).await.unwrap();
    let left = indexes.describe(TENANT, &docs).await.unwrap().bytes;
    let on_disk = bytes_of(folder.path());
    assert!(on_disk < left * 5 / 2, "{on_disk} bytes on disk for {left}");
    for (word, expected) in [("v0", 40), ("v7", 40), ("v6", 0)] {
        let query = Query { limit: 100, ..by_words(word) };
        assert_eq!(
            indexes.search(TENANT, slice::from_ref(&docs), query).await.unwrap().len(),
            expected,
            "{word}"
        );
    }
    drop(indexes);
    let indexes = Embedded::open(folder.path(), EmbeddedConfig::default()).unwrap();
    assert_eq!(indexes.read(TENANT, &docs, "stays", 0, 256).await.unwrap(), large(0).collect::<Vec<_>>());
    assert_eq!(indexes.describe(TENANT, &docs).await.unwrap().bytes, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_make_room_for_each_other_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { memory_bytes_max: 100_000, ..EmbeddedConfig::default() };
    let indexes = Arc::new(Embedded::open(folder.path(), config).unwrap());
    let names: Vec<String> = (0..8).map(|number| format!("docs{number}")).collect();
    for name in &names {
        indexes.create(TENANT, &index(name), SETTINGS).await.unwrap();
    }
    let tasks: Vec<_> = names
        .into_iter()
        .map(|name| {
            let indexes = Arc::clone(&indexes);
            tokio::spawn(async move {
                for version in 1..12 {
                    put(&indexes, &name, "g", version, vec![chunk(0, &format!("{name} v{version}"))]).await;
                    let hits = indexes
                        .search(TENANT, &[index(&name)], by_words(&format!("v{version}")))
                        .await
                        .unwrap();
                    assert_eq!(hits.len(), 1, "{name} {version}");
                    assert_eq!(hits[0].version, version);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(indexes.usage(TENANT).await.unwrap().chunks, 8);
}

#[tokio::test]
async fn an_index_is_put_away_when_nobody_uses_it_and_there_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { memory_bytes_max: 0, ..EmbeddedConfig::default() };
    let indexes = Embedded::open(folder.path(), config).unwrap();
    indexes.create(TENANT, &index("docs"), SETTINGS).await.unwrap();
    put(&indexes, "docs", "g", 1, vec![chunk(0, "word")]).await;
    // Whoever keeps it does so in the background; this waits for it, and would wait for ever if it did not.
    while indexes.metrics().loaded_indexes > 0 {
        tokio::task::yield_now().await;
    }
    assert!(indexes.metrics().evictions > 0);
    let usage = indexes.usage(TENANT).await.unwrap();
    assert_eq!((usage.chunks, usage.indexes), (1, 1));
    assert_eq!(indexes.search(TENANT, &[index("docs")], by_words("word")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_to_be_prewarmed_is_read_by_describing_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = VectorConfig { prewarm: vec!["acme/docs".into()], ..VectorConfig::default() };
    {
        let indexes = Embedded::open(folder.path(), config.embedded()).unwrap();
        indexes.create(TENANT, &index("docs"), SETTINGS).await.unwrap();
    }
    let indexes = Embedded::open(folder.path(), config.embedded()).unwrap();
    for Prewarm { tenant, index } in config.prewarm() {
        indexes.describe(&tenant, &index).await.unwrap();
    }
    assert_eq!((indexes.metrics().loads, indexes.metrics().loaded_indexes), (1, 1));
}
