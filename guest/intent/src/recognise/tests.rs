//! Tests of recognising, as a whole.

use super::*;
use crate::testing::{World, world};
use serde_json::json;
use std::path::Path;

fn embedding() -> World {
    world(&[("embedding_model", "e")])
}

fn check(world: &World, text: &str, name: &str, by: By) -> Recognition {
    let seen = world.say(text);
    assert_eq!((seen.name.as_str(), seen.by), (name, by), "{text}: {seen:?}");
    seen
}

#[test]
fn an_examples_words_need_no_model() {
    let world = world(&[("intent_mode", "model")]);
    let seen = check(&world, "when are you open", "hours", By::Words);
    assert_eq!((seen.confidence, seen.question), (1.0, None));
    assert_eq!(world.model.asked(), 0);
}

#[test]
fn what_is_like_examples_is_recognised_by_vectors() {
    let world = embedding();
    let seen = check(&world, "please track the package", "track", By::Embedding);
    assert!(seen.confidence > 0.5 && seen.alternatives.len() == 2, "{seen:?}");
    assert_eq!(seen.question.as_deref(), Some("Which order?"));
    check(&embedding(), "the weather in Paris tomorrow", UNKNOWN, By::Embedding);
}

#[test]
fn examples_are_embedded_once() {
    let world = embedding();
    world.say("please track the package");
    assert_eq!(world.model.asked(), 2, "examples, and what was said");
    world.set("model", "demo");
    world.turn(Said { text: "do track a package", conversation: None, language: None, turn: None }).unwrap();
    assert_eq!(world.model.asked(), 1);
    let elsewhere = World { memory: Rc::default(), ..world.clone() };
    elsewhere
        .turn(Said { text: "track any package", conversation: None, language: None, turn: None })
        .unwrap();
    assert_eq!(world.model.asked(), 1, "the examples' vectors are in the store");
}

#[test]
fn without_vectors_a_small_model_chooses() {
    let world = world(&[("model", "m")]);
    world.model.says(r#"{"intent": "hours", "confidence": 0.8}"#);
    let seen = check(&world, "Can I come by on Sunday?", "hours", By::Model);
    assert_eq!(seen.confidence, 0.8);
    world.model.says(r#"{"intent": "hours", "confidence": 0.3}"#);
    check(&world, "Nice shop!", UNKNOWN, By::Model);
    world.model.fails();
    let said = Said { text: "And now?", conversation: None, language: None, turn: None };
    let failure = world.turn(said).unwrap_err();
    assert_eq!(failure.to_api_error().status, 502);
    let bodies: Vec<Value> = world
        .model
        .requests
        .borrow()
        .iter()
        .map(|request| serde_json::from_slice(request.body.as_deref().unwrap()).unwrap())
        .collect();
    assert_eq!(bodies[0]["response_format"]["type"], "json_schema", "{}", bodies[0]);
}

#[test]
fn without_any_model_words_alone_count() {
    let world = world(&[]);
    check(&world, "track my package", "track", By::Words);
    let world = crate::testing::world(&[("model", "demo")]);
    check(&world, "something else entirely", UNKNOWN, By::Nothing);
}

#[test]
fn a_mode_without_its_model_is_an_error_of_the_operators() {
    for mode in ["embedding", "model"] {
        let world = world(&[("intent_mode", mode)]);
        let said = Said { text: "who are you", conversation: None, language: None, turn: None };
        let failure = world.turn(said).unwrap_err();
        assert_eq!(failure.to_api_error().status, 500, "{mode}");
        assert!(failure.log().unwrap().contains("intent_mode"), "{failure}");
    }
    let world = world(&[("intent_mode", "off")]);
    check(&world, "track my package", UNKNOWN, By::Nothing);
    world.set("intent_mode", "on");
    let said = Said { text: "x", conversation: None, language: None, turn: None };
    assert!(world.turn(said).unwrap_err().to_string().contains("intent_mode"));
}

#[test]
fn the_answer_to_a_question_fills_the_slot() {
    let world = embedding();
    let seen = check(&world, "Where is my order?", "track", By::Words);
    assert_eq!((seen.missing, seen.question.as_deref()), (vec!["order".to_owned()], Some("Which order?")));
    let seen = check(&world, "It's 1001", "track", By::Conversation);
    assert_eq!((json!(seen.slots), seen.question), (json!({"order": "1001"}), None));
    check(&world, "1002", UNKNOWN, By::Embedding);
}

#[test]
fn what_is_known_at_once_is_not_asked_for() {
    let world = embedding();
    let seen = check(&world, "track my package 1001", "track", By::Embedding);
    assert_eq!((json!(seen.slots), seen.question), (json!({"order": "1001"}), None));
}

#[test]
fn slots_are_asked_for_one_after_the_other() {
    let world = embedding();
    let seen = check(&world, "return an item", "return", By::Words);
    assert_eq!(seen.question.as_deref(), Some("What do you return?"));
    let seen = check(&world, "A blue kettle", "return", By::Conversation);
    assert_eq!(seen.question.as_deref(), Some("Was it used?"));
    let seen = check(&world, "nope", "return", By::Conversation);
    assert_eq!(json!(seen.slots), json!({"item": "A blue kettle", "used": false}));
    assert!(seen.missing.is_empty() && seen.question.is_none());
}

#[test]
fn another_wish_is_begun_and_what_was_asked_is_forgotten() {
    let world = embedding();
    world.say("Where is my order?");
    let seen = check(&world, "return an item", "return", By::Words);
    assert!(seen.slots.is_empty());
    let seen = check(&world, "When are you open?", "hours", By::Words);
    assert!(seen.question.is_none());
    check(&world, "1001", UNKNOWN, By::Embedding);
}

#[test]
fn whoever_wants_nothing_more_is_not_asked_again() {
    let world = embedding();
    world.say("Where is my order?");
    check(&world, "Never mind!", UNKNOWN, By::Words);
    check(&world, "1001", UNKNOWN, By::Embedding);
}

#[test]
fn a_slot_is_asked_for_twice_and_then_left_to_the_model() {
    let world = embedding();
    world.say("Where is my order?");
    let seen = check(&world, "I do not know", "track", By::Conversation);
    assert_eq!(seen.question.as_deref(), Some("Which order?"));
    let seen = check(&world, "really not", "track", By::Conversation);
    assert_eq!((seen.missing.len(), seen.question), (1, None));
    check(&world, "zebra", UNKNOWN, By::Embedding);
}

#[test]
fn a_question_in_between_leaves_what_was_asked_open() {
    let world = embedding();
    world.say("Where is my order?");
    check(&world, "Why would you need that?", UNKNOWN, By::Embedding);
    check(&world, "1001", "track", By::Conversation);
}

#[test]
fn a_question_is_open_for_a_day() {
    let world = embedding();
    world.say("Where is my order?");
    world.platform.passed_ms.set(86_400_000);
    check(&world, "1001", UNKNOWN, By::Embedding);
}

#[test]
fn a_small_model_finds_what_does_not_show_by_its_form() {
    let world = world(&[("embedding_model", "e"), ("model", "m")]);
    world.model.says(r#"{"item": "the kettle", "used": true}"#);
    let seen = check(&world, "I want to send something back: the used kettle", "return", By::Embedding);
    assert_eq!(json!(seen.slots), json!({"item": "the kettle", "used": true}));
    let world = crate::testing::world(&[("embedding_model", "e"), ("model", "m")]);
    world.model.fails();
    let seen = check(&world, "return an item", "return", By::Words);
    assert_eq!(seen.question.as_deref(), Some("What do you return?"));
    assert_eq!(world.platform.lines.borrow().len(), 1, "why is in the log");
}

#[test]
fn questions_are_asked_in_the_callers_language() {
    let world = embedding();
    let said = |text, language| Said { text, conversation: None, language, turn: None };
    let question = |said| world.turn(said).unwrap().recognition.question;
    assert_eq!(question(said("track my package", None)).as_deref(), Some("Which order?"));
    let chinese = said("track my package", Some(Language::Chinese));
    assert_eq!(question(chinese).as_deref(), Some("哪个订单?"));
}

#[test]
fn a_turn_that_asks_again_is_answered_the_same() {
    let world = embedding();
    let said =
        |text, turn| Said { text, conversation: Some(Nonce::mint(1, 1)), language: None, turn: Some(turn) };
    world.turn(said("Where is my order?", "resp_1")).unwrap();
    let first = world.turn(said("1001", "resp_2")).unwrap();
    assert_eq!(world.turn(said("1001", "resp_2")).unwrap(), first);
    let guidance = first.guidance.unwrap();
    assert_eq!((guidance.instructions.as_str(), guidance.tools.len()), ("Be brief.", 1));
}

#[test]
fn a_conversation_without_slots_leaves_nothing() {
    let world = world(&[]);
    world.say("When are you open?");
    assert!(world.store.dump().is_empty());
}

#[test]
fn what_is_kept_is_as_its_schema_says() {
    let world = embedding();
    for text in ["return an item", "A kettle", "maybe", "Never mind", "track my package"] {
        world.say(text);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas/intent.json");
        let family: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let key = jsonschema::validator_for(&json!({"type": "string", "pattern": family["key"]["pattern"]}))
            .unwrap();
        let schema = jsonschema::validator_for(&family["value"]).unwrap();
        let dump = world.store.dump();
        let kept: Vec<_> = dump.iter().filter(|(name, _)| !name.starts_with("embedding/")).collect();
        assert_eq!(kept.len(), 1, "{text}");
        for (name, value) in kept {
            let value = serde_json::from_slice(value).unwrap();
            assert!(key.is_valid(&json!(name)), "{name}");
            schema.validate(&value).unwrap_or_else(|error| panic!("{text}: {error}\n{value:#}"));
        }
    }
}
