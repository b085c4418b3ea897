//! `search_knowledge(query)`: the tenant's documents, asked through the function that has them.

use super::text;
use crate::outcome::{Done, Fault, Outcome};
use crate::problem::Problem;
use crate::service::Service;
use crate::settings;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use waggle_conversation::Store;
use waggle_mcp::Fetch;
use waggle_platform::{NeighbourAnswer, NeighbourCall, Platform};
use waggle_tool::wire::{CallError, CallRequest};

const FUNCTION: &str = "retrieval";
const PATH: &str = "/v1/retrieval/search";
/// How long a search may be silent, in milliseconds: it may ask a model to understand the question.
const TIMEOUT_MS: u64 = 20_000;
/// Results, where a call does not say how many.
const RESULTS_DEFAULT: u64 = 5;
/// The most vector stores that are searched at once.
const VECTOR_STORES_MAX: usize = 16;
/// The variable that names the tenant's.
const VARIABLE: &str = "knowledge";

#[derive(Deserialize)]
struct Searched {
    data: Vec<Hit>,
    #[serde(default)]
    waggle: Told,
}

#[derive(Deserialize, Default)]
struct Told {
    #[serde(default)]
    passed_threshold: Option<bool>,
}

#[derive(Deserialize)]
struct Hit {
    file_id: String,
    filename: String,
    score: f64,
    content: Vec<Content>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    text: String,
}

impl<S: Store, F: Fetch, P: Platform> Service<S, F, P> {
    pub(super) async fn search_knowledge(
        &self,
        arguments: &Map<String, Value>,
        request: &CallRequest,
    ) -> Outcome {
        let stores = match request.vector_store_ids.as_slice() {
            [] => self.own_stores().await.map_err(|problem| {
                let told = "The knowledge base is not set up as it should be.";
                Fault::new(CallError::Failed, told).logged(problem.log.unwrap_or_default())
            })?,
            ids => ids.to_vec(),
        };
        if stores.is_empty() {
            return Err(Fault::new(CallError::Failed, "There is no knowledge base to search."));
        }
        let results = arguments.get("max_results").and_then(Value::as_u64).unwrap_or(RESULTS_DEFAULT);
        let body = json!({"vector_store_ids": stores, "query": text(arguments, "query"),
            "max_num_results": results, "extractive": false});
        let body = body.to_string().into_bytes();
        let call = NeighbourCall::post(FUNCTION, PATH, body, TIMEOUT_MS);
        let answer = self.platform.call_neighbour(call).await.map_err(|failure| Fault {
            text: "The knowledge base cannot be searched at the moment.".to_owned(),
            ..Fault::from(failure)
        })?;
        told(&answer)
    }

    /// The vector stores that the tenant has named: ids by commas, or a JSON array.
    async fn own_stores(&self) -> Result<Vec<String>, Problem> {
        let value = settings::text(&self.platform, VARIABLE).await?;
        let ids: Vec<String> = match serde_json::from_str(&value) {
            Ok(ids) => ids,
            Err(_) => settings::listed(&value).map(str::to_owned).collect(),
        };
        Ok(ids.into_iter().take(VECTOR_STORES_MAX).collect())
    }
}

fn told(answer: &NeighbourAnswer) -> Outcome {
    if answer.status != 200 {
        let log = format!("search answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        let fault = match answer.status {
            429 | 503 | 504 => Fault::passing(
                CallError::Unavailable,
                "The knowledge base is overloaded. It may answer later.",
            ),
            404 => Fault::new(CallError::Failed, "The knowledge base is not there."),
            _ => Fault::new(CallError::Failed, "The knowledge base cannot be searched."),
        };
        return Err(fault.logged(log));
    }
    let searched: Searched = serde_json::from_slice(&answer.body).map_err(|error| {
        Fault::new(CallError::Failed, "The knowledge base cannot be searched.").logged(error.to_string())
    })?;
    let passes = searched.waggle.passed_threshold.unwrap_or(true);
    let hits = searched.data.iter().filter(|_| passes);
    let results: Vec<Value> = hits.map(written).collect();
    if results.is_empty() {
        return Ok(Done::of(
            r#"{"results":[],"note":"Nothing in the knowledge base answers this."}"#.to_owned(),
        ));
    }
    Ok(Done::of(json!({ "results": results }).to_string()))
}

fn written(hit: &Hit) -> Value {
    let text: Vec<&str> = hit.content.iter().map(|part| part.text.as_str()).collect();
    // Two digits say all there is to say of a score.
    let score = (hit.score * 100.0).round() / 100.0;
    json!({"file": hit.filename, "file_id": hit.file_id, "score": score, "text": text.join("\n")})
}
