//! `POST /rerank` as Jina, Cohere and vLLM have it: a model reads question and documents together and says how relevant
//! each is.

use crate::ask::ask;
use crate::settings::Endpoint;
use serde::{Deserialize, Serialize};
use waggle_model::failure::excerpt;
use waggle_model::transport::Upstream;
use waggle_model::{ModelFailure, Wire};
use waggle_openai::json;

/// The most documents that are shown to the model at once.
pub(crate) const DOCUMENTS_MAX: usize = 50;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    query: &'a str,
    documents: &'a [String],
    top_n: usize,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    index: usize,
    relevance_score: f32,
}

/// Some give logits, which have no bounds; those are brought between 0 and 1, all of one answer alike.
fn bounded(scores: &mut [(usize, f32)]) {
    if scores.iter().all(|(_, score)| (0.0..=1.0).contains(score)) {
        return;
    }
    for (_, score) in scores {
        *score = 1.0 / (1.0 + (-*score).exp());
    }
}

fn read(body: &[u8], documents: usize) -> Result<Vec<(usize, f32)>, ModelFailure> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| ModelFailure::NotACompletion(format!("{error}, in '{}'", excerpt(body))))?;
    let mut scores: Vec<(usize, f32)> = Vec::with_capacity(documents);
    for Judged { index, relevance_score } in answer.results {
        let is_new = index < documents && !scores.iter().any(|(known, _)| *known == index);
        if !is_new || !relevance_score.is_finite() {
            let told = format!("the document {index} of {documents} with the relevance {relevance_score}");
            return Err(ModelFailure::NotACompletion(told));
        }
        scores.push((index, relevance_score));
    }
    scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    bounded(&mut scores);
    Ok(scores)
}

/// The places of documents by their relevance, the most relevant first, with a score from 0 to 1. The model may leave some
/// out, and all are at most [`DOCUMENTS_MAX`].
///
/// # Errors
/// The model failed, or gave something else.
pub(crate) async fn rerank<U: Upstream>(
    upstream: &U,
    endpoint: &Endpoint,
    model: &str,
    query: &str,
    documents: &[String],
) -> Result<Vec<(usize, f32)>, ModelFailure> {
    let mut body = Vec::new();
    json::push(&mut body, &Request { model, query, documents, top_n: documents.len() });
    let answer = ask(upstream, endpoint.request(Wire::Chat, "/rerank", body)).await?;
    read(&answer, documents.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relevance_orders_documents_and_is_between_0_and_1() {
        let body = br#"{"id":"x","results":[{"index":1,"relevance_score":0.2,"document":{"text":"b"}},
            {"index":0,"relevance_score":0.9}],"usage":{}}"#;
        assert_eq!(read(body, 2).unwrap(), [(0, 0.9), (1, 0.2)]);
        let logits = br#"{"results":[{"index":0,"relevance_score":-3.5},{"index":1,"relevance_score":4.0}]}"#;
        let scores = read(logits, 2).unwrap();
        assert_eq!(scores.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1, 0]);
        assert!(scores.iter().all(|(_, score)| (0.0..=1.0).contains(score)), "{scores:?}");
    }

    #[test]
    fn what_is_no_ranking_is_refused() {
        for body in [
            "<html>",
            "{}",
            r#"{"results":[{"index":2,"relevance_score":0.5}]}"#,
            r#"{"results":[{"index":0,"relevance_score":0.5},{"index":0,"relevance_score":0.4}]}"#,
            r#"{"results":[{"index":0}]}"#,
            r#"{"results":[{"index":0,"relevance_score":1e99}]}"#,
        ] {
            assert!(read(body.as_bytes(), 2).is_err(), "{body}");
        }
    }
}
