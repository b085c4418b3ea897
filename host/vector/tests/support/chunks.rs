//! Chunks, queries and indexes for tests.

#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses some of it")]

use waggle_vector::{Attribute, Chunk, Fusion, IndexName, Query, Settings, Value};

/// Dimensions of the indexes of tests.
pub(crate) const DIMENSIONS: u32 = 4;
pub(crate) const SETTINGS: Settings = Settings { dimensions: DIMENSIONS };

pub(crate) fn index(name: &str) -> IndexName {
    IndexName::parse(name).unwrap()
}

pub(crate) fn chunk(ordinal: u32, text: &str) -> Chunk {
    Chunk {
        ordinal,
        heading: format!("Heading {ordinal}"),
        text: text.to_owned(),
        note: format!("note {ordinal}"),
        vector: None,
    }
}

pub(crate) fn with_vector(ordinal: u32, text: &str, vector: [f32; 4]) -> Chunk {
    Chunk { vector: Some(vector.to_vec()), ..chunk(ordinal, text) }
}

/// So many chunks from 0 on, each with a word of its own.
pub(crate) fn chunks(word: &str, count: u32) -> Vec<Chunk> {
    (0..count).map(|ordinal| chunk(ordinal, &format!("{word} number{ordinal}"))).collect()
}

pub(crate) fn attribute(name: &str, value: Value) -> Attribute {
    Attribute { name: name.to_owned(), value }
}

fn query() -> Query {
    Query {
        text: None,
        vector: None,
        filter: Vec::new(),
        limit: 10,
        candidates: 0,
        fusion: Fusion::Scores,
        text_weight: 1.0,
        vector_weight: 1.0,
        rank_constant: 60.0,
        vector_score_min: None,
    }
}

pub(crate) fn by_words(text: &str) -> Query {
    Query { text: Some(text.to_owned()), ..query() }
}

pub(crate) fn by_vector(vector: [f32; 4]) -> Query {
    Query { vector: Some(vector.to_vec()), ..query() }
}

pub(crate) fn by_both(text: &str, vector: [f32; 4]) -> Query {
    Query { text: Some(text.to_owned()), ..by_vector(vector) }
}
