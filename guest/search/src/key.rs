//! The keys of this crate's families, built here and nowhere else (`kv-schemas/`). Each family has a fixed number of keys:
//! what is new takes the place of what is old, so nothing here grows without end.

/// A vector of a text, in slot `slot` of a shelf: `document` or `query`.
pub(crate) fn embedding(shelf: &str, slot: u64) -> String {
    format!("embedding/{shelf}/{slot:07}")
}

/// How long the vectors of the model are that was asked last.
pub(crate) const EMBEDDING_DIMENSIONS: &str = "embedding/dimensions";

/// An answer that is given again.
pub(crate) fn answer(slot: u64) -> String {
    format!("answer/entry/{slot:06}")
}

/// How many answers were kept so far, which says where the next one goes.
pub(crate) const ANSWER_SEQUENCE: &str = "answer/sequence";

/// The index of the answers' questions that is in use.
pub(crate) const ANSWER_INDEX: &str = "answer/index";

/// A question that a model is just answering.
pub(crate) fn flight(slot: u64) -> String {
    format!("answer/flight/{slot:04}")
}

/// A question that is asked often.
pub(crate) fn question(slot: u64) -> String {
    format!("answer/question/{slot:03}")
}

#[cfg(test)]
mod tests;
