//! The plug is pulled while files are taken in, again and again: what was acknowledged is found whole in the end, and at no
//! time is a part of a file found.
//!
//! `WAGGLE_INGESTION_CRASH_ROUNDS` says how often (5 unless told): a round takes seconds, and more the more files there are.

use crate::crash::random;
use crate::retrieval_support::{Shelf, embedding, id};
use crate::support::Server;
use crate::tenants_support::Caller;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const ROUNDS_DEFAULT: usize = 5;
const CLIENTS: usize = 4;
/// Paragraphs of a file, each of which is more than a chunk may hold of two.
const PARAGRAPHS: usize = 8;
const PARAGRAPH_WORDS: usize = 70;
/// The longest storm. A file takes some milliseconds, so every moment of one is hit sooner or later.
const STORM_MICROSECONDS_MAX: u64 = 800_000;
/// Files that are looked at while they are being taken in, of those of a round.
const WATCHED_MAX: usize = 8;

fn shelf(server: &Server) -> Shelf {
    Shelf::of(Caller::nobody(server))
}

/// A word that is in one file alone, and in each of its paragraphs. Letters only, so that it stays one word.
fn mark(number: usize) -> String {
    let letters = number.to_string();
    let letters = letters.bytes().map(|digit| char::from(b'b' + (digit - b'0') * 2));
    format!("mark{}mark", letters.collect::<String>())
}

fn content(number: usize) -> String {
    let mark = mark(number);
    let paragraph = |part: usize| {
        let words: Vec<String> = (0..PARAGRAPH_WORDS).map(|word| format!("w{part}x{word}")).collect();
        format!("{mark} {}.", words.join(" "))
    };
    (0..PARAGRAPHS).map(paragraph).collect::<Vec<_>>().join("\n\n")
}

/// Uploads files and adds them until the server is gone. Those whose addition was acknowledged, by their numbers.
async fn storm(shelf: Shelf, store: String, numbers: impl Iterator<Item = usize>) -> BTreeMap<usize, String> {
    let mut acknowledged = BTreeMap::new();
    for number in numbers {
        let uploaded = shelf.try_upload(&format!("{number}.md"), content(number).as_bytes()).await;
        let Some((status, file)) = uploaded else { break };
        assert_eq!(status, 200, "{file}");
        let strategy = json!({ "max_chunk_size_tokens": 400, "chunk_overlap_tokens": 0 });
        let body =
            json!({ "file_id": file["id"], "chunking_strategy": { "type": "static", "static": strategy } });
        let path = format!("/v1/vector_stores/{store}/files");
        let Ok(answer) = shelf.caller.request("POST", &path).json(&body).send().await else { break };
        let status = answer.status().as_u16();
        let Ok(member) = answer.json::<Value>().await else { break };
        assert_eq!(status, 200, "{member}");
        acknowledged.insert(number, id(&file));
    }
    acknowledged
}

/// How many chunks of a file are found.
async fn chunks(shelf: &Shelf, store: &str, number: usize) -> usize {
    shelf.search(store, &json!({ "query": mark(number), "max_num_results": 50 })).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_file_is_found_whole_after_kill_9_and_none_in_part() {
    let rounds =
        std::env::var("WAGGLE_INGESTION_CRASH_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().unwrap());
    // Vectors are made, and words are searched: what is found does not depend on what is alike.
    let variables = ["--variable", "search_mode=lexical", "--variable", "search_neighbours=0"];
    let mut server = embedding().args(&variables).start();
    let store = shelf(&server).store(&[]).await;
    let mut acknowledged: BTreeMap<usize, String> = BTreeMap::new();
    for round in 0..rounds {
        let storms: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let first = 1_000 * (round + 1) + client;
                let numbers = (first..first + 1_000).step_by(CLIENTS);
                tokio::spawn(storm(shelf(&server), store.clone(), numbers))
            })
            .collect();
        // Not a wait for something: the moment of the crash is what is drawn here.
        tokio::time::sleep(Duration::from_micros(random(STORM_MICROSECONDS_MAX))).await;
        server.kill();
        let mut newest = BTreeMap::new();
        for storm in storms {
            newest.extend(storm.await.unwrap());
        }
        server.restart();
        check_round(&shelf(&server), &store, &newest, round).await;
        acknowledged.extend(newest);
    }
    println!("{rounds} crashes, {} files acknowledged", acknowledged.len());
    assert!(acknowledged.len() > rounds, "the storms were no storms");
    check_all(&shelf(&server), &store, &acknowledged).await;
}

/// Looks at files while they are being taken in, and once they are.
async fn check_round(shelf: &Shelf, store: &str, newest: &BTreeMap<usize, String>, round: usize) {
    let watched: Vec<usize> = newest.keys().copied().take(WATCHED_MAX).collect();
    let mut meanwhile = Vec::new();
    for number in &watched {
        meanwhile.push(chunks(shelf, store, *number).await);
    }
    shelf.settled(store).await;
    for (number, meanwhile) in watched.iter().zip(meanwhile) {
        let whole = chunks(shelf, store, *number).await;
        assert!(whole > 1, "after round {round}, {whole} chunks of file {number} are found");
        assert!(
            meanwhile == 0 || meanwhile == whole,
            "after round {round}, {meanwhile} of {whole} chunks of file {number} were found before it was whole"
        );
    }
}

/// Every acknowledged file is completed, and all of its text is there.
async fn check_all(shelf: &Shelf, store: &str, acknowledged: &BTreeMap<usize, String>) {
    for (number, file) in acknowledged {
        let member = shelf.member(store, file).await;
        assert_eq!(member["status"], "completed", "file {number}: {member}");
        let path = format!("/v1/vector_stores/{store}/files/{file}/content");
        let page = shelf.done("GET", &path, &Value::Null).await;
        let parts = page["data"].as_array().unwrap();
        let text: Vec<&str> = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
        let text = text.join("\n");
        assert_eq!(text.matches(&mark(*number)).count(), PARAGRAPHS, "file {number} is not whole: {text}");
    }
}
