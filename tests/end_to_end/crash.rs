//! The plug is pulled during a storm of turns, again and again: what was acknowledged is there, once, whole, in order.
//!
//! `WAGGLE_CRASH_ROUNDS` says how often (10 unless told). A conversation lives through several crashes before a new one
//! takes its place, so that what is read after each stays bounded; at the end all of them are read once more.

use crate::streaming::Events;
use crate::support::{Server, Setup, client, get, post};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const ROUNDS_DEFAULT: usize = 10;
const CLIENTS: usize = 8;
/// Conversations that all clients append to, besides one for each client alone.
const SHARED_CONVERSATIONS: usize = 2;
/// How many crashes a conversation lives through.
const ROUNDS_PER_CONVERSATION: usize = 5;
/// The longest storm. Turns take a few milliseconds, so every moment of a turn is hit sooner or later.
const STORM_MICROSECONDS_MAX: u64 = 400_000;
const READERS: usize = 8;

/// One turn that a client sent. Its text is like no other.
struct Turn {
    conversation: usize,
    text: String,
    /// The id of its response, when the turn was reported complete; else the crash came first, and both are right:
    /// that it is there, and that it is not.
    acknowledged: Option<String>,
}

/// The conversations that live at one time, and all that was sent to them.
struct Generation {
    conversations: Vec<String>,
    turns: Vec<Turn>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_turn_is_lost_or_doubled_by_kill_9() {
    let rounds = std::env::var("WAGGLE_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().unwrap());
    let mut server = Setup::application().start();
    let mut generations: Vec<Generation> = Vec::new();
    let mut sent_by_client = [0; CLIENTS];
    for round in 0..rounds {
        if round % ROUNDS_PER_CONVERSATION == 0 {
            generations.push(Generation::begin(&server).await);
        }
        let generation = generations.last_mut().unwrap();
        let turns = storm(&mut server, &generation.conversations, &mut sent_by_client).await;
        server.restart();
        check_responses(&server, &turns, round).await;
        generation.turns.extend(turns);
        generation.check(&server, round).await;
    }
    let turns: Vec<&Turn> = generations.iter().flat_map(|generation| &generation.turns).collect();
    let acknowledged = turns.iter().filter(|turn| turn.acknowledged.is_some()).count();
    println!("{rounds} crashes, {} turns sent, {acknowledged} acknowledged", turns.len());
    assert!(acknowledged > rounds, "the storms were no storms");
    for generation in &generations {
        generation.check(&server, rounds).await;
        check_responses(&server, &generation.turns, rounds).await;
    }
}

/// A number nobody can foresee, below `bound`.
pub(crate) fn random(bound: u64) -> u64 {
    // Each state is seeded anew.
    RandomState::new().hash_one(bound) % bound
}

/// All clients send turns until the server is killed.
async fn storm(
    server: &mut Server,
    conversations: &[String],
    sent_by_client: &mut [u64; CLIENTS],
) -> Vec<Turn> {
    let url = server.url("/v1/responses");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let storming = Storming {
                client,
                sent: sent_by_client[client],
                url: url.clone(),
                conversations: conversations.to_vec(),
            };
            tokio::spawn(storming.run())
        })
        .collect();
    // Not a wait for something: the moment of the crash is what is drawn here.
    tokio::time::sleep(Duration::from_micros(random(STORM_MICROSECONDS_MAX))).await;
    server.kill();
    let mut all = Vec::new();
    for (client, task) in clients.into_iter().enumerate() {
        let turns = task.await.unwrap();
        sent_by_client[client] += turns.len() as u64;
        all.extend(turns);
    }
    all
}

/// One client of a storm.
struct Storming {
    client: usize,
    sent: u64,
    url: String,
    conversations: Vec<String>,
}

impl Storming {
    async fn run(self) -> Vec<Turn> {
        let http = client();
        let mut turns = Vec::new();
        for number in self.sent.. {
            let shared = CLIENTS + usize::try_from(number).unwrap() % SHARED_CONVERSATIONS;
            let conversation = if number % 3 == 0 { shared } else { self.client };
            let text = format!("client {} turn {number}", self.client);
            let stream = number % 2 == 0;
            let body =
                json!({"input": text, "conversation": self.conversations[conversation], "stream": stream});
            let acknowledged = self.send(&http, &body, stream).await;
            let crashed = acknowledged.is_none();
            turns.push(Turn { conversation, text, acknowledged });
            if crashed {
                break;
            }
        }
        turns
    }

    /// Sends a turn and returns its response's id; `None` when the server died before it said that the turn is complete.
    async fn send(&self, http: &reqwest::Client, body: &Value, stream: bool) -> Option<String> {
        let answer = http.post(&self.url).json(body).send().await.ok()?;
        let status = answer.status();
        let response =
            if stream { completed(Events::new(answer)).await? } else { answer.json().await.ok()? };
        assert_eq!((status.as_u16(), response["status"].as_str()), (200, Some("completed")), "{response}");
        Some(response["id"].as_str().unwrap().to_owned())
    }
}

/// The response of the stream's last event; `None` when the stream was cut off before.
async fn completed(mut events: Events) -> Option<Value> {
    loop {
        let event = events.next().await.ok()?.expect("a stream does not end before its last event");
        match event.name.as_str() {
            "response.completed" => return Some(event.json()["response"].take()),
            "response.failed" | "response.incomplete" | "error" => panic!("{}", event.data),
            _ => {}
        }
    }
}

/// Every acknowledged turn has its response.
async fn check_responses(server: &Server, turns: &[Turn], round: usize) {
    let http = client();
    let check = |turn: &Turn| {
        let (http, text) = (http.clone(), turn.text.clone());
        let id = turn.acknowledged.clone();
        async move {
            let Some(id) = id else { return };
            let (status, response) = get(&http, &server.url(&format!("/v1/responses/{id}"))).await;
            assert_eq!(status, 200, "after round {round} the response of '{text}' is missing: {response}");
            assert_eq!(
                response["output"][0]["content"][0]["text"],
                format!("You said: {text}"),
                "{response}"
            );
        }
    };
    futures::stream::iter(turns).for_each_concurrent(READERS, check).await;
}

impl Generation {
    async fn begin(server: &Server) -> Self {
        let http = client();
        let mut conversations = Vec::new();
        for _ in 0..CLIENTS + SHARED_CONVERSATIONS {
            let (_, conversation) = post(&http, &server.url("/v1/conversations"), &json!({})).await;
            conversations.push(conversation["id"].as_str().unwrap().to_owned());
        }
        Self { conversations, turns: Vec::new() }
    }

    async fn check(&self, server: &Server, round: usize) {
        let checks = self.conversations.iter().enumerate().map(|(index, id)| async move {
            let found = whole_turns(&items(server, id).await);
            let sent: Vec<&Turn> = self.turns.iter().filter(|turn| turn.conversation == index).collect();
            check_conversation(&sent, &found, &format!("after round {round}, {id}"));
            // A turn and its response are one commit: neither is there without the other.
            self.check_unacknowledged(server, &found).await;
        });
        futures::stream::iter(checks).for_each_concurrent(READERS, |check| check).await;
    }

    /// A turn that was not acknowledged, and is there all the same, has its response.
    async fn check_unacknowledged(&self, server: &Server, found: &[Found]) {
        let open: HashSet<&str> = self
            .turns
            .iter()
            .filter(|turn| turn.acknowledged.is_none())
            .map(|turn| turn.text.as_str())
            .collect();
        for turn in found.iter().filter(|turn| open.contains(turn.text.as_str())) {
            let (status, response) =
                get(&client(), &server.url(&format!("/v1/responses/{}", turn.response))).await;
            assert_eq!(status, 200, "'{}' is there without its response: {response}", turn.text);
        }
    }
}

/// A turn as a conversation holds it.
pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) response: String,
}

/// All items of a conversation, oldest first.
pub(crate) async fn items(server: &Server, conversation: &str) -> Vec<Value> {
    let http = client();
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/conversations/{conversation}/items?order=asc&limit=100&after={after}");
        let (status, mut page) = get(&http, &server.url(&path)).await;
        assert_eq!(status, 200, "{page}");
        items.append(page["data"].as_array_mut().unwrap());
        if page["has_more"] == false {
            return items;
        }
        page["last_id"].as_str().unwrap().clone_into(&mut after);
    }
}

/// Pairs what was said with what was answered; nothing is left over.
pub(crate) fn whole_turns(items: &[Value]) -> Vec<Found> {
    const NONCE_CHARACTERS: usize = 24;
    let text = |item: &Value| item["content"][0]["text"].as_str().unwrap().to_owned();
    let nonce = |item: &Value| {
        item["id"].as_str().unwrap().strip_prefix("msg_").unwrap().get(..NONCE_CHARACTERS).unwrap().to_owned()
    };
    let turn = |pair: &[Value]| {
        let [said, answered] = pair else { panic!("half a turn: {pair:?}") };
        assert_eq!((&said["role"], &answered["role"]), (&json!("user"), &json!("assistant")), "{pair:?}");
        assert_eq!(text(answered), format!("You said: {}", text(said)), "two turns are mixed up");
        assert_eq!(nonce(said), nonce(answered), "two turns are mixed up");
        Found { text: text(said), response: format!("resp_{}", nonce(said)) }
    };
    items.chunks(2).map(turn).collect()
}

fn check_conversation(sent: &[&Turn], found: &[Found], context: &str) {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, turn) in found.iter().enumerate() {
        let earlier = places.insert(&turn.text, place);
        assert_eq!(earlier, None, "{context}: '{}' is there twice", turn.text);
    }
    let known: HashSet<&str> = sent.iter().map(|turn| turn.text.as_str()).collect();
    let foreign = found.iter().find(|turn| !known.contains(turn.text.as_str()));
    assert!(foreign.is_none(), "{context}: '{}' was never sent here", foreign.unwrap().text);
    let mut last_of_client: HashMap<&str, usize> = HashMap::new();
    // In the order in which each client sent them.
    for turn in sent {
        let place = places.get(turn.text.as_str());
        assert!(place.is_some() || turn.acknowledged.is_none(), "{context}: '{}' is missing", turn.text);
        let Some(&place) = place else { continue };
        let client = turn.text.split(" turn ").next().unwrap();
        let earlier = last_of_client.insert(client, place);
        assert!(earlier < Some(place), "{context}: '{}' stands before an earlier one", turn.text);
    }
}
