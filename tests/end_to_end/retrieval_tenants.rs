//! Tenants whose documents are alike to the last word but one, and so are their vectors: none ever finds another's.
//!
//! `WAGGLE_CANARY_TENANTS` says how many tenants there are (10 unless told), `WAGGLE_CANARY_REQUESTS` how many questions
//! they ask (500 unless told).

use crate::neighbours::tenants::{key_of, with_tenants};
use crate::retrieval_support::{Shelf, embedding, said, text, turn_body};
use crate::support::Server;
use crate::tenants_support::Caller;
use futures::StreamExt as _;
use serde_json::{Value, json};

const TENANTS_DEFAULT: usize = 10;
const QUESTIONS_DEFAULT: usize = 500;
/// Questions under way at once, over all tenants.
const AT_ONCE: usize = 16;
const QUESTION: &str = "What is the code of the vault? [1]";

fn from_environment(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn name(number: usize) -> String {
    format!("tenant-{number:03}")
}

/// The word by which a tenant's document differs from all others.
fn canary(number: usize) -> String {
    format!("canary{number:03}")
}

/// A tenant with its document.
struct Owner {
    number: usize,
    shelf: Shelf,
    store: String,
    file: String,
}

impl Owner {
    async fn new(server: &Server, number: usize) -> Self {
        let shelf = Shelf::of(Caller::with(server, &key_of(&name(number))));
        let document =
            format!("The code of the vault is {}, and nobody else may know the code.", canary(number));
        let (store, file) = shelf.store_of("vault.txt", &document).await;
        Self { number, shelf, store, file }
    }

    /// All that is told holds this tenant's canary, and no other's.
    fn check(&self, told: &str, how: &str) {
        let canaries: Vec<&str> =
            told.match_indices("canary").filter_map(|(at, _)| told.get(at..at + 9)).collect();
        let own = canary(self.number);
        assert!(!canaries.is_empty(), "{how}: tenant {} is told nothing: {told}", self.number);
        assert!(
            canaries.iter().all(|found| *found == own),
            "{how}: tenant {} is told {canaries:?}",
            self.number
        );
    }

    /// Asks in one of the ways there are.
    async fn ask(&self, way: usize) {
        let retrieval = json!({ "vector_store_ids": [self.store], "query": QUESTION });
        match way % 4 {
            0 => {
                let found = self
                    .shelf
                    .search(&self.store, &json!({ "query": QUESTION, "max_num_results": 50 }))
                    .await;
                assert_eq!(found.len(), 1, "{found:?}");
                self.check(text(&found[0]), "search");
            }
            1 => {
                let found = self.shelf.done("POST", "/v1/retrieval/search", &retrieval).await;
                self.check(&found.to_string(), "retrieval");
            }
            2 => {
                let body = json!({ "knowledge_id": self.store, "query": QUESTION, "retrieval_setting": { "top_k": 5 } });
                self.check(&self.shelf.done("POST", "/retrieval", &body).await.to_string(), "Dify");
            }
            _ => {
                // Among them are answers that were given before, to this tenant.
                let response = self.shelf.turn(&self.store, QUESTION).await.json();
                self.check(&response["output"][0]["results"].to_string(), "a turn");
                assert!(
                    said(&response).1.iter().all(|cited| cited["file_id"] == self.file.as_str()),
                    "{response}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_ever_finds_what_another_knows() {
    let tenants = from_environment("WAGGLE_CANARY_TENANTS", TENANTS_DEFAULT);
    let questions = from_environment("WAGGLE_CANARY_REQUESTS", QUESTIONS_DEFAULT);
    let names: Vec<String> = (0..tenants).map(name).collect();
    let setup = embedding().args(&["--variable", "answers=model", "--variable", "answer_cache=on"]);
    let server = with_tenants(setup, names.iter().map(|name| (name.as_str(), ""))).start();
    let mut owners = Vec::new();
    for number in 0..tenants {
        owners.push(Owner::new(&server, number).await);
    }
    // Neighbours in time are different tenants, and each asks in every way.
    futures::stream::iter(0..questions)
        .for_each_concurrent(AT_ONCE, |question| {
            let owner = &owners[question % tenants];
            owner.ask(question / tenants + question % tenants)
        })
        .await;
    for (owner, neighbour) in owners.iter().zip(owners.iter().skip(1)) {
        check_refused(owner, neighbour).await;
    }
}

/// What is a neighbour's is answered as what is nobody's.
async fn check_refused(owner: &Owner, neighbour: &Owner) {
    let (caller, store, file) = (&owner.shelf.caller, &neighbour.store, &neighbour.file);
    for path in [
        format!("/v1/files/{file}"),
        format!("/v1/files/{file}/content"),
        format!("/v1/vector_stores/{store}"),
        format!("/v1/vector_stores/{store}/files"),
        format!("/v1/vector_stores/{}/files/{file}", owner.store),
    ] {
        assert_eq!(caller.status(&path).await, 404, "{path}");
    }
    let query = json!({ "query": QUESTION });
    let both = json!({ "query": QUESTION, "vector_store_ids": [owner.store, store] });
    let dify = json!({ "query": QUESTION, "knowledge_id": store, "retrieval_setting": { "top_k": 5 } });
    for (path, body) in [
        (format!("/v1/vector_stores/{store}/search"), &query),
        ("/v1/retrieval/search".to_owned(), &both),
        ("/retrieval".to_owned(), &dify),
        (format!("/v1/vector_stores/{}/files", owner.store), &json!({ "file_id": file })),
        ("/v1/responses".to_owned(), &turn_body(store, QUESTION)),
    ] {
        let answer = caller.post(&path, body).await;
        assert!(answer.status == 404 && !answer.text.contains("canary"), "{path}: {answer:?}");
    }
    for path in [format!("/v1/files/{file}"), format!("/v1/vector_stores/{store}")] {
        let deleted = caller.request("DELETE", &path).send().await.unwrap();
        assert_eq!(deleted.status(), 404, "{path}");
    }
    let listed = owner.shelf.done("GET", "/v1/vector_stores", &Value::Null).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
}
