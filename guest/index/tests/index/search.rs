//! What a search finds, and how it orders that.

use crate::support::{World, attribute, by_text, by_vector, chunk, placed, places};
use waggle_index::{Attributes, Comparison, FilterNode, Fusion, Hit, Query, Value};

/// Scores differ from what is expected by rounding only.
fn near(found: Option<f32>, expected: f32) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-5)
}

fn only(hits: &[Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.ordinal).collect()
}

#[test]
fn questions_in_both_languages_find_their_chunks() {
    let world = World::new();
    world.create("a", 0);
    let chunks = [
        chunk(0, "Refunds are paid within five working days."),
        chunk(1, "退款将在五个工作日内支付到您的账户。"),
        chunk(2, "Delivery takes two days. 送货需要两天。"),
        chunk(3, "我们的客服电话是 400-800，周末也可以拨打。"),
    ];
    world.publish("a", "faq", 1, &chunks, &Vec::new());
    let check = |text: &str, first: u32| {
        let hits = world.search(&["a"], by_text(text));
        assert_eq!(hits.first().map(|hit| hit.ordinal), Some(first), "{text}: {hits:?}");
    };
    check("when is my REFUND paid?", 0);
    check("refunding", 0);
    check("退款要多久？", 1);
    check("什么时候送货", 2);
    check("客服电话", 3);
    check("400", 3);
    check("deliveries", 2);
    assert_eq!(world.search(&["a"], by_text("?!")), []);
    assert_eq!(world.search(&["a"], by_text("zebra")), []);
}

#[test]
fn a_hit_has_all_of_its_chunk_and_its_group() {
    let world = World::new();
    world.create("a", 2);
    let attributes = vec![attribute("lang", "en"), ("n".to_owned(), Value::Number(1.5))];
    world.publish(
        "a",
        "g",
        7,
        &[placed(0, "pear", &[0.0, 2.0]), placed(1, "apple", &[3.0, 0.0])],
        &attributes,
    );
    let query = Query { vector: Some(vec![5.0, 0.0]), limit: 1, ..by_text("apple") };
    let hits = world.search(&["a"], query);
    let [hit] = hits.as_slice() else { panic!("{hits:?}") };
    let expected = Hit {
        index: 0,
        group: "g".to_owned(),
        version: 7,
        chunks: 2,
        attributes,
        ordinal: 1,
        heading: "Heading 1".to_owned(),
        text: "apple".to_owned(),
        note: "{\"page\":1}".to_owned(),
        score: 1.0,
        vector_score: Some(1.0),
        text_score: hit.text_score,
    };
    assert_eq!(hit, &expected);
    assert!(hit.text_score.is_some_and(|score| score > 0.0));
}

#[test]
fn headings_are_searched_as_well() {
    let world = World::new();
    world.create("a", 0);
    let mut under = chunk(0, "Within five days.");
    under.heading = "Returns > Refunds".to_owned();
    world.publish("a", "g", 1, &[under, chunk(1, "Within two days.")], &Vec::new());
    assert_eq!(only(&world.search(&["a"], by_text("refund"))), [0]);
}

#[test]
fn scores_of_words_are_bm25() {
    let world = World::new();
    world.create("a", 0);
    let bare = |ordinal, text| {
        let mut chunk = chunk(ordinal, text);
        chunk.heading = String::new();
        chunk
    };
    let chunks = [bare(0, "apple apple pear"), bare(1, "pear"), bare(2, "plum pear")];
    world.publish("a", "g", 1, &chunks, &Vec::new());
    let weight = |with: f32| ((3.0 - with + 0.5) / (with + 0.5)).ln_1p();
    let score = |weight: f32, times: f32, length: f32| {
        weight * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / 2.0))
    };
    let check = |text: &str, expected: &[(u32, f32)]| {
        let hits = world.search(&["a"], by_text(text));
        assert_eq!(hits.len(), expected.len(), "{text}: {hits:?}");
        for (hit, (ordinal, score)) in hits.iter().zip(expected) {
            assert!(hit.ordinal == *ordinal && near(hit.text_score, *score), "{text}: {hit:?}, not {score}");
        }
    };
    let both = score(weight(1.0), 2.0, 3.0) + score(weight(3.0), 1.0, 3.0);
    check("apple", &[(0, score(weight(1.0), 2.0, 3.0))]);
    let pears = [(1, score(weight(3.0), 1.0, 1.0)), (2, score(weight(3.0), 1.0, 2.0))];
    check("pear apple pear", &[(0, both), pears[0], pears[1]]);
}

/// Chunk 0 points up, 1 is at 45 degrees, 2 to the right, 3 has no vector, 4 points down.
fn compass() -> World {
    let world = World::new();
    world.create("a", 2);
    let chunks = [
        placed(0, "up", &[0.0, 9.0]),
        placed(1, "between", &[0.5, 0.5]),
        placed(2, "right", &[1.0, 0.0]),
        chunk(3, "nowhere up"),
        placed(4, "down", &[0.0, -1.0]),
    ];
    world.publish("a", "g", 1, &chunks, &Vec::new());
    world
}

#[test]
fn vectors_are_ordered_by_their_angle() {
    let world = compass();
    let hits = world.search(&["a"], by_vector(&[0.0, 0.1]));
    let scores: Vec<Option<f32>> = hits.iter().map(|hit| hit.vector_score).collect();
    assert_eq!(only(&hits), [0, 1, 2, 4]);
    for (score, expected) in scores.into_iter().zip([1.0, 0.5f32.sqrt(), 0.0, -1.0]) {
        assert!(near(score, expected), "{score:?}, not {expected}");
    }
    assert!(hits.iter().all(|hit| hit.text_score.is_none()));
    let at_least = |least| Query { vector_score_min: Some(least), ..by_vector(&[0.0, 1.0]) };
    assert_eq!(only(&world.search(&["a"], at_least(0.7))), [0, 1]);
    assert_eq!(only(&world.search(&["a"], at_least(-2.0))), [0, 1, 2, 4]);
    assert_eq!(only(&world.search(&["a"], at_least(1.1))), Vec::<u32>::new());
}

#[test]
fn both_ways_are_fused_and_every_hit_has_its_cosine() {
    let world = compass();
    let query = |text: &str| Query { vector: Some(vec![1.0, 0.0]), ..by_text(text) };
    let hits = world.search(&["a"], query("up"));
    // By words 0 and 3 (which is longer), by vectors 2, 1, 0 and 4, whose cosine is 0. So that of 3, which has none, is 0.
    let of_3 = hits.iter().find(|hit| hit.ordinal == 3).and_then(|hit| hit.text_score).unwrap();
    let expected = [
        (0, 0.5 + 0.25),
        (3, 0.5 * of_3 / hits[0].text_score.unwrap() + 0.25),
        (2, 0.5),
        (1, 0.5 * (0.5f32.sqrt() + 1.0) / 2.0),
        (4, 0.25),
    ];
    assert_eq!(only(&hits), expected.map(|(ordinal, _)| ordinal));
    for (hit, (_, score)) in hits.iter().zip(expected) {
        assert!(near(Some(hit.score), score), "{hit:?}, not {score}");
    }
    assert!(near(hits[0].vector_score, 0.0) && hits[0].text_score.is_some());
    assert!(hits[1].vector_score.is_none() && hits[1].text_score.is_some());
    // What has no vector, or one that is too far, is left out; the order stays.
    let strict = Query { vector_score_min: Some(0.5), ..query("up") };
    assert_eq!(only(&world.search(&["a"], strict)), [2, 1]);
    // A way without weight is not taken; the cosine is told all the same.
    let words_only = world.search(&["a"], Query { vector_weight: 0.0, ..query("up") });
    assert_eq!(only(&words_only), [0, 3]);
    assert!(near(words_only[0].vector_score, 0.0), "{words_only:?}");
    let near_words = Query { vector_weight: 0.0, vector_score_min: Some(-0.5), ..query("up") };
    assert_eq!(only(&world.search(&["a"], near_words)), [0]);
    let vectors_only = world.search(&["a"], Query { text_weight: 0.0, ..query("up") });
    assert_eq!(only(&vectors_only), [2, 1, 0, 4]);
    assert!(vectors_only.iter().all(|hit| hit.text_score.is_none()));
    // Without a vector, the least cosine means nothing.
    let no_vector = Query { vector_score_min: Some(1.0), ..by_text("up") };
    assert_eq!(only(&world.search(&["a"], no_vector)), [0, 3]);
}

#[test]
fn ranks_are_fused_where_that_is_asked_for() {
    let query = Query { vector: Some(vec![1.0, 0.0]), fusion: Fusion::Ranks, ..by_text("up") };
    let hits = compass().search(&["a"], query);
    let rank = |rank: f32| 1.0 / (60.0 + rank);
    let expected =
        [(0, rank(1.0) + rank(3.0)), (2, rank(1.0)), (1, rank(2.0)), (3, rank(2.0)), (4, rank(4.0))];
    let found: Vec<(u32, f32)> = hits.iter().map(|hit| (hit.ordinal, hit.score)).collect();
    assert_eq!(found, expected);
}

#[test]
fn scores_of_several_indexes_are_measured_by_the_best_of_all() {
    let world = compass();
    world.create("b", 2);
    world.publish("b", "g", 1, &[placed(0, "up up", &[0.0, 1.0])], &Vec::new());
    let hits = world.search(&["a", "b"], by_vector(&[1.0, 0.0]));
    let scores: Vec<f32> = hits.iter().filter(|hit| hit.index == 1).map(|hit| hit.score).collect();
    assert_eq!(scores, [0.5]);
    let hits = world.search(&["a", "b"], by_text("up"));
    assert_eq!(hits.iter().filter(|hit| hit.score == 1.0).count(), 1, "{hits:?}");
}

#[test]
fn weights_and_candidates_decide() {
    let world = compass();
    let query = || Query { vector: Some(vec![1.0, 0.0]), candidates: 1, ..by_text("up") };
    let first = |query| only(&world.search(&["a"], query));
    assert_eq!(first(query()), [0, 2]);
    assert_eq!(first(Query { vector_weight: 4.0, ..query() }), [2, 0]);
    assert_eq!(first(Query { text_weight: 0.1, ..query() }), [2, 0]);
    assert_eq!(first(Query { limit: 1, ..query() }), [0]);
    // The best by words is among the candidates, so its cosine is known though it is not near.
    assert!(near(world.search(&["a"], query())[0].vector_score, 0.0));
}

#[test]
fn filters_choose_groups() {
    let world = World::new();
    world.create("a", 0);
    let lang = |value: &str| vec![attribute("lang", value)];
    for (group, attributes) in [("en", lang("en")), ("zh", lang("zh")), ("none", Attributes::new())] {
        world.publish("a", group, 1, &[chunk(0, "apple")], &attributes);
    }
    let check = |comparison, values: &[&str], expected: &[&str]| {
        let values = values.iter().map(|value| Value::Text((*value).to_owned())).collect();
        let filter = vec![FilterNode::Compare { attribute: "lang".to_owned(), comparison, values }];
        let hits = world.search(&["a"], Query { filter, ..by_text("apple") });
        let groups: Vec<&str> = hits.iter().map(|hit| hit.group.as_str()).collect();
        assert_eq!(groups, expected, "{comparison:?}");
    };
    check(Comparison::Equal, &["en"], &["en"]);
    check(Comparison::NotEqual, &["en"], &["none", "zh"]);
    check(Comparison::OneOf, &["en", "zh"], &["en", "zh"]);
    check(Comparison::NotOneOf, &["en", "zh"], &["none"]);
}

#[test]
fn several_indexes_are_searched_as_one() {
    let world = World::new();
    for index in ["a", "b", "c"] {
        world.create(index, 2);
    }
    world.publish("a", "g", 1, &[placed(0, "apple apple", &[1.0, 0.1])], &Vec::new());
    world.publish("b", "g", 1, &[placed(0, "apple and pear", &[1.0, 0.0])], &Vec::new());
    let query = || Query { vector: Some(vec![1.0, 0.0]), ..by_text("apple") };
    let found = |indexes: &[&str]| {
        let hits = world.search(indexes, query());
        hits.iter().map(|hit| (hit.index, hit.text.clone())).collect::<Vec<_>>()
    };
    let (apples, pears) = ("apple apple".to_owned(), "apple and pear".to_owned());
    // The vectors are about as near as each other, the words are not.
    assert_eq!(found(&["c", "b", "a"]), [(2, apples.clone()), (1, pears.clone())]);
    assert_eq!(found(&["a"]), [(0, apples.clone())]);
    // One that is named twice is searched once.
    assert_eq!(found(&["b", "b", "a"]), [(2, apples), (0, pears)]);
    assert_eq!(found(&["c"]), []);
}

#[test]
fn many_chunks_in_many_pages_are_all_looked_at() {
    let world = World::new();
    world.create("a", 8);
    let padding = "lorem ipsum ".repeat(40);
    let made = |number: u32| {
        let angle = number as f32 / 200.0;
        let vector = [angle.cos(), angle.sin(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        placed(number % 250, &format!("{padding} word{number}"), &vector)
    };
    for group in 0..4u32 {
        let chunks: Vec<_> = (0..250).map(|ordinal| made(group * 250 + ordinal)).collect();
        world.publish("a", &format!("g{group}"), 1, &chunks, &Vec::new());
    }
    for number in [0u32, 249, 250, 617, 999] {
        let (group, ordinal) = (format!("g{}", number / 250), number % 250);
        let by_word = world.search(&["a"], by_text(&format!("word{number}")));
        assert_eq!(places(&by_word), [(group.as_str(), ordinal)]);
        let angle = number as f32 / 200.0;
        let vector = [angle.cos(), angle.sin(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let nearest = world.search(&["a"], Query { limit: 1, ..by_vector(&vector) });
        assert_eq!(places(&nearest), [(group.as_str(), ordinal)]);
    }
    let pages = world.store.dump().into_iter().filter(|(key, _)| key.ends_with("/texts"));
    let sizes: Vec<usize> = pages.map(|(_, value)| value.len()).collect();
    assert!(sizes.len() > 8 && sizes.iter().all(|size| *size <= 65 * 1_024), "{sizes:?}");
}
