//! `POST /v1/rerank` as Jina, Cohere and vLLM have it: how relevant each document is to a question.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::meaning::{cosine, of_text};
use crate::text::tokens;
use crate::wire::ApiError;

/// In how many dimensions question and documents are compared.
const DIMENSIONS: usize = 512;
const DOCUMENTS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Body {
    model: String,
    query: String,
    documents: Vec<Document>,
    #[serde(default)]
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Text(String),
    Object { text: String },
}

impl Document {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Object { text } => text,
        }
    }
}

/// The answer to a request body: the documents by their relevance, from 0 to 1, the most relevant first.
///
/// # Errors
/// 400: the body is no request to rerank.
pub(crate) fn answer(body: &[u8]) -> Result<Bytes, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("not a request to rerank: {error}"))
    })?;
    if body.documents.is_empty() || body.documents.len() > DOCUMENTS_MAX {
        let message = format!("'documents' must have 1 to {DOCUMENTS_MAX} elements");
        return Err(ApiError { param: Some("documents"), ..ApiError::new(StatusCode::BAD_REQUEST, message) });
    }
    let query = of_text(&body.query, DIMENSIONS);
    let relevance =
        |document: &Document| cosine(&query, &of_text(document.text(), DIMENSIONS)).clamp(0.0, 1.0);
    let mut judged: Vec<(usize, f32)> = body.documents.iter().map(relevance).enumerate().collect();
    judged.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    judged.truncate(body.top_n.unwrap_or(usize::MAX));
    let results: Vec<Value> = judged
        .into_iter()
        .map(|(index, relevance_score)| {
            let mut result = json!({"index": index, "relevance_score": relevance_score});
            if let Some(document) = body.documents.get(index).filter(|_| body.return_documents == Some(true))
            {
                result["document"] = json!({"text": document.text()});
            }
            result
        })
        .collect();
    let texts = body.documents.iter().map(Document::text).chain([body.query.as_str()]);
    let usage = json!({"total_tokens": texts.map(|text| tokens(text).count()).sum::<usize>()});
    Ok(json!({"object": "list", "model": body.model, "results": results, "usage": usage}).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(body: &Value) -> Vec<u64> {
        let answer: Value = serde_json::from_slice(&answer(body.to_string().as_bytes()).unwrap()).unwrap();
        let results = answer["results"].as_array().unwrap();
        let scores: Vec<f64> =
            results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)) && scores.is_sorted_by(|a, b| a >= b));
        results.iter().map(|result| result["index"].as_u64().unwrap()).collect()
    }

    #[test]
    fn documents_are_put_in_the_order_of_their_relevance() {
        let documents = json!(["Parcels leave on Monday.", {"text": "Refunds take five days."}, "Refunds."]);
        let mut body =
            json!({"model": "m", "query": "How many days do refunds take?", "documents": documents});
        assert_eq!(places(&body), [1, 2, 0]);
        body["top_n"] = json!(1);
        assert_eq!(places(&body), [1]);
    }

    #[test]
    fn wrong_requests_are_refused() {
        for body in [
            json!({"model": "m", "query": "q"}),
            json!({"model": "m", "query": "q", "documents": []}),
            json!({"model": "m", "query": "q", "documents": [1]}),
            json!({"query": "q", "documents": ["d"]}),
        ] {
            assert!(answer(body.to_string().as_bytes()).is_err(), "{body}");
        }
    }
}
