//! Searching by words, by vectors, and by both.

use crate::chunks::{SETTINGS, by_both, by_vector, by_words, chunk, chunks, with_vector};
use crate::{Fixture, is_invalid, places, put, search};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use waggle_vector::{Fusion, Hit, Query, Settings, VectorError};

pub(crate) async fn words_are_found_in_both_languages(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "en", 1, vec![chunk(0, "Refunds are paid within 14 days."), chunk(1, "Opening hours")])
        .await;
    put(&indexes, "zh", 1, vec![chunk(0, "退款将在十四天内支付。"), chunk(1, "营业时间:每天九点")]).await;
    for (query, expected) in
        [("refunded", ("en", 0)), ("退款", ("zh", 0)), ("营业时间", ("zh", 1)), ("hour", ("en", 1))]
    {
        let hits = search(&indexes, by_words(query)).await;
        assert_eq!(places(&hits).first(), Some(&expected), "{query}");
    }
    assert_eq!(search(&indexes, by_words("heading")).await.len(), 4, "headings are searched too");
}

pub(crate) async fn vectors_are_found_by_their_angle(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let vectors = [[1.0, 0.0, 0.0, 0.0], [50.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]];
    let all = (0..).zip(vectors).map(|(ordinal, vector)| with_vector(ordinal, "x", vector)).collect();
    put(&indexes, "a", 1, all).await;
    put(&indexes, "words", 1, chunks("x", 2)).await;
    let hits = search(&indexes, by_vector([9.0, 0.0, 0.0, 0.0])).await;
    assert_eq!(places(&hits), [("a", 0), ("a", 1), ("a", 2), ("a", 3)]);
    let scores: Vec<f32> = hits.iter().map(|hit| hit.vector_score.unwrap()).collect();
    let expected = [1.0, 50.0 / 2_501.0_f32.sqrt(), 0.5_f32.sqrt(), -1.0];
    assert!(scores.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-5), "{scores:?}");
    assert!(hits.iter().all(|hit| hit.text_score.is_none()));
}

pub(crate) async fn both_ways_are_fused(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let all = vec![
        with_vector(0, "apple pie", [1.0, 0.0, 0.0, 0.0]),
        with_vector(1, "nothing", [0.9, 0.1, 0.0, 0.0]),
        with_vector(2, "apple", [0.0, 1.0, 0.0, 0.0]),
        chunk(3, "apple without a vector and with many more words"),
    ];
    put(&indexes, "a", 1, all).await;
    let hits = search(&indexes, by_both("apple pie", [1.0, 0.0, 0.0, 0.0])).await;
    assert_eq!(hits[0].ordinal, 0);
    assert!((hits[0].score - 1.0).abs() < 1e-6, "the best by both ways: {}", hits[0].score);
    assert_eq!(hits.len(), 4);
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let found = |ordinal: u32| hits.iter().find(|hit| hit.ordinal == ordinal).unwrap();
    assert_eq!(found(1).text_score, None);
    assert_eq!(found(3).vector_score, None);
    // Without words and with the nearest cosine but one.
    let expected = 0.5 * (found(1).vector_score.unwrap() + 1.0) / 2.0;
    assert!((found(1).score - expected).abs() < 1e-6, "{hits:?}");
    // Without a vector it counts as the last of those that have one.
    let (best, last) = (hits[0].text_score.unwrap(), found(2).vector_score.unwrap());
    let expected = 0.5 * found(3).text_score.unwrap() / best + 0.5 * (last + 1.0) / 2.0;
    assert!((found(3).score - expected).abs() < 1e-6, "{hits:?}");
    let by_ranks = Query { fusion: Fusion::Ranks, ..by_both("apple pie", [1.0, 0.0, 0.0, 0.0]) };
    let hits = search(&indexes, by_ranks).await;
    assert!(hits[0].ordinal == 0 && (hits[0].score - 2.0 / 61.0).abs() < 1e-6, "{}", hits[0].score);
    assert_eq!(hits.len(), 4);
}

pub(crate) async fn vectors_that_tell_nothing_apart_leave_the_order_to_the_words(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let texts = ["apple among many other words that are no fruit", "apple and pear and plum", "apple", "nut"];
    let all = (0..).zip(texts).map(|(ordinal, text)| with_vector(ordinal, text, [0.3, 0.2, 0.1, 0.0]));
    put(&indexes, "a", 1, all.collect()).await;
    let hits = search(&indexes, by_both("apple", [1.0, 0.0, 0.0, 0.0])).await;
    assert_eq!(places(&hits), [("a", 2), ("a", 1), ("a", 0), ("a", 3)]);
}

pub(crate) async fn scores_of_several_indexes_are_measured_by_the_best_of_all(fixture: Fixture) {
    let indexes = fixture.docs().await;
    indexes.create("more", SETTINGS).await.unwrap();
    put(&indexes, "a", 1, vec![with_vector(0, "apple", [0.0, 1.0, 0.0, 0.0])]).await;
    let nearest = with_vector(0, "apple apple", [1.0, 0.0, 0.0, 0.0]);
    indexes.stage("more", "a", 1, vec![nearest]).await.unwrap();
    indexes.publish("more", "a", 1, 1, vec![]).await.unwrap();
    let scores = |hits: Vec<Hit>| hits.into_iter().map(|hit| (hit.index, hit.score)).collect::<Vec<_>>();
    let found = scores(indexes.search(&["docs", "more"], by_vector([1.0, 0.0, 0.0, 0.0])).await.unwrap());
    assert!(
        matches!(found[..], [(1, best), (0, other)] if best == 1.0 && (other - 0.5).abs() < 1e-6),
        "{found:?}"
    );
    let found = scores(indexes.search(&["docs", "more"], by_words("apple")).await.unwrap());
    assert!(matches!(found[..], [(1, best), (0, other)] if best == 1.0 && other < 1.0), "{found:?}");
}

pub(crate) async fn a_way_without_weight_is_not_taken(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, vec![chunk(0, "apple"), with_vector(1, "pear", [1.0, 0.0, 0.0, 0.0])]).await;
    let query = by_both("apple", [1.0, 0.0, 0.0, 0.0]);
    let hits = search(&indexes, Query { text_weight: 0.0, ..query.clone() }).await;
    assert_eq!(places(&hits), [("a", 1)]);
    let hits = search(&indexes, Query { vector_weight: 0.0, ..query.clone() }).await;
    assert_eq!(places(&hits), [("a", 0)]);
    let neither = Query { vector_weight: 0.0, text_weight: 0.0, ..query };
    assert!(search(&indexes, neither).await.is_empty());
}

pub(crate) async fn every_hit_has_its_exact_cosine(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, vec![with_vector(0, "apple", [0.0, 1.0, 0.0, 0.0])]).await;
    let query = Query { vector_weight: 0.0, ..by_both("apple", [1.0, 2.0, 3.0, 4.0]) };
    let hits = search(&indexes, query).await;
    let expected = 2.0 / 30.0_f32.sqrt();
    assert!((hits[0].vector_score.unwrap() - expected).abs() < 1e-6, "{hits:?}");
}

pub(crate) async fn what_is_not_alike_enough_is_left_out(fixture: Fixture) {
    let indexes = fixture.docs().await;
    let all = vec![
        with_vector(0, "apple", [1.0, 0.0, 0.0, 0.0]),
        with_vector(1, "apple", [0.0, 1.0, 0.0, 0.0]),
        chunk(2, "apple"),
    ];
    put(&indexes, "a", 1, all).await;
    let least = |query: Query| Query { vector_score_min: Some(0.5), ..query };
    let hits = search(&indexes, least(by_both("apple", [1.0, 0.1, 0.0, 0.0]))).await;
    assert_eq!(places(&hits), [("a", 0)]);
    assert_eq!(
        search(&indexes, least(by_words("apple"))).await.len(),
        3,
        "without a vector it means nothing"
    );
}

pub(crate) async fn several_indexes_are_searched_as_one(fixture: Fixture) {
    let indexes = fixture.docs().await;
    indexes.create("more", SETTINGS).await.unwrap();
    put(&indexes, "a", 1, vec![with_vector(0, "apple apple", [1.0, 0.5, 0.0, 0.0]), chunk(1, "pear")]).await;
    indexes.stage("more", "a", 1, vec![with_vector(0, "apple", [1.0, 0.0, 0.0, 0.0])]).await.unwrap();
    indexes.publish("more", "a", 1, 1, vec![]).await.unwrap();
    let hits = indexes.search(&["docs", "more"], by_vector([1.0, 0.0, 0.0, 0.0])).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.index).collect::<Vec<_>>(), [1, 0]);
    let hits = indexes.search(&["more", "docs"], by_words("apple")).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.index).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(indexes.search::<&str>(&[], by_words("apple")).await.unwrap(), []);
    is_invalid(indexes.search(&["docs"; 17], by_words("apple")).await, "17 indexes");
}

pub(crate) async fn a_query_that_does_not_fit_is_refused(fixture: Fixture) {
    let indexes = fixture.docs().await;
    indexes.create("words", Settings { dimensions: 0 }).await.unwrap();
    let other = Query { vector: Some(vec![1.0; 3]), ..by_words("x") };
    is_invalid(indexes.search(&["docs"], other).await, "3 dimensions");
    is_invalid(indexes.search(&["docs", "words"], by_vector([1.0; 4])).await, "the index has none");
    is_invalid(indexes.search(&["docs"], by_vector([0.0; 4])).await, "all zeros");
    is_invalid(indexes.search(&["docs"], Query { limit: 0, ..by_words("x") }).await, "`limit`");
    is_invalid(indexes.stage("docs", "a", 1, vec![with_vector(0, "x", [0.0; 4])]).await, "all zeros");
    let wrong = waggle_vector::Chunk { vector: Some(vec![1.0; 3]), ..chunk(0, "x") };
    is_invalid(indexes.stage("docs", "a", 1, vec![wrong.clone()]).await, "3 dimensions");
    is_invalid(indexes.stage("words", "a", 1, vec![wrong]).await, "the index has none");
    assert_eq!(indexes.staged("docs", "a", 1).await, Ok(0));
    assert_eq!(indexes.describe(".x").await.unwrap_err().kind(), VectorError::Invalid(String::new()).kind());
}

pub(crate) async fn a_query_of_nothing_finds_nothing(fixture: Fixture) {
    let indexes = fixture.docs().await;
    assert!(search(&indexes, by_both("word", [1.0; 4])).await.is_empty());
    put(&indexes, "a", 1, chunks("word", 2)).await;
    assert!(search(&indexes, by_words("")).await.is_empty());
    assert!(search(&indexes, by_words("?!")).await.is_empty());
    assert!(search(&indexes, Query { text: None, ..by_words("") }).await.is_empty());
    assert!(search(&indexes, by_vector([1.0; 4])).await.is_empty(), "no chunk has a vector");
}

pub(crate) async fn at_most_the_limit_is_found(fixture: Fixture) {
    let indexes = fixture.docs().await;
    put(&indexes, "a", 1, chunks("word", 250)).await;
    for limit in [1, 7, 100] {
        assert_eq!(search(&indexes, Query { limit, ..by_words("word") }).await.len(), limit as usize);
    }
    let few = Query { limit: 100, candidates: 3, ..by_words("word") };
    assert_eq!(search(&indexes, few).await.len(), 100, "candidates are at least as many as hits");
    let found = search(&indexes, by_words("number123")).await;
    assert_eq!(places(&found), [("a", 123)]);
}

pub(crate) async fn searches_go_on_while_chunks_come_and_go(fixture: Fixture) {
    let indexes = Arc::new(fixture.docs().await);
    put(&indexes, "steady", 1, chunks("steady", 3)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let searching: Vec<_> = (0..2)
        .map(|_| {
            let (indexes, is_over) = (Arc::clone(&indexes), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut searches = 0;
                while !is_over.load(Ordering::Relaxed) || searches == 0 {
                    let hits = search(&indexes, Query { limit: 100, ..by_words("steady changing") }).await;
                    let steady = hits.iter().filter(|hit| hit.group == "steady").count();
                    assert_eq!(steady, 3);
                    // A version is found whole or not at all.
                    let mut versions: Vec<_> = hits.iter().filter(|hit| hit.group == "changing").collect();
                    versions.dedup_by_key(|hit| hit.version);
                    assert!(versions.len() <= 1, "{versions:?}");
                    let changing = hits.iter().filter(|hit| hit.group == "changing").count();
                    let whole = versions.first().map_or(0, |hit| hit.version as usize % 5 + 1);
                    assert_eq!(changing, whole);
                    searches += 1;
                }
            })
        })
        .collect();
    for version in 1..40 {
        let count = u32::try_from(version % 5 + 1).unwrap();
        put(&indexes, "changing", version, chunks("changing", count)).await;
        if version % 7 == 0 {
            indexes.remove("docs", vec!["changing".into()]).await.unwrap();
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for searcher in searching {
        searcher.await.unwrap();
    }
}
