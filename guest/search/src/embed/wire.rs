//! `POST /embeddings` as OpenAI has it.

use super::cache::floats;
use crate::settings::EmbeddingModel;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use waggle_index::bounds::DIMENSIONS_MAX;
use waggle_model::ModelFailure;
use waggle_model::failure::excerpt;
use waggle_openai::json;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    /// Where its text stood; those of servers that leave it out stand in order.
    index: Option<usize>,
    embedding: Numbers,
}

struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumbersVisitor)
    }
}

struct NumbersVisitor;

impl<'de> Visitor<'de> for NumbersVisitor {
    type Value = Numbers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("numbers, or numbers in base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Numbers, E> {
        let bytes = STANDARD.decode(text).ok();
        bytes
            .and_then(|bytes| floats(&bytes))
            .map(Numbers)
            .ok_or_else(|| E::custom("it is no vector in base64"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Numbers, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = sequence.next_element::<f32>()? {
            if numbers.len() == DIMENSIONS_MAX as usize {
                return Err(A::Error::custom(format!("a vector has more than {DIMENSIONS_MAX} numbers")));
            }
            numbers.push(number);
        }
        Ok(Numbers(numbers))
    }
}

/// The body of a request; `compact` asks for base64, which is a quarter of the decimal form and read in no time.
pub(super) fn write(model: &EmbeddingModel, texts: &[&str], compact: bool) -> Vec<u8> {
    let request = Request {
        model: &model.name,
        input: texts,
        encoding_format: compact.then_some("base64"),
        dimensions: model.dimensions,
    };
    let mut body = Vec::new();
    json::push(&mut body, &request);
    body
}

/// Whether a model endpoint refuses the request for the form of the vectors that it asks for.
pub(super) fn refuses_format(failure: &ModelFailure) -> bool {
    matches!(failure, ModelFailure::Status { status: 400 | 422, message: Some(message), .. }
        if message.contains("encoding_format"))
}

/// Reads the vectors of `count` texts, in their order.
///
/// # Errors
/// It is no such answer, or there is not one vector for each text.
pub(super) fn read(body: &[u8], count: usize) -> Result<Vec<Vec<f32>>, ModelFailure> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| ModelFailure::NotACompletion(format!("{error}, in '{}'", excerpt(body))))?;
    let given = answer.data.len();
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, element) in answer.data.into_iter().enumerate() {
        if let Some(slot) = vectors.get_mut(element.index.unwrap_or(place)) {
            *slot = Some(element.embedding.0);
        }
    }
    let whole: Option<Vec<Vec<f32>>> = vectors.into_iter().collect();
    let wrong =
        || ModelFailure::NotACompletion(format!("{given} vectors for {count} texts, or not one for each"));
    whole.filter(|_| given == count).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_openais() {
        let model = EmbeddingModel { name: "m".to_owned(), dimensions: None };
        let body = String::from_utf8(write(&model, &["a", "\""], true)).unwrap();
        assert_eq!(body, r#"{"model":"m","input":["a","\""],"encoding_format":"base64"}"#);
        let model = EmbeddingModel { dimensions: Some(4), ..model };
        let body = String::from_utf8(write(&model, &["a"], false)).unwrap();
        assert_eq!(body, r#"{"model":"m","input":["a"],"dimensions":4}"#);
    }

    #[test]
    fn vectors_are_read_in_both_forms_and_in_any_order() {
        // 0.5 and -2.0, four bytes each.
        let body = br#"{"object":"list","data":[{"object":"embedding","index":1,"embedding":[1,2.5]},
            {"object":"embedding","index":0,"embedding":"AAAAPwAAAMA="}],"model":"m","usage":{}}"#;
        assert_eq!(read(body, 2).unwrap(), [vec![0.5, -2.0], vec![1.0, 2.5]]);
        let without = br#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#;
        assert_eq!(read(without, 2).unwrap(), [vec![1.0], vec![2.0]]);
    }

    #[test]
    fn what_is_not_one_vector_for_each_text_is_refused() {
        for (body, count) in [
            ("<html>", 1),
            ("{}", 1),
            (r#"{"data":[]}"#, 1),
            (r#"{"data":[{"embedding":[1]},{"embedding":[1]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#, 2),
            (r#"{"data":[{"index":7,"embedding":[1]}]}"#, 1),
            (r#"{"data":[{"embedding":["1"]}]}"#, 1),
            (r#"{"data":[{"embedding":"AAAA"}]}"#, 1),
            (r#"{"data":[{"embedding":null}]}"#, 1),
        ] {
            let failure = read(body.as_bytes(), count).unwrap_err();
            assert!(matches!(failure, ModelFailure::NotACompletion(_)), "{body}: {failure}");
        }
        let long = format!(r#"{{"data":[{{"embedding":[{}]}}]}}"#, vec!["1"; 4097].join(","));
        assert!(read(long.as_bytes(), 1).unwrap_err().to_string().contains("4096"));
    }

    #[test]
    fn only_a_complaint_about_the_form_is_one() {
        let said = |status, message: &str| {
            let body = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
            refuses_format(&ModelFailure::from_status(status, body.as_bytes(), None))
        };
        assert!(said(400, "unknown field encoding_format") && said(422, "encoding_format: base64"));
        assert!(!said(400, "too long") && !said(500, "encoding_format"));
    }
}
