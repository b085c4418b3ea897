//! Filters: among which groups is searched.

use crate::chunks::{attribute, by_both, by_vector, by_words, with_vector};
use crate::{Fixture, put_with, search};
use waggle_vector::{Compare, Comparison, FilterNode, Query, TenantIndexes, Value};

fn compare(name: &str, comparison: Comparison, values: Vec<Value>) -> FilterNode {
    FilterNode::Compare(Compare { attribute: name.into(), comparison, values })
}

async fn groups(indexes: &TenantIndexes, filter: Vec<FilterNode>) -> Vec<Vec<String>> {
    let vector = [1.0, 0.0, 0.0, 0.0];
    let mut found = Vec::new();
    for query in [by_words("word"), by_vector(vector), by_both("word", vector)] {
        let hits = search(indexes, Query { filter: filter.clone(), limit: 100, ..query }).await;
        let mut names: Vec<String> = hits.into_iter().map(|hit| hit.group).collect();
        names.sort();
        found.push(names);
    }
    found
}

pub(crate) async fn only_groups_that_pass_are_found(fixture: Fixture) {
    let indexes = fixture.docs().await;
    for number in 0..5_u8 {
        let attributes = vec![
            attribute("year", Value::Number(2_020.0 + f64::from(number))),
            attribute("open", Value::Boolean(number % 2 == 0)),
        ];
        let chunk = with_vector(0, "word", [1.0, f32::from(number), 0.0, 0.0]);
        put_with(&indexes, &format!("g{number}"), 1, vec![chunk], attributes).await;
    }
    let check = async |filter: Vec<FilterNode>, expected: &[&str]| {
        for found in groups(&indexes, filter.clone()).await {
            assert_eq!(found, expected, "{filter:?}");
        }
    };
    let open = || compare("open", Comparison::Equal, vec![Value::Boolean(true)]);
    let since = |year: f64| compare("year", Comparison::GreaterOrEqual, vec![Value::Number(year)]);
    check(vec![], &["g0", "g1", "g2", "g3", "g4"]).await;
    check(vec![open()], &["g0", "g2", "g4"]).await;
    check(vec![open(), since(2_022.0), FilterNode::All(vec![0, 1])], &["g2", "g4"]).await;
    check(vec![open(), since(2_023.0), FilterNode::Any(vec![0, 1])], &["g0", "g2", "g3", "g4"]).await;
    check(
        vec![compare("other", Comparison::NotEqual, vec![Value::Number(0.0)])],
        &["g0", "g1", "g2", "g3", "g4"],
    )
    .await;
    check(vec![since(3_000.0)], &[]).await;
    indexes.set_attributes("docs", "g1", vec![attribute("open", Value::Boolean(true))]).await.unwrap();
    check(vec![open()], &["g0", "g1", "g2", "g4"]).await;
}

pub(crate) async fn a_selective_filter_finds_all_it_should(fixture: Fixture) {
    let indexes = fixture.docs().await;
    for group in 0..20_u8 {
        let all = (0..30_u8).map(|ordinal| {
            let vector = [1.0, f32::from(group) / 20.0, f32::from(ordinal) / 30.0, 0.1];
            with_vector(ordinal.into(), "word", vector)
        });
        let attributes = vec![attribute("group", Value::Number(group.into()))];
        put_with(&indexes, &format!("g{group:02}"), 1, all.collect(), attributes).await;
    }
    for group in [0.0, 7.0, 19.0] {
        let filter = vec![compare("group", Comparison::Equal, vec![Value::Number(group)])];
        for found in groups(&indexes, filter).await {
            assert_eq!(found, vec![format!("g{group:02}"); 30]);
        }
    }
}
