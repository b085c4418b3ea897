//! Runs whose host dies: at each write of the journal and of the turn, before it is done and after. Whoever takes them up
//! goes on where they were.

use crate::support::{World, bytes, read_events, world};
use crate::tools::{Step, calls, items, said, shops};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use waggle_chat::{Answer, Request};

/// Longer than anybody is taken to be alive who says nothing.
const LATER_MS: u64 = 60_000;
/// More writes than a run of these has.
const WRITES_MAX: usize = 60;

/// A world whose model goes through five steps: it looks, changes something, does so twice at once, looks again, answers.
fn five_steps() -> World {
    let world = world().with_shop();
    world.set("background_attempts_max", "10");
    world.plays(vec![
        calls(&[("shop__find", "{\"id\":1}")]),
        calls(&[("shop__cancel", "{\"id\":1}")]),
        calls(&[("shop__cancel", "{\"id\":2}"), ("shop__note", "{\"id\":3}")]),
        calls(&[("shop__stock", "{}")]),
        Step::Says("all done"),
    ]);
    world
}

/// Polls a future until it is done or its store stands still.
fn until_it_dies<F: Future>(world: &World, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..200_000 {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return Some(done),
            Poll::Pending if world.store.stands_still() => return None,
            Poll::Pending => {}
        }
    }
    panic!("it neither ends nor dies")
}

/// How often each function was called with each arguments, and under how many keys.
fn calls_by_kind(world: &World) -> BTreeMap<(String, String), (usize, usize)> {
    let mut all: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for call in world.platform.tools.calls.borrow().iter() {
        let text = |member: &str| call[member].as_str().unwrap().to_owned();
        all.entry((text("function"), text("arguments"))).or_default().push(text("idempotency_key"));
    }
    let count = |mut keys: Vec<String>| {
        let calls = keys.len();
        keys.sort();
        keys.dedup();
        (calls, keys.len())
    };
    all.into_iter().map(|(call, keys)| (call, count(keys))).collect()
}

/// Holds a run that has ended to what must be true however often it was interrupted.
fn check(world: &World, response: &Value, deaths: usize, at: &str) {
    assert_eq!(response["status"], "completed", "{at} {response}");
    assert_eq!(said(response), "all done", "{at}");
    let (mut unknown, made) = (0, items(response, "mcp_call"));
    assert_eq!(made.len(), 5, "{at}");
    for call in made {
        let is_unknown = call["error"].to_string().contains("unknown");
        assert!(call["status"] == "completed" || (is_unknown && call["name"] == "cancel"), "{at} {call}");
        unknown += usize::from(is_unknown);
    }
    assert!(unknown <= deaths, "{at}");
    for ((function, arguments), (times, keys)) in calls_by_kind(world) {
        assert_eq!(keys, 1, "{at}: {function} {arguments} was called under several keys");
        let most = if function == "cancel" { 1 } else { 1 + deaths };
        assert!(times <= most, "{at}: {function} {arguments} was called {times} times");
    }
    assert!(world.asked().len() <= 5 + deaths, "{at}: a finished step was asked for again");
}

/// The journal goes when the turn is kept. What is left of it where the host died just then goes with the response.
fn check_journal(world: &World, was_kept: bool, at: &str) {
    assert!(was_kept || world.keys("run/").is_empty(), "{at}: the journal is left");
}

/// Whether the response is kept as it ended.
fn is_kept(world: &World) -> bool {
    let records = world.store.dump().into_iter().filter(|(key, _)| key.split('/').count() == 2);
    records
        .filter(|(key, _)| key.starts_with("response/"))
        .any(|(_, record)| String::from_utf8_lossy(&record).contains("all done"))
}

#[test]
fn a_background_run_goes_on_wherever_its_host_died() {
    let mut ended = false;
    for (writes, done) in (0..WRITES_MAX).flat_map(|writes| [(writes, false), (writes, true)]) {
        let world = five_steps();
        let mut body = shops(&json!("go"));
        body["background"] = json!(true);
        let accepted = world.json("POST", "/v1/responses", &body, 200);
        let path = world.platform.queue.borrow().last().unwrap().clone();
        world.store.stand_still(Some(writes), done);
        let ran = until_it_dies(&world, world.deliver_at(&path, false));
        world.store.stand_still(None, false);
        ended = ran.is_some();
        let at = format!("write {writes}, done {done}");
        let was_kept = !ended && is_kept(&world);
        world.platform.passed_ms.set(world.platform.passed_ms.get() + LATER_MS);
        let again = block_on(world.deliver_at(&path, false));
        check_journal(&world, was_kept, &at);
        assert_eq!(again.status, 200, "{at}");
        let id = accepted["id"].as_str().unwrap();
        let response = world.json("GET", &format!("/v1/responses/{id}"), &Value::Null, 200);
        check(&world, &response, usize::from(!ended), &at);
        check_events(&world, id, &response, &at);
        if ended {
            break;
        }
    }
    assert!(ended, "a run has more writes than were tried");
}

/// What was told of a run's items, before and after it died, is what came of it: each that is finished ends once.
fn check_events(world: &World, id: &str, response: &Value, at: &str) {
    let client = crate::support::Client::default();
    let path = format!("/v1/responses/{id}?stream=true");
    block_on(async {
        let request = Request { method: "GET", path_with_query: &path, ..Request::default() };
        match world.answer(request, Vec::new()).await {
            Answer::Stream(stream) => stream.run(client.clone()).await,
            _ => panic!("no stream"),
        }
    });
    let text = client.writes.borrow().concat();
    let events = read_events(text.strip_suffix("data: [DONE]\n\n").unwrap());
    for (number, (_, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], json!(number), "{at}");
    }
    let done = events.iter().filter(|(kind, _)| kind == "response.output_item.done");
    let mut last: BTreeMap<u64, (usize, Value)> = BTreeMap::new();
    for (_, data) in done {
        let told = last.entry(data["output_index"].as_u64().unwrap()).or_insert((0, Value::Null));
        *told = (told.0 + 1, data["item"].clone());
    }
    let output = response["output"].as_array().unwrap();
    assert_eq!(last.len(), output.len(), "{at}");
    for (place, (times, item)) in last {
        assert_eq!(&item, &output[usize::try_from(place).unwrap()], "{at}");
        if item["type"] == "mcp_call" {
            assert_eq!(times, 1, "{at}: the end of {item} was told {times} times");
        }
    }
    assert_eq!(&events.last().unwrap().1["response"], response, "{at}");
}

#[test]
fn a_run_that_dies_again_and_again_still_does_nothing_twice() {
    for stride in [3, 5, 7] {
        let world = five_steps();
        let mut body = shops(&json!("go"));
        body["background"] = json!(true);
        let accepted = world.json("POST", "/v1/responses", &body, 200);
        let path = world.platform.queue.borrow().last().unwrap().clone();
        let mut deaths = 0;
        loop {
            world.store.stand_still(Some(stride + deaths), deaths % 2 == 0);
            let ran = until_it_dies(&world, world.deliver_at(&path, false));
            world.store.stand_still(None, false);
            world.platform.passed_ms.set(world.platform.passed_ms.get() + LATER_MS);
            if ran.is_some() {
                break;
            }
            deaths += 1;
            assert!(deaths < 9, "it does not come on");
        }
        let id = accepted["id"].as_str().unwrap();
        let response = world.json("GET", &format!("/v1/responses/{id}"), &Value::Null, 200);
        check(&world, &response, deaths, &format!("stride {stride}"));
    }
}

async fn once(world: &World, body: &Value) -> (u16, Value) {
    let keys = [b"k".to_vec()];
    let request = Request {
        method: "POST",
        path_with_query: "/v1/responses",
        idempotency_key: &keys,
        user: &world.user,
        ..Request::default()
    };
    match world.answer(request, vec![bytes(&body.to_string())]).await {
        Answer::Reply(reply) => {
            let text = String::from_utf8(reply.body).unwrap();
            let response = match text.strip_suffix("data: [DONE]\n\n") {
                Some(events) => read_events(events).last().unwrap().1["response"].clone(),
                None => serde_json::from_str(&text).unwrap(),
            };
            (reply.status, response)
        }
        Answer::Stream(stream) => {
            let client = crate::support::Client::default();
            stream.run(client.clone()).await;
            (200, crate::support::events(&client).last().unwrap().1["response"].clone())
        }
        Answer::Working(..) => panic!("work beside an answer"),
    }
}

#[test]
fn a_retry_under_the_same_key_goes_on_wherever_the_host_died() {
    for is_streamed in [false, true] {
        let mut ended = false;
        for (writes, done) in (0..WRITES_MAX).flat_map(|writes| [(writes, false), (writes, true)]) {
            let world = five_steps();
            let mut body = shops(&json!("go"));
            body["stream"] = json!(is_streamed);
            world.store.stand_still(Some(writes), done);
            ended = until_it_dies(&world, once(&world, &body)).is_some();
            world.store.stand_still(None, false);
            world.platform.passed_ms.set(world.platform.passed_ms.get() + LATER_MS);
            let at = format!("write {writes}, done {done}, streamed {is_streamed}");
            let was_kept = !ended && is_kept(&world);
            let (status, response) = block_on(once(&world, &body));
            // Before the run has begun there is nothing to go on from: its key is spent, and nothing was done.
            if status == 422 {
                assert!(world.called().is_empty() && world.asked().is_empty(), "{at}");
            } else {
                assert_eq!(status, 200, "{at} {response}");
                check(&world, &response, usize::from(!ended), &at);
                check_journal(&world, was_kept, &at);
            }
            if ended {
                break;
            }
        }
        assert!(ended, "a run has more writes than were tried");
    }
}

#[test]
fn a_run_that_is_over_is_answered_again_and_nothing_is_done_again() {
    let world = five_steps();
    let body = shops(&json!("go"));
    let (_, first) = block_on(once(&world, &body));
    let (calls, asked) = (world.called().len(), world.asked().len());
    let (status, again) = block_on(once(&world, &body));
    assert_eq!((status, &again), (200, &first));
    assert_eq!((world.called().len(), world.asked().len()), (calls, asked));
}

#[test]
fn a_store_that_fails_stops_a_run_before_it_does_anything_more() {
    let world = five_steps();
    let mut body = shops(&json!("go"));
    body["background"] = json!(true);
    let accepted = world.json("POST", "/v1/responses", &body, 200);
    let path = world.platform.queue.borrow().last().unwrap().clone();
    world.store.fail(Some("swap 1"));
    assert_eq!(block_on(world.deliver_at(&path, false)).status, 500);
    assert!(world.asked().is_empty() && world.called().is_empty());
    world.store.fail(None);
    assert_eq!(block_on(world.deliver_at(&path, false)).status, 200);
    let id = accepted["id"].as_str().unwrap();
    let response = world.json("GET", &format!("/v1/responses/{id}"), &Value::Null, 200);
    check(&world, &response, 0, "after the store has recovered");
}

#[test]
fn with_its_user_a_run_is_erased() {
    let world = five_steps();
    let ada = world.called_by(Some("ada"));
    let mut body = shops(&json!("go"));
    body["background"] = json!(true);
    ada.json("POST", "/v1/responses", &body, 200);
    let path = ada.platform.queue.borrow().last().unwrap().clone();
    ada.store.stand_still(Some(8), true);
    assert!(until_it_dies(&ada, ada.deliver_at(&path, false)).is_none());
    ada.store.stand_still(None, false);
    assert!(!ada.keys("run/").is_empty());
    let reply = world.send("DELETE", "/v1/users/ada/data", "");
    assert!(reply.status < 300, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(ada.keys("run/"), Vec::<String>::new());
    let (calls, asked) = (ada.called().len(), ada.asked().len());
    ada.platform.passed_ms.set(ada.platform.passed_ms.get() + LATER_MS);
    assert_eq!(block_on(ada.deliver_at(&path, false)).status, 200);
    assert_eq!((ada.called().len(), ada.asked().len()), (calls, asked), "nothing of it is done any more");
}
