//! The plug is pulled at each step of an agent's run, again and again: every run comes to its end, no finished step is paid a
//! second time, and nothing that a tool does is done twice.
//!
//! `WAGGLE_AGENT_CRASH_ROUNDS` says how often (10 unless told). Runs are in the background, where the work is delivered
//! again, and in turns under an `Idempotency-Key` that their client sends again.

use crate::crash::random;
use crate::support::{PATIENCE, Server, Setup, client, get, post};
use crate::tenants_support::{Admin, Model};
use model_sim::{Behaviour, SimConfig};
use order_service::{Config, Running};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const ROUNDS_DEFAULT: usize = 10;
/// How often a run is interrupted, at most; the server begins one five times in this test.
const KILLS_MAX: u64 = 2;
const ATTEMPTS: &str = "background_attempts_max=5";
/// How long a model thinks, so that a crash can come meanwhile.
const THINKING_MS: u64 = 20;
/// From a request that is seen to the crash, at most: the model's thinking, the tool's work and what is written between.
const AFTER_MICROSECONDS_MAX: u64 = 50_000;
/// Steps with calls of tools; one more is the answer.
const STEPS: u64 = 5;
/// Calls of tools in these steps.
const CALLS: [&str; 7] = ["get", "note", "note_once", "note", "get", "note_once", "note"];

/// When the plug is pulled.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After so many requests to the model, counted from the last start.
    Model(u64),
    /// After so many to the order service.
    Tool(u64),
}

/// How somebody comes to the end of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Background,
    Foreground,
}

struct Stage {
    server: Server,
    model: Model,
    orders: Running,
}

/// What was written down by a run: who does it twice has it here twice.
fn text(round: usize, number: usize) -> String {
    format!("round {round} note {number}.")
}

/// What the model is scripted to do.
fn script(round: usize) -> String {
    let note = |tool: &str, number| {
        format!(r#"call orders__{tool} {{"order_id":"1001","text":"{}"}}"#, text(round, number))
    };
    format!(
        r#"[sim: call orders__get {{"order_id":"1001"}}; {}; {}; {} & call orders__get {{"order_id":"1002"}}; {} & {}]"#,
        note("note", 1),
        note("note_once", 2),
        note("note", 3),
        note("note_once", 4),
        note("note", 5),
    )
}

/// Orders, and two ways to note something: under a key that the service honours, and under none.
fn tool(url: &str) -> Value {
    let id = json!({ "type": "string" });
    let note = |name: &str, idempotent: bool| {
        let mut request = json!({ "method": "POST", "path": "/orders/{order_id}/notes" });
        if idempotent {
            request["idempotency_header"] = json!("idempotency-key");
        }
        json!({
            "name": name, "description": "Notes something about an order.",
            "side_effects": true, "idempotent": idempotent, "needs_approval": false, "request": request,
            "parameters": { "type": "object", "properties": { "order_id": id, "text": { "type": "string" } },
                "required": ["order_id", "text"] }
        })
    };
    let get = json!({
        "name": "get", "description": "Looks an order up.", "side_effects": false, "needs_approval": false,
        "parameters": { "type": "object", "properties": { "order_id": id }, "required": ["order_id"] },
        "request": { "method": "GET", "path": "/orders/{order_id}" }
    });
    json!({
        "name": "orders", "kind": "http", "base_url": url, "accept": true,
        "functions": [get, note("note", true), note("note_once", false)]
    })
}

impl Stage {
    async fn open() -> Self {
        let orders = order_service::start("127.0.0.1:0", Config::default()).await.unwrap();
        let behaviour = Behaviour { first_token_ms: THINKING_MS, ..Behaviour::default() };
        let config = SimConfig { recorded_requests_max: 1_000, behaviour, ..SimConfig::default() };
        let model = Model(model_sim::start(config).await.unwrap());
        let variables = ["--variable", "model=sim", "--variable", "tools=orders", "--variable", ATTEMPTS];
        let server = model.serve(Setup::application().args(&variables)).start();
        let tool = tool(&orders.url());
        Admin::of(&server).done("POST", "/tenants/default/tools", Some(&tool)).await;
        Self { server, model, orders }
    }

    /// How far a run is, since the requests that were counted before.
    fn has_come(&self, moment: Moment, (model, tool): (u64, u64)) -> bool {
        match moment {
            Moment::Model(count) => self.model.0.handle().stats().requests >= model + count,
            Moment::Tool(count) => self.orders.stats().requests >= tool + count,
        }
    }

    /// Waits for the moment, or for the end of the run if that comes before, and kills the server.
    async fn crash(&mut self, moment: Moment, run: &JoinHandle<Option<Value>>) {
        let before = (self.model.0.handle().stats().requests, self.orders.stats().requests);
        let until = Instant::now() + PATIENCE;
        while !self.has_come(moment, before) && !run.is_finished() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Not a wait for something: the moment of the crash is what is drawn here.
        tokio::time::sleep(Duration::from_micros(random(AFTER_MICROSECONDS_MAX))).await;
        self.server.kill();
    }

    /// One run, interrupted some times; its response, and how often it was interrupted.
    async fn interrupted(&mut self, round: usize, way: Way, moments: &[Moment]) -> Value {
        let mut body =
            json!({ "model": "sim", "input": script(round), "background": way == Way::Background });
        let mut id = None;
        if way == Way::Background {
            let (status, response) = post(&client(), &self.server.url("/v1/responses"), &body).await;
            assert_eq!(status, 200, "{response}");
            id = Some(response["id"].as_str().unwrap().to_owned());
        } else {
            body.as_object_mut().unwrap().remove("background");
        }
        let key = format!("run-{round}");
        let follow = |url: String| match &id {
            Some(id) => tokio::spawn(polled(format!("{url}/{id}"))),
            None => tokio::spawn(sent(url, key.clone(), body.clone())),
        };
        for moment in moments {
            let run = follow(self.server.url("/v1/responses"));
            self.crash(*moment, &run).await;
            let ended = run.await.unwrap();
            self.server.restart();
            if ended.is_some() {
                break;
            }
        }
        follow(self.server.url("/v1/responses")).await.unwrap().expect("a run comes to its end")
    }
}

/// Asks for a background response until it is over; `None` when the server is gone.
async fn polled(url: String) -> Option<Value> {
    let until = Instant::now() + PATIENCE * 6;
    loop {
        let answer = client().get(&url).send().await.ok()?;
        let status = answer.status().as_u16();
        let response: Value = answer.json().await.ok()?;
        assert_eq!(status, 200, "{response}");
        if !matches!(response["status"].as_str(), Some("queued" | "in_progress")) {
            return Some(response);
        }
        assert!(Instant::now() < until, "it never ends: {response}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends a turn under its key until it is answered; `None` when the server is gone.
async fn sent(url: String, key: String, body: Value) -> Option<Value> {
    let until = Instant::now() + PATIENCE * 6;
    loop {
        let request = client().post(&url).header("idempotency-key", &key).json(&body);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let response: Value = answer.json().await.ok()?;
        // Somebody seems to be at it still.
        if status != 409 {
            return Some(response);
        }
        assert!(Instant::now() < until, "it never is anybody's: {response}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_finished_step_is_paid_or_done_again_after_kill_9() {
    let rounds =
        std::env::var("WAGGLE_AGENT_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().unwrap());
    let mut stage = Stage::open().await;
    let (mut completed, mut kills, mut asked_again, mut unknown) = (0, 0, 0, 0);
    for round in 0..rounds {
        let way = if round % 2 == 0 { Way::Background } else { Way::Foreground };
        stage.model.0.handle().reset();
        let moments = moments(round);
        let response = stage.interrupted(round, way, &moments).await;
        let context = format!("round {round}, {way:?}, {moments:?}");
        asked_again += check_model(&stage, moments.len(), &context);
        kills += moments.len();
        match response["status"].as_str() {
            Some("completed") => {
                completed += 1;
                unknown += check_calls(&response, &context);
                check_effects(&stage, round, &response, &context);
            }
            _ => {
                let told = response["error"]["message"].as_str().unwrap_or_default();
                assert!(!told.is_empty(), "{context}: it ends without a reason: {response:#}");
                check_effects(&stage, round, &Value::Null, &context);
            }
        }
    }
    println!(
        "{rounds} runs, {kills} crashes: {completed} completed, {asked_again} steps under way asked again, {unknown} calls \
         whose outcome nobody knows, nothing done twice"
    );
    assert_eq!(stage.orders.stats().doubled, 0);
    assert!(completed * 2 > rounds, "most runs complete: {completed} of {rounds}");
}

/// When the runs of a round are interrupted: each step's turn comes, by its model and by its tools.
fn moments(round: usize) -> Vec<Moment> {
    let first = (round as u64 / 2) % (2 * STEPS + 2);
    let first = match first {
        step if step <= STEPS => Moment::Model(step + 1),
        step => Moment::Tool(step - STEPS),
    };
    let more = random(KILLS_MAX);
    let later = (0..more).map(|_| match random(2) {
        0 => Moment::Model(1 + random(2)),
        _ => Moment::Tool(1 + random(2)),
    });
    std::iter::once(first).chain(later).collect()
}

/// Only the step that was under way is asked again, under the same key; how many were.
fn check_model(stage: &Stage, kills: usize, context: &str) -> usize {
    let handle = stage.model.0.handle();
    let keys: Vec<String> = handle
        .requests()
        .into_iter()
        .map(|request| {
            let mut keys = request.headers.into_iter().filter(|(name, _)| name == "idempotency-key");
            keys.next().unwrap_or_else(|| panic!("{context}: a model is asked without a key")).1
        })
        .collect();
    let mut order = keys.clone();
    order.dedup();
    let mut distinct = order.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(order.len(), distinct.len(), "{context}: a finished step was asked again: {keys:?}");
    let steps = usize::try_from(STEPS).unwrap() + 1;
    assert!(order.len() <= steps, "{context}: a step was asked under two keys: {keys:?}");
    let repeated = keys.len() - order.len();
    assert!(repeated <= kills, "{context}: {repeated} repetitions after {kills} crashes");
    repeated
}

/// Each call stands in the response once, in its order; how many have an outcome that nobody knows.
fn check_calls(response: &Value, context: &str) -> usize {
    let output = response["output"].as_array().unwrap();
    let calls: Vec<&Value> = output.iter().filter(|item| item["type"] == "mcp_call").collect();
    let names: Vec<&str> = calls.iter().map(|call| call["name"].as_str().unwrap()).collect();
    assert_eq!(names, CALLS, "{context}: {response:#}");
    let failed: Vec<&&Value> = calls.iter().filter(|call| !call["error"].is_null()).collect();
    for call in &failed {
        assert_eq!(call["name"], "note_once", "{context}: what may be repeated is: {call}");
    }
    failed.len()
}

/// What is repeatable was done once, what is not at most once, and once if the response says so.
fn check_effects(stage: &Stage, round: usize, response: &Value, context: &str) {
    let notes = stage.orders.order("1001").unwrap().notes;
    let output = response["output"].as_array();
    for number in 1..=5 {
        let expected = text(round, number);
        let done = notes.iter().filter(|note| **note == expected).count();
        assert!(done <= 1, "{context}: '{expected}' was done {done} times");
        let told =
            output.into_iter().flatten().filter(|item| item["type"] == "mcp_call" && item["error"].is_null());
        let is_told = told
            .into_iter()
            .any(|call| call["arguments"].as_str().is_some_and(|text| text.contains(&expected)));
        assert!(!is_told || done == 1, "{context}: '{expected}' is told, and was not done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_interrupts_does_each_thing_once() {
    let stage = Stage::open().await;
    let body = json!({ "model": "sim", "input": script(0) });
    let url = stage.server.url("/v1/responses");
    let response = sent(url, "whole".to_owned(), body.clone()).await.unwrap();
    assert_eq!(response["status"], "completed", "{response:#}");
    assert_eq!(check_calls(&response, "whole"), 0);
    check_effects(&stage, 0, &response, "whole");
    assert_eq!(check_model(&stage, 0, "whole"), 0);
    assert_eq!(stage.orders.order("1001").unwrap().notes.len(), 5);
    let again = sent(stage.server.url("/v1/responses"), "whole".to_owned(), body).await.unwrap();
    assert_eq!(again["id"], response["id"], "the key was used");
    assert_eq!(stage.orders.order("1001").unwrap().notes.len(), 5, "and nothing is done again");
    let id = response["id"].as_str().unwrap();
    let (status, stored) = get(&client(), &stage.server.url(&format!("/v1/responses/{id}"))).await;
    assert_eq!((status, &stored["id"]), (200, &response["id"]));
}
