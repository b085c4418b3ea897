//! Turns of shared conversations, one after another, through a crash; and what a crash leaves of an idempotency key.

use crate::support::{PATIENCE, Server, Setup, client, eventually, get, post};
use model_sim::{Running, SimConfig};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
const CONVERSATIONS: usize = 2;
/// Turns of each client before the crash, and after it.
const TURNS: usize = 6;
/// How many recorded requests a test needs at most.
const REQUESTS_MAX: usize = 1_000;
/// Longer than the lease of whoever was cut off.
const LEASE_PATIENCE: Duration = Duration::from_secs(40);

async fn model() -> Running {
    let config = SimConfig { recorded_requests_max: REQUESTS_MAX, ..SimConfig::default() };
    model_sim::start(config).await.unwrap()
}

fn server(model: &Running) -> Server {
    // Without summaries, a model sees what was said and nothing else.
    let setup = Setup::application().args(&["--variable", "summary=off"]);
    setup.env("OPENAI_BASE_URL", &format!("{}/v1", model.url())).start()
}

/// A client's turns, one after another, until the server is gone: the text of each, and whether it was acknowledged.
async fn turns(
    url: String,
    conversations: Vec<String>,
    name: String,
    count: usize,
) -> Vec<(usize, String, bool)> {
    let http = client();
    let mut sent = Vec::new();
    for number in 0..count {
        let conversation = number % CONVERSATIONS;
        let text = format!("{name} turn {number}");
        let body = json!({"input": text, "conversation": conversations[conversation]});
        let answer = http.post(&url).json(&body).send().await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        let whole = match answer {
            Ok(answer) => answer.json::<Value>().await.is_ok(),
            Err(_) => false,
        };
        assert!(matches!(status, None | Some(200)), "{text}: {status:?}");
        sent.push((conversation, text, whole));
        if !whole {
            break;
        }
    }
    sent
}

async fn storm(
    url: String,
    conversations: &[String],
    round: &str,
    count: usize,
) -> Vec<(usize, String, bool)> {
    let clients = (0..CLIENTS).map(|number| {
        let name = format!("{round} client {number}");
        tokio::spawn(turns(url.clone(), conversations.to_vec(), name, count))
    });
    let mut sent = Vec::new();
    for client in futures::future::join_all(clients).await {
        sent.extend(client.unwrap());
    }
    sent
}

/// All that was said in a conversation, oldest first.
async fn said(server: &Server, conversation: &str) -> Vec<String> {
    let (mut said, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/conversations/{conversation}/items?order=asc&limit=100&after={after}");
        let (status, page) = get(&client(), &server.url(&path)).await;
        assert_eq!(status, 200, "{page}");
        let items = page["data"].as_array().unwrap();
        said.extend(items.iter().map(|item| item["content"][0]["text"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            return said;
        }
        page["last_id"].as_str().unwrap().clone_into(&mut after);
    }
}

/// What the model was told before each text, by that text.
fn told(model: &Running) -> HashMap<String, Vec<String>> {
    let read = |request: model_sim::RecordedRequest| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let messages = body["messages"].as_array().unwrap().iter();
        let mut texts: Vec<String> =
            messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect();
        (texts.pop().unwrap(), texts)
    };
    model.handle().requests().into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_shared_conversations_are_one_after_another_through_kill_9() {
    let model = model().await;
    let mut server = server(&model);
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        let (_, conversation) = post(&client(), &server.url("/v1/conversations"), &json!({})).await;
        conversations.push(conversation["id"].as_str().unwrap().to_owned());
    }
    let mut sent = storm(server.url("/v1/responses"), &conversations, "first", TURNS).await;
    assert!(sent.iter().all(|(_, _, acknowledged)| *acknowledged), "{sent:?}");
    let before = model.handle().stats().requests;
    let cut = storm(server.url("/v1/responses"), &conversations, "second", 1_000);
    let handle = model.handle();
    let mut cut = std::pin::pin!(cut);
    let under_way = eventually("turns under way", || handle.stats().requests > before + CLIENTS as u64);
    match futures::future::select(cut.as_mut(), std::pin::pin!(under_way)).await {
        futures::future::Either::Left(_) => panic!("the storm is over before the crash"),
        futures::future::Either::Right(_) => server.kill(),
    }
    sent.extend(cut.await);
    server.restart();
    sent.extend(storm(server.url("/v1/responses"), &conversations, "third", TURNS).await);
    let told = told(&model);
    for (index, conversation) in conversations.iter().enumerate() {
        let said = said(&server, conversation).await;
        let places: Vec<usize> = sent
            .iter()
            .filter(|(conversation, _, _)| *conversation == index)
            .filter_map(|(_, text, acknowledged)| {
                let found: Vec<usize> = (0..said.len()).filter(|at| said[*at] == *text).collect();
                assert!(found.len() <= 1, "'{text}' is there {} times", found.len());
                assert!(!acknowledged || found.len() == 1, "'{text}' is missing");
                found.first().copied()
            })
            .collect();
        assert_eq!(places.len() * 2, said.len(), "each turn is two items, and no other is there");
        for place in places {
            let seen = &told[&said[place]];
            assert!(said[..place].ends_with(seen), "'{}' saw {seen:?} of {said:?}", said[place]);
            assert!(seen.len() == place || seen.len() > 30, "'{}' saw too little: {seen:?}", said[place]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_turn_a_crash_interrupted_never_calls_the_model_again() {
    let model = model().await;
    let mut server = server(&model);
    let body = json!({"input": "[sim: headers_ms=60000] hi"});
    let send = async |server: &Server| {
        let request = client().post(server.url("/v1/responses")).header("idempotency-key", "k").json(&body);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((
            status,
            answer.json::<Value>().await.ok()?["error"]["code"].as_str().unwrap_or_default().to_owned(),
        ))
    };
    let handle = model.handle();
    let mut first = Box::pin(send(&server));
    let mut called = Box::pin(eventually("a call of the model", || handle.stats().requests == 1));
    match futures::future::select(first.as_mut(), called.as_mut()).await {
        futures::future::Either::Left(_) => panic!("the model is still thinking"),
        futures::future::Either::Right(_) => {}
    }
    // The client stays until the host is dead: one that leaves would end the turn in order.
    let pid = server.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    assert_eq!(first.await, None);
    server.restart();
    let until = Instant::now() + LEASE_PATIENCE;
    loop {
        let (status, code) = send(&server).await.unwrap();
        if status == 422 {
            assert_eq!(code, "idempotency_interrupted");
            break;
        }
        assert_eq!((status, &*code), (409, "idempotency_key_in_use"));
        assert!(Instant::now() < until, "the claim of a dead host never ends");
    }
    assert_eq!(model.handle().stats().requests, 1);
    let said = json!({"input": "hi"});
    let keyed = async |server: &Server| {
        let request =
            client().post(server.url("/v1/responses")).header("idempotency-key", "another").json(&said);
        tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap().json::<Value>().await.unwrap()
    };
    let answer = keyed(&server).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    server.restart();
    assert_eq!(keyed(&server).await, answer);
    assert_eq!(model.handle().stats().requests, 2);
}
