//! Tests of who has a question answered.

use super::*;
use crate::testing::{Surroundings, World, world};
use futures::executor::block_on;
use waggle_conversation::memory::MemoryStore;
use waggle_index::key_value::KeyValueIndex;

const SETTINGS: AnswerCacheSettings =
    AnswerCacheSettings { threshold: 0.95, ttl_s: 100, entries_max: 10, wait_ms: 1_000 };

fn cache(world: &World) -> AnswerCache<'_, MemoryStore, KeyValueIndex<MemoryStore>, Surroundings> {
    let World { store, index, platform, .. } = world;
    AnswerCache { store, index, platform, settings: SETTINGS, name: "answers.test".to_owned() }
}

fn basis() -> Basis {
    Basis { asked: "a".to_owned(), indexes: Vec::new() }
}

fn claim(world: &World, question: &str, version: &str) -> Claim {
    block_on(cache(world).claim(question, version, &basis())).unwrap()
}

#[test]
fn a_question_is_claimed_once_until_its_time_is_over() {
    let world = world();
    let Claim::Ours(key) = claim(&world, "Where?", "v") else { panic!("nobody had it") };
    assert_eq!(claim(&world, " where?", "v"), Claim::Others(key.slot));
    assert!(matches!(claim(&world, "Where?", "w"), Claim::Ours(_)), "by what is known now it is another");
    world.platform.passed_ms.set(flight::LEASE_MS);
    let Claim::Ours(second) = claim(&world, "Where?", "v") else { panic!("its time is over") };
    assert_ne!(key.holder, second.holder);
    assert!(block_on(cache(&world).held(&key)).unwrap().is_none());
    assert_eq!(
        block_on(cache(&world).held(&second)).unwrap().map(|flight| flight.question).as_deref(),
        Some("Where?")
    );
    block_on(cache(&world).release(&key)).unwrap();
    assert_eq!(claim(&world, "Where?", "v"), Claim::Others(second.slot), "only its holder can release it");
    block_on(cache(&world).release(&second)).unwrap();
    assert!(matches!(claim(&world, "Where?", "v"), Claim::Ours(_)));
}

#[test]
fn a_place_that_another_question_has_is_not_waited_for() {
    let world = world();
    let Claim::Ours(key) = claim(&world, "Where?", "v") else { panic!("nobody had it") };
    let name = key::flight(key.slot);
    let mut flight = Flight::read(&world.store.dump()[&name]).unwrap();
    flight.asked = "0".repeat(64);
    world.store.put(&name, &to_json(&flight));
    assert_eq!(claim(&world, "Where?", "v"), Claim::Crowded);
}

#[test]
fn the_version_is_that_of_all_indexes() {
    let world = world();
    for name in ["a", "b"] {
        world.index(name, false, &[("f", &["text"])]);
    }
    let version = |indexes: &[&str]| {
        let indexes = indexes.iter().map(|name| (*name).to_owned()).collect();
        block_on(cache(&world).version(&Basis { indexes, ..basis() })).unwrap()
    };
    let before = version(&["a", "b"]);
    assert_eq!(before, version(&["a", "b"]));
    assert_ne!(before, version(&["a"]));
    world.publish("b", false, "f", 2, &["other"]);
    assert_ne!(before, version(&["a", "b"]));
    let gone = Basis { indexes: vec!["gone".to_owned()], ..basis() };
    assert!(block_on(cache(&world).version(&gone)).is_err());
}

#[test]
fn an_index_of_another_model_has_another_name() {
    let name = |name: &str, dimensions| index_name(&EmbeddingModel { name: name.to_owned(), dimensions });
    assert_ne!(name("a", None), name("b", None));
    assert_ne!(name("a", None), name("a", Some(4)));
    assert!(name("a", None).len() < 32);
}
