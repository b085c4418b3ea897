//! Many clients hammer a few conversations, go away at any moment and ask again, while the plug of the server is pulled.
//!
//! Each turn has an idempotency key and is sent until it is answered, or until nobody can know any more how it ended. Then
//! all of it is read once more: nothing answered is lost, doubled or out of order, turns are numbered without a gap, no
//! model was asked twice under one key, and every answer is given again as it was.
//!
//! `WAGGLE_HAMMER_SECONDS` says for how long (8 unless told). In the long run:
//!
//! ```sh
//! WAGGLE_HAMMER_SECONDS=60 cargo test --test end_to_end hammer -- --nocapture
//! ```

use crate::crash::{Found, items, random, whole_turns};
use crate::support::{PATIENCE, Server, Setup, client, get, post};
use crate::tenants_support::{Answer, Model};
use futures::StreamExt as _;
use model_sim::{Behaviour, Outcome, SimConfig};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const SECONDS_DEFAULT: u64 = 8;
const CLIENTS: usize = 64;
const SESSIONS: usize = 8;
/// One attempt in so many is left by its client.
const LEFT_ONE_IN: u64 = 4;
/// When, at the latest. A turn that does not wait takes some 10 ms.
const LEFT_MICROSECONDS_MAX: u64 = 60_000;
/// The longest pause before a turn is sent again.
const PAUSE_MICROSECONDS_MAX: u64 = 50_000;
/// The server dies once in each span of so many seconds: the dead hold a conversation up for some 8 to 12 s.
const SECONDS_PER_CRASH: u64 = 20;
/// How many answers each client has at least, however slow the machine is.
const ANSWERED_MIN: usize = 2;
/// How long one turn may take with all that happens to it.
const TURN_PATIENCE: Duration = Duration::from_secs(180);
const READERS: usize = 16;

/// By which route a turn goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    Streamed,
    Session,
}

/// How a turn ended for its client.
#[derive(Debug)]
enum End {
    /// By this answer, as it was read.
    Answered(String),
    /// By learning that it was cut off and is not begun again under its key.
    Given,
}

#[derive(Debug)]
struct Turn {
    session: usize,
    how: How,
    /// Like no other; with its client and number. Its idempotency key as well.
    text: String,
    end: End,
}

/// What all clients share.
struct Stage {
    url: watch::Receiver<String>,
    sessions: Vec<String>,
    until: Instant,
    attempts: AtomicU64,
    left: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_and_servers_that_die_lose_double_and_reorder_nothing() {
    let seconds =
        std::env::var("WAGGLE_HAMMER_SECONDS").map_or(SECONDS_DEFAULT, |text| text.parse().unwrap());
    let model = slow_model().await;
    let mut server = model.serve(Setup::application().args(&settings())).start();
    let sessions = begin_sessions(&server).await;
    let (told, url) = watch::channel(server.url(""));
    let until = Instant::now() + Duration::from_secs(seconds);
    let stage =
        Arc::new(Stage { url, sessions, until, attempts: AtomicU64::new(0), left: AtomicU64::new(0) });
    let clients: Vec<_> = (0..CLIENTS).map(|index| tokio::spawn(hammer(Arc::clone(&stage), index))).collect();
    let crashes = pull_the_plug(&mut server, &told, seconds).await;
    let mut turns = Vec::new();
    for client in clients {
        turns.extend(client.await.unwrap());
    }
    let answered = turns.iter().filter(|turn| matches!(turn.end, End::Answered(_))).count();
    let (attempts, left) = (stage.attempts.load(Relaxed), stage.left.load(Relaxed));
    println!(
        "{seconds} s, {crashes} crashes: {} turns sent {attempts} times, left {left} times; {answered} answered, {} given up",
        turns.len(),
        turns.len() - answered
    );
    assert!(answered >= CLIENTS * ANSWERED_MIN, "that was no hammer");
    for (index, session) in stage.sessions.iter().enumerate() {
        let of_session: Vec<&Turn> = turns.iter().filter(|turn| turn.session == index).collect();
        check_session(&server, session, &of_session).await;
    }
    check_calls(&model, &turns).await;
    check_replays(&server, &stage.sessions, &turns).await;
    check_calls(&model, &turns).await;
}

fn settings() -> Vec<&'static str> {
    [
        // A model that is cut off is told as that, not talked over.
        "fallback=error",
        "conversation_wait_ms=60000",
        "window_items_max=4",
        "session_turns_max=1000000",
    ]
    .iter()
    .flat_map(|variable| ["--variable", variable])
    .collect()
}

/// A model that takes long enough for clients to leave in the middle, and remembers all it was asked.
async fn slow_model() -> Model {
    let mut behaviour = Behaviour::default();
    behaviour.set("first_token_ms", "4").unwrap();
    behaviour.set("tokens_per_second", "2000").unwrap();
    let config = SimConfig { behaviour, recorded_requests_max: 1_000_000, ..SimConfig::default() };
    Model(model_sim::start(config).await.unwrap())
}

async fn begin_sessions(server: &Server) -> Vec<String> {
    let mut sessions = Vec::new();
    for index in 0..SESSIONS {
        let first = json!({"user": format!("user-{index}"), "query": "the first"});
        let (status, begun) = post(&client(), &server.url("/v1/chat"), &first).await;
        assert_eq!((status, &begun["seq"]), (200, &json!(1)), "{begun}");
        sessions.push(begun["session"].as_str().unwrap().to_owned());
    }
    sessions
}

/// Kills the server and starts it again, at a moment nobody can foresee of each span. Returns how often.
async fn pull_the_plug(server: &mut Server, told: &watch::Sender<String>, seconds: u64) -> u64 {
    let crashes = seconds.div_ceil(SECONDS_PER_CRASH);
    let span_ms = seconds * 1000 / crashes;
    let began = Instant::now();
    for crash in 0..crashes {
        // Not a wait for something: the moment of the crash is what is drawn here.
        let at = Duration::from_millis(crash * span_ms + random(span_ms));
        tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
        tokio::task::block_in_place(|| server.restart());
        told.send_replace(server.url(""));
    }
    crashes
}

/// One client: turn after turn, each sent until it has an end.
async fn hammer(stage: Arc<Stage>, index: usize) -> Vec<Turn> {
    let http = client();
    let mut turns = Vec::new();
    let mut answered = 0;
    for number in 0.. {
        if Instant::now() >= stage.until && answered >= ANSWERED_MIN {
            break;
        }
        let how = [How::Plain, How::Streamed, How::Session][number % 3];
        let session = (index + number / 3) % SESSIONS;
        let text = format!("client {index} turn {number}");
        let end = until_ended(&stage, &http, (session, how, &text)).await;
        answered += usize::from(matches!(end, End::Answered(_)));
        turns.push(Turn { session, how, text, end });
    }
    turns
}

type Sent<'a> = (usize, How, &'a str);

async fn until_ended(stage: &Stage, http: &reqwest::Client, turn: Sent<'_>) -> End {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < TURN_PATIENCE, "{turn:?} has no end");
        stage.attempts.fetch_add(1, Relaxed);
        let url = stage.url.borrow().clone();
        let answer = exchange(request(http, &url, &stage.sessions, turn));
        let read = if random(LEFT_ONE_IN) == 0 {
            let left = Duration::from_micros(random(LEFT_MICROSECONDS_MAX));
            tokio::time::timeout(left, answer).await.ok()
        } else {
            Some(answer.await)
        };
        match read {
            None => {
                stage.left.fetch_add(1, Relaxed);
            }
            // The server died.
            Some(Err(_)) => {}
            Some(Ok(answer)) => {
                if let Some(end) = judge(turn.1, &answer) {
                    return end;
                }
            }
        }
        // As clients do, so that not all come back at once.
        tokio::time::sleep(Duration::from_micros(random(PAUSE_MICROSECONDS_MAX))).await;
    }
}

fn request(
    http: &reqwest::Client,
    url: &str,
    sessions: &[String],
    (session, how, text): Sent<'_>,
) -> reqwest::RequestBuilder {
    let id = &sessions[session];
    let (path, body) = match how {
        How::Session => {
            ("/v1/chat", json!({"user": format!("user-{session}"), "session": id, "query": text}))
        }
        _ => {
            let stream = how == How::Streamed;
            ("/v1/responses", json!({"conversation": id, "input": text, "stream": stream}))
        }
    };
    http.post(format!("{url}{path}")).header("idempotency-key", text.replace(' ', "-")).json(&body)
}

async fn exchange(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

/// How a turn has ended by this answer; `None` when it is to be sent again.
fn judge(how: How, answer: &Answer) -> Option<End> {
    let whole = || Some(End::Answered(answer.text.clone()));
    match (answer.status, how) {
        (200, How::Streamed) => {
            let last = last_event(&answer.text);
            match last["type"].as_str() {
                Some("response.completed") => whole(),
                Some("response.failed") => Some(End::Given),
                _ => panic!("a stream ended with {last}"),
            }
        }
        (200, How::Plain) => match answer.json()["status"].as_str() {
            Some("completed") => whole(),
            // What became of it when its client left.
            Some("failed" | "cancelled") => Some(End::Given),
            _ => panic!("{answer:?}"),
        },
        (200, How::Session) => whole(),
        _ if answer.header("x-should-retry") == "false" => Some(End::Given),
        (422, _) if answer.code() == "idempotency_interrupted" => Some(End::Given),
        (409 | 429 | 503, _) => None,
        _ => panic!("{answer:?}"),
    }
}

/// The last event of a stream, whose numbers have no gap.
fn last_event(text: &str) -> Value {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    events.last().cloned().unwrap_or_else(|| panic!("no event in {text:?}"))
}

/// All of a session against what its clients know.
async fn check_session(server: &Server, session: &str, turns: &[&Turn]) {
    let found = whole_turns(&items(server, session).await);
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, Found { text, .. }) in found.iter().enumerate() {
        assert_eq!(places.insert(text, place), None, "{session}: '{text}' is there twice");
    }
    assert_eq!(places.remove("the first"), Some(0), "{session} does not begin as it began");
    let mut last_of_client: HashMap<&str, usize> = HashMap::new();
    // In the order in which each client sent them.
    for turn in turns {
        let place = places.remove(turn.text.as_str());
        match (&turn.end, place) {
            (End::Answered(answer), Some(place)) => check_answer(turn, answer, place, &found[place]),
            (End::Answered(_), None) => panic!("{session}: {turn:?} is missing"),
            (End::Given, Some(_)) => panic!("{session}: {turn:?} was given up, and is there"),
            (End::Given, None) => continue,
        }
        let client = turn.text.split(" turn ").next().unwrap();
        let earlier = last_of_client.insert(client, place.unwrap());
        assert!(earlier < place, "{session}: '{}' stands before an earlier one", turn.text);
    }
    assert!(places.is_empty(), "{session}: never sent here: {places:?}");
    let (status, read) = get(&client(), &server.url(&format!("/v1/sessions/{session}?limit=100"))).await;
    assert_eq!((status, &read["turns"]), (200, &json!(found.len())), "turns are numbered with gaps");
    let numbers: Vec<u64> =
        read["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    let newest = found.len() as u64;
    let expected: Range<u64> = newest.saturating_sub(100) + 1..newest + 1;
    assert_eq!(numbers, expected.collect::<Vec<_>>(), "{session}");
}

/// What a client was answered is what stands at its place.
fn check_answer(turn: &Turn, answer: &str, place: usize, found: &Found) {
    let said = format!("You said: {}", turn.text);
    let json: Value = match turn.how {
        How::Streamed => last_event(answer)["response"].take(),
        _ => serde_json::from_str(answer).unwrap(),
    };
    let (id, text) = match turn.how {
        How::Session => (&json["response_id"], &json["answer"]),
        _ => (&json["id"], &json["output"][0]["content"][0]["text"]),
    };
    assert_eq!((id, text), (&json!(found.response), &json!(said)), "{turn:?}");
    if turn.how == How::Session {
        assert_eq!(json["seq"], place + 1, "{turn:?} has another number than its place");
    }
}

/// No key has led to two calls of the model, and every answer to a whole one.
async fn check_calls(model: &Model, turns: &[Turn]) {
    let until = Instant::now() + PATIENCE;
    while model.0.handle().stats().in_flight > 0 {
        assert!(Instant::now() < until, "the model is still being asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut calls: HashMap<String, Vec<Option<Outcome>>> = HashMap::new();
    for request in model.0.handle().requests() {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let text = body["messages"].as_array().and_then(|messages| messages.last()?["content"].as_str());
        calls.entry(text.unwrap_or_else(|| panic!("{body}")).to_owned()).or_default().push(request.outcome);
    }
    for turn in turns {
        let outcomes = calls.remove(&turn.text).unwrap_or_default();
        match turn.end {
            End::Answered(_) => assert_eq!(outcomes, [Some(Outcome::Completed)], "{turn:?}"),
            End::Given => assert!(outcomes.len() <= 1, "{turn:?} was asked: {outcomes:?}"),
        }
    }
}

/// Every answer is given again under its key, byte by byte.
async fn check_replays(server: &Server, sessions: &[String], turns: &[Turn]) {
    let http = client();
    let url = server.url("");
    let replay = |turn: &Turn| {
        let Turn { session, how, text, end } = turn;
        let request = request(&http, &url, sessions, (*session, *how, text));
        let (context, answer) = match end {
            End::Answered(answer) => (format!("{turn:?}"), Some(answer.clone())),
            End::Given => (String::new(), None),
        };
        async move {
            let Some(answer) = answer else { return };
            let again = Answer::of(request).await;
            assert_eq!(again.header("idempotency-replayed"), "true", "{context}: {again:?}");
            assert_eq!(again.text, answer, "{context}");
        }
    };
    futures::stream::iter(turns).for_each_concurrent(READERS, replay).await;
}
