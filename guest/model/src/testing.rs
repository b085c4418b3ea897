//! What the tests of both kinds of request share.

use crate::request::{RequestError, TurnRequest};
use serde_json::{Value, json};
use waggle_openai::Nonce;
use waggle_openai::item::{Item, RawItem, to_raw_items};
use waggle_openai::request::CreateResponse;

fn items(json: &Value) -> Vec<RawItem> {
    let text = json.to_string();
    let items: Vec<Item<'_>> = serde_json::from_str(&text).unwrap();
    to_raw_items(&items, Nonce::mint(0, 0), 0).unwrap()
}

/// What `write` makes of a turn that says `input` after `history`, with `extra` in its body.
pub(crate) fn written(
    history: &Value,
    input: &Value,
    extra: &Value,
    write: impl FnOnce(&TurnRequest<'_>) -> Result<Vec<u8>, RequestError>,
) -> Result<Value, RequestError> {
    let mut body = json!({"input": "x"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let body = body.to_string();
    let create = CreateResponse::read(body.as_bytes()).unwrap();
    let (history, input) = (items(history), items(input));
    let turn = TurnRequest {
        model: create.parameters.model.as_deref().unwrap_or("m"),
        instructions: create.parameters.instructions.as_deref().unwrap_or(""),
        history: history.iter().map(|item| item.get()).collect(),
        input: &input,
        parameters: &create.parameters,
        stream: create.stream,
    };
    Ok(serde_json::from_slice(&write(&turn)?).unwrap())
}
