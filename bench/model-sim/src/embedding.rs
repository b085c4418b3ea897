//! Embeddings: for each input a unit vector that depends on it alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::text::{mix, tokens};
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

/// What stands for an input: a seed, and how many tokens it has.
struct Seed {
    hash: u64,
    tokens: usize,
}

fn of_text(text: &str) -> Seed {
    let hash = text.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    Seed { hash, tokens: tokens(text).count() }
}

fn of_tokens(tokens: &[u64]) -> Seed {
    Seed { hash: tokens.iter().fold(1, |hash, token| mix(hash ^ token)), tokens: tokens.len() }
}

/// A vector of length 1 in which no direction is preferred.
fn unit_vector(seed: u64, dimensions: usize) -> Vec<f32> {
    const STEPS: f64 = (1_u64 << 32) as f64;
    let numbers: Vec<f64> = (1..=dimensions as u64)
        .map(|index| (mix(seed ^ mix(index)) >> 32) as f64 / STEPS * 2.0 - 1.0)
        .collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    numbers.into_iter().map(|number| (number / length) as f32).collect()
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
    let seeds: Vec<Seed> = match &body.input {
        Input::Text(text) => vec![of_text(text)],
        Input::Texts(texts) => texts.iter().map(|text| of_text(text)).collect(),
        Input::Tokens(tokens) => vec![of_tokens(tokens)],
        Input::ManyTokens(inputs) => inputs.iter().map(|tokens| of_tokens(tokens)).collect(),
    };
    if seeds.is_empty() || seeds.len() > INPUTS_MAX {
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
    let data: Vec<Value> = seeds
        .iter()
        .enumerate()
        .map(|(index, seed)| {
            let vector = unit_vector(seed.hash, dimensions);
            let embedding = if as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens: usize = seeds.iter().map(|seed| seed.tokens).sum();
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
