//! Embeddings: for each input a unit vector that depends on it alone. Inputs that have words in common point the same way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::meaning::{of_text, of_tokens};
use crate::text::tokens;
use crate::wire::ApiError;

/// How long a vector is when the request does not say.
const DIMENSIONS_DEFAULT: usize = 64;
const DIMENSIONS_MAX: usize = 4096;
const INPUTS_MAX: usize = 2048;

#[derive(Deserialize)]
struct Body {
    model: String,
    input: Input,
    #[serde(default)]
    dimensions: Option<usize>,
    #[serde(default)]
    encoding_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u64>),
    ManyTokens(Vec<Vec<u64>>),
}

impl Input {
    fn len(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::ManyTokens(inputs) => inputs.len(),
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => tokens(text).count(),
            Self::Texts(texts) => texts.iter().map(|text| tokens(text).count()).sum(),
            Self::Tokens(tokens) => tokens.len(),
            Self::ManyTokens(inputs) => inputs.iter().map(Vec::len).sum(),
        }
    }

    fn vectors(&self, dimensions: usize) -> Vec<Vec<f32>> {
        match self {
            Self::Text(text) => vec![of_text(text, dimensions)],
            Self::Texts(texts) => texts.iter().map(|text| of_text(text, dimensions)).collect(),
            Self::Tokens(tokens) => vec![of_tokens(tokens, dimensions)],
            Self::ManyTokens(inputs) => inputs.iter().map(|tokens| of_tokens(tokens, dimensions)).collect(),
        }
    }
}

fn wrong(param: &'static str, message: String) -> ApiError {
    ApiError { param: Some(param), ..ApiError::new(StatusCode::BAD_REQUEST, message) }
}

/// The answer to a request body.
///
/// # Errors
/// 400: the body is no request for embeddings.
pub(crate) fn answer(body: &[u8]) -> Result<Bytes, ApiError> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("not a request for embeddings: {error}"))
    })?;
    let inputs = body.input.len();
    if inputs == 0 || inputs > INPUTS_MAX {
        return Err(wrong("input", format!("'input' must have 1 to {INPUTS_MAX} elements")));
    }
    let dimensions = body.dimensions.unwrap_or(DIMENSIONS_DEFAULT);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(wrong("dimensions", format!("'dimensions' must be from 1 to {DIMENSIONS_MAX}")));
    }
    let as_base64 = match body.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(wrong("encoding_format", "'encoding_format' must be 'float' or 'base64'".to_owned()));
        }
    };
    let data: Vec<Value> = body
        .input
        .vectors(dimensions)
        .into_iter()
        .enumerate()
        .map(|(index, vector)| {
            let embedding = if as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens = body.input.tokens();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(json!({"object": "list", "data": data, "model": body.model, "usage": usage}).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(body: &Value) -> Vec<Vec<f64>> {
        let answer: Value = serde_json::from_slice(&answer(body.to_string().as_bytes()).unwrap()).unwrap();
        let vector = |data: &Value| match &data["embedding"] {
            Value::String(text) => {
                let bytes = STANDARD.decode(text).unwrap();
                bytes.chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect()
            }
            numbers => numbers.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect(),
        };
        answer["data"].as_array().unwrap().iter().map(vector).collect()
    }

    #[test]
    fn vectors_have_length_one_and_depend_on_their_input_alone() {
        let both = vectors(&json!({"model": "m", "input": ["a", "b", "a"]}));
        assert_eq!(both[0], both[2]);
        assert_ne!(both[0], both[1]);
        assert_eq!(vectors(&json!({"model": "other", "input": "b"}))[0], both[1]);
        for vector in both {
            let length: f64 = vector.iter().map(|number| number * number).sum();
            assert!(vector.len() == DIMENSIONS_DEFAULT && (length - 1.0).abs() < 1e-5, "{length}");
        }
    }

    #[test]
    fn base64_says_the_same_as_numbers() {
        for input in [json!("x"), json!([1, 2]), json!([[1], [2, 3]])] {
            let body =
                |format| json!({"model": "m", "input": input, "dimensions": 5, "encoding_format": format});
            let (floats, coded) = (vectors(&body("float")), vectors(&body("base64")));
            assert!(floats.iter().all(|vector| vector.len() == 5));
            let pairs = floats.iter().flatten().zip(coded.iter().flatten());
            assert!(
                pairs.clone().count() > 0 && pairs.into_iter().all(|(one, two)| (one - two).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn wrong_requests_are_refused() {
        for body in [
            json!({"input": "x"}),
            json!({"model": "m"}),
            json!({"model": "m", "input": []}),
            json!({"model": "m", "input": "x", "dimensions": 0}),
            json!({"model": "m", "input": "x", "encoding_format": "hex"}),
        ] {
            assert!(answer(body.to_string().as_bytes()).is_err(), "{body}");
        }
    }
}
