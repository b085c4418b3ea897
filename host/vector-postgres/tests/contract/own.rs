//! What only this backend has: a graph, tables that several hosts use, and texts that its server does not know.

use crate::chunks::{SETTINGS, attribute, by_vector, by_words, chunk, index, with_vector};
use crate::{config, open, places, put, put_with, search, suite::Fixture};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;
use waggle_vector::{
    Chunk, Compare, Comparison, FilterNode, PostgresConfig, Query, Settings, TenantIndexes, Value,
    VectorIndexes,
};
use waggle_vector_postgres::Postgres;

const DIMENSIONS: usize = 16;

/// Numbers that look random and are the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = f32> {
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(seed), next).skip(3).map(|state| (state >> 40) as f32 / 8_388_608.0 - 1.0)
}

async fn nearest(indexes: &TenantIndexes, vector: Vec<f32>, filter: Vec<FilterNode>) -> Vec<(String, u32)> {
    let query = Query { vector: Some(vector), filter, ..by_vector([0.0; 4]) };
    let hits = search(indexes, query).await;
    places(&hits).into_iter().map(|(group, ordinal)| (group.to_owned(), ordinal)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graph_finds_what_comparing_finds() {
    let Some(config) = config() else { return };
    let schema = config.schema.clone();
    let comparing = open(&config).await;
    let name = index("docs");
    comparing.create("acme", &name, Settings { dimensions: DIMENSIONS as u32 }).await.unwrap();
    let comparing = Fixture::new(comparing, ());
    let indexes = comparing.of("acme");
    let mut all = numbers(7);
    for group in 0..10_u8 {
        let chunks = (0..200).map(|ordinal| {
            let vector = Some(all.by_ref().take(DIMENSIONS).collect());
            Chunk { vector, ..chunk(ordinal, "word") }
        });
        let attributes = vec![attribute("half", Value::Boolean(group < 5))];
        put_with(&indexes, &format!("g{group}"), 1, chunks.collect(), attributes).await;
    }
    let graph = open(&PostgresConfig { graph_chunks_min: 1_000, ..config }).await;
    graph.settle("acme", &name).await.unwrap();
    assert!(graph.has_graph("acme", &name).await.unwrap());
    let graph = Fixture::new(graph, ());
    let half = FilterNode::Compare(Compare {
        attribute: "half".into(),
        comparison: Comparison::Equal,
        values: vec![Value::Boolean(true)],
    });
    for filter in [vec![], vec![half]] {
        let (mut found, mut wanted) = (0, 0);
        for seed in 100..130 {
            let vector: Vec<f32> = numbers(seed * 977).take(DIMENSIONS).collect();
            let exact = nearest(&indexes, vector.clone(), filter.clone()).await;
            let near = nearest(&graph.of("acme"), vector, filter.clone()).await;
            found += exact.iter().filter(|one| near.contains(one)).count();
            wanted += exact.len();
        }
        assert!(wanted == 300 && found * 100 >= wanted * 95, "{found} of {wanted}");
    }
    assert!(is_walked(&schema).await, "the server compared each vector, with a graph at hand");
    graph.of("acme").drop_index("docs").await.unwrap();
}

/// Whether the server says that it has used a graph; it tells so about a second late.
async fn is_walked(schema: &str) -> bool {
    let (client, connection) = tokio_postgres::connect(&crate::server::url().unwrap(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "select coalesce(sum(idx_scan), 0)::bigint from pg_stat_user_indexes \
               where schemaname = $1 and indexrelname like 'graph%'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let scans: i64 = client.query_one(sql, &[&schema]).await.unwrap().get(0);
        if scans > 0 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_host_publishes_another_finds() {
    let Some(config) = config() else { return };
    let (one, other): (Postgres, Postgres) = (open(&config).await, open(&config).await);
    let (one, other) = (Fixture::new(one, ()), Fixture::new(other, ()));
    put(&one.docs().await, "a", 1, vec![chunk(0, "word")]).await;
    assert_eq!(search(&other.of("acme"), by_words("word")).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_kept_whole_whatever_they_have() {
    let Some(fixture) = crate::postgres().await else { return };
    let indexes = fixture.docs().await;
    let odd = "it's \\ \"word\" \0\u{1} \u{10ffff} 退款 :1,2 & | !";
    let chunk =
        Chunk { heading: odd.into(), note: odd.into(), ..with_vector(0, odd, [1e38, -1e-38, 0.0, 0.0]) };
    let attributes =
        vec![attribute(odd, Value::Text(odd.into())), attribute("n", Value::Number(f64::NEG_INFINITY))];
    put_with(&indexes, odd, u64::MAX, vec![chunk.clone()], attributes.clone()).await;
    let same = |comparison| {
        let compare = Compare { attribute: odd.into(), comparison, values: vec![Value::Text(odd.into())] };
        vec![FilterNode::Compare(compare)]
    };
    let hits = search(&indexes, Query { filter: same(Comparison::LessOrEqual), ..by_words(odd) }).await;
    assert_eq!((hits[0].group.as_str(), hits[0].version, &hits[0].attributes), (odd, u64::MAX, &attributes));
    assert_eq!((&hits[0].text, &hits[0].heading, &hits[0].note), (&chunk.text, &chunk.heading, &chunk.note));
    assert!(search(&indexes, Query { filter: same(Comparison::Less), ..by_words(odd) }).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_too_large_for_sql_means_the_same() {
    let Some(fixture) = crate::postgres().await else { return };
    let indexes = fixture.docs().await;
    for (group, open) in [("a", true), ("b", false)] {
        put_with(&indexes, group, 1, vec![chunk(0, "word")], vec![attribute("open", Value::Boolean(open))])
            .await;
    }
    let compare = Compare {
        attribute: "open".into(),
        comparison: Comparison::Equal,
        values: vec![Value::Boolean(true)],
    };
    let mut filter = vec![FilterNode::Compare(compare)];
    filter.extend((0..99).map(|place| FilterNode::All(vec![place, place])));
    let hits = search(&indexes, Query { filter, ..by_words("word") }).await;
    assert_eq!(places(&hits), [("a", 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_changes_of_an_index_at_once_are_all_counted() {
    let Some(fixture) = crate::postgres().await else { return };
    let indexes = std::sync::Arc::new(fixture.docs().await);
    indexes.create("docs", SETTINGS).await.unwrap();
    let putting: Vec<_> = (0..12)
        .map(|group| {
            let indexes = std::sync::Arc::clone(&indexes);
            tokio::spawn(async move { put(&indexes, &format!("g{group}"), 1, vec![chunk(0, "word")]).await })
        })
        .collect();
    for one in putting {
        one.await.unwrap();
    }
    let described = indexes.describe("docs").await.unwrap();
    assert_eq!((described.groups, described.chunks, described.revision), (12, 12, 12));
}
